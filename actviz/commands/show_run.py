"""One run of `show`: inputs are prefetched, run in batches and drawn meanwhile; figures that are up to date are kept."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from actviz.batch import color_ranges, figure_writer, output_paths, requests, streaming
from actviz.batch.batch_sizes import BatchSizes
from actviz.batch.computations import ActivationComputation, Activations
from actviz.batch.events import Event, FileWritten, Note, Progress
from actviz.batch.figure_outcome import FigureOutcome
from actviz.batch.figure_writer import DrawnFigure, FailedFigure, FigureJob, FigureWriter
from actviz.batch.print_order import PrintOrder
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
from actviz.errors import ActvizError, ModelChangedError, OutputError
from actviz.inputs.input_files import Shard
from actviz.results.manifest import Manifest
from actviz.system import file_system, temporary_files
from actviz.system.held_folder import MovedFolderError, hold_folder
from actviz.system.run_lock import RunIdentity, RunLock

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence
    from pathlib import Path

    from actviz.batch.labels import LabelNames
    from actviz.batch.output_paths import OutputPaths
    from actviz.commands.show_request import ShowRequest
    from actviz.inputs import InputFile
    from actviz.records import LayerInfo, ModelFacts, Sample
    from actviz.worker import Worker

_ShowRunner = BatchRunner[WorkItem, Activations]

# Largest number of figures that wait to be drawn while the next batch is computed.
WAITING = 64


@dataclass(slots=True)
class ShowRun:
    """One run: its layers and inputs, and the outcome so far; `skipped` are records of files that are no inputs."""

    request: ShowRequest
    facts: ModelFacts
    layers: Sequence[LayerInfo]
    names: LabelNames
    entries: Sequence[InputFile]
    samples: Sequence[Sample] | None
    started: float
    skipped: list[dict[str, Any]]
    outcome: FigureOutcome = field(init=False)
    _waiting: int = field(init=False, default=0)
    _order: PrintOrder = field(init=False)

    def __post_init__(self) -> None:
        """Start with an empty outcome."""
        keys = self.request.output_options(self.facts, self.layers).keys
        self.outcome = FigureOutcome(len(keys), fail_fast=self.request.fail_fast)
        self._order = PrintOrder(self._up_to_date)

    @property
    def single(self) -> bool:
        """Whether there is only one input, so that its failure ends the run."""
        return len(self.samples if self.samples is not None else self.entries) == 1

    def share_ranges(self, worker: Worker) -> Iterator[Note | Progress]:
        """With ``--scale run``, compute the range of each layer over all inputs, including those of other shards."""
        from actviz.inputs import make_pipeline

        if self.request.style.scale != "run":
            return
        every = InputBatch(self.entries, Shard())
        pipeline = make_pipeline(self.facts, self.layers, self.request.reading)
        reader = WorkItemReader(pipeline, AlwaysOutdated(), every) if self.samples is None else None
        items = self._items(reader, AlwaysOutdated(), every.shard)
        computer: _ShowRunner = BatchRunner(self._computation(worker), stateful=self.request.reading.stateful)
        ranges = color_ranges.RunRanges(self.request.style)
        done, total = 0, len(self.samples if self.samples is not None else self.entries)
        yield Progress(0, total, color_ranges.STAGE)
        try:
            for item in computer.compute(items, WorkItem):
                if isinstance(item, ComputedBatch):
                    ranges.add(item.result)
                    done += len(item.pieces)
                elif isinstance(item, Note):
                    yield item
                elif isinstance(item, InputDone):
                    total += item.more
                else:
                    done += 1
                yield Progress(done, max(done, total), color_ranges.STAGE)
            self.request = replace(self.request, style=ranges.style())
        finally:
            if reader is not None:
                reader.end()
            computer.rest()

    def _settings(self, addresses: Sequence[str]) -> RenderSettings:
        """Return the options that change the pixels of figures; `addresses` are those of a sheet."""
        return RenderSettings(self.request.style, self.request.reading, self.names, addresses)

    def _job(self, piece: WorkItem, index: int, result: Any) -> FigureJob:
        """Return what is drawn of entry `index` of a computed batch."""
        return FigureJob(piece.sample, index, result, piece.files, piece.fingerprints, piece.file_sha256)

    def _computation(self, worker: Worker) -> Any:
        """Return the activations of the layers to draw, in batches as large as memory allows."""
        sizes = BatchSizes(self.layers, self.request.batch_size_for(self.facts))
        return ActivationComputation(worker, self.layers, sizes)

    def make(self, worker: Worker, first: Sequence[Sample]) -> Iterator[Event]:
        """Draw every figure that is not up to date, and write the manifest of the folder.

        Raises
        ------
        OutputError
            If figures were moved or deleted meanwhile, with the number of those that remain.
        """
        with contextlib.ExitStack() as held:
            try:
                yield from self._make(worker, first, held)
            except MovedFolderError as failure:
                raise OutputError(self.outcome.explain_loss(failure.message)) from None
        done = self.outcome.summary()
        if self.outcome.up_to_date or len(self.entries) > 1:
            yield Note(done)

    def _make(self, worker: Worker, first: Sequence[Sample], held: contextlib.ExitStack) -> Iterator[Event]:
        from actviz.results import output_files

        request = self.request
        where = self.targets(first)
        checker = UpToDateCheck(
            where,
            request.output_options(self.facts, self.layers).keys,
            self.facts.file,
            ReplaceRules(request.overwrite, request.force),
        )
        addresses = [layer.address for layer in self.layers]
        target = where.folder or (where.file.parent if where.file is not None else None)
        if where.folder is not None:
            output_files.check_folder(where.folder, through_link=request.through_link)
        unwritable = None
        if target is not None:
            unwritable = self._prepare(target, may_be_done=where.folder is not None)
            temporary_files.remove_stale_files(target)
            folder = held.enter_context(hold_folder(target))
        source = figure_writer.source_of(self.facts, request.reading.code_record(), named=request.has_inputs)
        writer = FigureWriter(source, request.style, self.names, where.folder, overwrite=request.overwrite)
        fingerprint = None
        if where.folder is not None:
            read_only = unwritable is not None
            fingerprint = Fingerprint(request.opening, self._settings(addresses))
            if not read_only:
                sheet = "" if request.is_single else " ".join(addresses)
                held.enter_context(RunLock(folder, RunIdentity(self.facts.file, fingerprint.shared, sheet)))
            manifest = self.outcome.manifest = held.enter_context(
                Manifest(where.folder, self.facts.file, overwrite=request.overwrite, read_only=read_only)
            )
            manifest.drop_lost()
            checker.begin(manifest, fingerprint)
            manifest.about = self._about()
        if unwritable is not None:
            checker.refuse(unwritable)
        self._check_early(checker)
        reader = self._reader(checker)
        items = self._items(reader, checker, request.shard)
        computation = self._computation(worker)
        computer: _ShowRunner = BatchRunner(computation, stateful=request.reading.stateful)
        ended = closed = False
        try:
            yield from self._work(computer.compute(self._counted(items), WorkItem), writer, computation)
            worker.check_unchanged()
            ended = True
        except GeneratorExit:
            closed = True
            raise
        finally:
            if reader is not None:
                reader.end()
            computer.end()
            late = self._late(writer)
            self._finish(fingerprint, writer, ended=ended)
            if not closed:  # print what the manifest records, also after an error
                yield from late

    def _items(
        self, reader: WorkItemReader | None, checker: UpToDateCheck | AlwaysOutdated, shard: Shard
    ) -> Iterator[Item]:
        """Yield work items; of a stream also the samples before them, on whose state they depend."""
        stateful = self.request.reading.stateful
        items = reader.items() if reader else work_items(self.samples or (), checker, shard, every=stateful)
        return streaming.streamed(items) if stateful else items

    def _prepare(self, folder: Path, *, may_be_done: bool) -> OutputError | None:
        """Create the folder of the figures; return the error if it is not writable, but all figures may be up to date.

        Raises
        ------
        OutputError
            If the folder must be writable.
        """
        from actviz.results import output_files

        try:
            output_files.prepare_folder(folder)
        except OutputError as failure:
            if not may_be_done or self.request.force or not file_system.exists(folder / "manifest.json"):
                raise
            return failure
        return None

    def targets(self, first: Sequence[Sample]) -> OutputPaths:
        """Return the paths of the figures."""
        inputs = max(len(self.entries), len(first), len(self.samples or ()))
        stem = ""
        if inputs == 1:
            stem = output_paths.stem_of_sample(first[0])
        where = output_paths.choose(
            self.request.output_options(self.facts, self.layers), self.facts.every_layer, inputs, stem
        )
        if where.folder is None:
            return where
        return replace(where, marks=output_paths.marks_of(self.entries))

    def _reader(self, checker: UpToDateCheck) -> WorkItemReader | None:
        from actviz.inputs import make_pipeline

        if self.samples is not None:
            self.outcome.inputs = len(self.samples)
            return None
        batch = InputBatch(self.entries, self.request.shard)
        self.outcome.inputs = len(batch.own())
        return WorkItemReader(make_pipeline(self.facts, self.layers, self.request.reading), checker, batch)

    def _check_early(self, checker: UpToDateCheck) -> None:
        """Refuse to replace files of others, before inference."""
        for number, entry in enumerate(self.entries):
            checker.check(output_paths.stem_of(entry.name), number, entry.name)

    def _about(self) -> dict[str, Any]:
        from actviz.version import VERSION

        return {
            "actviz": VERSION,
            "configuration": self.facts.digest,
            "code": list(self.facts.code),
            "options": {
                "layers": list(self.request.layers),
                **self._settings(()).options(),
            },
            "versions": {},
            **({"skipped": self.skipped} if self.skipped else {}),
        }

    def _work(
        self,
        items: Iterable[ComputedBatch[WorkItem, Any] | FailedItem[WorkItem] | Note | Item],
        writer: FigureWriter,
        computation: Any,
    ) -> Iterator[Event]:
        notes, manifest = requests.InputNotes(), self.outcome.manifest
        figure_writer.warm_up()
        for item in items:
            if isinstance(item, ComputedBatch):
                writer.versions = computation.versions
                for index, piece in enumerate(item.pieces):
                    yield from notes.about([piece.sample])
                    writer.submit(self._job(piece, index, item.result))
                    yield from self._record(writer.finished(max(WAITING, self.outcome.figures_each)))
                yield self._progress(computed=len(item.pieces))
            elif isinstance(item, FailedItem):
                yield from self._failed(item.piece.sample.name, item.failure, tuple(item.piece.files.values()))
                yield self._progress(computed=1)
            elif isinstance(item, UnreadableInput):
                yield from self._failed(item.name, item.failure, (item,))
            elif isinstance(item, UpToDate):
                self._keep(item)
            elif isinstance(item, InputDone):
                self.outcome.done += 1 + item.more
                self.outcome.inputs += item.more
                if self.outcome.done > self._waiting:  # otherwise the model is still being started
                    yield self._progress()
            elif isinstance(item, Note):
                yield item
            yield from self._order.ready()
            if manifest is not None:
                manifest.write_now_and_then()
        yield from self._record(writer.finished())

    def _record(self, results: Iterable[DrawnFigure | FailedFigure]) -> Iterator[Event]:
        """Record results; yield notes at once, and what is printed to stdout in the order of the figures."""
        for result in results:
            for event in self.outcome.record([result]):
                if isinstance(event, Note):
                    yield event
                else:
                    pages = result.record.get("pages", 1) if isinstance(result, DrawnFigure) else 1
                    self._order.add(result.figure, [event], count=pages)
            yield from self._order.ready()

    def _late(self, writer: FigureWriter) -> list[Event]:
        """End the writer, record what it was writing, and return what is not printed yet."""
        for result in writer.end():
            self._order.add(result.figure, self.outcome.record_late([result]))
        return self._order.rest()

    def _keep(self, item: UpToDate) -> None:
        """Record the figures of an input that are up to date."""
        manifest = self.outcome.manifest
        if manifest is None:
            return
        self.outcome.up_to_date += len(item.files)
        manifest.forgive(item.name)
        for record in item.unlisted:
            manifest.add(record)
        for file in item.files:
            self._order.keep(file)

    def _up_to_date(self, file: Path) -> list[Event]:
        """Return the events of a figure that is up to date, one a page; none if only new ones are requested."""
        manifest = self.outcome.manifest
        if manifest is None or self.request.changed:
            return []
        pages = output_paths.pages_of(file, manifest.record(file).get("pages", 1))
        return [FileWritten(path, manifest.record(path)) for path in pages]

    def _counted(self, items: Iterable[Item]) -> Iterator[Item]:
        """Count the items that wait to be computed, as reading runs ahead of the model, and note the order of figures."""
        for item in items:
            self._waiting += isinstance(item, WorkItem)
            for key in _keys_of(item):
                self._order.expect(key)
            yield item

    def _progress(self, computed: int = 0) -> Progress:
        """Return the number of inputs that are read and not waiting, after some were computed."""
        self._waiting -= computed
        return Progress(max(0, self.outcome.done - self._waiting), self.outcome.inputs)

    def _failed(self, name: str, failure: ActvizError, keys: Sequence[Hashable]) -> Iterator[Event]:
        """Record that an input failed, whose figures have these keys, or raise its failure if that ends the run."""
        if self.request.fail_fast or self.single or isinstance(failure, ModelChangedError):
            raise failure
        for event in self.outcome.record_failed_input(name, failure):
            if isinstance(event, Note) or not keys:
                yield event
            else:
                self._order.add(keys[0], [event])
        for key in keys[1:]:
            self._order.add(key, (), count=0)

    def _finish(self, fingerprint: Fingerprint | None, writer: FigureWriter, *, ended: bool) -> None:
        """Write the manifest, also if the run was interrupted or failed."""
        manifest = self.outcome.manifest
        if manifest is None or fingerprint is None:
            return
        manifest.about["versions"] = dict(writer.versions) or manifest.versions
        try:
            if ended and self.request.shard.count == 1:
                manifest.forget_earlier_failures()
            self.outcome.lost = manifest.drop_lost(own=True)
            if ended:
                manifest.about["model_sha256"] = fingerprint.model_sha256
            manifest.write(interrupted=not ended)
        except ActvizError:
            if ended:
                raise


def _keys_of(item: Item) -> Sequence[Hashable]:
    """Return the keys of an item in the order in which figures are printed: files, or an input that has none."""
    if isinstance(item, WorkItem):
        return tuple(item.files.values())
    if isinstance(item, UpToDate):
        return item.order
    return (item,) if isinstance(item, UnreadableInput) else ()
