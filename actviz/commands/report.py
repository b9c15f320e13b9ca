"""`report`: one HTML page, and Markdown, with findings about a model and its figures for given inputs."""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actviz.batch import requests, sheet_layers, statistics_runner
from actviz.batch.batch_sizes import BatchSizes, fixed_batch_size
from actviz.batch.computations import ActivationComputation
from actviz.batch.events import FileWritten, Note, Progress
from actviz.batch.labels import LabelNames, check_fits, read_names_of
from actviz.batch.requests import ModelRequest
from actviz.batch.retries import ComputedBatch
from actviz.batch.runner import BatchRunner
from actviz.commands import report_baseline, report_data
from actviz.commands.layers import takes_images
from actviz.errors import ActvizError, LimitError, OutputError, UsageError, escape, worst
from actviz.records import Context, Style, sizes_text
from actviz.report import ReportContents, budget, html_page, markdown
from actviz.results import output_files
from actviz.system import file_system, file_writing
from actviz.system.held_folder import hold_folder
from actviz.version import VERSION
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from actviz.batch.computations import NumberedSample
    from actviz.commands.report_baseline import ReportBaseline
    from actviz.commands.report_data import ReportData
    from actviz.records import Activation, LayerInfo, ModelFacts, Picture, Sample
    from actviz.report import ReportLayer
    from actviz.statistics.differences import Matching

