"""`check`: statistics of layers over a set of inputs against limits."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.batch import output_paths, requests, statistics_runner, streaming
from actviz.batch.batch_sizes import fixed_batch_size
from actviz.batch.events import FileWritten, Note, Progress
from actviz.batch.requests import ModelRequest
from actviz.batch.statistics_runner import StatisticsSoFar
from actviz.batch.vector_figure import write_picture
from actviz.commands import check_table, part_runs, parts, resuming, verdicts
from actviz.errors import ActvizError, UsageError, escape
from actviz.layer_catalogue import passes_on
from actviz.results import ci_reports, output_files, part_files
from actviz.statistics.channel_statistics import extremes_of, indices_of, least_of
from actviz.statistics.limits import Limits, judge
from actviz.statistics.running_statistics import bounds_of
from actviz.system.held_folder import hold_folder
from actviz.version import VERSION
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actviz.batch.computations import NumberedSample
    from actviz.records import LayerInfo, ModelFacts, RuleResult

PART = "check.npz"
DEFAULT = Limits(no_nan=True, no_infinite=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest(ModelRequest):
    """The arguments of the command; without any limit in `limits`, no value may be NaN or infinite.

    With `resume`, parts of the inputs that are done are kept in the output folder.
    """

    limits: Limits
    resume: bool = False
    reports: verdicts.ReportTargets = field(default_factory=verdicts.ReportTargets)


def check(request: CheckRequest) -> Iterator[Note | Progress | FileWritten | verdicts.Verdict]:
    """Compute every input and check every layer; yield events, then the result.

    Raises
    ------
    ToleranceError
        At the end, if a limit is broken.
    ActvizError
        If nothing could be computed; `PartialError` at the end if some inputs failed.
    """
    limits = request.limits if request.limits != Limits() else DEFAULT
    verdicts.prepare(request.reports, "check", overwrite=request.overwrite)
    target = _figure_target(request)
    folder = target if target is None or request.inputs.shard.count > 1 or request.resume else target.parent
    with hold_folder(folder) if folder is not None else contextlib.nullcontext():
        yield from _check(request, limits, target)


def _check(
    request: CheckRequest, limits: Limits, target: Path | None
) -> Iterator[Note | Progress | FileWritten | verdicts.Verdict]:
    yield from streaming.check(request.reading, has_inputs=request.has_inputs)
    sharded = request.inputs.shard.count > 1
    folder = target if sharded or request.resume else None
    with Worker(request.opening) as worker:
        run = yield from part_runs.open_run(CheckParts(limits), worker, request, folder)
        request = run.request
        unfinished = folder / resuming.UNFINISHED if folder is not None and request.resume else None
        tally = yield from resuming.compute(run, unfinished)
        record = run.record(tally) if folder is not None else {}
        worker.stop()
    facts = run.facts
    yield from parts.check_inputs(tally.inputs, run.failures, request.inputs.shard)
    for address, dtype in tally.left_out.items():
        yield Note(f'layer "{escape(address, 80)}" is left out: it gives {escape(dtype, 40)}, not real numbers.')
    if (
        limits.saturated is not None
        and tally.totals
        and all(np.isnan(totals.saturated) for totals in tally.totals.values())
    ):
        yield Note("no layer has a bounded activation function, so --max-saturated checks nothing.")
    if not tally.totals and tally.inputs:
        message = f"{facts.file}: none of these layers gives numbers; choose others with --layer."
        raise UsageError(message)
    if folder is not None:
        part_files.write_part(folder / PART, record, tally.state())
        yield FileWritten(folder / PART)
        resuming.finish(unfinished)
    if sharded:
        if run.failures:
            raise requests.partial(len(run.failures), len(run.failures) + tally.inputs)
        return
    lost = [failure.message for failure in run.failures]
    checked = Checked(facts.file, facts.digest, facts.weights)
    result = result_of(checked, tally, limits, lost, asked=bool(request.layers))
    skipped = run.skipped.records()
    result.record.update(({"skipped": skipped} if skipped else {}) | request.reading.code_record())
    if request.reading.stateful:
        result.record["stateful"] = True
    if target is not None and folder is None:
        yield draw(target, result, checked, tally, request.reading.code_record())
    yield from verdicts.conclude(result.findings, result.record, request.reports, ci_reports.CheckResults.reason)


@dataclass(frozen=True, slots=True)
class CheckParts:
    """The parts of `check`; see `part_runs.PartCommand`."""

    limits: Limits

    def choose(self, request: CheckRequest, facts: ModelFacts) -> Sequence[LayerInfo]:
        """Return the requested layers, else those that change their input."""
        return _choose(request, facts)

    def start(self, request: CheckRequest, facts: ModelFacts, layers: Sequence[LayerInfo]) -> StatisticsSoFar:
        """Return an empty tally."""
        del request
        return StatisticsSoFar(layers, fixed_batch_size(facts))

    def compute(
        self,
        request: CheckRequest,
        worker: Worker,
        items: Iterable[NumberedSample | Note | ActvizError],
        tally: StatisticsSoFar,
    ) -> Iterator[Note | Progress | ActvizError]:
        """Compute inputs and add them to the tally."""
        stateful = request.reading.stateful
        return statistics_runner.count(worker, items, tally, fail_fast=request.fail_fast, stateful=stateful)

    def record(self, request: CheckRequest, facts: ModelFacts) -> dict[str, Any]:
        """Return the command and its options."""
        del facts
        return {"command": "check", "options": {"limits": self.limits.record(), "asked": bool(request.layers)}}


def _choose(request: CheckRequest, facts: ModelFacts) -> Sequence[LayerInfo]:
    """Return the requested layers, else those that change their input."""
    layers = requests.requested_layers(request, facts) or verdicts.own_layers(facts.layers)
    if not layers:
        message = f"{facts.file}: no layer computes numbers of its own; name some with --layer."
        raise UsageError(message)
    return layers


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check: for the terminal and CI, as JSON, and the results of the rules by address."""

    findings: ci_reports.CheckResults
    record: dict[str, Any]
    cases: dict[str, list[RuleResult]]


