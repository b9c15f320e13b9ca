"""List, create, lock and remove folders."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from actviz.errors import InputError, OutputError
from actviz.system import descriptors, held_folder, shortage

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_SECONDS = 5.0


def _may_be_file(path: Path) -> bool:
    """Return True if `path` is a regular file, or cannot be examined, so that opening it reports why."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def list_folder(path: Path, most: int = 10_000) -> list[Path]:
    """Return the entries of a folder, sorted by name.

    Raises
    ------
    InputError
        When it cannot be read, or has more than `most` entries.
    """
    with _read_errors(path), os.scandir(path) as entries:
        names = [entry.name for entry, _ in zip(entries, range(most + 1), strict=False)]
    if len(names) > most:
        raise InputError(f"{path}: a folder with more than {most:,} entries; name the files instead.")
    return [path / name for name in sorted(names)]


def walk_folder(path: Path, without: Path | None = None) -> Iterator[Path]:
    """Yield the regular files in a folder and its subfolders, sorted by name, without hidden ones.

    Links to folders are not followed; the folder `without` is skipped.

    Raises
    ------
    InputError
        When the folder cannot be read.
    """
    skipped = None if without is None else os.path.realpath(without)

    def fail(failure: OSError) -> None:
        with _read_errors(path):
            raise failure

    for parent, subfolders, names in os.walk(path, onerror=fail):
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".") and (skipped is None or os.path.realpath(os.path.join(parent, name)) != skipped)
        )
        for name in sorted(names):
            file = path.joinpath(os.path.relpath(os.path.join(parent, name), path))
            if not name.startswith(".") and _may_be_file(file):
                yield file


def _read_errors(path: Path) -> contextlib.AbstractContextManager[None]:
    return shortage.os_errors_as(InputError, f"{path}: the folder cannot be read", "check the path and its rights.")


def expand_pattern(pattern: str) -> list[str]:
    """Return the paths that match a shell pattern, sorted; ``**`` matches any number of folders."""
    return sorted(glob.glob(pattern, recursive=True))


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[bool]:
    """Hold an exclusive lock on a folder while a block runs; yield whether the lock was acquired.

    The folder itself is locked, so no file is left behind. If the file system has no locks, or
    another process holds the lock for more than 5 s, the block runs without it.
    """
    import fcntl

    locked = False
    try:
        with held_folder.open_folder(folder, check=False) as opened:
            descriptor = os.dup(opened)
    except OSError:
        yield locked
        return
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        yield locked
    finally:
        descriptors.close(descriptor)


def is_inside(folder: Path, path: Path) -> bool:
    """Return True if a path lies in a folder after links are resolved."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except (OSError, ValueError):
        return False


def relative_parts(folder: Path, path: Path) -> tuple[str, ...]:
    """Return the parts of a path relative to the folder that it lies in, after links are resolved."""
    return Path(os.path.realpath(path)).relative_to(os.path.realpath(folder)).parts


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises
    ------
    OutputError
        When it cannot be created, or the path exists and is not a folder.
    """
    from actviz.system import temporary_files  # loads `secrets`, which `--help` does not need

    missing = list(itertools.takewhile(lambda folder: not os.path.lexists(folder), (path, *path.parents)))
    with shortage.os_errors_as(OutputError, f"{path}: the folder cannot be made", "choose another with -o."):
        if held_folder.held_above(path) is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            with held_folder.open_folder(path, make=True):
                pass
        temporary_files.TEMPORARY.add_folders(missing[::-1])


def remove_folder(path: Path) -> None:
    """Remove a temporary folder with its content and ignore errors."""
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def probe_writable(folder: Path) -> None:
    """Create and remove a file in `folder`, so that an unwritable folder is reported before long work.

    Raises
    ------
    OutputError
        When the file cannot be created.
    """
    from actviz.system import temporary_files

    with (
        shortage.os_errors_as(OutputError, f"{folder}: nothing can be written there", "choose another folder with -o."),
        temporary_files.opened_for_writing(folder) as opened,
    ):
        descriptor, name = temporary_files.TEMPORARY.create(opened)
        try:
            descriptors.close(descriptor)
        finally:
            temporary_files.TEMPORARY.remove(opened, name)
