"""The records of a run as they are made, and the file that is whole whenever somebody looks.

Records go to a scratch file without a name, one a line; memory holds only where each lies.
`write` puts them together into `manifest.json` and replaces it at once. Another run into
the same folder may have written meanwhile: its records are taken in first.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from actviz.errors import OutputError
from actviz.results.manifest.manifest_reader import LISTS, NAME, SCHEMA, opening_of, read
from actviz.results.provenance_json import dump_json
from actviz.system import file_system, file_writing, folders, held_folder, temporary_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

IN_MEMORY = 1 << 20
# Held beyond the size of the records, for the options and the failures.
RESERVE = 32 << 10
# The file is written again at most this often, and so that it costs a small part of the time.
SECONDS, SHARE = 2.0, 0.03


@dataclass(frozen=True, slots=True)
class KnownFigure:
    """What is known of a figure without reading its record: what made it, its size in bytes, how many pages it has."""

    work: str
    size: int
    pages: int = 1


@dataclass(frozen=True, slots=True)
class _RecordPosition:
    """Where a record lies in the scratch file; `own` says that this run made it."""

    start: int
    length: int
    own: bool
    known: KnownFigure


class Manifest:
    """The manifest of one folder during one run.

    Parameters
    ----------
    folder
        Where the figures and the manifest are.
    model
        The name of the model. A manifest of another one is not added to.
    overwrite
        Whether a file that cannot be added to is replaced.
    read_only
        Whether nothing can be written to the folder, so that all stays as it is.

    Raises
    ------
    OutputError
        When what stands there is damaged, of another model or of a later schema, unless
        `overwrite` is set.
    """

    def __init__(self, folder: Path, model: str, *, overwrite: bool = False, read_only: bool = False) -> None:
        self._folder, self._path, self._model = folder, folder / NAME, model
        self._figures: dict[str, _RecordPosition] = {}
        self._failures: dict[tuple[str, str], tuple[bool, dict[str, Any]]] = {}
        self._end, self._at_end = 0, True
        self._seen: file_system.FileStamp | None = None
        self._written, self._cost = time.monotonic(), 0.0
        self._files = contextlib.ExitStack()
        self._read_only = read_only
        # 0: all of it in memory.
        self._scratch: BinaryIO = self._files.enter_context(
            temporary_files.scratch_file(folder, 0 if read_only else IN_MEMORY)
        )
        self._reserve = temporary_files.Reserve(folder)
        self._files.callback(self._reserve.release)
        self.about: dict[str, Any] = {}
        self.versions: dict[str, str] = {}
        try:
            self._start_from_what_is_there(overwrite=overwrite)
        except BaseException:
            self._files.close()
            raise

    def _start_from_what_is_there(self, *, overwrite: bool) -> None:
        try:
            self._take_in()
            self._earlier = frozenset(self._failures)
        except OutputError:
            if not overwrite:
                raise
            self._figures.clear()
            self._failures.clear()
            self._earlier = frozenset()
            self._seen = file_system.stamp_of(self._path)

    def __enter__(self) -> Self:
        """Return the manifest itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop the scratch file; see `close`."""
        self.close()

    def close(self) -> None:
        """Drop the scratch file; `write` comes before."""
        self._files.close()

    def __len__(self) -> int:
        """Return the number of figures."""
        return len(self._figures)

    def find(self, file: str) -> KnownFigure | None:
        """Return what is known of a figure by its file, relative to the folder."""
        place = self._figures.get(file)
        return None if place is None else place.known

    def add(self, record: Mapping[str, Any]) -> None:
        """Take the record of a figure that was written or found up to date."""
        self._append(record, own=True)
        self._failures.pop((str(record["input"]), str(record["address"])), None)

    def fail(self, record: Mapping[str, Any]) -> None:
        """Take the record of what could not be made: `input`, `address` (or ``None``), `reason`, `code`."""
        self._failures[_key(record)] = (True, dict(record))

    def forgive(self, name: str) -> None:
        """Drop the failure of an input as a whole: it was read this time."""
        self._failures.pop((name, ""), None)

    def forget_earlier_failures(self) -> None:
        """Drop what failed in runs before this one, which did all there is to do."""
        for key in self._earlier:
            if key in self._failures and not self._failures[key][0]:
                del self._failures[key]

    def write_now_and_then(self) -> None:
        """Write where the last time is long ago, measured by what it cost."""
        if time.monotonic() - self._written > max(SECONDS, self._cost / SHARE):
            self._replace(interrupted=True)

    def write(self, *, interrupted: bool) -> None:
        """Replace the file by one that holds all records, sorted by file, at the end of a run.

        Where the disk is full, the space is used that was held for it.

        Raises
        ------
        OutputError
            When it cannot be written; the older one stays.
        """
        try:
            self._replace(interrupted=interrupted)
        except OutputError:
            if not self._reserve.release():
                raise
            self._replace(interrupted=interrupted)

    def _replace(self, *, interrupted: bool) -> None:
        if self._read_only:
            return
        started = time.monotonic()
        with folders.folder_lock(self._folder):
            if file_system.stamp_of(self._path) != self._seen:
                with contextlib.suppress(OutputError):
                    self._take_in()
            with file_writing.replace_file(self._path) as file:
                for piece in self._pieces(interrupted=interrupted):
                    file.write(piece)
            self._seen = file_system.stamp_of(self._path)
        self._written = time.monotonic()
        self._cost = self._written - started

    def _pieces(self, *, interrupted: bool) -> Iterator[bytes]:
        about = {"schema": SCHEMA, **self.about, "model": self._model, "interrupted": interrupted}
        lines = [b" %s: %s,\n" % (dump_json(key), dump_json(value)) for key, value in sorted(about.items())]
        yield b"{\n" + b"".join(lines)
        yield opening_of(LISTS[0]) + b"\n"
        failures = [self._failures[key][1] for key in sorted(self._failures)]
        yield from _separated(dump_json(record) for record in failures)
        yield b" ],\n" + opening_of(LISTS[1]) + b"\n"
        yield from _separated(self._line(self._figures[file]) for file in sorted(self._figures))
        yield b" ]\n}\n"

    def _line(self, place: _RecordPosition) -> bytes:
        self._scratch.seek(place.start)
        self._at_end = False
        return self._scratch.read(place.length)

    def _append(self, record: Mapping[str, Any], *, own: bool) -> None:
        line = dump_json(record)
        with temporary_files.scratch_errors(self._folder):
            if not self._at_end:  # a needless seek would write what is buffered
                self._scratch.seek(self._end)
            self._at_end = False
            self._scratch.write(line)
            self._at_end = True
        if own:
            self._reserve.grow(self._end + len(line) + RESERVE)
        self._figures[str(record["file"])] = _RecordPosition(self._end, len(line), own, _known(record))
        self._end += len(line)

    def _take_in(self) -> None:
        """Take the records of the file that stands there, except where this run has its own."""
        self._seen = file_system.stamp_of(self._path)
        if self._seen is None:
            return
        for section, record in read(self._path):
            if section == "about":
                self._check_model(record)
            elif section == "figures":
                self._take_figure(record)
            elif not self._failures.get(_key(record), (False,))[0]:
                self._failures[_key(record)] = (False, record)

    def _take_figure(self, record: dict[str, Any]) -> None:
        file = record.get("file")
        if not isinstance(file, str) or not {"input", "address"} <= set(record) or not _is_inside(file):
            return
        held = self._figures.get(file)
        if held is None or not held.own:
            self._append(record, own=False)

    def _check_model(self, about: Mapping[str, Any]) -> None:
        versions = about.get("versions")
        self.versions = self.versions or (dict(versions) if isinstance(versions, dict) else {})
        if about.get("model") != self._model:
            message = f"{self._path}: is of the model {about.get('model')!s}, not {self._model}; choose another folder with -o, or pass --overwrite to begin a new manifest."
            raise OutputError(message)

    def drop_lost(self, *, own: bool = False) -> int:
        """Forget figures whose files are gone: those of earlier runs, or of this one (`own`); return how many."""
        gone = [
            file
            for file, place in self._figures.items()
            if place.own == own and held_folder.size_inside(self._folder / file) is None
        ]
        for file in gone:
            del self._figures[file]
        return len(gone)


def _is_inside(file: str) -> bool:
    """Tell whether what a record says of its file is a place in the folder; no run of ours writes another."""
    path = PurePosixPath(file)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in file


def _known(record: Mapping[str, Any]) -> KnownFigure:
    """Return what a record says of its file; a size or number of pages that is none fits no file."""
    size, pages = record.get("bytes"), record.get("pages", 1)
    return KnownFigure(
        str(record.get("work", "")), size if type(size) is int else -1, pages if type(pages) is int else 0
    )


def _key(record: Mapping[str, Any]) -> tuple[str, str]:
    return str(record.get("input", "")), str(record.get("address") or "")


def _separated(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines of JSON with commas between them."""
    before = b""
    for line in lines:
        yield before + line
        before = b",\n"
    if before:
        yield b"\n"
