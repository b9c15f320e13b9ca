"""Heat maps of films and volumes: the frames or planes of the input in a row, those of each map over them below.

::

    input as fed   [0] [1] [2] [3]
    7: gradcam     [0] [1] [2] [3]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from actviz.figures import colors, heat_map_words, page_layout, text
from actviz.figures.canvas import theme_of
from actviz.figures.renderers import color_bars, prepared_maps
from actviz.figures.renderers.overlay_blend import Overlay, to_grey
from actviz.records import Activation, Geometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.figures.canvas import Canvas
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Context, HeatMap, Picture, Style, Tile

_WIDTH, _SIDE, _SMALLEST, _LARGEST = 1100, 160, 48, 16
_TITLE_SIZE, _FONT_SIZE, _BAR_SIZE, _BAR_WIDTH = 13, 12, 11, 320
_GAP, _ROW_GAP, _LEADING = 6, 24, 4


def draw_frames(maps: Sequence[HeatMap], pictures: NDArray[np.uint8], context: Context, style: Style) -> Picture:
    """Draw maps with one map for each frame or plane of `pictures`, uint8 ``(frame, row, column, RGB)``.

    Raises
    ------
    LimitError
        If the figure would be too large.
    """
    rows = [_FrameRow.of(item, maps, context, style) for item in maps]
    count = max(row.shown for row in rows)
    side = max(_SMALLEST, min(_SIDE, _WIDTH // count - _GAP))
    zoom: float = style.zoom or side // max(pictures.shape[1:3]) or side / max(pictures.shape[1:3])
    tile = max(1, round(pictures.shape[1] * zoom)), max(1, round(pictures.shape[2] * zoom))
    font, title, small = text.get_font(_FONT_SIZE), text.get_font(_TITLE_SIZE, bold=True), text.get_font(_BAR_SIZE)
    head, foot = title.height + 4 + small.height + 2, 8 + page_layout.BAR_HEIGHT + 5 + small.height + 6
    heights = [head + tile[0]] + [head + tile[0] + foot + len(row.lines) * (font.height + _LEADING) for row in rows]
    layout = page_layout.PageLayout(
        page_layout.PageHeading(*heat_map_words.heading(maps, context.labels), replace(context, thumbnail=None)),
        None,
        (*heat_map_words.caption(maps, context.labels, rows[0].over(pictures[0])), *rows[0].notes(len(pictures))),
        sum(heights) + _ROW_GAP * len(rows),
        count * (tile[1] + _GAP) - _GAP,
    )
    canvas, top, left = page_layout.open_page(layout, theme_of(dark=style.dark))
    max(rows, key=lambda row: row.shown).draw_input(canvas, pictures, (top, left), tile)
    tiles: list[Tile] = []
    for number, row in enumerate(rows):
        top += heights[number] + _ROW_GAP
        drawn = row.draw(canvas, pictures, (top, left), tile)
        tiles += [item._replace(channel=number, indices=(number, item.channel)) for item in drawn]
    return canvas.picture(tiles, heat_map_words.record(maps, [row.prepared for row in rows]))


@dataclass(frozen=True, slots=True)
class _FrameRow:
    """One map, all of its frames on one scale."""

    item: HeatMap
    prepared: PreparedMaps
    title: str
    lines: list[str]
    dark: bool

    @classmethod
    def of(cls, item: HeatMap, maps: Sequence[HeatMap], context: Context, style: Style) -> _FrameRow:
        activation = Activation(item.layer, item.method, item.values[None], ("batch", "channel", "row", "column"))
        plain = replace(style, scale="layer", channels=None, sort=None, top=None, columns=None)
        prepared = prepared_maps.prepare(
            activation, np.asarray(item.values), plain, heat_map_words.scale_of(item, "layer")
        )
        title, lines = heat_map_words.panel(item, maps, context.labels)
        return cls(item, prepared, title, lines, style.dark)

    @property
    def shown(self) -> int:
        """How many frames are drawn."""
        return min(len(self.item.values), _LARGEST)

    @property
    def frames(self) -> list[int]:
        """The frames of the map that are drawn, evenly spaced."""
        return [index * len(self.item.values) // self.shown for index in range(self.shown)]

    def input_frame(self, frame: int, count: int) -> int:
        """Return the frame of the input, of `count`, below a frame of the map: at the same relative position."""
        return min(count - 1, int((frame + 0.5) * count / len(self.item.values)))

    def notes(self, count: int) -> tuple[str, ...]:
        """Return the notes about frames that are not drawn or lie over another frame of the `count` of the input."""
        name, own = self.item.axes[0], len(self.item.values)
        parts = [f"one scale for all {name}s of a map"]
        parts += [f"{self.shown} of {own} {name}s"] if self.shown < own else []
        parts += [f"each {name} over that of the {count} of the input at the same share"] if own != count else []
        return tuple(parts)

    def over(self, picture: NDArray[np.uint8]) -> Overlay:
        """Return the overlay of a frame."""
        sizes, counts = (picture.shape[0], picture.shape[1]), (self.item.values.shape[1], self.item.values.shape[2])
        strides = sizes[0] / counts[0], sizes[1] / counts[1]
        corner = strides[0] / 2 - 0.5, strides[1] / 2 - 0.5
        known = self.item.geometry or Geometry(self.item.input, sizes, corner, strides, strides)
        return Overlay(to_grey(picture), known, self.item.geometry is not None or counts == sizes, self.dark)

    def draw_input(
        self, canvas: Canvas, pictures: NDArray[np.uint8], corner: tuple[int, int], tile: tuple[int, int]
    ) -> None:
        """Draw the frames of the input."""
        how = Image.Resampling.NEAREST if tile[0] >= pictures.shape[1] else Image.Resampling.LANCZOS
        indices = [self.input_frame(frame, len(pictures)) for frame in self.frames]
        images = [Image.fromarray(np.ascontiguousarray(pictures[index])) for index in indices]
        resized = [colors.pack_rgb(np.asarray(image.resize(tile[::-1], how))) for image in images]
        self._draw_tiles(canvas, ("input as fed", indices), resized, corner)

    def draw(
        self, canvas: Canvas, pictures: NDArray[np.uint8], corner: tuple[int, int], tile: tuple[int, int]
    ) -> list[Tile]:
        """Draw the frames of the map, its color bar and words; return the tiles."""
        painted = []
        for frame in self.frames:
            part = replace(self.prepared, channels=[frame])
            painted.append(self.over(pictures[self.input_frame(frame, len(pictures))]).painted(part, tile)[0])
        boxes = self._draw_tiles(canvas, (self.title, self.frames), painted, corner)
        small, font = text.get_font(_BAR_SIZE), text.get_font(_FONT_SIZE)
        bar = self.over(pictures[0]).bar(color_bars.shared_bar(self.prepared, ()), self.prepared)
        row = page_layout.draw_bar(canvas, bar, (boxes[0][2] + 8, corner[1]), (_BAR_WIDTH, small)) + 6
        for line in self.lines:
            canvas.write(line, row, corner[1], font, canvas.theme.muted)
            row += font.height + _LEADING
        return replace(self.prepared, channels=self.frames).tiles(boxes)

    def _draw_tiles(
        self,
        canvas: Canvas,
        names: tuple[str, list[int]],
        tiles: Sequence[NDArray[np.uint32]],
        corner: tuple[int, int],
    ) -> list[tuple[int, int, int, int]]:
        """Draw a title and numbered tiles in a row; return the boxes of the tiles."""
        (top, left), title, small = corner, text.get_font(_TITLE_SIZE, bold=True), text.get_font(_BAR_SIZE)
        canvas.write(names[0], top, left, title, canvas.theme.ink)
        top += title.height + 4
        boxes = []
        for number, pixels in zip(names[1], tiles, strict=True):
            rows, columns = pixels.shape
            canvas.write(small.fit(str(number), columns), top, left, small, canvas.theme.muted)
            box = (top + small.height + 2, left, top + small.height + 2 + rows, left + columns)
            canvas.fill((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), canvas.theme.line)
            canvas.pixels[box[0] : box[2], box[1] : box[3]] = pixels
            boxes.append(box)
            left += columns + _GAP
        return boxes
