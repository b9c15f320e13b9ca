"""What a command line names as inputs, as a list of files: folders, patterns and lists opened up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actviz.errors import InputError, UsageError, escape
from actviz.system import file_system, folders, streams

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".apng", ".npy", ".npz"}
)  # fmt: skip
SOUND_SUFFIXES = frozenset({".wav"})
TEXT_SUFFIXES = frozenset({".txt", ".csv"})
MAXIMUM_LIST_BYTES = 256 << 20
STANDARD_INPUT = "-"
_PATTERN = frozenset("*?[")
_SHARD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to read; `name` is what figures call it."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class InputPaths:
    """What names the inputs: `paths` of the command line and `lists`, files that hold more.

    A path may be a file, a folder (all inputs in it and below), a pattern such as
    ``'images/*.png'`` that the shell left alone, or ``@FILE``, a list. A list has a path a
    line, or between NUL bytes where `separated_by_nul`; ``-`` is standard input. The folder
    `without` is left out: results may lie among the inputs.
    """

    paths: tuple[Path, ...] = ()
    lists: tuple[str, ...] = ()
    separated_by_nul: bool = False
    without: Path | None = None


def list_input_files(asked: InputPaths, *, text: bool = False, sound: bool = False) -> list[InputFile]:
    """Return the files that are asked for, in the order given, those of a folder sorted.

    In folders, files count by their suffix; `text` and `sound` say whether those do too.
    A file that does not exist is an entry as well: reading it tells.

    Raises
    ------
    InputError
        When a list cannot be read, or nothing is found although something was asked for.
    UsageError
        When a list names another list.
    """
    suffixes = SUFFIXES | (TEXT_SUFFIXES if text else frozenset()) | (SOUND_SUFFIXES if sound else frozenset())
    found = [entry for path in asked.paths for entry in _of_path(path, suffixes, asked)]
    for name in asked.lists:
        found += [entry for path in _listed(name, asked.separated_by_nul) for entry in _of_path(path, suffixes, asked)]
    if not found and (asked.paths or asked.lists):
        lists = ("standard input" if name == STANDARD_INPUT else name for name in asked.lists)
        what = ", ".join(escape(str(name), 80) for name in (*asked.paths, *lists)[:3])
        message = f"{what}: no input found there; images ({', '.join(sorted(SUFFIXES)[:4])}, ...) or arrays (.npy, .npz) were expected."
        raise InputError(message)
    return found


def _of_path(path: Path, suffixes: frozenset[str], asked: InputPaths) -> Iterator[InputFile]:
    text = str(path)
    if _is_folder(path):
        if not any(file_system.exists(path / name) for name in ("saved_model.pb", "saved_model.pbtxt")):
            yield from _of_folder(path, suffixes, asked.without)
            return
    elif not _exists(path):
        if text.startswith("@") and len(text) > 1:
            for inner in _listed(text[1:], asked.separated_by_nul):
                yield from _of_path(_no_list(inner), suffixes, asked)
            return
        if _PATTERN & set(text):
            matches = folders.expand_pattern(text)
            if not matches:
                message = f"{escape(text, 200)}: no file matches this pattern; check it, and quote it as it is."
                raise InputError(message)
            for match in matches:
                yield from _of_path(Path(match), suffixes, asked)
            return
    yield InputFile(path, path.name)


def _no_list(path: Path) -> Path:
    if str(path).startswith("@"):
        message = f"{escape(str(path), 200)}: a list cannot name another list; put its paths in."
        raise UsageError(message)
    return path


def _of_folder(folder: Path, suffixes: frozenset[str], without: Path | None) -> Iterator[InputFile]:
    for path in folders.walk_folder(folder, without):
        if path.suffix.lower() in suffixes:
            yield InputFile(path, path.relative_to(folder).as_posix())


def _listed(name: str, separated_by_nul: bool) -> list[Path]:  # noqa: FBT001  (the option's own value)
    """Return the paths in a list: one a line, blank lines left out."""
    if name == STANDARD_INPUT:
        content = streams.read_standard_input(MAXIMUM_LIST_BYTES)
    else:
        content = file_system.read_bytes(Path(name), MAXIMUM_LIST_BYTES)
    mark = b"\0" if separated_by_nul or (b"\0" in content) else b"\n"
    lines = [line.removesuffix(b"\r") if mark == b"\n" else line for line in content.split(mark)]
    return [Path(line.decode("utf-8", "surrogateescape")) for line in lines if line.strip()]


def _is_folder(path: Path) -> bool:
    try:
        return file_system.is_folder(path)
    except (OSError, ValueError):
        return False  # opening it fails for the same reason, and says which


def _exists(path: Path) -> bool:
    try:
        return file_system.exists(path)
    except (OSError, ValueError):
        return True


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of several that a batch is cut into: `number` from 1 to `count`."""

    number: int = 1
    count: int = 1

    def holds(self, place: int) -> bool:
        """Tell whether the item at a place of the whole batch belongs to this part."""
        return place % self.count == self.number - 1


def parse_shard(text: str) -> Shard:
    """Read ``2/8``: the second of eight parts.

    Raises
    ------
    UsageError
        When it is no such thing.
    """
    found = _SHARD.fullmatch(text)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not count:
        message = f"--shard {escape(text, 40)}: give N/M, the part and how many there are, for instance 2/8."
        raise UsageError(message)
    if not 1 <= number <= count:
        message = f"--shard {escape(text, 40)}: there is no part {number} of {count}; the parts are 1 to {count}."
        raise UsageError(message)
    return Shard(number, count)
