"""The standard streams of this process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from actviz.errors import InputError, LimitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILTER_SECONDS = 2.0
_FILTERING = threading.Lock()


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
            raise UsageError("standard input is a terminal; give the list through a pipe or in a file.")
        content = sys.stdin.buffer.read(limit + 1)
    except (OSError, AttributeError, ValueError):
        raise InputError("standard input cannot be read; give the list in a file.") from None
    if len(content) > limit:
        raise LimitError(f"standard input: at most {limit:,} bytes are read; give the list in several parts.")
    return content


def replace_closed_streams() -> None:
    """Open the null device for each standard stream that is closed.

    The next files and pipes would otherwise get descriptors 0 to 2: libraries would print into a
    figure, and the worker would lose its pipe. Such a stdin is empty, output to such a stderr is
    discarded, and writing to such a stdout fails.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # noqa: FBT003  (takes no keyword; the lowest number is free)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


@contextlib.contextmanager
def without_lines(pattern: str) -> Iterator[None]:
    """Leave out the lines that match an extended regular expression while a block, and its libraries, write to stderr.

    A process of its own filters them, so that nothing is lost if a library aborts this one. If that cannot be
    started, or another thread does the same, all lines are written.
    """
    if not _FILTERING.acquire(blocking=False):
        yield
        return
    try:
        with contextlib.ExitStack() as opened:
            with contextlib.suppress(OSError):
                stderr = os.dup(2)
                opened.callback(os.close, stderr)
                command = ["grep", "--line-buffered", "-avE", pattern]
                grep = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stderr, start_new_session=True)  # noqa: S603
                opened.callback(_end_filter, grep, stderr)
                os.dup2(grep.stdin.fileno(), 2)  # type: ignore[union-attr]
            yield
    finally:
        _FILTERING.release()


def _end_filter(grep: subprocess.Popen[bytes], stderr: int) -> None:
    """Let standard error be `stderr` again, after the last lines are filtered."""
    os.dup2(stderr, 2)
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # a child process may have kept the pipe
        grep.communicate(timeout=FILTER_SECONDS)


def discard_stderr() -> None:
    """Discard what Python writes to standard error; native libraries are not affected."""
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
