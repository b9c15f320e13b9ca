"""Installed fonts for characters that DejaVu Sans lacks, found by their names and their glyphs.

Folders are listed without a process or a cache file: 0.5 ms for 294 files, where `fc-list`
takes 50 to 60 ms. FreeType, through Pillow, determines whether a font has a character and opens a font in
0.3 ms: fontTools needs 0.8 s to read the characters of Noto Sans CJK, after 0.3 s for its import.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFont

from actviz.errors import ActvizError, LimitError
from actviz.system import file_system, folders

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
)
"""Folders that are searched for fonts, in this order; tests replace them."""

_MOST_FILES, _MOST_TRIED = 5_000, 24
_FONT_LIMIT = 64 << 20
# No font has a glyph for a noncharacter, so that FreeType returns its glyph for missing characters.
_NONCHARACTER, _PROBE_SIZE = "\uffff", 16
_SUFFIXES = frozenset({".ttf", ".otf", ".ttc"})
# The first word of a character's Unicode name, and a word in the file names of fonts for it.
_NAMED = {
    "HIRAGANA": "cjk",
    "KATAKANA": "cjk",
    "HANGUL": "cjk",
    "BOPOMOFO": "cjk",
    "IDEOGRAPHIC": "cjk",
    "FULLWIDTH": "cjk",
    "MATHEMATICAL": "math",
}
# Fonts for many scripts, and for Chinese, Japanese and Korean, that do not name one.
_BROAD = ("unifont", "fallback", "unicode", "wqy", "uming", "ukai", "gothic", "pingfang", "hiragino", "symbol")


def covering(character: str, *, bold: bool = False) -> Path | None:
    """Return an installed font with a glyph for a character, ``None`` if there is none; deterministic."""
    word = _word_of(character)
    paths = itertools.chain.from_iterable(_candidates(word, weight) for weight in dict.fromkeys((bold, False)))
    return next((path for path in paths if has_glyph(path, character)), None)


@functools.cache
def content(path: Path) -> bytes:
    """Return a font file."""
    return file_system.read_bytes(path, _FONT_LIMIT, LimitError)


@functools.cache
def _installed() -> tuple[Path, ...]:
    folders = (Path(os.path.expanduser(folder)) for folder in FOLDERS)
    files = itertools.chain.from_iterable(_files_in(folder) for folder in folders if file_system.is_folder(folder))
    return tuple(itertools.islice(files, _MOST_FILES))


def _files_in(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(ActvizError):  # a folder that cannot be read holds no fonts for this user
        yield from (path for path in folders.walk_folder(folder) if path.suffix.lower() in _SUFFIXES)


@functools.cache
def _candidates(word: str, bold: bool) -> tuple[Path, ...]:  # noqa: FBT001  (part of a cache's key)
    """Return candidate fonts for characters whose Unicode names begin with a word, the most likely first."""

    def rank(path: Path) -> tuple[bool, bool, bool, bool, int, str]:
        name = path.stem.lower()
        broad = any(part in name for part in _BROAD)
        weight = ("bold" in name) == bold and not any(part in name for part in ("italic", "oblique", "light", "thin"))
        return word not in name, not broad, "sans" not in name, not weight, len(name), str(path)

    return tuple(sorted(_installed(), key=rank)[:_MOST_TRIED])


def _word_of(character: str) -> str:
    word = unicodedata.name(character, "").partition(" ")[0]
    return _NAMED.get(word, word.lower()) or "unifont"


@functools.cache
def has_glyph(path: Path, character: str) -> bool:
    """Return True if a font has an outline for a character; False for a damaged font or one of bitmaps only."""
    probe = _probe(path)
    return probe is not None and _drawn(probe[0], character) != probe[1]


@functools.cache
def _probe(path: Path) -> tuple[ImageFont.FreeTypeFont, tuple[tuple[int, int], bytes]] | None:
    """Return a font and its glyph for missing characters, ``None`` if it cannot be opened or scaled."""
    try:
        font = ImageFont.truetype(path, _PROBE_SIZE, layout_engine=ImageFont.Layout.BASIC)
        return font, _drawn(font, _NONCHARACTER)
    except (OSError, ValueError):
        return None


def _drawn(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    """Return size and coverage of the glyph of a character."""
    mask = font.getmask(character)
    return mask.size, bytes(mask)
