"""The lock of an output folder: one model with one set of options writes there at a time.

Each run has a lock file next to the manifest, so that the shards of one model can share a folder.
A killed run leaves its file behind. On the same machine the kernel has released the lock of that
file, which is reliable even if the process ID is in use again. For a run on another machine, on a
shared file system that may have no locks, the modification time decides: a run updates it every 10 s.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import secrets
import stat
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from actviz.errors import OutputError, escape
from actviz.system import descriptors, folders, shortage, temporary_files

if TYPE_CHECKING:
    from actviz.system.held_folder import HeldFolder

PREFIX, SUFFIX = ".actviz-", ".lock"
BEAT_SECONDS, STALE_SECONDS = 10.0, 60.0
# If folders cannot be locked, two runs that start at the same time see each other; one of them withdraws.
WITHDRAWAL_SECONDS = 2.0
MOST_BYTES = 1 << 14


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What a run writes: runs may share a folder if `work` is equal, and `sheet` if both have one.

    `model` is a name for messages; `work` is the hash of the model and of all options that change
    pixels; `sheet` lists the layers of a sheet, whose file name does not depend on them.
    """

    model: str
    work: str
    sheet: str = ""

    def may_share(self, other: RunIdentity) -> bool:
        """Return True if neither run replaces figures of the other by different ones."""
        return self.work == other.work and (not self.sheet or not other.sheet or self.sheet == other.sheet)


@dataclass(frozen=True, slots=True)
class _Holder:
    """Content of a lock file: the run that created it."""

    identity: RunIdentity
    token: str
    pid: int = 0
    host: str = ""
    machine: str = ""
    locked: bool = False


class RunLock:
    """The lock file of this run in a held folder.

    Parameters
    ----------
    held
        The folder.
    identity
        What the run writes.

    Raises
    ------
    OutputError
        When a run with another model or other options writes there, or the file cannot be created.
    """

    def __init__(self, held: HeldFolder, identity: RunIdentity) -> None:
        self._held, self._identity = held, identity
        self._token = secrets.token_hex(8)
        self._name = f"{PREFIX}{self._token}{SUFFIX}"
        self._ended = threading.Event()
        self._descriptor: int | None = None
        held.at_close.append(self.release)  # a signal may arrive before the caller has the lock
        try:
            with (
                shortage.os_errors_as(OutputError, f"{held.path}: cannot be locked", "choose another folder with -o."),
                folders.folder_lock(held.path) as alone,
            ):
                self._create()
                self._refuse_others(alone=alone)
        except BaseException:
            self.release()
            raise
        held.guards.append(self.check)
        with contextlib.suppress(RuntimeError):  # without a thread, `check` alone sets the time
            threading.Thread(target=self._update_until_end, daemon=True).start()

    def __enter__(self) -> Self:
        """Return the lock itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file; see `release`."""
        self.release()

    def check(self) -> None:
        """Raise an error if another run has taken the folder over.

        Raises
        ------
        OutputError
            When the file of this run was removed, since it was not updated for too long.
        """
        if self._descriptor is not None and not os.fstat(self._descriptor).st_nlink:
            message = f"{self._held.path}: another run has taken the folder over, since this one was stopped for more than {STALE_SECONDS:.0f} s; run again."
            raise OutputError(message)

    def release(self) -> None:
        """Remove the lock file."""
        self._ended.set()
        if self.check in self._held.guards:
            self._held.guards.remove(self.check)
        temporary_files.remove_file(self._held.descriptor, self._name)
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            descriptors.close(descriptor)

    def _create(self) -> None:
        self._descriptor = temporary_files.create_file(self._held.descriptor, self._name)
        locked = _try_lock(self._descriptor)
        holder = _Holder(self._identity, self._token, os.getpid(), platform.node(), machine_id(), locked is True)
        os.write(self._descriptor, json.dumps(asdict(holder)).encode("ascii"))

    def _refuse_others(self, *, alone: bool) -> None:
        deadline = time.monotonic() + WITHDRAWAL_SECONDS
        while (other := self._other()) is not None:
            if alone or other.token < self._token or time.monotonic() > deadline:
                model = escape(other.identity.model, 80) or "another model"
                process = f" (process {other.pid} on {escape(other.host, 80)})" if other.pid else ""
                same = ", with other content or options," if model == escape(self._identity.model, 80) else ""
                message = f"{self._held.path}: a run of {model}{process}{same} writes there; wait until it ends, or choose another folder with -o."
                raise OutputError(message)
            time.sleep(0.05)

    def _other(self) -> _Holder | None:
        """Return a live run that this one may not share the folder with; remove the files of dead runs."""
        with os.scandir(self._held.descriptor) as entries:
            names = [entry.name for entry in entries]
        for name in sorted(names):
            if name.startswith(PREFIX) and name.endswith(SUFFIX) and name != self._name:
                holder = self._living(name)
                if holder is not None and not self._identity.may_share(holder.identity):
                    return holder
        return None

    def _living(self, name: str) -> _Holder | None:
        """Return the content of a lock file; if its run is dead, remove the file and return ``None``."""
        folder = self._held.descriptor
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            holder = _parsed(os.read(descriptor, MOST_BYTES), name)
            acquired = _try_lock(descriptor)
            is_dead = acquired and holder.locked and holder.machine == machine_id()
            if acquired is False or (not is_dead and self._is_fresh(status)):
                return holder
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            return None
        finally:
            descriptors.close(descriptor)

    def _is_fresh(self, status: os.stat_result) -> bool:
        """Return True if a file was updated recently, by the clock of the machine that stores both files."""
        if self._descriptor is None:
            return True
        os.utime(self._descriptor)
        return os.fstat(self._descriptor).st_mtime - status.st_mtime < STALE_SECONDS

    def _update_until_end(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            descriptor = self._descriptor
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.utime(descriptor)


def _try_lock(descriptor: int) -> bool | None:
    """Lock a file; return False if another process holds the lock, ``None`` if the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _parsed(content: bytes, name: str) -> _Holder:
    """Parse a lock file; an empty or damaged one belongs to an unknown run."""
    try:
        record = json.loads(content)
        identity = RunIdentity(**{key: str(value) for key, value in record["identity"].items()})
        return _Holder(identity, str(record["token"]), int(record["pid"]), str(record["host"]), str(record["machine"]), bool(record["locked"]))  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError):
        return _Holder(RunIdentity("", ""), name)


def machine_id() -> str:
    """Return an identifier of the running machine: its boot ID, which containers share, or else its name."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return platform.node()
