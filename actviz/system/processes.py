"""Start and end processes, with pipes to and from them.

No module outside this package does so, so that tests can inject faults in one place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING, BinaryIO, Literal

from actviz.errors import RunLimitError
from actviz.system import descriptors, shortage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import BinaryIO

# Seconds for a process to end by itself after it closed its pipe.
LAST_SECONDS = 2.0
# Capacity of a pipe on Linux.
ERROR_BYTES = 64 << 10
Errors = Literal["shown", "kept", "dropped"]
_STARTED: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


def start_python(
    program: str,
    environment: Mapping[str, str],
    *,
    errors: Errors = "dropped",
    noun: str = "the process that opens the model",
) -> tuple[subprocess.Popen[bytes], int, int]:
    """Start a Python interpreter with a pipe to it and one from it.

    Parameters
    ----------
    program
        Python code; its arguments are the descriptors to read from and to write to.
    environment
        Its complete environment.
    errors
        Where its standard error goes: ``shown`` on that of this process, ``kept`` for `errors_of`
        (the first 64 KiB), or ``dropped``.
    noun
        Name of the process in the message if it cannot be started.

    Returns
    -------
    process, reader, writer
        The process and the ends of the pipes in this process; writing does not block.

    Raises
    ------
    LimitError
        When the system cannot start another process.
    """
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        stderr, kept = None if errors == "shown" else subprocess.DEVNULL, None
        try:
            if errors == "kept":
                kept, stderr = _pipe(ours, theirs)
                os.set_blocking(stderr, False)  # what does not fit is dropped: the pipe is read after the end
            to_child = _pipe(theirs, ours)
            os.set_blocking(to_child[1], False)  # a child that hangs must not hang the command
            from_child = _pipe(ours, theirs)
            process = subprocess.Popen(  # noqa: S603  (our own interpreter and program)
                [sys.executable, "-P", "-c", program, str(to_child[0]), str(from_child[1])],
                pass_fds=(to_child[0], from_child[1]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=dict(environment),
                start_new_session=True,
            )
            if kept is not None:
                process.stderr = _opened(kept, process)
        except OSError as failure:
            kind = shortage.THREADS if failure.errno == errno.EAGAIN else shortage.shortage_of(failure)
            if kind is not None:
                raise RunLimitError(shortage.describe(kind)) from None
            message = f"{noun} cannot be started ({failure.strerror}); end other programs and run again."
            raise RunLimitError(message) from None
        ours.pop_all()
        _STARTED.add(process)
        return process, from_child[0], to_child[1]


def _opened(reader: int, process: subprocess.Popen[bytes]) -> BinaryIO:
    """Return the pipe of a process that was just started as a file; if that fails, end the process."""
    try:
        return os.fdopen(reader, "rb", buffering=0)
    except BaseException:
        kill(process)
        process.wait()
        raise


def errors_of(process: subprocess.Popen[bytes]) -> str:
    """Return what a process that ended wrote to standard error, if that was kept; further calls return ``""``."""
    kept, process.stderr = process.stderr, None
    if kept is None:
        return ""
    with contextlib.suppress(OSError, MemoryError), kept:
        os.set_blocking(kept.fileno(), False)  # a child of it may still have the other end open
        return (kept.read(ERROR_BYTES) or b"").decode("utf-8", "replace")
    return ""


def kill_all() -> None:
    """Kill every process that `start_python` started without waiting, before this process ends."""
    for process in list(_STARTED):
        kill(process)


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    """Create a pipe whose ends are closed by two exit stacks."""
    reader, writer = os.pipe()
    reading.callback(descriptors.close, reader)
    writing.callback(descriptors.close, writer)
    return reader, writer


# What a process needs to find Python and its libraries; everything else (tokens, keys) is not passed on.
PLAIN_VARIABLES = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONUSERBASE",
    "VIRTUAL_ENV",
)  # fmt: skip


def plain_environment(names: Iterable[str] = PLAIN_VARIABLES) -> dict[str, str]:
    """Return an environment with only these variables and the absolute entries of PYTHONPATH."""
    kept = {name: os.environ[name] for name in names if name in os.environ}
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(path)]
    return kept | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})


def read_into(descriptor: int, view: memoryview) -> int:
    """Read available bytes into `view` and return their number, 0 at the end of the stream."""
    return os.readv(descriptor, [view])


def write_some(descriptor: int, content: memoryview) -> int:
    """Write as many bytes as the pipe accepts and return their number.

    Raises
    ------
    BlockingIOError
        When the pipe is full.
    """
    return os.write(descriptor, content)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process without waiting for it, unless it has ended already."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def reap(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process, kill it if it does not end, and return its exit code as `Popen.returncode`."""
    try:
        return process.wait(LAST_SECONDS)
    except subprocess.TimeoutExpired:
        kill(process)
        return process.wait()
