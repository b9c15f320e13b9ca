"""Vectors: one value for each unit.

Up to 64 units are drawn as bars from zero, up to 512 as a table of swatches with their values, more as
cells with row and column labels, of which the strongest are listed. Above more than 64 units with names,
such as classes, the ten largest are drawn as bars. If units are not consecutive, the
labels of cells count positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.figures import colors, mosaic, page_layout, text
from actviz.figures.canvas import check_size, theme_of
from actviz.figures.renderers import axis_labels, batch_entry, captions, color_bars, prepared_maps
from actviz.figures.renderers.renderer_protocol import SheetTiles
from actviz.records import Picture
from actviz.statistics import channel_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.figures.canvas import Canvas
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Activation, Axes, Context, Style, Tile

_MOST_BARS, _MOST_SWATCHES, _BAR_ROWS = 64, 512, 16
_LONGEST_NAME = 180
_FONT_SIZE = 12
_NAMED = 8
_RANKED, _BELOW_BARS = 10, 14
_BARE_ZOOM = 1
_MOST_AXES = 2  # the batch and one more


def accepts(axes: Axes) -> bool:
    """Return True if the axes are those of a batch of vectors or of single numbers."""
    return axes[:1] == ("batch",) and len(axes) <= _MOST_AXES


def maps_of(activation: Activation, index: int) -> NDArray[Any]:
    """Return one entry of the batch as maps of one value: ``(unit, row, column)``."""
    return channel_statistics.as_numbers(activation.values[index : index + 1]).reshape(-1, 1, 1)


def channel_axes(axes: Axes) -> Axes:
    """Return the axis of units, if there is one; see `Renderer`."""
    return axes[1:]


def sheet_tiles(activation: Activation, index: int) -> SheetTiles:
    """Return all units as a strip; see `Renderer`."""
    return SheetTiles(maps_of(activation, index), "unit", strip=True)


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw the selected units; see `Renderer`.

    A unit has one value, so the scale ``filter`` means ``layer``.
    """
    values = maps_of(activation, index)
    prepared = prepared_maps.prepare(activation, values, style, prepared_maps.scale_for(style, values))
    unit_name = activation.axes[1] if len(activation.axes) == _MOST_AXES and activation.axes[1] != "channel" else "unit"
    drawn = activation.axes[1:], None, None
    if style.bare:
        return _draw_bare(prepared, style, drawn)
    words = batch_entry.step_words(activation, context, len(values)) if unit_name == "step" else context.labels
    names = _names(prepared, words)
    count = len(prepared.channels)
    plan: _VectorPlan
    largest: _Bars | None = None
    if count <= _MOST_BARS:
        plan = _Bars.of(prepared, names, style)
    elif count <= _MOST_SWATCHES:
        plan = _Swatches.of(prepared, names, style)
    else:
        plan = _Cells.of(prepared, names, style)
    if count > _MOST_BARS and len(words) == prepared.total:
        # Of many classes only the largest can have their names.
        ranked = replace(prepared, channels=_largest(prepared))
        largest = _Bars.of(ranked, names, replace(style, columns=None))
    sizes = f"{prepared.total} {unit_name}{'s' if prepared.total > 1 else ''}"
    heading = captions.heading(activation, context)
    layout = page_layout.PageLayout(
        heading if context.maps_shape else replace(heading, sizes=sizes),
        color_bars.shared_bar(prepared, _notes(prepared, plan, unit_name, listed=largest is None)),
        captions.caption(prepared, style, unit_name, "zero"),
        plan.size[0] + (largest.size[0] + _BELOW_BARS if largest else 0),
        max(plan.size[1], largest.size[1] if largest else 0),
        prepared_maps.histogram(prepared, reduced=bool(context.reduced)),
    )
    canvas, top, left = page_layout.open_page(layout, theme_of(dark=style.dark))
    if largest is not None:
        largest.draw(canvas, ranked, top, left)
        top += largest.size[0] + _BELOW_BARS
    tiles = plan.draw(canvas, prepared, top, left)
    return canvas.picture(tiles, prepared.record(style, drawn))


