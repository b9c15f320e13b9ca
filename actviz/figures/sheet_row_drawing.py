"""Draw one layer of a sheet: a line of text, and its tiles or its strip of units below."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from actviz.figures import colors, histograms, mosaic, text
from actviz.figures.renderers import captions, grid
from actviz.figures.renderers.renderer_protocol import MAP
from actviz.figures.sheet_row import FACE, GAP, HEAD, LINE_GAP, PLAIN, is_narrow, row_height, tile_size
from actviz.records import Tile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.figures import page_layout
    from actviz.figures.sheet_row import RowPart, SheetRow, TileLimits

_NAMED = 5


def draw(canvas: page_layout.Canvas, piece: RowPart, room: TileLimits) -> list[Tile]:
    """Draw a band, or a part of it."""
    band, (row, left) = piece.band, piece.corner
    top = row + text.get_font(HEAD, bold=True).height + 6
    found, (_, wide) = band.subject.distribution, histograms.SPARK
    if not is_narrow(band, room):
        _write_head(canvas, piece, room.width - (wide + GAP if found else 0), band.ends)
        if found:
            histograms.draw_spark(canvas, found, row, left + room.width - wide)
    else:
        _write_head(canvas, piece, room.width, "")
        if band.ends:
            plain = text.get_font(PLAIN)
            canvas.write(plain.fit(band.ends, room.width), top, left, plain, canvas.theme.muted)
            top += plain.height + LINE_GAP
        if found:
            histograms.draw_spark(canvas, found, top, left)
            top += histograms.SPARK[0] + LINE_GAP
    if band.strip:
        return _draw_strip(canvas, band, room, (top, left))
    return _draw_tiles(canvas, piece, room, (top, left))


def _write_head(canvas: page_layout.Canvas, piece: RowPart, width: int, ends: str) -> None:
    """Write address, class, shape, counts and the ends of the colours, as many of them as there is room for."""
    head, plain, band = text.get_font(HEAD, bold=True), text.get_font(PLAIN), piece.band
    kind = plain.fit(text.shown(band.activation.kind), width // 4)
    sizes, (counts, count, fewest) = text.shape(band.activation.values.shape[1:]), _counts(band)
    counts += piece.words
    name = text.shown(band.activation.address)
    # The class goes first, then the order and what stands behind it; numbers stay.
    shorter: tuple[list[str], ...] = ([kind, sizes, counts], [sizes, counts], [sizes, count], [count], [fewest], [])
    choices = [[fact for fact in (*some, ends) if fact] for some in shorter]
    rooms = [width - sum(plain.width(fact) + 12 for fact in some) for some in choices]
    wanted = max(width // 3, min(head.width(name), width // 2))
    chosen, room = next(
        (pair for pair in zip(choices, rooms, strict=True) if pair[1] >= wanted), (choices[-1], rooms[-1])
    )
    row, column = piece.corner
    column = canvas.write(head.fit(name, room), row, column, head, canvas.theme.ink)
    for fact in chosen:
        column = canvas.write(fact, row + head.ascent - plain.ascent, column + 12, plain, canvas.theme.muted)


def _counts(band: SheetRow) -> tuple[str, str, str]:
    """Return what is written of the number of tiles: everything, without order and notes, and the numbers alone."""
    shown, total = len(band.subject.channels), band.subject.total
    if band.noun == MAP and total == 1:
        note = band.note or "1 map"
        short = note.partition(", ")[0]  # the comma in a number has no space behind it
        return note, short, short
    numbers = f"{shown:,} of {total:,}"
    count = f"{numbers} {band.noun}{'s' if total != 1 else ''}"
    words = count + (captions.selection_note(shown, total, band.style, ordered=False) if shown < total else "")
    return words + (f", {band.note}" if band.note else ""), count, numbers


def _paint(band: SheetRow, places: range, size: tuple[int, int]) -> NDArray[np.uint32]:
    """Return the packed colours of some tiles in their final size.

    Of large maps the values are averaged, not the colours, so that colours stay true.
    """
    subject = band.subject
    channels = [subject.channels[place] for place in places]
    if band.over is not None:
        return band.over.painted(replace(subject, channels=channels), size)
    maps = band.maps[places.start : places.stop]
    down, right = size[0] // maps.shape[1], size[1] // maps.shape[2]
    if min(down, right) < 1 or (maps.shape[1] * down, maps.shape[2] * right) != size:
        maps, down, right = _averaged(maps, size), 1, 1
    steps = colors.values_to_steps(maps, subject.low[channels], subject.high[channels], signed=subject.signed)
    pixels = colors.steps_to_pixels(steps, subject.table)
    if not subject.numbers.finite:
        colors.paint_nonfinite(pixels, maps, subject.table)
    return pixels.repeat(down, axis=1).repeat(right, axis=2)


def _averaged(maps: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    small = np.empty((len(maps), *size), dtype=np.float32)
    with np.errstate(over="ignore"):
        source = maps.astype(np.float32)
    for place, one in enumerate(source):
        small[place] = np.asarray(Image.fromarray(one).resize(size[::-1], Image.Resampling.BOX))
    return small


def _draw_tiles(canvas: page_layout.Canvas, piece: RowPart, room: TileLimits, corner: tuple[int, int]) -> list[Tile]:
    face, theme, band, places = text.get_font(FACE), canvas.theme, piece.band, piece.places(room)
    subject = band.subject
    size, _ = tile_size(band, room)
    painted = _paint(band, places, size)
    states, below = subject.states(), piece.ends(room)
    tiles = []
    for place, pixels in zip(places, painted, strict=True):
        row, column = divmod(place - places.start, room.per_row)
        top = corner[0] + row * row_height(size) + face.height + 2
        left = corner[1] + column * (room.side + GAP) + 1
        box = (top, left, top + size[0], left + size[1])
        canvas.fill((top - 1, left - 1, box[2] + 1, box[3] + 1), theme.line)
        canvas.pixels[top : box[2], left : box[3]] = pixels
        channel = subject.channels[place]
        if subject.total > 1:
            canvas.write(str(channel), top - 2 - face.height, left - 1, face, theme.ink)
        canvas.write(below[place - places.start], box[2] + 3, left - 1, face, theme.muted)
        low, high = float(subject.low[channel]), float(subject.high[channel])
        tiles.append(Tile(channel, box, low, high, states[place], band.activation.address))
        _hatch(canvas, band, box)
    grid.mark_states(canvas, tiles)
    return tiles


def _hatch(canvas: page_layout.Canvas, band: SheetRow, box: tuple[int, int, int, int]) -> None:
    """Hatch the masked steps."""
    top, left, bottom, right = box
    ends = (top, bottom) if band.axis == 1 else (left, right)
    edges = np.rint(np.linspace(*ends, band.maps.shape[band.axis] + 1)).astype(int).tolist()
    for step in band.hatched:
        first, last = edges[step], edges[step + 1]
        part = (first, left, last, right) if band.axis == 1 else (top, first, bottom, last)
        grid.hatch(canvas, part, canvas.theme.muted, (top, left))


def _draw_strip(canvas: page_layout.Canvas, band: SheetRow, room: TileLimits, corner: tuple[int, int]) -> list[Tile]:
    """Draw all units of a vector side by side, in as many rows as they need."""
    face, theme, subject = text.get_font(FACE), canvas.theme, band.subject
    (cell_height, cell), _ = tile_size(band, room)
    columns = min(subject.total, room.width // cell)
    rows = -(-subject.total // columns)
    places = mosaic.TileGrid(rows, columns, *corner, cell_height, cell, cell_height, cell)
    if rows == 1:
        end = corner[1] + columns * cell
        canvas.fill((corner[0] - 1, corner[1] - 1, corner[0] + cell_height + 1, end + 1), theme.line)
    mosaic.write_tiles(canvas.pixels, places, subject.painted(), (cell_height, cell))
    low, high = float(subject.low[0]), float(subject.high[0])
    strongest = np.argsort(-subject.numbers.strength, kind="stable")[:_NAMED].tolist()
    values = subject.maps[:, 0, 0]
    named = ", ".join(f"{unit} ({text.number(float(values[unit]))})" for unit in strongest)
    words = f"{text.number(low)}..{text.number(high)} {text.DOT} strongest by |value|: {named}"
    canvas.write(face.fit(words, room.width), corner[0] + rows * cell_height + 3, corner[1], face, theme.muted)
    return [
        Tile(channel, places.box(channel), low, high, state, band.activation.address)
        for channel, state in zip(subject.channels, subject.states(), strict=True)
    ]
