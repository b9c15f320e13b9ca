"""Norms of filters, and which are zero everywhere or equal to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Kernel


@dataclass(frozen=True, slots=True)
class FilterStatistics:
    """Facts of the filters of a kernel.

    `norms` are the L2 norms, float64 ``(filter,)``; `dead` are the filters that are zero everywhere, `duplicates`
    those equal to an earlier filter that is not dead; `nonfinite` counts NaN and infinities.
    """

    norms: NDArray[np.float64]
    dead: list[int]
    duplicates: list[int]
    nonfinite: int

    def strongest(self, count: int) -> list[int]:
        """Return the filters of the largest norms, the largest first; NaN counts as the largest, ties by number."""
        order = np.argsort(-np.nan_to_num(self.norms, nan=np.inf), kind="stable")
        return list(map(int, order[:count]))


def arrange_filters(kernel: Kernel) -> NDArray[Any]:
    """Return a kernel as ``(filter, input, row, column)``.

    Steps are columns, planes lie beside each other, and each output of a depthwise convolution is a filter with one
    input; tables have one row and one column.
    """
    values, axes = kernel.values, kernel.axes
    if "multiplier" in axes:
        order = [axes.index("input"), axes.index("multiplier")]
        values = np.moveaxis(values, order, (0, 1))
        values = values.reshape(-1, 1, *values.shape[2:])
    else:
        values = np.moveaxis(values, [axes.index("output"), axes.index("input")], (0, 1))
    if values.ndim == 5:  # noqa: PLR2004  (planes)
        values = np.moveaxis(values, 2, 3)
        return values.reshape(*values.shape[:3], -1)
    return values.reshape(*values.shape[:2], *(1,) * (4 - values.ndim), *values.shape[2:])


def filter_statistics(filters: NDArray[Any]) -> FilterStatistics:
    """Return the statistics of filters ``(filter, ...)``."""
    flat = np.ascontiguousarray(filters.reshape(len(filters), -1))
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.sqrt(np.square(flat, dtype=np.float64).sum(axis=1))
    seen: set[bytes] = set()
    dead: list[int] = []
    duplicates: list[int] = []
    for index, row in enumerate(flat):
        content = row.tobytes()
        if not row.any():
            dead.append(index)
        elif content in seen:
            duplicates.append(index)
        seen.add(content)
    return FilterStatistics(norms, dead, duplicates, int(np.count_nonzero(~np.isfinite(flat))))
