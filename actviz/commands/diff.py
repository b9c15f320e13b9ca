"""`diff`: how far two models, or two files of activations, drift apart."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actviz.batch import requests
from actviz.batch.events import FileWritten, Note
from actviz.commands import diff_figures, verdicts
from actviz.commands.diff_request import DifferencesSoFar, DiffRequest, DiffSource
from actviz.commands.diff_sources import FileSources, ModelSources, both_saved
from actviz.errors import ActvizError, InputError, ToleranceError, escape
from actviz.records import RuleResult, sizes_text
from actviz.results import ci_reports as found_texts
from actviz.statistics import differences
from actviz.statistics.tolerances import Tolerances, judge
from actviz.system.held_folder import hold_folder
from actviz.system.run_lock import RunIdentity, RunLock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from actviz.records import Activation, LayerInfo, Sample
    from actviz.statistics.differences import LayerDifference, LayerMatch, Matching

HEADINGS = ("layer", "in B", "shape", "max", "mean", "relative", "cosine", "correlation", "result")
LISTED = 6


def diff(request: DiffRequest) -> Iterator[Note | FileWritten | verdicts.Verdict]:
    """Compare every pair of layers over all inputs; yield what happens, then the result.

    Raises
    ------
    ToleranceError
        At the end, when a layer is beyond a tolerance.
    ActvizError
        When nothing could be compared; `PartialError` at the end when part of it failed.
    """
    verdicts.prepare(request.reports, "diff", overwrite=request.overwrite)
    with ExitStack() as stack:
        saved = both_saved(request.ours.model, request.theirs.model, given=request.has_inputs)
        sides: DiffSource = (
            stack.enter_context(FileSources(request)) if saved else stack.enter_context(ModelSources(request))
        )
        ours, theirs = sides.layers()
        chosen = {layer.address for layer in sides.select(request.layers)}
        matching = _match(request, ours, theirs, chosen)
        yield from (Note(line) for line in _unmatched(matching, request))
        folder = diff_figures.folder_of(request.output, through_link=request.through_link)
        if folder is not None:
            held = stack.enter_context(hold_folder(folder))
            # Figures are named by rank: no two comparisons share a folder.
            stack.enter_context(RunLock(held, RunIdentity(" and ".join(request.names), secrets.token_hex(8))))
        fitting = [pair for pair in matching.pairs if pair.fits]
        drifts, failures = DifferencesSoFar(), list[ActvizError]()
        yield from requests.collect_failures(sides.compare(fitting, drifts), failures)
        if not drifts.inputs:
            raise requests.worst(failures)
        for address, reason in drifts.left_out.items():
            yield Note(f'layer "{escape(address, 80)}" is not compared: {reason}.')
        result = _result(request, matching, drifts, failures)
        if folder is not None:
            yield from _draw(request, sides, folder, result)
    yield from verdicts.publish(result.findings, request.reports)
    yield verdicts.Verdict(found_texts.table(result.findings), result.record)
    if result.findings.broken:
        raise ToleranceError(_reason(result.findings))
    if failures:
        raise requests.partial(len(failures), len(failures) + drifts.inputs)


def _match(
    request: DiffRequest, ours: Sequence[LayerInfo], theirs: Sequence[LayerInfo], chosen: Collection[str]
) -> Matching:
    """Match all layers, then keep the pairs of those that were asked for, whose addresses are `chosen`."""
    own, their_own = (
        {layer.address for layer in verdicts.own_layers(layers)}.union(chosen) for layers in (ours, theirs)
    )
    matching = differences.match(
        [layer for layer in ours if layer.address in own], [layer for layer in theirs if layer.address in their_own]
    )
    if request.layers:
        pairs = tuple(pair for pair in matching.pairs if pair.ours.address in chosen)
        matching = replace(
            matching,
            pairs=pairs,
            only_ours=tuple(layer for layer in matching.only_ours if layer.address in chosen),
            only_theirs=(),
        )
    if not matching.pairs:
        first, second = (escape(name, 100) for name in request.names)
        message = f"{first} and {second}: no layer of one has the name of one of the other, or its class and shape at the same place in the order; there is nothing to compare."
        raise InputError(message)
    return matching


def _unmatched(matching: Matching, request: DiffRequest) -> Iterator[str]:
    one, other = request.names
    for layers, here, there in ((matching.only_ours, one, other), (matching.only_theirs, other, one)):
        if layers:
            named = ", ".join(escape(layer.address, 60) for layer in layers[:LISTED])
            more = f", and {len(layers) - LISTED} more" if len(layers) > LISTED else ""
            yield f"only in {escape(here, 100)}, not in {escape(there, 100)}: {named}{more}"


@dataclass(frozen=True, slots=True)
class _DiffResult:
    """Everything that a comparison gives; `worst` are the pairs with the largest drift first."""

    findings: found_texts.CheckResults
    record: dict[str, Any]
    worst: list[tuple[LayerMatch, LayerDifference]]


def _result(
    request: DiffRequest, matching: Matching, drifts: DifferencesSoFar, failures: Sequence[ActvizError]
) -> _DiffResult:
    cases: dict[str, list[RuleResult]] = {}
    for pair in matching.pairs:
        cases[pair.ours.address] = _cases(pair, drifts.found.get(pair.ours.address), request.tolerances)
    rows = tuple(_row(pair, drifts.found.get(pair.ours.address), cases[pair.ours.address]) for pair in matching.pairs)
    every = tuple(case for found in cases.values() for case in found)
    lost = tuple(failure.message for failure in failures)
    subject = " and ".join(request.names)
    headings: tuple[str, ...] = HEADINGS
    right = frozenset(range(3, 8))
    if not any(row[1] for row in rows):  # every layer has the name of its partner
        headings, rows = (headings[0], *headings[2:]), tuple((row[0], *row[2:]) for row in rows)
        right = frozenset(range(2, 7))
    findings = found_texts.CheckResults("diff", subject, headings, rows, right, every, lost)
    compared = [pair for pair in matching.pairs if pair.ours.address in drifts.found]
    worst = sorted(
        ((pair, drifts.found[pair.ours.address]) for pair in compared),
        key=lambda item: (-min(item[1].apart, 1), -item[1].relative),
    )
    return _DiffResult(findings, _record(request, matching, drifts, findings), worst)


def _cases(pair: LayerMatch, drift: LayerDifference | None, tolerances: Tolerances) -> list[RuleResult]:
    if drift is not None:
        return judge(pair.ours.address, drift, tolerances)
    if pair.fits:
        return []
    said = f"the shape is {sizes_text(pair.ours.shape)} in A and {sizes_text(pair.theirs.shape)} in B"
    return [RuleResult(pair.ours.address, "same shape", kept=False, reason=said)]


def _row(pair: LayerMatch, drift: LayerDifference | None, cases: Sequence[RuleResult]) -> tuple[str, ...]:
    broken = [case.rule for case in cases if not case.kept]
    numbers = ["-"] * 5
    if drift is not None:
        measured = (drift.largest, drift.mean, drift.relative, drift.cosine, drift.correlation)
        numbers = [verdicts.number(value) for value in measured[:3]]
        numbers += [verdicts.number(value, 6) for value in measured[3:]]
    partner = "" if pair.by == "address" else pair.theirs.address
    result = (
        f"BROKEN: {'; '.join(rule.removeprefix('not ') for rule in broken)}"
        if broken
        else "ok"
        if drift is not None
        else "not compared"
    )
    return (pair.ours.address, partner, sizes_text(pair.ours.shape), *numbers, result)


def _record(
    request: DiffRequest, matching: Matching, drifts: DifferencesSoFar, findings: found_texts.CheckResults
) -> dict[str, Any]:
    from actviz.version import VERSION

    return {
        "actviz": VERSION,
        "a": request.names[0],
        "b": request.names[1],
        "inputs": drifts.inputs,
        "failures": list(findings.failures),
        "layers": [_pair_said(pair, drifts.found.get(pair.ours.address)) for pair in matching.pairs],
        "only_in_a": [layer.address for layer in matching.only_ours],
        "only_in_b": [layer.address for layer in matching.only_theirs],
        "left_out": drifts.left_out,
        "limits": [verdicts.case_said(case) for case in findings.cases],
        "broken": len(findings.broken),
        "first_broken": findings.broken[0].subject if findings.broken else None,
    }


def _pair_said(pair: LayerMatch, drift: LayerDifference | None) -> dict[str, Any]:
    said: dict[str, Any] = {"a": pair.ours.address, "b": pair.theirs.address, "matched_by": pair.by}
    said["shape"] = None if pair.ours.shape is None else list(pair.ours.shape)
    if drift is None:
        return said
    return said | {
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


def _reason(findings: found_texts.CheckResults) -> str:
    """Return why the command ends as it does: the first layer of A that diverges."""
    first = findings.broken[0]
    layers = len({case.subject for case in findings.broken})
    among = f"the first of {layers:,} layers that diverge" if layers > 1 else "the only layer that diverges"
    return f"{escape(first.subject, 100)}: {first.reason}; {among}."


def _draw(request: DiffRequest, sides: DiffSource, folder: Path, result: _DiffResult) -> Iterator[Note | FileWritten]:
    """Draw the worst layers, each on the input on which it differs most."""
    chosen = [item for item in result.worst if item[1].largest or item[1].apart][: request.figures]
    if not chosen:
        yield Note("no figures: nothing differs.")
    by_input: dict[int, list[LayerMatch]] = {}
    for pair, drift in chosen:
        by_input.setdefault(drift.worst, []).append(pair)
    drawn: Mapping[str, tuple[Activation, Activation, Sample]] = {
        pair.ours.address: (*both, sides.sample(number))
        for number, pairs in by_input.items()
        for pair, both in zip(pairs, sides.activations(pairs, number), strict=True)
    }
    for rank, (pair, _) in enumerate(chosen):
        ours, theirs, sample = drawn[pair.ours.address]
        work = diff_figures.DiffFigureTask(rank, request.names, (ours, theirs), sample)
        yield from diff_figures.draw(folder, work, overwrite=request.overwrite)
