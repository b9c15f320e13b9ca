"""Every call that touches a file or a process, so that faults can be injected in one place.

No other module opens, writes, renames or removes a file. Reading is through one open
descriptor; writing is whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from actviz.errors import ActvizError, InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPORARY_PREFIX = ".actviz-"
TEMPORARY_SUFFIX = ".tmp"
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True, slots=True)
class Stamp:
    """What identifies the content of an open file: it must not change while it is read."""

    device: int
    inode: int
    size: int
    modified_ns: int


def open_regular(path: Path, error: type[ActvizError] = InputError, noun: str = "file") -> tuple[BinaryIO, Stamp]:
    """Open a regular file for reading and return it with its stamp.

    FIFOs, devices, sockets and folders are refused without being read or waited for.

    Raises
    ------
    ActvizError
        Of class `error`, when the path is missing, unreadable or not a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        message = f"{path}: no such {noun}; check the path."
        raise error(message) from None
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or str(failure)
        message = f"{path}: the {noun} cannot be opened ({reason}); check the path and its rights."
        raise error(message) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
        message = f"{path}: this is {kind}; a regular {noun} was expected."
        raise error(message)
    return os.fdopen(descriptor, "rb"), _stamp(status)


def stamp(file: BinaryIO) -> Stamp:
    """Return the stamp of an open file as it is now."""
    return _stamp(os.fstat(file.fileno()))


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def read_bytes(path: Path, limit: int, error: type[ActvizError] = InputError) -> bytes:
    """Read a whole regular file of at most `limit` bytes."""
    file, status = open_regular(path, error)
    with file:
        if status.size > limit:
            message = f"{path}: {status.size:,} bytes, at most {limit:,} are read; give a smaller file."
            raise error(message)
        return file.read(limit + 1)


def is_folder(path: Path) -> bool:
    """Tell whether `path` is an existing folder."""
    return path.is_dir()


def is_file(path: Path) -> bool:
    """Tell whether a path is a regular file, links followed."""
    return path.is_file()


def list_folder(path: Path, most: int = 10_000) -> list[Path]:
    """Return what is in a folder, sorted by name.

    Raises
    ------
    InputError
        When it cannot be read, or holds more than `most` entries.
    """
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry, _ in zip(entries, range(most + 1), strict=False)]
    except OSError as failure:
        message = f"{path}: the folder cannot be read ({failure.strerror}); check the path and its rights."
        raise InputError(message) from None
    if len(names) > most:
        message = f"{path}: a folder with more than {most:,} entries; name the files instead."
        raise InputError(message)
    return [path / name for name in sorted(names)]


def exists(path: Path) -> bool:
    """Tell whether something, a dangling link included, stands at `path`."""
    return os.path.lexists(path)


def is_link(path: Path) -> bool:
    """Tell whether `path` itself is a symbolic link."""
    return path.is_symlink()


def make_folder(path: Path) -> None:
    """Make a folder and its parents.

    Raises
    ------
    OutputError
        When it cannot be made or something else stands there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        message = f"{path}: the folder cannot be made ({failure.strerror}); choose another with -o."
        raise OutputError(message) from None


def remove_folder(path: Path) -> None:
    """Remove a temporary folder and what is in it, as far as that can be done."""
    shutil.rmtree(path, ignore_errors=True)


def probe_writable(folder: Path) -> None:
    """Prove that a file can be made in `folder`, before any long work.

    Raises
    ------
    OutputError
        When it cannot.
    """
    try:
        descriptor, name = tempfile.mkstemp(TEMPORARY_SUFFIX, TEMPORARY_PREFIX, folder)
    except OSError as failure:
        message = f"{folder}: nothing can be written there ({failure.strerror}); choose another place with -o."
        raise OutputError(message) from None
    os.close(descriptor)
    os.unlink(name)


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` whole or not at all; see `replacing`."""
    with replacing(path) as file:
        file.write(content)


def append(path: Path, content: bytes) -> None:
    """Add `content` to the end of a file, which is made where there is none.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        with os.fdopen(descriptor, "ab") as file:
            file.write(content)
    except OSError as failure:
        message = f"{path}: cannot be written ({failure.strerror}); check the path and its rights."
        raise OutputError(message) from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write, which becomes `path` when the block ends without an error.

    The bytes go to a temporary file in the same folder, are synced, and the file is
    renamed: a symbolic link at `path` is replaced, not followed, and an older file stays
    until the new one is complete.

    Raises
    ------
    OutputError
        When it cannot be written; nothing is left behind, whatever ends the block.
    """
    name = None
    try:
        descriptor, name = tempfile.mkstemp(TEMPORARY_SUFFIX, TEMPORARY_PREFIX, path.parent)
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
            os.fchmod(descriptor, 0o666 & ~_umask())
        os.replace(name, path)
        name = None
    except OSError as failure:
        message = f"{path}: cannot be written ({failure.strerror}); an older file there is untouched."
        raise OutputError(message) from None
    finally:
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(name)


def scratch(folder: Path, in_memory: int) -> BinaryIO:
    """Open a file without a name, for what is only needed until it is closed.

    Its first `in_memory` bytes stay in memory; what is more lies in `folder`, where it
    vanishes with the process however that ends.
    """
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(in_memory, dir=os.fspath(folder)))


@contextlib.contextmanager
def writing_scratch(folder: Path) -> Iterator[None]:
    """Run a block that writes to a `scratch` file in `folder`.

    Raises
    ------
    OutputError
        When the disk is full or the folder cannot be written to.
    """
    try:
        yield
    except OSError as failure:
        message = (
            f"{folder}: intermediate results cannot be kept there ({failure.strerror}); choose another place with -o."
        )
        raise OutputError(message) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def unchanged(path: Path, file: BinaryIO, before: Stamp, error: type[ActvizError]) -> Iterator[None]:
    """Run a block that reads `file` and refuse the result if the file changed meanwhile."""
    yield
    if stamp(file) != before:
        message = f"{path}: changed while reading; wait until it is written and run again."
        raise error(message)


@contextlib.contextmanager
def reading(path: Path, error: type[ActvizError] = InputError, noun: str = "file") -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file for a block that only reads it; give the file and its size.

    Raises
    ------
    ActvizError
        Of class `error`, when the file cannot be opened or read, or when it changed
        while the block ran.
    """
    file, before = open_regular(path, error, noun)
    with file:
        try:
            with unchanged(path, file, before, error):
                yield file, before.size
        except OSError as failure:
            message = f"{path}: the {noun} cannot be read ({failure.strerror}); check the disk and run again."
            raise error(message) from None


@contextlib.contextmanager
def native_silence() -> Iterator[None]:
    """Run a block with the process's standard error closed to C libraries.

    Some print about damaged files by themselves. It concerns the whole process, so the
    block must be short and be run by one thread at a time.
    """
    try:
        kept = os.dup(2)
    except OSError:
        yield  # there is no standard error to keep clean
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def without_warnings(*errors: type[Warning]) -> Iterator[None]:
    """Run a block whose warnings are dropped, those of the classes `errors` raised.

    Python's warning filters belong to the whole process, so one block runs at a time.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for error in errors:
            warnings.simplefilter("error", error)
        yield
