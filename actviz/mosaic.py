"""Tiles to one array: how many columns, how large, and where each channel lies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from actviz.errors import UsageError, escape

if TYPE_CHECKING:
    from numpy.typing import NDArray

BARE_GAP = 1
BARE_GAP_VALUE = 255
WIDE = 1.5


def columns_for(count: int, height: int, width: int, aspect: float = WIDE) -> int:
    """Return the number of columns for `count` cells of `height` x `width` pixels.

    The rule: the grid that comes closest to `aspect` (width over height), then the smallest
    number of columns that needs no more rows, so that the last row is as full as can be.
    """
    if count <= 1:
        return max(count, 1)
    ideal = math.sqrt(count * height * aspect / max(width, 1))
    columns = min(max(round(ideal), 1), count)
    rows = -(-count // columns)
    return -(-count // rows)


def zoom_for(height: int, width: int, count: int) -> int:
    """Return by which whole factor a map is enlarged (nearest neighbour), at least 1.

    The rule: few tiles are drawn large and many small, so that each stays readable and the
    figure fits a page: the longer side comes close to 160 pixels for up to 8 tiles, 96 up to 64,
    72 up to 256 and 48 beyond.
    """
    side = next(
        (size for limit, size in ((8, 160), (64, 96), (256, 72)) if count <= limit), 48
    )
    return max(1, round(side / max(height, width, 1)))


def select(text: str | None, count: int) -> list[int]:
    """Read a channel selection such as ``0:16,40,-1``.

    Raises
    ------
    UsageError
        When it is malformed, names a channel that is not there, or selects none.
    """
    if text is None or text == "all":
        return list(range(count))
    chosen: list[int] = []
    for part in text.split(","):
        try:
            if ":" in part:
                start, stop, *step = (
                    int(piece) if piece.strip() else None for piece in part.split(":")
                )
                chosen += range(count)[slice(start, stop, *step[:1])]
            else:
                chosen.append(range(count)[int(part)])
        except (ValueError, TypeError):
            message = f'--channels: "{escape(text, 60)}" is no selection; give numbers and slices, such as 0:16,40.'
            raise UsageError(message) from None
        except IndexError:
            message = f"--channels: there is no channel {escape(part, 20)}; the layer has {count:,} (0 to {count - 1:,})."
            raise UsageError(message) from None
    unique = list(dict.fromkeys(chosen))
    if not unique:
        message = f'--channels: "{escape(text, 60)}" selects no channel; the layer has {count:,} (0 to {count - 1:,}).'
        raise UsageError(message)
    return unique


def enlarge(tiles: NDArray[np.uint8], zoom: int) -> NDArray[np.uint8]:
    """Enlarge ``(tile, row, column, RGB)`` by a whole factor, nearest neighbour."""
    if zoom == 1:
        return tiles
    return np.repeat(np.repeat(tiles, zoom, axis=1), zoom, axis=2)


def montage(
    tiles: NDArray[np.uint8], columns: int, gap: int = BARE_GAP
) -> NDArray[np.uint8]:
    """Lay tiles side by side, row by row, `gap` white pixels apart.

    Parameters
    ----------
    tiles
        ``(tile, row, column, RGB)``, uint8.

    Returns
    -------
    array
        ``(row, column, RGB)``, uint8; tile *k* starts at row
        ``(k // columns) * (height + gap)`` and column ``(k % columns) * (width + gap)``.
    """
    count, height, width, _ = tiles.shape
    rows = -(-count // columns)
    board = np.full(
        (rows * columns, height + gap, width + gap, 3), BARE_GAP_VALUE, np.uint8
    )
    board[:count, :height, :width] = tiles
    board = board.reshape(rows, columns, height + gap, width + gap, 3)
    board = board.transpose(0, 2, 1, 3, 4).reshape(
        rows * (height + gap), columns * (width + gap), 3
    )
    return np.ascontiguousarray(board[: board.shape[0] - gap, : board.shape[1] - gap])