def _names(prepared: PreparedMaps, words: Sequence[str]) -> list[str]:
    """Return the label of every unit of the layer: its number, and its name if it has one."""
    if len(words) != prepared.total:
        return list(map(str, range(prepared.total)))
    font = text.get_font(_FONT_SIZE)
    return [font.fit(text.shown(f"{unit} {word}", 80), _LONGEST_NAME) for unit, word in enumerate(words)]


def _notes(prepared: PreparedMaps, plan: _VectorPlan, unit_name: str, *, listed: bool) -> list[str]:
    notes = [captions.scale_note(prepared, f"all {unit_name}s")]
    if isinstance(plan, _Cells):
        if in_order(prepared.channels):
            notes.append(f"number of a {unit_name}: label of its row + label of its column")
        else:
            notes.append(
                f"place in this order: label of its row + label of its column; the first is {unit_name} {prepared.channels[0]}"
            )
    if not listed:
        notes.append(f"bars: the {min(_RANKED, len(prepared.channels))} largest; below: all {unit_name}s drawn")
    elif len(prepared.channels) > _MOST_BARS:
        drawn = np.array(prepared.channels)
        order = drawn[np.argsort(-prepared.numbers.strength[drawn], kind="stable")[:_NAMED]].tolist()
        values = prepared.maps[:, 0, 0]
        named = ", ".join(f"{plan.names[unit]} ({text.number(float(values[unit]))})" for unit in order)
        notes.append(f"strongest by |value|: {named}")
    return notes


def _largest(prepared: PreparedMaps) -> list[int]:
    """Return the units to draw with the largest values, the largest first; those that are not finite last."""
    drawn = np.array(prepared.channels)
    values = prepared.maps[:, 0, 0][drawn].astype(np.float64)
    order = np.argsort(np.where(np.isfinite(values), -values, np.inf), kind="stable")
    largest: list[int] = drawn[order][:_RANKED].tolist()
    return largest


def in_order(channels: Sequence[int]) -> bool:
    """Return True if channels are consecutive."""
    return list(channels) == list(range(channels[0], channels[0] + len(channels)))


def _draw_bare(prepared: PreparedMaps, style: Style, drawn: prepared_maps.TileAxes) -> Picture:
    zoom = style.zoom or _BARE_ZOOM
    count = len(prepared.channels)
    columns = cell_columns(count) if style.columns is None else style.columns
    rows, columns = mosaic.grid_shape(count, zoom, zoom, min(columns, count))
    check_size(rows * zoom, columns * zoom)
    page = colors.pack_color(theme_of(dark=style.dark).page)
    pixels, grid = mosaic.assemble(prepared.painted(), columns, page, zoom, gap=0)
    return Picture(pixels, tuple(prepared.tiles(map(grid.box, range(count)))), (), prepared.record(style, drawn))


def cell_columns(count: int) -> int:
    """Return how many cells of a large vector are in a row: 50, 100, 200, 500 or 1000.

    The smallest of these that gives at most as many rows as columns. The number of a unit is the sum of
    its row label and its column label.
    """
    return next((most for most in (50, 100, 200, 500) if count <= most * most), 1000)


@dataclass(frozen=True, slots=True)
class _VectorPlan:
    """Layout of a vector: the size of the body, the grid of swatches and the labels."""

    size: tuple[int, int]
    grid: mosaic.TileGrid
    words: list[str]
    names: list[str]

    def draw(self, canvas: Canvas, prepared: PreparedMaps, top: int, left: int) -> list[Tile]:
        raise NotImplementedError

    def _place(self, canvas: Canvas, prepared: PreparedMaps, top: int, left: int, *, framed: bool) -> list[Tile]:
        grid = replace(self.grid, top=self.grid.top + top, left=self.grid.left + left)
        count = len(prepared.channels)
        if framed:
            mosaic.draw_frames(canvas.pixels, grid, count, colors.pack_color(canvas.theme.line))
        mosaic.write_tiles(canvas.pixels, grid, prepared.painted(), (grid.height, grid.width))
        return prepared.tiles(map(grid.box, range(count)))


