"""`show`: from a model and inputs to figures, the main job.

Inputs are read ahead, computed in batches and drawn meanwhile; memory does not grow with
their number. What an earlier run made and is still right is left as it is.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actviz.addresses import select_layers_of
from actviz.batch import color_ranges, figure_writer, output_paths, requests, streaming
from actviz.batch.events import Event, FileWritten, Note
from actviz.batch.labels import check_names, names_for
from actviz.commands.show_estimate import estimate
from actviz.commands.show_request import ShowRequest
from actviz.commands.show_run import ShowRun
from actviz.errors import ActvizError, UsageError
from actviz.system import file_system
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actviz.inputs import InputFile, InputPipeline
    from actviz.records import LayerInfo, ModelFacts, Sample

__all__ = ["FileWritten", "Note", "ShowRequest", "show"]


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
        facts = yield from requests.open_model(worker, request)
        entries = requests.entries_by(request, facts, output_paths.folder_of(request.output_options(facts, ())))
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
        run = ShowRun(request, facts, layers, names, entries, samples, started)
        if request.dry_run:
            yield from estimate(run, worker, first)
            return
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
        folder = output_paths.folder_of(self.request.output_options(self.facts, ()))
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
            return select_layers_of(self.facts, self.request.layers, str(self.request.model))
        if any(layer.shape is None for layer in self.facts.layers):
            self.facts = self.worker.complete()
        layers = figure_writer.drawable(self.facts.layers)
        if not layers:
            message = f"{self.facts.file}: no layer of this model can be drawn yet; list them with: actviz layers {self.request.model}"
            raise UsageError(message)
        return layers


def _beginning(how: InputPipeline, entry: InputFile, most: int) -> tuple[Sample, ...]:
    return tuple(itertools.islice(how.samples(how.open(entry.path)), most))
