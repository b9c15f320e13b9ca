"""Every call that touches a file or a process, so that faults can be injected in one place.

No other module opens, writes, renames or removes a file. Reading is through one open
descriptor; writing is whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import itertools
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from actviz.errors import (
    ActvizError,
    InputError,
    LimitError,
    ModelChangedError,
    ModelError,
    OutputError,
    RunLimitError,
    UsageError,
)
from actviz.system import held_folder, shortage

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY_PREFIX = ".actviz-"
TEMPORARY_SUFFIX = ".tmp"
STALE_SECONDS = 3600
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | getattr(os, "O_CLOEXEC", 0)
LOCK_SECONDS = 5.0
_CHUNK = 1 << 20
_ONE_AT_A_TIME = threading.RLock()
# Read once: asking means setting, which other threads would see.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


class _TemporaryFiles:
    """The temporary files that are being written, so that an ending process can remove them.

    Each is named by the descriptor of its folder and its name there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: set[tuple[int, str]] = set()
        self._folders: list[tuple[Path, int]] = []
        self._closed = False

    def make(self, folder: int, name: str | None = None) -> tuple[int, str]:
        """Make a file in an open folder and return its descriptor and name, a random one where none is given."""
        name = name or f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        with self._lock:
            if self._closed:
                raise OSError(errno.EINTR, "ending")
            descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
            self._names.add((folder, name))
        return descriptor, name

    def become(self, folder: int, name: str, final: str) -> None:
        """Rename a file to what it was made for."""
        with self._lock:
            os.replace(name, final, src_dir_fd=folder, dst_dir_fd=folder)
            self._names.discard((folder, name))

    def remove(self, folder: int, name: str) -> None:
        """Remove a file that became nothing; that it is gone already is fine."""
        with self._lock, contextlib.suppress(OSError):
            if (folder, name) not in self._names:
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            self._names.discard((folder, name))  # what could not be removed now is tried again

    def forget(self, folder: int) -> None:
        """Remove what could not be removed before from a folder that is about to be closed."""
        with self._lock:
            for place, name in [item for item in self._names if item[0] == folder]:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=place)
                self._names.discard((place, name))

    def made_folders(self, folders: list[Path]) -> None:
        """Note folders that were made, those inside others last."""
        with self._lock:
            self._folders += [(folder, _inode_of(folder)) for folder in folders]

    def end(self) -> None:
        """Remove every file, and the folders that nothing was written to; make no other."""
        with self._lock:
            self._closed = True
            for folder, name in self._names:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=folder)
            self._names.clear()
            for path, inode in reversed(self._folders):
                with contextlib.suppress(OSError):
                    if _inode_of(path) == inode:  # else it is another folder by now
                        os.rmdir(path)  # which fails where there is something in it
            self._folders.clear()


def _inode_of(path: Path) -> int:
    """Return the number of a file or folder on its disk, -1 where there is none."""
    try:
        return os.lstat(path).st_ino
    except OSError:
        return -1


_TEMPORARY = _TemporaryFiles()


