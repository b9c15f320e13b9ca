"""Many layers of one input on one page, in the order given: a band for each.

::

    [input]  model                                    5 layers
    1  address   class  shape   8 of 64 filters, strongest by mean
       3 [tile] 17 [tile] 40 [tile] ...

Tiles are brought to a common size, so a sheet is reduced: it says so, and values are not
read back from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from actviz import colors, distribution, figure, mosaic, text
from actviz.errors import LimitError, UsageError
from actviz.records import Tile
from actviz.renderers import attention, frames, grid, kind_of, montage, sequence, spatial, vector
from actviz.renderers import subject as subjects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation, Context, Picture, Style
    from actviz.renderers.subject import Subject

BUDGET = 16_000_000
STRONGEST = 8

_SIDES = (104, 88, 72, 60, 48, 40)
_FACE, _HEAD = 10, 13
_GAP, _BAND_GAP, _COLUMN_GAP = 8, 20, 40
_STRIP_HEIGHT, _STRIP_CELL, _NAMED = 24, 24, 5
_TALL = 1.5
_THINNEST = 10


@dataclass(frozen=True, slots=True)
class _Band:
    """One layer of a sheet; `reduced` says that its tiles are smaller than its maps."""

    activation: Activation
    subject: Subject
    noun: str
    tiles: NDArray[Any]
    sizes: tuple[int, int]
    reduced: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where bands lie: `columns` of them, `height` and `width` of the whole body."""

    bands: list[_Band]
    side: int
    columns: int
    places: list[tuple[int, int]]
    height: int
    width: int


def draw_sheet(activations: Sequence[Activation], index: int, context: Context, style: Style) -> Picture:
    """Draw entry `index` of the batch of every activation on one page.

    Of each layer the 8 strongest channels are shown (`style.top` and `style.sort` say
    otherwise), of a vector all units as a strip. `Tile.address` names the layer.

    Raises
    ------
    UsageError
        When no activation can be drawn, or the style means nothing.
    LimitError
        When so many layers do not fit 16 megapixels.
    """
    drawable = [one for one in activations if _accepts(one)]
    if not drawable:
        message = "none of the layers holds numbers that can be drawn; choose others with --layer."
        raise UsageError(message)
    sort = style.sort or ("mean" if style.channels is None else "index")
    style = replace(style, top=style.top or STRONGEST, sort=sort, bare=False, columns=None, zoom=None)
    prepared = [(one, *_prepare(one, index, style)) for one in drawable]
    plan = _fit(prepared)
    layout = figure.Layout(
        _heading(context, len(activations)),
        None,
        _caption(plan, len(activations), style),
        plan.height,
        plan.width,
    )
    canvas, top, left = figure.open_page(layout, figure.theme_of(dark=style.dark))
    tiles: list[Tile] = []
    for band, (row, column) in zip(plan.bands, plan.places, strict=True):
        tiles += _draw_band(canvas, band, plan.side, (top + row, left + column), style)
    record = {
        "reduced": True,
        "layers": {one.activation.address: one.subject.record(style) for one in plan.bands},
    }
    return canvas.picture(tiles, record)


def _accepts(activation: Activation) -> bool:
    real = activation.values.dtype.kind not in "OSUTc"
    known = kind_of(activation.axes) is not None and len(set(activation.axes)) == activation.values.ndim
    return real and known and 0 not in activation.values.shape


def _prepare(activation: Activation, index: int, style: Style) -> tuple[Subject, str]:
    if not vector.accepts(activation.axes):
        maps, noun = _maps(activation, index)
        return subjects.prepare(activation, maps, style, subjects.scale_of(style, maps)), noun
    values = vector.maps_of(activation, index)
    whole = replace(style, top=None, sort="index", channels=None)
    return subjects.prepare(activation, values, whole, subjects.scale_of(style, values)), "unit"


def _heading(context: Context, count: int) -> figure.Heading:
    layers = f"{count} layer{'s' if count != 1 else ''}"
    return figure.Heading(context.model, "", layers, replace(context, model=""))


def _maps(activation: Activation, index: int) -> tuple[NDArray[Any], str]:
    """Return one entry of the batch as ``(tile, row, column)``, and what a tile is.

    Of frames and planes it is the maximum, of a sequence all steps and units as one map.
    """
    kind = kind_of(activation.axes)
    if kind == "sequence":
        whole = sequence.maps_of(activation, index)[None, :, :, 0]
        return (whole.swapaxes(1, 2) if whole.shape[1] > whole.shape[2] else whole), "map"
    if kind in {"film", "volume"}:
        return frames.maps_of(activation, index, "step" if kind == "film" else "plane").max(axis=1), "filter"
    if kind == "attention":
        return attention.maps_of(activation, index), "head"
    if kind == "montage":
        return montage.maps_of(activation, index), "slice"
    return spatial.maps_of(activation, index), "filter"


