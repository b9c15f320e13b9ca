"""Open, read and examine files.

No module outside this package opens, writes, renames or removes files, so that tests can inject
faults in one place. A file is read through one open descriptor.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from actviz.errors import ActvizError, InputError, ModelChangedError, ModelError
from actviz.suggestions import did_you_mean, near_names
from actviz.system import descriptors, folders, shortage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK = 1 << 20
# Names of a folder that are compared with one that is missing (30 ms for 1,000), and how similar their stems are at least.
_COMPARED, _SIMILAR = 300, 0.6


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Identifies the content of a file; it changes when the file is written to or replaced."""

    device: int
    inode: int
    size: int
    modified_ns: int


class _OpenedFiles:
    """The files that `open_regular` opened since the last call of `take`; recorded only if `enabled` is set."""

    def __init__(self) -> None:
        self.enabled = False
        self._lock = threading.Lock()
        self._stamps: dict[str, FileStamp] = {}

    def add(self, path: Path, stamp: FileStamp) -> None:
        if self.enabled:
            with self._lock:
                self._stamps.setdefault(os.fspath(path), stamp)

    def take(self) -> dict[str, FileStamp]:
        with self._lock:
            taken, self._stamps = self._stamps, {}
        return taken


_OPENED = _OpenedFiles()


def record_opened_files() -> None:
    """Start recording the files that this process opens for reading; see `opened_files`."""
    _OPENED.enabled = True


def opened_files() -> dict[str, FileStamp]:
    """Return the files opened since the last call: the stamp at the first opening, by path."""
    return _OPENED.take()


def open_regular(path: Path, error: type[ActvizError] = InputError, noun: str = "file") -> tuple[BinaryIO, FileStamp]:
    """Open a regular file for reading and return it with its stamp.

    FIFOs, devices, sockets and folders are refused without blocking.

    Raises
    ------
    ActvizError
        Of class `error`, when the path is missing, unreadable or not a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise error(f"{path}: no such {noun}; {similar_path(path) or 'check the path.'}") from None
    except (OSError, ValueError) as failure:
        shortage.refuse_shortage(failure)
        reason = getattr(failure, "strerror", None) or str(failure)
        raise error(f"{path}: the {noun} cannot be opened ({reason}); check the path and its rights.") from None
    with _read_errors(path, error, noun), descriptors.closing_on_failure(descriptor):
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            _OPENED.add(path, _stamp(status))
            return os.fdopen(descriptor, "rb"), _stamp(status)
    descriptors.close(descriptor)
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
    raise error(f"{path}: this is {kind}; a regular {noun} was expected.")


def similar_path(path: Path) -> str:
    """Return the question whether a similar name in the same folder was meant; empty if there is none.

    Of a path in a missing folder, the name of the folder is compared.
    """
    if exists(path):  # a dangling link, or no file
        return ""
    missing = path
    while missing.parent != missing and not exists(missing.parent):
        missing = missing.parent
    try:
        with os.scandir(missing.parent) as entries:
            names = [entry.name for entry in itertools.islice(entries, _COMPARED)]
    except (OSError, ValueError):
        return ""
    # Without suffixes, as a.png and b.png are four fifths equal.
    stems = near_names(missing.stem, {os.path.splitext(name)[0] for name in names}, 1, _SIMILAR)
    near = near_names(missing.name, [name for name in names if os.path.splitext(name)[0] in stems], 1, 0)
    similar = [missing.with_name(name) / path.relative_to(missing) for name in near]
    return did_you_mean(str(name) for name in similar if exists(name))


def stamp(file: BinaryIO) -> FileStamp:
    """Return the current stamp of an open file."""
    return _stamp(os.fstat(file.fileno()))


def _stamp(status: os.stat_result) -> FileStamp:
    return FileStamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def read_bytes(path: Path, limit: int, error: type[ActvizError] = InputError) -> bytes:
    """Read a whole regular file of at most `limit` bytes; see `reading`."""
    with reading(path, error) as (file, size):
        if size > limit:
            raise error(f"{path}: {size:,} bytes, at most {limit:,} are read; give a smaller file.")
        return file.read(limit + 1)


def first_bytes(path: Path, count: int) -> bytes:
    """Return the first bytes of a regular file, or ``b""`` if it cannot be read."""
    with contextlib.suppress(ActvizError), reading(path) as (file, _):
        return file.read(count)
    return b""


def is_folder(path: Path) -> bool:
    """Return True if `path` is a folder; links are followed."""
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_file(path: Path) -> bool:
    """Return True if `path` is a regular file; links are followed."""
    return regular_file_stamp(path) is not None


def _status(path: Path, *, follow_symlinks: bool = True) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow_symlinks)
    except (OSError, ValueError):
        return None


def hash_file(path: Path, error: type[ActvizError] = InputError) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, or that of the names and contents of all files in a folder."""
    import hashlib  # loads OpenSSL, which `--help` does not need

    total = hashlib.sha256()
    if is_folder(path):
        for inner in folders.walk_folder(path):
            total.update(f"{inner.relative_to(path)}\0{hash_file(inner, error)}\n".encode("utf-8", "surrogatepass"))
        return total.hexdigest()
    with reading(path, error) as (file, _):
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def size_of(path: Path) -> int | None:
    """Return the size of a regular file in bytes, or ``None`` if it is not one; links are not followed."""
    status = _status(path, follow_symlinks=False)
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else None


def stamp_of(path: Path) -> FileStamp | None:
    """Return the stamp of the file or folder at `path`, or ``None`` if there is none."""
    status = _status(path)
    return None if status is None else _stamp(status)


def regular_file_stamp(path: Path) -> FileStamp | None:
    """Return the stamp of a regular file, or ``None`` for anything else; links are followed."""
    status = _status(path)
    return _stamp(status) if status is not None and stat.S_ISREG(status.st_mode) else None


def has_changed(path: str | Path, before: FileStamp) -> bool:
    """Return True if the file at `path` was written to, replaced or removed since it had the stamp `before`.

    If that is unknown because the disk fails, the result is False.
    """
    try:
        return _stamp(os.stat(path)) != before
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def exists(path: Path) -> bool:
    """Return True if `path` exists, be it as a dangling link."""
    return os.path.lexists(path)


def is_link(path: Path) -> bool:
    """Return True if `path` itself is a symbolic link."""
    status = _status(path, follow_symlinks=False)
    return status is not None and stat.S_ISLNK(status.st_mode)


@contextlib.contextmanager
def unchanged(path: Path, file: BinaryIO, before: FileStamp, error: type[ActvizError]) -> Iterator[None]:
    """Run a block that reads `file`, and raise `error` if the file changed meanwhile."""
    yield
    if stamp(file) != before:
        if issubclass(error, ModelError):
            raise ModelChangedError(path.name)
        raise error(f"{path}: changed while reading; wait until it is written and run again.")


@contextlib.contextmanager
def reading(path: Path, error: type[ActvizError] = InputError, noun: str = "file") -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file for a block that reads it; yield the file and its size in bytes.

    Raises
    ------
    ActvizError
        Of class `error`, when the file cannot be opened or read, or changed while the
        block ran.
    """
    file, before = open_regular(path, error, noun)
    with file, _read_errors(path, error, noun), unchanged(path, file, before, error):
        yield file, before.size


def _read_errors(path: Path, error: type[ActvizError], noun: str) -> contextlib.AbstractContextManager[None]:
    return shortage.os_errors_as(error, f"{path}: the {noun} cannot be read", "check the disk and run again.")
