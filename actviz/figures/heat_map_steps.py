"""Heat maps of sequences: a value for each word, drawn on the words, or a strip below the curve of a signal.

::

    7 (sport): occlusion
    the  MATCH  was  [won]  by          each word on the color of its value
    -2 ==== 0 ==== 2
    probability 0.99, rank 1 of 10
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.figures import heat_map_words, page_layout, text
from actviz.figures.canvas import theme_of
from actviz.figures.renderers import color_bars, prepared_maps
from actviz.records import Activation, Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.figures.canvas import Canvas
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Box, Context, HeatMap, Picture, Style

_WIDTH, _BAR_WIDTH = 760, 320
_WORD_SIZE, _TITLE_SIZE, _FONT_SIZE, _BAR_SIZE = 15, 13, 12, 11
_PAD, _GAP, _PANEL_GAP, _LEADING = 5, 4, 24, 4
_CURVE, _STRIP = 80, 26
_MOST_WORDS = 400
_BLACK, _WHITE, _MIDDLE = (0, 0, 0), (255, 255, 255), 140
_LUMINANCE = (0.299, 0.587, 0.114)


def draw_steps(maps: Sequence[HeatMap], context: Context, style: Style) -> Picture:
    """Draw maps with one value for each step of the input.

    Raises
    ------
    LimitError
        If the figure would be too large.
    """
    panels = [_StepPanel.of(item, maps, context, style) for item in maps]
    layout = page_layout.PageLayout(
        page_layout.PageHeading(*heat_map_words.heading(maps, context.labels), context),
        None,
        heat_map_words.caption(maps, context.labels, None),
        sum(panel.height + _PANEL_GAP for panel in panels) - _PANEL_GAP,
        _WIDTH,
    )
    canvas, top, left = page_layout.open_page(layout, theme_of(dark=style.dark))
    tiles: list[Tile] = []
    for number, panel in enumerate(panels):
        tiles.append(panel.draw(canvas, (top, left))._replace(channel=number))
        top += panel.height + _PANEL_GAP
    return canvas.picture(tiles, heat_map_words.record(maps, [panel.prepared for panel in panels]))


@dataclass(frozen=True, slots=True)
class _StepPanel:
    """One map, its title and the lines below it; `boxes` are those of the words, relative to the panel."""

    prepared: PreparedMaps
    title: str
    lines: list[str]
    words: tuple[str, ...]
    boxes: list[Box]
    signal: NDArray[Any] | None

    @classmethod
    def of(cls, item: HeatMap, maps: Sequence[HeatMap], context: Context, style: Style) -> _StepPanel:
        values = np.asarray(item.values)
        activation = Activation(item.layer, item.method, values[None, None], ("batch", "row", "column"))
        plain = replace(style, scale="filter", channels=None, sort=None, top=None, columns=None)
        prepared = prepared_maps.prepare(activation, values[None, None], plain, heat_map_words.scale_of(item, "filter"))
        title, lines = heat_map_words.panel(item, maps, context.labels)
        count = len(values)
        words = context.steps if len(context.steps) == count else ()
        if not words and count <= _MOST_WORDS and context.signal is None:
            words = tuple(map(str, range(count)))
            title += f" (steps of {text.shown(item.layer, 40)})"
        shown = tuple(text.shown(word, 40) or " " for word in words)
        signal = context.signal if not words else None
        font = text.get_font(_FONT_SIZE)
        wrapped = [part for line in lines for part in text.wrap([line], font, _WIDTH)]
        return cls(prepared, title, wrapped, shown, _flow(shown), signal)

    @property
    def _body(self) -> int:
        """Height of the words, or of curve and strip."""
        if self.boxes:
            return max(box[2] for box in self.boxes)
        return _STRIP + (_CURVE + _GAP if self.signal is not None else 0)

    @property
    def height(self) -> int:
        """Height of the panel in pixels."""
        title, font, small = (text.get_font(size) for size in (_TITLE_SIZE, _FONT_SIZE, _BAR_SIZE))
        bar = 8 + page_layout.BAR_HEIGHT + 5 + small.height + 6
        return title.height + 6 + self._body + bar + len(self.lines) * (font.height + _LEADING)

    def draw(self, canvas: Canvas, corner: tuple[int, int]) -> Tile:
        """Draw the panel; return the tile of all steps."""
        (top, left), title = corner, text.get_font(_TITLE_SIZE, bold=True)
        canvas.write(title.fit(self.title, _WIDTH), top, left, title, canvas.theme.ink)
        top += title.height + 6
        pixels = self.prepared.painted()[0, 0]
        if self.boxes:
            self._draw_words(canvas, pixels, (top, left))
        else:
            self._draw_strip(canvas, pixels, (top, left))
        bottom = top + self._body
        (tile,) = self.prepared.tiles([(top, left, bottom, left + _WIDTH)])
        small, font = text.get_font(_BAR_SIZE), text.get_font(_FONT_SIZE)
        bar = color_bars.shared_bar(self.prepared, ())
        row = page_layout.draw_bar(canvas, bar, (bottom + 8, left), (_BAR_WIDTH, small)) + 6
        for line in self.lines:
            canvas.write(line, row, left, font, canvas.theme.muted)
            row += font.height + _LEADING
        return tile

    def _draw_words(self, canvas: Canvas, pixels: NDArray[np.uint32], corner: tuple[int, int]) -> None:
        font = text.get_font(_WORD_SIZE)
        colored = pixels[:, None].view("u1").reshape(-1, 4)[:, :3]
        for word, box, color in zip(self.words, self.boxes, colored.tolist(), strict=True):
            top, left, bottom, right = (edge + corner[index % 2] for index, edge in enumerate(box))
            ground = (color[0], color[1], color[2])
            canvas.fill((top, left, bottom, right), ground)
            ink = _BLACK if np.dot(color, _LUMINANCE) > _MIDDLE else _WHITE
            canvas.write_on(font.fit(word, right - left - 2 * _PAD), (top + 2, left + _PAD), font, (ink, ground))

    def _draw_strip(self, canvas: Canvas, pixels: NDArray[np.uint32], corner: tuple[int, int]) -> None:
        top, left = corner
        if self.signal is not None:
            canvas.draw_curve(np.asarray(self.signal, np.float64), (top, left, top + _CURVE, left + _WIDTH))
            top += _CURVE + _GAP
        columns = np.arange(_WIDTH) * len(pixels) // _WIDTH
        canvas.pixels[top : top + _STRIP, left : left + _WIDTH] = pixels[columns]


def _flow(words: Sequence[str]) -> list[Box]:
    """Return the boxes of words that are laid out in lines."""
    font = text.get_font(_WORD_SIZE)
    height, boxes, top, left = font.height + 4, list["Box"](), 0, 0
    for word in words:
        width = min(_WIDTH, font.width(word) + 2 * _PAD)
        if left and left + width > _WIDTH:
            top, left = top + height + _GAP, 0
        boxes.append((top, left, top + height, left + width))
        left += width + _GAP
    return boxes