def _caption(plan: _Plan, count: int, style: Style) -> tuple[str, ...]:
    left_out = count - len(plan.bands)
    parts = [f"{len(plan.bands)} of {count} layers"]
    if left_out:
        parts.append(f"{left_out} without numbers to draw")
    parts.append(f"colours of a tile: {_colors_of_tiles(style, plan.bands[0].subject)}")
    clipped = sum(sum(band.subject.clipped()) for band in plan.bands)
    if clipped:
        parts.append(f"{clipped:,} value{'s' if clipped != 1 else ''} clipped to the ends of the colours")
    if style.histogram:
        parts.append(distribution.SPARK_WORDS)
    reduced = sum(band.reduced for band in plan.bands)
    if reduced:
        layers = "1 layer" if reduced == 1 else f"{reduced} layers"
        parts.append(f"reduced: the maps of {layers} averaged to fit")
    return tuple(parts)


def _colors_of_tiles(style: Style, subject: Subject) -> str:
    """Return what the colours of a sheet's tiles stand for, in words."""
    scale = colors.parse_scale(style.scale)
    if scale.kind in {"auto", "filter"}:
        return "from 0, or from minus its largest, to the number below it"
    if scale.kind == "fixed" and subject.given is not None:
        low, high = (text.number(end) for end in subject.given)
        return f"{low} {text.DASH} {high}, as asked; below a tile the range of its values"
    named = {"run": "all inputs of the run", "layer": "each layer"}.get(scale.kind, text.shown(str(scale), 60))
    return f"one range a layer ({named}), beside its name; below a tile the range of its values"


def _fit(prepared: Sequence[tuple[Activation, Subject, str]]) -> _Plan:
    """Return the plan with the largest tiles that stays within the budget."""
    for side in _SIDES:
        plan = _arrange(prepared, side)
        if plan.height * plan.width <= BUDGET - 1_000_000:
            return plan
    message = (
        f"a sheet of {len(prepared)} layers needs more than {BUDGET // 1_000_000} megapixels;"
        " choose fewer layers with --layer."
    )
    raise LimitError(message)


def _arrange(prepared: Sequence[tuple[Activation, Subject, str]], side: int) -> _Plan:
    """Stack the bands downwards in one to four columns, until the page is not tall."""
    width = STRONGEST * (side + _GAP) - _GAP
    bands = [_band(*one, side, width) for one in prepared]
    heights = [_height(band, width) + _BAND_GAP for band in bands]
    for columns in range(1, 5):
        places, height = _stack(heights, columns, width + _COLUMN_GAP)
        total = columns * (width + _COLUMN_GAP) - _COLUMN_GAP
        if height <= _TALL * total:
            break
    return _Plan(bands, side, columns, places, height - _BAND_GAP, total)


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