def end_writing() -> None:
    """Remove what is half written and new folders that are empty, and write nothing more: the process is about to end."""
    _TEMPORARY.end()


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What identifies the content of an open file: it must not change while it is read."""

    device: int
    inode: int
    size: int
    modified_ns: int


class _OpenedFiles:
    """The files that `open_regular` opened since `take` was last called; only recorded once `enabled` is set."""

    def __init__(self) -> None:
        self.enabled = False
        self._lock = threading.Lock()
        self._stamps: dict[str, FileStamp] = {}

    def add(self, path: Path, found: FileStamp) -> None:
        if self.enabled:
            with self._lock:
                self._stamps.setdefault(os.fspath(path), found)

    def take(self) -> dict[str, FileStamp]:
        with self._lock:
            taken, self._stamps = self._stamps, {}
        return taken


_OPENED = _OpenedFiles()


def record_opened_files() -> None:
    """Record from now on which files this process opens for reading; see `opened_files`."""
    _OPENED.enabled = True


def opened_files() -> dict[str, FileStamp]:
    """Return the files opened since the last call: by path, the stamp that each had when it was first opened."""
    return _OPENED.take()


def open_regular(path: Path, error: type[ActvizError] = InputError, noun: str = "file") -> tuple[BinaryIO, FileStamp]:
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
        _refuse_shortage(failure)
        reason = getattr(failure, "strerror", None) or str(failure)
        message = f"{path}: the {noun} cannot be opened ({reason}); check the path and its rights."
        raise error(message) from None
    try:
        with _closing_on_failure(descriptor):
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                _OPENED.add(path, _stamp(status))
                return os.fdopen(descriptor, "rb"), _stamp(status)
    except OSError as failure:
        message = f"{path}: the {noun} cannot be read ({failure.strerror}); check the disk and run again."
        raise error(message) from None
    _close(descriptor)
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
    message = f"{path}: this is {kind}; a regular {noun} was expected."
    raise error(message)


def _refuse_shortage(failure: Exception) -> None:
    """Raise what says that the machine ran out of something, where that is why a call failed.

    Raises
    ------
    RunLimitError
        When it is: the file or folder of the call has nothing to do with it.
    """
    kind = shortage.shortage_of(failure)
    if kind is not None:
        raise RunLimitError(shortage.describe(kind)) from None


@contextlib.contextmanager
def _closing_on_failure(descriptor: int) -> Iterator[None]:
    """Run a block that makes a file of a descriptor, and close that if it cannot."""
    try:
        yield
    except BaseException:
        _close(descriptor)
        raise


def stamp(file: BinaryIO) -> FileStamp:
    """Return the stamp of an open file as it is now."""
    return _stamp(os.fstat(file.fileno()))


def _stamp(status: os.stat_result) -> FileStamp:
    return FileStamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def read_bytes(path: Path, limit: int, error: type[ActvizError] = InputError) -> bytes:
    """Read a whole regular file of at most `limit` bytes."""
    file, status = open_regular(path, error)
    with file:
        if status.size > limit:
            message = f"{path}: {status.size:,} bytes, at most {limit:,} are read; give a smaller file."
            raise error(message)
        try:
            return file.read(limit + 1)
        except OSError as failure:
            message = f"{path}: the file cannot be read ({failure.strerror}); check the disk and run again."
            raise error(message) from None


def first_bytes(path: Path, count: int) -> bytes:
    """Return the first bytes of a regular file, none where it cannot be read."""
    try:
        file, _ = open_regular(path)
        with file:
            return file.read(count)
    except (ActvizError, OSError):
        return b""


def is_folder(path: Path) -> bool:
    """Tell whether `path` is an existing folder."""
    return stat.S_ISDIR(_mode_of(path))


def is_file(path: Path) -> bool:
    """Tell whether a path is a regular file, links followed."""
    return stat.S_ISREG(_mode_of(path))


def _mode_of(path: Path) -> int:
    """Return what stands at a path, links followed; 0 where that cannot be told."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return 0


def _may_be_file(path: Path) -> bool:
    """Tell whether a path is a regular file or one that cannot be looked at, so that reading it says why."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _close(descriptor: int) -> None:
    """Close a descriptor that was not written to: what goes wrong then changes nothing."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


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
        _refuse_shortage(failure)
        message = f"{path}: the folder cannot be read ({failure.strerror}); check the path and its rights."
        raise InputError(message) from None
    if len(names) > most:
        message = f"{path}: a folder with more than {most:,} entries; name the files instead."
        raise InputError(message)
    return [path / name for name in sorted(names)]


def walk_folder(path: Path, without: Path | None = None) -> Iterator[Path]:
    """Yield the regular files in a folder and those below it, sorted by name, hidden ones left out.

    Links to folders are not followed; the folder `without` is left out.

    Raises
    ------
    InputError
        When the folder cannot be read.
    """
    left_out = None if without is None else os.path.realpath(without)

    def fail(failure: OSError) -> None:
        _refuse_shortage(failure)
        message = f"{path}: the folder cannot be read ({failure.strerror}); check the path and its rights."
        raise InputError(message) from None

    for place, folders, names in os.walk(path, onerror=fail):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and (left_out is None or os.path.realpath(os.path.join(place, name)) != left_out)
        )
        for name in sorted(names):
            found = path.joinpath(os.path.relpath(os.path.join(place, name), path))
            if not name.startswith(".") and _may_be_file(found):
                yield found


