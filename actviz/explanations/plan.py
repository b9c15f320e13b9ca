"""What is to be explained for every input, as a command sends it to the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.records import HeatMap


TOP = "top"


@dataclass(frozen=True, slots=True)
class Target:
    """What is explained: a unit of a layer (``address`` empty: the output).

    `unit` is ``-k`` for the unit with the k-th highest score of each input.
    """

    address: str = ""
    unit: int = -1

    @property
    def name(self) -> str:
        """The target as on the command line: ``top``, ``top2``, ``7`` or ``conv:17``."""
        unit = f"top{-self.unit}" if self.unit < -1 else TOP if self.unit < 0 else str(self.unit)
        return f"{self.address}:{unit}" if self.address else unit


@dataclass(frozen=True, slots=True)
class ExplainPlan:
    """Targets, methods and what is computed beside the maps.

    `methods` is empty for the default of the format, `layer` for that of the methods. `box` is a box of the input,
    ``(top, left, bottom, right)`` (empty: none). `check` says whether the faithfulness of each map is measured.
    """

    targets: tuple[Target, ...] = (Target(),)
    methods: tuple[str, ...] = ()
    layer: str = ""
    box: tuple[int, ...] = ()
    check: bool = False

    def names(self, maps: Sequence[HeatMap]) -> list[str]:
        """Return a name for each map of one input, the same for every input: ``explain/gradcam/top``."""
        each = len(maps) // len(self.targets)
        return [f"explain/{item.method}/{self.targets[index // each].name}" for index, item in enumerate(maps)]
