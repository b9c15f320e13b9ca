"""Positions of the values of a feature map in the image that is fed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
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


def receptive_box(geometry: Geometry, row: int, column: int) -> Box:
    """Return the pixels that a value of a map depends on; they may lie outside of the image."""
    ends: list[tuple[int, int]] = []
    for axis, index in enumerate((row, column)):
        center, reach = geometry.offset[axis] + index * geometry.stride[axis], (geometry.field[axis] - 1) / 2
        # After an enlargement the ends of a field are fractions.
        ends.append((math.floor(center - reach + 1e-6), math.ceil(center + reach - 1e-6) + 1))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]