def expand_pattern(pattern: str) -> list[str]:
    """Return the paths that a shell pattern stands for, sorted; ``**`` crosses folders."""
    return sorted(glob.glob(pattern, recursive=True))


def read_standard_input(limit: int) -> bytes:
    """Read all of standard input.

    Raises
    ------
    UsageError
        When it is a terminal.
    InputError
        When it is closed.
    LimitError
        When it is larger than `limit` bytes.
    """
    try:
        if sys.stdin.isatty():
            message = "standard input is a terminal; give the list through a pipe or in a file."
            raise UsageError(message)
        content = sys.stdin.buffer.read(limit + 1)
    except (OSError, AttributeError, ValueError):
        message = "standard input cannot be read; give the list in a file."
        raise InputError(message) from None
    if len(content) > limit:
        message = f"standard input: at most {limit:,} bytes are read; give the list in several parts."
        raise LimitError(message)
    return content


def hash_file(path: Path, error: type[ActvizError] = InputError) -> str:
    """Return the SHA-256 of a file, or of all files in a folder with their names."""
    total = hashlib.sha256()
    if is_folder(path):
        for inner in walk_folder(path):
            total.update(f"{inner.relative_to(path)}\0{hash_file(inner, error)}\n".encode("utf-8", "surrogatepass"))
        return total.hexdigest()
    with reading(path, error) as (file, _):
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def core_count() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def size_of(path: Path) -> int | None:
    """Return the size of a regular file in bytes, ``None`` where there is none; links are not followed."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def stamp_of(path: Path) -> FileStamp | None:
    """Return the stamp of the file at a path, ``None`` where there is none."""
    try:
        return _stamp(os.stat(path))
    except OSError:
        return None


def regular_file_stamp(path: Path) -> FileStamp | None:
    """Return the stamp of a regular file, links followed; ``None`` for anything else."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return _stamp(status) if stat.S_ISREG(status.st_mode) else None


def has_changed(path: str | Path, before: FileStamp) -> bool:
    """Return True if the file at `path` was written to, replaced or removed since it had the stamp `before`.

    Where the system cannot tell (a disk that fails), nothing is known of a change and the answer is False.
    """
    try:
        return _stamp(os.stat(path)) != before
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def remove_stale(folder: Path) -> None:
    """Remove temporary files that a run killed over an hour ago left in `folder`."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            ours = entry.name.startswith(TEMPORARY_PREFIX) and entry.name.endswith(TEMPORARY_SUFFIX)
            if ours and time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_SECONDS:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[bool]:
    """Run a block while no other process runs one for the same folder, as far as that can be had; tell whether it is.

    The folder itself is locked, so nothing is left behind. Where the file system knows no
    locks, or another holds it for more than 5 s, the block is run without.
    """
    import fcntl

    alone = False
    try:
        with held_folder.open_folder(folder, check=False) as place:
            descriptor = os.dup(place)
    except OSError:
        yield alone
        return
    try:
        patience = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < patience:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        yield alone
    finally:
        _close(descriptor)


def exists(path: Path) -> bool:
    """Tell whether something, a dangling link included, stands at `path`."""
    return os.path.lexists(path)


def is_link(path: Path) -> bool:
    """Tell whether `path` itself is a symbolic link."""
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def leads_inside(folder: Path, path: Path) -> bool:
    """Tell whether a path leads to a place in a folder, links followed."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except (OSError, ValueError):
        return False


def way_inside(folder: Path, path: Path) -> tuple[str, ...]:
    """Return the names on the way from a folder to a path in it, links followed."""
    return Path(os.path.realpath(path)).relative_to(os.path.realpath(folder)).parts


