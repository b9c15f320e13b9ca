"""Sheets: many layers of one input on one page, one row for each layer.

::

    [input]  model                          5 layers, page 1 of 2
    address   class  shape   8 of 64 filters
     3 [tile]  17 [tile]  40 [tile] ...

Tiles have a common size, so values cannot be read back from a sheet. Layers, and channels that the user selected,
continue on further pages; pages of layers are at most as large as a screen. A sheet that must be one page has smaller
tiles, and then fewer for each layer, until one page holds all layers.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from actviz.errors import LimitError, UsageError
from actviz.figures import page_layout, sheet_bars, sheet_page, sheet_row, sheet_row_drawing, text
from actviz.figures.canvas import theme_of
from actviz.figures.sheet_page import Sheet, SheetPage
from actviz.figures.sheet_row import RowPart, TileLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actviz.figures.sheet_row import SheetRow
    from actviz.records import Activation, Context, Picture, Style, Tile

STRONGEST = 8

_SIDES = (104, 88, 72, 60, 48, 40)
# Tile sizes if each layer is one map.
_ALONE = (400, 320, 240, 180)
# Numbers of tiles for each layer if more do not fit in the smallest size.
_FEWER = (6, 5, 4, 3, 2, 1)
# The text of a row needs as much width as three tiles.
_FEWEST = 3
_BAND_GAP, _COLUMN_GAP = 20, 40
_TALL, _MOST_COLUMNS = 1.4, 12
_MEGA = 1_000_000
# For sheets of several pages: tile size, aspect ratio of a page, and candidates for tiles in a row.
_PAGE_SIDE, _PAGE_ASPECT, _PAGE_ROW = 56, 0.75, (8, 16, 32)
# The largest page of layers, height and width, and the tile sizes and numbers of columns of several.
_SCREEN = 1200, 1920
# A sheet that fits one page with the third tile size has no second page for its last layers.
_ONE_PAGE_SIDES = 3
# Tiles in the narrowest column of such a page, whose text needs room.
_LEAST_WIDE = 5
_SCREEN_SIDES, _SCREEN_COLUMNS = (88, 72, 60, 48, 40), (2, 1)
_LONGEST_PAGING = ", page 9,999 of 9,999"


def draw_sheet(activations: Sequence[Activation], index: int, context: Context, style: Style) -> Picture:
    """Draw entry `index` of the batch of every activation on one page; see `plan_pages`.

    Raises
    ------
    LimitError
        Also if the selected channels need several pages.
    """
    pages = plan_pages(activations, index, context, style, one_page=True)
    if len(pages) > 1:
        raise LimitError(f"{len(pages)} pages are needed; ask for fewer channels or a larger --max-megapixels.")
    return pages[0]()


def plan_pages(
    activations: Sequence[Activation], index: int, context: Context, style: Style, *, one_page: bool = False
) -> list[Callable[[], Picture]]:
    """Return a function for each page that draws it, for entry `index` of the batch of all activations.

    By default the 8 strongest channels of each layer are drawn (see `style.channels`, `style.top` and
    `style.sort`), and all units of a vector as a strip. A page has at most `style.megapixels`.
    With `one_page`, layers do not continue on further pages. `Tile.address` is the layer.

    Raises
    ------
    UsageError
        If no activation can be drawn, or the style is invalid.
    LimitError
        If the layers do not fit the page.
    """
    requested = style.channels is not None or style.top is not None
    style = replace(style, bare=False, columns=None, zoom=None)
    if not requested:
        # A reduction uses all channels.
        top = STRONGEST if style.reduce is None else None
        style = replace(style, top=top)
    drawable = [activation for activation in activations if sheet_row.accepts(activation)]
    # The sequences of a page have one orientation.
    down = max(map(sheet_row.steps_of, drawable), default=0) <= sheet_row.STEPS_DOWN
    rows = [sheet_row.prepare(item, index, context, style, steps_down=down) for item in drawable]
    sheet_rows = [row for row in rows if row is not None]
    if not sheet_rows:
        raise UsageError("none of the layers holds numbers that can be drawn; choose others with --layer.")
    total = len(sheet_page.layer_names(activation.address for activation in activations))
    sheet = Sheet(sheet_rows, context, style, total, requested)
    sheet, pages, words = _legible_plan(sheet, one_page=one_page)
    return [partial(_draw, sheet, page, (number, len(pages)), words) for number, page in enumerate(pages, 1)]


def _draw(sheet: Sheet, page: SheetPage, numbering: tuple[int, int], words: Sequence[str]) -> Picture:
    """Draw a page; `numbering` is its number and the number of pages."""
    with text.scaled(sheet.style.font_scale):
        return _draw_scaled(sheet, page, numbering, words)


def _draw_scaled(sheet: Sheet, page: SheetPage, numbering: tuple[int, int], words: Sequence[str]) -> Picture:
    number, count = numbering
    where = f", page {number} of {count}" if count > 1 else ""
    canvas, top, left = page_layout.open_page(
        sheet_page.layout(sheet, page, where, words), theme_of(dark=sheet.style.dark)
    )
    tiles: list[Tile] = []
    for part in page.parts:
        on_page = replace(part, corner=(top + part.corner[0], left + part.corner[1]))
        tiles += sheet_row_drawing.draw(canvas, on_page, page.limits)
    bars = sheet_bars.bars_of(part.row.prepared for part in page.parts)
    sheet_bars.draw(canvas, bars, (top + page.height, left), page.width)
    rows = {part.row.activation.address: part.row for part in page.parts}
    layers = {address: row.prepared.record(row.style) for address, row in rows.items()}
    paging = {"page": number, "pages": count} if count > 1 else {}
    return canvas.picture(tiles, {"reduced": True, "layers": layers} | paging)


def _legible_plan(sheet: Sheet, *, one_page: bool) -> tuple[Sheet, list[SheetPage], list[str]]:
    """Return a sheet with text sizes for the width of its pages, its pages, and notes on how they were made to fit."""
    with text.scaled(sheet.style.font_scale):
        pages, words = _plan(sheet) if sheet.requested or one_page else (_screens(sheet), [])
        widest = max(page_layout.page_size(sheet_page.layout(sheet, page))[1] for page in pages)
    scale = page_layout.legible_scale(widest, sheet.style.font_scale)
    if one_page or scale == sheet.style.font_scale:
        return sheet, pages, words
    sheet = replace(sheet, style=replace(sheet.style, font_scale=scale))
    with text.scaled(scale):
        pages, words = _plan(sheet) if sheet.requested else (_screens(sheet), [])
    return sheet, pages, words


def _plan(sheet: Sheet) -> tuple[list[SheetPage], list[str]]:
    """Return the pages, and notes on how they were made to fit."""
    sheet_rows, style, requested = sheet.sheet_rows, sheet.style, sheet.requested
    budget = style.megapixels * _MEGA
    most = max(row.count for row in sheet_rows)
    per_row = next((count for count in _PAGE_ROW if most <= count * count), _PAGE_ROW[-1]) if requested else STRONGEST
    candidates = [TileLimits(side, per_row) for side in _SIDES]
    if style.reduce is not None and most == 1:
        candidates = [TileLimits(side, 1) for side in _ALONE] + candidates
    for limits in candidates:
        page = _arranged(sheet_rows, limits)
        if _area(sheet, page) <= budget:
            return [page], []
    if requested:
        across = int(math.sqrt(budget * _PAGE_ASPECT)) // (_PAGE_SIDE + sheet_row.GAP)
        return list(_paged(sheet, TileLimits(_PAGE_SIDE, max(STRONGEST, min(across, most))))), []
    for fewer in _FEWER:
        some = [row.first(fewer) for row in sheet_rows]
        page = _arranged(some, TileLimits(_SIDES[-1], max(fewer, _FEWEST)))
        if _area(sheet, page, [_shrunk(fewer, style)]) <= budget:
            return [page], [_shrunk(fewer, style)]
    raise LimitError(
        f"a sheet of {len(sheet_rows)} layers needs more than {style.megapixels:g} megapixels;"
        " choose fewer layers with --layer, or allow more with --max-megapixels."
    )


def _shrunk(fewer: int, style: Style) -> str:
    return f"{fewer} of a layer, to fit {style.megapixels:g} megapixels (--max-megapixels)"


def _area(sheet: Sheet, page: SheetPage, words: Sequence[str] = ()) -> int:
    """Return the number of pixels of a page including heading and caption."""
    height, width = page_layout.page_size(sheet_page.layout(sheet, page, "", words))
    return height * width


def _screens(sheet: Sheet) -> list[SheetPage]:
    """Return pages of at most the size of a screen, each filled column by column.

    Raises
    ------
    LimitError
        If not even one layer fits.
    """
    sheet_rows, budget = sheet.sheet_rows, sheet.style.megapixels * _MEGA
    maps = sheet.style.reduce is not None and max(row.count for row in sheet_rows) == 1
    sides = [(side, 1) for side in _ALONE if maps] + [(side, STRONGEST) for side in _SIDES[:_ONE_PAGE_SIDES]]
    for limits in (_narrowed(sheet_rows, TileLimits(*side)) for side in sides):
        for columns in range(1, _MOST_COLUMNS + 1):
            page = _arranged(sheet_rows, limits, columns)
            height, width = page_layout.page_size(sheet_page.layout(sheet, page))
            if height <= _SCREEN[0] and width <= _SCREEN[1] and height * width <= budget:
                return [page]
    for side, columns in itertools.product(_SCREEN_SIDES, _SCREEN_COLUMNS):
        limits = _narrowed(sheet_rows, TileLimits(side, STRONGEST))
        everything = replace(_arranged(sheet_rows, limits, 1), height=0, width=columns * (limits.width + _COLUMN_GAP))
        around, width = page_layout.page_size(sheet_page.layout(sheet, everything, _LONGEST_PAGING))
        highest = min(_SCREEN[0], int(budget / width)) - around
        if highest >= max(sheet_row.height(row, limits) for row in sheet_rows):
            return _filled(sheet_rows, limits, columns, highest)
    message = (
        f"no layer of the sheet fits a page of {sheet.style.megapixels:g} megapixels; allow more with --max-megapixels."
    )
    raise LimitError(message)


def _narrowed(sheet_rows: Sequence[SheetRow], limits: TileLimits) -> TileLimits:
    """Return the limits with as many tiles in a row as the widest layer needs, so that little of a page is blank."""
    step = limits.side + sheet_row.GAP
    widest = max(-(-sheet_row.natural_width(row, limits) // step) for row in sheet_rows)
    return replace(limits, per_row=min(limits.per_row, max(_LEAST_WIDE, widest)))


def _filled(sheet_rows: Sequence[SheetRow], limits: TileLimits, columns: int, highest: int) -> list[SheetPage]:
    """Return as few pages as possible of `columns` columns at most `highest` high, their columns about equally high."""
    heights = [sheet_row.height(row, limits) for row in sheet_rows]
    count = -(-len(_columns(heights, highest)) // columns) * columns
    corners, tallest = _stack([height + _BAND_GAP for height in heights], count, 1)
    if tallest - _BAND_GAP <= highest:
        groups = itertools.groupby(zip(sheet_rows, corners, strict=True), lambda pair: pair[1][1])
        filled = [[row for row, _ in group] for _, group in groups]
    else:
        filled = [[sheet_rows[index] for index in column] for column in _columns(heights, highest)]
    pages = []
    for begin in range(0, len(filled), columns):
        parts, tallest = list[RowPart](), 0
        for number, column in enumerate(filled[begin : begin + columns]):
            top = 0
            for row in column:
                corner = top, number * (limits.width + _COLUMN_GAP)
                parts.append(RowPart(row, sheet_row.all_rows(row, limits), corner))
                top += sheet_row.height(row, limits) + _BAND_GAP
            tallest = max(tallest, top)
        pages.append(
            SheetPage(parts, limits, tallest - _BAND_GAP, max(part.corner[1] for part in parts) + limits.width)
        )
    return pages


def _columns(heights: Sequence[int], highest: int) -> list[list[int]]:
    """Return the indices of the rows in each column, as many as fit the height `highest`."""
    filled: list[list[int]] = [[]]
    below = 0
    for index, height in enumerate(heights):
        if filled[-1] and below + height > highest:
            filled.append([])
            below = 0
        filled[-1].append(index)
        below += height + _BAND_GAP
    return filled


def _arranged(sheet_rows: Sequence[SheetRow], limits: TileLimits, fewest: int = 1) -> SheetPage:
    """Stack rows in the smallest number of columns, at least `fewest`, with which the page is not tall."""
    heights = [sheet_row.height(row, limits) + _BAND_GAP for row in sheet_rows]
    step = limits.width + _COLUMN_GAP
    for columns in range(fewest, _MOST_COLUMNS + 1):
        corners, height = _stack(heights, columns, step)
        width = max(column for _, column in corners) + limits.width
        if height <= _TALL * width:
            break
    parts = [
        RowPart(row, sheet_row.all_rows(row, limits), corner) for row, corner in zip(sheet_rows, corners, strict=True)
    ]
    return SheetPage(parts, limits, height - _BAND_GAP, width)


def _stack(heights: Sequence[int], columns: int, step: int) -> tuple[list[tuple[int, int]], int]:
    """Return the corner of each row and the height of the highest column.

    Rows keep their order, downwards and then to the right; columns end so that their heights are most even.
    """
    target = sum(heights) / columns
    corners, top, column, done, highest = [], 0, 0, 0, 0
    for height in heights:
        if top and column < columns - 1 and done + height / 2 > target * (column + 1):
            column, top = column + 1, 0
        corners.append((top, column * step))
        top += height
        done += height
        highest = max(highest, top)
    return corners, highest


def _paged(sheet: Sheet, limits: TileLimits) -> Iterator[SheetPage]:
    """Yield pages of one column, each with as many rows of tiles as fit.

    Raises
    ------
    LimitError
        If not even one row fits.
    """
    sheet_rows = sheet.sheet_rows
    everything = [RowPart(row, sheet_row.all_rows(row, limits), (0, 0)) for row in sheet_rows]
    around, width = page_layout.page_size(
        sheet_page.layout(sheet, SheetPage(everything, limits, 0, limits.width), _LONGEST_PAGING)
    )
    highest = int(sheet.style.megapixels * _MEGA / width) - around
    parts: list[RowPart] = []
    below = 0
    for row in sheet_rows:
        rows = sheet_row.all_rows(row, limits)
        while rows:
            fitting = _fitting(row, limits, rows, highest - below)
            if not fitting and not parts:
                message = "a page of that size has no room for a single row of tiles; use a larger --max-megapixels."
                raise LimitError(message)
            if not fitting:
                yield SheetPage(parts, limits, below - _BAND_GAP, limits.width)
                parts, below = [], 0
                continue
            parts.append(RowPart(row, fitting, (below, 0)))
            below += sheet_row.height(row, limits, fitting) + _BAND_GAP
            rows = rows[len(fitting) :]
    yield SheetPage(parts, limits, below - _BAND_GAP, limits.width)


def _fitting(row: SheetRow, limits: TileLimits, rows: range, height: int) -> range:
    """Return as many of the rows of tiles as fit a height."""
    count = len(rows)
    while count and sheet_row.height(row, limits, rows[:count]) > height:
        count -= 1
    return rows[:count]
