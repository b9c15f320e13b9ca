"""Many layers of one input on one page, in the order given: a band for each.

::

    [input]  model                          5 layers, page 1 of 2
    address   class  shape   8 of 64 filters
     3 [tile]  17 [tile]  40 [tile] ...

Tiles are brought to a common size, so a sheet is reduced: it says so, and values are not
read back from it. What was not asked for is shrunk until one page of a certain size holds
it: first the tiles, then how many of a layer there are. What was asked for goes on on
further pages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from actviz.errors import LimitError, UsageError
from actviz.figures import color_scale, histograms, page_layout, sheet_row, sheet_row_drawing, text
from actviz.figures.renderers import captions, padding, range_labels
from actviz.figures.sheet_row import RowPart, TileLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.figures.sheet_row import SheetRow
    from actviz.records import Activation, Context, Picture, Style, Tile

STRONGEST = 8

_SIDES = (104, 88, 72, 60, 48, 40)
# Where a layer is one map.
_ALONE = (400, 320, 240, 180)
# Fewer of each layer, where that many do not fit in the smallest size.
_FEWER = (6, 5, 4, 3, 2, 1)
# Their words need as much room as three tiles.
_FEWEST = 3
_BAND_GAP, _COLUMN_GAP = 20, 40
_TALL, _MOST_COLUMNS = 1.4, 12
_MEGA = 1_000_000
# Of a page in several: the size of its tiles, and its width beside its height.
_PAGE_SIDE, _PAGE_ASPECT, _PAGE_ROW = 56, 0.75, (8, 16, 32)


@dataclass(frozen=True, slots=True)
class _SheetPage:
    """What one page holds, and the size of its body."""

    pieces: list[RowPart]
    room: TileLimits
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What is drawn: the bands of `total` layers, and whether their channels were `asked` for."""

    prepared: list[SheetRow]
    context: Context
    style: Style
    total: int
    asked: bool

    @property
    def whole(self) -> int:
        """The number of layers that the sheet could show, those left out included."""
        return self.total + sum(number for _, number in self.context.left_out)


def draw_sheet(activations: Sequence[Activation], index: int, context: Context, style: Style) -> Picture:
    """Draw entry `index` of the batch of every activation on one page; see `draw_pages`.

    Raises
    ------
    LimitError
        Also when what was asked for needs several pages.
    """
    pages = list(draw_pages(activations, index, context, style))
    if len(pages) > 1:
        message = f"{len(pages)} pages are needed; ask for fewer channels or a larger --max-megapixels."
        raise LimitError(message)
    return pages[0]


def draw_pages(activations: Sequence[Activation], index: int, context: Context, style: Style) -> Iterator[Picture]:
    """Draw entry `index` of the batch of every activation, on one page or more; see `plan_pages`."""
    for make in plan_pages(activations, index, context, style):
        yield make()


def plan_pages(
    activations: Sequence[Activation], index: int, context: Context, style: Style
) -> list[Callable[[], Picture]]:
    """Return what draws each page of entry `index` of the batch of every activation.

    Of each layer the 8 strongest channels are shown (`style.channels`, `style.top` and
    `style.sort` say otherwise), of a vector all units as a strip. A page has at most
    `style.megapixels`. `Tile.address` names the layer.

    Raises
    ------
    UsageError
        When no activation can be drawn, or the style means nothing.
    LimitError
        When so many layers do not fit the page.
    """
    asked = style.channels is not None or style.top is not None
    style = replace(style, bare=False, columns=None, zoom=None)
    if not asked:
        # Channels that become one map are all of them.
        top = STRONGEST if style.reduce is None else None
        style = replace(style, top=top)
    drawable = [one for one in activations if sheet_row.accepts(one)]
    prepared = [band for one in drawable if (band := sheet_row.prepare(one, index, context, style)) is not None]
    if not prepared:
        message = "none of the layers holds numbers that can be drawn; choose others with --layer."
        raise UsageError(message)
    sheet = _Sheet(prepared, context, style, len(activations), asked)
    pages, words = _plan(sheet)
    return [partial(_numbered, sheet, page, (number, len(pages)), words) for number, page in enumerate(pages, 1)]