@dataclass(frozen=True, slots=True)
class Checked:
    """What is checked: the file of a model, its configuration, and the name of weights in another file (``""``: none)."""

    model: str
    configuration: str
    weights: str = ""

    @property
    def title(self) -> str:
        """The model, and which weights it has."""
        return f"{self.model} with {self.weights}" if self.weights else self.model

    def record(self) -> dict[str, str]:
        """Return the provenance of a result."""
        weights = {"weights": self.weights} if self.weights else {}
        return {"model": self.model, **weights, "configuration": self.configuration}


def result_of(
    checked: Checked, tally: StatisticsSoFar, limits: Limits, lost: Sequence[str], *, asked: bool
) -> CheckResult:
    """Judge the statistics; `lost` are the messages of inputs that failed."""
    layers = [layer for layer in tally.layers if layer.address in tally.totals]
    cases = {
        layer.address: [
            _with_input(case, tally) for case in judge(layer.address, tally.totals[layer.address], limits, tally.inputs)
        ]
        for layer in layers
    }
    passed = {} if asked else _take_passed_on(layers, cases, tally)
    every = tuple(case for found in cases.values() for case in found)
    rows = check_table.rows(
        [
            check_table.CheckedLayer(
                layer, tally.totals[layer.address], cases[layer.address], passed.get(layer.address, ())
            )
            for layer in layers
        ],
        grouped=not asked,
    )
    headings, right = check_table.HEADINGS, check_table.RIGHT
    findings = ci_reports.CheckResults("check", checked.title, headings, rows, right, every, tuple(lost))
    record = {
        "actviz": VERSION,
        **checked.record(),
        "inputs": tally.inputs,
        "failures": list(lost),
        "layers": [_layer_record(layer, tally) for layer in layers],
        "left_out": tally.left_out,
        "limits": [verdicts.case_record(case) for case in every],
        "broken": len(findings.broken),
    }
    return CheckResult(findings, record, cases)


def _take_passed_on(
    layers: Sequence[LayerInfo], cases: dict[str, list[RuleResult]], tally: StatisticsSoFar
) -> dict[str, list[RuleResult]]:
    """Take the broken limits of layers that only pass values on out of `cases`, and return them by address.

    An earlier layer broke them. The exception are non-finite values that no earlier layer has: an average
    can overflow.
    """
    passed: dict[str, list[RuleResult]] = {}
    nonfinite = False
    for layer in layers:
        totals, own = tally.totals[layer.address], cases[layer.address]
        if passes_on(layer.kind):
            arose = [case for case in own if case.kept or (case.rule.startswith("no ") and not nonfinite)]
            passed[layer.address] = [case for case in own if case not in arose]
            cases[layer.address] = arose
        nonfinite = nonfinite or bool(totals.nan.any() or totals.infinite.any())
    return passed


