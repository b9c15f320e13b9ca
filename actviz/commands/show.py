"""`show`: from a model and inputs to figures, the main job.

Inputs are read ahead, computed in batches and drawn meanwhile; memory does not grow with
their number. What an earlier run made and is still right is left as it is.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from actviz.addresses import select_layers
from actviz.batch import color_ranges, figure_writer, output_paths, requests, streaming
from actviz.batch.batch_sizes import BatchSizes
from actviz.batch.computations import ActivationComputation, Activations
from actviz.batch.events import Event, FileFailed, FileWritten, Note, Output, Progress, duration
from actviz.batch.figure_writer import DrawnFigure, FailedFigure, FigureWriter
from actviz.batch.labels import LabelNames, check_names, names_for
from actviz.batch.requests import ModelRequest
from actviz.batch.retries import ComputedBatch, FailedItem
from actviz.batch.runner import BatchRunner
from actviz.batch.up_to_date import AlwaysOutdated, Fingerprint, RenderSettings, ReplaceRules, UpToDateCheck
from actviz.batch.work_items import (
    InputBatch,
    InputDone,
    Item,
    UnreadableInput,
    UpToDate,
    WorkItem,
    WorkItemReader,
    work_items,
)
from actviz.commands.layers import say_code
from actviz.errors import ActvizError, ModelChangedError, OutputError, PartialError, UsageError
from actviz.inputs.input_files import Shard
from actviz.results.manifest import Manifest
from actviz.system import file_system, temporary_files
from actviz.system.held_folder import MovedFolderError, hold_folder
from actviz.system.run_lock import RunIdentity, RunLock
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from actviz.batch.output_paths import OutputOptions, OutputPaths
    from actviz.inputs import InputFile, InputPipeline
    from actviz.records import Activation, LayerInfo, ModelFacts, Sample, Style

__all__ = ["FileWritten", "Note", "ShowRequest", "show"]

_ShowRunner = BatchRunner[WorkItem, Activations]

# So many figures may wait to be drawn while the next batch is computed.
WAITING = 64
# What a run holds beside activations: TensorFlow, and the libraries that draw.
BASE_MEMORY = 600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRequest(ModelRequest):
    """What the command asks for, parsed.

    `batch_size` is the number of inputs computed at a time (``None``: chosen); `shard` the
    part of the inputs that is done; `force` makes figures again that are up to date; `sheet`
    is ``None`` where it follows from `layers`.
    """

    style: Style
    labels: Path | None = None
    tokens: Path | None = None
    batch_size: int | None = None
    shard: Shard = field(default_factory=Shard)
    force: bool = False
    dry_run: bool = False
    sheet: bool | None = None
    through_link: bool = False


def show(request: ShowRequest) -> Iterator[Event]:
    """Draw the chosen layers for every input; yield what happens as it happens.

    Raises
    ------
    ActvizError
        When nothing could be made; `PartialError` at the end when part of it failed.
    """
    started = time.perf_counter()
    given = requests.given_by(request)
    yield from streaming.check(request.reading, request.shard, has_inputs=request.has_inputs)
    with Worker(request.opening) as worker:
        facts = worker.facts()
        yield from (Note(line) for line in say_code(facts, request.opening.trust))
        yield from requests.new_notes(worker)
        entries = requests.entries_by(request, facts, output_paths.folder_of(_wanted(request, facts, ())))
        request = replace(request, style=figure_writer.check_style(request.style))
        names = names_for(request.labels, request.tokens, facts)
        subject = _LayerSelection(request, facts, worker, entries)
        if not subject.may_be_done():
            worker.prepare()
        first = subject.first()
        if subject.unknown:
            facts = subject.complete(first)
        layers = subject.layers()
        samples = None if entries else requests.gather_all(request, given, facts, layers).samples
        first = samples[:2] if samples is not None else first or subject.first()
        check_names(names, layers, [sample.values for sample in first])
        color_ranges.check_addresses(request.style, [layer.address for layer in layers])
        run = _ShowRun(request, facts, layers, names, entries, samples, started)
        if request.dry_run:
            yield from run.estimate(worker, first)
            return
        with contextlib.closing(run):
            yield from run.share_ranges(worker)
            yield from run.make(worker, first)


@dataclass(slots=True)
class _LayerSelection:
    """The layers to draw, found out step by step where a model tells little of itself."""

    request: ShowRequest
    facts: ModelFacts
    worker: Worker
    entries: Sequence[InputFile]

    @property
    def unknown(self) -> bool:
        """Whether the file does not tell the shapes of all inputs."""
        return not all(spec.shape for spec in self.facts.inputs)

    def may_be_done(self) -> bool:
        """Tell whether an earlier run may have made all there is to make, so that nothing is computed."""
        folder = output_paths.folder_of(_wanted(self.request, self.facts, ()))
        known = all(layer.shape is not None for layer in self.facts.layers) and not self.unknown
        return known and not self.request.force and file_system.exists(folder / "manifest.json")

    def first(self) -> tuple[Sample, ...]:
        """Return up to two samples of the only file, or of the first that can be read.

        Raises
        ------
        ActvizError
            When the only file cannot be read.
        """
        from actviz.inputs import make_pipeline

        if not self.entries:
            return ()
        layers = [] if self.unknown else self.layers()
        how = make_pipeline(self.facts, layers or self.facts.layers, self.request.reading)
        only = len(self.entries) == 1
        for entry in self.entries if self.unknown or self.request.dry_run else self.entries[:1]:
            try:
                return _beginning(how, entry, 2 if only else 1)
            except ActvizError:
                if only or self.request.fail_fast:
                    raise
        return ()

    def complete(self, first: Sequence[Sample]) -> ModelFacts:
        """Ask the model for what follows from the shapes of the inputs."""
        if not first:
            found = requests.gather_all(self.request, requests.given_by(self.request), self.facts, self.facts.layers)
            first = found.samples[:1]
        shapes = {name: values.shape for name, values in first[0].values.items()}
        self.facts = self.worker.complete(shapes)
        return self.facts

    def layers(self) -> list[LayerInfo]:
        """Return the layers to draw: those asked for, else what a sheet shows."""
        if self.request.layers:
            return select_layers(self.facts.layers, self.request.layers, str(self.request.model), gone=self.facts.gone)
        if any(layer.shape is None for layer in self.facts.layers):
            self.facts = self.worker.complete()
        layers = figure_writer.drawable(self.facts.layers)
        if not layers:
            message = f"{self.facts.file}: no layer of this model can be drawn yet; list them with: actviz layers {self.request.model}"
            raise UsageError(message)
        return layers


def _beginning(how: InputPipeline, entry: InputFile, most: int) -> tuple[Sample, ...]:
    return tuple(itertools.islice(how.samples(how.open(entry.path)), most))


def _is_single(request: ShowRequest) -> bool:
    """Return True for a figure of each layer, False for a sheet."""
    return bool(request.layers) if request.sheet is None else not request.sheet


def _wanted(request: ShowRequest, facts: ModelFacts, layers: Sequence[LayerInfo]) -> OutputOptions:
    addresses = [layer.address for layer in layers] if _is_single(request) else []
    return output_paths.OutputOptions(addresses, request.output, facts.file, facts.digest, request.has_inputs)


@dataclass(slots=True)
class _BatchCounts:
    """What became of a batch so far: inputs done and failed, figures written, right and failed."""

    total: int
    done: int = 0
    written: int = 0
    right: int = 0
    failed_inputs: int = 0
    failures: list[ActvizError] = field(default_factory=list)

    def fail(self, failure: ActvizError) -> None:
        """Keep the worst failure, and how many there were."""
        worst = max([*self.failures[:1], failure], key=lambda one: one.exit_code)
        self.failures = [worst]


@dataclass(slots=True)
class _ShowRun:
    """One run: what is drawn of what, and what became of it so far."""

    request: ShowRequest
    facts: ModelFacts
    layers: Sequence[LayerInfo]
    names: LabelNames
    entries: Sequence[InputFile]
    samples: Sequence[Sample] | None
    started: float
    failed_figures: int = 0
    lost: int = 0
    tally: _BatchCounts = field(default_factory=lambda: _BatchCounts(0))
    manifest: Manifest | None = None

    @property
    def single(self) -> bool:
        """Whether there is one input only, whose failure is the run's."""
        return len(self.samples if self.samples is not None else self.entries) == 1

    @property
    def figures_each(self) -> int:
        """How many figures each input gets, pages not counted."""
        return len(_wanted(self.request, self.facts, self.layers).keys)

    def close(self) -> None:
        """Drop what the run needed while it went on."""
        if self.manifest is not None:
            self.manifest.close()

    def share_ranges(self, worker: Worker) -> Iterator[Note]:
        """Look at all inputs, those of other shards too, where a layer has one range for all of them."""
        from actviz.inputs import make_pipeline

        if self.request.style.scale != "run":
            return
        every = InputBatch(self.entries, Shard())
        how = make_pipeline(self.facts, self.layers, self.request.reading)
        reader = WorkItemReader(how, AlwaysOutdated(), every) if self.samples is None else None
        items = self._items(reader, AlwaysOutdated(), every.shard)
        computer: _ShowRunner = BatchRunner(self._computation(worker), stateful=self.request.reading.stateful)
        notes: list[Note] = []
        try:
            batches = _batches(computer.compute(items, WorkItem), notes)
            self.request = replace(self.request, style=figure_writer.share_ranges(self.request.style, batches))
        finally:
            if reader is not None:
                reader.end()
            computer.rest()
        yield from notes

    def _computation(self, worker: Worker) -> ActivationComputation:
        """Return the activations of the layers to draw, in batches as large as memory allows."""
        sizes = BatchSizes(self.layers, _batch_size(self.request, self.facts))
        return ActivationComputation(worker, self.layers, sizes)

    def make(self, worker: Worker, first: Sequence[Sample]) -> Iterator[Event]:
        """Make every figure that is due, and the manifest of the folder they go to.

        Raises
        ------
        OutputError
            When figures were moved or deleted meanwhile, with the number of those that are there.
        """
        with contextlib.ExitStack() as held:
            try:
                yield from self._make(worker, first, held)
            except MovedFolderError as failure:
                raise OutputError(self._told_lost(failure.message)) from None
        yield from self._summary()

    def _told_lost(self, reason: str) -> str:
        """Return how many figures of how many are written, and why not all of them are there."""
        tally = self.tally
        total = max(tally.written, self.figures_each * (tally.total - tally.failed_inputs) - tally.right)
        return f"{tally.written - self.lost:,} of {total:,} figures written: {reason}"

    def _make(self, worker: Worker, first: Sequence[Sample], held: contextlib.ExitStack) -> Iterator[Event]:
        from actviz.results import output_files

        request = self.request
        where = self._targets(first)
        upkeep = UpToDateCheck(
            where,
            _wanted(request, self.facts, self.layers).keys,
            self.facts.file,
            ReplaceRules(request.overwrite, request.force),
        )
        addresses = [layer.address for layer in self.layers]
        place = where.folder or (where.file.parent if where.file is not None else None)
        if where.folder is not None:
            output_files.check_folder(where.folder, through_link=request.through_link)
        unwritable = None
        if place is not None:
            unwritable = self._prepare(place, may_be_done=where.folder is not None)
            temporary_files.remove_stale_files(place)
            folder = held.enter_context(hold_folder(place))
        source = figure_writer.source_of(self.facts, named=request.has_inputs)
        painter = FigureWriter(source, request.style, self.names, where.folder, overwrite=request.overwrite)
        fingerprint = None
        if where.folder is not None:
            read_only = unwritable is not None
            fingerprint = Fingerprint(
                request.opening, RenderSettings(request.style, request.reading, self.names, addresses)
            )
            if not read_only:
                sheet = "" if _is_single(request) else " ".join(addresses)
                held.enter_context(RunLock(folder, RunIdentity(self.facts.file, fingerprint.shared, sheet)))
            self.manifest = Manifest(where.folder, self.facts.file, overwrite=request.overwrite, read_only=read_only)
            self.manifest.drop_lost()
            upkeep.begin(self.manifest, fingerprint)
            self.manifest.about = self._about()
        if unwritable is not None:
            upkeep.refuse(unwritable)
        self._check_early(upkeep)
        reader = self._reader(upkeep)
        items = self._items(reader, upkeep, request.shard)
        computation = self._computation(worker)
        computer: _ShowRunner = BatchRunner(computation, stateful=request.reading.stateful)
        ended = closed = False
        try:
            yield from self._work(computer.compute(items, WorkItem), painter, computation)
            worker.check_unchanged()
            ended = True
        except GeneratorExit:
            closed = True
            raise
        finally:
            if reader is not None:
                reader.end()
            computer.end()
            late = self._keep_late(painter.end())
            self._finish(fingerprint, painter, ended=ended)
            if not closed:  # what is recorded is also printed, whatever ended the run
                yield from late

    def _items(
        self, reader: WorkItemReader | None, upkeep: UpToDateCheck | AlwaysOutdated, shard: Shard
    ) -> Iterator[Item]:
        """Yield what is due; of a stream also what that depends on."""
        stateful = self.request.reading.stateful
        items = reader.items() if reader else work_items(self.samples or (), upkeep, shard, every=stateful)
        return streaming.streamed(items) if stateful else items

    def _prepare(self, place: Path, *, may_be_done: bool) -> OutputError | None:
        """Make the folder of the figures; return why it cannot be written to, where that may not be needed.

        Raises
        ------
        OutputError
            When it is needed.
        """
        from actviz.results import output_files

        try:
            output_files.prepare_folder(place)
        except OutputError as failure:
            if not may_be_done or self.request.force or not file_system.exists(place / "manifest.json"):
                raise
            return failure
        return None

    def _keep_late(self, results: Iterable[DrawnFigure | FailedFigure]) -> list[Event]:
        """Count and record what was being made when the run ended; return the figures among it."""
        kept: list[Event] = []
        for result in results:
            with contextlib.suppress(OutputError):  # no room for more records
                self._keep(result)
                if isinstance(result, DrawnFigure):
                    kept.append(FileWritten(result.path, result.record))
        return kept

    def estimate(self, worker: Worker, first: Sequence[Sample]) -> Iterator[Event]:
        """Say what would be made, measured on the first input: nothing is written."""
        from actviz.batch import estimate

        if not first:
            yield Note("none of the inputs can be read.")
            return
        where = self._targets(first)
        keys = _wanted(self.request, self.facts, self.layers).keys
        addresses = [layer.address for layer in self.layers]
        worker.activations(first[0].values, addresses)  # waits until everything is loaded, as every run does
        startup = time.perf_counter() - self.started
        fixed = _batch_size(self.request, self.facts) == 1
        draw = estimate.drawing_of(first[0], keys, self.request.style, self.facts.file)
        compute = functools.partial(worker.activations, addresses=addresses)
        costs = estimate.measure(first[0], compute, draw, self._read_again, in_batches=not fixed)
        inputs = len(self.samples or ()) or len(InputBatch(self.entries, self.request.shard).own())
        each = sum(item.values.nbytes for item in costs.found.values())
        batch = BatchSizes(self.layers, _batch_size(self.request, self.facts)).limit(each)
        pixels = sum(picture.size[0] * picture.size[1] for picture in costs.drawn)
        for key, picture in zip(keys, costs.drawn, strict=False):
            rows, columns = picture.size
            yield Output(f"would draw {key}: {columns:,} x {rows:,} pixels")
        count = inputs * len(costs.drawn)
        helpers = figure_writer.pool_size(count) * figure_writer.PROCESS_MEMORY
        memory = (BASE_MEMORY + 3 * batch * each + helpers) / 1e6
        target = where.folder or where.file
        yield Output(
            f"would write {count:,} figures of {inputs:,} inputs to {target}: {inputs * pixels / 1e6:,.1f} megapixels,"
            f" about {inputs * costs.png_bytes / 1e6:,.1f} MB on disk, {memory:,.0f} MB of memory,"
            f" an estimated {duration(startup + costs.seconds(inputs))}; arrays count as one input."
        )

    def _read_again(self) -> None:
        """Read the first input once more, for the time that it takes."""
        from actviz.inputs import make_pipeline

        how = make_pipeline(self.facts, self.layers, self.request.reading)
        for entry in self.entries[:1]:
            with contextlib.suppress(ActvizError):
                _beginning(how, entry, 1)

    def _targets(self, first: Sequence[Sample]) -> OutputPaths:
        """Decide where figures go."""
        inputs = max(len(self.entries), len(first), len(self.samples or ()))
        stem = ""
        if inputs == 1:
            stem = output_paths.stem_of_sample(first[0])
        where = output_paths.choose(_wanted(self.request, self.facts, self.layers), self.facts.layers, inputs, stem)
        if where.folder is None:
            return where
        return replace(where, marks=output_paths.marks_of(self.entries))

    def _reader(self, upkeep: UpToDateCheck) -> WorkItemReader | None:
        from actviz.inputs import make_pipeline

        if self.samples is not None:
            self.tally.total = len(self.samples)
            return None
        batch = InputBatch(self.entries, self.request.shard)
        self.tally.total = len(batch.own())
        return WorkItemReader(make_pipeline(self.facts, self.layers, self.request.reading), upkeep, batch)

    def _check_early(self, upkeep: UpToDateCheck) -> None:
        """Refuse before anything is computed to replace what others made."""
        for number, entry in enumerate(self.entries):
            upkeep.check(output_paths.stem_of(entry.name), number, entry.name)

    def _about(self) -> dict[str, Any]:
        from actviz.version import VERSION

        return {
            "actviz": VERSION,
            "configuration": self.facts.digest,
            "code": list(self.facts.code),
            "options": {
                "layers": list(self.request.layers),
                **RenderSettings(self.request.style, self.request.reading, self.names, ()).options(),
            },
            "versions": {},
        }

    def _work(
        self,
        items: Iterable[ComputedBatch[WorkItem, Activations] | FailedItem[WorkItem] | Note | Item],
        painter: FigureWriter,
        computation: ActivationComputation,
    ) -> Iterator[Event]:
        notes = requests.InputNotes()
        _warm_up()
        for item in items:
            if isinstance(item, ComputedBatch):
                painter.versions = computation.versions
                for index, piece in enumerate(item.pieces):
                    yield from notes.about([piece.sample])
                    painter.submit(
                        figure_writer.FigureJob(
                            piece.sample, index, item.result, piece.files, piece.works, piece.file_sha256
                        )
                    )
                    yield from self._told(painter.finished(max(WAITING, self.figures_each)))
            elif isinstance(item, FailedItem):
                yield from self._failed(item.piece.sample.name, item.failure)
            elif isinstance(item, UnreadableInput):
                yield from self._failed(item.name, item.failure)
            elif isinstance(item, UpToDate):
                if self.manifest is not None:
                    self.manifest.forgive(item.name)
                self.tally.right += item.figures
                for record in item.adopted:
                    if self.manifest is not None:
                        self.manifest.add(record)
            elif isinstance(item, InputDone):
                self.tally.done += 1 + item.more
                self.tally.total += item.more
                yield Progress(self.tally.done, self.tally.total)
            elif isinstance(item, Note):
                yield item
            if self.manifest is not None:
                self.manifest.write_now_and_then()
        yield from self._told(painter.finished())

    def _told(self, results: Iterable[DrawnFigure | FailedFigure]) -> Iterator[Event]:
        for result in results:
            self._keep(result)
            if isinstance(result, DrawnFigure):
                yield FileWritten(result.path, result.record)
                continue
            if self.request.fail_fast:
                raise result.failure
            record = figure_writer.failure_record(result.input, result.address, result.failure)
            yield Note(f"no figure: {result.failure.message}")
            yield FileFailed(record)

    def _keep(self, result: DrawnFigure | FailedFigure) -> None:
        """Count a result, and record it."""
        if isinstance(result, DrawnFigure):
            self.tally.written += 1
            if self.manifest is not None:
                self.manifest.add(result.record)
            return
        self.failed_figures += 1
        self.tally.fail(result.failure)
        if self.manifest is not None:
            self.manifest.fail(figure_writer.failure_record(result.input, result.address, result.failure))

    def _failed(self, name: str, failure: ActvizError) -> Iterator[Event]:
        """Note that an input gives no figure at all."""
        if self.request.fail_fast or self.single or isinstance(failure, ModelChangedError):
            raise failure
        self.tally.failed_inputs += 1
        self.tally.fail(failure)
        record = figure_writer.failure_record(name, None, failure)
        if self.manifest is not None:
            self.manifest.fail(record)
        yield Note(failure.message)
        yield FileFailed(record)

    def _finish(self, fingerprint: Fingerprint | None, painter: FigureWriter, *, ended: bool) -> None:
        """Write the manifest, whatever ended the run."""
        if self.manifest is None or fingerprint is None:
            return
        self.manifest.about["versions"] = dict(painter.versions) or self.manifest.versions
        try:
            if ended and self.request.shard.count == 1:
                self.manifest.forget_earlier_failures()
            self.lost = self.manifest.drop_lost(own=True)
            if ended:
                self.manifest.about["model_sha256"] = fingerprint.model_sha256
            self.manifest.write(interrupted=not ended)
        except ActvizError:
            if ended:
                raise

    def _summary(self) -> Iterator[Event]:
        """Say what was done; raise if part of it failed."""
        tally = self.tally
        if self.lost:
            raise OutputError(
                self._told_lost(f"{self.lost:,} were moved or deleted during the run; run again to make them.")
            )
        failed = self.failed_figures + tally.failed_inputs
        if failed and not tally.written and not tally.right:
            raise tally.failures[0]
        parts = [f"{tally.written:,} figure{'s' if tally.written != 1 else ''} written"]
        if tally.right:
            parts.append(f"{tally.right:,} up to date")
        if tally.failed_inputs:
            reason = f"{tally.failed_inputs:,} of {tally.total:,} inputs failed"
            raise PartialError(f"{reason}, for the reasons above; the rest is written ({', '.join(parts)}).")
        if self.failed_figures:
            total = self.failed_figures + tally.written + tally.right
            raise PartialError(
                f"{self.failed_figures:,} of {total:,} figures could not be drawn, for the reasons above; the rest is written ({', '.join(parts)})."
            )
        if tally.right or len(self.entries) > 1:
            yield Note(", ".join(parts))


def _batch_size(request: ShowRequest, facts: ModelFacts) -> int | None:
    """Return how many samples a batch has: as asked, one where the model takes a fixed number."""
    fixed = any(spec.shape and spec.shape[0] is not None for spec in facts.inputs)
    return 1 if fixed or request.reading.stateful else request.batch_size


def _batches(events: Iterable[Any], notes: list[Note]) -> Iterator[Mapping[str, Activation]]:
    """Yield the activations of computed batches; add notes to `notes`."""
    for event in events:
        if isinstance(event, ComputedBatch):
            yield event.result
        elif isinstance(event, Note):
            notes.append(event)


def _warm_up() -> None:
    """Load and try out everything that draws while the worker still loads TensorFlow."""
    import numpy as np

    from actviz.figures import renderers
    from actviz.records import Activation, Context, Style

    values = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    axes = ("batch", "row", "column", "channel")
    renderers.draw(Activation("warm", "up", values, axes), 0, Context("", "", ""), Style())
