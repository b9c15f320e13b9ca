"""Heat maps of one input: the input as fed, and beside it each map over the input, with what the map is about.

::

    input as fed     7 (seven): gradcam      7 (seven): occlusion
    [picture]        [map over it]           [map over it]
                     0 ==== 3.1              -2 ==== 0 ==== 2
                     probability 0.99, rank 1 of 10
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from actviz.errors import UsageError, escape
from actviz.figures import colors, heat_map_words, mosaic, page_layout, text
from actviz.figures.canvas import theme_of
from actviz.figures.heat_map_frames import draw_frames
from actviz.figures.heat_map_steps import draw_steps
from actviz.figures.renderers import color_bars, prepared_maps
from actviz.figures.renderers.overlay_blend import Overlay, to_grey
from actviz.records import Activation, Geometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.figures.canvas import Canvas
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Box, Context, HeatMap, Picture, Style, Tile

_SIDES = ((2, 440), (4, 320), (9, 250))
_SMALLEST_SIDE, _WIDEST_TITLE = 200, 320
_ONE_ROW = 4
_TITLE_SIZE, _FONT_SIZE, _BAR_SIZE = 13, 12, 11
_GAP, _ROW_GAP, _LEADING = 26, 22, 4
_PLACES = ("row", "column")
_FRAMES = (("step", *_PLACES), ("plane", *_PLACES))


def draw_heat_maps(maps: Sequence[HeatMap], context: Context, style: Style) -> Picture:
    """Draw the maps of one input.

    Raises
    ------
    UsageError
        If the input is not a picture, or a map has other axes than rows and columns.
    LimitError
        If the figure would be too large.
    """
    with text.scaled(style.font_scale):
        if all(item.axes == ("step",) for item in maps):
            return draw_steps(maps, context, style)
        frames = context.pictures.get(maps[0].input)
        if frames is not None and frames.ndim > 3 and all(item.axes in _FRAMES for item in maps):  # noqa: PLR2004
            return draw_frames(maps, frames, context, style)
        picture = _picture(maps, context)
        panels = [_Panel.of(item, picture, maps, context, style) for item in maps]
        plan = _Plan.of(panels, picture, style, len({item.method for item in maps}))
        layout = page_layout.PageLayout(
            page_layout.PageHeading(*heat_map_words.heading(maps, context.labels), replace(context, thumbnail=None)),
            None,
            heat_map_words.caption(maps, context.labels, panels[0].over),
            *plan.size,
        )
        canvas, top, left = page_layout.open_page(layout, theme_of(dark=style.dark))
        tiles = plan.draw(canvas, (top, left), picture)
        if maps[0].box:
            _draw_boxes(canvas, tiles, maps[0].box, (picture.shape[0], picture.shape[1]))
    return canvas.picture(tiles, heat_map_words.record(maps, [panel.prepared for panel in panels]))


def _picture(maps: Sequence[HeatMap], context: Context) -> NDArray[np.uint8]:
    """Return the input as fed, uint8 ``(row, column, RGB)``."""
    picture = context.pictures.get(maps[0].input)
    if picture is None and len(context.pictures) <= 1:
        picture = context.thumbnail
    wrong = next((item for item in maps if item.axes != _PLACES), None)
    if picture is None or picture.ndim != 3 or wrong is not None:  # noqa: PLR2004  (frames)
        axes = ", ".join((wrong or maps[0]).axes) or "one value"
        message = f"heat maps are drawn over pictures, and this one has the axes ({escape(axes, 60)}); write its values with: actviz extract --explain {maps[0].method}"
        raise UsageError(message)
    return picture


@dataclass(frozen=True, slots=True)
class _Panel:
    """One map over the input, its title and the lines below it."""

    over: Overlay
    prepared: PreparedMaps
    title: str
    lines: list[str]

    @classmethod
    def of(
        cls, item: HeatMap, picture: NDArray[np.uint8], maps: Sequence[HeatMap], context: Context, style: Style
    ) -> _Panel:
        sizes = picture.shape[0], picture.shape[1]
        counts = item.values.shape[0], item.values.shape[1]
        strides = sizes[0] / counts[0], sizes[1] / counts[1]
        corner = strides[0] / 2 - 0.5, strides[1] / 2 - 0.5
        known = item.geometry or Geometry(item.input, sizes, corner, strides, strides)
        over = Overlay(to_grey(picture), known, item.geometry is not None or counts == sizes, style.dark)
        activation = Activation(item.layer, item.method, item.values[None], ("batch", *item.axes))
        plain = replace(style, scale="filter", channels=None, sort=None, top=None, columns=None)
        prepared = prepared_maps.prepare(
            activation, np.asarray(item.values)[None], plain, heat_map_words.scale_of(item, "filter")
        )
        title, lines = heat_map_words.panel(item, maps, context.labels)
        return cls(over, prepared, title, lines)

    def bar(self) -> page_layout.ColorBar:
        """Return the color bar below the map."""
        return self.over.bar(color_bars.shared_bar(self.prepared, ()), self.prepared)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Layout of the panels: `tile` is the size of a map, `cell` that of a map with its words, in pixels; `cells` are those of the input and the maps."""

    panels: list[_Panel]
    lines: list[list[str]]
    cells: list[int]
    grid: tuple[int, int]
    tile: tuple[int, int]
    cell: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, panels: list[_Panel], picture: NDArray[np.uint8], style: Style, methods: int) -> _Plan:
        """Return a layout with the maps of one target in a row, if there are several targets and `methods`."""
        count = len(panels) + 1
        rows, columns = picture.shape[:2]
        wanted = next((side for most, side in _SIDES if count <= most), _SMALLEST_SIDE)
        zoom: float = style.zoom or wanted // max(rows, columns) or wanted / max(rows, columns)
        tile = max(1, round(rows * zoom)), max(1, round(columns * zoom))
        font, small, title = text.get_font(_FONT_SIZE), text.get_font(_BAR_SIZE), text.get_font(_TITLE_SIZE, bold=True)
        longest = max(title.width(panel.title) for panel in panels)
        width = max(tile[1], _SMALLEST_SIDE, min(longest, _WIDEST_TITLE)) + _GAP
        lines = [[part for line in panel.lines for part in text.wrap([line], font, width - _GAP)] for panel in panels]
        foot = 8 + page_layout.BAR_HEIGHT + 5 + small.height + 6 + max(map(len, lines)) * (font.height + _LEADING)
        cell = title.height + 6 + tile[0] + foot + _ROW_GAP, width
        cells = list(range(count))
        if 1 < methods < len(panels) and style.columns is None:
            grid = len(panels) // methods, methods + 1
            cells = [0, *(index + index // methods + 1 for index in range(len(panels)))]
        else:
            grid = mosaic.grid_shape(count, *cell, style.columns or (count if count <= _ONE_ROW else None))
        return cls(panels, lines, cells, grid, tile, cell, (grid[0] * cell[0] - _ROW_GAP, grid[1] * width - _GAP))

    def draw(self, canvas: Canvas, corner: tuple[int, int], picture: NDArray[np.uint8]) -> list[Tile]:
        """Draw the input and all maps; return their tiles."""
        boxes = [self._box(index, corner) for index in self.cells]
        fed = Image.fromarray(np.ascontiguousarray(picture))
        if picture.shape[:2] != self.tile:
            how = Image.Resampling.NEAREST if self.tile[0] >= picture.shape[0] else Image.Resampling.LANCZOS
            fed = fed.resize(self.tile[::-1], how)
        self._draw_tile(canvas, boxes[0], colors.pack_rgb(np.asarray(fed)), "input as fed")
        tiles = []
        for number, (panel, box) in enumerate(zip(self.panels, boxes[1:], strict=True)):
            self._draw_tile(canvas, box, panel.over.painted(panel.prepared, self.tile)[0], panel.title)
            self._draw_words(canvas, number, box)
            (tile,) = panel.prepared.tiles([box])
            tiles.append(tile._replace(channel=number))
        return tiles

    def _box(self, index: int, corner: tuple[int, int]) -> Box:
        row, column = divmod(index, self.grid[1])
        top = corner[0] + row * self.cell[0] + text.get_font(_TITLE_SIZE, bold=True).height + 6
        left = corner[1] + column * self.cell[1]
        return top, left, top + self.tile[0], left + self.tile[1]

    def _draw_tile(self, canvas: Canvas, box: Box, pixels: NDArray[np.uint32], title: str) -> None:
        top, left, bottom, right = box
        font = text.get_font(_TITLE_SIZE, bold=True)
        canvas.write(font.fit(title, self.cell[1] - _GAP), top - 6 - font.height, left, font, canvas.theme.ink)
        canvas.fill((top - 1, left - 1, bottom + 1, right + 1), canvas.theme.line)
        canvas.pixels[top:bottom, left:right] = pixels

    def _draw_words(self, canvas: Canvas, number: int, box: Box) -> None:
        panel, (_, left, bottom, right) = self.panels[number], box
        small, font = text.get_font(_BAR_SIZE), text.get_font(_FONT_SIZE)
        wide = max(right - left, _SMALLEST_SIDE)
        row = page_layout.draw_bar(canvas, panel.bar(), (bottom + 8, left), (wide, small)) + 6
        for line in self.lines[number]:
            canvas.write(line, row, left, font, canvas.theme.muted)
            row += font.height + _LEADING


def _draw_boxes(canvas: Canvas, tiles: Sequence[Tile], box: tuple[int, ...], sizes: tuple[int, int]) -> None:
    """Outline a box of the input of `sizes` rows and columns on each tile."""
    for tile in tiles:
        top, left, bottom, right = tile.box
        down, across = (bottom - top) / sizes[0], (right - left) / sizes[1]
        edges = (
            round(top + box[0] * down),
            round(left + box[1] * across),
            round(top + box[2] * down),
            round(left + box[3] * across),
        )
        for color, inset in (((255, 255, 255), 0), ((0, 0, 0), 1)):
            _frame(canvas, (edges[0] + inset, edges[1] + inset, edges[2] - inset, edges[3] - inset), color)


def _frame(canvas: Canvas, box: Box, color: colors.RGB) -> None:
    """Draw the outermost pixels of a box."""
    top, left, bottom, right = box
    for side in (
        (top, left, top + 1, right), (bottom - 1, left, bottom, right),
        (top, left, bottom, left + 1), (top, right - 1, bottom, right),
    ):  # fmt: skip
        canvas.fill(side, color)
