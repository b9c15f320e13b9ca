"""`merge`: joins what the parts of a run with ``--shard`` wrote."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.batch import requests
from actviz.batch.events import FileWritten, Note
from actviz.batch.statistics_runner import StatisticsSoFar
from actviz.batch.strongest_runner import StrongestSoFar
from actviz.commands import check, top_files, top_inputs, top_result, verdicts
from actviz.errors import InputError, UsageError, escape
from actviz.figures import text
from actviz.inputs.input_function import input_code_in
from actviz.inputs.sources import OFFSET_BITS
from actviz.results import ci_reports, output_files, part_files
from actviz.statistics.limits import Limits
from actviz.statistics.strength_options import StrengthOptions
from actviz.system import file_system
from actviz.system.held_folder import hold_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from actviz.commands.top_files import TopTarget
    from actviz.commands.top_result import LayerResult
    from actviz.commands.verdicts import Verdict
    from actviz.results.part_files import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """The arguments of the command; `parts` are folders, or the result files in them.

    `inputs` is the folder in which inputs are read again (``None``: where they were).
    """

    parts: tuple[Path, ...]
    output: str | None = None
    channels: str | None = None
    inputs: Path | None = None
    dark: bool = False
    as_json: bool = False
    reports: verdicts.ReportTargets = field(default_factory=verdicts.ReportTargets)
    overwrite: bool = False
    through_link: bool = False


def merge(request: MergeRequest) -> Iterator[Note | FileWritten | Verdict]:
    """Merge the parts, draw and write the result; yield events, then the table.

    Raises
    ------
    UsageError
        If they are not parts of one run.
    ActvizError
        If a part cannot be read, or the result cannot be written; `PartialError` at the end if inputs failed.
    """
    read = [part_files.read_part(_file_of(path)) for path in request.parts]
    parts = part_files.distinct(read)
    record = part_files.merged_record(parts)
    if len(parts) < len(read):
        yield Note(f"{text.plural(len(read) - len(parts), 'part')} given more than once, counted once.")
    if not record["inputs"] and not record["failures"]:
        raise InputError(f"{parts[0].path}: no part has an input; check the inputs that the parts were given.")
    missing = part_files.missing_shards(record)
    if missing:
        yield Note(f"not all parts of {record['of']} are given; missing: {text.listing(missing, 24)}.")
    differing = part_files.differing_machines(parts)
    if differing:
        names = ", ".join(escape(name, 40) for name in differing)
        yield Note(f"parts were computed with different {names}: the last digits of values may differ.")
    is_check = record["command"] == "check"
    _refuse(request, is_check=is_check)
    target = top_files.target_of(request.output, through_link=request.through_link)
    with contextlib.nullcontext() if target is None else hold_folder(target.folder):
        yield from (_merge_check if is_check else _merge_top)(request, target, parts, record)
    if record["failures"]:
        raise requests.partial(len(record["failures"]), len(record["failures"]) + record["inputs"])


def _refuse(request: MergeRequest, *, is_check: bool) -> None:
    """Refuse options that do not belong to the command whose parts are merged."""
    reports = request.reports
    given = (
        {"--channels": request.channels is not None, "--inputs": request.inputs is not None, "--dark": request.dark}
        if is_check
        else {"--junit": reports.junit is not None, "--exit-zero": reports.exit_zero}
    )
    refused = [option for option, present in given.items() if present]
    if refused:
        raise UsageError(f"{', '.join(refused)}: not for parts of {'check' if is_check else 'top'}; leave it out.")


def _merge_check(
    request: MergeRequest, target: TopTarget | None, parts: Sequence[Part], record: dict[str, Any]
) -> Iterator[Note | FileWritten | Verdict]:
    """Judge the limits of parts of `check`; the target is a figure, or the folder of the merged state."""
    if target is not None and target.form == top_files.PAGE:
        message = f"-o {escape(str(target.path), 200)}: the result of a check is a figure or a folder; give a name that ends in .png, .svg, .pdf or in /"
        raise UsageError(message)
    verdicts.prepare(request.reports, "check", overwrite=request.overwrite)
    checked = check.Checked(str(record["model"]), str(record["configuration"]), str(record.get("weights_name", "")))
    try:
        limits = Limits.of(record["options"]["limits"])
        tally = StatisticsSoFar([part_files.layer_of(layer) for layer in record["layers"]], record["batch_size"])
        for part in parts:
            tally.add_part(part.record, part.state)
        asked, input_code = bool(record["options"]["asked"]), input_code_in(record["reading"])
        result = check.result_of(checked, tally, limits, record["failures"], asked=asked)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise part_files.damaged(parts, "check") from None
    if target is not None:
        identity = {"command": "check", "model": checked.model}
        if target.form == top_files.FIGURE:
            output_files.check_target(target.path, identity, overwrite=request.overwrite)
            yield check.draw(target.path, result, checked, tally, input_code)
        else:
            path = target.path / check.PART
            kind = output_files.ResultKind("result of check", part_files.identity_in)
            output_files.check_replaceable(path, identity, kind, overwrite=request.overwrite)
            part_files.write_part(path, record | {"nonfinite": tally.nonfinite}, tally.state())
            yield FileWritten(path)
    yield from verdicts.conclude(result.findings, result.record, request.reports, ci_reports.CheckResults.reason)


def _merge_top(
    request: MergeRequest, target: TopTarget | None, parts: Sequence[Part], record: dict[str, Any]
) -> Iterator[Note | FileWritten | Verdict]:
    try:
        classes = _classes(parts)
        tally = _tally(parts, record)
        results = top_result.results_of(tally, request.channels, lambda name, _: classes.get(name))
        record |= tally.record() | {"files": _files(parts, results)}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise part_files.damaged(parts, "top") from None
    record["classes"] = top_result.classes_of(results)
    drawing = top_files.Drawing(request.dark, request.channels is not None)
    if target is not None:
        top_files.check(target, record["model"], tally.layers, overwrite=request.overwrite)
        crops = top_files.Crops.of(results, drawing, target.form)
        top_files.read_crops([part.path.parent for part in parts], crops)
        if crops.wanted:
            yield from _read_inputs(request, parts, record, results, crops)
        yield from top_files.write(target, results, record, crops, drawing)
    if target is None or request.as_json:
        yield top_result.verdict(results, record)


def _read_inputs(
    request: MergeRequest,
    parts: Sequence[Part],
    record: dict[str, Any],
    results: Sequence[LayerResult],
    crops: top_files.Crops,
) -> Iterator[Note]:
    try:
        yield from top_inputs.read_moved(record, request.inputs, results, crops)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise part_files.damaged(parts, "top") from None


def _tally(parts: Sequence[Part], record: dict[str, Any]) -> StrongestSoFar:
    """Return the strongest inputs of all parts."""
    options = record["options"]
    strength = StrengthOptions(options["k"], options["by"], tuple(options["extremes"]))
    layers = [part_files.layer_of(layer) for layer in record["layers"]]
    tally = StrongestSoFar(layers, strength, record["batch_size"])
    for part in parts:
        tally.add_part(part.record, part.state)
    return tally


def _files(parts: Sequence[Part], results: Sequence[LayerResult]) -> dict[str, str]:
    """Return the paths of the files of the strongest inputs that the parts recorded, by number."""
    known = {str(key): str(path) for part in parts for key, path in dict(part.record.get("files", {})).items()}
    numbers = {number >> OFFSET_BITS for result in results for number in result.numbers.identities}
    return {str(number): known[str(number)] for number in sorted(numbers) if str(number) in known}


def _classes(parts: Sequence[Part]) -> dict[str, str]:
    """Return the classes of inputs by name that the parts recorded."""
    return {str(name): str(label) for part in parts for name, label in dict(part.record.get("classes", {})).items()}


def _file_of(path: Path) -> Path:
    """Return the result file in a folder, or the file itself."""
    if not file_system.is_folder(path):
        return path
    return next((path / name for name in (top_files.RESULT, check.PART) if file_system.exists(path / name)), path)
