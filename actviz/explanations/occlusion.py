"""Occlusion: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2.

How much lower the score is where a patch of the input is 0. There are at most 14 x 14 patches, side by side.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from actviz.explanations.method import Explanation

MOST = (196, 14, 5)
"""Patches along an axis of inputs with one, two or three axes of places: at most 14 x 14 in all."""


def compute(explanation: Explanation, patch: int | None = None) -> NDArray[Any]:
    """Return maps ``(batch, ...)`` at the places of the input; `patch` is the length of a patch along each axis."""
    values, channel = explanation.values, explanation.channel
    axes = [axis for axis in range(1, values.ndim) if axis != channel]
    maps = np.zeros([len(values), *(values.shape[axis] for axis in axes)], np.float32)
    sizes = [values.shape[axis] for axis in axes]
    for index, sample in enumerate(values):
        # Where a patch is 0 already, nothing changes: rounding, which depends on the batch, would say otherwise.
        boxes = [box for box in _boxes(sizes, patch) if np.any(sample[_in_sample(box, axes, sample.ndim)] != 0)]
        whole = explanation.scores_of(sample[None], index)[0]
        for start in range(0, len(boxes), explanation.size):
            part = boxes[start : start + explanation.size]
            occluded = np.repeat(sample[None], len(part), axis=0)
            for number, box in enumerate(part):
                occluded[number][_in_sample(box, axes, sample.ndim)] = 0
            for box, score in zip(part, explanation.scores_of(occluded, index), strict=True):
                maps[index][box] = whole - score
    return maps


def _in_sample(box: tuple[slice, ...], axes: list[int], rank: int) -> tuple[slice, ...]:
    """Return the index of a box in a sample of `rank` axes; `axes` are those of places, batch first."""
    where = [slice(None)] * rank
    for axis, side in zip(axes, box, strict=True):
        where[axis - 1] = side
    return tuple(where)


def patch_sides(sizes: Sequence[int]) -> list[int]:
    """Return the length of a patch along each axis of places of the input."""
    most = MOST[min(len(sizes), len(MOST)) - 1]
    return [-(-size // most) for size in sizes]


def _boxes(sizes: list[int], patch: int | None) -> Iterator[tuple[slice, ...]]:
    sides = [patch] * len(sizes) if patch else patch_sides(sizes)
    starts = (range(0, size, side) for size, side in zip(sizes, sides, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))