def _numbered(sheet: _Sheet, page: _SheetPage, place: tuple[int, int], words: Sequence[str]) -> Picture:
    """Draw a page, which says its place among others where there are any."""
    number, count = place
    where = f", page {number} of {count}" if count > 1 else ""
    picture = _draw(page, _layout(sheet, page, where, words), page_layout.theme_of(dark=sheet.style.dark))
    paging = {"page": number, "pages": count} if count > 1 else {}
    return replace(picture, numbers=picture.numbers | paging)


def _draw(page: _SheetPage, layout: page_layout.PageLayout, theme: page_layout.Theme) -> Picture:
    canvas, top, left = page_layout.open_page(layout, theme)
    tiles: list[Tile] = []
    for piece in page.pieces:
        placed = replace(piece, corner=(top + piece.corner[0], left + piece.corner[1]))
        tiles += sheet_row_drawing.draw(canvas, placed, page.room)
    on_page = {piece.band.activation.address: piece.band for piece in page.pieces}
    layers = {address: band.subject.record(band.style) for address, band in on_page.items()}
    return canvas.picture(tiles, {"reduced": True, "layers": layers})


def _layout(sheet: _Sheet, page: _SheetPage, where: str = "", words: Sequence[str] = ()) -> page_layout.PageLayout:
    """Return a page with its title and caption; `where` is its number, `words` what was done to make it fit."""
    layers = f"{_count(len(sheet.prepared), sheet.whole)}{where}"
    heading = page_layout.PageHeading(sheet.context.model, "", layers, replace(sheet.context, model=""))
    return page_layout.PageLayout(heading, None, (*_caption(sheet, page), *words), page.height, page.width)


def _count(shown: int, total: int) -> str:
    of = f"{shown:,} of {total:,}" if shown < total else f"{total:,}"
    return f"{of} layer{'s' if total != 1 else ''}"


def _caption(sheet: _Sheet, page: _SheetPage) -> list[str]:
    prepared, count = sheet.prepared, sheet.total
    on_page = list(dict.fromkeys(piece.band.activation.address for piece in page.pieces))
    parts = [f"{len(on_page):,} of {sheet.whole:,} layer{'s' if sheet.whole != 1 else ''}"]
    parts += [f"{number:,} {reason}" for reason, number in sheet.context.left_out]
    if len(prepared) < count:
        parts.append(f"{count - len(prepared)} with nothing to draw")
    if any(piece.band.sorted for piece in page.pieces):
        # Once for all layers: beside a name there is often no room for it.
        parts.append(
            f"tiles of a layer: {captions.ORDERS[sheet.style.measure].replace('strongest', 'strongest first,')}"
        )
    ends = captions.RANGE_NOTE + (captions.SINGLE_LIMIT_NOTE if _has_one_end(page) else "")
    drawn = [piece.band.subject for piece in page.pieces]
    parts.append(f"colours of a tile: {_colors_of_tiles(sheet.style, drawn, ends)}")
    if any(set(piece.band.subject.numbers.negligible) & set(piece.channels(page.room)) for piece in page.pieces):
        parts.append(f"{text.ALMOST} 0: next to nothing, {captions.negligible_limit('its layer')}")
    clipped = sum(piece.clipped(page.room) for piece in page.pieces)
    if clipped:
        parts.append(f"{clipped:,} value{'s' if clipped != 1 else ''} clipped to the ends of the colours")
    parts += _distributions(page)
    parts += _overlays(page)
    if any(piece.band.hatched for piece in page.pieces):
        parts.append("hatched: masked steps, in no number")
    if sheet.context.padding:
        parts += dict.fromkeys(
            words
            for piece in page.pieces
            for words in padding.note(
                piece.band.activation, sheet.context, left_out=piece.band.subject.inside is not None
            )
        )
    reduced = {id(piece.band) for piece in page.pieces if sheet_row.tile_size(piece.band, page.room)[1]}
    if reduced:
        layers = "1 layer" if len(reduced) == 1 else f"{len(reduced)} layers"
        parts.append(f"reduced: the maps of {layers} averaged to fit")
    return parts


