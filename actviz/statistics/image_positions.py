"""Positions of the values of a feature map in the image that is fed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Box, Geometry

Region = tuple[slice, slice]
"""The rows and columns of a part of a map."""


def centered_region(geometry: Geometry, box: Box, counts: tuple[int, int]) -> Region:
    """Return the part of maps of `counts` rows and columns whose receptive fields are centered in a box of pixels."""
    region = []
    for axis, (first, end) in enumerate(((box[0], box[2]), (box[1], box[3]))):
        centers = geometry.offset[axis] + np.arange(counts[axis]) * geometry.stride[axis]
        # The center of the first pixel is 0, so its left edge is -0.5.
        numbers = np.flatnonzero((centers >= first - 0.5) & (centers <= end - 0.5))
        region.append(slice(int(numbers[0]), int(numbers[-1]) + 1) if numbers.size else slice(0, 0))
    return region[0], region[1]


def receptive_boxes(geometry: Geometry, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pixels that the values of maps at some rows and columns depend on, ``(side, ...)``.

    The sides are those of a `Box`; a box may lie partly outside of the image.
    """
    first, end = [], []
    for axis, indices in enumerate((rows, columns)):
        centers, reach = geometry.offset[axis] + indices * geometry.stride[axis], (geometry.field[axis] - 1) / 2
        # After an enlargement the ends of a field are fractions.
        first.append(np.floor(centers - reach + 1e-6))
        end.append(np.ceil(centers + reach - 1e-6) + 1)
    return np.array([*first, *end]).astype(np.int64)
