r"""Division of text into runs of characters in one font each.

Characters that DejaVu Sans lacks are taken from an installed font, and scripts whose letters join or run
from right to left are shaped by Raqm. If either is missing, the code of a character is written: ``\u4e2d``.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from PIL import features

from actviz.errors import ActvizError, LimitError, escape_character
from actviz.figures import fonts
from actviz.system import file_system

_FONT_LIMIT = 4 << 20


# Characters from this code on are looked up in the font; DejaVu Sans has all before it.
_LOOKED_UP = "\u0250"


_OWN = frozenset("\N{HORIZONTAL ELLIPSIS}\N{MINUS SIGN}\N{EN DASH}\N{INFINITY}")


# Blocks of scripts that need shaping: South and South-East Asia, Tibet.
_SHAPED = ((0x0900, 0x109F), (0x1700, 0x17FF), (0x1900, 0x1CFF), (0xA800, 0xABFF), (0x11000, 0x11FFF))


_RIGHT_TO_LEFT = frozenset({"R", "AL"})


JOINERS = "\u200c\u200d"


@functools.cache
def font_path(*, bold: bool) -> Path:
    """Return the file of DejaVu Sans that matplotlib ships.

    Raises
    ------
    ActvizError
        When matplotlib is not installed.
    """
    package = find_spec("matplotlib")
    if package is None or not package.submodule_search_locations:
        raise ActvizError("matplotlib is not installed, so there is no font; install matplotlib.")
    folder = Path(package.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
    return folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")


@functools.cache
def font_content(*, bold: bool) -> bytes:
    """Return the bytes of DejaVu Sans."""
    return file_system.read_bytes(font_path(bold=bold), _FONT_LIMIT, LimitError)


@functools.cache
def can_shape() -> bool:
    """Return True if Pillow can shape text whose letters join or run from right to left."""
    return bool(features.check("raqm"))


@dataclass(frozen=True, slots=True)
class Run:
    """Characters in one font; `path` is ``None`` for DejaVu Sans, `direction` is set if Raqm shapes them."""

    characters: str
    path: Path | None = None
    direction: str | None = None


def is_plain(text: str) -> bool:
    """Return True if DejaVu Sans has every character of a text and none needs shaping."""
    return text.isprintable() and (
        text.isascii() or all(character < _LOOKED_UP or character in _OWN for character in text)
    )


def runs_of(text: str, *, bold: bool = False, shaping: bool | None = None) -> list[Run]:
    """Return a text as runs in one font each; characters that no font has are replaced by their codes.

    `shaping` says whether scripts can be shaped (``None``: if Pillow has Raqm).
    """
    if is_plain(text):
        return [Run(text)] if text else []
    shaping = can_shape() if shaping is None else shaping
    runs: list[Run] = []
    for character in unicodedata.normalize("NFC", text):
        run = _run_of(character, runs[-1] if runs else None, bold=bold, shaping=shaping)
        joined = _joined(runs, run)
        runs = [*runs[: len(runs) - joined[1]], joined[0]]
    return runs


def _joined(before: list[Run], run: Run) -> tuple[Run, int]:
    """Return a run merged with the preceding runs that it continues, and the number of these.

    Spaces between words of one script belong to their run, since the order of words changes from right to left.
    """
    if before and (before[-1].path, before[-1].direction) == (run.path, run.direction):
        return Run(before[-1].characters + run.characters, run.path, run.direction), 1
    if len(before) > 1 and run.direction and before[-1] == Run(" "):
        first = before[-2]
        if (first.path, first.direction) == (run.path, run.direction):
            return Run(f"{first.characters} {run.characters}", run.path, run.direction), 2
    return run, 0


def _run_of(character: str, before: Run | None, *, bold: bool, shaping: bool) -> Run:
    """Return the run of one character; a combining mark has the font of the run before it."""
    if is_plain(character):
        return Run(character)
    if before is not None and (unicodedata.category(character).startswith("M") or character in JOINERS):
        return _marked(character, before, bold=bold)
    if not character.isprintable():
        return Run(escape_character(character))
    direction = _direction_of(character)
    if direction is not None and not shaping:
        return Run(escape_character(character))
    if fonts.has_glyph(font_path(bold=bold), character):
        return Run(character, None, direction)
    path = fonts.covering(character, bold=bold)
    return Run(escape_character(character)) if path is None else Run(character, path, direction)


def _marked(mark: str, before: Run, *, bold: bool) -> Run:
    """Return a combining mark in the font of its letter, or its code if that font lacks it."""
    if fonts.has_glyph(before.path or font_path(bold=bold), mark):
        return Run(mark, before.path, before.direction)
    return Run(escape_character(mark))


def _direction_of(character: str) -> str | None:
    """Return the direction in which Raqm shapes a character, ``None`` if it needs no shaping."""
    if unicodedata.bidirectional(character) in _RIGHT_TO_LEFT:
        return "rtl"
    code = ord(character)
    return "ltr" if any(first <= code <= last for first, last in _SHAPED) else None
