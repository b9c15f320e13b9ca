"""A line on the terminal about a run: what is being started, then a bar with elapsed time, rate and remaining time."""

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
    import threading
    from collections.abc import Callable, Iterator

    from actviz.batch.events import Progress

SECONDS = 0.2
# Seconds between updates while nothing happens, and before a start that may be short is shown.
TICK, STAGE_DELAY = 0.5, 0.5
BAR, SHORTEST = 24, 6
# Seconds over which the rate is measured, and before the first rate is shown.
RATE_WINDOW, RATE_DELAY = 10.0, 1.0
# The first pause longer than this is the loading of the model, which does not predict the rate.
PAUSE = 0.5
CLEAR = "\r\x1b[K"
# Free columns after the line: terminals wrap a line that fills the last one, and echo Ctrl-C as ^C.
MARGIN = 3
MINUTE, HOUR = 60, 3600


class ProgressBar:
    """A line on stderr, rewritten at most five times a second; nothing if that is not a terminal.

    A thread rewrites the line while no event arrives, so that the elapsed time goes on.

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
        self._started: float | None = None
        self._event: Progress | None = None
        self._lock: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        self._ended: threading.Event | None = None

    def update(self, event: Progress) -> None:
        """Show the progress, unless it was just shown; of a single input only what is being started."""
        if not self._shown:
            return
        now = time.monotonic()
        if self._started is None:
            self._begin(now)
        with self._lock:
            is_first = self._event is None or self._event.stage != event.stage
            self._event = event
            if not event.stage:
                self._measure(now, event.done)
            if event.total < 2:  # noqa: PLR2004  (one is no batch)
                self._remove()
            elif is_first or now - self._last >= SECONDS:
                self._draw(now)

    def _begin(self, now: float) -> None:
        import threading

        self._started = now
        self._lock, self._ended = threading.RLock(), threading.Event()
        with contextlib.suppress(RuntimeError):  # no more threads: the line changes with events only
            threading.Thread(target=self._tick, args=(self._ended,), daemon=True).start()

    def _tick(self, ended: threading.Event) -> None:
        while not ended.wait(TICK):
            with self._lock:
                if not ended.is_set():
                    self._draw(time.monotonic())

    def _measure(self, now: float, done: int) -> None:
        """Add a point to the measurement of the rate."""
        if not self._loaded and self._points and now - self._points[-1][0] > PAUSE:
            self._points.clear()
            self._loaded = True
        self._points.append((now, done))
        while len(self._points) > 2 and now - self._points[0][0] > RATE_WINDOW:  # noqa: PLR2004  (a rate needs two)
            del self._points[0]

    def _draw(self, now: float) -> None:
        event, elapsed = self._event, now - (self._started or now)
        if event is None or (elapsed < STAGE_DELAY if event.stage else event.total < 2):  # noqa: PLR2004
            return
        room = width() - MARGIN
        if event.stage:
            count = f"{event.done:,}/{event.total:,}, " if event.total > 1 else ""
            line = f"{event.stage}, {count}{duration(elapsed)}"[:room]
        else:
            line = text(event.done, event.total, rate(self._points), room, elapsed=elapsed)
        if line != self._line:
            self._last, self._line = now, line
            _write(CLEAR + line)

    @contextlib.contextmanager
    def aside(self, *, output: bool = False) -> Iterator[None]:
        """Remove the bar while a block writes lines, and write it below them afterwards.

        With `output` they go to standard output, which may not be the terminal.
        """
        with self._lock:
            if not self._line or (output and not self._shares_terminal):
                yield
                return
            _write(CLEAR)
            yield
            _write(self._line)

    def clear(self) -> None:
        """Remove the line, and write no more until the next event."""
        if self._ended is not None:
            self._ended.set()
        with self._lock:
            self._remove()

    def _remove(self) -> None:
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


def text(done: int, total: int, each_second: float | None, room: int = 80, *, elapsed: float = 0.0) -> str:
    """Return the line: a bar, counts, elapsed time, rate and remaining time, in at most `room` columns.

    Until a rate is measured, the remaining time is at most that at the average so far, which includes the start. If
    the line does not fit, the bar is shortened, then left out, then all is written shorter; then the elapsed time is
    left out, then the rate.

    >>> text(50, 200, 10.0, elapsed=7)
    '[######..................] 50/200 inputs, 7 s, 10/s, 15 s left'
    >>> text(1500, 30000, 12.34, 37, elapsed=83)
    '1500/30000, 1:23, 12/s, 38:30 left'
    >>> text(32, 320, None, elapsed=4)
    '[##......................] 32/320 inputs, 4 s, < 36 s left'
    """
    average = done / elapsed if elapsed >= RATE_DELAY else 0.0
    seconds = (total - done) / (each_second or average) if done < total and (each_second or average) else None

    def pace(digits: int) -> list[str]:
        precision = ".0f" if (each_second or 0) >= 100 else f".{digits}g"  # noqa: PLR2004  (1234, not 1.23e+03)
        return [f"{each_second:{precision}}/s"] if each_second else []

    def spent(form: Callable[[float], str]) -> list[str]:
        return [form(elapsed)] if elapsed >= 1 else []

    def left(form: Callable[[float], str]) -> list[str]:
        return [] if seconds is None else [f"{'' if each_second else '< '}{form(seconds)} left"]

    counts = f"{done:,}/{total:,} inputs"
    shorter = (
        [counts, *spent(duration), *pace(3), *left(duration)],
        [f"{done}/{total}", *spent(_clock), *pace(2), *left(_clock)],
        [counts, *pace(2), *left(_clock)],
        [counts, *left(_clock)],
    )
    line = next((joined for parts in shorter if len(joined := ", ".join(parts)) <= room), counts[:room].rstrip())
    length = min(BAR, room - len(line) - len("[] "))
    if length < SHORTEST:
        return line
    filled = length * done // max(1, total)
    return f"[{'#' * filled}{'.' * (length - filled)}] {line}"


def _clock(seconds: float) -> str:
    """Return a duration as ``1:02:03`` or ``2:03``."""
    whole = round(seconds)
    hours, minutes = whole // HOUR, whole % HOUR // MINUTE
    return f"{hours}:{minutes:02}:{whole % MINUTE:02}" if hours else f"{minutes}:{whole % MINUTE:02}"
