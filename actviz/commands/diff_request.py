"""What `diff` is asked for, and what its sources give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from actviz.commands import verdicts
from actviz.statistics.differences import DifferenceReducer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from actviz.batch.events import Note
    from actviz.errors import ActvizError
    from actviz.inputs import InputOptions
    from actviz.records import Activation, LayerInfo, Sample
    from actviz.statistics.differences import LayerDifference, LayerMatch
    from actviz.statistics.tolerances import Tolerances
    from actviz.worker import ModelOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRequest:
    """What the command asks for, parsed; `figures` is how many layers are drawn."""

    ours: ModelOptions
    theirs: ModelOptions
    inputs: tuple[Path, ...] = ()
    named: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    separated_by_nul: bool = False
    layers: tuple[str, ...] = ()
    reading: InputOptions
    tolerances: Tolerances
    output: str | None = None
    figures: int = 6
    overwrite: bool = False
    through_link: bool = False
    fail_fast: bool = False
    reports: verdicts.ReportTargets = field(default_factory=verdicts.ReportTargets)

    @property
    def has_inputs(self) -> bool:
        """Tell whether any input was given."""
        return bool(self.inputs or self.named or self.lists)

    @property
    def names(self) -> tuple[str, str]:
        """Return the names of both files: of the weights if the model is the same, and with folders if the names are."""
        ours, theirs = self.ours.model, self.theirs.model
        if ours == theirs and self.ours.weights and self.theirs.weights:
            ours, theirs = self.ours.weights, self.theirs.weights
        if ours.name != theirs.name:
            return ours.name, theirs.name
        return str(ours), str(theirs)


@dataclass(slots=True)
class DifferencesSoFar:
    """The difference of each pair over `inputs` inputs, and why some pairs are left out, by the address in A."""

    reducer: DifferenceReducer = field(default_factory=DifferenceReducer)
    inputs: int = 0
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def found(self) -> dict[str, LayerDifference]:
        """The differences by address."""
        return self.reducer.layers


class DiffSource(Protocol):
    """Two things to compare, whatever they come from."""

    def select(self, wanted: Sequence[str]) -> list[LayerInfo]:
        """Return the layers of the first side that addresses select."""

    def layers(self) -> tuple[Sequence[LayerInfo], Sequence[LayerInfo]]:
        """Return the layers of A and of B."""
        ...

    def compare(self, pairs: Sequence[LayerMatch], drifts: DifferencesSoFar) -> Iterator[Note | ActvizError]:
        """Add the difference of each pair over all inputs."""
        ...

    def sample(self, number: int) -> Sample:
        """Return an input that a drift names as its worst."""
        ...

    def activations(self, pairs: Sequence[LayerMatch], number: int) -> list[tuple[Activation, Activation]]:
        """Return what both sides of some pairs gave for an input."""
        ...
