"""Rendering of text with a cache of glyphs, and formatting of numbers.

The font is DejaVu Sans, as matplotlib ships it; matplotlib itself is not imported. See `text_runs` for
other characters.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import re
import unicodedata
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from actviz.errors import escape
from actviz.figures import fonts
from actviz.figures.text_runs import JOINERS, Run, font_content, runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
DOT = "\N{MIDDLE DOT}"
DASH = "\N{EN DASH}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
INFINITY = "\N{INFINITY}"
ALMOST = "\N{ALMOST EQUAL TO}"

# The glyphs of these do not exceed their advance, so that a number is rendered by concatenation.
_NUMERIC = f"0123456789.,e:+= {MINUS}{DASH}{PLUS_MINUS}"
_MOST_DIGITS = 17
_SMALLEST_PLAIN, _LARGEST_PLAIN = 1e-3, 1e5

# Parts of text that are never split: a number with its sign, separators, exponent, range and unit; the
# code of a character.
_DIGITS = r"[.,]?\d(?:[\d.,'_\u2019\u00a0\u202f]*\d)?(?:[eE][+\-\u2212]?\d+)?"
_SIGN = r"[+\-\u2212\u00b1]"
_TOKEN = re.compile(
    rf"\\(?:x[0-9a-f]{{2}}|u[0-9a-f]{{4}}|U[0-9a-f]{{8}})"
    rf"|{_SIGN}?{_DIGITS}(?:\.\.{_SIGN}?{_DIGITS})?(?:%|[^\W\d_]{{1,3}}(?!\w))?"
    rf"|{_SIGN}?.",
    re.DOTALL,
)


class Font:
    """A font at one size, with a cache of rendered glyphs.

    The labels of 512 tiles take 2 ms from the cache, where Pillow's `ImageDraw.text` takes 39 ms.
    """

    def __init__(self, size: int, *, bold: bool = False) -> None:
        """Open the font at a size in pixels and render the glyphs of numbers."""
        self._size, self._bold = size, bold
        self._fonts: dict[tuple[Path | None, bool], ImageFont.FreeTypeFont] = {}
        self._font = self._font_of(Run(""))
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
        """Return the coverage of several texts on one line, and the column after each.

        Parameters
        ----------
        columns
            The first column of each, increasing and without overlap. The coverage, ``(row, column)``,
            starts at the first.
        """
        parts: list[NDArray[np.uint8]] = []
        end_columns: list[int] = []
        for text, column in zip(texts, columns, strict=True):
            if end_columns and column > end_columns[-1]:
                parts.append(self._space(column - end_columns[-1]))
            try:
                parts += [self._glyphs[character] for character in text]
            except KeyError:
                parts.append(self.alpha(text))
            end_columns.append(column + self.width(text))
        return np.concatenate(parts, axis=1), end_columns

    def _space(self, width: int) -> NDArray[np.uint8]:
        """Return zero coverage of a width; cached, since the gaps between tiles are the same in every figure."""
        space = self._spaces.get(width)
        if space is None:
            space = self._spaces[width] = np.zeros((self.height, width), np.uint8)
        return space

    def fit(self, text: str, width: int) -> str:
        """Return `text`, its middle replaced by an ellipsis if it is wider than `width` pixels.

        Numbers, codes of characters and letters with accents are kept or omitted as a whole, so that no
        truncated number is shown. Empty if not even the ellipsis fits.
        """
        if self.length(text) <= width and self._extent(text) <= width:
            return text
        parts = tokens(text)
        # Remove one token at a time near the end, so that the result is as long as possible.
        kept = min(len(parts) - 1, max(0, width))
        while kept > 0:
            head = (kept + 1) // 2
            short = "".join([*parts[:head], ELLIPSIS, *parts[len(parts) - (kept - head) :]])
            excess = self._extent(short) - width
            if excess <= 0:
                return short
            kept -= max(1, excess // (2 * self.height * max(1, len(short) // kept)))
        return ELLIPSIS if self._extent(ELLIPSIS) <= width else ""

    def length(self, text: str) -> float:
        """Return the sum of the advances of `text`, without rendering it."""
        runs = runs_of(text, bold=self._bold)
        return float(sum(self._font_of(run).getlength(run.characters, direction=run.direction) for run in runs))

    def _font_of(self, run: Run) -> ImageFont.FreeTypeFont:
        key = run.path, run.direction is not None
        if key not in self._fonts:
            data = font_content(bold=self._bold) if run.path is None else fonts.content(run.path)
            # The basic layout gives the same pixels whether or not Raqm is installed.
            layout = ImageFont.Layout.RAQM if run.direction else ImageFont.Layout.BASIC
            self._fonts[key] = ImageFont.truetype(io.BytesIO(data), self._size, layout_engine=layout)
        return self._fonts[key]

    def _extent(self, text: str) -> int:
        """Return the width of `alpha` without rendering."""
        return sum(self._extent_of(run)[1] for run in runs_of(text, bold=self._bold))

    def _extent_of(self, run: Run) -> tuple[int, int]:
        """Return how far a run extends to the left of its origin, and its total width."""
        font = self._font_of(run)
        left, _, right, _ = font.getbbox(run.characters, anchor="ls", direction=run.direction)
        indent = max(0, math.ceil(-left))
        return indent, indent + math.ceil(max(right, font.getlength(run.characters, direction=run.direction), 1))

    def _draw(self, text: str) -> NDArray[np.uint8]:
        pieces = [self._draw_run(run) for run in runs_of(text, bold=self._bold)]
        return np.concatenate(pieces, axis=1) if pieces else np.zeros((self.height, 0), np.uint8)

    def _draw_run(self, run: Run) -> NDArray[np.uint8]:
        indent, width = self._extent_of(run)
        image = Image.new("L", (width, self.height))
        pen = ImageDraw.Draw(image)
        font = self._font_of(run)
        pen.text((indent, self.ascent), run.characters, fill=255, font=font, anchor="ls", direction=run.direction)
        return np.asarray(image)


_SCALE: ContextVar[float] = ContextVar("font_scale", default=1.0)


@contextlib.contextmanager
def scaled(factor: float) -> Iterator[None]:
    """Multiply the sizes of all fonts inside the block, in this thread only."""
    token = _SCALE.set(factor)
    try:
        yield
    finally:
        _SCALE.reset(token)


def get_font(size: int, *, bold: bool = False) -> Font:
    """Return the shared font of a size in pixels, multiplied as in `scaled`."""
    return _font(max(1, round(size * _SCALE.get())), bold)


@functools.cache
def _font(size: int, bold: bool) -> Font:  # noqa: FBT001  (cached by position)
    return Font(size, bold=bold)


def tokens(text: str) -> list[str]:
    """Return the parts of a text that are never split: numbers, codes of characters, letters with accents.

    Examples
    --------
    >>> tokens("8 of 1,152")
    ['8', ' ', 'o', 'f', ' ', '1,152']
    """
    parts: list[str] = []
    for part in _TOKEN.findall(text):
        if parts and (part in JOINERS or unicodedata.category(part[0]).startswith("M") or parts[-1][-1] in JOINERS):
            parts[-1] += part
        else:
            parts.append(part)
    return parts


def shown(text: str, limit: int = 400) -> str:
    """Return untrusted text escaped for display in a picture: one line without invisible characters.

    A text longer than `limit` characters is truncated with ``...``, but not inside a number.
    """
    safe = escape(text[: 2 * limit], limit=20 * limit)
    if len(safe) <= limit and len(text) <= 2 * limit:
        return safe
    size, kept = 3, []
    for token in tokens(safe)[: None if len(text) <= 2 * limit else -1]:
        size += len(token)
        if size > limit:
            break
        kept.append(token)
    return "".join(kept) + "..."


def number(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits.

    Integer digits are not rounded below 100,000. Larger numbers and those below 0.001 have an exponent
    (``1.2e-5``). The minus sign is U+2212.
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


def fitting_number(value: float, font: Font, width: int) -> str:
    """Return a number with as many digits, 1 to 3, as fit in `width` pixels; with 1 digit if none fits."""
    words = (number(value, digits) for digits in (3, 2, 1))
    return next((word for word in words if font.width(word) <= width), number(value, 1))


def range_text(low: float, high: float, digits: int = 3) -> str:
    """Return a range such as ``0.49..0.505``, with more digits if different limits would look equal."""
    pairs = ((number(low, count), number(high, count)) for count in range(digits, _MOST_DIGITS + 1))
    first, last = next((pair for pair in pairs if pair[0] != pair[1] or low == high), (repr(low), repr(high)))
    return f"{first}..{last}"


def shape(sizes: Sequence[int]) -> str:
    """Return a shape such as ``11 x 11 x 64``, with multiplication signs (U+00D7)."""
    return f" {TIMES} ".join(str(size) for size in sizes)


def shape_of_numbers(sizes: Sequence[float]) -> str:
    """Return sizes that may be fractions in the form of `shape`: ``0.5 x 2``."""
    return f" {TIMES} ".join(number(size) for size in sizes)


def plural(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 layer``, ``2,000 layers``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listing(items: Sequence[int], most: int = 8) -> str:
    """Return the first `most` items and the number of others: ``2, 17, 40 … 35 more``."""
    words = ", ".join(str(item) for item in items[:most])
    rest = len(items) - most
    return f"{words} {ELLIPSIS} {rest:,} more" if rest > 0 else words


def wrap(parts: Sequence[str], font: Font, width: int) -> list[str]:
    """Join `parts` with middle dots into lines of at most `width` pixels.

    A part that is too long for a line is broken at spaces; the middle of a word that is too long is
    replaced by an ellipsis.
    """
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]} {DOT} {part}" if lines else part
        if lines and font.width(joined) <= width:
            lines[-1] = joined
        else:
            lines.extend(_broken(part, font, width))
    return lines


def _broken(part: str, font: Font, width: int) -> list[str]:
    if font.width(part) <= width:
        return [part]
    lines: list[str] = []
    for word in part.split(" "):
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.width(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(font.fit(word, width))
    return lines
