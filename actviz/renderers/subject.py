"""What every renderer settles before it draws: numbers, channels, ranges, words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz import colors, mosaic, stats, text
from actviz.errors import UsageError
from actviz.figure import ColorBar, Heading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.colors import RGB
    from actviz.records import Activation, Context, Style

ORDERS = {
    "index": "first by number",
    "max": "strongest by maximum",
    "mean": "strongest by mean",
    "std": "strongest by standard deviation",
    "l2": "strongest by L2 norm",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """One activation of one input, ready to be drawn.

    `maps` is ``(channel, row, column)``, float32 or float64, all channels; `numbers` are
    theirs. `channels` are the ones to draw, in order. `low` and `high` are the values at
    the ends of `table` for every channel, float64 ``(channel,)``.
    """

    maps: NDArray[Any]
    numbers: stats.ChannelStatistics
    channels: list[int]
    scale: colors.Scale
    signed: bool
    table: colors.Table
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def total(self) -> int:
        """The number of channels of the layer."""
        return len(self.maps)

    def shown(self) -> NDArray[Any]:
        """Return the maps to draw, in order: ``(tile, row, column)``."""
        return self.maps if self.whole else self.maps[self.channels]

    @property
    def whole(self) -> bool:
        """Whether all channels are drawn in their own order."""
        return self.channels == list(range(self.total))

    def steps(self) -> NDArray[np.uint8]:
        """Return the step of the colour table of each value to draw."""
        low, high = self.low[self.channels], self.high[self.channels]
        return colors.quantise(self.shown(), low, high, signed=self.signed)

    def painted(self) -> NDArray[np.uint32]:
        """Return the packed colours of the values to draw, ``(tile, row, column)``."""
        pixels = colors.paint(self.steps(), self.table)
        if not self.numbers.finite:
            colors.paint_nonfinite(pixels, self.shown(), self.table)
        return pixels

    def states(self) -> list[str]:
        """Return the state of each channel to draw."""
        return [stats.STATES[code] for code in self.numbers.state[self.channels].tolist()]

    def record(self, style: Style) -> dict[str, Any]:
        """Return what a manifest records about the figure."""
        record = stats.layer_numbers(self.maps, self.numbers)
        record.update(
            channels=self.total,
            shown=len(self.channels),
            sort=style.sort,
            scale=str(self.scale),
            signed=self.signed,
            colormap=self.table.name,
            invertible=self.table.invertible,
            low=float(self.low.min()),
            high=float(self.high.max()),
            clipped=colors.count_clipped(self.shown(), self.scale),
            reduced=False,
        )
        return record


def prepare(activation: Activation, maps: NDArray[Any], style: Style, scale: colors.Scale) -> Subject:
    """Settle what is drawn of `maps`, ``(channel, row, column)``, and in which colours.

    Raises
    ------
    UsageError
        When the style asks for channels, a measure, a scale or a colormap there is not.
    """
    if style.sort not in stats.MEASURES:
        message = f"nothing is sorted by {style.sort!r}; use {', '.join(stats.MEASURES)}."
        raise UsageError(message)
    if style.columns is not None and style.columns < 1:
        message = f"columns {style.columns} leave no room; use 1 or more."
        raise UsageError(message)
    if style.zoom is not None and style.zoom < 1:
        message = f"zoom {style.zoom} leaves nothing to see; use 1 or more."
        raise UsageError(message)
    numbers = stats.statistics(maps)
    channels = mosaic.parse_channels(style.channels, len(maps))
    channels = mosaic.keep_top(stats.order(numbers, channels, style.sort), style.top)
    signed = colors.is_signed(activation.signed, numbers.minimum)
    low, high = colors.ranges(scale, numbers.minimum, numbers.maximum, signed=signed)
    name = style.cmap or colors.default_name(scale, signed=signed)
    return Subject(maps, numbers, channels, scale, signed, colors.table(name), low, high)


def heading(activation: Activation, context: Context) -> Heading:
    """Return the title of a layer's figure."""
    sizes = text.shape(activation.values.shape[1:]) or "one number"
    return Heading(activation.address, activation.kind, sizes, context)


def caption(subject: Subject, style: Style, noun: str, state: str) -> tuple[str, ...]:
    """Return the counts below a figure: shown, dead, constant, clipped, not finite.

    `noun` is what one channel is called; `state` is the word for one that is all zero.
    Everything but the first count is about the whole layer, shown or not.
    """
    numbers, total = subject.numbers, subject.total
    shown = len(subject.channels)
    first = f"{shown:,} of {total:,} {noun}{'s' if total != 1 else ''}"
    if style.sort != "index":
        first += f", {ORDERS[style.sort]}"
    elif style.top is not None and shown < total:
        first += f", {ORDERS['index']}"
    parts = [first]
    dead = numbers.channels_in(stats.DEAD)
    word = f"{state} on this input"
    parts.append(f"{len(dead):,} {word} ({text.listing(dead)})" if dead else f"none {word}")
    constant = numbers.channels_in(stats.CONSTANT)
    if constant:
        parts.append(f"{len(constant):,} constant ({text.listing(constant)})")
    clipped = colors.count_clipped(subject.shown(), subject.scale)
    if clipped:
        values = "value" if clipped == 1 else "values"
        share = text.number(100 * clipped / max(1, subject.shown().size), 2)
        parts.append(f"{clipped:,} {values} ({share}%) clipped to {_range(subject.scale)}")
    parts.append(_nonfinite(numbers))
    return tuple(parts)


def _range(scale: colors.Scale) -> str:
    return f"{text.number(scale.low)} {text.DASH} {text.number(scale.high)}"


def _nonfinite(numbers: stats.ChannelStatistics) -> str:
    if numbers.finite:
        return "no NaN"
    counts = [
        f"{int(count):,} {word}"
        for count, word in (
            (numbers.nan.sum(), "NaN"),
            (numbers.infinite.sum(), "infinite"),
        )
        if count
    ]
    where = text.listing(numbers.channels_in(stats.NONFINITE))
    return f"{' and '.join(counts)} (in {where})"


def marks(subject: Subject) -> tuple[tuple[RGB, str], ...]:
    """Return the colours of what is not finite, where there is such a thing."""
    if subject.numbers.finite:
        return ()
    nan, above, below = subject.table.marks
    maps = subject.maps
    found = (
        (nan, "NaN", bool(subject.numbers.nan.any())),
        (above, f"+{text.INFINITY}", bool(np.isposinf(maps).any())),
        (below, f"{text.MINUS}{text.INFINITY}", bool(np.isneginf(maps).any())),
    )
    return tuple((color, words) for color, words, present in found if present)


def numeric_bar(subject: Subject, notes: Sequence[str]) -> ColorBar:
    """Return a colour bar for one range that all tiles share."""
    low, high = float(subject.low[0]), float(subject.high[0])
    if low == high:
        middle = 0.5 if subject.signed else 0.0
        return ColorBar(subject.table, ((middle, "0"),), tuple(notes), marks(subject))
    found = colors.ticks(low, high)
    width = high / 2 - low / 2
    shares = [min(1.0, max(0.0, (tick / 2 - low / 2) / width)) for tick in found]
    words = [text.number(tick) for tick in found]
    pairs = tuple(zip(shares, words, strict=True))
    return ColorBar(subject.table, pairs, tuple(notes), marks(subject))
