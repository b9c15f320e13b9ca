"""`extract`: from a model and inputs to a file of activations."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from actviz.addresses import select_layers
from actviz.batch import requests, streaming
from actviz.batch.events import FileWritten, Note
from actviz.batch.requests import ModelRequest
from actviz.batch.retries import is_sample_error
from actviz.batch.runner import BatchRunner, BatchSizes, ComputedBatch, FailedItem
from actviz.commands.layers import say_code
from actviz.errors import ActvizError, InputError, UsageError, escape
from actviz.system.held_folder import hold_folder
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actviz.activations import ActivationWriter
    from actviz.inputs import InputArguments
    from actviz.records import LayerInfo, ModelFacts, Sample

SUFFIX = ".npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractRequest(ModelRequest):
    """What the command asks for, parsed."""

    compress: bool = False


def extract(request: ExtractRequest) -> Iterator[Note | FileWritten]:
    """Write the activations of the chosen layers for every input into one file.

    Raises
    ------
    ActvizError
        When nothing could be made; `PartialError` at the end when part of it failed.
    """
    from actviz import activations
    from actviz.inputs import choose_preprocessing
    from actviz.system import file_writing

    given = requests.given_by(request)
    yield from streaming.check(request.reading, has_inputs=request.has_inputs)
    with Worker(request.opening) as worker:
        facts = worker.facts()
        yield from (Note(line) for line in say_code(facts, request.opening.trust))
        yield from requests.new_notes(worker)
        worker.prepare()
        layers = _choose(request, facts)
        path = _target(request, facts)
        failures: list[ActvizError] = []
        with hold_folder(path.parent), activations.ActivationWriter(path.parent) as collector:
            run = _ExtractRun(request, given, facts, worker, layers)
            for event in _collect(run, collector):
                if isinstance(event, ActvizError):
                    failures.append(event)
                    yield Note(event.message)
                else:
                    yield event
            if not collector.count:
                raise requests.worst(failures)
            for address, reason in collector.left_out.items():
                yield Note(f'layer "{escape(address, 80)}" is left out: {reason}.')
            if not collector.addresses:
                message = f"{facts.file}: none of the layers gives an array for each input; choose others with --layer."
                raise UsageError(message)
            said = choose_preprocessing(facts, request.reading.preprocess).description
            about = activations.model_metadata(facts, said, run.versions, given=request.has_inputs)
            worker.check_unchanged()
            with file_writing.replace_file(path) as file:
                collector.write(file, about, compress=request.compress)
    yield FileWritten(path)
    if failures:
        raise requests.partial(len(failures), len(failures) + collector.count)


def _choose(request: ExtractRequest, facts: ModelFacts) -> Sequence[LayerInfo]:
    """Return the layers asked for, else all but the scores of attention, which cost a call more."""
    if request.layers:
        return select_layers(facts.layers, request.layers, str(request.model), gone=facts.gone)
    return [layer for layer in facts.layers if not layer.address.endswith("@scores") and not layer.inner]


@dataclass(slots=True)
class _ExtractRun:
    """What stays the same for every input; `versions` are known once something was computed."""

    request: ExtractRequest
    given: InputArguments
    facts: ModelFacts
    worker: Worker
    layers: Sequence[LayerInfo]
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _ExtractItem:
    """A sample to compute; `alone` where nothing else is."""

    sample: Sample
    alone: bool


def _collect(run: _ExtractRun, collector: ActivationWriter) -> Iterator[Note | ActvizError]:
    """Compute one sample after another, the next while one is kept; a bad one costs itself only."""
    # Samples are not computed together: the numbers of a batch differ in their last bits.
    addresses, stateful = [layer.address for layer in run.layers], run.request.reading.stateful
    computer: BatchRunner[_ExtractItem] = BatchRunner(
        run.worker, addresses, BatchSizes(run.layers, 1), stateful=stateful
    )
    try:
        for item in computer.compute(_pieces(run), _ExtractItem):
            if isinstance(item, ComputedBatch):
                run.versions = item.versions
                yield from requests.new_notes(computer)
                for piece in item.pieces:
                    try:
                        collector.add(piece.sample, item.found)
                    except InputError as failure:
                        yield _one_lost(run, piece, failure)
            elif isinstance(item, FailedItem):
                yield _one_lost(run, item.piece, item.failure)
            elif isinstance(item, Note | ActvizError):
                yield item
    finally:
        computer.end()


def _pieces(run: _ExtractRun) -> Iterator[_ExtractItem | Note | ActvizError]:
    """Yield every sample, notes about them, and why files gave none."""
    notes = requests.InputNotes()
    parts = requests.feed(run.request, run.given, run.facts, run.layers)
    first = list(itertools.islice(parts, 2))
    alone = len(first) == 1 and not isinstance(first[0], ActvizError) and len(first[0]) == 1
    for found in itertools.chain(first, parts):
        if isinstance(found, ActvizError):
            yield found
            continue
        yield from notes.about(found)
        samples = map(streaming.marked, found) if run.request.reading.stateful else found
        yield from (_ExtractItem(sample, alone) for sample in samples)


def _one_lost(run: _ExtractRun, piece: _ExtractItem, failure: ActvizError) -> ActvizError:
    """Return the failure of one sample.

    Raises
    ------
    ActvizError
        The failure itself, where it ends the run.
    """
    if run.request.fail_fast or piece.alone or not is_sample_error(failure):
        raise failure
    return failure


def _target(request: ExtractRequest, facts: ModelFacts) -> Path:
    """Return the path of the result, once it is known that it may be written."""
    from actviz.activations import read_description
    from actviz.results import output_files

    path = Path(request.output or f"{output_files.slug(Path(facts.file).stem)}{SUFFIX}")
    if path.suffix.lower() != SUFFIX or str(request.output).endswith("/"):
        message = (
            f"-o {escape(str(request.output), 200)}: activations are written as .npz; give a name that ends in .npz."
        )
        raise UsageError(message)
    output_files.prepare_folder(path.parent)
    kind = output_files.ResultKind("model's activations", read_description)
    output_files.check_replaceable(path, {"model": facts.file}, kind, overwrite=request.overwrite)
    return path
