"""Pool of processes that draw figures, since Python code runs on one core in each process.

A process receives activations and returns PNG files through pipes. It accesses no files, so nothing is lost
when it crashes. Figures that it cannot draw are drawn by the command, which reports the error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import queue
import sys

from actviz.batch import figure_task
from actviz.batch.figure_task import DrawnPages, FigureFile, FigureTask
from actviz.batch.output_paths import SHEET
from actviz.errors import LimitError
from actviz.records import Style
from actviz.system import processes
from actviz.system.channel import Channel, ClosedError
from actviz.worker.client import environment

PROGRAM = "from actviz.batch.draw_pool import main; main()"
GC_THRESHOLD = 100_000


class DrawPool:
    """Processes that draw figures in one style.

    Parameters
    ----------
    count
        Number of processes; fewer are started if the system has no resources for them.
    style
        How figures look.
    """

    def __init__(self, count: int, style: Style) -> None:
        self._all: list[_DrawProcess] = []
        self._idle: queue.SimpleQueue[_DrawProcess | None] = queue.SimpleQueue()
        for _ in range(count):
            try:
                helper = _DrawProcess(style)
            except LimitError:
                break
            self._all.append(helper)
            self._idle.put(helper)
        if not self._all:
            self._idle.put(None)

    def draw(self, task: FigureTask) -> list[FigureFile] | None:
        """Draw a figure in an idle process, waiting for one if necessary; ``None`` if the caller must draw it."""
        helper, kept = self._idle.get(), None
        try:
            done = None if helper is None else helper.draw(task)
            kept = helper
        except ClosedError:
            done = None
        finally:
            # A process whose answer was incomplete is not used again; the caller draws the figure.
            if helper is not None and kept is None:
                processes.kill(helper.process)
            self._idle.put(kept)
        return done

    def stop(self) -> None:
        """Kill all processes; threads that wait for one get ``None``."""
        for helper in self._all:
            processes.kill(helper.process)

    def close(self) -> None:
        """Kill and reap all processes."""
        self.stop()
        for helper in self._all:
            processes.reap(helper.process)
            helper.channel.close()


class _DrawProcess:
    """One process, used by one thread at a time."""

    def __init__(self, style: Style) -> None:
        self.process, reader, writer = processes.start_python(PROGRAM, environment(verbose=False))
        self.channel = Channel(reader, writer)
        try:
            self.channel.send(style)
        except ClosedError:
            # Else it would take the first task for the style, and both ends would wait for each other.
            processes.kill(self.process)

    def draw(self, task: FigureTask) -> list[FigureFile] | None:
        """Draw a figure; ``None`` if that failed for any reason.

        Raises
        ------
        ClosedError
            If the process has ended.
        """
        self.channel.send(_only_drawn(task))
        return self.channel.receive(DrawnPages).pages


def _only_drawn(task: FigureTask) -> FigureTask:
    """Return the task with only the entry of the batch that is drawn, so that less is sent."""
    part = slice(task.index, task.index + 1)
    activations = {
        address: dataclasses.replace(
            item, values=item.values[part], mask=None if item.mask is None else item.mask[part]
        )
        for address, item in task.activations.items()
        if task.key in (address, SHEET)
    }
    return dataclasses.replace(task, activations=activations, index=0)


def main() -> None:
    """Draw requested figures until the command closes the channel."""
    gc.set_threshold(GC_THRESHOLD)  # the thousands of tiles of a figure are in no reference cycles
    channel = Channel(*map(int, sys.argv[1:]))
    with contextlib.suppress(ClosedError):
        style = channel.receive(Style)
        while True:
            channel.send(DrawnPages(_drawn(channel.receive(FigureTask), style)))


def _drawn(task: FigureTask, style: Style) -> list[FigureFile] | None:
    try:
        return [page() for page in figure_task.plan(task, style)]
    except Exception:  # noqa: BLE001  (the command draws it again and raises the same)
        return None
