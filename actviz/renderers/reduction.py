"""Maps with more values than a picture has room for, brought down by means of blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BUDGET = 16_000_000


def factors(count: int, rows: int, columns: int, budget: int = BUDGET) -> tuple[int, int]:
    """Return how many values down and across become one, so that `budget` values are left.

    The longer side is divided first, until both are alike; (1, 1) where everything fits.
    """
    down = across = 1
    while count * -(-rows // down) * -(-columns // across) > budget and (rows > down or columns > across):
        if rows / down > columns / across:
            down += 1
        else:
            across += 1
    return down, across


def block_means(maps: NDArray[Any], down: int, across: int) -> NDArray[np.float64]:
    """Return the mean of each block of ``(tile, row, column)``; blocks at the ends are smaller.

    A block with a NaN or an infinity becomes one.
    """
    values = maps.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for axis, factor in ((1, down), (2, across)):
            if factor > 1:
                size = values.shape[axis]
                starts = np.arange(0, size, factor)
                shape = [1, 1, 1]
                shape[axis] = len(starts)
                counts = np.minimum(factor, size - starts).reshape(shape)
                # Divided before they are added, so that the sum of huge values stays finite.
                values = np.add.reduceat(values / np.repeat(counts, counts.ravel(), axis=axis), starts, axis=axis)
    return values


def said(nouns: tuple[str, str], by: tuple[int, int]) -> str:
    """Return how values were brought together, in words, for a figure and its manifest."""
    blocks = " by ".join(f"{factor} {noun}s" for factor, noun in zip(by, nouns, strict=True) if factor > 1)
    return f"each value drawn is the mean of {blocks}"
