"""Collect the records of a run and write `manifest.json` atomically.

Records are written to an anonymous scratch file, one per line; only their positions are kept in
memory. `write` assembles `manifest.json` from them and replaces it atomically. Records that another
run wrote to the same folder in the meantime are merged first.
"""

from __future__ import annotations

import contextlib
import json
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
# Disk space reserved in addition to the size of the records, for options and failures.
RESERVE = 32 << 10
# Smallest interval between writes in seconds, and largest fraction of time spent on them.
SECONDS, SHARE = 2.0, 0.03


@dataclass(frozen=True, slots=True)
class KnownFigure:
    """Facts on a figure that are kept in memory: the hash of what made it, size in bytes, number of pages."""

    work: str
    size: int
    pages: int = 1


@dataclass(frozen=True, slots=True)
class _RecordPosition:
    """Position of a record in the scratch file; `own` is true if it was added in this run."""

    start: int
    length: int
    own: bool
    known: KnownFigure


class Manifest:
    """The manifest of a folder during a run.

    Parameters
    ----------
    folder
        The folder of the figures and the manifest.
    model
        The name of the model. Records are not added to the manifest of another model.
    overwrite
        Whether an existing file that cannot be extended is replaced.
    read_only
        Whether the folder is not writable, so that nothing is written.

    Raises
    ------
    OutputError
        When the existing file is damaged, of another model or of a newer schema, unless `overwrite`
        is set.
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
        # 0: no limit, all in memory.
        self._scratch: BinaryIO = self._files.enter_context(
            temporary_files.scratch_file(folder, 0 if read_only else IN_MEMORY)
        )
        self._reserve = temporary_files.Reserve(folder)
        self._files.callback(self._reserve.release)
        self.about: dict[str, Any] = {}
        self.versions: dict[str, str] = {}
        try:
            self._load(overwrite=overwrite)
        except BaseException:
            self._files.close()
            raise

    def _load(self, *, overwrite: bool) -> None:
        try:
            self._merge()
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
        """Delete the scratch file; see `close`."""
        self.close()

    def close(self) -> None:
        """Delete the scratch file, after `write`."""
        self._files.close()

    def __len__(self) -> int:
        """Return the number of figures."""
        return len(self._figures)

    def find(self, file: str) -> KnownFigure | None:
        """Return the facts on a figure by its path relative to the folder, or ``None``."""
        position = self._figures.get(file)
        return None if position is None else position.known

    def record(self, path: Path) -> dict[str, Any]:
        """Return the record of a figure that is in the manifest."""
        record: dict[str, Any] = json.loads(self._line(self._figures[path.relative_to(self._folder).as_posix()]))
        return record

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the record of a figure that was written or is up to date."""
        self._append(record, own=True)
        self._failures.pop((str(record["input"]), str(record["address"])), None)

    def fail(self, record: Mapping[str, Any]) -> None:
        """Add the record of a failure: `input`, `address` (or ``None``), `reason`, `code`."""
        self._failures[_key(record)] = (True, dict(record))

    def forgive(self, name: str) -> None:
        """Remove the failure of an input that was read successfully in this run."""
        self._failures.pop((name, ""), None)

    def forget_earlier_failures(self) -> None:
        """Remove the failures of earlier runs, after a run that was complete."""
        for key in self._earlier:
            if key in self._failures and not self._failures[key][0]:
                del self._failures[key]

    def write_now_and_then(self) -> None:
        """Write the file if enough time has passed since the last write, relative to its duration."""
        if time.monotonic() - self._written > max(SECONDS, self._cost / SHARE):
            self._replace(interrupted=True)

    def write(self, *, interrupted: bool) -> None:
        """Replace the file at the end of a run by one with all records, sorted by file.

        If the disk is full, the reserved space is used.

        Raises
        ------
        OutputError
            When it cannot be written; the older file is kept.
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
                    self._merge()
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

    def _line(self, position: _RecordPosition) -> bytes:
        self._at_end = False
        self._scratch.seek(position.start)
        return self._scratch.read(position.length)

    def _append(self, record: Mapping[str, Any], *, own: bool) -> None:
        line = dump_json(record)
        with temporary_files.scratch_errors(self._folder):
            if not self._at_end:  # a seek flushes the buffer
                self._scratch.seek(self._end)
            self._at_end = False
            self._scratch.write(line)
            self._at_end = True
        self._figures[str(record["file"])] = _RecordPosition(self._end, len(line), own, _known(record))
        self._end += len(line)
        if own:  # last: when it fails, the positions above are those of what the file holds
            self._reserve.grow(self._end + RESERVE)

    def _merge(self) -> None:
        """Merge the records of the existing file, except those that this run has replaced."""
        self._seen = file_system.stamp_of(self._path)
        if self._seen is None:
            return
        for section, record in read(self._path):
            if section == "about":
                self._check_model(record)
            elif section == "figures":
                self._merge_figure(record)
            elif not self._failures.get(_key(record), (False,))[0]:
                self._failures[_key(record)] = (False, record)

    def _merge_figure(self, record: dict[str, Any]) -> None:
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
        """Remove figures of earlier runs (or of this run, with `own`) whose files are missing; return their number."""
        missing = [
            file
            for file, position in self._figures.items()
            if position.own == own and held_folder.size_inside(self._folder / file) is None
        ]
        for file in missing:
            del self._figures[file]
        return len(missing)


def _is_inside(file: str) -> bool:
    """Return True if the path of a record lies inside the folder, as in every file that actviz wrote."""
    path = PurePosixPath(file)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in file


def _known(record: Mapping[str, Any]) -> KnownFigure:
    """Return the facts of a record; an invalid size or number of pages is replaced by one that no file has."""
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
