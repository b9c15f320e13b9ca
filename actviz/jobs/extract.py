"""`extract`: from a model and inputs to a file of activations."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from actviz.errors import ActvizError, InputError, UsageError, escape
from actviz.held_folder import hold_folder
from actviz.jobs import feeding, streaming
from actviz.jobs.computing import Computed, Computer, NotComputed, Sizes
from actviz.jobs.events import Said, Written
from actviz.jobs.feeding import ModelRequest
from actviz.jobs.layers import say_code
from actviz.jobs.surviving import costs_itself
from actviz.select import select_layers
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actviz.activations import Collector
    from actviz.inputs import Given
    from actviz.records import LayerInfo, ModelFacts, Sample

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
    yield from streaming.check(request.reading, has_inputs=request.has_inputs)
    with Worker(request.opening) as worker:
        facts = worker.facts()
        yield from (Said(line) for line in say_code(facts, request.opening.trust))
        yield from feeding.told_by(worker)
        worker.prepare()
        layers = _choose(request, facts)
        path = _target(request, facts)
        failures: list[ActvizError] = []
        with hold_folder(path.parent), activations.Collector(path.parent) as collector:
            run = _Run(request, given, facts, worker, layers)
            for event in _collect(run, collector):
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
            about = activations.about_model(facts, said, run.versions, given=request.has_inputs)
            worker.check_unchanged()
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


@dataclass(slots=True)
class _Run:
    """What stays the same for every input; `versions` are known once something was computed."""

    request: ExtractRequest
    given: Given
    facts: ModelFacts
    worker: Worker
    layers: Sequence[LayerInfo]
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A sample to compute; `alone` where nothing else is."""

    sample: Sample
    alone: bool


def _collect(run: _Run, collector: Collector) -> Iterator[Said | ActvizError]:
    """Compute one sample after another, the next while one is kept; a bad one costs itself only."""
    # Samples are not computed together: the numbers of a batch differ in their last bits.
    addresses, stateful = [layer.address for layer in run.layers], run.request.reading.stateful
    computer: Computer[_Piece] = Computer(run.worker, addresses, Sizes(run.layers, 1), stateful=stateful)
    try:
        for item in computer.compute(_pieces(run), _Piece):
            if isinstance(item, Computed):
                run.versions = item.versions
                yield from feeding.told_by(computer)
                for piece in item.pieces:
                    try:
                        collector.add(piece.sample, item.found)
                    except InputError as failure:
                        yield _one_lost(run, piece, failure)
            elif isinstance(item, NotComputed):
                yield _one_lost(run, item.piece, item.failure)
            elif isinstance(item, Said | ActvizError):
                yield item
    finally:
        computer.end()


def _pieces(run: _Run) -> Iterator[_Piece | Said | ActvizError]:
    """Yield every sample, notes about them, and why files gave none."""
    notes = feeding.Notes()
    parts = feeding.feed(run.request, run.given, run.facts, run.layers)
    first = list(itertools.islice(parts, 2))
    alone = len(first) == 1 and not isinstance(first[0], ActvizError) and len(first[0]) == 1
    for found in itertools.chain(first, parts):
        if isinstance(found, ActvizError):
            yield found
            continue
        yield from notes.about(found)
        samples = map(streaming.marked, found) if run.request.reading.stateful else found
        yield from (_Piece(sample, alone) for sample in samples)


def _one_lost(run: _Run, piece: _Piece, failure: ActvizError) -> ActvizError:
    """Return the failure of one sample.

    Raises
    ------
    ActvizError
        The failure itself, where it ends the run.
    """
    if run.request.fail_fast or piece.alone or not costs_itself(failure):
        raise failure
    return failure


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
