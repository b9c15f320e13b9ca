"""What all commands that run a model share: their request, samples and notes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from actviz.addresses import select_layers_of
from actviz.batch import streaming
from actviz.batch.computations import NumberedSample
from actviz.batch.events import Note, Progress
from actviz.errors import ActvizError, PartialError, error_of_code, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from actviz.gate import TrustPolicy
    from actviz.inputs import InputArguments, InputOptions
    from actviz.inputs.sources import SampleCount
    from actviz.records import LayerInfo, ModelFacts, Sample
    from actviz.worker import ModelOptions, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRequest:
    """Inputs, layers (addresses; empty: chosen by the command) and an output, as the command line gives them."""

    inputs: InputArguments
    layers: tuple[str, ...] = ()
    output: str | None = None
    reading: InputOptions
    overwrite: bool = False
    fail_fast: bool = False

    @property
    def has_inputs(self) -> bool:
        """Return True if any input was given."""
        inputs = self.inputs
        return bool(inputs.paths or inputs.named or inputs.lists or inputs.files or inputs.part)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest(InputRequest):
    """The request of a command that runs one model."""

    opening: ModelOptions

    @property
    def model(self) -> Path:
        """Return the path of the model file."""
        return self.opening.model


Request = TypeVar("Request", bound=ModelRequest)


def code_notes(facts: ModelFacts, trust: TrustPolicy) -> list[str]:
    """Return notes about the checkpoint of a folder, and about code that runs because the user allowed it."""
    given = ", ".join(escape(text, 80) for text in trust.custom_objects)
    lines = []
    if "/" in facts.weights:  # which one of a folder was not on the command line
        lines.append(f"{facts.file}: the weights are those of {escape(facts.weights, 200)}")
    runs = ", ".join(text for text in facts.code if text not in facts.missing)
    if runs and trust.allow_code:
        lines.append(f"{facts.file}: code in the file is allowed to run: {runs}")
    if runs and given:
        lines.append(f"{facts.file}: code from {given} is run for {runs}")
    return lines


def input_code_notes(request: InputRequest) -> Iterator[Note]:
    """Yield a note about code that reads the inputs because the user asked for it."""
    if request.reading.function is not None:
        yield Note(request.reading.function.note)


def check_computable(facts: ModelFacts, wanted: Sequence[str], file: Path) -> None:
    """Raise the refusal of the layers that addresses select, or of a model with nothing else to compute."""
    if facts.refusals and wanted:
        select_layers_of(facts, wanted, str(file))
    elif facts.refusals and all(layer.kind == "InputLayer" for layer in facts.layers):
        raise error_of_code(*next(iter(facts.refusals.values())))


def open_model(worker: Worker, request: ModelRequest) -> Generator[Note, None, ModelFacts]:
    """Yield notes about a model and the code that it runs; return its facts.

    Raises
    ------
    ModelError, UnsafeError
        If its layers, or the requested ones, need code that may not run.
    """
    facts = worker.facts()
    check_computable(facts, request.layers, request.model)
    yield from map(Note, code_notes(facts, request.opening.trust))
    yield from input_code_notes(request)
    yield from new_notes(worker)
    return facts


def prepare(worker: Worker, model: Path) -> Iterator[Progress]:
    """Let the worker import the library that runs the model, and yield that as progress."""
    worker.prepare()
    yield Progress(0, 0, "starting the interpreter" if model.suffix.lower() == ".tflite" else "starting TensorFlow")


def requested_layers(request: ModelRequest, facts: ModelFacts) -> list[LayerInfo]:
    """Return the layers that the request names, none if it leaves the choice to the command.

    Raises
    ------
    UsageError
        If an address matches no layer.
    """
    return select_layers_of(facts, request.layers, str(request.model)) if request.layers else []


@dataclass(slots=True)
class Inputs:
    """Lists of samples, or errors of files, that are read on demand, and their number as far as it is known."""

    items: Iterator[list[Sample] | ActvizError]
    count: SampleCount

    def __iter__(self) -> Iterator[list[Sample] | ActvizError]:
        """Read the files."""
        return self.items

    def skipped_record(self) -> dict[str, Any]:
        """Return the files of folders that are no inputs, as the key ``skipped`` of a record; without any, no key."""
        records = self.count.skipped.records()
        return {"skipped": records} if records else {}


def feed(request: InputRequest, facts: ModelFacts, layers: Sequence[LayerInfo]) -> Inputs:
    """Return the samples, read on demand; see `inputs.iterate_samples`.

    A file that cannot be read does not end the others: its error is yielded, or raised if it is the only input or
    the request has `fail_fast`.
    """
    from actviz.inputs.sources import SampleCount, iterate_samples

    count = SampleCount()
    return Inputs(
        iterate_samples(request.inputs, facts, layers, request.reading, fail_fast=request.fail_fast, count=count), count
    )


def begin(
    request: Request, facts: ModelFacts, worker: Worker, choose: Callable[[Request, ModelFacts], Sequence[LayerInfo]]
) -> tuple[ModelFacts, Sequence[LayerInfo], Inputs]:
    """Return the facts, the layers that `choose` returns for them, and the inputs as `feed` returns them.

    If the shapes of the inputs are not in the file, they are those of the first sample that can be read.
    """
    if all(spec.shape for spec in facts.inputs):
        layers = choose(request, facts)
        return facts, layers, feed(request, facts, layers)
    inputs = feed(request, facts, requested_layers(request, facts) or facts.layers)
    read = list[list["Sample"] | ActvizError]()
    for item in inputs:
        read.append(item)
        if not isinstance(item, ActvizError) and item:
            facts = worker.complete({name: values.shape for name, values in item[0].values.items()})
            break
    return facts, choose(request, facts), Inputs(itertools.chain(read, inputs), inputs.count)


def new_notes(worker: Worker) -> Iterator[Note]:
    """Yield the notes of a worker since the last call."""
    return (Note(line) for line in worker.notes())


class InputNotes:
    """Notes about inputs, each of them once."""

    def __init__(self) -> None:
        self._noted: set[str] = set()
        self._stretched = False

    def about(self, samples: Sequence[Sample]) -> Iterator[Note]:
        """Yield the notes about samples that have not been yielded before."""
        notes = [note for sample in samples for note in sample.notes]
        notes += [
            f"preprocessing: {chosen}{'' if '--preprocess' in chosen else '; change it with --preprocess'}"
            for sample in samples
            for chosen in sample.ranges
        ]
        notes += self._about_stretching(samples)
        for note in dict.fromkeys(notes):
            if note not in self._noted:
                self._noted.add(note)
                yield Note(note)

    def _about_stretching(self, samples: Sequence[Sample]) -> list[str]:
        """Return a note for the first stretched image only: most images of a folder have a factor of their own."""
        first = next((sample for sample in samples if sample.fitting.startswith("stretched")), None)
        if first is None or self._stretched:
            return []
        self._stretched = True
        return [
            f"{first.name}: {first.fitting} to the size of the input, as Keras's own loaders do; --resize crop or --resize pad keeps the proportions (noted once)."
        ]


def numbered(
    inputs: Inputs, *, stateful: bool = False, notes: InputNotes | None = None, several: bool = False
) -> Iterator[NumberedSample | Note | ActvizError]:
    """Yield the samples of `feed` with their numbers, after notes about them; errors of inputs as they are.

    `notes` are those of earlier parts of the inputs; `several` says that there are other parts.
    """
    notes, done = notes or InputNotes(), itertools.count(1)
    first = list(itertools.islice(inputs, 2))
    alone = not several and len(first) == 1 and not isinstance(first[0], ActvizError) and len(first[0]) == 1
    for item in itertools.chain(first, inputs):
        if isinstance(item, ActvizError):
            yield item
            continue
        yield from notes.about(item)
        for sample in item:
            marked = streaming.marked(sample) if stateful else sample
            yield NumberedSample(sample.offset, marked, alone, next(done), inputs.count.total)


def collect_failures(
    events: Iterable[Note | Progress | ActvizError], failures: list[ActvizError]
) -> Iterator[Note | Progress]:
    """Yield events, and failures as notes; add the failures to `failures`."""
    for event in events:
        if isinstance(event, ActvizError):
            failures.append(event)
            yield Note(event.message, is_failure=True)
        else:
            yield event


def partial(failed: int, total: int) -> PartialError:
    """Return the error that ends a run with results in which some inputs failed."""
    return PartialError(
        f"{failed} of {total} inputs failed, for the reasons above; the results are of the other {total - failed:,}."
    )
