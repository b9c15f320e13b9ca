"""`show`: from a model and inputs to figures, the main job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.errors import UsageError, escape
from actviz.jobs import feeding, figures, ranges
from actviz.jobs.events import Said, Written
from actviz.jobs.feeding import ModelRequest
from actviz.jobs.layers import say_code
from actviz.jobs.naming import check_names, read_names_of
from actviz.select import select_layers
from actviz.worker import DeadWorkerError, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actviz.records import LayerInfo, ModelFacts, Style

MOST_DEATHS = 3
"""So many inputs in a row that kill the worker, and it is the model that does."""

__all__ = ["Said", "ShowRequest", "Written", "show"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRequest(ModelRequest):
    """What the command asks for, parsed; `sheet` is ``None`` where it follows from `layers`."""

    style: Style
    labels: Path | None = None
    tokens: Path | None = None
    sheet: bool | None = None


def show(request: ShowRequest) -> Iterator[Said | Written]:
    """Draw the chosen layers for every input; yield what happens as it happens.

    Raises
    ------
    ActvizError
        When nothing could be made; `PartialError` at the end when part of it failed.
    """
    given = feeding.given_by(request)
    with Worker(request.opening) as worker:
        facts = worker.facts()
        yield from (Said(line) for line in (*say_code(facts, request.opening.trust), *worker.notes()))
        worker.prepare()
        style = figures.check_style(request.style)
        unknown = not all(spec.shape for spec in facts.inputs)
        layers = [] if unknown else _choose(request, facts, worker)
        gathered = feeding.gather_all(request, given, facts, layers or facts.layers)
        samples, failures = gathered.samples, list(gathered.failures)
        count = len(samples) + len(failures)
        if unknown:
            facts = worker.complete({name: values.shape for name, values in samples[0].values.items()})
            layers = _choose(request, facts, worker)
        for failure in failures:
            yield Said(failure.message)
        names = read_names_of(request.labels, request.tokens)
        check_names(names, layers, [sample.values for sample in samples])
        yield from feeding.Notes().about(samples)
        addresses = [layer.address for layer in layers]
        ranges.check(style, addresses)
        single = bool(request.layers) if request.sheet is None else not request.sheet
        wish = figures.Wish(addresses if single else (), request.output, style, request.overwrite)
        source = figures.source_of(facts, named=request.has_inputs)
        plan = figures.plan(wish, source, dict(enumerate(samples)))
        plan.names, plan.fail_fast = names, request.fail_fast
        _warm_up()
        plan.style = figures.share_ranges(style, (worker.activations(one.values, addresses) for one in samples))
        versions: dict[str, str] = {}
        died = 0
        for number, sample in enumerate(samples):
            try:
                found = worker.activations(sample.values, addresses)
            except DeadWorkerError as failure:
                died += 1
                if request.fail_fast or len(samples) == 1 or died == MOST_DEATHS:
                    raise
                failures.append(failure)
                yield Said(f"{escape(sample.name, 120)}: {failure.message}")
                continue
            died = 0
            versions = versions or worker.versions()
            yield from (Said(line) for line in worker.notes())
            if number == len(samples) - 1:
                worker.stop()
            yield from figures.draw(plan, figures.Work(number, sample, found, versions))
        if not versions:
            raise feeding.worst(failures)
        figures.finish(plan, versions)
        if failures:
            raise feeding.partial(len(failures), count)


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
        return select_layers(facts.layers, request.layers, str(request.model), gone=facts.gone)
    if any(layer.shape is None for layer in facts.layers):
        facts = worker.complete()
    layers = figures.drawable(facts.layers)
    if not layers:
        message = (
            f"{facts.file}: no layer of this model can be drawn yet; list them with: actviz layers {request.model}"
        )
        raise UsageError(message)
    return layers
