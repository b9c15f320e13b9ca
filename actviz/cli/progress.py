"""A progress bar on the terminal, with rate and estimated time."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from actviz.batch.events import duration
from actviz.cli.notes import write_note

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 0.2
BAR, SHORTEST = 24, 6
# Seconds over which the rate is measured, and before the first rate is shown.
RATE_WINDOW, RATE_DELAY = 10.0, 1.0
# The first pause longer than this is the loading of the model, which does not predict the rate.
PAUSE = 0.5
CLEAR = "\r\x1b[K"
# Free columns after the line: terminals wrap a line that fills the last one, and echo Ctrl-C as ^C.
MARGIN = 3


class ProgressBar:
    """A line on stderr, rewritten at most five times a second; nothing if that is not a terminal.

    Parameters
    ----------
    shown
        Whether to write at all.
    """

    def __init__(self, *, shown: bool) -> None:
        terminal = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = shown and terminal
        self._shares_terminal = self._shown and sys.stdout.isatty()
        self._points: list[tuple[float, int]] = []
        self._line, self._last, self._loaded = "", 0.0, False

    def update(self, done: int, total: int) -> None:
        """Show the progress, unless it was just shown or there is only one input."""
        now = time.monotonic()
        if not self._loaded and self._points and now - self._points[-1][0] > PAUSE:
            self._points.clear()
            self._loaded = True
        self._points.append((now, done))
        while len(self._points) > 2 and now - self._points[0][0] > RATE_WINDOW:  # noqa: PLR2004  (a rate needs two)
            del self._points[0]
        if not self._shown or total < 2 or now - self._last < SECONDS:  # noqa: PLR2004  (one is no batch)
            return
        self._last = now
        self._line = text(done, total, rate(self._points), width() - MARGIN)
        _write(CLEAR + self._line)

    @contextlib.contextmanager
    def aside(self, *, output: bool = False) -> Iterator[None]:
        """Remove the bar while a block writes lines, and write it below them afterwards.

        With `output` they go to standard output, which may not be the terminal.
        """
        if not self._line or (output and not self._shares_terminal):
            yield
            return
        _write(CLEAR)
        yield
        _write(self._line)

    def clear(self) -> None:
        """Remove the line."""
        if self._line:
            _write(CLEAR)
            self._line = ""


def _write(line: str) -> None:
    write_note(line, end="")


def width() -> int:
    """Return the columns of the terminal behind stderr, wherever standard output goes."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
        if columns:
            return columns
    return shutil.get_terminal_size().columns


def rate(points: list[tuple[float, int]]) -> float | None:
    """Return the rate in 1/s of ``(seconds, count)`` pairs in order of time, ``None`` if not known yet."""
    if len(points) < 2 or points[-1][0] - points[0][0] < RATE_DELAY:  # noqa: PLR2004  (a rate needs two)
        return None
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])


def text(done: int, total: int, each_second: float | None, room: int = 80) -> str:
    """Return the line: a bar, counts, rate and remaining time, in at most `room` columns.

    If they do not fit, the bar is shortened, then left out; then the time, then the rate.

    >>> text(50, 200, 10.0)
    '[######..................] 50/200 inputs, 10/s, 15 s left'
    >>> text(50, 200, 10.0, 40)
    '[#......] 50/200 inputs, 10/s, 15 s left'
    """
    parts = [f"{done:,}/{total:,} inputs"]
    if each_second:
        parts += [f"{each_second:.3g}/s", f"{duration((total - done) / each_second)} left"]
    while len(parts) > 1 and len(", ".join(parts)) > room:
        del parts[-1]
    counts = ", ".join(parts)[:room]
    length = min(BAR, room - len(counts) - len("[] "))
    if length < SHORTEST:
        return counts
    filled = length * done // max(1, total)
    return f"[{'#' * filled}{'.' * (length - filled)}] {counts}"