def _band(activation: Activation, subject: Subject, noun: str, side: int, width: int) -> _Band:
    if noun != "unit":
        tiles, reduced = _resized(subject, side, width if noun == "map" else side)
        return _Band(activation, subject, noun, tiles, tiles.shape[1:], reduced)
    rows = -(-subject.total // width)
    columns = -(-subject.total // rows)
    cell = max(3, _STRIP_HEIGHT // rows), min(_STRIP_CELL, width // columns)
    return _Band(activation, subject, noun, subject.painted(), cell, reduced=False)


def _resized(subject: Subject, side: int, widest: int) -> tuple[NDArray[np.uint32], bool]:
    """Return painted tiles at most `side` pixels high and `widest` wide.

    Small maps grow by whole factors; of large ones the values are averaged, not the
    colours, so that colours stay true.
    """
    count, height, width = len(subject.channels), *subject.maps.shape[1:]
    factor = min(side // height, widest // width)
    if factor >= 1:
        down, right = (max(factor, -(-_THINNEST // size)) for size in (height, width))
        return subject.painted().repeat(down, axis=1).repeat(right, axis=2), False
    share = min(side / height, widest / width)
    size = max(_THINNEST, round(height * share)), max(_THINNEST, round(width * share))
    small = np.empty((count, *size), dtype=np.float32)
    with np.errstate(over="ignore"):
        source = subject.shown().astype(np.float32)
    for place in range(count):
        image = Image.fromarray(source[place])
        small[place] = np.asarray(image.resize(size[::-1], Image.Resampling.BOX))
    low, high = subject.low[subject.channels], subject.high[subject.channels]
    pixels = colors.paint(colors.quantise(small, low, high, signed=subject.signed), subject.table)
    colors.paint_nonfinite(pixels, small, subject.table)
    return pixels, True


def _height(band: _Band, width: int) -> int:
    head = text.face(_HEAD, bold=True).height + 6
    if band.noun == "unit":
        rows = -(-band.subject.total // (width // band.sizes[1]))
        return head + rows * band.sizes[0] + 4 + text.face(_FACE).height
    rows = -(-len(band.tiles) // STRONGEST)
    return head + rows * _row_height(band) - _GAP


def _row_height(band: _Band) -> int:
    face = text.face(_FACE)
    return face.height + 2 + band.sizes[0] + 4 + face.height + _GAP


def _draw_band(canvas: figure.Canvas, band: _Band, side: int, corner: tuple[int, int], style: Style) -> list[Tile]:
    top, left = corner
    width = STRONGEST * (side + _GAP) - _GAP
    plot = subjects.histogram(band.subject)
    if plot is not None:
        distribution.draw_spark(canvas, plot.found, top, left + width - distribution.SPARK[1])
    _write_head(canvas, band, corner, width - (distribution.SPARK[1] + _GAP if plot else 0), style)
    top += text.face(_HEAD, bold=True).height + 6
    if band.noun == "unit":
        return _draw_strip(canvas, band, (top, left), width)
    return _draw_tiles(canvas, band, side, (top, left))


def _write_head(canvas: figure.Canvas, band: _Band, corner: tuple[int, int], width: int, style: Style) -> None:
    head, plain = text.face(_HEAD, bold=True), text.face(11)
    theme, subject = canvas.theme, band.subject
    shown, total = len(subject.channels), subject.total
    counts = f"{shown:,} of {total:,} {band.noun}{'s' if total != 1 else ''}"
    if shown < total:
        counts += subjects.choice(subject, style)
    kind = plain.fit(text.shown(band.activation.kind), width // 4)
    sizes, ends = text.shape(band.activation.values.shape[1:]), _ends(band)
    # Where there is no room for all, the class goes first, then the counts.
    for facts in ([kind, sizes, counts, ends], [sizes, counts, ends], [ends or sizes]):
        room = width - sum(plain.width(fact) + 12 for fact in facts)
        if room >= width // 3:
            break
    row, column = corner
    column = canvas.write(head.fit(text.shown(band.activation.address), max(0, room)), row, column, head, theme.ink)
    for fact in facts:
        if fact:
            column = canvas.write(fact, row + head.ascent - plain.ascent, column + 12, plain, theme.muted)


def _ends(band: _Band) -> str:
    """Return the values at the ends of the colours of a layer whose tiles share them."""
    if band.subject.scale.kind == "filter" or band.noun == "unit":
        return ""
    low, high = (text.number(float(ends[0])) for ends in (band.subject.low, band.subject.high))
    return f"colours {low}..{high}"


def _draw_tiles(canvas: figure.Canvas, band: _Band, side: int, corner: tuple[int, int]) -> list[Tile]:
    face, theme, subject = text.face(_FACE), canvas.theme, band.subject
    height, width = band.sizes
    tiles = []
    names = zip(subject.channels, subject.states(), grid.below(subject, side), strict=True)
    for place, (channel, state, words) in enumerate(names):
        row, column = divmod(place, STRONGEST)
        top = corner[0] + row * _row_height(band) + face.height + 2
        left = corner[1] + column * (side + _GAP) + 1
        box = (top, left, top + height, left + width)
        canvas.fill((top - 1, left - 1, box[2] + 1, box[3] + 1), theme.line)
        canvas.pixels[top : box[2], left : box[3]] = band.tiles[place]
        if state == "dead":
            grid.hatch(canvas, box)
        canvas.write(str(channel), top - 2 - face.height, left - 1, face, theme.ink)
        canvas.write(words, box[2] + 3, left - 1, face, theme.muted)
        low, high = float(subject.low[channel]), float(subject.high[channel])
        tiles.append(Tile(channel, box, low, high, state, band.activation.address))
    return tiles


def _draw_strip(canvas: figure.Canvas, band: _Band, corner: tuple[int, int], width: int) -> list[Tile]:
    """Draw all units of a vector side by side, in as many rows as they need."""
    face, theme, subject = text.face(_FACE), canvas.theme, band.subject
    height, cell = band.sizes
    columns = min(subject.total, width // cell)
    rows = -(-subject.total // columns)
    grid = mosaic.Grid(rows, columns, *corner, height, cell, height, cell)
    if rows == 1:
        end = corner[1] + columns * cell
        box = (corner[0] - 1, corner[1] - 1, corner[0] + height + 1, end + 1)
        canvas.fill(box, theme.line)
    mosaic.place(canvas.pixels, grid, band.tiles, (height, cell))
    low, high = float(subject.low[0]), float(subject.high[0])
    strongest = np.argsort(-subject.numbers.strength, kind="stable")[:_NAMED].tolist()
    values = subject.maps[:, 0, 0]
    named = ", ".join(f"{unit} ({text.number(float(values[unit]))})" for unit in strongest)
    words = f"{text.number(low)}..{text.number(high)} {text.DOT} strongest: {named}"
    canvas.write(face.fit(words, width), corner[0] + rows * height + 3, corner[1], face, theme.muted)
    return [
        Tile(channel, grid.box(channel), low, high, state, band.activation.address)
        for channel, state in zip(subject.channels, subject.states(), strict=True)
    ]
