"""Installed fonts for characters that DejaVu Sans lacks, found by their names and their character maps.

Folders are listed without a process or a cache file: 0.5 ms for 294 files, where `fc-list`
takes 50 to 60 ms. Only the character map of a candidate is read: fontTools needs 0.8 s for that of
Noto Sans CJK, after 0.3 s for its import.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import struct
import unicodedata
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from actviz.errors import ActvizError, LimitError
from actviz.system import file_system, folders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

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
_FONT_LIMIT, _MAP_LIMIT = 64 << 20, 4 << 20
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
_WIDE_MAP, _SEGMENTS, _GROUPS = ((3, 10), (0, 6), (0, 4)), 4, 12


@dataclass(frozen=True, slots=True)
class CharacterMap:
    """The characters of a font: `starts` and `ends` of ranges (both inclusive), and characters in them that are missing."""

    starts: list[int]
    ends: list[int]
    missing: frozenset[int] = frozenset()

    def __contains__(self, character: str) -> bool:
        """Return True if the font has a glyph for a character."""
        code = ord(character)
        index = bisect_left(self.ends, code)
        return index < len(self.ends) and self.starts[index] <= code and code not in self.missing


def covering(character: str, *, bold: bool = False) -> Path | None:
    """Return an installed font with a glyph for a character, ``None`` if there is none; deterministic."""
    word = _word_of(character)
    paths = itertools.chain.from_iterable(_candidates(word, weight) for weight in dict.fromkeys((bold, False)))
    return next((path for path in paths if character in map_of(path)), None)


@functools.cache
def content(path: Path) -> bytes:
    """Return a font file."""
    return file_system.read_bytes(path, _FONT_LIMIT, LimitError)


def forget() -> None:
    """Clear the caches of installed fonts."""
    for cached in (_installed, _candidates, map_of, content):
        cached.cache_clear()


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
def map_of(path: Path) -> CharacterMap:
    """Return the characters of a font; none if the file is damaged or contains only bitmaps."""
    try:
        with file_system.reading(path, LimitError) as (file, _):
            return _read_map(file)
    except (ActvizError, OSError, struct.error, ValueError, IndexError):
        return CharacterMap([], [])


def _read_map(file: BinaryIO) -> CharacterMap:
    start = struct.unpack(">I", _at(file, 12, 4))[0] if _at(file, 0, 4) == b"ttcf" else 0
    count = struct.unpack(">H", _at(file, start + 4, 2))[0]
    records = struct.iter_unpack(">4s4xII", _at(file, start + 12, 16 * count))
    tables = {tag: (offset, length) for tag, offset, length in records}
    if not tables.keys() & {b"glyf", b"CFF ", b"CFF2"}:  # pictures of fixed sizes, as in fonts of colored emoji
        return CharacterMap([], [])
    offset, length = tables[b"cmap"]
    data = _at(file, offset, min(length, _MAP_LIMIT))
    listed = struct.iter_unpack(">HHI", data[4 : 4 + 8 * struct.unpack(">H", data[2:4])[0]])
    positions = {(platform, encoding): position for platform, encoding, position in listed}
    wide = next((positions[key] for key in _WIDE_MAP if key in positions), None)
    position = wide if wide is not None else positions.get((3, 1), positions.get((0, 3)))
    if position is None:
        return CharacterMap([], [])
    form = struct.unpack(">H", data[position : position + 2])[0]
    if form == _GROUPS:
        groups = np.frombuffer(
            data, ">u4", 3 * struct.unpack(">I", data[position + 12 : position + 16])[0], position + 16
        )
        return CharacterMap(groups[0::3].tolist(), groups[1::3].tolist())
    return _segments(data[position:]) if form == _SEGMENTS else CharacterMap([], [])


def _segments(data: bytes) -> CharacterMap:
    """Read a character map of format 4: https://learn.microsoft.com/typography/opentype/spec/cmap."""
    count = struct.unpack(">H", data[6:8])[0] // 2
    ends, starts, deltas, ranges = (
        np.frombuffer(data, ">u2", count, 14 + 2 * count * row + 2 * (row > 0)).astype(int) for row in range(4)
    )
    missing: list[int] = []
    for number in range(count):
        codes = np.arange(starts[number], ends[number] + 1)
        glyphs = _glyphs(data, (codes, starts[number], deltas[number], ranges[number]), 16 + 2 * (3 * count + number))
        missing += codes[glyphs == 0].tolist()
    return CharacterMap(starts.tolist(), ends.tolist(), frozenset(missing))


def _glyphs(data: bytes, segment: tuple[NDArray[np.int64], int, int, int], position: int) -> NDArray[np.int64]:
    """Return the glyph indices of the codes of a segment whose glyph offset is stored at `position`; 0 if missing."""
    codes, _start, delta, offset = segment
    if not offset:
        return (codes + delta) & 0xFFFF
    first = position + offset
    held = np.frombuffer(data, ">u2", min(len(codes), max(0, (len(data) - first) // 2)), first).astype(int)
    padded = np.pad(held, (0, len(codes) - len(held)))
    return np.where(padded == 0, 0, (padded + delta) & 0xFFFF)


def _at(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)