def make_folder(path: Path) -> None:
    """Make a folder and its parents.

    Raises
    ------
    OutputError
        When it cannot be made or something else stands there.
    """
    missing = list(itertools.takewhile(lambda folder: not os.path.lexists(folder), (path, *path.parents)))
    try:
        if held_folder.held_above(path) is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            with held_folder.open_folder(path, make=True):
                pass
        _TEMPORARY.made_folders(missing[::-1])
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
        with opened_for_writing(folder) as place:
            descriptor, name = _TEMPORARY.make(place)
            try:
                _close(descriptor)
            finally:
                _TEMPORARY.remove(place, name)
    except OSError as failure:
        _refuse_shortage(failure)
        message = f"{folder}: nothing can be written there ({failure.strerror}); choose another place with -o."
        raise OutputError(message) from None


@contextlib.contextmanager
def opened_for_writing(folder: Path) -> Iterator[int]:
    """Open a folder for a block that makes temporary files in it, none of which is left there."""
    with held_folder.open_folder(folder) as place:
        try:
            yield place
        finally:
            _TEMPORARY.forget(place)


def make_until_removed(folder: int, name: str) -> int:
    """Make a file in an open folder that goes with this process, see `remove_made`, and return its descriptor."""
    return _TEMPORARY.make(folder, name)[0]


def remove_made(folder: int, name: str) -> None:
    """Remove a file of `make_until_removed`."""
    for _ in range(2):  # nothing else would remove it once its folder is closed
        _TEMPORARY.remove(folder, name)


def write_whole(path: Path, content: bytes | bytearray) -> None:
    """Write `content` to `path` whole or not at all; see `replacing`."""
    with replacing(path) as file:
        file.write(content)


def append(path: Path, content: bytes) -> None:
    """Add `content` to the end of a file, which is made where there is none.

    A pipe that nobody reads from is not waited for.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    try:
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, how, 0o666)
        with _closing_on_failure(descriptor):
            os.set_blocking(descriptor, True)
            opened = os.fdopen(descriptor, "ab")
        with opened as file:
            file.write(content)
    except OSError as failure:
        message = f"{path}: cannot be written ({failure.strerror}); check the path and its rights."
        raise OutputError(message) from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write, which becomes `path` when the block ends without an error.

    The bytes go to a temporary file in the same folder, and the file is renamed: a symbolic
    link at `path` is replaced, not followed, and an older file stays until the new one is
    complete. Where there is an older one, the bytes are on the disk before it goes.

    Raises
    ------
    OutputError
        When it cannot be written; nothing is left behind, whatever ends the block.
    """
    try:
        with opened_for_writing(path.parent) as folder:
            descriptor, name = _TEMPORARY.make(folder)
            try:
                with _closing_on_failure(descriptor):
                    opened = os.fdopen(descriptor, "w+b")
                with opened as file:
                    yield file
                    file.flush()
                    if _stands_in(folder, path.name):
                        os.fsync(descriptor)
                    os.fchmod(descriptor, 0o666 & ~_UMASK)
                held_folder.check_above(path.parent)
                _TEMPORARY.become(folder, name, path.name)
            finally:
                _TEMPORARY.remove(folder, name)
    except OSError as failure:
        _refuse_shortage(failure)
        message = f"{path}: cannot be written ({failure.strerror}); an older file there is untouched."
        raise OutputError(message) from None


def _stands_in(folder: int, name: str) -> bool:
    """Return True if an open folder holds something of a name, a dangling link included."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def scratch(folder: Path, in_memory: int) -> BinaryIO:
    """Open a file without a name, for what is only needed until it is closed.

    Its first `in_memory` bytes stay in memory; what is more lies in `folder`, where it
    vanishes with the process however that ends.
    """
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(in_memory, dir=os.fspath(folder)))


class Reserve:
    """Disk space held in a folder for what must still be written when the disk is full.

    Parameters
    ----------
    folder
        Where the space is; a file without a name holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._size = 0

    def grow(self, size: int) -> None:
        """Hold at least `size` bytes, as far as the disk has them and can hold them."""
        if size <= self._size or not hasattr(os, "posix_fallocate"):
            return
        self._size = 2 * size  # also where it fails, so that it is not tried again for each record
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = cast("BinaryIO", tempfile.TemporaryFile(dir=os.fspath(self._folder)))  # noqa: SIM115
            os.posix_fallocate(self._file.fileno(), 0, self._size)

    def release(self) -> bool:
        """Give the space back; return whether some was held."""
        file, self._file = self._file, None
        if file is None:
            return False
        with contextlib.suppress(OSError):
            file.close()
        return True


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


