"""Sheets: many layers of one input on one page, one row for each layer.

::

    [input]  model                          5 layers, page 1 of 2
    address   class  shape   8 of 64 filters
     3 [tile]  17 [tile]  40 [tile] ...

Tiles have a common size, so values cannot be read back from a sheet. By default tiles become smaller, and
then fewer for each layer, until one page holds all layers. Channels that the user selected continue on
further pages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from actviz.errors import LimitError, UsageError
from actviz.figures import color_scale, histograms, page_layout, sheet_row, sheet_row_drawing, text
from actviz.figures.canvas import theme_of
from actviz.figures.renderers import captions, padding, range_labels
from actviz.figures.sheet_row import RowPart, TileLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actviz.figures.renderers.prepared_maps import PreparedMaps
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


@dataclass(frozen=True, slots=True)
class _SheetPage:
    """The contents of one page, and the size of its body in pixels."""

    parts: list[RowPart]
    limits: TileLimits
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The rows of a sheet of `total` layers; `requested` is true if the user selected channels."""

    sheet_rows: list[SheetRow]
    context: Context
    style: Style
    total: int
    requested: bool

    @property
    def whole(self) -> int:
        """Number of layers including those left out."""
        return self.total + sum(number for _, number in self.context.left_out)


def draw_sheet(activations: Sequence[Activation], index: int, context: Context, style: Style) -> Picture:
    """Draw entry `index` of the batch of every activation on one page; see `draw_pages`.

    Raises
    ------
    LimitError
        Also if the selected channels need several pages.
    """
    pages = list(draw_pages(activations, index, context, style))
    if len(pages) > 1:
        raise LimitError(f"{len(pages)} pages are needed; ask for fewer channels or a larger --max-megapixels.")
    return pages[0]


def draw_pages(activations: Sequence[Activation], index: int, context: Context, style: Style) -> Iterator[Picture]:
    """Draw entry `index` of the batch of every activation, on one page or more; see `plan_pages`."""
    for make in plan_pages(activations, index, context, style):
        yield make()


