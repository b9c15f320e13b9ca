"""Every call that touches another process: starting one, the pipes to it, its end.

Like `system` for files, so that faults can be injected in one place.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, BinaryIO

from actviz.errors import LimitError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Seconds that a process has to end by itself once it closed its pipe.
LAST_SECONDS = 2.0


def start_python(
    program: str,
    told: str,
    environment: Mapping[str, str],
    *,
    loud: bool,
    noun: str = "the process that opens the model",
) -> tuple[subprocess.Popen[bytes], int, int]:
    """Start an interpreter beside this one, with a pipe to it and one from it.

    Parameters
    ----------
    program
        Python code; its arguments are the number of the descriptor to read from, that of the
        one to write to, and `told`.
    environment
        All of its environment.
    loud
        Whether it writes to this process's standard error.
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
        try:
            to_child = _pipe(theirs, ours)
            os.set_blocking(to_child[1], False)  # a child that hangs must not hang the command
            from_child = _pipe(ours, theirs)
            process = subprocess.Popen(  # noqa: S603  (our own interpreter and program)
                [sys.executable, "-P", "-c", program, str(to_child[0]), str(from_child[1]), told],
                pass_fds=(to_child[0], from_child[1]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if loud else subprocess.DEVNULL,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as failure:
            message = f"{noun} cannot be started ({failure.strerror}); end other programs and run again."
            raise LimitError(message) from None
        ours.pop_all()
        return process, from_child[0], to_child[1]


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    """Make a pipe whose ends are closed with two stacks."""
    reader, writer = os.pipe()
    reading.callback(close, reader)
    writing.callback(close, writer)
    return reader, writer


def plain_environment() -> dict[str, str]:
    """Return the environment of a process that computes for this one: where Python and its libraries are, no more."""
    names = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONUSERBASE")
    kept = {name: os.environ[name] for name in (*names, "VIRTUAL_ENV") if name in os.environ}
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(path)]
    return kept | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})


def as_files(reader: int, writer: int) -> tuple[BinaryIO, BinaryIO]:
    """Return both ends of a pair of pipes as files that block and own their descriptors."""
    os.set_blocking(writer, True)
    return os.fdopen(reader, "rb"), os.fdopen(writer, "wb")


def close_file(file: BinaryIO) -> None:
    """Close a pipe; what goes wrong then changes nothing any more."""
    with contextlib.suppress(OSError):
        file.close()


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
