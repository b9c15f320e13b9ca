"""Expand the folders, patterns and lists of a command line into input files."""

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
    """A file to read; `name` is its name in figures."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class InputPaths:
    """The `paths` of the command line, and `lists`, files that list more paths.

    A path may be a file, a folder (all inputs in it and its subfolders), a pattern such as
    ``'images/*.png'`` that the shell did not expand, or ``@FILE``, a list. A list has one path per
    line, or separated by NUL bytes if `separated_by_nul` is set; ``-`` is standard input. The folder
    `without` is skipped, as results may be written among the inputs.
    """

    paths: tuple[Path, ...] = ()
    lists: tuple[str, ...] = ()
    separated_by_nul: bool = False
    without: Path | None = None


def list_input_files(asked: InputPaths, *, text: bool = False, sound: bool = False) -> list[InputFile]:
    """Return the input files in the order given; those of a folder are sorted.

    In folders, files are selected by suffix; `text` and `sound` include those suffixes. Files that do
    not exist are included, so that reading them reports it.

    Raises
    ------
    InputError
        When a list cannot be read, or there are no files although a path was given.
    UsageError
        When a list names another list.
    """
    suffixes = SUFFIXES | (TEXT_SUFFIXES if text else frozenset()) | (SOUND_SUFFIXES if sound else frozenset())
    files = [entry for path in asked.paths for entry in _of_path(path, suffixes, asked)]
    for name in asked.lists:
        files += [entry for path in _listed(name, asked.separated_by_nul) for entry in _of_path(path, suffixes, asked)]
    if not files and (asked.paths or asked.lists):
        lists = ("standard input" if name == STANDARD_INPUT else name for name in asked.lists)
        what = ", ".join(escape(str(name), 80) for name in (*asked.paths, *lists)[:3])
        message = f"{what}: no input found there; images ({', '.join(sorted(SUFFIXES)[:4])}, ...) or arrays (.npy, .npz) were expected."
        raise InputError(message)
    return files


def _of_path(path: Path, suffixes: frozenset[str], asked: InputPaths) -> Iterator[InputFile]:
    text = str(path)
    if file_system.is_folder(path):
        if not any(file_system.exists(path / name) for name in ("saved_model.pb", "saved_model.pbtxt")):
            yield from _of_folder(path, suffixes, asked.without)
            return
    elif not file_system.exists(path):
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
    """Return the paths in a list, without blank lines."""
    if name == STANDARD_INPUT:
        content = streams.read_standard_input(MAXIMUM_LIST_BYTES)
    else:
        content = file_system.read_bytes(Path(name), MAXIMUM_LIST_BYTES)
    separator = b"\0" if separated_by_nul or (b"\0" in content) else b"\n"
    lines = [line.removesuffix(b"\r") if separator == b"\n" else line for line in content.split(separator)]
    return [Path(line.decode("utf-8", "surrogateescape")) for line in lines if line.strip()]


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of a batch; `number` counts from 1."""

    number: int = 1
    count: int = 1

    def holds(self, index: int) -> bool:
        """Return True if the item at `index` of the whole batch belongs to this part."""
        return index % self.count == self.number - 1


def parse_shard(text: str) -> Shard:
    """Parse ``2/8``: the second of eight parts.

    Raises
    ------
    UsageError
        When it has another form, or the number is out of range.
    """
    match = _SHARD.fullmatch(text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not count:
        message = f"--shard {escape(text, 40)}: give N/M, the part and how many there are, for instance 2/8."
        raise UsageError(message)
    if not 1 <= number <= count:
        message = f"--shard {escape(text, 40)}: there is no part {number} of {count}; the parts are 1 to {count}."
        raise UsageError(message)
    return Shard(number, count)
