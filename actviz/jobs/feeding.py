"""What every job that runs a model on inputs shares: the request, the samples, the notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.errors import ActvizError, PartialError
from actviz.jobs.events import Said

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from actviz.inputs import InputOptions, Preprocessing
    from actviz.records import ModelFacts, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A model, inputs, layers and a place for the results, as the command line names them."""

    model: Path
    inputs: tuple[Path, ...]
    layers: tuple[str, ...]
    output: str | None
    reading: InputOptions
    overwrite: bool = False
    timeout: float = 120.0
    verbose: bool = False
    weights: Path | None = None
    fail_fast: bool = False


def feed(request: ModelRequest, facts: ModelFacts) -> Iterator[list[Sample] | ActvizError]:
    """Yield the samples of each file, read when they are asked for.

    A file gives all its samples or none. A broken one costs itself only: its error is
    yielded, or raised where it is the only input or the request says to fail fast.
    """
    from actviz.inputs import default_sample, read_samples

    preprocessing = _preprocessing(request, facts)
    if not request.inputs:
        yield [default_sample(facts.inputs, preprocessing, request.reading)]
    for path in request.inputs:
        try:
            yield read_samples(path, facts.inputs, preprocessing, request.reading)
        except ActvizError as failure:
            if request.fail_fast or len(request.inputs) == 1:
                raise
            yield failure


class Notes:
    """What is worth saying about inputs, each thing once."""

    def __init__(self, request: ModelRequest, facts: ModelFacts) -> None:
        from actviz.jobs.layers import takes_images

        self._said: set[str] = set()
        self._preprocessing = preprocessing_of(request, facts) if takes_images(facts) else ""

    def about(self, samples: Sequence[Sample]) -> Iterator[Said]:
        """Yield what has not been said yet."""
        notes = [note for sample in samples for note in sample.notes]
        if self._preprocessing and any("as given" not in sample.fed for sample in samples):
            notes.append(f"preprocessing: {self._preprocessing}; change it with --preprocess")
        for note in dict.fromkeys(notes):
            if note not in self._said:
                self._said.add(note)
                yield Said(note)


def preprocessing_of(request: ModelRequest, facts: ModelFacts) -> str:
    """Say in words which range images are fed in, and why."""
    return _preprocessing(request, facts).said


def _preprocessing(request: ModelRequest, facts: ModelFacts) -> Preprocessing:
    from actviz.inputs import choose_preprocessing

    return choose_preprocessing(facts, request.reading.preprocess)


def worst(failures: Sequence[ActvizError]) -> ActvizError:
    """Return the failure whose exit code stands for all, where nothing succeeded."""
    return max(failures, key=lambda failure: failure.exit_code)


def partial(failed: int, total: int) -> PartialError:
    """Return the error that ends a batch of which something was written."""
    return PartialError(f"{failed} of {total} inputs failed, for the reasons above; the rest is written.")
