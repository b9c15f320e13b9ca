"""`diff`: differences between two models, or two files of activations, for the same inputs."""

from __future__ import annotations

import itertools
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actviz.batch import output_paths, requests
from actviz.batch.events import FileWritten, Note, Progress
from actviz.commands import diff_figures, verdicts
from actviz.commands.diff_request import DifferencesSoFar, DiffRequest, DiffSource
from actviz.commands.diff_sources import FileSources, ModelSources, both_saved
from actviz.errors import ActvizError, InputError, escape, worst
from actviz.records import RuleResult, sizes_text
from actviz.results import ci_reports
from actviz.statistics import differences
from actviz.statistics.tolerances import Tolerances, judge
from actviz.system.held_folder import hold_folder
from actviz.system.run_lock import RunIdentity, RunLock
from actviz.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from actviz.records import Activation, LayerInfo, Sample
    from actviz.statistics.differences import LayerDifference, LayerMatch, Matching

HEADINGS = ("layer", "in B", "shape", "max", "mean", "relative", "cosine", "correlation", "result")
LISTED = 6
BEYOND = "beyond 1e-6 + 1e-3 x the largest value"
# How layers differ, by the rule of a comparison without tolerances given; others are `BEYOND`.
DIFFERENCES = {"same shape": "in shape", "NaN and infinities agree": "in NaN or infinities"}


def diff(request: DiffRequest) -> Iterator[Note | Progress | FileWritten | verdicts.Verdict]:
    """Compare every pair of layers over all inputs; yield events, then the result.

    Raises
    ------
    ToleranceError
        At the end, if a layer exceeds a tolerance.
    ActvizError
        If nothing could be compared; `PartialError` at the end if some inputs failed.
    """
    verdicts.prepare(request.reports, "diff", overwrite=request.overwrite)
    with ExitStack() as stack:
        saved = both_saved(request.ours.model, request.theirs.model, given=request.has_inputs)
        source: DiffSource = (
            stack.enter_context(FileSources(request)) if saved else stack.enter_context(ModelSources(request))
        )
        ours, theirs = source.layers()
        chosen = {layer.address for layer in source.select(request.layers)}
        matching = _match(request, ours, theirs, chosen)
        yield from (Note(line) for line in _unmatched(matching, request))
        fitting = [pair for pair in matching.pairs if pair.fits]
        figures = min(request.figures, len(fitting))
        file = diff_figures.file_of(request.output, figures, request.names, overwrite=request.overwrite)
        folder = None
        if file is not None:
            stack.enter_context(hold_folder(file.parent))
        else:
            folder = diff_figures.folder_of(request.output, through_link=request.through_link)
        if folder is not None:
            held = stack.enter_context(hold_folder(folder))
            # Figures are named by layer: no two comparisons share a folder.
            stack.enter_context(RunLock(held, RunIdentity(" and ".join(request.names), secrets.token_hex(8))))
        drifts, failures = DifferencesSoFar(), list[ActvizError]()
        yield from requests.collect_failures(source.compare(fitting, drifts), failures)
        if not drifts.inputs:
            raise worst(failures)
        for address, reason in drifts.left_out.items():
            yield Note(f'layer "{escape(address, 80)}" is not compared: {reason}.')
        result = _result(request, matching, drifts, failures)
        if (target := file or folder) is not None:
            yield from _draw(request, source, target, result)
    yield from verdicts.conclude(result.findings, result.record, request.reports, _reason)


def _match(
    request: DiffRequest, ours: Sequence[LayerInfo], theirs: Sequence[LayerInfo], chosen: Collection[str]
) -> Matching:
    """Match all layers, then keep the pairs of the requested layers, whose addresses are `chosen`."""
    own, their_own = (
        {layer.address for layer in verdicts.own_layers(layers)}.union(chosen) for layers in (ours, theirs)
    )
    matching = differences.match(
        [layer for layer in ours if layer.address in own], [layer for layer in theirs if layer.address in their_own]
    )
    if request.layers:
        pairs = tuple(pair for pair in matching.pairs if pair.ours.address in chosen)
        only_ours = tuple(layer for layer in matching.only_ours if layer.address in chosen)
        matching = replace(matching, pairs=pairs, only_ours=only_ours, only_theirs=())
    if not matching.pairs:
        first, second = (escape(name, 100) for name in request.names)
        message = f"{first} and {second}: no layer of one has the name of one of the other, or its class and shape at the same place in the order; there is nothing to compare."
        raise InputError(message)
    return matching


def _unmatched(matching: Matching, request: DiffRequest) -> Iterator[str]:
    ours, theirs = request.names
    for layers, here, there in ((matching.only_ours, ours, theirs), (matching.only_theirs, theirs, ours)):
        if layers:
            named = ", ".join(escape(layer.address, 60) for layer in layers[:LISTED])
            more = f", and {len(layers) - LISTED} more" if len(layers) > LISTED else ""
            yield f"only in {escape(here, 100)}, not in {escape(there, 100)}: {named}{more}"


@dataclass(frozen=True, slots=True)
class _DiffResult:
    """The result of a comparison; `worst` are the pairs with the largest difference first."""

    findings: ci_reports.CheckResults
    record: dict[str, Any]
    worst: list[tuple[LayerMatch, LayerDifference]]


