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

import math
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from actviz.figures import colors, text
from actviz.figures.canvas import LIGHT, Canvas, Theme
from actviz.figures.histograms import FigureHistogram, HistogramPlot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from actviz.figures.colors import RGB
    from actviz.records import Box, Context, Picture

# Text is at least this high where a page is shown 1,600 pixels wide; the smallest font has 10 pixels.
_LEGIBLE, _SHOWN_WIDTH, _SMALLEST_FONT = 9, 1600, 10
# Wider text makes wider pages: a second pass, and no text larger than this.
_PASSES, _LARGEST_GROWTH = 2, 1.5
_WIDEST: ContextVar[float] = ContextVar("widest_page", default=math.inf)

MARGIN = 28
BAR_HEIGHT = 10

_NARROWEST = 600
_THUMBNAIL = (84, 168)
# Wider pages have larger titles, which stay legible when the page is scaled down.
_WIDE, _LARGEST_SCALE = 1300, 2.5
_GAP = 18
_PLOT_GAP = 12
_LEADING = 5
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


class _WidePageError(Exception):
    """A page so wide that its text would be too small on a screen."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.width = width


def legible_scale(width: int, font_scale: float) -> float:
    """Return the factor of text sizes with which text is legible where a page of `width` pixels is shown on a screen.

    At least `font_scale`; smaller text than the default is left as requested.
    """
    needed = math.ceil(_LEGIBLE * width / _SHOWN_WIDTH) / _SMALLEST_FONT
    return font_scale if font_scale < 1 else max(font_scale, min(_LARGEST_GROWTH, needed))


def draw_legibly(draw: Callable[[], Picture], font_scale: float) -> Picture:
    """Return the picture of `draw` with text sizes multiplied by `font_scale`, or more where a page is wide.

    A page that is too wide for its text is recognized before anything is drawn on it.
    """
    factor = font_scale
    for _ in range(_PASSES):
        fixed = factor < 1 or factor >= _LARGEST_GROWTH
        token = _WIDEST.set(math.inf if fixed else factor * _SMALLEST_FONT * _SHOWN_WIDTH / _LEGIBLE)
        try:
            with text.scaled(factor):
                return draw()
        except _WidePageError as page:
            factor = legible_scale(page.width, factor)
        finally:
            _WIDEST.reset(token)
    with text.scaled(factor):
        return draw()


def announce_width(width: int) -> None:
    """Begin again with larger text if a page at least this wide would be illegible; see `draw_legibly`.

    A renderer that knows its width before it reads the values saves this work: 16 of 59 ms for 32 maps of 214 x 320.
    """
    if width > _WIDEST.get():
        raise _WidePageError(width)


def open_page(layout: PageLayout, theme: Theme = LIGHT) -> tuple[Canvas, int, int]:
    """Return a page on which everything but the body is drawn, and the top and left of the body."""
    head, footer, (height, width) = _around_body(layout)
    announce_width(width)
    canvas = Canvas.blank(height, width, theme)
    head.draw(canvas)
    top = MARGIN + head.height + _GAP
    footer.draw(canvas, top + layout.height + _GAP)
    return canvas, top, MARGIN


def page_size(layout: PageLayout) -> tuple[int, int]:
    """Return the height and width in pixels of the page that `open_page` returns."""
    return _around_body(layout)[2]


def _around_body(layout: PageLayout) -> tuple[_PageHead, _PageFooter, tuple[int, int]]:
    """Return heading and footer of a page, and its height and width in pixels."""
    width = max(layout.width, _NARROWEST)
    head, footer = _PageHead.of(layout.heading, width), _PageFooter.of(layout, width)
    height = 2 * MARGIN + head.height + 2 * _GAP + layout.height + footer.height
    return head, footer, (height, width + 2 * MARGIN)


def _scale(width: int) -> float:
    """Return the factor of text sizes on a page of this width, a multiple of 0.25."""
    return min(_LARGEST_SCALE, max(1.0, round(4 * width / _WIDE) / 4))


@dataclass(frozen=True, slots=True)
class _PageHead:
    """The lines of the heading as strings, each with its font and whether it is muted, and the thumbnail."""

    lines: list[list[tuple[str, text.Font, bool]]]
    picture: NDArray[np.uint8] | None

    @classmethod
    def of(cls, heading: PageHeading, width: int) -> _PageHead:
        """Return the heading of a page; class and shape follow the address if they fit, else they have a line."""
        context, scale = heading.context, _scale(width)
        picture = None if context.thumbnail is None else thumbnail(context.thumbnail, scale)
        available = width - (picture.shape[1] + _GAP if picture is not None else 0)
        title = text.get_font(round(_TITLE_SIZE * scale), bold=True)
        plain, small = (text.get_font(round(size * scale)) for size in (_SUBTITLE, _SMALL))
        address, kind, sizes = text.shown(heading.address), text.shown(heading.kind), heading.sizes
        beside = sum(plain.width(fact) + _GAP for fact in (kind, sizes))
        if title.length(address) + beside <= available:
            lines = [[(address, title, False), (kind, plain, True), (sizes, plain, True)]]
        else:
            sizes = plain.fit(sizes, available)
            kind = plain.fit(kind, max(0, available - plain.width(sizes) - _GAP))
            lines = [[(title.fit(address, available), title, False)], [(kind, plain, True), (sizes, plain, True)]]
        fed = f" ({text.shown(context.fed)})" if context.fed else ""
        model, source = text.shown(context.model), text.shown(context.input) + fed
        joined = f" {text.DOT} ".join(words for words in (model, source) if words)
        rest = [joined] if small.length(joined) <= available else [model, source]
        lines += [[(small.fit(words, available), small, True)] for words in rest]
        return cls([[words for words in line if words[0]] for line in lines], picture)

    @property
    def text_height(self) -> int:
        """Height of the lines in pixels."""
        return sum(line[0][1].height for line in self.lines if line) + _LEADING * (len(self.lines) - 1)

    @property
    def height(self) -> int:
        """Height of lines and thumbnail in pixels."""
        return max(self.text_height, self.picture.shape[0] + 2 if self.picture is not None else 0)

    def draw(self, canvas: Canvas) -> None:
        """Draw the thumbnail, and the lines centered beside it."""
        left, theme = MARGIN, canvas.theme
        if self.picture is not None:
            rows, columns = self.picture.shape[:2]
            top = MARGIN + 1
            canvas.fill((top - 1, left, top + rows + 1, left + columns + 2), theme.line)
            canvas.pixels[top : top + rows, left + 1 : left + 1 + columns] = colors.pack_rgb(self.picture)
            left += columns + _GAP
        row = MARGIN + (self.height - self.text_height) // 2
        for line in filter(None, self.lines):
            column, first = left, line[0][1]
            for words, font, muted in line:
                color = theme.muted if muted else theme.ink
                column = canvas.write(words, row + first.ascent - font.ascent, column, font, color) + _GAP
            row += first.height + _LEADING


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
        bar_height = BAR_HEIGHT + 5 + small.height
        words = leading * len(notes)
        head = max(bar_height, words) if beside else bar_height + _LEADING + words
        return cls(bar, small, bar_width, notes, beside, caption, head + 8 + height, plot)

    def draw(self, canvas: Canvas, top: int) -> None:
        small, theme = self.font, canvas.theme
        leading = small.height + _LEADING
        row = top
        if self.bar is not None:
            bottom = draw_bar(canvas, self.bar, (top, MARGIN), (self.bar_width, small))
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

    def _draw_nonfinite_colors(self, canvas: Canvas, bar: ColorBar, corner: tuple[int, int]) -> None:
        small, theme = self.font, canvas.theme
        row, left = corner
        for color, words in bar.nonfinite_colors:
            side = small.ascent - 2
            canvas.fill((row + 2, left, row + 2 + side, left + side), color)
            left = canvas.write(words, row, left + side + 6, small, theme.muted) + _GAP


def draw_bar(canvas: Canvas, bar: ColorBar, corner: tuple[int, int], size: tuple[int, text.Font]) -> int:
    """Draw the colors with ticks, or a block for each level with its label; return the row below them.

    `size` is the width in pixels and the font of the labels.
    """
    (top, left), (width, small) = corner, size
    bottom = top + BAR_HEIGHT + 2
    if not bar.levels:
        steps = (np.arange(width) * colors.STEPS // width).astype(np.uint8)
        _paint_bar(canvas, bar, steps, (top, left - 1, bottom, left + width + 1))
        canvas.write_ticks(bar.ticks, (bottom, left), width, small)
    for index, (step, words) in enumerate(bar.levels):
        begin, wide = left + index * (width // len(bar.levels)), width // len(bar.levels) - 2
        _paint_bar(canvas, bar, np.full(wide, step, np.uint8), (top, begin - 1, bottom, begin + wide + 1))
        label = small.fit(words, wide - 2)
        canvas.write(label, bottom + 3, begin + (wide - small.width(label)) // 2, small, canvas.theme.ink)
    return bottom + 3 + small.height


def _paint_bar(canvas: Canvas, bar: ColorBar, steps: NDArray[np.uint8], box: Box) -> None:
    """Fill a box with one column for each color step, inside a frame of one pixel."""
    top, left, bottom, right = box
    canvas.fill(box, canvas.theme.line)
    canvas.pixels[top + 1 : bottom - 1, left + 1 : right - 1] = colors.steps_to_pixels(steps, bar.table)
    if bar.below is not None:
        middle = top + 1 + BAR_HEIGHT // 2
        canvas.pixels[middle : bottom - 1, left + 1 : right - 1] = colors.steps_to_pixels(steps, bar.below)
