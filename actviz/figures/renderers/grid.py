"""Grid of tiles: the drawing of spatial maps, attention maps and slices.

::

0        1        2
[tile]   [tile]   [tile]
====--   ===---   ------     strength relative to the strongest channel
0..3.1   0..2.2   dead       range of the values
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from actviz.figures import colors, mosaic, page_layout, text
from actviz.figures.canvas import check_size, theme_of
from actviz.figures.renderers import axis_labels, captions, color_bars, padding, prepared_maps
from actviz.figures.renderers.range_labels import has_single_limit, labels_below
from actviz.records import Picture, Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.figures.canvas import Canvas
    from actviz.figures.renderers.axis_labels import AxisLabels
    from actviz.figures.renderers.overlay_blend import Overlay
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Activation, Box, Context, Style

_SIDES = (
    (1, 448),
    (3, 288),
    (8, 192),
    (16, 144),
    (32, 112),
    (64, 88),
    (128, 72),
    (512, 56),
    (1024, 48),
)
_SMALLEST_SIDE = 40
_LARGEST_ZOOM = 64
_THINNEST = 12
_NARROWEST = 38
_FONT_SIZE = 10
_MAX_LABELS = 64
# With more tiles cells are as wide as their tiles: room for both limits would double the page.
_MAX_WIDENED = 1024
_LABEL_GAP, _BAR, _CELL_GAP, _ROW_GAP = 2, 3, 8, 12


@dataclass(frozen=True, slots=True)
class TileSet:
    """The maps of one activation and how they are labelled.

    Attributes
    ----------
    maps
        Shape ``(tile, row, column)``.
    tile_name
        The name of one tile, such as ``filter``.
    axes
        The axes of the activation along tiles, down a tile and across a tile.
    names
        Labels above tiles instead of their numbers.
    indices
        The indices of each tile along several axes.
    side_labels
        Labels of the axes down and across, drawn beside every tile.
    notes
        Parts of the caption.
    reduced
        The description of a reduction of values, if there is one.
    over
        The picture below the maps of an overlay.
    input_image
        A picture drawn before the tiles, uint8 ``(row, column, RGB)``.
    """

    maps: NDArray[Any]
    tile_name: str
    axes: prepared_maps.TileAxes
    names: tuple[str, ...] = ()
    indices: tuple[tuple[int, ...], ...] = ()
    side_labels: tuple[AxisLabels, AxisLabels] | None = None
    notes: tuple[str, ...] = ()
    reduced: str = ""
    over: Overlay | None = None
    input_image: NDArray[np.uint8] | None = None

    def sizes(self, count: int, zoom: int | None) -> tuple[int, int]:
        """Return the height and width of `painted` for each of `count` tiles."""
        if self.over is None:
            return self.maps.shape[1], self.maps.shape[2]
        factor = zoom or min(choose_zoom(count, *self.over.sizes))
        return self.over.sizes[0] * factor, self.over.sizes[1] * factor

    def painted(self, prepared: PreparedMaps, zoom: int | None) -> NDArray[np.uint32]:
        """Return the packed pixels of the tiles to draw, of the height and width of `sizes`."""
        if self.over is None:
            return prepared.painted()
        return self.over.painted(prepared, self.sizes(len(prepared.channels), zoom))

    def bar(self, prepared: PreparedMaps, labels: Sequence[str]) -> page_layout.ColorBar:
        """Return the color bar of tiles with these `labels` below them."""
        bar = color_bar(prepared, self.tile_name, labels)
        return bar if self.over is None else self.over.bar(bar, prepared)


def draw(activation: Activation, tile_set: TileSet, context: Context, style: Style) -> Picture:
    """Draw the selected maps of a tile set as tiles."""
    maps = tile_set.maps
    if style.channels is None and not style.bare:
        page_layout.announce_width(_least_width(tile_set, style))
    scale = prepared_maps.scale_for(style, maps)
    is_map = tile_set.axes[1:] == ("row", "column")
    part = padding.image_region(activation, context, (maps.shape[1], maps.shape[2])) if is_map else None
    prepared = prepared_maps.prepare(activation, maps, style, scale, part)
    if is_map:
        tile_set = replace(
            tile_set, notes=(*tile_set.notes, *padding.note(activation, context, left_out=part is not None))
        )
    if style.bare:
        return _draw_bare(prepared, tile_set, style)
    plan = _plan(prepared, tile_set, style)
    layout = page_layout.PageLayout(
        captions.heading(activation, context),
        tile_set.bar(prepared, plan.labels),
        _caption(prepared, tile_set, style, plan.zoom),
        plan.size[0],
        plan.size[1] + (plan.cell[1] if tile_set.input_image is not None else 0),
        prepared_maps.histogram(prepared, reduced=bool(context.reduced or (tile_set.reduced and not tile_set.over))),
    )
    canvas, top, left = page_layout.open_page(layout, theme_of(dark=style.dark))
    if tile_set.input_image is not None:
        _draw_input_image(canvas, tile_set.input_image, plan.grid(top, left).box(0))
        left += plan.cell[1]
    grid = plan.grid(top, left)
    mosaic.draw_frames(canvas.pixels, grid, len(prepared.channels), colors.pack_color(canvas.theme.line))
    mosaic.write_tiles(canvas.pixels, grid, tile_set.painted(prepared, style.zoom), plan.zoom)
    tiles = _tiles(prepared, tile_set, grid)
    mark_states(canvas, tiles)
    _write(canvas, prepared, tiles, plan)
    if tile_set.side_labels:
        _write_side_labels(canvas, tile_set.side_labels, tiles, plan.zoom)
    return canvas.picture(tiles, _record(prepared, tile_set, style, plan.zoom))


def _draw_input_image(canvas: Canvas, picture: NDArray[np.uint8], box: Box) -> None:
    """Draw the input picture in the place of the first tile."""
    top, left, bottom, right = box
    if picture.shape[:2] != (bottom - top, right - left):
        image = Image.fromarray(picture).resize((right - left, bottom - top), Image.Resampling.NEAREST)
        picture = np.asarray(image)
    font, theme = text.get_font(_FONT_SIZE), canvas.theme
    canvas.fill((top - 1, left - 1, bottom + 1, right + 1), theme.line)
    canvas.pixels[top:bottom, left:right] = colors.pack_rgb(picture)
    canvas.write(font.fit("as fed", right - left), top - 1 - font.height, left - 1, font, theme.ink)


def _record(prepared: PreparedMaps, tile_set: TileSet, style: Style, zoom: tuple[int, int]) -> dict[str, Any]:
    record = prepared.record(style, tile_set.axes)
    record["zoom"] = list(zoom)
    if tile_set.reduced:
        record["reduced"] = tile_set.reduced
    if tile_set.over:
        record["overlay"] = tile_set.over.record()
        record["invertible"] = False
    return record


def _draw_bare(prepared: PreparedMaps, tile_set: TileSet, style: Style) -> Picture:
    zoom = style.zoom or 1
    count = len(prepared.channels)
    height, width = tile_set.sizes(count, zoom)
    zoom = 1 if tile_set.over else zoom
    rows, columns = mosaic.grid_shape(count, height * zoom + 1, width * zoom + 1, style.columns)
    check_size(rows * (height * zoom + 1), columns * (width * zoom + 1))
    page = theme_of(dark=style.dark).page
    record = _record(prepared, tile_set, style, (zoom, zoom))
    if prepared.numbers.finite and tile_set.over is None:
        steps = prepared.steps()
        gap, palette = colors.palette_with_background(steps, prepared.table, page)
        indices, grid = mosaic.assemble(steps, columns, gap, zoom)
        return Picture(indices, tuple(_tiles(prepared, tile_set, grid)), (), record, palette)
    pixels, grid = mosaic.assemble(tile_set.painted(prepared, style.zoom or 1), columns, colors.pack_color(page), zoom)
    return Picture(pixels, tuple(_tiles(prepared, tile_set, grid)), (), record)


@dataclass(frozen=True, slots=True)
class _GridPlan:
    """Layout of a grid: sizes of a tile and the cell around it, and the labels of tiles."""

    zoom: tuple[int, int]
    rows: int
    columns: int
    tile: tuple[int, int]
    cell: tuple[int, int]
    labels: list[str]
    names: list[str]
    above: int
    beside: int

    @property
    def size(self) -> tuple[int, int]:
        return self.rows * self.cell[0] - _ROW_GAP, self.columns * self.cell[1] - _CELL_GAP

    def grid(self, top: int, left: int) -> mosaic.TileGrid:
        above = top + text.get_font(_FONT_SIZE).height + _LABEL_GAP + self.above
        return mosaic.TileGrid(self.rows, self.columns, above, left + 1 + self.beside, *self.cell, *self.tile)


def choose_zoom(count: int, height: int, width: int) -> tuple[int, int]:
    """Return the height and width in pixels of a value, for `count` maps of `height` by `width` values.

    An integer factor with which the longer side fits the tile size for `count` tiles. The shorter side of
    a map that would be thinner than 12 pixels is enlarged further, and the caption says so.
    """
    side = next((side for most, side in _SIDES if count <= most), _SMALLEST_SIDE)
    zoom = max(1, min(_LARGEST_ZOOM, side // max(height, width)))
    thin = -(-_THINNEST // min(height, width))
    if thin > zoom and max(height, width) > 4 * min(height, width):
        return (thin, zoom) if height < width else (zoom, thin)
    return zoom, zoom


def _least_width(tile_set: TileSet, style: Style) -> int:
    """Return the width of the tiles of all channels without the room that their labels need."""
    count = min(style.top or len(tile_set.maps), len(tile_set.maps))
    height, width = tile_set.sizes(count, style.zoom)
    zoom = (1, 1) if tile_set.over else (style.zoom,) * 2 if style.zoom else choose_zoom(count, height, width)
    cell = max(width * zoom[1] + 2, _NARROWEST) + _CELL_GAP
    font = text.get_font(_FONT_SIZE)
    above = 2 * font.height + 3 * _LABEL_GAP + _BAR + 1 + _ROW_GAP
    return mosaic.grid_shape(count, height * zoom[0] + above, cell, style.columns)[1] * cell - _CELL_GAP


def _plan(prepared: PreparedMaps, tile_set: TileSet, style: Style) -> _GridPlan:
    count = len(prepared.channels)
    height, width = tile_set.sizes(count, style.zoom)
    zoom = (style.zoom, style.zoom) if style.zoom else choose_zoom(count, height, width)
    if tile_set.over:
        zoom = 1, 1
    above = beside = beyond = 0
    if tile_set.side_labels:
        down, across = tile_set.side_labels
        if not style.zoom:
            zoom = _readable(zoom, tile_set.side_labels)
        above, beside = axis_labels.top_margin(across, zoom[1]), axis_labels.left_margin(down)
        beyond = axis_labels.overhang(across, zoom[1])
    tile = height * zoom[0], width * zoom[1]
    font = text.get_font(_FONT_SIZE)
    width = max(tile[1], _NARROWEST)
    labels = labels_below(prepared, width, fixed=count > _MAX_WIDENED)
    if tile_set.names:
        names = [tile_set.names[channel] for channel in prepared.channels]
        numbers = max(map(font.width, names))
    else:
        names = [str(channel) for channel in prepared.channels]
        numbers = max(map(len, names)) * font.width("0")
    widest = max(map(font.width, labels), default=0)
    cell_width = beside + max(tile[1] + 2 + beyond, numbers, width, widest) + _CELL_GAP
    foot = _LABEL_GAP + _BAR + _LABEL_GAP + font.height
    cell_height = font.height + _LABEL_GAP + above + tile[0] + 1 + foot + _ROW_GAP
    rows, columns = mosaic.grid_shape(count, cell_height, cell_width, style.columns)
    return _GridPlan(zoom, rows, columns, tile, (cell_height, cell_width), labels, names, above, beside)


def _readable(zoom: tuple[int, int], side_labels: tuple[AxisLabels, AxisLabels]) -> tuple[int, int]:
    """Return a zoom at which labels beside a map fit, unless there are more than 64."""
    thinnest = (
        max(map(axis_labels.minimum_zoom, side_labels))
        if max(len(axis.names) for axis in side_labels) <= _MAX_LABELS
        else 1
    )
    return max(zoom[0], thinnest), max(zoom[1], thinnest)


def _tiles(prepared: PreparedMaps, tile_set: TileSet, grid: mosaic.TileGrid) -> list[Tile]:
    tiles = prepared.tiles(mosaic.boxes(grid, len(prepared.channels)))
    return [tile._replace(indices=tile_set.indices[tile.channel]) for tile in tiles] if tile_set.indices else tiles


def mark_states(canvas: Canvas, tiles: list[Tile]) -> None:
    """Hatch dead tiles, outline constant and non-finite ones."""
    for tile in tiles:
        if tile.state == "dead":
            hatch(canvas, tile.box)
        elif tile.state != "live":
            _outline(canvas, tile.box, canvas.theme.ink)


def hatch(canvas: Canvas, box: Box, color: colors.RGB | None = None, origin: tuple[int, int] | None = None) -> None:
    """Fill the box of a dead tile with light diagonal lines, which do not resemble a dark map.

    With a `color` the lines run in the other direction, for masked rather than dead parts. The lines of
    boxes with the same `origin`, a pixel, are continuous.
    """
    top, left, bottom, right = box
    up, before = origin or (top, left)
    rows, columns = np.arange(top - up, bottom - up), np.arange(left - before, right - before)
    lines = (np.subtract if color else np.add).outer(rows, columns) % 6 == 0
    line, ground = colors.pack_color(color or canvas.theme.line), colors.pack_color(canvas.theme.ground)
    canvas.pixels[top:bottom, left:right] = np.where(lines, line, ground)


def _outline(canvas: Canvas, box: Box, color: colors.RGB) -> None:
    top, left, bottom, right = box
    canvas.fill((top - 1, left - 1, top, right + 1), color)
    canvas.fill((bottom, left - 1, bottom + 1, right + 1), color)
    canvas.fill((top, left - 1, bottom, left), color)
    canvas.fill((top, right, bottom, right + 1), color)


def _write(canvas: Canvas, prepared: PreparedMaps, tiles: list[Tile], plan: _GridPlan) -> None:
    """Draw number, range and strength of all tiles, one row of tiles at a time, since this dominates the time of a large figure."""
    font, theme = text.get_font(_FONT_SIZE), canvas.theme
    labels_below = 1 + _LABEL_GAP + _BAR + _LABEL_GAP
    for start in range(0, len(tiles), plan.columns):
        part = slice(start, start + plan.columns)
        top, _, bottom, _ = tiles[start].box
        columns = [tile.box[1] - 1 for tile in tiles[part]]
        canvas.write_line(plan.names[part], top - 1 - font.height - plan.above, columns, font, theme.ink)
        canvas.write_line(plan.labels[part], bottom + labels_below, columns, font, theme.muted)
    if prepared.total > 1:
        _draw_strengths(canvas, prepared, tiles[0].box, plan)


def _draw_strengths(canvas: Canvas, prepared: PreparedMaps, first: Box, plan: _GridPlan) -> None:
    """Draw the strength of every tile, relative to the strongest channel, as a bar below it."""
    width = plan.tile[1]
    lengths = np.ceil(prepared.strength_shares() * width)
    full = np.arange(width) < lengths[:, None, None]
    bars = np.where(full, colors.pack_color(canvas.theme.strength), colors.pack_color(canvas.theme.track))
    top = first[2] + 1 + _LABEL_GAP
    grid = mosaic.TileGrid(plan.rows, plan.columns, top, first[1], *plan.cell, _BAR, width)
    mosaic.write_tiles(canvas.pixels, grid, bars, (_BAR, 1))


def _write_side_labels(
    canvas: Canvas, side_labels: tuple[AxisLabels, AxisLabels], tiles: list[Tile], zoom: tuple[int, int]
) -> None:
    down, across = side_labels
    for tile in tiles:
        corner = tile.box[:2]
        axis_labels.write_left(canvas, down, range(len(down.names)), corner, zoom[0])
        axis_labels.write_above(canvas, across, range(len(across.names)), corner, zoom[1])


def color_bar(
    prepared: PreparedMaps, tile_name: str, labels: Sequence[str], where: str = "below"
) -> page_layout.ColorBar:
    """Return the color bar, with notes, of tiles called `tile_name`.

    `where` is the side of a tile on which its range, one of `labels`, and its strength are drawn.
    """
    notes: list[str] = []
    if prepared.total > 1:
        notes.append(f"line {where} a tile: its largest |value| compared with that of the strongest {tile_name}")
    if prepared.scale.kind == "filter":
        range_note = captions.RANGE_NOTE + (captions.SINGLE_LIMIT_NOTE if has_single_limit(labels) else "")
        return color_bars.bar_per_tile(prepared, tile_name, f"{where} it: {range_note}", notes)
    return color_bars.shared_bar(prepared, [captions.scale_note(prepared, "the whole layer"), *notes])


def _caption(prepared: PreparedMaps, tile_set: TileSet, style: Style, zoom: tuple[int, int]) -> tuple[str, ...]:
    labels = captions.caption(prepared, style, tile_set.tile_name, "dead") + tile_set.notes
    if tile_set.reduced:
        labels += (tile_set.reduced if tile_set.over else f"reduced: {tile_set.reduced}",)
    down, right = zoom
    if down != right:
        labels += (f"each value drawn {down} {text.TIMES} {right} pixels",)
    return labels
