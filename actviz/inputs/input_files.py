"""Expand the folders, patterns and lists of a command line into input files."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from actviz.errors import InputError, UsageError, escape
from actviz.gate.file_type import MODEL_SUFFIXES, SECOND_MODEL
from actviz.inputs.skipped_files import SOUND_HINT, TEXT_HINT, SkippedFiles
from actviz.system import file_system, folders, streams

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".apng", ".npy", ".npz"}
)  # fmt: skip
SOUND_SUFFIXES = frozenset({".wav"})
TEXT_SUFFIXES = frozenset({".txt", ".csv"})
MAXIMUM_LIST_BYTES = 256 << 20
OF_SEVERAL = frozenset({".npy", ".npz", ".txt", ".csv"})
STANDARD_INPUT = "-"
BLOCK = 1024
_PATTERN = frozenset("*?[")
MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
"""A folder with one of these is a model, not a folder of inputs."""
_SHARD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of a batch; `number` counts from 1."""

    number: int = 1
    count: int = 1

    def holds(self, index: int) -> bool:
        """Return True if the item at `index` of the whole batch belongs to this part."""
        return index % self.count == self.number - 1


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to read; `name` is its name in figures."""

    path: Path
    name: str


class FileList(Sequence[InputFile]):
    """Input files, of which only two blocks are kept as objects and the others compressed.

    100,000 files of 2,000 folders take 2 MB; as a list of `InputFile` they took 41 MB.
    """

    def __init__(self, files: Iterable[InputFile] = ()) -> None:
        self._blocks: list[bytes] = []
        self._open: list[InputFile] = []
        self._read: tuple[int, list[InputFile]] = -1, []
        for file in files:
            self._open.append(file)
            if len(self._open) == BLOCK:
                texts = "\0".join(f"{file.path}\0{file.name}" for file in self._open)
                self._blocks.append(zlib.compress(texts.encode("utf-8", "surrogatepass"), 1))
                self._open = []

    def __len__(self) -> int:
        """Return the number of files."""
        return BLOCK * len(self._blocks) + len(self._open)

    @overload
    def __getitem__(self, index: int) -> InputFile: ...

    @overload
    def __getitem__(self, index: slice) -> list[InputFile]: ...

    def __getitem__(self, index: int | slice) -> InputFile | list[InputFile]:
        """Return a file, or a list of files."""
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        block, within = divmod(range(len(self))[index], BLOCK)
        return self._block(block)[within]

    def __iter__(self) -> Iterator[InputFile]:
        """Yield the files in order."""
        for block in range(len(self._blocks) + 1):
            yield from self._block(block)

    def _block(self, block: int) -> list[InputFile]:
        if block == len(self._blocks):
            return self._open
        number, files = self._read  # once: other threads may replace it
        if number != block:
            texts = zlib.decompress(self._blocks[block]).decode("utf-8", "surrogatepass").split("\0")
            files = [InputFile(Path(path), name) for path, name in zip(texts[::2], texts[1::2], strict=True)]
            self._read = block, files
        return files


@dataclass(frozen=True, slots=True)
class InputPart:
    """Consecutive inputs of a list: `files` with their numbers in it, a pure function of the list.

    `number` counts from 1. `first` is the first sample of the first file, `end` the one after the last of the last file
    (``None``: to its end), `inputs` how many there are as far as that is known. Without files it is the whole of inputs
    that are not divided: those given by name, or the default one. `alone` is True if the list has no other file.
    """

    number: int = 1
    files: tuple[tuple[int, InputFile], ...] = ()
    first: int = 0
    end: int | None = None
    inputs: int = 1
    alone: bool = True

    def window(self, index: int) -> tuple[int, int | None]:
        """Return the first sample of the file at `index` of `files`, and the one after the last."""
        return self.first if index == 0 else 0, self.end if index == len(self.files) - 1 else None


@dataclass(frozen=True, slots=True)
class InputArguments:
    """The inputs of a command line, not opened yet.

    Parameters
    ----------
    paths
        Files of samples for the only input or, as `.npz`, for all inputs. A path may also be a folder (all
        inputs in it and its subfolders), a pattern such as ``'images/*.png'`` that the shell did not
        expand, or ``@FILE``, a list.
    named
        ``NAME=FILE``, one for each input: together they are one sample, or as many as each
        file has.
    lists
        Files that list more paths, one per line; ``-`` is standard input.
    separated_by_nul
        Whether the paths in lists are separated by NUL bytes.
    files
        The files themselves, for inputs that are read twice: standard input can be read once.
    shard
        The part of the samples that is read.
    part
        The part of the list that is read (``None``: all of it); see `input_parts.parts`.
    """

    paths: tuple[Path, ...] = ()
    named: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    separated_by_nul: bool = False
    files: Sequence[InputFile] = ()
    shard: Shard = Shard()
    part: InputPart | None = None

    def __post_init__(self) -> None:
        """Check the arguments before any file is opened."""
        model = next((str(path) for path in self.paths if path.suffix.lower() in MODEL_SUFFIXES), "")
        if self.named and model:
            raise UsageError(f"{escape(model, 80)}: this is a second model; {SECOND_MODEL}.")
        for text in self.named:
            name, mark, file = text.partition("=")
            if not (name and mark and file):
                message = f"--input {escape(text, 80)}: give NAME=FILE, the name of an input and the file for it; a file for the only input of a model needs no option."
                raise UsageError(message)
        if self.paths and self.named:
            message = f"{escape(str(self.paths[0]), 80)}: files without a name and --input NAME=FILE do not go together; give all of them by name."
            raise UsageError(message)
        if self.named and self.lists:
            raise UsageError("--files-from and --input NAME=FILE do not go together; give all inputs by name.")


def list_input_files(
    given: InputArguments,
    without: Path | None = None,
    *,
    text: bool = False,
    sound: bool = False,
    skipped: SkippedFiles | None = None,
) -> FileList:
    """Return the input files in the order given; those of a folder are sorted.

    In folders, files are selected by suffix; `text` and `sound` include those suffixes. The folder `without`
    is left out, as results may be written among the inputs. Other files in folders are added to `skipped`.
    Files that do not exist are included, so that reading them reports it.

    Raises
    ------
    InputError
        When a list cannot be read, or there are no files although a path was given.
    UsageError
        When a list names another list.
    """
    suffixes = SUFFIXES | (TEXT_SUFFIXES if text else frozenset()) | (SOUND_SUFFIXES if sound else frozenset())
    skipped = SkippedFiles() if skipped is None else skipped
    search = _Search(suffixes, given, without, skipped)
    listed = (path for name in given.lists for path in _listed(name, given.separated_by_nul))
    paths = itertools.chain(given.paths, listed)
    files = FileList(itertools.chain(given.files, (file for path in paths for file in _of_path(path, search))))
    if not files and (given.paths or given.lists):
        lists = ("standard input" if name == STANDARD_INPUT else name for name in given.lists)
        what = ", ".join(escape(str(name), 80) for name in (*given.paths, *lists)[:3])
        message = f"{what}: no input found there; images ({', '.join(sorted(SUFFIXES)[:4])}, ...) or arrays (.npy, .npz) were expected{''.join(f'; {note}' for note in skipped.notes())}."
        raise InputError(message)
    return files


@dataclass(frozen=True, slots=True)
class _Search:
    """Which files of folders are inputs, the folder that is left out, and the files skipped so far."""

    suffixes: frozenset[str]
    given: InputArguments
    without: Path | None
    skipped: SkippedFiles

    def skip(self, name: str, suffix: str) -> None:
        """Count a file that is no input, with the reason if the model decides it."""
        known = {**dict.fromkeys(TEXT_SUFFIXES, TEXT_HINT), **dict.fromkeys(SOUND_SUFFIXES, SOUND_HINT)}
        self.skipped.add(name, suffix, known.get(suffix.lower(), ""))


def _of_path(path: Path, search: _Search) -> Iterator[InputFile]:
    text = str(path)
    if file_system.is_folder(path) and not any(file_system.exists(path / name) for name in MODEL_FILES):
        for file in folders.walk_folder(path, search.without):
            name = file.relative_to(path).as_posix()
            if file.suffix.lower() in search.suffixes:
                yield InputFile(file, name)
            else:
                search.skip(name, file.suffix)
    elif file_system.exists(path):
        yield InputFile(path, path.name)
    elif text.startswith("@") and text != "@":
        for listed in _listed(text[1:], search.given.separated_by_nul):
            if str(listed).startswith("@"):
                raise UsageError(f"{escape(str(listed), 200)}: a list cannot name another list; put its paths in.")
            yield from _of_path(listed, search)
    elif _PATTERN & set(text):
        matches = folders.expand_pattern(text)
        if not matches:
            raise InputError(f"{escape(text, 200)}: no file matches this pattern; check it, and quote it as it is.")
        for match in matches:
            yield from _of_path(Path(match), search)
    else:
        yield InputFile(path, path.name)


def _listed(name: str, separated_by_nul: bool) -> Iterator[Path]:  # noqa: FBT001  (the option's own value)
    """Yield the paths in a list, without blank lines."""
    if name == STANDARD_INPUT:
        content = streams.read_standard_input(MAXIMUM_LIST_BYTES)
    else:
        content = file_system.read_bytes(Path(name), MAXIMUM_LIST_BYTES)
    line_of = re.compile(rb"[^\0]+" if separated_by_nul or b"\0" in content else rb"[^\n]+?(?=\r?(?:\n|\Z))")
    for match in line_of.finditer(content):
        if match[0].strip():
            yield Path(match[0].decode("utf-8", "surrogateescape"))


def may_hold(shard: Shard, number: int, path: Path) -> bool:
    """Return True if a file belongs to a shard, or its samples are divided among shards."""
    return shard.holds(number) or is_divided(path)


def is_divided(path: Path) -> bool:
    """Return True if the samples of a file are divided among shards, since by its suffix it may hold several."""
    return path.suffix.lower() in OF_SEVERAL


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
        raise UsageError(f"--shard {escape(text, 40)}: give N/M, the part and the number of parts, for instance 2/8.")
    if not 1 <= number <= count:
        message = f"--shard {escape(text, 40)}: there is no part {number} of {count}; the parts are 1 to {count}."
        raise UsageError(message)
    return Shard(number, count)
