"""What every job that runs a model on inputs shares: the request, the samples, the notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from actviz.errors import PartialError, UsageError
from actviz.jobs.events import Said

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from actviz.errors import ActvizError
    from actviz.inputs import Entry, Gathered, Given, InputOptions
    from actviz.records import LayerInfo, ModelFacts, Sample
    from actviz.worker import Opening


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A model, inputs, layers and a place for the results, as the command line names them.

    `named` are inputs as ``NAME=FILE``.
    """

    opening: Opening
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


def given_by(request: ModelRequest) -> Given:
    """Return what the request gives to feed; what means nothing is refused before a file is opened."""
    from actviz.inputs import Given

    return Given(request.inputs, request.named)


def entries_by(request: ModelRequest, facts: ModelFacts, without: Path | None = None) -> list[Entry]:
    """Return the files that the request names, with folders, patterns and lists opened up.

    Raises
    ------
    InputError
        When there is none although something was named.
    """
    from actviz.inputs import Asked, entries_of

    if request.named and request.lists:
        message = "--files-from and --input NAME=FILE do not go together; give all inputs by name."
        raise UsageError(message)
    text = any(spec.dtype == "string" for spec in facts.inputs)
    return entries_of(Asked(request.inputs, request.lists, request.separated_by_nul, without), text=text)


def gather_all(request: ModelRequest, given: Given, facts: ModelFacts, layers: Sequence[LayerInfo]) -> Gathered:
    """Read every input; a broken one costs its own results only."""
    from actviz.inputs import gather

    return gather(given, facts, layers, request.reading, fail_fast=request.fail_fast)


def feed(
    request: ModelRequest, given: Given, facts: ModelFacts, layers: Sequence[LayerInfo]
) -> Iterator[list[Sample] | ActvizError]:
    """Yield the samples of each file, read when they are asked for.

    A file gives all its samples or none. A broken one costs itself only: its error is
    yielded, or raised where it is the only input or the request says to fail fast.
    """
    from actviz.inputs import gather_each

    return gather_each(given, facts, layers, request.reading, fail_fast=request.fail_fast)


class Noting(Protocol):
    """What runs a model and notes what is worth saying about it."""

    def notes(self) -> list[str]:
        """Return the lines that were not returned before."""
        ...


def told_by(runner: Noting) -> Iterator[Said]:
    """Yield what is worth saying about a model and was not said yet."""
    return (Said(line) for line in runner.notes())


class Notes:
    """What is worth saying about inputs, each thing once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def about(self, samples: Sequence[Sample]) -> Iterator[Said]:
        """Yield what has not been said yet."""
        notes = [note for sample in samples for note in sample.notes]
        ranges = [said for sample in samples for said in sample.ranges]
        notes += [f"preprocessing: {said}; change it with --preprocess" for said in ranges]
        for note in dict.fromkeys(notes):
            if note not in self._said:
                self._said.add(note)
                yield Said(note)


def worst(failures: Sequence[ActvizError]) -> ActvizError:
    """Return the failure whose exit code stands for all, where nothing succeeded."""
    return max(failures, key=lambda failure: failure.exit_code)


def partial(failed: int, total: int) -> PartialError:
    """Return the error that ends a batch of which something was written."""
    return PartialError(f"{failed} of {total} inputs failed, for the reasons above; the rest is written.")