SUFFIXES = (".html", ".htm")
HEAD_BYTES = 64 << 10
_MEGABYTE = 1 << 20
_CALLS = re.compile(r"#\d+|@[^/]*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest(ModelRequest):
    """The arguments of the command.

    `against` is another model or a file of activations; `markdown` a file to write, or to append
    to where `summary` is true, as for the summary of a CI job. `maximum_size` is that of the page in
    bytes, `pictures` the maximum number of inputs with figures.
    """

    against: Path | None = None
    markdown: Path | None = None
    summary: bool = False
    labels: Path | None = None
    maximum_size: int = 20 * _MEGABYTE
    pictures: int = 5


def report(request: ReportRequest) -> Iterator[Note | Progress | FileWritten]:
    """Run the model on every input and write the report; yield events as they happen.

    Raises
    ------
    ActvizError
        If no report could be written; `PartialError` at the end if an input failed.
    """
    target = _target(request)
    with contextlib.ExitStack() as held:
        for path in {target.parent, *([request.markdown.parent] if request.markdown is not None else [])}:
            if file_system.is_folder(path):
                held.enter_context(hold_folder(path))
        yield from _report(request, target)


def _report(request: ReportRequest, target: Path) -> Iterator[Note | Progress | FileWritten]:
    names = read_names_of(request.labels, None)
    with Worker(request.opening) as worker, contextlib.ExitStack() as stack:
        facts = yield from requests.open_model(worker, request)
        yield from requests.prepare(worker, request.model)
        other = None
        if request.against is not None:
            other = stack.enter_context(report_baseline.opened(request.against, request.opening))
            yield from (Note(line) for line in other.code)
            for each in other.workers:
                yield from requests.new_notes(each)
        if all(spec.shape for spec in facts.inputs) and not _is_whole(facts):
            facts = worker.complete()
        facts, layers, inputs = requests.begin(request, facts, worker, _choose)
        names = names if request.labels else replace(names, labels=facts.labels)
        data = report_data.begin(layers, fixed_batch_size(facts), asked=bool(request.layers))
        run = _ReportRun(request, facts, worker, other, data, names)
        if other is not None:
            run.matching = report_baseline.matched(other, layers, str(request.against))
        failures: list[ActvizError] = []
        yield from requests.collect_failures(_compute(run, inputs), failures)
        run.skipped = tuple(inputs.count.skipped.records())
        if not run.data.tally.inputs:
            raise worst(failures)
        worker.stop()
    report_data.check_drawable(run.data, facts.file)
    yield Progress(0, 0, "writing the page")
    contents = _contents(run, failures)
    content, contents = _fitted(contents, run)
    yield from (Note(line) for line in contents.left_out)
    yield from _write(run, target, content, contents)
    if failures:
        raise requests.partial(len(failures), len(failures) + run.data.tally.inputs)


@dataclass(slots=True)
class _ReportRun:
    """The state of a run: what is fixed for all inputs, and the results so far."""

    request: ReportRequest
    facts: ModelFacts
    worker: Worker
    other: ReportBaseline | None
    data: ReportData
    names: LabelNames
    matching: Matching | None = None
    versions: Mapping[str, str] | None = None
    preprocessing: tuple[str, ...] = ()
    skipped: tuple[dict[str, Any], ...] = ()
    sheet: Picture | None = None


def _choose(request: ReportRequest, facts: ModelFacts) -> list[LayerInfo]:
    """Return the requested layers, else all but inputs and attention scores, which need a second call of the layer."""
    from actviz.figures.renderers import kind_of

    layers = requests.requested_layers(request, facts) or [layer for layer in facts.layers if _is_shown(layer)]
    if not any(kind_of(layer.axes) for layer in layers):
        message = f"{facts.file}: none of these layers can be drawn; list them with: actviz layers {shlex.quote(str(request.model))}"
        raise UsageError(message)
    return layers


def _is_whole(facts: ModelFacts) -> bool:
    return all(layer.shape is not None and layer.parameters is not None for layer in facts.layers)


def _is_shown(layer: LayerInfo) -> bool:
    return layer.kind != "InputLayer" and not layer.address.endswith("@scores")


class _ReportComputation:
    """Activations of the model, and of the baseline by the addresses of the model; empty where it lacks the input."""

    def __init__(self, run: _ReportRun, outputs: ActivationComputation) -> None:
        self._run, self._outputs = run, outputs
        self.sizes = outputs.sizes
        self.workers: Sequence[Worker] = [run.worker, *(run.other.workers if run.other is not None else [])]
        self._sample: Sample | None = None

    def ask(self, batch: Sequence[NumberedSample], size: int, state: str) -> None:
        """Start computing an input."""
        (self._sample,) = (piece.sample for piece in batch)
        self._outputs.ask(batch, size, state)

    def take(self) -> tuple[Mapping[str, Activation], Mapping[str, Activation]]:
        """Wait for the activations of both sides."""
        ours, run = self._outputs.take(), self._run
        if run.other is None or run.matching is None or self._sample is None:
            return ours, {}
        return ours, report_data.ask(run.other, self._sample, run.matching)


def _compute(run: _ReportRun, inputs: requests.Inputs) -> Iterator[Note | Progress | ActvizError]:
    """Run the model on the inputs: for activations where figures or a comparison need them, else for statistics."""
    request, data = run.request, run.data
    items = requests.numbered(inputs)
    outputs = ActivationComputation(run.worker, data.layers, BatchSizes(data.layers, 1))
    with BatchRunner(_ReportComputation(run, outputs)) as runner:
        while run.other is not None or len(data.inputs) < request.pictures:
            first = next(items, None)
            if first is None:
                return
            # No more inputs than may be needed: the others are run in filled batches, which give other last bits.
            most = None if run.other is not None else request.pictures - len(data.inputs) - 1
            for event in runner.run(
                itertools.chain([first], itertools.islice(items, most)), fail_fast=request.fail_fast
            ):
                if isinstance(event, ComputedBatch):
                    run.versions = outputs.versions
                    _take(run, event.pieces[0].sample, *event.result)
                else:
                    yield event
    yield from statistics_runner.count(run.worker, items, data.tally, fail_fast=request.fail_fast)


def _take(
    run: _ReportRun, sample: Sample, activations: Mapping[str, Activation], theirs: Mapping[str, Activation]
) -> None:
    """Add the results of one input."""
    request, data = run.request, run.data
    run.preprocessing = run.preprocessing or tuple(sample.ranges)
    if not data.tally.inputs:
        check_fits(run.names, activations.values())
    first = not data.inputs
    room = None
    if len(data.inputs) < request.pictures:
        inputs = request.pictures if request.inputs.lists else min(request.pictures, max(1, len(request.inputs.paths)))
        room = report_data.PageBudget(request.maximum_size, inputs)
    report_data.add(data, sample, activations, room)
    if first and request.markdown is not None and not request.summary:
        run.sheet = _sheet(run, sample, activations)
    if theirs:
        report_data.compare_with(data, activations, theirs)
        if room is not None:
            report_data.add_others(data, theirs)


def _sheet(run: _ReportRun, sample: Sample, activations: Mapping[str, Activation]) -> Picture | None:
    """Return a sheet of the first input, ``None`` where its layers do not fit on one."""
    from actviz.figures.sheet import draw_sheet

    shown = [activations[layer.address] for layer in sheet_layers.drawable(run.data.layers)]
    context = Context(
        run.facts.file, sample.name, sample.fed, sample.thumbnail, run.names.labels, padding=sample.padding
    )
    left_out = sheet_layers.left_out(run.data.layers, {activation.address for activation in shown})
    context = replace(context, left_out=left_out)
    try:
        return draw_sheet(shown, 0, context, Style())
    except (UsageError, LimitError):
        return None


def _contents(run: _ReportRun, failures: Sequence[ActvizError]) -> ReportContents:
    data, facts = run.data, run.facts
    findings = report_data.findings_of(data)
    compared = None
    if run.other is not None and run.matching is not None:
        compared = report_data.comparison_of(data, run.other, run.matching, escape(str(run.request.against), 200))
    marked = frozenset(finding.address for finding in findings)
    versions = ", ".join(f"{name} {version}" for name, version in (run.versions or {}).items() if version)
    provenance: dict[str, Any] = _identity(facts.file) | {
        "actviz": VERSION,
        "configuration": facts.digest,
        "inputs": data.tally.inputs,
        "versions": versions,
        **run.request.reading.code_record(),
    }
    return ReportContents(
        facts.file,
        _facts(run),
        tuple(data.inputs),
        data.tally.inputs,
        report_data.shown_of(data, marked, run.names.labels),
        findings,
        compared,
        (),
        tuple(failure.message for failure in failures),
        provenance,
        run.skipped,
    )


def _facts(run: _ReportRun) -> tuple[tuple[str, str], ...]:
    facts = run.facts
    parameters = {_CALLS.sub("", layer.address): layer.parameters for layer in facts.layers}
    known = sum(count for count in parameters.values() if count)
    inputs = "; ".join(f"{spec.name} {sizes_text(spec.shape, free='any')} {spec.dtype}" for spec in facts.inputs)
    shown = len(run.data.layers)
    total = sum(_is_shown(layer) for layer in facts.layers)
    count = f"{shown:,} of {total:,} shown" if run.request.layers and shown < total else f"{shown:,}"
    pairs = [("written by", facts.writer), ("model takes", inputs), ("layers", count)]
    if all(layer.parameters is not None for layer in facts.layers):
        pairs.append(("parameters", f"{known:,}"))
    pairs.append(("inputs", f"{run.data.tally.inputs:,}" + ("" if run.request.has_inputs else ", made up")))
    if takes_images(facts) and run.preprocessing:
        pairs.append(("fed as", run.preprocessing[0]))
    if run.request.reading.function is not None:
        pairs.append(("inputs read by", run.request.reading.function.description))
    if facts.code:
        pairs.append(("code inside", ", ".join(facts.code)))
    return tuple(pairs)


def _fitted(contents: ReportContents, run: _ReportRun) -> tuple[bytes, ReportContents]:
    """Return the page within the size limit, and its contents.

    Raises
    ------
    LimitError
        If not even one figure fits.
    """
    limit = run.request.maximum_size
    bare = replace(contents, layers=tuple(replace(layer, figures=()) for layer in contents.layers))
    size = len(html_page.render(bare))
    if size > limit:
        contents = replace(contents, layers=tuple(replace(layer, thumbnail=None) for layer in contents.layers))
        bare = replace(bare, layers=tuple(replace(layer, thumbnail=None) for layer in bare.layers))
        size = len(html_page.render(bare))
    # Space for the lines about what is left out, and for the color tables of figures.
    reserve = 4_000 + sum(len(layer.info.address) // 8 + 64 for layer in contents.layers)
    try:
        fitted = budget.fit(contents.layers, limit - size - reserve)
    except LimitError:
        needed = size + reserve + budget.smallest_figure_bytes(contents.layers)
        message = f"--max-size: a page of {limit:,} bytes has no room for one figure; at least {needed:,} are needed here. Allow more, or show fewer layers with --layer."
        raise LimitError(message) from None
    contents = replace(contents, layers=fitted, left_out=_left_out(contents, fitted, run, size + reserve))
    return html_page.render(contents), contents


def _left_out(contents: ReportContents, fitted: Sequence[ReportLayer], run: _ReportRun, size: int) -> tuple[str, ...]:
    """Return lines about what is missing from the page, and how to get it."""
    lines = []
    count, pictured = contents.count, len(contents.inputs)
    if pictured < count:
        lines.append(
            f"Figures are of the first {pictured:,} of {count:,} inputs; numbers and findings are over all of them. For more figures: --pictures {count}."
        )
    before = {layer.info.address: layer for layer in contents.layers}
    cut = [
        layer
        for layer in fitted
        if len(layer.figures) < len(before[layer.info.address].figures)
        or any(len(figure.channels) < figure.total for figure in layer.figures)
    ]
    if cut:
        whole = sum(budget.whole_figure_bytes(figure) for layer in contents.layers for figure in layer.figures)
        needed = -(-(size + whole) * 11 // 10 // _MEGABYTE)
        lines.append(
            f"Of {len(cut):,} layer{'s' if len(cut) > 1 else ''} only the strongest channels are drawn, to stay within {run.request.maximum_size / _MEGABYTE:g} MB. For all of them: --max-size {needed}MB, or fewer layers with --layer."
        )
    for address, dtype in run.data.tally.left_out.items():
        lines.append(f"{escape(address, 80)}: gives {escape(dtype, 40)}, not real numbers.")
    return tuple(lines)


def _identity(model: str) -> dict[str, str]:
    return {"command": "report", "model": model}


def _target(request: ReportRequest) -> Path:
    """Return the path of the page after checking that all files may be written."""
    stem = output_files.slug(request.model.name.removesuffix(request.model.suffix))
    path = output_files.resolve_output(request.output, f"{stem}_report.html", SUFFIXES, "a report is written as HTML")
    targets = [(path, output_files.ResultKind("report", _page_of))]
    if request.markdown is not None and not request.summary:
        targets.append((request.markdown, output_files.ResultKind("report", _markdown_of)))
    identity = _identity(request.model.name)
    for target, kind in targets:
        output_files.prepare_folder(target.parent)
        if not _is_empty(target):
            output_files.check_replaceable(target, identity, kind, overwrite=request.overwrite)
    if request.markdown is not None and not request.summary:
        sheet = {"model": request.model.name, "address": "report"}
        output_files.check_target(_sheet_path(request.markdown), sheet, overwrite=request.overwrite)
    return path


def _is_empty(path: Path) -> bool:
    """Return True for an existing empty file, as CI systems create."""
    if not file_system.is_file(path) or file_system.is_link(path):
        return False
    file, stamp = file_system.open_regular(path, OutputError)
    file.close()
    return stamp.size == 0


def _page_of(path: Path) -> dict[str, Any] | None:
    return html_page.read_provenance(_head_of(path))


def _markdown_of(path: Path) -> dict[str, Any] | None:
    return markdown.read_provenance(_head_of(path))


def _head_of(path: Path) -> bytes:
    with file_system.reading(path, OutputError) as (file, _):
        return file.read(HEAD_BYTES)


def _sheet_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}_sheet.png")


def _write(run: _ReportRun, target: Path, content: bytes, contents: ReportContents) -> Iterator[FileWritten]:
    """Write the page, then the sheet and the Markdown."""
    file_writing.write_file(target, content)
    yield FileWritten(target)
    path = run.request.markdown
    if path is None:
        return
    sheet = None
    if run.sheet is not None:
        sheet_path = _sheet_path(path)
        record = {"actviz": VERSION, "model": run.facts.file, "address": "report", "numbers": run.sheet.numbers}
        output_files.write_figure(sheet_path, run.sheet.pixels, record)
        sheet = sheet_path.name
        yield FileWritten(sheet_path)
    words = markdown.render(contents, sheet, contents.provenance).encode("utf-8", "replace")
    if run.request.summary:
        file_writing.append_file(path, words)
    else:
        file_writing.write_file(path, words)
    yield FileWritten(path)
