"""What is to be explained for every input, as a command sends it to the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.explanations.explain import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.records import HeatMap


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
