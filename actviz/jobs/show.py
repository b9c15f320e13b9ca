"""`show`: from a model and inputs to figures, the main job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.errors import ActvizError, UsageError
from actviz.jobs import feeding, figures
from actviz.jobs.events import Said, Written
from actviz.jobs.feeding import ModelRequest
from actviz.select import select_layers
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actviz.records import LayerInfo, ModelFacts, Sample, Style

__all__ = ["Said", "ShowRequest", "Written", "show"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRequest(ModelRequest):
    """What the command asks for, parsed."""

    style: Style


def show(request: ShowRequest) -> Iterator[Said | Written]:
    """Draw the chosen layers for every input; yield what happens as it happens.

    Raises
    ------
    ActvizError
        When nothing could be made; `PartialError` at the end when part of it failed.
    """
    with Worker(request.model, request.timeout, verbose=request.verbose, weights=request.weights) as worker:
        facts = worker.facts()
        worker.prepare()
        figures.check_style(request.style)
        layers = _choose(request, facts, worker)
        samples, failures = _read(request, facts)
        for failure in failures:
            yield Said(failure.message)
        yield from feeding.Notes(request, facts).about(samples)
        addresses = [layer.address for layer in layers]
        wish = figures.Wish(addresses if request.layers else (), request.output, request.style, request.overwrite)
        source = figures.Source(facts.file, facts.digest, facts.layers, named=bool(request.inputs))
        plan = figures.plan(wish, source, {number: sample.name for number, sample in enumerate(samples)})
        _warm_up()
        versions: dict[str, str] = {}
        for number, sample in enumerate(samples):
            found = worker.activations(sample.values, addresses)
            versions = versions or worker.versions()
            if number == len(samples) - 1:
                worker.stop()
            yield from figures.draw(plan, figures.Work(number, sample, found, versions))
        figures.finish(plan, versions)
        if failures:
            raise feeding.partial(len(failures), len(request.inputs))


def _warm_up() -> None:
    """Load and try out everything that draws while the worker still loads TensorFlow."""
    import numpy as np

    from actviz import renderers
    from actviz.records import Activation, Context, Style

    values = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    axes = ("batch", "row", "column", "channel")
    renderers.draw(Activation("warm", "up", values, axes), 0, Context("", "", ""), Style())


def _choose(request: ShowRequest, facts: ModelFacts, worker: Worker) -> list[LayerInfo]:
    """Return the layers to draw: those asked for, else what a sheet shows."""
    if request.layers:
        return select_layers(facts.layers, request.layers, str(request.model))
    if any(layer.shape is None for layer in facts.layers):
        facts = worker.facts(complete=True)
    layers = figures.drawable(facts.layers)
    if not layers:
        message = (
            f"{facts.file}: no layer of this model can be drawn yet; list them with: actviz layers {request.model}"
        )
        raise UsageError(message)
    return layers


def _read(request: ShowRequest, facts: ModelFacts) -> tuple[list[Sample], list[ActvizError]]:
    """Read every input; a broken one costs its own figures only."""
    samples: list[Sample] = []
    failures: list[ActvizError] = []
    for found in feeding.feed(request, facts):
        if isinstance(found, ActvizError):
            failures.append(found)
        else:
            samples += found
    if not samples:
        raise feeding.worst(failures)
    return samples, failures