def _values(prepared: PreparedMaps, digits: int = 4) -> list[str]:
    values = prepared.maps[:, 0, 0][prepared.channels].tolist()
    words = dict(prepared.levels)
    if words:
        return [words[value] for value in values]
    return [text.number(float(value), digits) for value in values]


class _Bars(_VectorPlan):
    """Rows of: number, swatch, bar from zero, value; in columns of 16, read downwards."""

    SWATCH, ROW, GAP, BETWEEN = 12, 20, 10, 30

    @classmethod
    def of(cls, prepared: PreparedMaps, names: list[str], style: Style) -> _Bars:
        font, count = text.get_font(_FONT_SIZE), len(prepared.channels)
        words = _values(prepared)
        columns = style.columns or math.ceil(count / _BAR_ROWS)
        rows, columns = mosaic.grid_shape(count, 1, 1, columns)
        # Read downwards, the last columns may stay empty.
        columns = math.ceil(count / rows)
        number = max(font.width(names[channel]) for channel in prepared.channels)
        value = max(font.width(word) for word in words)
        length = {1: 320, 2: 220}.get(columns, 150)
        row = max(cls.ROW, font.height + 4)
        step = number + cls.GAP + cls.SWATCH + cls.GAP + length + cls.GAP + value
        step += cls.BETWEEN
        grid = mosaic.TileGrid(rows, columns, 4, number + cls.GAP, row, step, cls.SWATCH, cls.SWATCH)
        return cls((rows * row, columns * step - cls.BETWEEN), grid, words, names)

    def draw(self, canvas: Canvas, prepared: PreparedMaps, top: int, left: int) -> list[Tile]:
        font, theme, grid = text.get_font(_FONT_SIZE), canvas.theme, self.grid
        value = max(font.width(word) for word in self.words)
        length = grid.step_right - grid.left - self.SWATCH - self.GAP - self.GAP
        length -= value + self.BETWEEN
        zero, bar_ends = _bar_ends(prepared, length)
        boxes = []
        painted = prepared.painted()[:, 0, 0]
        for index, (words, end, color) in enumerate(zip(self.words, bar_ends, painted, strict=True)):
            column, row = divmod(index, grid.rows)
            up = top + grid.top + row * grid.step_down
            start = left + grid.left + column * grid.step_right
            down = up + grid.height
            boxes.append((up, start, down, start + grid.width))
            canvas.fill((up - 1, start - 1, down + 1, start + grid.width + 1), theme.line)
            canvas.pixels[up:down, start : start + grid.width] = color
            name = self.names[prepared.channels[index]]
            line = up + (down - up - font.height) // 2
            canvas.write(name, line, start - self.GAP - font.width(name), font, theme.muted)
            first = start + grid.width + self.GAP
            canvas.fill((up, first, down, first + length), theme.ground)
            low, high = sorted((zero, end))
            if high > low:
                canvas.fill((up - 1, first + low, down + 1, first + high + 1), theme.line)
                canvas.pixels[up:down, first + low : first + high] = color
            canvas.fill((up - 4, first + zero, down + 4, first + zero + 1), theme.muted)
            canvas.write(words, line, first + length + self.GAP, font, theme.ink)
        return prepared.tiles(boxes)


def _bar_ends(prepared: PreparedMaps, length: int) -> tuple[int, list[int]]:
    """Return the positions of zero and of the end of each bar, in pixels from the left of the bars.

    Computed from color steps, so that bar and color agree. Non-finite values have no bar.
    """
    low, high = float(prepared.low[0]), float(prepared.high[0])
    bar_ends: NDArray[Any] = np.array([low, high])
    zero_step = colors.values_to_steps(np.zeros((1, 1)), bar_ends[:1], bar_ends[1:], signed=prepared.signed)
    steps = prepared.steps()[:, 0, 0].astype(int)
    zero = round(int(zero_step[0, 0]) * (length - 1) / (colors.STEPS - 1))
    indices = np.rint(steps * (length - 1) / (colors.STEPS - 1)).astype(int)
    finite = np.isfinite(prepared.shown()[:, 0, 0])
    return zero, np.where(finite, indices, zero).tolist()


