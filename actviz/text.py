"""Text as pixels: each glyph is drawn once at a size, then copied.

The font is DejaVu Sans, as matplotlib ships it; matplotlib itself is not imported.
"""

from __future__ import annotations

import functools
import io
import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from actviz import system
from actviz.errors import ActvizError, LimitError, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
DOT = "\N{MIDDLE DOT}"
DASH = "\N{EN DASH}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
INFINITY = "\N{INFINITY}"

_FONT_LIMIT = 4 << 20
# Glyphs of these stay inside their advance, so that a number is its glyphs side by side.
_NUMERIC = f"0123456789.,e:+= {MINUS}{DASH}{PLUS_MINUS}"
_SMALLEST_PLAIN, _LARGEST_PLAIN = 1e-3, 1e5


@functools.cache
def _font_content(*, bold: bool) -> bytes:
    found = find_spec("matplotlib")
    if found is None or not found.submodule_search_locations:
        message = "matplotlib is not installed, so there is no font; install matplotlib."
        raise ActvizError(message)
    folder = Path(found.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return system.read_bytes(folder / name, _FONT_LIMIT, LimitError)


class Face:
    """A font at one size, with the glyphs drawn so far."""

    def __init__(self, size: int, *, bold: bool = False) -> None:
        """Open the font at a size in pixels and draw the glyphs of numbers."""
        # The basic layout gives the same pixels whether or not Raqm is installed.
        self._font = ImageFont.truetype(
            io.BytesIO(_font_content(bold=bold)), size, layout_engine=ImageFont.Layout.BASIC
        )
        self.ascent, descent = self._font.getmetrics()
        self.height = self.ascent + descent
        self._glyphs = {character: self._draw(character) for character in _NUMERIC}
        self._advance = {character: glyph.shape[1] for character, glyph in self._glyphs.items()}
        self._drawn: dict[str, NDArray[np.uint8]] = {}
        self._spaces: dict[int, NDArray[np.uint8]] = {}

    def width(self, text: str) -> int:
        """Return the width of `text` in pixels."""
        try:
            return sum([self._advance[character] for character in text])
        except KeyError:
            return int(self.alpha(text).shape[1])

    def alpha(self, text: str) -> NDArray[np.uint8]:
        """Return the coverage of `text`, ``(row, column)``, 0 (none) to 255 (full)."""
        try:
            return np.concatenate([self._glyphs[character] for character in text], axis=1)
        except (KeyError, ValueError):
            pass
        drawn = self._drawn.get(text)
        if drawn is None:
            drawn = self._drawn[text] = self._draw(text)
        return drawn

    def line(self, texts: Sequence[str], columns: Sequence[int]) -> tuple[NDArray[np.uint8], list[int]]:
        """Return the coverage of texts that stand beside each other, and the column after each.

        Parameters
        ----------
        columns
            Where each begins, from left to right, none before the end of another; the
            coverage, ``(row, column)``, begins at the first.
        """
        pieces: list[NDArray[np.uint8]] = []
        ends: list[int] = []
        for text, column in zip(texts, columns, strict=True):
            if ends and column > ends[-1]:
                pieces.append(self._space(column - ends[-1]))
            try:
                pieces += [self._glyphs[character] for character in text]
            except KeyError:
                pieces.append(self.alpha(text))
            ends.append(column + self.width(text))
        return np.concatenate(pieces, axis=1), ends

    def _space(self, width: int) -> NDArray[np.uint8]:
        """Return no coverage; the same spaces stand between the tiles of every figure."""
        space = self._spaces.get(width)
        if space is None:
            space = self._spaces[width] = np.zeros((self.height, width), np.uint8)
        return space

    def fit(self, text: str, width: int) -> str:
        """Return `text`, its middle replaced by an ellipsis if it is wider than `width`."""
        if self.length(text) <= width and self._extent(text) <= width:
            return text
        # One character less at a time near the end, so that no room is left unused.
        kept = min(len(text) - 1, max(0, width))
        while kept > 0:
            head = (kept + 1) // 2
            short = text[:head] + ELLIPSIS + text[len(text) - (kept - head) :]
            excess = self._extent(short) - width
            if excess <= 0:
                return short
            kept -= max(1, excess // (2 * self.height))
        return ELLIPSIS if self._extent(ELLIPSIS) <= width else ""

    def length(self, text: str) -> float:
        """Return the sum of the advances of `text`, without drawing it."""
        return float(self._font.getlength(text))

    def _extent(self, text: str) -> int:
        """Return the width that `alpha` will have, without drawing."""
        if not text:
            return 0
        left, _, right, _ = self._font.getbbox(text, anchor="ls")
        return max(0, math.ceil(-left)) + math.ceil(max(right, self._font.getlength(text), 1))

    def _draw(self, text: str) -> NDArray[np.uint8]:
        image = Image.new("L", (self._extent(text), self.height))
        if text:
            left = self._font.getbbox(text, anchor="ls")[0]
            indent = max(0, math.ceil(-left))
            pen = ImageDraw.Draw(image)
            pen.text((indent, self.ascent), text, fill=255, font=self._font, anchor="ls")
        return np.asarray(image).reshape(self.height, -1)


@functools.cache
def face(size: int, *, bold: bool = False) -> Face:
    """Return the shared face of a size."""
    return Face(size, bold=bold)


def shown(text: str, limit: int = 400) -> str:
    """Return untrusted text as it may appear in a picture: one line, nothing hidden."""
    return escape(text, limit=limit)


def number(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits, as people write it.

    Whole digits are never rounded away below 100,000; what is larger than that or
    smaller than 0.001 gets an exponent (``1.2e-5``, with a real minus sign).
    """
    size = abs(value)
    if size == 0:
        return "0"
    if math.isnan(size):
        return "NaN"
    if size == math.inf:
        written = INFINITY
    elif _SMALLEST_PLAIN <= size < _LARGEST_PLAIN:
        written = f"{size:.{digits}g}"
        if "e" in written:
            written = f"{size:.0f}"
    else:
        mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
        if "." in mantissa:
            mantissa = mantissa.rstrip("0").rstrip(".")
        written = f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    return MINUS + written if value < 0 else written


def shape(sizes: Sequence[int]) -> str:
    """Return a shape as people write it: ``11 x 11 x 64``, with real multiplication signs."""
    return f" {TIMES} ".join(str(size) for size in sizes)


def shape_of_numbers(sizes: Sequence[float]) -> str:
    """Return sizes that may be fractions, as `shape` writes whole ones: ``0.5 x 2``."""
    return f" {TIMES} ".join(number(size) for size in sizes)


def listing(items: Sequence[int], most: int = 8) -> str:
    """Return a list that stays short: ``2, 17, 40 … 35 more``."""
    words = ", ".join(str(item) for item in items[:most])
    rest = len(items) - most
    return f"{words} {ELLIPSIS} {rest:,} more" if rest > 0 else words


def wrap(parts: Sequence[str], face_: Face, width: int) -> list[str]:
    """Join `parts` with middle dots into lines of at most `width` pixels.

    A part that is too long alone breaks at its spaces, and a word that is too long alone
    loses its middle.
    """
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]} {DOT} {part}" if lines else part
        if lines and face_.width(joined) <= width:
            lines[-1] = joined
        else:
            lines.extend(_broken(part, face_, width))
    return lines


def _broken(part: str, face_: Face, width: int) -> list[str]:
    if face_.width(part) <= width:
        return [part]
    lines: list[str] = []
    for word in part.split(" "):
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and face_.width(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(face_.fit(word, width))
    return lines