def _result(
    request: DiffRequest, matching: Matching, drifts: DifferencesSoFar, failures: Sequence[ActvizError]
) -> _DiffResult:
    cases = [_cases(pair, drifts.layers.get(pair.ours.address), request.tolerances) for pair in matching.pairs]
    rows = tuple(
        _row(pair, drifts.layers.get(pair.ours.address), own, request.tolerances)
        for pair, own in zip(matching.pairs, cases, strict=True)
    )
    every = tuple(itertools.chain.from_iterable(cases))
    lost = tuple(failure.message for failure in failures)
    subject = " and ".join(request.names)
    headings: tuple[str, ...] = HEADINGS
    right = frozenset(range(3, 8))
    if not any(row[1] for row in rows):  # every layer has the name of its partner
        headings, rows = (headings[0], *headings[2:]), tuple((row[0], *row[2:]) for row in rows)
        right = frozenset(range(2, 7))
    findings = ci_reports.CheckResults("diff", subject, headings, rows, right, every, lost)
    compared = [pair for pair in matching.pairs if pair.ours.address in drifts.layers]
    worst = sorted(
        ((pair, drifts.layers[pair.ours.address]) for pair in compared),
        key=lambda item: (-min(item[1].apart, 1), -item[1].relative),
    )
    return _DiffResult(findings, _record(request, matching, drifts, findings), worst)


def _cases(pair: LayerMatch, drift: LayerDifference | None, tolerances: Tolerances) -> list[RuleResult]:
    if drift is not None:
        return judge(pair.ours.address, drift, tolerances)
    if pair.fits:
        return []
    reason = f"the shape is {sizes_text(pair.ours.shape)} in A and {sizes_text(pair.theirs.shape)} in B"
    return [RuleResult(pair.ours.address, "same shape", kept=False, reason=reason)]


def _row(
    pair: LayerMatch, drift: LayerDifference | None, cases: Sequence[RuleResult], tolerances: Tolerances
) -> tuple[str, ...]:
    broken = [case.rule for case in cases if not case.kept]
    numbers, result = ["-"] * 5, "not compared"
    if drift is not None:
        numbers = [verdicts.number(value) for value in (drift.largest, drift.mean, drift.relative)]
        numbers += [verdicts.number(value, 6) for value in (drift.cosine, drift.correlation)]
        result = "ok"
    if broken and tolerances == Tolerances():  # no rule was given that could be broken
        result = f"differs ({', '.join(DIFFERENCES.get(rule, BEYOND) for rule in broken)})"
    elif broken:
        result = f"BROKEN: {'; '.join(rule.removeprefix('not ') for rule in broken)}"
    partner = "" if pair.by == "address" else pair.theirs.address
    return (pair.ours.address, partner, sizes_text(pair.ours.shape), *numbers, result)


def _record(
    request: DiffRequest, matching: Matching, drifts: DifferencesSoFar, findings: ci_reports.CheckResults
) -> dict[str, Any]:
    return {
        "actviz": VERSION,
        "a": request.names[0],
        "b": request.names[1],
        "inputs": drifts.inputs,
        "failures": list(findings.failures),
        "layers": [_pair_record(pair, drifts.layers.get(pair.ours.address)) for pair in matching.pairs],
        "only_in_a": [layer.address for layer in matching.only_ours],
        "only_in_b": [layer.address for layer in matching.only_theirs],
        "left_out": drifts.left_out,
        "limits": [verdicts.case_record(case) for case in findings.cases],
        "broken": len(findings.broken),
        "first_broken": findings.broken[0].subject if findings.broken else None,
        **drifts.skipped,
        **request.reading.code_record(),
    }


def _pair_record(pair: LayerMatch, drift: LayerDifference | None) -> dict[str, Any]:
    record: dict[str, Any] = {"a": pair.ours.address, "b": pair.theirs.address, "matched_by": pair.by}
    record["shape"] = None if pair.ours.shape is None else list(pair.ours.shape)
    if drift is None:
        return record
    return record | {
        "values": drift.count,
        "apart": drift.apart,
        "max": verdicts.finite(drift.largest),
        "mean": verdicts.finite(drift.mean),
        "relative": verdicts.finite(drift.relative),
        "cosine": verdicts.finite(drift.cosine),
        "correlation": verdicts.finite(drift.correlation),
        "largest_in_a": verdicts.finite(drift.reach),
        "worst_input": drift.worst,
    }


def _reason(findings: ci_reports.CheckResults) -> str:
    """Return the reason for the exit code: the first layer of A that diverges."""
    first = findings.broken[0]
    layers = len({case.subject for case in findings.broken})
    among = f"the first of {layers:,} layers that diverge" if layers > 1 else "the only layer that diverges"
    return f"{escape(first.subject, 100)}: {first.reason}; {among}."


def _draw(request: DiffRequest, source: DiffSource, target: Path, result: _DiffResult) -> Iterator[Note | FileWritten]:
    """Draw the layers that differ most, each for the input for which it differs most, to a file or a folder."""
    chosen = [item for item in result.worst if item[1].largest or item[1].apart][: request.figures]
    if not chosen:
        yield Note("no figures: nothing differs.")
    by_input: dict[int, list[LayerMatch]] = {}
    for pair, drift in chosen:
        by_input.setdefault(drift.worst, []).append(pair)
    drawn: Mapping[str, tuple[Activation, Activation, Sample]] = {
        pair.ours.address: (*both, source.sample(number))
        for number, pairs in by_input.items()
        for pair, both in zip(pairs, source.activations(pairs, number), strict=True)
    }
    names = output_paths.file_names((), source.layers()[0]) if chosen else {}
    for pair, _ in chosen:
        ours, theirs, sample = drawn[pair.ours.address]
        path = target if target.suffix.lower() in output_paths.FORMATS else target / names[pair.ours.address]
        work = diff_figures.DiffFigureTask(path, request.names, (ours, theirs), sample)
        yield from diff_figures.draw(work, overwrite=request.overwrite)
