"""The page of the strongest inputs of a layer: a row for each channel.

::

    channel 12          ▂▅█▃        [crop]      [crop]      [crop]
    fires on 63%        0 .. 5.7    5.71        5.02        4.87
    7 of 9 are zebras               zebra1.png  zebra7.png  horse.png
                                    (3, 14)     (8, 2) ×2   (5, 5)

All crops of a layer have one scale, and all histograms one axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from actviz.figures import colors, page_layout, text
from actviz.records import Context, Tile
from actviz.statistics.strongest_inputs import SIDE, bin_edges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.figures.canvas import Canvas
    from actviz.records import Box, Picture

TILE = 96
"""Pixels of the longer side of a crop that is enlarged; a larger one is reduced to `LARGEST`."""
LARGEST = 128
_WORDS = 150
_LABEL, _HISTOGRAM, _BARS = 170, 130, 46
_GAP, _ROW_GAP, _LEADING = 12, 18, 3
_FONT, _NAME = 11, 13
_BAR, _MARK = (86, 130, 178), (176, 0, 32)


@dataclass(frozen=True, slots=True)
class StrongestTile:
    """One input: its strength, name and place as text, and its crop, uint8 ``(row, column, RGB)``, or its words.

    `marked` is the index of the word that is the strongest step, -1 for none. `whole` is a key of the whole picture that
    the crop is from, `box` where it is in it; both are for pages that show it.
    """

    strength: float
    name: str
    place: str
    picture: NDArray[np.uint8] | None = None
    words: tuple[str, ...] = ()
    marked: int = -1
    whole: str = ""
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class StrongestRow:
    """A channel at one end of its values, the share of inputs on which it fires, and its strongest inputs.

    `notes` are lines about it; `histogram`, ``(bin,)``, counts inputs.
    """

    channel: int
    title: str
    share: float
    notes: tuple[str, ...]
    histogram: NDArray[np.int64]
    tiles: tuple[StrongestTile, ...]


@dataclass(frozen=True, slots=True)
class StrongestPage:
    """The heading, the rows and the lines of the caption; `ranks` is the number of inputs of a row."""

    heading: page_layout.PageHeading
    rows: tuple[StrongestRow, ...]
    caption: tuple[str, ...]
    ranks: int


def heading(
    address: str, kind: str, sizes: Sequence[int | None] | None, model: str, inputs: str
) -> page_layout.PageHeading:
    """Return the heading of a page: the layer, the model, and a line about the inputs."""
    shape = "" if sizes is None else f" {text.TIMES} ".join("?" if size is None else str(size) for size in sizes[1:])
    return page_layout.PageHeading(address, kind, shape, Context(model, inputs, ""))


def cut_out(picture: NDArray[np.uint8], box: Box | None, ground: colors.RGB = (247, 247, 247)) -> NDArray[np.uint8]:
    """Return a box of a picture ``(row, column, RGB)``: its own pixels, and `ground` outside of it.

    Along an axis on which the box is longer than the picture, the whole picture is taken. ``None`` is all of it.
    """
    if box is None:
        return picture
    ends = []
    for first, end, size in ((box[0], box[2], picture.shape[0]), (box[1], box[3], picture.shape[1])):
        ends.append((0, size) if end - first >= size else (first, end))
    (top, bottom), (left, right) = ends
    crop = np.full((bottom - top, right - left, 3), ground, np.uint8)
    inner = picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    row, column = max(0, -top), max(0, -left)
    crop[row : row + inner.shape[0], column : column + inner.shape[1]] = inner
    return crop


def scaled(pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Return pictures at one scale: enlarged by a whole factor, or reduced by averaging, for the largest of them."""
    from PIL import Image

    side = max((max(picture.shape[:2]) for picture in pictures), default=1)
    if side <= LARGEST:
        factor = max(1, TILE // side)
        return [picture.repeat(factor, axis=0).repeat(factor, axis=1) for picture in pictures]
    sizes = [tuple(max(1, round(length * LARGEST / side)) for length in picture.shape[1::-1]) for picture in pictures]
    return [
        np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
        for picture, size in zip(pictures, sizes, strict=True)
    ]


def draw_strongest(page: StrongestPage, *, dark: bool = False) -> Picture:
    """Draw the page; its tiles are the crops, with their strength as both ends of their range."""
    from actviz.figures.canvas import theme_of

    drawn = iter(scaled([tile.picture for row in page.rows for tile in row.tiles if tile.picture is not None]))
    pictures = [[next(drawn) if tile.picture is not None else None for tile in row.tiles] for row in page.rows]
    flat = [picture for row in pictures for picture in row if picture is not None]
    wide = max((picture.shape[1] for picture in flat), default=0)
    has_words = any(tile.words for row in page.rows for tile in row.tiles)
    width = max(TILE, wide, _WORDS if has_words else 0)
    font = text.get_font(_FONT)
    line = font.height + _LEADING
    crop = max((picture.shape[0] for picture in flat), default=0)
    body = max(crop, 5 * line if has_words else 0)
    height = max(body + 3 * line, text.get_font(_NAME).height + _LEADING + 3 * line, _BARS + 2 * line) + _ROW_GAP
    layout = page_layout.PageLayout(
        page.heading,
        None,
        page.caption,
        max(0, height * len(page.rows) - _ROW_GAP),
        _LABEL + _HISTOGRAM + page.ranks * (width + _GAP),
    )
    canvas, top, left = page_layout.open_page(layout, theme_of(dark=dark))
    shown = shown_bins(page)
    tiles: list[Tile] = []
    for row, of_row in zip(page.rows, pictures, strict=True):
        _write_label(canvas, row, top, left)
        _draw_histogram(canvas, row.histogram, shown, (top, left + _LABEL))
        for rank, (tile, picture) in enumerate(zip(row.tiles, of_row, strict=True)):
            corner = top, left + _LABEL + _HISTOGRAM + rank * (width + _GAP)
            if picture is not None:
                bottom, right = corner[0] + picture.shape[0], corner[1] + picture.shape[1]
                canvas.pixels[corner[0] : bottom, corner[1] : right] = colors.pack_rgb(picture)
                tiles.append(Tile(row.channel, (*corner, bottom, right), tile.strength, tile.strength, "live"))
            elif tile.words:
                _write_words(canvas, tile, corner, width)
            words = (text.number(tile.strength), text.shown(tile.name), tile.place)
            for number, string in enumerate(words):
                color = canvas.theme.muted if number else canvas.theme.ink
                canvas.write(font.fit(string, width), top + body + _LEADING + number * line, corner[1], font, color)
        top += height
    return canvas.picture(tiles, {})


def _write_label(canvas: Canvas, row: StrongestRow, top: int, left: int) -> None:
    bold, font = text.get_font(_NAME, bold=True), text.get_font(_FONT)
    canvas.write(bold.fit(text.shown(row.title), _LABEL - _GAP), top, left, bold, canvas.theme.ink)
    top += bold.height + _LEADING
    for note in row.notes:
        canvas.write(font.fit(text.shown(note), _LABEL - _GAP), top, left, font, canvas.theme.muted)
        top += font.height + _LEADING


def _draw_histogram(canvas: Canvas, histogram: NDArray[np.int64], shown: range, corner: tuple[int, int]) -> None:
    """Draw the counts of the bins `shown` as bars, the highest of full height, and the two ends of the axis."""
    (top, left), width = corner, _HISTOGRAM - 2 * _GAP
    canvas.fill((top, left, top + _BARS, left + width), canvas.theme.ground)
    counts = histogram[shown.start : shown.stop]
    edges = np.linspace(0, width, len(counts) + 1).round().astype(int)
    for count, begin, end in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            length = max(1, round(_BARS * count / int(counts.max())))
            canvas.fill((top + _BARS - length, left + begin, top + _BARS, left + max(begin + 1, end - 1)), _BAR)
    font = text.get_font(_FONT)
    ends = ends_of(shown)
    canvas.write(ends[0], top + _BARS + _LEADING, left, font, canvas.theme.muted)
    begin = left + width - font.width(ends[1])
    if begin > left + font.width(ends[0]) + _GAP:
        canvas.write(ends[1], top + _BARS + _LEADING, begin, font, canvas.theme.muted)


def shown_bins(page: StrongestPage) -> range:
    """Return the bins from the first to the last that any row uses."""
    used = sum((row.histogram for row in page.rows), np.zeros(2 * SIDE + 1, np.int64)).nonzero()[0]
    return range(int(used[0]), int(used[-1]) + 1) if used.size else range(SIDE, SIDE + 1)


def ends_of(shown: range) -> tuple[str, str]:
    """Return the lower bound of the first and the upper bound of the last of some bins, as text."""
    return text.number(_bound(shown.start, upper=False), 2), text.number(_bound(shown.stop - 1, upper=True), 2)


def _bound(index: int, *, upper: bool) -> float:
    """Return the lower or the upper bound of a bin of a histogram."""
    if index == SIDE:
        return 0.0
    edges = np.append(bin_edges(), 2.0 ** (SIDE // 4))
    magnitude = abs(index - SIDE) - 1
    return float(edges[magnitude + upper]) if index > SIDE else -float(edges[magnitude + 1 - upper])


def _write_words(canvas: Canvas, tile: StrongestTile, corner: tuple[int, int], width: int) -> None:
    """Write words line by line, the marked one in bold and red; at most five lines."""
    font, bold = text.get_font(_FONT), text.get_font(_FONT, bold=True)
    (top, left), line = corner, font.height + _LEADING
    column, row = left, top
    for index, word in enumerate(tile.words):
        used = bold if index == tile.marked else font
        string = used.fit(text.shown(word), width)
        if column > left and column + used.width(string) > left + width:
            column, row = left, row + line
        if row >= top + 5 * line:
            return
        color = _MARK if index == tile.marked else canvas.theme.ink
        column = canvas.write(string, row, column, used, color) + font.width(" ")
