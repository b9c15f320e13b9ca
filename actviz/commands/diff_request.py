"""The request of `diff`, and the interface of the sources that it compares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from actviz.batch.requests import InputRequest
from actviz.commands import verdicts
from actviz.statistics.differences import DifferenceReducer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from actviz.batch.events import Note, Progress
    from actviz.errors import ActvizError
    from actviz.records import Activation, LayerInfo, Sample
    from actviz.statistics.differences import LayerDifference, LayerMatch
    from actviz.statistics.tolerances import Tolerances
    from actviz.worker import ModelOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRequest(InputRequest):
    """The arguments of the command; `figures` is the number of layers to draw."""

    ours: ModelOptions
    theirs: ModelOptions
    tolerances: Tolerances
    figures: int = 6
    through_link: bool = False
    reports: verdicts.ReportTargets = field(default_factory=verdicts.ReportTargets)

    @property
    def names(self) -> tuple[str, str]:
        """Return the names of both files, with folders if they are equal.

        Those of the weights if the model is the same, and of both if model and weights differ.
        """
        ours, theirs = self.ours.model, self.theirs.model
        own, other = self.ours.weights, self.theirs.weights
        if own is None or other is None or own == other:
            return _distinct(ours, theirs)
        first, second = _distinct(own, other)
        if ours == theirs:
            return first, second
        return f"{ours.name} with {first}", f"{theirs.name} with {second}"


def _distinct(ours: Path, theirs: Path) -> tuple[str, str]:
    """Return the names of two files, with folders if they are equal."""
    return (ours.name, theirs.name) if ours.name != theirs.name else (str(ours), str(theirs))


@dataclass(slots=True)
class DifferencesSoFar:
    """The difference of each pair over `inputs` inputs, and why some pairs are left out, by the address in A.

    `skipped` is the record of files of folders that are no inputs.
    """

    reducer: DifferenceReducer = field(default_factory=DifferenceReducer)
    inputs: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, Any] = field(default_factory=dict)

    @property
    def layers(self) -> dict[str, LayerDifference]:
        """The differences by address in A."""
        return self.reducer.layers


class DiffSource(Protocol):
    """Two models, or two files of activations, to compare."""

    def select(self, wanted: Sequence[str]) -> list[LayerInfo]:
        """Return the layers of the first side that addresses select."""

    def layers(self) -> tuple[Sequence[LayerInfo], Sequence[LayerInfo]]:
        """Return the layers of A and of B."""
        ...

    def compare(self, pairs: Sequence[LayerMatch], drifts: DifferencesSoFar) -> Iterator[Note | Progress | ActvizError]:
        """Add the difference of each pair over all inputs."""
        ...

    def sample(self, number: int) -> Sample:
        """Return the input of a number that is `LayerDifference.worst` of a pair."""
        ...

    def activations(self, pairs: Sequence[LayerMatch], number: int) -> list[tuple[Activation, Activation]]:
        """Return the activations of both layers of each pair for an input."""
        ...
