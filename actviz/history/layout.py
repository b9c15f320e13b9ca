"""Where things stand in a figure of curves, and what the axes say: small pure functions.

Lengths are pixels before zoom; rows grow downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from actviz.errors import UsageError
from actviz.figures import text

if TYPE_CHECKING:
    from collections.abc import Sequence

MARGIN = 28
GAP = 26
HEAD = 44
FOOT = 42
SMALLEST = (150, 70)
LARGEST_SIDE = 16_000
# What is larger than this has no place on an axis: differences of such numbers overflow.
LARGEST = 1e300

# Columns, and the width and height of one panel's axes, by the number of panels.
_SHAPES = ((1, 1, (800, 380)), (8, 2, (520, 250)), (18, 3, (420, 190)), (1 << 30, 4, (380, 160)))
# Powers of ten that are still numbers above zero.
_LEAST, _GREATEST = -323.3, 308.0
_DECADES = (1, 2, 3, 5, 10, 20, 30, 50, 100, 150, 400)
_DECADES_FOR_LOG = 2.0


@dataclass(frozen=True, slots=True)
class VerticalAxis:
    """The vertical axis of a panel.

    `low` and `high` are the values at its ends; on a logarithmic one both are above zero.
    """

    low: float
    high: float
    log: bool

    def share(self, value: float) -> float:
        """Return where a value stands: 0 at the low end, 1 at the high end."""
        if self.log:
            low, high, at = (math.log10(number) for number in (self.low, self.high, value))
            return (at - low) / (high - low)
        return (value - self.low) / (self.high - self.low)


def drawable(value: float, *, log: bool = False) -> bool:
    """Tell a value that has a place on an axis."""
    return math.isfinite(value) and abs(value) <= LARGEST and (value > 0 or not log)


def wants_log(values: Sequence[float], way: str | None, *, rate: bool) -> bool:
    """Tell whether values are read better on a logarithmic axis.

    The rule: all are above zero and they cover two decades, and they are of a kind that
    shrinks towards zero: a learning rate, or what is better when smaller.
    """
    if not values or min(values) <= 0 or not (rate or way == "min"):
        return False
    return math.log10(max(values)) - math.log10(min(values)) >= _DECADES_FOR_LOG


def axis_for(values: Sequence[float], *, log: bool) -> VerticalAxis:
    """Return an axis with a little room beyond the values, which are all drawable.

    A single value, or several that are the same, get a range around them.
    """
    if not values:
        return VerticalAxis(0.0, 1.0, log=False)
    low, high = min(values), max(values)
    if log:
        exponents = math.log10(low), math.log10(high)
        room = max(0.06 * (exponents[1] - exponents[0]), 0.02)
        return VerticalAxis(10 ** max(exponents[0] - room, _LEAST), 10 ** min(exponents[1] + room, _GREATEST), log=True)
    span = high - low
    largest = max(abs(low), abs(high))
    room = 0.06 * span if span > 1e-12 * largest else 0.1 * largest or 1.0
    return VerticalAxis(low - room, high + room, log=False)


def axis_ticks(axis: VerticalAxis, most: int) -> list[tuple[float, str]]:
    """Return values and their texts: round numbers inside the axis, each text its own.

    The texts have as few digits as tell them apart and are right to a hundredth of a step.
    """
    values = _log_ticks(axis, most) if axis.log else _linear_ticks(axis.low, axis.high, most)
    step = min((after - before for before, after in pairwise(values)), default=0.0)
    for digits in range(1, 18):
        words = [text.number(value, digits) for value in values]
        near = all(abs(float(f"{value:.{digits - 1}e}") - value) <= step / 100 for value in values)
        if near and len(set(words)) == len(words):
            break
    return list(zip(values, words, strict=True)) if values else []


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    raw = (high / 2 - low / 2) / most * 2
    if not 0 < raw < math.inf:
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((power * unit for unit in (1, 2, 5, 10) if power * unit >= raw), raw)
    if not step:
        return [low]
    first, final = math.ceil(low / step), math.floor(high / step)
    if final - first > 2 * most:
        return [low, high]
    return [count * step for count in range(first, final + 1)] or [low]


def _log_ticks(axis: VerticalAxis, most: int) -> list[float]:
    first, final = math.ceil(math.log10(axis.low)), math.floor(math.log10(axis.high))
    decades = [exponent for exponent in range(first, final + 1) if exponent > _LEAST]
    if len(decades) > most:
        every = next(many for many in _DECADES if len(decades) <= many * most)
        return [10.0**exponent for exponent in decades if exponent % every == 0]
    if len(decades) * 3 <= most + 1 or len(decades) < 2:  # noqa: PLR2004  (one decade is no scale)
        near = [unit * 10.0**exponent for exponent in range(first - 1, final + 1) for unit in (1, 2, 5)]
        inside = [value for value in near if axis.low <= value <= axis.high]
        return inside if len(inside) > 1 else _linear_ticks(axis.low, axis.high, most)
    return [10.0**exponent for exponent in decades]


def epoch_ticks(first: int, final: int, most: int) -> list[int]:
    """Return whole numbers from `first` to `final`: round ones, and the first where there is room."""
    if final - first < most:
        return list(range(first, final + 1))
    raw = (final - first) / most
    power = 10 ** int(math.log10(raw)) if raw >= 1 else 1
    # No steps of two: 1, 5, 10 has the first epoch in it, 2, 4, 6 has not.
    units = (1, 5, 10) if power == 1 else (1, 2, 5, 10)
    step = next(power * unit for unit in units if power * unit >= raw)
    found = list(range(-(-first // step) * step, final + 1, step))
    if found and found[0] - first >= 0.7 * step:
        found.insert(0, first)
    return found or [first]


@dataclass(frozen=True, slots=True)
class PanelGrid:
    """The panels: `columns` by `rows` of axes, each ``(width, height)`` in pixels.

    `gutters` are the widths left of the axes, one a column, for the numbers there.
    """

    columns: int
    rows: int
    panel: tuple[int, int]
    gutters: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of all panels with what stands around them."""
        width = sum(self.gutters) + self.columns * self.panel[0] + (self.columns - 1) * GAP
        return width, self.rows * (HEAD + self.panel[1] + FOOT)

    def corner(self, place: int) -> tuple[int, int]:
        """Return the left and the top of the axes of the panel at a place."""
        row, column = divmod(place, self.columns)
        left = sum(self.gutters[: column + 1]) + column * (self.panel[0] + GAP)
        return left, row * (HEAD + self.panel[1] + FOOT) + HEAD