@contextlib.contextmanager
def unchanged(path: Path, file: BinaryIO, before: FileStamp, error: type[ActvizError]) -> Iterator[None]:
    """Run a block that reads `file` and refuse the result if the file changed meanwhile."""
    yield
    if stamp(file) != before:
        if issubclass(error, ModelError):
            raise ModelChangedError(path.name)
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
            _refuse_shortage(failure)
            message = f"{path}: the {noun} cannot be read ({failure.strerror}); check the disk and run again."
            raise error(message) from None


def open_streams() -> None:
    """Put something in the place of standard streams that are closed.

    The next files and pipes would take their numbers: what libraries print would go to a
    figure, and the worker would lose its pipe. Nothing comes from such a stdin, what goes to
    such a stderr is dropped, and writing to such a stdout fails.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # noqa: FBT003  (takes no keyword; the lowest number is free)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def drop_errors() -> None:
    """Let what Python writes to standard error go nowhere; native libraries are not affected."""
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


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


def memory_of(process: int) -> int | None:
    """Return the bytes of memory that a process holds now, ``None`` where that cannot be told."""
    try:
        with open(f"/proc/{process}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None if sys.platform.startswith("linux") else _memory_by_ps(process)


def _memory_by_ps(process: int) -> int | None:
    """Ask `ps`, where there is no ``/proc`` (macOS)."""
    command = ["/bin/ps", "-o", "rss=", "-p", str(process)]
    try:
        said = subprocess.run(command, capture_output=True, timeout=5, check=False).stdout  # noqa: S603  (a fixed program)
        return int(said) << 10
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def limit_memory(size: int) -> None:
    """Let this process hold at most `size` bytes of data, as far as the system enforces it.

    The limit is that of private data, not of addresses: libraries and reserved ranges do not
    count. Of a process with TensorFlow in it 0.3 to 1.7 GB of data were 1.8 to 3.2 GB of addresses.
    """
    import resource

    hardest = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hardest not in (resource.RLIM_INFINITY, -1):
        size = min(size, hardest)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (size, hardest))


class _ParsingLimit:
    """The processor time that one stretch of reading a file may take; `None`: as long as it likes."""

    seconds: float | None = None
    running = False


def limit_parsing(seconds: float) -> None:
    """End this process by SIGPROF where a block of `parsing` takes more than so many seconds of processor time."""
    _ParsingLimit.seconds = min(seconds, 1e9)  # more than that does not fit into the system's timer


@contextlib.contextmanager
def parsing() -> Iterator[None]:
    """Run a block that reads a file somebody else may have made, under the limit of `limit_parsing`.

    The kernel keeps the time, so that a C library in an endless loop is ended too. It counts
    processor time of the whole process, which a busy machine does not change. Blocks inside
    one another count as one.
    """
    limit = _ParsingLimit
    if limit.seconds is None or limit.running:
        yield
        return
    limit.running = True
    signal.setitimer(signal.ITIMER_PROF, limit.seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        limit.running = False


def memory_allowed() -> int:
    """Return the bytes that this process may hold: its limit, else four fifths of the machine's."""
    import resource

    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return memory_of_machine() * 4 // 5 if limit in (resource.RLIM_INFINITY, -1) else limit


def be_first_to_go() -> None:
    """Ask the system to end this process before any other when memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def memory_of_machine() -> int:
    """Return the bytes of memory that this process may use: the machine's, or less in a container."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError), open("/proc/self/cgroup", encoding="ascii", errors="replace") as file:
        for line in file:
            _, controllers, path = line.strip().split(":", 2)
            if controllers in ("", "memory"):
                limits += _limits_of_group("/sys/fs/cgroup" + f"/{controllers}".rstrip("/"), path)
    return min(limits)


def _limits_of_group(mounted: str, path: str) -> list[int]:
    """Return the memory limits of a control group and of those around it, of both versions."""
    found = []
    parts = [part for part in path.split("/") if part and part != ".."]
    for count in range(len(parts), -1, -1):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError), open(os.path.join(mounted, *parts[:count], name)) as file:
                found.append(int(file.read()))
    return found


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
