"""Processor cores, memory and parsing time that this process may use."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def core_count() -> int:
    """Return the number of processor cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_used(process: int) -> int | None:
    """Return the resident memory of a process in bytes, or ``None`` if it is unknown."""
    try:
        with open(f"/proc/{process}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None if sys.platform.startswith("linux") else _memory_by_ps(process)


def _memory_by_ps(process: int) -> int | None:
    """Return the resident memory in bytes as `ps` reports it, where there is no ``/proc`` (macOS)."""
    command = ["/bin/ps", "-o", "rss=", "-p", str(process)]
    try:
        output = subprocess.run(command, capture_output=True, timeout=5, check=False).stdout  # noqa: S603  (a fixed program)
        return int(output) << 10
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def limit_memory(size: int) -> None:
    """Limit the data of this process to `size` bytes, as far as the system enforces it.

    Private data is limited (RLIMIT_DATA), not address space, so that libraries and reserved ranges
    do not count: processes with TensorFlow held 0.3 to 1.7 GB of data in 1.8 to 3.2 GB of addresses.
    """
    import resource

    hard_limit = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard_limit not in (resource.RLIM_INFINITY, -1):
        size = min(size, hard_limit)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (size, hard_limit))


class _ParseTime:
    """The limit on the processor time of `parse_time_limited` in seconds (``None``: no limit), and whether it is running."""

    seconds: float | None = None
    running = False


def set_parse_time_limit(seconds: float) -> None:
    """Kill this process by SIGPROF if a block of `parse_time_limited` takes more than `seconds` of processor time."""
    _ParseTime.seconds = min(seconds, 1e9)  # larger values do not fit into the system's timer


@contextlib.contextmanager
def parse_time_limited() -> Iterator[None]:
    """Run a block that parses an untrusted file under the limit of `set_parse_time_limit`.

    The kernel measures the time, so that an endless loop in a C library is ended too. It counts the
    processor time of the whole process, which does not depend on the load of the machine. Nested
    blocks count as one.
    """
    limit = _ParseTime
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


def memory_limit() -> int:
    """Return the memory that this process may use in bytes: its limit, or else four fifths of `machine_memory`."""
    import resource

    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return machine_memory() * 4 // 5 if limit in (resource.RLIM_INFINITY, -1) else limit


def protect_child(memory: int | None = None) -> None:
    """Set up a child process that reads untrusted files: no core dumps, no Ctrl-C, at most `memory` bytes of data.

    The kernel's out-of-memory killer chooses it first.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if memory is not None:
        limit_memory(memory)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def machine_memory() -> int:
    """Return the memory of the machine in bytes, or that of the container if it is less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError), open("/proc/self/cgroup", encoding="ascii", errors="replace") as file:
        for line in file:
            _, controllers, path = line.strip().split(":", 2)
            if controllers in ("", "memory"):
                limits += _cgroup_limits("/sys/fs/cgroup" + f"/{controllers}".rstrip("/"), path)
    return min(limits)


def _cgroup_limits(mounted: str, path: str) -> list[int]:
    """Return the memory limits of a control group and its parents in bytes, for cgroups v1 and v2."""
    limits = []
    parts = [part for part in path.split("/") if part and part != ".."]
    for count in range(len(parts), -1, -1):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError), open(os.path.join(mounted, *parts[:count], name)) as file:
                limits.append(int(file.read()))
    return limits
