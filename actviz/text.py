"""Text on pixels: DejaVu Sans, drawn once for each string or glyph and kept.

Labels of tiles are set glyph by glyph from a cache (digits of this font are equally wide);
titles are set as a whole, with kerning. No markup is read.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageFont

from actviz.errors import escape
from actviz.records import Label

if TYPE_CHECKING:
    from numpy.typing import NDArray

INK = (38, 42, 48)
FAINT = (118, 124, 132)
WARNING = (176, 32, 32)
PAPER = (255, 255, 255)


def font_path(*, bold: bool) -> Path:
    """Return the font file that comes inside matplotlib, without importing matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    if found is None or not found.submodule_search_locations:
        message = "matplotlib is not installed"
        raise ModuleNotFoundError(message)
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return (
        Path(found.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf" / name
    )


@lru_cache(maxsize=32)
def _face(size: int, bold: bool) -> ImageFont.FreeTypeFont:  # noqa: FBT001  (cache keys are positional)
    return ImageFont.truetype(
        str(font_path(bold=bold)), size, layout_engine=ImageFont.Layout.BASIC
    )


def line_height(size: int) -> int:
    """Return the height in pixels of the box of one line."""
    ascent, descent = _face(size, False).getmetrics()
    return int(ascent + descent)


@lru_cache(maxsize=4096)
def _glyph(character: str, size: int, bold: bool) -> NDArray[np.uint8]:  # noqa: FBT001
    """Return coverage ``(row, column)``, 0..255, as wide as the glyph's advance."""
    face = _face(size, bold)
    width = max(1, round(face.getlength(character)))
    return _coverage(character, face, width, line_height(size))


def _coverage(
    text: str, face: ImageFont.FreeTypeFont, width: int, height: int
) -> NDArray[np.uint8]:
    mask, (left, top) = face.getmask2(text, mode="L")
    drawn = np.asarray(mask, np.uint8).reshape(mask.size[1], mask.size[0])
    board = np.zeros((height, width), np.uint8)
    row, column = max(top, 0), max(left, 0)
    part = drawn[: max(height - row, 0), : max(width - column, 0)]
    board[row : row + part.shape[0], column : column + part.shape[1]] = part
    return board


@lru_cache(maxsize=16384)
def _set(text: str, size: int, bold: bool) -> NDArray[np.uint8]:  # noqa: FBT001
    if not text:
        return np.zeros((line_height(size), 1), np.uint8)
    return np.concatenate([_glyph(character, size, bold) for character in text], axis=1)


@lru_cache(maxsize=1024)
def _ramp(ink: tuple[int, int, int], paper: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the colour for each coverage: ``(256, RGB)``."""
    share = np.arange(256)[:, None] / 255
    return np.round(np.array(paper) * (1 - share) + np.array(ink) * share).astype(
        np.uint8
    )


def width_of(text: str, size: int, *, bold: bool = False) -> int:
    """Return the width in pixels of a text that has been escaped."""
    return int(_set(text, size, bold).shape[1])


def fitted(text: str, size: int, width: int, *, bold: bool = False) -> str:
    """Return a text no wider than `width` pixels: escaped, cut in its middle if need be."""
    safe = escape(text, 400)
    if width_of(safe, size, bold=bold) <= width:
        return safe
    low, high = 0, len(safe)
    while low < high:
        kept = (low + high + 1) // 2
        if width_of(_shortened(safe, kept), size, bold=bold) <= width:
            low = kept
        else:
            high = kept - 1
    return _shortened(safe, low)


def _shortened(text: str, kept: int) -> str:
    head = -(-kept // 2)
    tail = kept - head
    return text[:head] + "…" + (text[-tail:] if tail else "")


def put(
    canvas: NDArray[np.uint8],
    text: str,
    place: tuple[int, int],
    size: int,
    *,
    bold: bool = False,
    ink: tuple[int, int, int] = INK,
    paper: tuple[int, int, int] = PAPER,
) -> Label:
    """Set one line of escaped text on plain paper and return where it lies.

    Parameters
    ----------
    canvas
        ``(row, column, RGB)``, uint8; drawn into.
    place
        Row and column of the top left corner.
    """
    coverage = _set(text, size, bold)
    row, column = place
    height, width = coverage.shape
    target = canvas[row : row + height, column : column + width]
    target[:] = _ramp(ink, paper)[coverage[: target.shape[0], : target.shape[1]]]
    return Label(text, (row, column, row + target.shape[0], column + target.shape[1]))