def shape_for(count: int, columns: int | None) -> tuple[int, int, tuple[int, int]]:
    """Return columns, rows and the size of a panel for a number of panels."""
    chosen, panel = next((few, size) for most, few, size in _SHAPES if count <= most)
    if columns is not None:
        chosen = min(columns, count)
        panel = next((size for _, few, size in _SHAPES if few >= chosen), _SHAPES[-1][2])
    return chosen, -(-count // chosen), panel


def fit_size(grid: PanelGrid, size: tuple[int, int] | None, around: int) -> PanelGrid:
    """Return the grid with panels that fill a figure of a size.

    `around` is the height of everything above and below the panels.

    Raises
    ------
    UsageError
        When the panels would be too small to be read, with the smallest size that is not.
    """
    if size is None:
        return grid
    width, height = grid.size
    free = size[0] - 2 * MARGIN - width, size[1] - around - height
    panel = grid.panel[0] + free[0] // grid.columns, grid.panel[1] + free[1] // grid.rows
    if panel[0] < SMALLEST[0] or panel[1] < SMALLEST[1]:
        needed = (
            size[0] + max(0, SMALLEST[0] - panel[0]) * grid.columns,
            size[1] + max(0, SMALLEST[1] - panel[1]) * grid.rows,
        )
        message = (
            f"--size {size[0]}x{size[1]}: {grid.columns * grid.rows} panels need {needed[0]}x{needed[1]} to be read;"
            " give a larger size or fewer metrics with --metric."
        )
        raise UsageError(message)
    return PanelGrid(grid.columns, grid.rows, panel, grid.gutters)


def flow(widths: Sequence[int], room: int, gap: int) -> list[tuple[int, int]]:
    """Return line and left of each of a row of things that breaks where it is full."""
    places: list[tuple[int, int]] = []
    line, left = 0, 0
    for width in widths:
        if left and left + width > room:
            line, left = line + 1, 0
        places.append((line, left))
        left += width + gap
    return places