def _with_input(case: RuleResult, tally: StatisticsSoFar) -> RuleResult:
    """Add the name of the first input with NaN or infinities to the reason of a rule about them."""
    name = tally.nonfinite.get(case.subject)
    if case.kept or name is None or not case.rule.startswith("no "):
        return case
    return replace(case, reason=f"{case.reason}; first input with NaN or infinities: {escape(name, 80)}")


def _layer_record(layer: LayerInfo, tally: StatisticsSoFar) -> dict[str, Any]:
    totals = tally.totals[layer.address]
    low, high = extremes_of(totals.minimum, totals.maximum)
    bounds, count = bounds_of(layer.activation), totals.count or 1.0
    record: dict[str, Any] = {
        "address": layer.address,
        "class": layer.kind,
        "activation": layer.activation,
        "channels": totals.channels,
        "values": int(totals.count),
        "min": verdicts.finite(low),
        "max": verdicts.finite(high),
        "mean": verdicts.finite(check_table.mean_of(totals)),
        "least_std": verdicts.finite(least_of(totals.std)),
        "dead": indices_of(totals.dead),
        "constant": indices_of(totals.constant),
        "zeros": totals.zeros / count,
        "saturated": None if bounds is None else totals.saturated / count,
        "bounds": None if bounds is None else [verdicts.finite(end) for end in bounds],
        "nan": int(totals.nan.sum()),
        "infinite": int(totals.infinite.sum()),
        "first_nonfinite": tally.nonfinite.get(layer.address),
    }
    for name in ("minimum", "maximum", "mean", "std"):
        record[f"channel_{name}"] = [verdicts.finite(value) for value in getattr(totals, name).tolist()]
    return record


def _figure_target(request: CheckRequest) -> Path | None:
    """Return the path of the figure after checking that it may be written, ``None`` without one."""
    if request.inputs.shard.count > 1 or request.resume:
        return _part_target(request)
    if request.output is None:
        return None
    path = output_files.resolve_output(
        request.output, "", output_paths.FORMATS, "the figure of a check is written as PNG, SVG or PDF"
    )
    identity = {"model": request.model.name, "command": "check"}
    output_files.check_output(path, identity, overwrite=request.overwrite)
    return path


def _part_target(request: CheckRequest) -> Path:
    """Return the folder of a result file after checking that it may be written."""
    sharded = request.inputs.shard.count > 1
    option = "--shard" if sharded else "--resume"
    parts.check_folder(request.output, option)
    if request.reading.stateful:
        message = f"--stateful runs the samples of one input in order, which {option} would divide; leave one out."
        raise UsageError(message)
    if sharded and request.reports.junit is not None:
        raise UsageError("--shard judges no limits; give --junit to actviz merge.")
    path = Path(str(request.output))
    output_files.check_folder(path, through_link=False)
    output_files.prepare_folder(path)
    identity = {"model": request.model.name, "command": "check"}
    kind = output_files.ResultKind("result of check", part_files.identity_in)
    output_files.check_replaceable(path / PART, identity, kind, overwrite=request.overwrite)
    return path


def draw(
    path: Path, result: CheckResult, checked: Checked, tally: StatisticsSoFar, input_code: Mapping[str, str]
) -> FileWritten:
    """Draw the layers that break a limit, or all layers if there is none."""
    from actviz.figures import range_chart

    offending = [layer for layer in tally.layers if any(not case.kept for case in result.cases.get(layer.address, ()))]
    shown = offending or [layer for layer in tally.layers if layer.address in tally.totals]
    rows = [
        range_chart.RangeRow(layer, tally.totals[layer.address], tuple(result.cases[layer.address])) for layer in shown
    ]
    heading = range_chart.ChartHeading(checked.title, tally.inputs, len(tally.totals), len(offending))
    picture = range_chart.draw_chart(rows, heading)
    provenance = {"actviz": VERSION, "command": "check", **checked.record()}
    write_picture(path, picture, {**provenance, **input_code})
    return FileWritten(path)
