"""Every call that touches another process: starting one, the pipes to it, its end.

Like `system` for files, so that faults can be injected in one place.
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
from actviz.system import shortage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import BinaryIO

# Seconds that a process has to end by itself once it closed its pipe.
LAST_SECONDS = 2.0
# What a pipe holds on Linux before it has to be read.
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
    """Start an interpreter beside this one, with a pipe to it and one from it.

    Parameters
    ----------
    program
        Python code; its arguments are the number of the descriptor to read from, and that of the
        one to write to.
    environment
        All of its environment.
    errors
        What becomes of its standard error: ``shown`` on that of this process, its first 64 KiB
        ``kept`` for `errors_of`, or ``dropped``.
    noun
        What the message calls it where it cannot be started.

    Returns
    -------
    process, reader, writer
        The ends of the pipes are those of this process; writing does not block.

    Raises
    ------
    LimitError
        When the system has no room for another process.
    """
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        stderr, kept = None if errors == "shown" else subprocess.DEVNULL, None
        try:
            if errors == "kept":
                kept, stderr = _pipe(ours, theirs)
                os.set_blocking(stderr, False)  # what does not fit is dropped: nobody reads while it runs
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
    """Return the pipe of a process that was just started as a file; where that fails, the process ends."""
    try:
        return os.fdopen(reader, "rb", buffering=0)
    except BaseException:
        kill(process)
        process.wait()
        raise


def errors_of(process: subprocess.Popen[bytes]) -> str:
    """Return what a process that ended wrote to standard error, as far as that was kept; asked again, nothing."""
    kept, process.stderr = process.stderr, None
    if kept is None:
        return ""
    with contextlib.suppress(OSError, MemoryError), kept:
        os.set_blocking(kept.fileno(), False)  # a process that it started may still hold the other end
        return (kept.read(ERROR_BYTES) or b"").decode("utf-8", "replace")
    return ""


def kill_all() -> None:
    """Kill every process that `start_python` started, without waiting: this process is about to end."""
    for process in list(_STARTED):
        kill(process)


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    """Make a pipe whose ends are closed with two stacks."""
    reader, writer = os.pipe()
    reading.callback(close, reader)
    writing.callback(close, writer)
    return reader, writer


# What a process needs to find Python and its libraries; everything else (tokens, keys) stays behind.
PLAIN_VARIABLES = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONUSERBASE",
    "VIRTUAL_ENV",
)  # fmt: skip


def plain_environment(names: Iterable[str] = PLAIN_VARIABLES) -> dict[str, str]:
    """Return the environment of a process that computes for this one: these variables, and absolute Python paths."""
    kept = {name: os.environ[name] for name in names if name in os.environ}
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(path)]
    return kept | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})


def close(descriptor: int) -> None:
    """Close a descriptor; what goes wrong then changes nothing any more."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


def read_into(descriptor: int, view: memoryview) -> int:
    """Read what is there into `view` and return how many bytes that were, 0 at the end."""
    return os.readv(descriptor, [view])


def write_some(descriptor: int, content: memoryview) -> int:
    """Write as much as the pipe takes and return how many bytes that were.

    Raises
    ------
    BlockingIOError
        When it takes nothing now.
    """
    return os.write(descriptor, content)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process without waiting for it; that it is gone already is fine."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def reap(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process that ends or is made to, and return its exit code; see `Popen`."""
    try:
        return process.wait(LAST_SECONDS)
    except subprocess.TimeoutExpired:
        kill(process)
        return process.wait()
