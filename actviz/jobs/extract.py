"""`extract`: from a model and inputs to a file of activations."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actviz.errors import ActvizError, InputError, UsageError, escape
from actviz.jobs import feeding
from actviz.jobs.events import Said, Written
from actviz.jobs.feeding import ModelRequest
from actviz.jobs.layers import say_code
from actviz.select import select_layers
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actviz.activations import Collector
    from actviz.inputs import Given
    from actviz.records import LayerInfo, ModelFacts

SUFFIX = ".npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractRequest(ModelRequest):
    """What the command asks for, parsed."""

    compress: bool = False


def extract(request: ExtractRequest) -> Iterator[Said | Written]:
    """Write the activations of the chosen layers for every input into one file.

    Raises
    ------
    ActvizError
        When nothing could be made; `PartialError` at the end when part of it failed.
    """
    from actviz import activations, system
    from actviz.inputs import choose_preprocessing

    given = feeding.given_by(request)
    with Worker(request.opening) as worker:
        facts = worker.facts()
        yield from (Said(line) for line in say_code(facts, request.opening.trust))
        worker.prepare()
        layers = _choose(request, facts)
        path = _target(request, facts)
        failures: list[ActvizError] = []
        with activations.Collector(path.parent) as collector:
            for event in _collect(_Run(request, given, facts, worker, layers), collector):
                if isinstance(event, ActvizError):
                    failures.append(event)
                    yield Said(event.message)
                else:
                    yield event
            if not collector.count:
                raise feeding.worst(failures)
            for address, reason in collector.left_out.items():
                yield Said(f'layer "{escape(address, 80)}" is left out: {reason}.')
            if not collector.addresses:
                message = f"{facts.file}: none of the layers gives an array for each input; choose others with --layer."
                raise UsageError(message)
            said = choose_preprocessing(facts, request.reading.preprocess).said
            about = activations.about_model(facts, said, worker.versions(), given=request.has_inputs)
            worker.stop()
            with system.replacing(path) as file:
                collector.write(file, about, compress=request.compress)
    yield Written(path)
    if failures:
        raise feeding.partial(len(failures), len(failures) + collector.count)


def _choose(request: ExtractRequest, facts: ModelFacts) -> Sequence[LayerInfo]:
    """Return the layers asked for, else all but the scores of attention, which cost a call more."""
    if request.layers:
        return select_layers(facts.layers, request.layers, str(request.model), gone=facts.gone)
    return [layer for layer in facts.layers if not layer.address.endswith("@scores") and not layer.inner]


@dataclass(frozen=True, slots=True)
class _Run:
    """What stays the same for every input."""

    request: ExtractRequest
    given: Given
    facts: ModelFacts
    worker: Worker
    layers: Sequence[LayerInfo]


def _collect(run: _Run, collector: Collector) -> Iterator[Said | ActvizError]:
    """Compute one sample after another; none is kept longer than that takes."""
    notes = feeding.Notes()
    addresses = [layer.address for layer in run.layers]
    parts = feeding.feed(run.request, run.given, run.facts, run.layers)
    first = list(itertools.islice(parts, 2))
    alone = len(first) == 1 and not isinstance(first[0], ActvizError) and len(first[0]) == 1
    for found in itertools.chain(first, parts):
        if isinstance(found, ActvizError):
            yield found
            continue
        yield from notes.about(found)
        for sample in found:
            try:
                collector.add(sample, run.worker.activations(sample.values, addresses))
            except InputError as failure:
                if run.request.fail_fast or alone:
                    raise
                yield failure


def _target(request: ExtractRequest, facts: ModelFacts) -> Path:
    """Return the path of the result, once it is known that it may be written."""
    from actviz import output
    from actviz.activations import read_description

    path = Path(request.output or f"{output.slug(Path(facts.file).stem)}{SUFFIX}")
    if path.suffix.lower() != SUFFIX or str(request.output).endswith("/"):
        message = (
            f"-o {escape(str(request.output), 200)}: activations are written as .npz; give a name that ends in .npz."
        )
        raise UsageError(message)
    output.prepare_folder(path.parent)
    kind = output.Kind("model's activations", read_description)
    output.check_replaceable(path, {"model": facts.file}, kind, overwrite=request.overwrite)
    return path
