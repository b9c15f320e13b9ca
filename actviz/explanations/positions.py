"""Positions of the values of a map on the input."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Geometry


def nearest_indices(offset: float, stride: float, count: int, sizes: tuple[int, int]) -> NDArray[np.int64]:
    """Return the index of the nearest value for each pixel along an axis, -1 outside the map.

    Values are at `offset`, `offset` + `stride`, ...; each covers half a stride to either side.

    Parameters
    ----------
    count
        The number of values.
    sizes
        The length of the axis in the unit of `offset`, and in drawn pixels.
    """
    size, length = sizes
    middles = (np.arange(length) + 0.5) * (size / length) - 0.5
    indices = np.floor((middles - offset) / stride + 0.5).astype(np.int64)
    return np.where((indices >= 0) & (indices < count), indices, -1)


def values_on_input(shape: tuple[int, ...], sizes: tuple[int, ...], geometry: Geometry | None) -> NDArray[np.int64]:
    """Return the flat index of the value of a map of `shape` for each place of the input, -1 outside the map.

    Without a known geometry the map is stretched over the input.

    Parameters
    ----------
    sizes
        The sizes of the input along the axes of the map.
    """
    if shape == sizes:
        return np.arange(int(np.prod(shape))).reshape(shape)
    axes = []
    for axis, (count, size) in enumerate(zip(shape, sizes, strict=True)):
        stride = size / max(1, count)
        offset, length = stride / 2 - 0.5, size
        if geometry is not None and len(shape) == 2:  # noqa: PLR2004  (rows and columns)
            offset, stride, length = geometry.offset[axis], geometry.stride[axis], geometry.size[axis]
        axes.append(nearest_indices(offset, stride, count, (length, size)))
    flat = np.zeros(sizes, np.int64)
    outside = np.zeros(sizes, np.bool_)
    for axis, indices in enumerate(axes):
        spread = indices.reshape([-1 if axis == index else 1 for index in range(len(sizes))])
        flat = flat * shape[axis] + spread
        outside |= spread < 0
    return np.where(outside, -1, flat)


@functools.lru_cache(maxsize=8)
def enlargement_matrix(count: int, length: int) -> NDArray[np.float64]:
    """Return the matrix ``(length, count)`` that enlarges an axis linearly, with the ends repeated."""
    middles = np.clip((np.arange(length) + 0.5) * count / length - 0.5, 0, count - 1)
    enlargement: NDArray[np.float64] = np.maximum(0, 1 - np.abs(middles[:, None] - np.arange(count)))
    return enlargement
