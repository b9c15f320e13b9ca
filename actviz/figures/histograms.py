"""Histograms of the values of a layer, with zeros counted separately where most values are 0.

::

    distribution of the layer's 7,744 values
      [#]    10% |  ##
      [#]     5% |  ####
      [#]     0% |_########___
    0: 63%       0    1      2
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.figures import colors, text
from actviz.statistics.channel_statistics import BINS

if TYPE_CHECKING:
    from actviz.figures.canvas import Canvas
    from actviz.records import Box
    from actviz.statistics.channel_statistics import ValueDistribution

_HEIGHT, _WIDTH, _GAUGE = 72, 384, 16
_LEADING, _GAP, _TICK = 5, 14, 3
_WIDE_BAR, _SLIM = 4, 6


@dataclass(frozen=True, slots=True)
class FigureHistogram:
    """The distribution of values that a figure shows.

    `words` are the names of values where there are few of them; `limits` are the color limits, drawn
    as lines where values lie outside. `reduced` is true if each value is computed from several values
    of the layer.
    """

    distribution: ValueDistribution
    words: tuple[tuple[float, str], ...] = ()
    limits: tuple[float, float] | None = None
    reduced: bool = False

    @property
    def title(self) -> str:
        """Title of the histogram: which values are counted."""
        count = f"{self.distribution.total:,}" if self.distribution.total != 1 else "one"
        kind = "reduced value" if self.reduced else "value"
        words = f"distribution of the layer's {count} {kind}{'s' if self.distribution.total != 1 else ''}"
        return f"{words}; lines: ends of the colors" if self.marks else words

    @property
    def marks(self) -> list[float]:
        """The color limits between the smallest and the largest value."""
        return [end for end in self.limits or () if self.distribution.first < end < self.distribution.last]

    def ticks(self) -> list[tuple[float, str]]:
        """Return the ticks as ``(position, label)``, the position along the axis from 0 to 1."""
        distribution = self.distribution
        if self.words:
            named = [(value, words) for value, words in self.words if distribution.first <= value <= distribution.last]
        else:
            named = [(value, text.number(value)) for value in colors.tick_values(distribution.first, distribution.last)]
        return [(self.position(value), words) for value, words in named]

    def position(self, value: float) -> float:
        """Return the position of a value along the axis, 0..1."""
        return colors.fraction_of_range(value, self.distribution.first, self.distribution.last)


def top_share(share: float) -> float:
    """Return the smallest percentage that is 1, 2, 2.5, 5 or 10 times a power of ten and at least `share`, 0..1."""
    percent = 100 * share
    power: float = 10.0 ** math.floor(math.log10(percent))
    return next(power * unit for unit in (1, 2, 2.5, 5, 10) if power * unit >= percent * (1 - 1e-9))


@dataclass(frozen=True, slots=True)
class HistogramPlot:
    """The layout of a histogram for a page of a certain width."""

    histogram: FigureHistogram
    font: text.Font
    title: str
    size: tuple[int, int]
    top: float
    axis: int
    gauge: str
    beside: int

    @classmethod
    def of(cls, histogram: FigureHistogram, width: int, font: text.Font, scale: float) -> HistogramPlot:
        """Return the layout of a histogram on a page of `width` pixels."""
        distribution = histogram.distribution
        top = top_share(max(distribution.counts) / distribution.total)
        share = 100 * distribution.zeros / distribution.total
        gauge = f"0: {text.number(share, 2 if share < 99.5 else 3)}%" if distribution.apart else ""  # noqa: PLR2004  (99.9% is not 100%)
        beside = max(font.width(gauge), round(_GAUGE * scale)) + _GAP if gauge else 0
        axis = max(font.width(f"{text.number(part)}%") for part in (top, top / 2)) + 2 + _TICK
        available = width - beside - axis
        size = round(_HEIGHT * scale), min(round(_WIDTH * scale), available)
        return cls(histogram, font, font.fit(histogram.title, width), size, top, axis, gauge, beside)

    @property
    def height(self) -> int:
        """Height in pixels, including title and ticks."""
        return self._below_title + self.size[0] + 1 + _TICK + self.font.height

    @property
    def _below_title(self) -> int:
        # The label of the uppermost percentage extends above the plot by half its height.
        return self.font.height + self.font.height // 2 + _LEADING

    def draw(self, canvas: Canvas, top: int, left: int) -> None:
        """Draw title, zeros, axes and bars with their top left corner at a pixel."""
        canvas.write(self.title, top, left, self.font, canvas.theme.muted)
        top += self._below_title
        if self.gauge:
            self._draw_gauge(canvas, top, left)
        left += self.beside
        self._draw_shares(canvas, top, left)
        left += self.axis
        self._draw_bars(canvas, top, left)
        bottom = top + self.size[0]
        canvas.fill((bottom, left, bottom + 1, left + self.size[1]), canvas.theme.muted)
        canvas.write_ticks(self.histogram.ticks(), (bottom + 1, left), self.size[1], self.font)

    def _draw_gauge(self, canvas: Canvas, top: int, left: int) -> None:
        """Draw a column whose filled part is the share of zeros among all values."""
        theme, height = canvas.theme, self.size[0]
        width = self.beside - _GAP
        start = left + (width - _GAUGE) // 2
        distribution = self.histogram.distribution
        filled = max(1, round(height * distribution.zeros / distribution.total))
        canvas.fill((top, start, top + height + 1, start + _GAUGE), theme.track)
        canvas.fill((top + height + 1 - filled, start, top + height + 1, start + _GAUGE), theme.strength)
        canvas.write(
            self.gauge,
            top + height + 1 + _TICK,
            left + (width - self.font.width(self.gauge)) // 2,
            self.font,
            theme.ink,
        )

    def _draw_shares(self, canvas: Canvas, top: int, left: int) -> None:
        """Draw the labels of the vertical axis and a grid line at each."""
        theme, font, height = canvas.theme, self.font, self.size[0]
        for part in (1.0, 0.5, 0.0):
            row = top + round(height * (1 - part))
            words = f"{text.number(self.top * part)}%"
            start = left + self.axis - 2 - _TICK - font.width(words)
            canvas.write(words, row - font.height // 2, start, font, theme.muted)
            canvas.fill((row, left + self.axis - _TICK, row + 1, left + self.axis + self.size[1]), theme.track)

    def _draw_bars(self, canvas: Canvas, top: int, left: int) -> None:
        theme, (height, width) = canvas.theme, self.size
        bottom = top + height
        _draw_counts(canvas, self.histogram.distribution, (top, left, bottom, left + width), self.top / 100)
        for mark in self.histogram.marks:
            column = left + round(self.histogram.position(mark) * (width - 1))
            canvas.fill((top, column, bottom, column + 1), theme.ink)


def _draw_counts(canvas: Canvas, distribution: ValueDistribution, box: Box, top_share: float) -> None:
    """Draw a bar for each bin into a box whose height is `top_share` of all values."""
    top, left, bottom, right = box
    height, width, bins = bottom - top, right - left, len(distribution.counts)
    gap = int(width // bins >= _WIDE_BAR)
    for index, count in enumerate(distribution.counts):
        if not count:
            continue
        size = max(1, round(height * count / distribution.total / top_share))
        start, end = left + width * index // bins, left + width * (index + 1) // bins
        canvas.fill((bottom - size, start, bottom, max(start + 1, end - gap)), canvas.theme.strength)


SPARK = (15, 140)


def spark_note(where: str, values: str) -> str:
    """Return the caption of small histograms: `where` they are drawn and which `values` they count."""
    return (
        f"{where} a name: the distribution of {values}, smallest to largest; before it, where most are 0, their share"
    )


def draw_spark(canvas: Canvas, distribution: ValueDistribution, top: int, left: int) -> None:
    """Draw a small histogram without text, of the size `SPARK`, with its top left corner at a pixel."""
    height, width = SPARK
    bottom, right, theme = top + height, left + width, canvas.theme
    start = right - 2 * BINS
    if distribution.apart:
        filled = max(1, round(height * distribution.zeros / distribution.total))
        canvas.fill((top, left, bottom + 1, left + _SLIM), theme.track)
        canvas.fill((bottom + 1 - filled, left, bottom + 1, left + _SLIM), theme.strength)
    canvas.fill((bottom, start, bottom + 1, right), theme.muted)
    _draw_counts(canvas, distribution, (top, start, bottom, right), max(distribution.counts) / distribution.total)