def plan_pages(
    activations: Sequence[Activation], index: int, context: Context, style: Style
) -> list[Callable[[], Picture]]:
    """Return a function for each page that draws it, for entry `index` of the batch of all activations.

    By default the 8 strongest channels of each layer are drawn (see `style.channels`, `style.top` and
    `style.sort`), and all units of a vector as a strip. A page has at most `style.megapixels`.
    `Tile.address` is the layer.

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
    sheet_rows = [row for item in drawable if (row := sheet_row.prepare(item, index, context, style)) is not None]
    if not sheet_rows:
        raise UsageError("none of the layers holds numbers that can be drawn; choose others with --layer.")
    sheet = _Sheet(sheet_rows, context, style, len(activations), requested)
    pages, words = _plan(sheet)
    return [partial(_draw, sheet, page, (number, len(pages)), words) for number, page in enumerate(pages, 1)]


def _draw(sheet: _Sheet, page: _SheetPage, numbering: tuple[int, int], words: Sequence[str]) -> Picture:
    """Draw a page; `numbering` is its number and the number of pages."""
    number, count = numbering
    where = f", page {number} of {count}" if count > 1 else ""
    canvas, top, left = page_layout.open_page(_layout(sheet, page, where, words), theme_of(dark=sheet.style.dark))
    tiles: list[Tile] = []
    for part in page.parts:
        on_page = replace(part, corner=(top + part.corner[0], left + part.corner[1]))
        tiles += sheet_row_drawing.draw(canvas, on_page, page.limits)
    rows = {part.row.activation.address: part.row for part in page.parts}
    layers = {address: row.prepared.record(row.style) for address, row in rows.items()}
    paging = {"page": number, "pages": count} if count > 1 else {}
    return canvas.picture(tiles, {"reduced": True, "layers": layers} | paging)


def _layout(sheet: _Sheet, page: _SheetPage, where: str = "", words: Sequence[str] = ()) -> page_layout.PageLayout:
    """Return the layout of a page; `where` is its number, `words` are notes on how it was made to fit."""
    drawn = len(sheet.sheet_rows)
    layers = (f"{drawn:,} of " if drawn < sheet.whole else "") + text.plural(sheet.whole, "layer") + where
    heading = page_layout.PageHeading(sheet.context.model, "", layers, replace(sheet.context, model=""))
    return page_layout.PageLayout(heading, None, (*_caption(sheet, page), *words), page.height, page.width)


def _caption(sheet: _Sheet, page: _SheetPage) -> list[str]:
    sheet_rows, count = sheet.sheet_rows, sheet.total
    on_page = list(dict.fromkeys(part.row.activation.address for part in page.parts))
    parts = [f"{len(on_page):,} of {text.plural(sheet.whole, 'layer')}"]
    parts += [f"{number:,} {reason}" for reason, number in sheet.context.left_out]
    if len(sheet_rows) < count:
        parts.append(f"{count - len(sheet_rows)} with nothing to draw")
    if any(part.row.sorted for part in page.parts):
        # Once for all layers, since there is often no room beside an address.
        parts.append(
            f"tiles of a layer: {captions.ORDERS[sheet.style.measure].replace('strongest', 'strongest first,')}"
        )
    range_note = captions.RANGE_NOTE + (captions.SINGLE_LIMIT_NOTE if _has_one_end(page) else "")
    drawn = [part.row.prepared for part in page.parts]
    parts.append(f"colours of a tile: {_colors_of_tiles(sheet.style, drawn, range_note)}")
    if any(set(part.row.prepared.numbers.negligible) & set(part.channels(page.limits)) for part in page.parts):
        parts.append(f"{text.ALMOST} 0: next to nothing, {captions.negligible_limit('its layer')}")
    clipped = sum(part.clipped(page.limits) for part in page.parts)
    if clipped:
        parts.append(f"{text.plural(clipped, 'value')} clipped to the ends of the colours")
    parts += _distributions(page)
    parts += _overlays(page)
    if any(part.row.masked_steps for part in page.parts):
        parts.append("hatched: masked steps, in no number")
    if sheet.context.padding:
        parts += dict.fromkeys(
            words
            for part in page.parts
            for words in padding.note(
                part.row.activation, sheet.context, left_out=part.row.prepared.image_numbers is not None
            )
        )
    reduced = {id(part.row) for part in page.parts if sheet_row.tile_size(part.row, page.limits)[1]}
    if reduced:
        parts.append(f"reduced: the maps of {text.plural(len(reduced), 'layer')} averaged to fit")
    return parts


def _has_one_end(page: _SheetPage) -> bool:
    """Return True if a tile has no room for both limits; in the largest tiles every pair fits."""
    limits = page.limits
    return limits.side < _SIDES[0] and any(range_labels.has_single_limit(part.labels(limits)) for part in page.parts)


def _colors_of_tiles(style: Style, drawn: Sequence[PreparedMaps], range_note: str) -> str:
    """Return the description of the color limits of tiles.

    `drawn` are the maps on the page, `range_note` describes the numbers below a tile.
    """
    scale = color_scale.parse_scale(style.scale)
    below = f"below a tile {range_note}"
    if scale.per_tile_percentiles:
        return f"{captions.percentiles_note(scale)} of its own values, written below it{range_note.removeprefix(captions.RANGE_NOTE)}"
    if scale.kind in {"auto", "filter"}:
        words = f"from 0 to its largest value, or as far to both sides of 0 as its largest |value|; {below}"
        shared = any(prepared.scale.kind != "filter" for prepared in drawn)
        return f"{words}; where ends stand beside a name, from one to the other" if shared else words
    if scale.kind == "fixed":
        low, high = (text.number(end) for end in (scale.low, scale.high))
        return f"{low} {text.DASH} {high}, as asked; {below}"
    named = {"layer": "", "run": " (all inputs of the run)"}.get(scale.kind, f" ({text.shown(str(scale), 60)})")
    return f"one range a layer{named}, beside its name; {below}"


def _distributions(page: _SheetPage) -> list[str]:
    """Return the notes about the histograms beside or below addresses."""
    reduced = [part.row.reduced for part in page.parts if part.row.prepared.distribution]
    if not reduced:
        return []
    values = "the layer's values"
    if any(reduced):
        values = "the layer's reduced values" if all(reduced) else f"{values}, reduced where its tiles are"
    return [histograms.spark_note(sheet_row.spark_side(page.limits), values)]


def _overlays(page: _SheetPage) -> list[str]:
    """Return the notes about overlays."""
    laid = [(part.row.over, part.row.maps.shape[1:]) for part in page.parts if part.row.over]
    if not laid:
        return []
    words = ["overlay: each pixel of the input has the colour of the nearest value, mixed with the picture"]
    borders = [over.border for over, (rows, columns) in laid if over.aligned and over.leaves_border((rows, columns))]
    return words + borders[:1]


def _plan(sheet: _Sheet) -> tuple[list[_SheetPage], list[str]]:
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


def _area(sheet: _Sheet, page: _SheetPage, words: Sequence[str] = ()) -> int:
    """Return the number of pixels of a page including heading and caption."""
    height, width = page_layout.page_size(_layout(sheet, page, "", words))
    return height * width


def _arranged(sheet_rows: Sequence[SheetRow], limits: TileLimits) -> _SheetPage:
    """Stack rows in the smallest number of columns with which the page is not tall."""
    heights = [sheet_row.height(row, limits) + _BAND_GAP for row in sheet_rows]
    step = limits.width + _COLUMN_GAP
    for columns in range(1, _MOST_COLUMNS + 1):
        corners, height = _stack(heights, columns, step)
        width = max(column for _, column in corners) + limits.width
        if height <= _TALL * width:
            break
    parts = [
        RowPart(row, sheet_row.all_rows(row, limits), corner) for row, corner in zip(sheet_rows, corners, strict=True)
    ]
    return _SheetPage(parts, limits, height - _BAND_GAP, width)


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


def _paged(sheet: _Sheet, limits: TileLimits) -> Iterator[_SheetPage]:
    """Yield pages of one column, each with as many rows of tiles as fit.

    Raises
    ------
    LimitError
        If not even one row fits.
    """
    sheet_rows = sheet.sheet_rows
    longest = ", page 9,999 of 9,999"
    everything = [RowPart(row, sheet_row.all_rows(row, limits), (0, 0)) for row in sheet_rows]
    around, width = page_layout.page_size(_layout(sheet, _SheetPage(everything, limits, 0, limits.width), longest))
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
                yield _SheetPage(parts, limits, below - _BAND_GAP, limits.width)
                parts, below = [], 0
                continue
            parts.append(RowPart(row, fitting, (below, 0)))
            below += sheet_row.height(row, limits, fitting) + _BAND_GAP
            rows = rows[len(fitting) :]
    yield _SheetPage(parts, limits, below - _BAND_GAP, limits.width)


def _fitting(row: SheetRow, limits: TileLimits, rows: range, height: int) -> range:
    """Return as many of the rows of tiles as fit a height."""
    count = len(rows)
    while count and sheet_row.height(row, limits, rows[:count]) > height:
        count -= 1
    return rows[:count]
