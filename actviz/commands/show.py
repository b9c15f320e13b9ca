"""`show`: figures of the layers of a model for inputs.

Inputs are prefetched, run in batches and drawn meanwhile; memory does not grow with their number. Figures of earlier
runs that are up to date are kept.
"""

from __future__ import annotations

import itertools
import shlex
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actviz.batch import color_ranges, figure_writer, output_paths, requests, sheet_layers, streaming
from actviz.batch.events import Event, FileWritten, Note
from actviz.batch.labels import check_names, names_for
from actviz.commands.show_estimate import estimate
from actviz.commands.show_request import ShowRequest
from actviz.commands.show_run import ShowRun
from actviz.errors import ActvizError, UsageError
from actviz.system import file_system
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actviz.inputs import InputFile, InputPipeline
    from actviz.records import LayerInfo, ModelFacts, Sample

__all__ = ["FileWritten", "Note", "ShowRequest", "show"]


def show(request: ShowRequest) -> Iterator[Event]:
    """Draw the chosen layers for every input; yield events.

    Raises
    ------
    ActvizError
        If nothing could be drawn; `PartialError` at the end if some figures failed.
    """
    if request.checkpoints:
        from actviz.commands.checkpoints import checkpoints

        yield from checkpoints(request)
        return
    if request.contact:
        from actviz.commands.contact import contact

        yield from contact(request)
        return
    yield from draw_inputs(request, LayerSelection, ShowRun)


def draw_inputs(
    request: ShowRequest, selection: type[LayerSelection], new_run: Callable[..., ShowRun]
) -> Iterator[Event]:
    """Draw figures of every input: of the layers of a `selection`, in a run of the class `new_run`."""
    from actviz.inputs import find_input_files
    from actviz.inputs.skipped_files import SkippedFiles

    started = time.perf_counter()
    yield from streaming.check(request.reading, request.shard, has_inputs=request.has_inputs)
    with Worker(request.opening) as worker:
        facts = yield from requests.open_model(worker, request)
        without = output_paths.folder_of(request.output_options(facts, ()))
        skipped = SkippedFiles()
        entries = find_input_files(request.inputs, facts, without, skipped=skipped)
        yield from map(Note, skipped.notes())
        request = replace(request, style=figure_writer.check_style(request.style, request.output))
        names = names_for(request.labels, request.tokens, facts)
        subject = selection(request, facts, worker, entries)
        if not subject.may_be_done():
            yield from requests.prepare(worker, request.model)
        first = subject.first()
        if subject.unknown:
            facts = subject.complete(first)
        layers = subject.layers()
        samples = None if entries else _load_samples(request, facts, layers)
        first = samples[:2] if samples is not None else first or subject.first()
        check_names(names, layers, [sample.values for sample in first])
        color_ranges.check_addresses(request.style, [layer.address for layer in layers])
        run = new_run(request, facts, layers, names, entries, samples, started, skipped.records())
        if request.dry_run:
            yield from estimate(run, worker, first)
            return
        yield from run.share_ranges(worker)
        yield from run.make(worker, first)


@dataclass(slots=True)
class LayerSelection:
    """Determines the layers to draw, step by step if the file does not contain all shapes."""

    request: ShowRequest
    facts: ModelFacts
    worker: Worker
    entries: Sequence[InputFile]

    @property
    def unknown(self) -> bool:
        """Whether the shape of an input is not in the file."""
        return not all(spec.shape for spec in self.facts.inputs)

    def may_be_done(self) -> bool:
        """Return True if the output folder may already be complete, so that no inference is needed."""
        folder = output_paths.folder_of(self.request.output_options(self.facts, ()))
        known = all(layer.shape is not None for layer in self.facts.layers) and not self.unknown
        return known and not self.request.force and file_system.exists(folder / "manifest.json")

    def first(self) -> tuple[Sample, ...]:
        """Return up to two samples of the only file, or one of the first file that can be read.

        Raises
        ------
        ActvizError
            If the only file cannot be read.
        """
        from actviz.inputs import make_pipeline

        if not self.entries:
            return ()
        layers = [] if self.unknown else self.layers()
        pipeline = make_pipeline(self.facts, layers or self.facts.layers, self.request.reading)
        only = len(self.entries) == 1
        for entry in self.entries if self.unknown or self.request.dry_run else self.entries[:1]:
            try:
                return _beginning(pipeline, entry, 2 if only else 1)
            except ActvizError:
                if only or self.request.fail_fast:
                    raise
        return ()

    def complete(self, first: Sequence[Sample]) -> ModelFacts:
        """Return the facts that follow from the shapes of the inputs, which the worker computes."""
        if not first:
            layers = requests.requested_layers(self.request, self.facts)
            first = _load_samples(self.request, self.facts, layers or self.facts.layers)[:1]
        shapes = {name: values.shape for name, values in first[0].values.items()}
        self.facts = self.worker.complete(shapes)
        return self.facts

    def layers(self) -> list[LayerInfo]:
        """Return the layers to draw: the requested ones, else those of a sheet."""
        layers = requests.requested_layers(self.request, self.facts)
        if layers:
            return layers
        if any(layer.shape is None for layer in self.facts.layers):
            self.facts = self.worker.complete()
        layers = sheet_layers.drawable(self.facts.layers)
        if not layers:
            message = f"{self.facts.file}: no layer of this model can be drawn yet; list them with: actviz layers {shlex.quote(str(self.request.model))}"
            raise UsageError(message)
        return layers


def _load_samples(request: ShowRequest, facts: ModelFacts, layers: Sequence[LayerInfo]) -> tuple[Sample, ...]:
    """Read every input that `layers` need."""
    from actviz.inputs import load_samples

    return load_samples(request.inputs, facts, layers, request.reading, fail_fast=request.fail_fast).samples


def _beginning(pipeline: InputPipeline, entry: InputFile, most: int) -> tuple[Sample, ...]:
    return tuple(itertools.islice(pipeline.samples(pipeline.open(entry.path)), most))
