"""Range chart: the channels of layers as bars from their smallest to their largest value, one row for each layer.

::

    conv_intermediate  Conv2D  11 x 11 x 64
    37 of 64 channels never fire on 200 inputs; limit 10%
    5.7 |   |     |
        | | | |   | |       bars: smallest to largest value, tick: mean
      0 |_|_|_|///|_|___    hatched: dead
          0   2   4

It shows which channels break a limit over all inputs, whereas a map shows one input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from actviz.figures import page_layout, text
from actviz.figures.renderers.grid import hatch
from actviz.records import Context

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actviz.figures.canvas import Canvas
    from actviz.records import LayerInfo, Picture, RuleResult
    from actviz.statistics.running_statistics import RunningStatistics

# A page is at most this high and wide in pixels; rows that do not fit are in up to three narrower columns.
_PAGE, _MOST_COLUMNS, _BETWEEN_COLUMNS = 1600, 3, 36
_WIDTH = 1024
_WIDEST_SLOT, _HEIGHT = 24, 96
_MOST_LINES = 8
_GAP, _LEADING, _AXIS = 26, 5, 64
_HEADING_SIZE, _FONT_SIZE, _ABOVE = 14, 11, 6
_BAR, _MEAN = (86, 130, 178), (20, 40, 70)
_ALARM, _BAD = (176, 0, 32), (255, 0, 255)


@dataclass(frozen=True, slots=True)
class RangeRow:
    """A layer, its statistics, and the results of the limits; `width` is that of a line of bars in pixels."""

    layer: LayerInfo
    totals: RunningStatistics
    cases: tuple[RuleResult, ...]
    width: int = _WIDTH

    @property
    def reasons(self) -> list[str]:
        """Reasons why limits are broken, one line each."""
        return [case.reason for case in self.cases if not case.kept]

    @property
    def lines(self) -> list[range]:
        """Channels of each line of bars."""
        count = min(self.totals.channels, _MOST_LINES * self.width)
        return [range(start, min(start + self.width, count)) for start in range(0, count, self.width)]

    @property
    def height(self) -> int:
        """Height of the row in pixels."""
        heads = text.get_font(_HEADING_SIZE).height + _LEADING
        words = (text.get_font(_FONT_SIZE).height + _LEADING) * len(self.notes())
        line = _HEIGHT + text.get_font(_FONT_SIZE).height + _LEADING + 6
        return heads + words + _ABOVE + line * len(self.lines) + _GAP

    def notes(self) -> list[str]:
        """Return the lines below the title."""
        drawn = _MOST_LINES * self.width
        more = [f"the first {drawn:,} of {self.totals.channels:,} channels"] if self.totals.channels > drawn else []
        return self.reasons + more


@dataclass(frozen=True, slots=True)
class ChartHeading:
    """The heading of a chart: the model and the numbers of inputs, of layers, and of layers beyond a limit."""

    model: str
    inputs: int
    layers: int
    broken: int


def draw_chart(rows: Sequence[RangeRow], about: ChartHeading) -> Picture:
    """Draw a row for each layer, as many as fit a page of 1,600 by 1,600 pixels; the first one always."""
    counts = f"{about.broken:,} of {text.plural(about.layers, 'layer')} beyond a limit"
    heading = page_layout.PageHeading(
        about.model, "", counts, Context("", text.plural(about.inputs, "input"), "together")
    )
    layout = page_layout.PageLayout(heading, None, tuple(_caption(rows, len(rows) + 1)), 0, _AXIS + _WIDTH)
    placed = _placed(rows, _PAGE - page_layout.page_size(layout)[0])
    height = max(top + row.height for row, (top, _) in placed) - _GAP
    width = max(left + _AXIS + row.width for row, (_, left) in placed)
    layout = replace(layout, caption=tuple(_caption([row for row, _ in placed], len(rows))), height=height, width=width)
    canvas, first, margin = page_layout.open_page(layout)
    for row, (top, left) in placed:
        _draw_row(canvas, row, first + top, margin + left)
    return canvas.picture((), {})


def _placed(rows: Sequence[RangeRow], highest: int) -> list[tuple[RangeRow, tuple[int, int]]]:
    """Return the rows that fit columns of a height, with their top left corners, in as few columns as possible."""
    placed: list[tuple[RangeRow, tuple[int, int]]] = []
    for columns in range(1, _MOST_COLUMNS + 1):
        step = (_PAGE - 2 * page_layout.MARGIN + _BETWEEN_COLUMNS) // columns
        placed, top, column = [], 0, 0
        for row in (replace(row, width=min(_WIDTH, step - _BETWEEN_COLUMNS - _AXIS)) for row in rows):
            if top and top + row.height - _GAP > highest:
                top, column = 0, column + 1
            if column == columns:
                break
            placed.append((row, (top, column * step)))
            top += row.height
        if len(placed) == len(rows):
            break
    return placed


def _caption(rows: Sequence[RangeRow], total: int) -> Iterator[str]:
    if len(rows) < total:
        yield f"{len(rows)} of {total:,} layers, the first in the model (choose with --layer)"
    yield "bar: smallest to largest value of a channel on all inputs"
    yield "dark tick: its mean"
    if any(row.totals.dead.any() for row in rows):
        yield "hatched: dead, 0 everywhere on every input"
    if any((~row.totals.dead & (row.totals.minimum == row.totals.maximum)).any() for row in rows):
        yield "tick alone: one value on all inputs"
    if any(row.totals.nan.any() or row.totals.infinite.any() for row in rows):
        yield "magenta foot: NaN or infinite values"


def _draw_row(canvas: Canvas, row: RangeRow, top: int, left: int) -> None:
    head, small, theme = text.get_font(_HEADING_SIZE, bold=True), text.get_font(_FONT_SIZE), canvas.theme
    shape = row.layer.shape
    sizes = text.TIMES.join("?" if size is None else str(size) for size in shape[1:]) if shape else ""
    width = _AXIS + row.width
    font, name = text.get_font(_HEADING_SIZE), text.shown(row.layer.address)
    sizes = sizes.replace(text.TIMES, f" {text.TIMES} ")
    words = f"{text.shown(row.layer.kind, 60)}  {sizes}"
    if head.width(name) + 16 + font.width(words) > width:
        words = sizes
    right = canvas.write(head.fit(name, max(width // 2, width - 16 - font.width(words))), top, left, head, theme.ink)
    canvas.write(font.fit(words, width // 2 - 16), top, right + 16, font, theme.muted)
    top += text.get_font(_HEADING_SIZE).height + _LEADING
    for index, note in enumerate(row.notes()):
        color = _ALARM if index < len(row.reasons) else theme.muted
        canvas.write(small.fit(text.shown(note), width), top, left, small, color)
        top += small.height + _LEADING
    low, high = _axis_limits(row.totals)
    top += _ABOVE
    for channels in row.lines:
        _draw_line(canvas, row, channels, (low, high), (top, left))
        top += _HEIGHT + small.height + _LEADING + 6


def _axis_limits(totals: RunningStatistics) -> tuple[float, float]:
    """Return the limits of the vertical axis, which include zero and are never equal."""
    has = totals.finite > 0
    low = min(0.0, float(totals.minimum[has].min())) if has.any() else 0.0
    high = max(0.0, float(totals.maximum[has].max())) if has.any() else 0.0
    return (low, high) if low < high else (0.0, 1.0)


def _draw_line(
    canvas: Canvas,
    row: RangeRow,
    channels: range,
    limits: tuple[float, float],
    corner: tuple[int, int],
) -> None:
    """Draw the bars of a line of channels and the axis to their left."""
    (low, high), (top, left), totals = limits, corner, row.totals
    left += _AXIS
    slot = max(1, min(_WIDEST_SLOT, row.width // max(1, len(channels))))
    width = slot * len(channels)
    # Halving keeps the widest ranges finite.
    share = (np.array([totals.minimum, totals.maximum, totals.mean]) / 2 - low / 2) / (high / 2 - low / 2)
    rows = top + _HEIGHT - 1 - np.rint(np.nan_to_num(share) * (_HEIGHT - 1)).astype(int)
    zero = top + _HEIGHT - 1 - round((0 - low / 2) / (high / 2 - low / 2) * (_HEIGHT - 1))
    canvas.fill((top - 1, left - 1, top + _HEIGHT + 1, left + width + 1), canvas.theme.ground)
    dead, bad = totals.dead, (totals.nan > 0) | (totals.infinite > 0)
    inset = 1 if slot > 3 else 0  # noqa: PLR2004  (room for a gap between bars)
    for index, channel in enumerate(channels):
        begin, end = left + index * slot + inset, left + (index + 1) * slot - inset
        if dead[channel]:
            hatch(canvas, (top, begin, top + _HEIGHT, end), canvas.theme.muted, (top, left))
        elif totals.finite[channel]:
            bottom, upper, mean = rows[0, channel], rows[1, channel], rows[2, channel]
            canvas.fill((upper, begin, bottom + 1, end), _BAR)
            canvas.fill((mean, begin, mean + 1, end), _MEAN)
        if bad[channel]:
            canvas.fill((top + _HEIGHT - 4, begin, top + _HEIGHT + 1, end), _BAD)
    canvas.fill((zero, left - 4, zero + 1, left + width), canvas.theme.muted)
    _write_axis(canvas, (low, high), (top, left), zero)
    _write_numbers(canvas, channels, slot, (top + _HEIGHT + 3, left))


def _write_axis(canvas: Canvas, limits: tuple[float, float], corner: tuple[int, int], zero: int) -> None:
    small, (top, left) = text.get_font(_FONT_SIZE), corner
    half = small.height // 2
    labels = {zero: "0"}
    for value, row in ((limits[1], top), (limits[0], top + _HEIGHT - 1)):
        if abs(row - zero) > small.height:
            labels[row] = text.fitting_number(value, small, _AXIS - 10)
    for row, label in labels.items():
        canvas.write(label, row - half, left - 8 - small.width(label), small, canvas.theme.muted)


def _write_numbers(canvas: Canvas, channels: range, slot: int, corner: tuple[int, int]) -> None:
    """Write the numbers of channels below their bars, as many as fit."""
    small, (top, left) = text.get_font(_FONT_SIZE), corner
    room = small.width(str(channels[-1])) + 8 if channels else 1
    step = next(step for step in (1, 2, 4, 8, 16, 32, 64, 128) if step * slot >= room)
    for index in range(0, len(channels), step):
        words = str(channels[index])
        middle = left + index * slot + slot // 2
        begin = max(left, middle - small.width(words) // 2)
        canvas.write(words, top, begin, small, canvas.theme.muted)
