"""`merge`: joins what the parts of a run with ``--shard`` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.batch import requests
from actviz.batch.events import FileWritten, Note
from actviz.batch.strongest_runner import StrongestSoFar
from actviz.commands import top_files, top_result
from actviz.errors import InputError, escape
from actviz.figures import text
from actviz.results import part_files
from actviz.statistics.strength_options import StrengthOptions
from actviz.statistics.strongest_inputs import StrongestReducer
from actviz.system import file_system
from actviz.system.held_folder import hold_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from actviz.commands.top_files import TopTarget
    from actviz.commands.verdicts import Verdict
    from actviz.results.part_files import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """The arguments of the command; `parts` are folders, or the result files in them."""

    parts: tuple[Path, ...]
    output: str | None = None
    channels: str | None = None
    dark: bool = False
    as_json: bool = False
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
    missing = part_files.missing_shards(record)
    if missing:
        yield Note(f"not all parts of {record['of']} are given; missing: {text.listing(missing, 24)}.")
    differing = part_files.differing_machines(parts)
    if differing:
        names = ", ".join(escape(name, 40) for name in differing)
        yield Note(f"parts were computed with different {names}: the last digits of values may differ.")
    target = top_files.target_of(request.output, through_link=request.through_link)
    if target is None:
        yield from _merge_top(request, None, parts, record)
    else:
        with hold_folder(target.folder):
            yield from _merge_top(request, target, parts, record)
    if record["failures"]:
        raise requests.partial(len(record["failures"]), len(record["failures"]) + record["inputs"])


def _merge_top(
    request: MergeRequest, target: TopTarget | None, parts: Sequence[Part], record: dict[str, Any]
) -> Iterator[Note | FileWritten | Verdict]:
    classes = _classes(parts)
    try:
        tally = _tally(parts, record)
        results = top_result.results_of(tally, request.channels, classes.get)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        names = ", ".join(str(part.path) for part in parts[:3])
        raise InputError(f"{names}: damaged, or not results of top; run their parts again.") from None
    record["classes"] = top_result.classes_of(results)
    drawing = top_files.Drawing(request.dark, request.channels is not None)
    if target is not None:
        top_files.check(target, record["model"], tally.layers, overwrite=request.overwrite)
        crops = top_files.Crops.of(results, drawing, target.form)
        top_files.read_crops([part.path.parent for part in parts], crops)
        if crops.wanted:
            yield Note("figures have numbers and names only where no part ran with --keep-crops.")
        yield from top_files.write(target, results, record, crops, drawing)
    if target is None or request.as_json:
        yield top_result.verdict(results, record)


def _tally(parts: Sequence[Part], record: dict[str, Any]) -> StrongestSoFar:
    """Return the strongest inputs of all parts."""
    options = record["options"]
    strength = StrengthOptions(options["k"], options["by"], tuple(options["extremes"]))
    described = [top_result.layer_of(layer) for layer in record["layers"]]
    tally = StrongestSoFar([layer for layer, _ in described], strength, record["batch_size"])
    tally.described = {layer.address: activation for layer, activation in described}
    tally.inputs, tally.left_out = record["inputs"], record["left_out"]
    for part in parts:
        tally.reducer.merge(StrongestReducer.from_state(part.state))
    return tally


def _classes(parts: Sequence[Part]) -> dict[str, str]:
    """Return the classes of inputs by name that the parts recorded."""
    return {str(name): str(label) for part in parts for name, label in dict(part.record.get("classes", {})).items()}


def _file_of(path: Path) -> Path:
    """Return the result file in a folder, or the file itself."""
    return path / top_files.RESULT if file_system.is_folder(path) else path