def _has_one_end(page: _SheetPage) -> bool:
    """Return True if a tile has no room for both its ends. Every pair fits in the largest tiles: these are not measured."""
    room = page.room
    return room.side < _SIDES[0] and any(range_labels.has_single_limit(piece.ends(room)) for piece in page.pieces)


def _colors_of_tiles(style: Style, drawn: Sequence[PreparedMaps], ends: str) -> str:
    """Return what the colours of a sheet's tiles stand for, in words.

    `drawn` is what is on the page, `ends` which numbers are below a tile.
    """
    scale = color_scale.parse_scale(style.scale)
    below = f"below a tile {ends}"
    if scale.per_tile_percentiles:
        return f"{captions.percentiles_note(scale)} of its own values, written below it{ends.removeprefix(captions.RANGE_NOTE)}"
    if scale.kind in {"auto", "filter"}:
        words = f"from 0 to its largest value, or as far to both sides of 0 as its largest |value|; {below}"
        shared = any(subject.scale.kind != "filter" for subject in drawn)
        return f"{words}; where ends stand beside a name, from one to the other" if shared else words
    if scale.kind == "fixed":
        low, high = (text.number(end) for end in (scale.low, scale.high))
        return f"{low} {text.DASH} {high}, as asked; {below}"
    named = {"layer": "", "run": " (all inputs of the run)"}.get(scale.kind, f" ({text.shown(str(scale), 60)})")
    return f"one range a layer{named}, beside its name; {below}"


def _distributions(page: _SheetPage) -> list[str]:
    """Return what a caption says of the distributions beside or below names."""
    reduced = [piece.band.reduced for piece in page.pieces if piece.band.subject.distribution]
    if not reduced:
        return []
    values = "the layer's values"
    if any(reduced):
        values = "the layer's reduced values" if all(reduced) else f"{values}, reduced where its tiles are"
    return [histograms.spark_note(sheet_row.spark_side(page.room), values)]


def _overlays(page: _SheetPage) -> list[str]:
    """Return what a caption says of maps that are laid over the input."""
    laid = [(piece.band.over, piece.band.maps.shape[1:]) for piece in page.pieces if piece.band.over]
    if not laid:
        return []
    words = ["overlay: each pixel of the input has the colour of the nearest value, mixed with the picture"]
    borders = [over.border for over, (rows, columns) in laid if over.aligned and over.leaves_border((rows, columns))]
    return words + borders[:1]


def _plan(sheet: _Sheet) -> tuple[list[_SheetPage], list[str]]:
    """Return the pages, and what was done to make them fit."""
    prepared, style, asked = sheet.prepared, sheet.style, sheet.asked
    budget = style.megapixels * _MEGA
    most = max(band.count for band in prepared)
    per_row = next((count for count in _PAGE_ROW if most <= count * count), _PAGE_ROW[-1]) if asked else STRONGEST
    rooms = [TileLimits(side, per_row) for side in _SIDES]
    if style.reduce is not None and most == 1:
        rooms = [TileLimits(side, 1) for side in _ALONE] + rooms
    for room in rooms:
        page = _arranged(prepared, room)
        if _area(sheet, page) <= budget:
            return [page], []
    if asked:
        across = int(math.sqrt(budget * _PAGE_ASPECT)) // (_PAGE_SIDE + sheet_row.GAP)
        return list(_paged(sheet, TileLimits(_PAGE_SIDE, max(STRONGEST, min(across, most))))), []
    for fewer in _FEWER:
        some = [band.first(fewer) for band in prepared]
        page = _arranged(some, TileLimits(_SIDES[-1], max(fewer, _FEWEST)))
        if _area(sheet, page, [_shrunk(fewer, style)]) <= budget:
            return [page], [_shrunk(fewer, style)]
    message = (
        f"a sheet of {len(prepared)} layers needs more than {style.megapixels:g} megapixels;"
        " choose fewer layers with --layer, or allow more with --max-megapixels."
    )
    raise LimitError(message)


