"""The outputs of one layer of two models side by side: A and B on one color scale, and B - A.

::

             A old.keras   B new.keras   (B - A) x 100
        12     [map]          [map]        [map]
             0..3.1         0..3.1       -0.01..0.02
         3     [map]          [map]        [map]

The channels that differ most come first. If the difference is too small to be visible on the
scale of the layer, it is multiplied by a round factor. A layer without negative values has a scale from 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from actviz.figures import colors, page_layout, sheet_bars, text
from actviz.statistics.channel_statistics import as_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.figures.canvas import Canvas
    from actviz.figures.colors import ColorTable
    from actviz.records import Activation, Context, Picture

CHANNEL_AXES = ("channel", "unit", "head")
MAX_CHANNELS = 8
_SEEN = 0.05
_LARGEST_POWER = 12
_LINE = 64
_SIDE, _LONGEST, _THINNEST = 176, 320, 12
_FONT_SIZE, _SMALL, _GAP, _ROW_GAP = 12, 10, 14, 10
_HUGE = 1e300


@dataclass(frozen=True, slots=True)
class LayerPair:
    """The activations of a layer in both models for one input (batches of one), and the names of the models."""

    ours: Activation
    theirs: Activation
    names: tuple[str, str]


@dataclass(frozen=True, slots=True)
class _PairMaps:
    """The maps of each column of the page, float64 ``(channel, row, column)``, and the color limit `limit`.

    `signed` is true if A or B has negative values. The difference, the last column, is multiplied by `factor`.
    """

    columns: tuple[NDArray[np.float64], ...]
    titles: tuple[str, ...]
    channels: list[int]
    total: int
    limit: float
    largest: float
    signed: bool
    factor: int

    def look(self, index: int) -> tuple[float, ColorTable]:
        """Return the lower color limit and the colormap of a column; the upper limit is `limit`."""
        signed = self.signed or index == len(self.columns) - 1
        return -self.limit if signed else 0.0, colors.table(colors.default_colormap(centred=signed, dark=False))

    def numbers(self, index: int, row: int) -> str:
        """Return the smallest and largest value of a map, of a difference before it is multiplied."""
        values = self.columns[index][row]
        known = values[np.isfinite(values)] / (self.factor if index == len(self.columns) - 1 else 1)
        return text.range_text(float(known.min()), float(known.max())) if known.size else ""


def draw_side_by_side(pair: LayerPair, context: Context) -> Picture:
    """Draw the channels that differ most, at most `MAX_CHANNELS`.

    The upper color limit is the largest absolute value of both models.
    """
    pair_maps = _prepare(pair)
    zoom = _zoom(*pair_maps.columns[0].shape[1:])
    height, width = (size * factor for size, factor in zip(pair_maps.columns[0].shape[1:], zoom, strict=True))
    font, small = text.get_font(_FONT_SIZE), text.get_font(_SMALL)
    bars, step = _bars(pair_maps), height + 3 + small.height + _ROW_GAP
    numbers = max(font.width(str(channel)) for channel in pair_maps.channels) + _GAP
    cell = max(width, *(font.width(title) for title in pair_maps.titles)) if width > _SIDE else max(width, _SIDE)
    body = font.height + _GAP + len(pair_maps.channels) * step
    wide = numbers + len(pair_maps.columns) * (cell + _GAP)
    layout = page_layout.PageLayout(
        page_layout.PageHeading(pair.ours.address, pair.ours.kind, text.shape(pair.ours.values.shape[1:]), context),
        bars[0],
        _caption(pair, pair_maps),
        body + sheet_bars.height(1, wide),
        wide,
    )
    canvas, top, left = page_layout.open_page(layout)
    sheet_bars.draw(canvas, bars[1:], (top + body, left), wide)
    for index, title in enumerate(pair_maps.titles):
        canvas.write(font.fit(title, cell), top, left + numbers + index * (cell + _GAP), font, canvas.theme.ink)
    top += font.height + _GAP
    for row, channel in enumerate(pair_maps.channels):
        begin = top + row * step
        if pair_maps.total > 1:
            canvas.write(str(channel), begin, left, font, canvas.theme.ink)
        for index, maps in enumerate(pair_maps.columns):
            column = left + numbers + index * (cell + _GAP)
            low, table = pair_maps.look(index)
            _draw_map(canvas, maps[row], ((low, pair_maps.limit), table, zoom), (begin, column))
            canvas.write(
                small.fit(pair_maps.numbers(index, row), cell),
                begin + height + 3,
                column - 1,
                small,
                canvas.theme.muted,
            )
    return canvas.picture((), {"reach": pair_maps.limit, "largest": pair_maps.largest, "channels": pair_maps.channels})


def _prepare(pair: LayerPair) -> _PairMaps:
    ours, theirs = (maps_of(activation) for activation in (pair.ours, pair.theirs))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = theirs - ours
    lengths = np.abs(np.nan_to_num(difference, nan=np.inf)).reshape(len(difference), -1).max(axis=1)
    # The difference of equal infinities is NaN, although the values are equal.
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    difference[same] = 0.0
    lengths[same.reshape(len(same), -1).all(axis=1)] = 0.0
    chosen = np.argsort(-lengths, kind="stable")[:MAX_CHANNELS].tolist()
    finite = [np.abs(values[np.isfinite(values)]) for values in (ours, theirs)]
    limit = max((float(values.max()) for values in finite if values.size), default=0.0)
    known = np.abs(difference[np.isfinite(difference)])
    largest = float(known.max()) if known.size else 0.0
    columns = [ours[chosen], theirs[chosen], difference[chosen]]
    titles = [f"A  {text.shown(pair.names[0], 80)}", f"B  {text.shown(pair.names[1], 80)}", f"B {text.MINUS} A"]
    factor = 1
    if 0 < largest < _SEEN * limit < _HUGE:
        factor = _enlargement(limit / largest)
        columns[2] = columns[2] * factor
        titles[2] = f"(B {text.MINUS} A) {text.TIMES} {factor:,}"
    signed = any(bool((values < 0).any()) for values in (ours, theirs))
    limit = max(limit, largest)
    return _PairMaps(tuple(columns), tuple(titles), chosen, len(ours), limit, largest, signed, factor)


def _enlargement(most: float) -> int:
    """Return the largest 1, 2 or 5 times a power of ten that is at most `most`."""
    power: int = 10 ** min(_LARGEST_POWER, math.floor(math.log10(most)))
    return max(unit * power for unit in (1, 2, 5) if unit == 1 or unit * power <= most)


def maps_of(activation: Activation) -> NDArray[np.float64]:
    """Return a batch of one as maps ``(channel, row, column)``.

    Frames and planes are stacked downwards. A vector is one map with 64 units in each row, padded
    with 0; a sequence is one map with a row for each step.
    """
    values, axes = as_numbers(activation.values[0]).astype(np.float64), activation.axes[1:]
    name = next((axis for axis in CHANNEL_AXES if axis in axes), None)
    if values.ndim <= 1:
        flat = values.reshape(-1)
        columns = min(len(flat), _LINE)
        filled = np.zeros((-(-len(flat) // columns), columns))
        filled.reshape(-1)[: len(flat)] = flat
        return filled[None]
    if name is None:
        return values.reshape(1, -1, values.shape[-1])
    moved = np.moveaxis(values, axes.index(name), 0)
    if moved.ndim == 2:  # noqa: PLR2004  (unit, step)
        return moved.T[None]
    return moved.reshape(len(moved), -1, moved.shape[-1])


def _zoom(height: int, width: int) -> tuple[int, int]:
    """Return the height and width of a value in pixels, at least 12 for the shorter side of a map."""
    side = _LONGEST if max(height, width) > 4 * min(height, width) else _SIDE
    zoom = max(1, side // max(height, width))
    thin = -(-_THINNEST // min(height, width))
    return (max(zoom, thin), zoom) if height < width else (zoom, max(zoom, thin))


def _draw_map(
    canvas: Canvas,
    values: NDArray[np.float64],
    look: tuple[tuple[float, float], ColorTable, tuple[int, int]],
    corner: tuple[int, int],
) -> None:
    ((low, high), table, zoom), (top, left) = look, corner
    limits = np.array([low]), np.array([high])
    pixels = colors.steps_to_pixels(colors.values_to_steps(values[None], *limits, signed=low < 0), table)
    if not np.isfinite(values).all():
        colors.paint_nonfinite(pixels, values[None], table)
    large = pixels[0].repeat(zoom[0], axis=0).repeat(zoom[1], axis=1)
    rows, columns = large.shape
    canvas.fill((top - 1, left - 1, top + rows + 1, left + columns + 1), canvas.theme.line)
    canvas.pixels[top : top + rows, left : left + columns] = large


def _bars(pair_maps: _PairMaps) -> list[page_layout.ColorBar]:
    """Return the color bars of A and B, and of the difference with its values before it is multiplied."""
    bars = []
    for index in (0, len(pair_maps.columns) - 1):
        low, table = pair_maps.look(index)
        high = pair_maps.limit / (pair_maps.factor if index else 1)
        name = f"B {text.MINUS} A" if index else "A, B"
        ticks = [(1.0, text.number(high))] if high else []
        ticks = (
            [(0.0, f"{text.MINUS}{text.number(high)}"), (0.5, f"{name}: 0"), *ticks]
            if low < 0
            else [(0.0, f"{name}: 0"), *ticks]
        )
        legend = page_layout.nonfinite_legend(table, pair_maps.columns)
        bars.append(page_layout.ColorBar(table, tuple(ticks), ("one scale for A and B",), legend))
    return bars


def _caption(pair: LayerPair, pair_maps: _PairMaps) -> tuple[str, ...]:
    shown = len(pair_maps.channels)
    words = []
    if pair_maps.total > 1:
        words.append(f"{shown:,} of {pair_maps.total:,} channels, those that differ most")
    words.append("below each map: its smallest and largest value")
    words += [f"colors of B {text.MINUS} A: {text.TIMES} {pair_maps.factor:,}"] if pair_maps.factor > 1 else []
    words.append(f"largest difference {text.number(pair_maps.largest)}")
    if pair.theirs.address != pair.ours.address:
        words.append(f"in B: {text.shown(pair.theirs.address, 80)}")
    if pair_maps.columns[0].shape[0] == pair_maps.total == 1 and pair.ours.values.ndim > 3:  # noqa: PLR2004
        words.append("planes below one another")
    return tuple(words)
