"""Processes beside the command that draw figures: Python draws on one core in one process.

A helper gets activations and gives PNG files back, both through pipes: it touches no file,
and nothing is lost when it dies. What it cannot draw the command draws itself, and says why.
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
COLLECTING = 100_000


class DrawPool:
    """Some processes that draw figures in one style.

    Parameters
    ----------
    count
        How many; fewer where the system has no room for them.
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
        """Draw a figure in a process that has nothing else to do, or wait for one; `None`: draw it here."""
        helper, kept = self._idle.get(), None
        try:
            done = None if helper is None else helper.draw(task)
            kept = helper
        except ClosedError:
            done = None
        finally:
            # What did not answer whole is never asked again; whose turn it was draws by itself.
            if helper is not None and kept is None:
                processes.kill(helper.process)
            self._idle.put(kept)
        return done

    def stop(self) -> None:
        """Kill them all; who waits for one is answered."""
        for helper in self._all:
            processes.kill(helper.process)

    def close(self) -> None:
        """Kill them all and reap them."""
        self.stop()
        for helper in self._all:
            processes.reap(helper.process)
            helper.channel.close()


class _DrawProcess:
    """One process, asked by one thread at a time."""

    def __init__(self, style: Style) -> None:
        self.process, reader, writer = processes.start_python(PROGRAM, environment(verbose=False))
        self.channel = Channel(reader, writer)
        with contextlib.suppress(ClosedError):  # the first task finds out
            self.channel.send(style)

    def draw(self, task: FigureTask) -> list[FigureFile] | None:
        """Draw a figure; ``None`` where that failed, for whatever reason.

        Raises
        ------
        ClosedError
            When the process is gone.
        """
        self.channel.send(_only_drawn(task))
        return self.channel.receive(DrawnPages).pages


def _only_drawn(task: FigureTask) -> FigureTask:
    """Return a task with no more of the batch than the entry that is drawn."""
    part = slice(task.index, task.index + 1)
    found = {
        address: dataclasses.replace(
            item, values=item.values[part], mask=None if item.mask is None else item.mask[part]
        )
        for address, item in task.found.items()
        if task.key in (address, SHEET)
    }
    return dataclasses.replace(task, found=found, index=0)


def main() -> None:
    """Draw what the command asks for until it closes the channel."""
    gc.set_threshold(COLLECTING)  # a figure has thousands of tiles, none of which is in a cycle
    channel = Channel(*map(int, sys.argv[1:]))
    with contextlib.suppress(ClosedError):
        style = channel.receive(Style)
        while True:
            channel.send(DrawnPages(_drawn(channel.receive(FigureTask), style)))


def _drawn(task: FigureTask, style: Style) -> list[FigureFile] | None:
    try:
        return [page() for page in figure_task.plan(task, style)]
    except Exception:  # noqa: BLE001  (the command draws it again and meets the same)
        return None
