"""The lock of a folder of figures: one model with one set of options writes there at a time.

Each run has a file of its own beside the manifest, so that the shards of one model share a
folder. A run that was killed leaves its file behind. On the same machine the kernel tells that
by dropping the file's lock, whatever the number of the process is used for by then. Of a run on
another machine, on a shared file system where locks may be unknown, the time of the file tells
it: a run sets that every 10 s.
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
from actviz.system import file_system

if TYPE_CHECKING:
    from actviz.system.held_folder import HeldFolder

PREFIX, SUFFIX = ".actviz-", ".lock"
BEAT_SECONDS, STALE_SECONDS = 10.0, 60.0
# Two runs that begin at one moment see each other where folders cannot be locked; one of them withdraws.
WITHDRAWAL_SECONDS = 2.0
MOST_BYTES = 1 << 14


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What a run writes: runs share a folder where `work` is the same, and `sheet` unless one has none.

    `model` is the name for messages; `work` the hash of the model and of all options that
    change pixels; `sheet` the layers of a sheet, which has one name whatever is on it.
    """

    model: str
    work: str
    sheet: str = ""

    def may_share(self, other: RunIdentity) -> bool:
        """Return whether figures of one run are never replaced by different ones of the other."""
        return self.work == other.work and (not self.sheet or not other.sheet or self.sheet == other.sheet)


@dataclass(frozen=True, slots=True)
class _Holder:
    """What a lock file says of the run that made it."""

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
        What is written to it.

    Raises
    ------
    OutputError
        When a run with another model or other options writes there, or the file cannot be made.
    """

    def __init__(self, held: HeldFolder, identity: RunIdentity) -> None:
        self._held, self._identity = held, identity
        self._token = secrets.token_hex(8)
        self._name = f"{PREFIX}{self._token}{SUFFIX}"
        self._ended = threading.Event()
        self._descriptor: int | None = None
        held.at_close.append(self.release)  # a signal may come before whoever asked for the lock holds it
        try:
            with file_system.one_at_a_time(held.path) as alone:
                self._create()
                self._refuse_others(alone=alone)
        except OSError as failure:
            self.release()
            message = f"{held.path}: cannot be locked ({failure.strerror}); choose another place with -o."
            raise OutputError(message) from None
        except BaseException:
            self.release()
            raise
        held.guards.append(self.check)
        with contextlib.suppress(RuntimeError):  # without a thread, `check` alone sets the time
            threading.Thread(target=self._beat_until_the_end, daemon=True).start()

    def __enter__(self) -> Self:
        """Return the lock itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file; see `release`."""
        self.release()

    def check(self) -> None:
        """Refuse to write where another run has taken the folder over.

        Raises
        ------
        OutputError
            When the file of this run is gone: it gave no sign of life for too long.
        """
        if self._descriptor is not None and not os.fstat(self._descriptor).st_nlink:
            message = f"{self._held.path}: another run has taken the folder over, since this one was stopped for more than {STALE_SECONDS:.0f} s; run again."
            raise OutputError(message)

    def release(self) -> None:
        """Remove the file."""
        self._ended.set()
        if self.check in self._held.guards:
            self._held.guards.remove(self.check)
        file_system.remove_made(self._held.descriptor, self._name)
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _create(self) -> None:
        self._descriptor = file_system.make_until_removed(self._held.descriptor, self._name)
        locked = _try_lock(self._descriptor)
        holder = _Holder(self._identity, self._token, os.getpid(), platform.node(), machine_id(), locked is True)
        os.write(self._descriptor, json.dumps(asdict(holder)).encode("ascii"))

    def _refuse_others(self, *, alone: bool) -> None:
        patience = time.monotonic() + WITHDRAWAL_SECONDS
        while (other := self._other()) is not None:
            if alone or other.token < self._token or time.monotonic() > patience:
                model = escape(other.identity.model, 80) or "another model"
                who = f" (process {other.pid} on {escape(other.host, 80)})" if other.pid else ""
                also = ", with other content or options," if model == escape(self._identity.model, 80) else ""
                message = f"{self._held.path}: a run of {model}{who}{also} writes there; wait until it ends, or choose another folder with -o."
                raise OutputError(message)
            time.sleep(0.05)

    def _other(self) -> _Holder | None:
        """Return a living run that this one may not share the folder with; the files of dead ones are removed."""
        with os.scandir(self._held.descriptor) as entries:
            names = [entry.name for entry in entries]
        for name in sorted(names):
            if name.startswith(PREFIX) and name.endswith(SUFFIX) and name != self._name:
                holder = self._living(name)
                if holder is not None and not self._identity.may_share(holder.identity):
                    return holder
        return None

    def _living(self, name: str) -> _Holder | None:
        """Return what a lock file says, ``None`` where its run is dead; its file is removed then."""
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
            got = _try_lock(descriptor)
            if got is False or (
                not (got and holder.locked and holder.machine == machine_id()) and self._is_fresh(status)
            ):
                return holder
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            return None
        finally:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _is_fresh(self, status: os.stat_result) -> bool:
        """Return whether a file was touched lately, by the clock of the machine that stores both files."""
        if self._descriptor is None:
            return True
        os.utime(self._descriptor)
        return os.fstat(self._descriptor).st_mtime - status.st_mtime < STALE_SECONDS

    def _beat_until_the_end(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            descriptor = self._descriptor
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.utime(descriptor)


def _try_lock(descriptor: int) -> bool | None:
    """Lock a file; return ``False`` where another process has, ``None`` where the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _parsed(content: bytes, name: str) -> _Holder:
    """Return what a lock file says; one that is empty or damaged is of an unknown run."""
    try:
        told = json.loads(content)
        identity = RunIdentity(**{key: str(value) for key, value in told.pop("identity").items()})
        return _Holder(identity, str(told["token"]), int(told["pid"]), str(told["host"]), str(told["machine"]), bool(told["locked"]))  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError):
        return _Holder(RunIdentity("", ""), name)


def machine_id() -> str:
    """Return what tells a running machine apart: its boot, shared by containers whose kernel is one; else its name."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return platform.node()
