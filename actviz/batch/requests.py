"""What every job that runs a model on inputs shares: the request, the samples, the notes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from actviz.addresses import select_layers_of
from actviz.batch import streaming
from actviz.batch.computations import NumberedSample
from actviz.batch.events import Note
from actviz.errors import ActvizError, PartialError, error_of_code, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from actviz.gate import TrustPolicy
    from actviz.inputs import InputArguments, InputFile, InputOptions, InputSamples
    from actviz.records import LayerInfo, ModelFacts, Sample
    from actviz.worker import ModelOptions, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A model, inputs, layers and a place for the results, as the command line names them.

    `named` are inputs as ``NAME=FILE``.
    """

    opening: ModelOptions
    inputs: tuple[Path, ...]
    named: tuple[str, ...] = ()
    layers: tuple[str, ...]
    output: str | None
    reading: InputOptions
    overwrite: bool = False
    fail_fast: bool = False
    lists: tuple[str, ...] = ()
    separated_by_nul: bool = False

    @property
    def model(self) -> Path:
        """Return the path of the model file."""
        return self.opening.model

    @property
    def has_inputs(self) -> bool:
        """Tell whether any input was given."""
        return bool(self.inputs or self.named or self.lists)


Request = TypeVar("Request", bound=ModelRequest)
Item = TypeVar("Item")


def given_by(request: ModelRequest) -> InputArguments:
    """Return what the request gives to feed; what means nothing is refused before a file is opened."""
    from actviz.inputs import InputArguments

    return InputArguments(request.inputs, request.named, request.lists, request.separated_by_nul)


def say_code(facts: ModelFacts, trust: TrustPolicy) -> list[str]:
    """Say which code runs that is not Keras's own, because the user let it."""
    given = ", ".join(escape(text, 80) for text in trust.custom_objects)
    lines = []
    runs = ", ".join(text for text in facts.code if text not in facts.missing)
    if runs and trust.allow_code:
        lines.append(f"{facts.file}: code in the file is allowed to run: {runs}")
    if runs and given:
        lines.append(f"{facts.file}: code from {given} is run for {runs}")
    return lines


def check_computable(facts: ModelFacts, wanted: Sequence[str], file: Path) -> None:
    """Raise the refusal of the layers that addresses select, or of a model with nothing else to compute."""
    if facts.refusals and wanted:
        select_layers_of(facts, wanted, str(file))
    elif facts.refusals and all(layer.kind == "InputLayer" for layer in facts.layers):
        raise error_of_code(*next(iter(facts.refusals.values())))


def open_model(worker: Worker, request: ModelRequest) -> Generator[Note, None, ModelFacts]:
    """Yield what is worth saying about a model and the code that it runs; return its facts.

    Raises
    ------
    ModelError, UnsafeError
        When its layers, or those asked for, need code that may not run.
    """
    facts = worker.facts()
    check_computable(facts, request.layers, request.model)
    yield from map(Note, say_code(facts, request.opening.trust))
    yield from new_notes(worker)
    return facts


def entries_by(request: ModelRequest, facts: ModelFacts, without: Path | None = None) -> list[InputFile]:
    """Return the files that the request names, with folders, patterns and lists opened up.

    Raises
    ------
    InputError
        When there is none although something was named.
    """
    from actviz.inputs import find_input_files

    return find_input_files(given_by(request), facts, without)


def gather_all(
    request: ModelRequest, given: InputArguments, facts: ModelFacts, layers: Sequence[LayerInfo]
) -> InputSamples:
    """Read every input that the layers asked for need, else `layers`; a broken one costs its own results only."""
    from actviz.inputs import load_samples

    return load_samples(given, facts, _asked(request, facts) or layers, request.reading, fail_fast=request.fail_fast)


def _asked(request: ModelRequest, facts: ModelFacts) -> Sequence[LayerInfo]:
    """Return the layers that the request names, none where it leaves that open."""
    return select_layers_of(facts, request.layers, str(request.model)) if request.layers else ()


def feed(
    request: ModelRequest, given: InputArguments, facts: ModelFacts, layers: Sequence[LayerInfo]
) -> Iterator[list[Sample] | ActvizError]:
    """Yield samples, read when they are asked for; see `inputs.iterate_samples`.

    A broken file costs itself only: its error is yielded, or raised where it is the only
    input or the request says to fail fast.
    """
    from actviz.inputs import iterate_samples

    return iterate_samples(given, facts, layers, request.reading, fail_fast=request.fail_fast)


def begin(
    request: Request, facts: ModelFacts, worker: Worker, choose: Callable[[Request, ModelFacts], Sequence[LayerInfo]]
) -> tuple[ModelFacts, Sequence[LayerInfo], Iterator[list[Sample] | ActvizError]]:
    """Return the facts, the layers that `choose` takes of them, and the inputs as `feed` yields them.

    Where the file does not tell the shapes of the inputs, the first that can be read tells them.
    """
    given = given_by(request)
    if all(spec.shape for spec in facts.inputs):
        layers = choose(request, facts)
        return facts, layers, feed(request, given, facts, layers)
    found = feed(request, given, facts, _asked(request, facts) or facts.layers)
    read = list[list["Sample"] | ActvizError]()
    for item in found:
        read.append(item)
        if not isinstance(item, ActvizError) and item:
            facts = worker.complete({name: values.shape for name, values in item[0].values.items()})
            break
    return facts, choose(request, facts), itertools.chain(read, found)


def new_notes(worker: Worker) -> Iterator[Note]:
    """Yield what is worth saying about a model and was not said yet."""
    return (Note(line) for line in worker.notes())


class InputNotes:
    """What is worth saying about inputs, each thing once."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._stretched = False

    def about(self, samples: Sequence[Sample]) -> Iterator[Note]:
        """Yield what has not been said yet."""
        notes = [note for sample in samples for note in sample.notes]
        ranges = [said for sample in samples for said in sample.ranges]
        notes += [
            f"preprocessing: {said}{'' if '--preprocess' in said else '; change it with --preprocess'}"
            for said in ranges
        ]
        notes += self._about_stretching(samples)
        for note in dict.fromkeys(notes):
            if note not in self._said:
                self._said.add(note)
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
    inputs: Iterable[list[Sample] | ActvizError], *, stateful: bool = False
) -> Iterator[NumberedSample | Note | ActvizError]:
    """Yield every sample with its number, after notes about it, and why inputs gave none, as `feed` yields them."""
    notes, inputs, numbers = InputNotes(), iter(inputs), itertools.count()
    first = list(itertools.islice(inputs, 2))
    alone = len(first) == 1 and not isinstance(first[0], ActvizError) and len(first[0]) == 1
    for found in itertools.chain(first, inputs):
        if isinstance(found, ActvizError):
            yield found
            continue
        yield from notes.about(found)
        for sample in found:
            yield NumberedSample(next(numbers), streaming.marked(sample) if stateful else sample, alone)


def collect_failures(events: Iterable[Item | ActvizError], failures: list[ActvizError]) -> Iterator[Item | Note]:
    """Yield events, and failures as notes; add the failures to `failures`."""
    for event in events:
        if isinstance(event, ActvizError):
            failures.append(event)
            yield Note(event.message)
        else:
            yield event


def worst(failures: Sequence[ActvizError]) -> ActvizError:
    """Return the failure whose exit code stands for all, where nothing succeeded."""
    return max(failures, key=lambda failure: failure.exit_code)


def partial(failed: int, total: int) -> PartialError:
    """Return the error that ends a batch of which something was written."""
    return PartialError(f"{failed} of {total} inputs failed, for the reasons above; the rest is written.")
