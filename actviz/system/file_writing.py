"""Write files: replace one atomically, or append to one."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO

from actviz.errors import OutputError
from actviz.system import descriptors, held_folder, shortage, temporary_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Read once: it can only be read by setting it, which other threads would notice.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


def write_file(path: Path, content: bytes | bytearray) -> None:
    """Write `content` to `path` atomically; see `replace_file`."""
    with replace_file(path) as file:
        file.write(content)


def append_file(path: Path, content: bytes) -> None:
    """Append `content` to a file, which is created if it does not exist.

    Opening a pipe without a reader fails instead of blocking.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
    with shortage.os_errors_as(OutputError, f"{path}: cannot be written", "check the path and its rights."):
        descriptor = os.open(path, flags, 0o666)
        with descriptors.closing_on_failure(descriptor):
            os.set_blocking(descriptor, True)
            opened = os.fdopen(descriptor, "ab")
        with opened as file:
            file.write(content)


def remove_file(path: Path) -> None:
    """Remove a file that this run wrote; nothing happens if it no longer exists.

    Raises
    ------
    OutputError
        When it cannot be removed.
    """
    with (
        shortage.os_errors_as(OutputError, f"{path}: cannot be removed", "check the rights of its folder."),
        temporary_files.opened_for_writing(path.parent) as folder,
        contextlib.suppress(FileNotFoundError),
    ):
        os.unlink(path.name, dir_fd=folder)


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to, which replaces `path` when the block ends without an error.

    It is a temporary file in the same folder that is renamed at the end: a symbolic link at `path` is
    replaced, not followed, and an older file stays until the new one is complete. Only if there is
    an older one is the new one synced to the disk first.

    Raises
    ------
    OutputError
        When it cannot be written. The temporary file is removed in any case.
    """
    with (
        shortage.os_errors_as(OutputError, f"{path}: cannot be written", "an older file there is untouched."),
        temporary_files.opened_for_writing(path.parent) as folder,
    ):
        descriptor, name = temporary_files.TEMPORARY.create(folder)
        try:
            with descriptors.closing_on_failure(descriptor):
                opened = os.fdopen(descriptor, "w+b")
            with opened as file:
                yield file
                file.flush()
                if _exists_in(folder, path.name):
                    os.fsync(descriptor)
                os.fchmod(descriptor, 0o666 & ~_UMASK)
            held_folder.check_above(path.parent)
            temporary_files.TEMPORARY.rename(folder, name, path.name)
        finally:
            temporary_files.TEMPORARY.remove(folder, name)


def _exists_in(folder: int, name: str) -> bool:
    """Return True if an open folder has an entry of this name, be it a dangling link."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
