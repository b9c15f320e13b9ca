"""The channels of layers as bars from their smallest to their largest value: a band a layer.

::

    conv_intermediate  Conv2D  11 x 11 x 64
    37 of 64 channels never fire on 200 inputs; limit 10%
    5.7 |   |     |
        | | | |   | |       bars: smallest to largest value, tick: mean
      0 |_|_|_|///|_|___    hatched: dead
          0   2   4

It answers which channels break a limit, over all inputs, where a map shows one input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from actviz.figures import page_layout, text
from actviz.figures.renderers.grid import hatch
from actviz.records import Context

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actviz.records import LayerInfo, Picture, RuleResult
    from actviz.statistics.running_statistics import RunningStatistics

MOST_ROWS = 40
_WIDTH = 1024
_WIDEST_SLOT, _HEIGHT = 24, 96
_MOST_LINES = 8
_GAP, _LEADING, _AXIS = 26, 5, 64
_HEAD, _FACE, _ABOVE = 14, 11, 6
_BAR, _MEAN = (86, 130, 178), (20, 40, 70)
_ALARM, _BAD = (176, 0, 32), (255, 0, 255)


@dataclass(frozen=True, slots=True)
class RangeRow:
    """A layer, its numbers, and what the limits say of it."""

    layer: LayerInfo
    totals: RunningStatistics
    cases: tuple[RuleResult, ...]

    @property
    def reasons(self) -> list[str]:
        """Why limits are broken, one line each."""
        return [case.reason for case in self.cases if not case.kept]

    @property
    def lines(self) -> list[range]:
        """The channels of each line of bars."""
        count = min(self.totals.channels, _MOST_LINES * _WIDTH)
        return [range(start, min(start + _WIDTH, count)) for start in range(0, count, _WIDTH)]

    @property
    def height(self) -> int:
        """The pixels that the band needs."""
        heads = text.get_font(_HEAD).height + _LEADING
        words = (text.get_font(_FACE).height + _LEADING) * len(self.notes())
        line = _HEIGHT + text.get_font(_FACE).height + _LEADING + 6
        return heads + words + _ABOVE + line * len(self.lines) + _GAP

    def notes(self) -> list[str]:
        """Return the lines below the title."""
        left_out = self.totals.channels - _MOST_LINES * _WIDTH
        more = [f"the first {_MOST_LINES * _WIDTH:,} of {self.totals.channels:,} channels"] if left_out > 0 else []
        return self.reasons + more


@dataclass(frozen=True, slots=True)
class ChartHeading:
    """What the chart is of: a model, a number of inputs, of layers, and of layers beyond a limit."""

    model: str
    inputs: int
    layers: int
    broken: int


def draw_chart(bands: Sequence[RangeRow], about: ChartHeading) -> Picture:
    """Draw a band for each layer, at most 40 of them."""
    shown = list(bands[:MOST_ROWS])
    height = sum(band.height for band in shown) - _GAP
    plural = "s" if about.layers != 1 else ""
    said = f"{about.broken:,} of {about.layers:,} layer{plural} beyond a limit"
    heading = page_layout.PageHeading(
        about.model, "", said, Context("", f"{about.inputs:,} input{'s' if about.inputs != 1 else ''}", "together")
    )
    layout = page_layout.PageLayout(heading, None, tuple(_caption(bands, len(shown))), height, _AXIS + _WIDTH)
    canvas, top, left = page_layout.open_page(layout)
    for band in shown:
        _draw_band(canvas, band, top, left)
        top += band.height
    return canvas.picture((), {})


def _caption(bands: Sequence[RangeRow], shown: int) -> Iterator[str]:
    if shown < len(bands):
        yield f"{shown} of {len(bands):,} layers, the first in the model"
    yield "bar: smallest to largest value of a channel on all inputs"
    yield "dark tick: its mean"
    totals = [band.totals for band in bands]
    if any(one.dead.any() for one in totals):
        yield "hatched: dead, 0 everywhere on every input"
    if any(one.constant.any() for one in totals):
        yield "tick alone: one value on all inputs"
    if any(one.nan.any() or one.infinite.any() for one in totals):
        yield "magenta foot: NaN or infinite values"


def _draw_band(canvas: page_layout.Canvas, band: RangeRow, top: int, left: int) -> None:
    head, small, theme = text.get_font(_HEAD, bold=True), text.get_font(_FACE), canvas.theme
    shape = band.layer.shape
    sizes = text.TIMES.join("?" if size is None else str(size) for size in shape[1:]) if shape else ""
    width = _AXIS + _WIDTH
    address = head.fit(text.shown(band.layer.address), width // 2)
    right = canvas.write(address, top, left, head, theme.ink)
    face = text.get_font(_HEAD)
    words = f"{text.shown(band.layer.kind, 60)}  {sizes.replace(text.TIMES, f' {text.TIMES} ')}"
    canvas.write(face.fit(words, width // 2 - 16), top, right + 16, face, theme.muted)
    top += text.get_font(_HEAD).height + _LEADING
    for place, note in enumerate(band.notes()):
        color = _ALARM if place < len(band.reasons) else theme.muted
        canvas.write(small.fit(text.shown(note), width), top, left, small, color)
        top += small.height + _LEADING
    low, high = _ends(band.totals)
    top += _ABOVE
    for channels in band.lines:
        _draw_line(canvas, band.totals, channels, (low, high), (top, left))
        top += _HEIGHT + small.height + _LEADING + 6


def _ends(totals: RunningStatistics) -> tuple[float, float]:
    """Return the ends of the vertical axis: zero lies within, and they are never equal."""
    has = totals.finite > 0
    low = min(0.0, float(totals.minimum[has].min())) if has.any() else 0.0
    high = max(0.0, float(totals.maximum[has].max())) if has.any() else 0.0
    return (low, high) if low < high else (0.0, 1.0)


def _draw_line(
    canvas: page_layout.Canvas,
    totals: RunningStatistics,
    channels: range,
    ends: tuple[float, float],
    corner: tuple[int, int],
) -> None:
    """Draw the bars of some channels, and the axis on their left."""
    (low, high), (top, left) = ends, corner
    left += _AXIS
    slot = max(1, min(_WIDEST_SLOT, _WIDTH // max(1, len(channels))))
    width = slot * len(channels)
    # Halved, the widest ranges stay finite.
    share = (np.array([totals.minimum, totals.maximum, totals.mean]) / 2 - low / 2) / (high / 2 - low / 2)
    rows = top + _HEIGHT - 1 - np.rint(np.nan_to_num(share) * (_HEIGHT - 1)).astype(int)
    zero = top + _HEIGHT - 1 - round((0 - low / 2) / (high / 2 - low / 2) * (_HEIGHT - 1))
    canvas.fill((top - 1, left - 1, top + _HEIGHT + 1, left + width + 1), canvas.theme.ground)
    dead, bad = totals.dead, (totals.nan > 0) | (totals.infinite > 0)
    inset = 1 if slot > 3 else 0  # noqa: PLR2004  (room for a gap between bars)
    for place, channel in enumerate(channels):
        begin, end = left + place * slot + inset, left + (place + 1) * slot - inset
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


def _write_axis(canvas: page_layout.Canvas, ends: tuple[float, float], corner: tuple[int, int], zero: int) -> None:
    small, (top, left) = text.get_font(_FACE), corner
    half = small.height // 2
    places = {zero: "0"}
    for value, row in ((ends[1], top), (ends[0], top + _HEIGHT - 1)):
        if abs(row - zero) > small.height:
            places[row] = text.fitting_number(value, small, _AXIS - 10)
    for row, shown in places.items():
        canvas.write(shown, row - half, left - 8 - small.width(shown), small, canvas.theme.muted)


def _write_numbers(canvas: page_layout.Canvas, channels: range, slot: int, corner: tuple[int, int]) -> None:
    """Write the numbers of channels below their bars, as many as have room."""
    small, (top, left) = text.get_font(_FACE), corner
    room = small.width(str(channels[-1])) + 8 if channels else 1
    step = next(one for one in (1, 2, 4, 8, 16, 32, 64, 128) if one * slot >= room)
    for place in range(0, len(channels), step):
        words = str(channels[place])
        middle = left + place * slot + slot // 2
        begin = max(left, middle - small.width(words) // 2)
        canvas.write(words, top, begin, small, canvas.theme.muted)
