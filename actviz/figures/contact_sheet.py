"""A contact sheet: one channel of a layer for many inputs, each map below its input, all on one scale.

::

    cat.jpg   dog.jpg   sea.jpg
    [input]   [input]   [input]
    [map]     [map]     [map]
    0..3.1    0..2.2    dead
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from actviz.figures import color_scale, colors, mosaic, page_layout, text
from actviz.figures.canvas import theme_of
from actviz.figures.renderers import captions, color_bars, grid, prepared_maps, range_labels
from actviz.records import Activation, Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.figures.canvas import Canvas
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Picture, Style

_NARROWEST, _FONT_SIZE, _GAP, _ROW_GAP = 72, 10, 10, 16
_MAP_AXES = ("batch", "row", "column", "channel")


@dataclass(frozen=True, slots=True)
class ContactEntry:
    """One input: its name, its picture, uint8 ``(row, column, RGB)``, and the map ``(row, column)`` of the channel."""

    name: str
    picture: NDArray[np.uint8] | None
    values: NDArray[Any]


def draw(
    layer: Activation, channel: int, entries: Sequence[ContactEntry], about: tuple[str, int], style: Style
) -> Picture:
    """Draw the maps of channel `channel` of `layer`, the strongest first unless the style sorts them otherwise.

    `layer` is the activation of any input; `about` are the name of the model and the number of all inputs.
    `Tile.channel` is the index of the entry.
    """
    with text.scaled(style.font_scale):
        return _draw(layer, channel, entries, about, style)


def _draw(
    layer: Activation, channel: int, entries: Sequence[ContactEntry], about: tuple[str, int], style: Style
) -> Picture:
    maps = np.stack([entry.values for entry in entries])
    style = replace(style, sort=style.sort or "mean")
    scale = color_scale.parse_scale(style.scale)
    if scale.kind == "auto":
        scale = color_scale.ColorScale("layer")
    stacked = Activation(layer.address, layer.kind, maps[None], _MAP_AXES, layer.signed, bounds=layer.bounds)
    prepared = prepared_maps.prepare(stacked, maps, style, scale)
    zoom = (style.zoom, style.zoom) if style.zoom else grid.choose_zoom(len(prepared.channels), *maps.shape[1:])
    cells = _cells(prepared, zoom, style, pictures=any(entry.picture is not None for entry in entries))
    model, count = about
    sizes = f"{text.shape(maps.shape[1:])}, channel {channel}"
    page = page_layout.PageLayout(
        page_layout.PageHeading(
            f"{layer.address}:{channel}", layer.kind, sizes, Context(model, text.plural(count, "input"), "")
        ),
        _bar(prepared),
        _caption(prepared, count, style),
        cells.rows * cells.step_down - _ROW_GAP,
        cells.columns * cells.step_right - _GAP,
        prepared_maps.histogram(prepared),
    )
    canvas, top, left = page_layout.open_page(page, theme_of(dark=style.dark))
    cells = replace(cells, top=cells.top + top, left=cells.left + left)
    tiles = prepared.tiles(map(cells.box, range(len(prepared.channels))))
    mosaic.draw_frames(canvas.pixels, cells, len(tiles), colors.pack_color(canvas.theme.line))
    mosaic.write_tiles(canvas.pixels, cells, prepared.painted(), zoom)
    font, labels = text.get_font(_FONT_SIZE), range_labels.labels_below(prepared, cells.step_right - _GAP, fixed=True)
    for tile, label in zip(tiles, labels, strict=True):
        up, start, bottom, _ = tile.box
        entry = entries[tile.channel]
        first = up - cells.top + top
        name = font.fit(text.shown(entry.name), cells.step_right - _GAP)
        canvas.write(name, first, start - 1, font, canvas.theme.ink)
        if entry.picture is not None:
            _draw_picture(canvas, entry.picture, (first + font.height + 3, start), (cells.height, cells.width))
        canvas.write(label, bottom + 3, start - 1, font, canvas.theme.muted)
    grid.mark_states(canvas, tiles)
    record = prepared.record(style, (("input",), "row", "column"))
    record |= {"channels": count, "channel": channel, "inputs": [entries[index].name for index in prepared.channels]}
    return canvas.picture(tiles, record)


def _cells(prepared: PreparedMaps, zoom: tuple[int, int], style: Style, *, pictures: bool) -> mosaic.TileGrid:
    """Return the boxes of the maps, with room for names, pictures and ranges."""
    font = text.get_font(_FONT_SIZE)
    height, width = (size * factor for size, factor in zip(prepared.maps.shape[1:], zoom, strict=True))
    above = font.height + 4 + (height + 4 if pictures else 0)
    step_down, step_right = above + height + 3 + font.height + _ROW_GAP, max(width + 2, _NARROWEST) + _GAP
    rows, columns = mosaic.grid_shape(len(prepared.channels), step_down, step_right, style.columns)
    return mosaic.TileGrid(rows, columns, above, 1, step_down, step_right, height, width)


def _bar(prepared: PreparedMaps) -> page_layout.ColorBar:
    if prepared.scale.kind == "filter":
        return color_bars.bar_per_tile(prepared, "input", f"below it: {captions.RANGE_NOTE}", ())
    return color_bars.shared_bar(
        prepared, [captions.scale_note(prepared, "all inputs"), f"below a map: {captions.RANGE_NOTE}"]
    )


def _caption(prepared: PreparedMaps, count: int, style: Style) -> tuple[str, ...]:
    shown = len(prepared.channels)
    first = f"{shown:,} of {text.plural(count, 'input')}, {captions.ORDERS[style.measure]}"
    return (first, *captions.caption(prepared, style, "input", "dead", are_inputs=True)[1:])


def _draw_picture(canvas: Canvas, picture: NDArray[np.uint8], corner: tuple[int, int], size: tuple[int, int]) -> None:
    """Draw a picture of an input in the middle of a box, as large as fits."""
    factor = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    height, width = (
        max(1, min(room, round(side * factor))) for side, room in zip(picture.shape[:2], size, strict=True)
    )
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
    image = Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), how)
    top, left = corner[0] + (size[0] - height) // 2, corner[1] + (size[1] - width) // 2
    canvas.pixels[top : top + height, left : left + width] = colors.pack_rgb(np.asarray(image))