class _Swatches(_VectorPlan):
    """Cells of: number and value on a line, the color below."""

    HEIGHT, GAP = 10, 12

    @classmethod
    def of(cls, prepared: PreparedMaps, names: list[str], style: Style) -> _Swatches:
        font, count = text.get_font(11), len(prepared.channels)
        words = _values(prepared, 3)
        number = max(font.width(names[channel]) for channel in prepared.channels)
        width = number + 8 + max(font.width(word) for word in words)
        step_down, step_right = font.height + cls.HEIGHT + 4 + cls.GAP, width + cls.GAP
        columns = style.columns
        if columns is None:
            columns = next((ten for ten in (10, 20) if count <= 3 * ten * ten), 50)
        rows, columns = mosaic.grid_shape(count, step_down, step_right, columns)
        grid = mosaic.TileGrid(rows, columns, font.height + 2, 1, step_down, step_right, cls.HEIGHT, width - 2)
        return cls((rows * step_down - cls.GAP, columns * step_right - cls.GAP), grid, words, names)

    def draw(self, canvas: Canvas, prepared: PreparedMaps, top: int, left: int) -> list[Tile]:
        tiles = self._place(canvas, prepared, top, left, framed=True)
        font, theme = text.get_font(11), canvas.theme
        for tile, words in zip(tiles, self.words, strict=True):
            up, start, _, end = tile.box
            row = up - 2 - font.height
            canvas.write(self.names[tile.channel], row, start - 1, font, theme.muted)
            canvas.write(words, row, end + 1 - font.width(words), font, theme.ink)
        return tiles


class _Cells(_VectorPlan):
    """A grid of square cells with the first unit of each row and the step of each column."""

    @classmethod
    def of(cls, prepared: PreparedMaps, names: list[str], style: Style) -> _Cells:
        font, count = text.get_font(11), len(prepared.channels)
        rows, columns = mosaic.grid_shape(count, 1, 1, style.columns or cell_columns(count))
        side = style.zoom or max(1, min(16, 1200 // columns))
        number = font.width(str(prepared.total))
        grid = mosaic.TileGrid(rows, columns, font.height + 6, number + 8, side, side, side, side)
        size = grid.top + rows * side + 1, grid.left + columns * side + font.width("+100")
        return cls(size, grid, [], names)

    def draw(self, canvas: Canvas, prepared: PreparedMaps, top: int, left: int) -> list[Tile]:
        theme, grid = canvas.theme, self.grid
        count, side = len(prepared.channels), grid.height
        first_row, first_column = top + grid.top, left + grid.left
        bottom = first_row + grid.rows * side
        right = first_column + min(count, grid.columns) * side
        canvas.fill((first_row - 1, first_column - 1, bottom + 1, right + 1), theme.line)
        tiles = self._place(canvas, prepared, top, left, framed=False)
        rest = count % grid.columns
        if rest:
            edge = first_column + rest * side
            canvas.fill((bottom - side, edge, bottom + 1, right + 1), theme.page)
            canvas.fill((bottom - side, edge, bottom, edge + 1), theme.line)
            canvas.fill((bottom - side, edge, bottom - side + 1, right + 1), theme.line)
        self._write_labels(canvas, prepared, top, (first_row, first_column))
        return tiles

    def _write_labels(self, canvas: Canvas, prepared: PreparedMaps, top: int, corner: tuple[int, int]) -> None:
        font, color, grid = text.get_font(11), canvas.theme.muted, self.grid
        side = grid.height
        start = prepared.channels[0] if in_order(prepared.channels) else 0
        for row in range(0, grid.rows, axis_labels.label_interval(side, font.height + 2)):
            name = str(row * grid.columns + start)
            middle = corner[0] + row * side + side // 2
            column = corner[1] - 7 - font.width(name)
            canvas.write(name, middle - font.height // 2, column, font, color)
            canvas.fill((middle, corner[1] - 5, middle + 1, corner[1] - 1), color)
        for column in range(0, grid.columns, axis_labels.label_interval(side, font.width(f"+{grid.columns}") + 12)):
            middle = corner[1] + column * side + side // 2
            name = f"+{column}"
            canvas.write(name, top, middle - font.width(name) // 2, font, color)
            canvas.fill((corner[0] - 5, middle, corner[0] - 1, middle + 1), color)
