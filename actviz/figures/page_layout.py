"""The layout of a page: heading, thumbnail, color bar and caption around the body.

A renderer passes the size of its body, draws into the page that `open_page` returns, and gets the
picture from `Canvas.picture`::

    margin
      [thumbnail]  address   class  shape
                   model file . input (fed)
      body
      [color bar] notes
      caption
    margin
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from actviz.figures import colors, text
from actviz.figures.canvas import LIGHT, Canvas, Theme, check_size, theme_of
from actviz.figures.histograms import FigureHistogram, HistogramPlot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from actviz.figures.colors import RGB
    from actviz.records import Context

__all__ = [
    "MARGIN",
    "Canvas",
    "ColorBar",
    "FigureHistogram",
    "PageHeading",
    "PageLayout",
    "Theme",
    "check_size",
    "nonfinite_legend",
    "open_page",
    "page_size",
    "theme_of",
    "thumbnail",
]

MARGIN = 28

_NARROWEST = 600
_THUMBNAIL = (84, 168)
# Wider pages have larger titles, which stay legible when the page is scaled down.
_WIDE, _LARGEST_SCALE = 1300, 2.5
_GAP = 18
_PLOT_GAP = 12
_BAR_HEIGHT = 10
_TITLE_SIZE, _SUBTITLE, _SMALL = 20, 14, 12


@dataclass(frozen=True, slots=True)
class PageHeading:
    """The heading of a page: `address`, `kind` (class) and `sizes` (output shape) of the layer."""

    address: str
    kind: str
    sizes: str
    context: Context


@dataclass(frozen=True, slots=True)
class ColorBar:
    """A color bar with ticks and notes.

    Attributes
    ----------
    table
        The colormap.
    ticks
        ``(position, label)``, the position along the bar from 0 to 1.
    notes
        Lines of text beside or below the bar.
    nonfinite_colors
        ``(color, name)`` of the kinds of non-finite values that occur.
    levels
        ``(color step, label)`` of a few discrete values, drawn as one block each.
    below
        The colormap of the lower half, if the color of a value depends on the picture below it.
    """

    table: colors.ColorTable
    ticks: tuple[tuple[float, str], ...]
    notes: tuple[str, ...]
    nonfinite_colors: tuple[tuple[RGB, str], ...] = ()
    levels: tuple[tuple[int, str], ...] = ()
    below: colors.ColorTable | None = None


def nonfinite_legend(
    table: colors.ColorTable, arrays: Sequence[NDArray[np.floating[Any]]]
) -> tuple[tuple[RGB, str], ...]:
    """Return color and name of NaN, +infinity and -infinity, those of them that occur in the arrays."""
    names = ("NaN", f"+{text.INFINITY}", f"{text.MINUS}{text.INFINITY}")
    tests: tuple[Callable[[Any], Any], ...] = (np.isnan, np.isposinf, np.isneginf)
    kinds = zip(table.nonfinite_colors, names, tests, strict=True)
    return tuple((color, name) for color, name, test in kinds if any(test(values).any() for values in arrays))


@dataclass(frozen=True, slots=True)
class PageLayout:
    """The contents of a page around its body, and the size of the body in pixels."""

    heading: PageHeading
    bar: ColorBar | None
    caption: tuple[str, ...]
    height: int
    width: int
    histogram: FigureHistogram | None = None


def open_page(layout: PageLayout, theme: Theme | None = None) -> tuple[Canvas, int, int]:
    """Return a page on which everything but the body is drawn, and the top and left of the body."""
    theme = theme or LIGHT
    width = max(layout.width, _NARROWEST)
    scale = _scale(width)
    picture = None
    if layout.heading.context.thumbnail is not None:
        picture = thumbnail(layout.heading.context.thumbnail, scale)
    lines = _heading_lines(layout.heading, picture, width, scale)
    head = _heading_height(lines, picture)
    footer = _PageFooter.of(layout, width)
    top = MARGIN + head + _GAP
    height = top + layout.height + _GAP + footer.height + MARGIN
    canvas = Canvas.blank(height, width + 2 * MARGIN, theme)
    _draw_heading(canvas, lines, picture, head)
    footer.draw(canvas, top + layout.height + _GAP)
    return canvas, top, MARGIN


def page_size(layout: PageLayout) -> tuple[int, int]:
    """Return the height and width in pixels of the page that `open_page` returns."""
    width = max(layout.width, _NARROWEST)
    scale = _scale(width)
    shown = layout.heading.context.thumbnail
    picture = None if shown is None else thumbnail(shown, scale)
    head = _heading_height(_heading_lines(layout.heading, picture, width, scale), picture)
    around = 2 * MARGIN + head + 2 * _GAP + _PageFooter.of(layout, width).height
    return around + layout.height, width + 2 * MARGIN


def _scale(width: int) -> float:
    """Return the factor of text sizes on a page of this width, a multiple of 0.25."""
    return min(_LARGEST_SCALE, max(1.0, round(4 * width / _WIDE) / 4))


_StyledText = tuple[str, text.Font, bool]


def _heading_lines(
    heading: PageHeading, picture: NDArray[np.uint8] | None, width: int, scale: float
) -> list[list[_StyledText]]:
    """Return the lines of the heading as strings, each with its font and whether it is muted.

    Class and shape follow the address if they fit, otherwise they have their own line.
    """
    available = width - (picture.shape[1] + _GAP if picture is not None else 0)
    title = text.get_font(round(_TITLE_SIZE * scale), bold=True)
    plain, small = (text.get_font(round(size * scale)) for size in (_SUBTITLE, _SMALL))
    address = text.shown(heading.address)
    facts = [text.shown(heading.kind), heading.sizes]
    beside = sum(plain.width(fact) + _GAP for fact in facts)
    context = heading.context
    fed = f" ({text.shown(context.fed)})" if context.fed else ""
    model = text.shown(context.model)
    source = text.shown(context.input) + fed
    if title.length(address) + beside <= available:
        first = [(address, title, False), *((fact, plain, True) for fact in facts)]
        lines = [first]
    else:
        shape_ = plain.fit(facts[1], available)
        kind = plain.fit(facts[0], max(0, available - plain.width(shape_) - _GAP))
        lines = [
            [(title.fit(address, available), title, False)],
            [(kind, plain, True), (shape_, plain, True)],
        ]
    joined = f" {text.DOT} ".join(words for words in (model, source) if words)
    if small.length(joined) <= available:
        lines.append([(joined, small, True)])
    else:
        lines.append([(small.fit(model, available), small, True)])
        lines.append([(small.fit(source, available), small, True)])
    return [[words for words in line if words[0]] for line in lines]


_LEADING = 5


def _heading_height(lines: list[list[_StyledText]], picture: NDArray[np.uint8] | None) -> int:
    words = sum(line[0][1].height for line in lines if line) + _LEADING * (len(lines) - 1)
    return max(words, picture.shape[0] + 2 if picture is not None else 0)


def _draw_heading(
    canvas: Canvas,
    lines: list[list[_StyledText]],
    picture: NDArray[np.uint8] | None,
    height: int,
) -> None:
    left = MARGIN
    theme = canvas.theme
    if picture is not None:
        rows, columns = picture.shape[:2]
        top = MARGIN + 1
        canvas.fill((top - 1, left, top + rows + 1, left + columns + 2), theme.line)
        canvas.pixels[top : top + rows, left + 1 : left + 1 + columns] = colors.pack_rgb(picture)
        left += columns + _GAP
    row = MARGIN
    words_height = _heading_height(lines, None)
    row += max(0, (height - words_height) // 2)
    for line in lines:
        if not line:
            continue
        column = left
        baseline = line[0][1].ascent
        for words, font, muted in line:
            color = theme.muted if muted else theme.ink
            column = canvas.write(words, row + baseline - font.ascent, column, font, color)
            column += _GAP
        row += line[0][1].height + _LEADING


def thumbnail(picture: NDArray[np.uint8], scale: float = 1.0) -> NDArray[np.uint8]:
    """Return the input picture in the size of a thumbnail, uint8 ``(row, column, RGB)``.

    The aspect ratio is kept. A small picture is enlarged by an integer factor without interpolation,
    a large one is reduced with a Lanczos filter.
    """
    highest, widest = (round(side * scale) for side in _THUMBNAIL)
    rows, columns = picture.shape[:2]
    factor = min(highest // rows, widest // columns)
    if factor >= 1:
        return picture.repeat(factor, axis=0).repeat(factor, axis=1)
    share = min(highest / rows, widest / columns)
    size = max(1, round(columns * share)), max(1, round(rows * share))
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


@dataclass(frozen=True, slots=True)
class _PageFooter:
    """The layout of color bar, histogram and caption for a certain width."""

    bar: ColorBar | None
    font: text.Font
    bar_width: int
    notes: list[str]
    beside: bool
    caption: list[str]
    height: int
    plot: HistogramPlot | None = None

    @classmethod
    def of(cls, layout: PageLayout, width: int) -> _PageFooter:
        scale = _scale(width)
        small = text.get_font(round(_SMALL * scale))
        caption = text.wrap(layout.caption, small, width)
        leading = small.height + _LEADING
        height = leading * len(caption)
        plot = HistogramPlot.of(layout.histogram, width, small, scale) if layout.histogram else None
        height += plot.height + _PLOT_GAP if plot else 0
        bar = layout.bar
        if bar is None:
            return cls(None, small, 0, [], beside=False, caption=caption, height=height, plot=plot)
        bar_width = colors.STEPS * max(1, round(scale))
        available = width - bar_width - 3 * _GAP
        notes = [*bar.notes, *([""] if bar.nonfinite_colors else [])]
        beside = all(small.width(note) <= available for note in notes)
        if not beside:
            notes = [line for note in bar.notes for line in text.wrap([note], small, width)]
            notes += [""] if bar.nonfinite_colors else []
        bar_height = _BAR_HEIGHT + 5 + small.height
        words = leading * len(notes)
        head = max(bar_height, words) if beside else bar_height + _LEADING + words
        return cls(bar, small, bar_width, notes, beside, caption, head + 8 + height, plot)

    def draw(self, canvas: Canvas, top: int) -> None:
        small, theme = self.font, canvas.theme
        leading = small.height + _LEADING
        row = top
        if self.bar is not None:
            bottom = self._draw_bar(canvas, self.bar, top)
            left = MARGIN
            if self.beside:
                left += self.bar_width + 2 * _GAP
            else:
                row = bottom + _LEADING
            for note in self.notes[: len(self.notes) - bool(self.bar.nonfinite_colors)]:
                canvas.write(note, row, left, small, theme.muted)
                row += leading
            if self.bar.nonfinite_colors:
                self._draw_nonfinite_colors(canvas, self.bar, (row, left))
                row += leading
            row = max(row, bottom) + 8
        if self.plot is not None:
            self.plot.draw(canvas, row + _PLOT_GAP // 2, MARGIN)
            row += self.plot.height + _PLOT_GAP
        for line in self.caption:
            canvas.write(line, row, MARGIN, small, theme.ink)
            row += leading

    def _draw_bar(self, canvas: Canvas, bar: ColorBar, top: int) -> int:
        if bar.levels:
            return self._draw_levels(canvas, bar, top)
        small, theme = self.font, canvas.theme
        width, left = self.bar_width, MARGIN
        steps = (np.arange(width) * colors.STEPS // width).astype(np.uint8)
        bottom = top + _BAR_HEIGHT + 2
        canvas.fill((top, left - 1, bottom, left + width + 1), theme.line)
        canvas.pixels[top + 1 : bottom - 1, left : left + width] = colors.steps_to_pixels(steps, bar.table)
        if bar.below is not None:
            middle = top + 1 + _BAR_HEIGHT // 2
            canvas.pixels[middle : bottom - 1, left : left + width] = colors.steps_to_pixels(steps, bar.below)
        canvas.write_ticks(bar.ticks, (bottom, left), width, small)
        return bottom + 3 + small.height

    def _draw_levels(self, canvas: Canvas, bar: ColorBar, top: int) -> int:
        """Draw a block of color for each discrete value, its label below it."""
        small, theme = self.font, canvas.theme
        bottom, left = top + _BAR_HEIGHT + 2, MARGIN
        width = self.bar_width // len(bar.levels)
        for step, words in bar.levels:
            block = np.array([[step]], dtype=np.uint8)
            canvas.fill((top, left - 1, bottom, left + width - 1), theme.line)
            canvas.pixels[top + 1 : bottom - 1, left : left + width - 2] = colors.steps_to_pixels(block, bar.table)
            if bar.below is not None:
                middle = top + 1 + _BAR_HEIGHT // 2
                canvas.pixels[middle : bottom - 1, left : left + width - 2] = colors.steps_to_pixels(block, bar.below)
            shown = small.fit(words, width - 4)
            canvas.write(shown, bottom + 3, left + (width - 2 - small.width(shown)) // 2, small, theme.ink)
            left += width
        return bottom + 3 + small.height

    def _draw_nonfinite_colors(self, canvas: Canvas, bar: ColorBar, corner: tuple[int, int]) -> None:
        small, theme = self.font, canvas.theme
        row, left = corner
        for color, words in bar.nonfinite_colors:
            side = small.ascent - 2
            canvas.fill((row + 2, left, row + 2 + side, left + side), color)
            left = canvas.write(words, row, left + side + 6, small, theme.muted) + _GAP
