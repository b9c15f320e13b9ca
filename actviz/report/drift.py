"""How far the layers of two models lie apart on the same inputs, taken in parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz import stats
from actviz.report.contents import Drift

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Apart:
    """What is known of a layer so far.

    `largest` is the largest absolute difference, `strength` the largest absolute value;
    `product` and `squares` are sums over all values of both, for the cosine. `mismatched`
    says that NaN or infinities stand in different places.
    """

    largest: float = 0.0
    strength: float = 0.0
    product: float = 0.0
    squares: tuple[float, float] = (0.0, 0.0)
    mismatched: bool = False


def apart(first: NDArray[Any], second: NDArray[Any]) -> Apart:
    """Return how far two arrays of one shape lie apart; values that are finite in both count."""
    one, two = (stats.as_numbers(values).astype(np.float64).reshape(-1) for values in (first, second))
    good = np.isfinite(one) & np.isfinite(two)
    same = np.array_equal(np.nan_to_num(one[~good], nan=0.5), np.nan_to_num(two[~good], nan=0.5))
    one, two = one[good], two[good]
    with np.errstate(over="ignore", invalid="ignore"):
        largest = float(np.abs(one - two).max(initial=0.0))
        strength = float(max(np.abs(one).max(initial=0.0), np.abs(two).max(initial=0.0)))
        return Apart(largest, strength, float(one @ two), (float(one @ one), float(two @ two)), not same)


def together(first: Apart, second: Apart) -> Apart:
    """Return what two sets of inputs say together."""
    return Apart(
        max(first.largest, second.largest),
        max(first.strength, second.strength),
        first.product + second.product,
        (first.squares[0] + second.squares[0], first.squares[1] + second.squares[1]),
        first.mismatched or second.mismatched,
    )


def drift_of(found: Apart) -> Drift:
    """Return what is said of a layer: changed when some value differs by more than a ten-thousandth of the largest."""
    length = math.sqrt(found.squares[0]) * math.sqrt(found.squares[1])
    cosine = found.product / length if 0 < length < math.inf else math.nan
    cosine = min(1.0, max(-1.0, cosine)) if math.isfinite(cosine) else math.nan
    changed = found.mismatched or not found.largest <= TOLERANCE * found.strength
    return Drift(found.largest, found.strength, cosine, changed)
