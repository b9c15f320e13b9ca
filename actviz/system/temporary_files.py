"""Temporary files, which are removed when the process ends, scratch files and reserved disk space."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
import threading
import time
from typing import TYPE_CHECKING, BinaryIO, cast

from actviz.errors import OutputError
from actviz.system import held_folder, shortage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPORARY_PREFIX = ".actviz-"
TEMPORARY_SUFFIX = ".tmp"
STALE_SECONDS = 3600
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | getattr(os, "O_CLOEXEC", 0)


class TemporaryFiles:
    """The temporary files and new folders of this process, so that they can be removed when it ends.

    A file is identified by the descriptor of its folder and its name.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: set[tuple[int, str]] = set()
        self._folders: list[tuple[Path, int]] = []
        self._closed = False

    def create(self, folder: int, name: str | None = None) -> tuple[int, str]:
        """Create a file in an open folder and return its descriptor and name; the default name is random."""
        name = name or f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        with self._lock:
            if self._closed:
                raise OSError(errno.EINTR, "ending")
            descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
            self._names.add((folder, name))
        return descriptor, name

    def rename(self, folder: int, name: str, final: str) -> None:
        """Rename a file, which is temporary no more."""
        with self._lock:
            os.replace(name, final, src_dir_fd=folder, dst_dir_fd=folder)
            self._names.discard((folder, name))

    def remove(self, folder: int, name: str) -> None:
        """Remove a file that was not renamed; ignore errors."""
        with self._lock, contextlib.suppress(OSError):
            if (folder, name) not in self._names:
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            self._names.discard(
                (folder, name)
            )  # not reached if it could not be removed, so that `remove_left` tries again

    def remove_left(self, folder: int) -> None:
        """Remove the files of a folder that could not be removed before, as its descriptor will be closed."""
        with self._lock:
            for file in [file for file in self._names if file[0] == folder]:
                with contextlib.suppress(OSError):
                    os.unlink(file[1], dir_fd=folder)
                self._names.discard(file)

    def add_folders(self, folders: list[Path]) -> None:
        """Record folders that were created, parents first."""
        with self._lock:
            self._folders += [(folder, _inode_of(folder)) for folder in folders]

    def end(self) -> None:
        """Remove all files, and the new folders that are empty; refuse to create more."""
        with self._lock:
            self._closed = True
            for folder, name in self._names:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=folder)
            self._names.clear()
            for path, inode in reversed(self._folders):
                with contextlib.suppress(OSError):
                    if _inode_of(path) == inode:  # else it was replaced by another folder
                        os.rmdir(path)  # fails if it is not empty
            self._folders.clear()


def _inode_of(path: Path) -> int:
    """Return the inode number of a file or folder, or -1 if there is none."""
    try:
        return os.lstat(path).st_ino
    except OSError:
        return -1


TEMPORARY = TemporaryFiles()


def end_writing() -> None:
    """Remove temporary files and empty new folders, and create no more, before the process ends."""
    TEMPORARY.end()


def remove_stale_files(folder: Path) -> None:
    """Remove temporary files in `folder` that are older than an hour, left by runs that were killed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            is_ours = entry.name.startswith(TEMPORARY_PREFIX) and entry.name.endswith(TEMPORARY_SUFFIX)
            if is_ours and time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_SECONDS:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


@contextlib.contextmanager
def opened_for_writing(folder: Path) -> Iterator[int]:
    """Open a folder for a block that creates temporary files in it, and remove those that are left."""
    with held_folder.open_folder(folder) as descriptor:
        try:
            yield descriptor
        finally:
            TEMPORARY.remove_left(descriptor)


def create_file(folder: int, name: str) -> int:
    """Create a file in an open folder, to be removed by `remove_file` or when the process ends; return its descriptor."""
    return TEMPORARY.create(folder, name)[0]


def remove_file(folder: int, name: str) -> None:
    """Remove a file of `create_file`."""
    for _ in range(2):  # nothing removes it later, once its folder is closed
        TEMPORARY.remove(folder, name)


def scratch_file(folder: Path, in_memory: int) -> BinaryIO:
    """Open an anonymous file for intermediate results.

    Up to `in_memory` bytes are kept in memory; a larger file is in `folder`, where it vanishes when it
    is closed or the process ends, even if it is killed.
    """
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(in_memory, dir=os.fspath(folder)))


class Reserve:
    """Disk space that is reserved for what must be written when the disk is full.

    Parameters
    ----------
    folder
        Where an anonymous file reserves the space.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._size = 0

    def grow(self, size: int) -> None:
        """Reserve at least `size` bytes if the disk has them and supports it."""
        if size <= self._size or not hasattr(os, "posix_fallocate"):
            return
        self._size = 2 * size  # also if it fails, so that it is not tried again for each record
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = cast("BinaryIO", tempfile.TemporaryFile(dir=os.fspath(self._folder)))  # noqa: SIM115
            os.posix_fallocate(self._file.fileno(), 0, self._size)

    def release(self) -> bool:
        """Free the space; return whether any was reserved."""
        file, self._file = self._file, None
        if file is None:
            return False
        with contextlib.suppress(OSError):
            file.close()
        return True


def scratch_errors(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Return a context that converts errors of writing to a scratch file in `folder`; see `shortage.os_errors_as`."""
    subject = f"{folder}: intermediate results cannot be kept there"
    return shortage.os_errors_as(OutputError, subject, "choose another folder with -o.")
