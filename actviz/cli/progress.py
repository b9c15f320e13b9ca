"""A bar on a terminal that says how far a job is, how fast it goes and how long it will take."""

from __future__ import annotations

import os
import shutil
import sys
import time

from actviz.jobs.events import duration

SECONDS = 0.2
BAR = 24
# The rate is that of about the last so many seconds.
MEMORY = 10.0


class Bar:
    """A line on stderr, rewritten at most five times a second; nothing where that is no terminal.

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
        self._visible, self._last = False, 0.0

    def update(self, done: int, total: int) -> None:
        """Show how far it is, if the last time is long enough ago and there is more than one thing to do."""
        now = time.monotonic()
        self._points.append((now, done))
        while len(self._points) > 2 and now - self._points[0][0] > MEMORY:  # noqa: PLR2004  (a rate needs two)
            del self._points[0]
        if not self._shown or total < 2 or now - self._last < SECONDS:  # noqa: PLR2004  (one is no batch)
            return
        self._last, self._visible = now, True
        line = text(done, total, rate(self._points))
        room = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[K{line[:room]}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._visible:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._visible = False

    def clear_before_output(self) -> None:
        """Take the line away where standard output goes to the same terminal."""
        if self._shares_terminal:
            self.clear()


def rate(points: list[tuple[float, int]]) -> float | None:
    """Return things a second from ``(seconds, things)`` in order of time, ``None`` where it is not known."""
    if len(points) < 2 or points[-1][0] <= points[0][0]:  # noqa: PLR2004  (a rate needs two)
        return None
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])


def text(done: int, total: int, each_second: float | None) -> str:
    """Return the line: a bar, counts, the rate and the time left.

    >>> text(50, 200, 10.0)
    '[######..................] 50/200 inputs, 10/s, 15 s left'
    """
    filled = BAR * done // max(1, total)
    parts = [f"[{'#' * filled}{'.' * (BAR - filled)}] {done:,}/{total:,} inputs"]
    if each_second:
        parts += [f"{each_second:.3g}/s", f"{duration((total - done) / each_second)} left"]
    return ", ".join(parts)
