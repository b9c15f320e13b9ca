"""The range of the values of each layer over all inputs, for one color scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from actviz.statistics.channel_statistics import as_numbers
from actviz.statistics.reducer import LayerReducer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The smallest and the largest finite value, and 0; `signed` where the layer's activation function gives both signs."""

    low: float
    high: float
    signed: bool

    def merge(self, other: ValueRange) -> ValueRange:
        """Return the range of both."""
        return ValueRange(min(self.low, other.low), max(self.high, other.high), self.signed or other.signed)

    def arrays(self, *, canonical: bool = True) -> dict[str, NDArray[Any]]:
        """Return everything as plain arrays, for `from_arrays`."""
        del canonical  # it always is
        return {"range": np.array([self.low, self.high, self.signed], np.float64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the range that `arrays` returned."""
        low, high, signed = arrays["range"].tolist()
        return cls(low, high, bool(signed))

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the color scale: symmetric around 0 where there are values of both signs, or may be."""
        return (
            (-max(-self.low, self.high), max(-self.low, self.high)) if self.signed or self.low < 0 else (0.0, self.high)
        )


class RangeReducer(LayerReducer[ValueRange]):
    """The range of each layer; layers without numbers have none. Masked steps are left out."""

    numbers = ValueRange

    def update(self, address: str, activations: Sequence[Activation], samples: Sequence[int]) -> None:
        """Add a layer's activation for a batch."""
        values = _unmasked(activations[0], len(samples))
        if values is None:
            return
        if not math.isfinite(values.min(initial=0)) or not math.isfinite(values.max(initial=0)):
            values = values[np.isfinite(values)]
        low, high = float(values.min(initial=0)) + 0.0, float(values.max(initial=0)) + 0.0  # -0.0 is 0.0
        self.add(address, ValueRange(low, high, bool(activations[0].signed)))


def _unmasked(activation: Activation, count: int) -> NDArray[Any] | None:
    """Return the numbers of the first entries of an activation, without masked steps; ``None`` where it has none."""
    try:
        values = as_numbers(activation.values)
    except TypeError:
        return None
    mask, axes = activation.mask, activation.axes
    if values.ndim and axes[:1] == ("batch",):
        values = values[:count]
    if mask is None or "step" not in axes or mask.shape[1] != values.shape[axes.index("step")]:
        return values
    steps: NDArray[Any] = values.swapaxes(1, axes.index("step"))
    kept: NDArray[np.bool_] = mask[:count]
    return steps[kept]
