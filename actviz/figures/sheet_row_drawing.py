"""Draw one layer of a sheet: a line of text, and its tiles or its strip of units below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from actviz.figures import colors, histograms, mosaic, text
from actviz.figures.renderers import captions, grid
from actviz.figures.renderers.renderer_protocol import MAP
from actviz.figures.sheet_row import (
    FONT_SIZE,
    GAP,
    HEADING_SIZE,
    LINE_GAP,
    TEXT_SIZE,
    WORD_GAP,
    is_narrow,
    row_height,
    tile_size,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.figures.canvas import Canvas
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.figures.sheet_row import RowPart, SheetRow, TileLimits
    from actviz.records import Tile

_NAMED = 5


def draw(canvas: Canvas, part: RowPart, limits: TileLimits) -> list[Tile]:
    """Draw a sheet row, or a part of it."""
    row, (first, left) = part.row, part.corner
    top = first + text.get_font(HEADING_SIZE, bold=True).height + 6
    distribution, (_, wide) = row.prepared.distribution, histograms.SPARK
    if not is_narrow(row, limits):
        _write_head(canvas, part, limits.width - (wide + GAP if distribution else 0), row.color_limits)
        if distribution:
            histograms.draw_spark(canvas, distribution, first, left + limits.width - wide)
    else:
        _write_head(canvas, part, limits.width, "")
        if row.color_limits:
            plain = text.get_font(TEXT_SIZE)
            canvas.write(plain.fit(row.color_limits, limits.width), top, left, plain, canvas.theme.muted)
            top += plain.height + LINE_GAP
        if distribution:
            histograms.draw_spark(canvas, distribution, top, left)
            top += histograms.SPARK[0] + LINE_GAP
    if row.strip:
        return _draw_strip(canvas, row, limits, (top, left))
    return _draw_tiles(canvas, part, limits, (top, left))


def _write_head(canvas: Canvas, part: RowPart, width: int, limits_text: str) -> None:
    """Write address, class, shape, counts and color limits, as many of them as there is room for."""
    head, plain, row = text.get_font(HEADING_SIZE, bold=True), text.get_font(TEXT_SIZE), part.row
    kind = plain.fit(text.shown(row.activation.kind), width // 4)
    sizes, (counts, count, fewest) = text.shape(row.activation.values.shape[1:]), _counts(row)
    counts += part.words
    name = text.shown(row.activation.address)
    # Omit the class first, then the order and the notes after it; keep numbers.
    shorter: tuple[list[str], ...] = ([kind, sizes, counts], [sizes, counts], [sizes, count], [count], [fewest], [])
    choices = [[fact for fact in (*facts, limits_text) if fact] for facts in shorter]
    widths = [width - sum(plain.width(fact) + 12 for fact in facts) for facts in choices]
    wanted = max(width // 3, min(head.width(name), width // 2))
    chosen, available = next(
        (pair for pair in zip(choices, widths, strict=True) if pair[1] >= wanted), (choices[-1], widths[-1])
    )
    top, column = part.corner
    column = canvas.write(head.fit(name, available), top, column, head, canvas.theme.ink)
    for fact in chosen:
        column = canvas.write(fact, top + head.ascent - plain.ascent, column + 12, plain, canvas.theme.muted)


def _counts(row: SheetRow) -> tuple[str, str, str]:
    """Return the text of the number of tiles: complete, without order and notes, and only numbers."""
    shown, total = len(row.prepared.channels), row.prepared.total
    if row.tile_name == MAP and total == 1:
        note = row.note or "1 map"
        short = note.partition(", ")[0]  # a comma inside a number is not followed by a space
        return note, short, short
    numbers = f"{shown:,} of {total:,}"
    count = f"{numbers} {row.tile_name}{'s' if total != 1 else ''}"
    words = count + (captions.selection_note(shown, total, row.style, ordered=False) if shown < total else "")
    return words + (f", {row.note}" if row.note else ""), count, numbers


def _paint(row: SheetRow, prepared: PreparedMaps, maps: NDArray[Any], size: tuple[int, int]) -> NDArray[np.uint32]:
    """Return the packed pixels ``(tile, row, column)`` of the tiles `maps` of a row in their final size.

    Values of large maps are averaged rather than colors, so that colors remain those of the color bar.
    """
    if row.over is not None:
        return row.over.painted(prepared, size)
    down, right = size[0] // maps.shape[1], size[1] // maps.shape[2]
    if min(down, right) < 1 or (maps.shape[1] * down, maps.shape[2] * right) != size:
        maps, down, right = _averaged(maps, size), 1, 1
    low, high = prepared.low[prepared.channels], prepared.high[prepared.channels]
    pixels = colors.steps_to_pixels(colors.values_to_steps(maps, low, high, signed=prepared.signed), prepared.table)
    if not prepared.numbers.finite:
        colors.paint_nonfinite(pixels, maps, prepared.table)
    return pixels.repeat(down, axis=1).repeat(right, axis=2)


def _averaged(maps: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    averaged = np.empty((len(maps), *size), dtype=np.float32)
    with np.errstate(over="ignore"):
        source = maps.astype(np.float32)
    for index, map_ in enumerate(source):
        averaged[index] = np.asarray(Image.fromarray(map_).resize(size[::-1], Image.Resampling.BOX))
    return averaged


def _draw_tiles(canvas: Canvas, part: RowPart, limits: TileLimits, corner: tuple[int, int]) -> list[Tile]:
    font, theme, row, indices = text.get_font(FONT_SIZE), canvas.theme, part.row, part.indices(limits)
    prepared, (size, _) = part.prepared(limits), tile_size(row, limits)
    top, left = corner[0] + (font.height + 2 if row.numbered else 1), corner[1] + row.margin + 1
    step = row_height(size, numbered=row.numbered), limits.side + GAP
    cells = mosaic.TileGrid(len(part.rows), limits.per_row, top, left, *step, *size)
    painted = _paint(row, prepared, row.maps[indices.start : indices.stop], size)
    boxes = map(cells.box, range(len(indices)))
    tiles = [tile._replace(address=row.activation.address) for tile in prepared.tiles(boxes)]
    for tile, pixels, label in zip(tiles, painted, part.labels(limits), strict=True):
        top, left, bottom, right = tile.box
        canvas.fill((top - 1, left - 1, bottom + 1, right + 1), theme.line)
        canvas.pixels[top:bottom, left:right] = pixels
        if row.numbered:
            canvas.write(str(tile.channel), top - 2 - font.height, left - 1, font, theme.ink)
        canvas.write(label, bottom + 3, left - 1, font, theme.muted)
        _hatch(canvas, row, tile.box)
        _write_words(canvas, row, tile.box)
    grid.mark_states(canvas, tiles)
    return tiles


def _write_words(canvas: Canvas, row: SheetRow, box: tuple[int, int, int, int]) -> None:
    """Write the words of the input to the left of their steps."""
    font, (top, left, bottom, _) = text.get_font(FONT_SIZE), box
    for index, word in enumerate(row.words):
        middle = top + (2 * index + 1) * (bottom - top) // (2 * len(row.words))
        words = font.fit(word, row.margin - WORD_GAP)
        canvas.write(words, middle - font.height // 2, left - 1 - row.margin, font, canvas.theme.muted)


def _hatch(canvas: Canvas, row: SheetRow, box: tuple[int, int, int, int]) -> None:
    """Hatch the masked steps."""
    top, left, bottom, right = box
    limits = (top, bottom) if row.masked_axis == 1 else (left, right)
    edges = np.rint(np.linspace(*limits, row.maps.shape[row.masked_axis] + 1)).astype(int).tolist()
    for step in row.masked_steps:
        first, last = edges[step], edges[step + 1]
        step_box = (first, left, last, right) if row.masked_axis == 1 else (top, first, bottom, last)
        grid.hatch(canvas, step_box, canvas.theme.muted, (top, left))


def _draw_strip(canvas: Canvas, row: SheetRow, limits: TileLimits, corner: tuple[int, int]) -> list[Tile]:
    """Draw all units of a vector as cells, in as many rows as they need."""
    font, theme, prepared = text.get_font(FONT_SIZE), canvas.theme, row.prepared
    (cell_height, cell), _ = tile_size(row, limits)
    columns = min(prepared.total, limits.width // cell)
    rows = -(-prepared.total // columns)
    cells = mosaic.TileGrid(rows, columns, *corner, cell_height, cell, cell_height, cell)
    if rows == 1:
        end = corner[1] + columns * cell
        canvas.fill((corner[0] - 1, corner[1] - 1, corner[0] + cell_height + 1, end + 1), theme.line)
    mosaic.write_tiles(canvas.pixels, cells, prepared.painted(), (cell_height, cell))
    low, high = float(prepared.low[0]), float(prepared.high[0])
    strongest = np.argsort(-prepared.numbers.strength, kind="stable")[:_NAMED].tolist()
    values = prepared.maps[:, 0, 0]
    named = ", ".join(f"{unit} ({text.number(float(values[unit]))})" for unit in strongest)
    words = f"{text.number(low)}..{text.number(high)} {text.DOT} strongest by |value|: {named}"
    canvas.write(font.fit(words, limits.width), corner[0] + rows * cell_height + 3, corner[1], font, theme.muted)
    boxes = map(cells.box, prepared.channels)
    return [tile._replace(address=row.activation.address) for tile in prepared.tiles(boxes)]
