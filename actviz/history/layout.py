"""Scales, ticks and sizes of a learning-curve figure: small pure functions.

Lengths are pixels before zoom.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from actviz.errors import LimitError, UsageError
from actviz.figures import text

if TYPE_CHECKING:
    from collections.abc import Sequence

MARGIN = 28
LARGEST_SIDE = 16_000
LARGEST_AREA = 100_000_000
# Values beyond this are not drawn: differences between them overflow.
LARGEST_VALUE = 1e300

_SMALLEST_PANEL = (200, 150)
# Up to how many panels, the number of columns, and the width and height of one panel with its labels.
_GRIDS = ((1, 1, (830, 470)), (8, 2, (560, 340)), (18, 3, (460, 275)), (1 << 30, 4, (420, 245)))
# Decimal exponents of the limits of a logarithmic axis; 10**-324 is zero.
_LOWEST_EXPONENT, _HIGHEST_EXPONENT = -323.3, 308.0
_DECADES_FOR_LOG = 2.0
_FEW_LOG_TICKS = 2
_MOST_DIGITS = 17


def drawable(value: float) -> bool:
    """Return True for a finite value that does not exceed `LARGEST_VALUE`."""
    return math.isfinite(value) and abs(value) <= LARGEST_VALUE


def wants_log(values: Sequence[float], direction: str | None, *, rate: bool) -> bool:
    """Return True if values are easier to read on a logarithmic axis.

    They are if all are positive and span two decades, and belong to a metric that shrinks
    towards zero: a learning rate, or a metric that is better when smaller (`direction` ``min``).
    """
    if not values or min(values) <= 0 or not (rate or direction == "min"):
        return False
    return math.log10(max(values)) - math.log10(min(values)) >= _DECADES_FOR_LOG


def axis_limits(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    """Return the limits of a value axis: the range of the values with a margin of 6%.

    matplotlib's own margins overflow near 1e308 and underflow to zero on a logarithmic axis.
    """
    low, high = min(values), max(values)
    if log:
        low, high = math.log10(low), math.log10(high)
        margin = max(0.06 * (high - low), 0.02)
        return 10 ** max(low - margin, _LOWEST_EXPONENT), 10 ** min(high + margin, _HIGHEST_EXPONENT)
    largest = max(abs(low), abs(high))
    span = high - low
    margin = 0.06 * span if span > max(1e-12 * largest, 1e-300) else 0.1 * largest
    return (low - margin, high + margin) if margin > 1e-300 else (-1.1, 1.1)  # noqa: PLR2004  (see LARGEST_VALUE)


def value_ticks(limits: tuple[float, float], count: int, *, log: bool) -> list[float]:
    """Return the positions of matplotlib's locators within the limits of an axis, about `count` of them.

    A logarithmic axis has ticks at powers of ten, in between at 2 and 5 if there are few, or
    equally spaced values if there are still few.
    """
    import numpy as np
    from matplotlib.ticker import LogLocator, MaxNLocator

    powers, in_between = LogLocator(numticks=count), LogLocator(subs=(1, 2, 5), numticks=count)
    locators = [*([powers, in_between] if log else []), MaxNLocator(count, steps=[1, 2, 5, 10])]
    ticks: list[float] = []
    with np.errstate(over="ignore"):  # LogLocator also computes the power beyond the limits
        for locator in locators:
            ticks = [float(tick) for tick in locator.tick_values(*limits) if limits[0] <= tick <= limits[1]]
            if len(ticks) > _FEW_LOG_TICKS:
                break
    return ticks


def tick_labels(values: Sequence[float]) -> list[str]:
    """Return tick labels with as few digits as make them differ and keep them within 1% of a tick step.

    matplotlib's ScalarFormatter moves large factors and offsets to the top of the axis, where the
    note of the panel is.
    """
    step = min((after - before for before, after in pairwise(values)), default=0.0)
    labels: list[str] = []
    for digits in range(1, _MOST_DIGITS + 1):
        labels = [text.number(value, digits) for value in values]
        exact = all(abs(float(f"{value:.{digits - 1}e}") - value) <= step / 100 for value in values)
        if exact and len(set(labels)) == len(labels):
            break
    return labels


def epoch_ticks(first: int, last: int, count: int) -> list[int]:
    """Return whole epochs from `first` to `last`, about `count`; the first one if there is room for its label."""
    from matplotlib.ticker import MaxNLocator

    if last - first < count:
        return list(range(first, last + 1))
    # No steps of two below ten: 1, 5, 10 includes the first epoch, 2, 4, 6 does not.
    steps = [1, 5, 10] if last - first <= 10 * count else [1, 2, 5, 10]
    locator = MaxNLocator(count, steps=steps, integer=True, min_n_ticks=1)
    ticks = [int(tick) for tick in locator.tick_values(first, last) if first <= tick <= last]
    if not ticks or ticks[0] - first >= 0.8 * (last - first) / count:
        ticks.insert(0, first)
    return ticks


def panel_grid(count: int, columns: int | None) -> tuple[int, int, tuple[int, int]]:
    """Return columns, rows, and width and height of a panel, for a number of panels."""
    chosen, panel = next((few, size) for most, few, size in _GRIDS if count <= most)
    if columns is not None:
        chosen = min(columns, count)
        panel = next((size for _, few, size in _GRIDS if few >= chosen), _GRIDS[-1][2])
    return chosen, -(-count // chosen), panel


def check_size(size: tuple[int, int], grid: tuple[int, int], header: int, zoom: int) -> None:
    """Check that a figure can be read and opened.

    Parameters
    ----------
    size
        Width and height of the figure.
    grid
        Columns and rows of panels.
    header
        Height of everything above and below the panels.

    Raises
    ------
    UsageError
        If the panels would be too small to be read; the message names the smallest size.
    LimitError
        If the figure would have too many pixels.
    """
    needed = 2 * MARGIN + grid[0] * _SMALLEST_PANEL[0], header + grid[1] * _SMALLEST_PANEL[1]
    if size[0] < needed[0] or size[1] < needed[1]:
        message = (
            f"--size {size[0]}x{size[1]}: {grid[0] * grid[1]} panels need {max(size[0], needed[0])}x"
            f"{max(size[1], needed[1])} to be read; give a larger size or fewer metrics with --metric."
        )
        raise UsageError(message)
    width, height = size[0] * zoom, size[1] * zoom
    if max(width, height) > LARGEST_SIDE or width * height > LARGEST_AREA:
        message = (
            f"the figure would be {width:,} x {height:,} pixels; at most {LARGEST_AREA // 1_000_000} megapixels and"
            f" {LARGEST_SIDE:,} a side are drawn; choose fewer metrics with --metric, or a smaller --zoom."
        )
        raise LimitError(message)