def _shrunk(fewer: int, style: Style) -> str:
    return f"{fewer} of a layer, to fit {style.megapixels:g} megapixels (--max-megapixels)"


def _area(sheet: _Sheet, page: _SheetPage, words: Sequence[str] = ()) -> int:
    """Return the pixels of a whole page, title and caption included."""
    height, width = page_layout.page_size(_layout(sheet, page, "", words))
    return height * width


def _arranged(prepared: Sequence[SheetRow], room: TileLimits) -> _SheetPage:
    """Stack whole bands downwards in as many columns as it takes until the page is not tall."""
    heights = [sheet_row.height(band, room) + _BAND_GAP for band in prepared]
    step = room.width + _COLUMN_GAP
    for columns in range(1, _MOST_COLUMNS + 1):
        places, height = _stack(heights, columns, step)
        width = max(column for _, column in places) + room.width
        if height <= _TALL * width:
            break
    pieces = [
        RowPart(band, sheet_row.all_rows(band, room), place) for band, place in zip(prepared, places, strict=True)
    ]
    return _SheetPage(pieces, room, height - _BAND_GAP, width)


def _pieces(prepared: Sequence[SheetRow], room: TileLimits) -> list[RowPart]:
    return [RowPart(band, sheet_row.all_rows(band, room), (0, 0)) for band in prepared]


def _stack(heights: Sequence[int], columns: int, step: int) -> tuple[list[tuple[int, int]], int]:
    """Return the corner of each band and the height of the highest column.

    Bands keep their order, downwards and then to the right; a column ends where the
    heights are shared out most evenly.
    """
    target = sum(heights) / columns
    places, row, column, done, highest = [], 0, 0, 0, 0
    for height in heights:
        if row and column < columns - 1 and done + height / 2 > target * (column + 1):
            column, row = column + 1, 0
        places.append((row, column * step))
        row += height
        done += height
        highest = max(highest, row)
    return places, highest


def _paged(sheet: _Sheet, room: TileLimits) -> Iterator[_SheetPage]:
    """Yield pages of one column, each as full as rows of tiles make it.

    Raises
    ------
    LimitError
        When not even one row fits.
    """
    prepared = sheet.prepared
    longest = ", page 9,999 of 9,999"
    around, width = page_layout.page_size(
        _layout(sheet, _SheetPage(_pieces(prepared, room), room, 0, room.width), longest)
    )
    highest = int(sheet.style.megapixels * _MEGA / width) - around
    pieces: list[RowPart] = []
    below = 0
    for band in prepared:
        rows = sheet_row.all_rows(band, room)
        while rows:
            fitting = _fitting(band, room, rows, highest - below)
            if not fitting and not pieces:
                message = "a page of that size has no room for a single row of tiles; use a larger --max-megapixels."
                raise LimitError(message)
            if not fitting:
                yield _SheetPage(pieces, room, below - _BAND_GAP, room.width)
                pieces, below = [], 0
                continue
            pieces.append(RowPart(band, fitting, (below, 0)))
            below += sheet_row.height(band, room, fitting) + _BAND_GAP
            rows = rows[len(fitting) :]
    yield _SheetPage(pieces, room, below - _BAND_GAP, room.width)


def _fitting(band: SheetRow, room: TileLimits, rows: range, height: int) -> range:
    """Return as many of the rows as a height holds."""
    count = len(rows)
    while count and sheet_row.height(band, room, rows[:count]) > height:
        count -= 1
    return rows[:count]
