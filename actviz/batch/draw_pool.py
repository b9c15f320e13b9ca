"""Processes beside the command that draw figures: Python draws on one core in one process.

A helper gets activations and gives PNG files back, both through pipes: it touches no file,
and nothing is lost when it dies. What it cannot draw the command draws itself, and says why.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import queue
import sys
from typing import TYPE_CHECKING, Any

from actviz.batch import figure_task
from actviz.batch.figure_task import FigureFile, FigureTask
from actviz.batch.output_paths import SHEET
from actviz.errors import LimitError
from actviz.records import Context, Style
from actviz.results.provenance_json import dump_json
from actviz.system import processes
from actviz.worker import serialization
from actviz.worker.channel import Channel, ClosedError
from actviz.worker.client import environment

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROGRAM = "from actviz.batch.draw_pool import main; main()"
COLLECTING = 100_000
# Names of arrays beside those that `wire` names.
_THUMBNAIL, _PICTURE = "thumbnail", "picture of "
_PLAIN = ("model", "input", "fed", "labels", "steps", "reduced", "left_out")


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
        told = dump_json(dataclasses.asdict(style)).decode("ascii")
        for _ in range(count):
            try:
                helper = _DrawProcess(told)
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

    def __init__(self, told: str) -> None:
        self.process, reader, writer = processes.start_python(PROGRAM, told, environment(verbose=False))
        self.channel = Channel(reader, writer)

    def draw(self, task: FigureTask) -> list[FigureFile] | None:
        """Draw a figure; ``None`` where that failed, for whatever reason.

        Raises
        ------
        ClosedError
            When the process is gone.
        """
        self.channel.send(*_packed(task))
        message, arrays = self.channel.receive()
        if "pages" not in message:
            return None
        return [FigureFile(arrays[str(number)].tobytes(), record) for number, record in enumerate(message["pages"])]


def _packed(task: FigureTask) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return a task as a message and arrays: of the batch only the entry that is drawn."""
    part = slice(task.index, task.index + 1)
    found = {
        address: dataclasses.replace(
            item, values=item.values[part], mask=None if item.mask is None else item.mask[part]
        )
        for address, item in task.found.items()
        if task.key in (address, SHEET)
    }
    said, arrays = serialization.described(found)
    context = task.context
    told = {name: getattr(context, name) for name in _PLAIN} | {"padding": dict(context.padding)}
    if context.thumbnail is not None:
        arrays[_THUMBNAIL] = context.thumbnail
    arrays |= {_PICTURE + name: picture for name, picture in context.pictures.items()}
    return {"key": task.key, "found": said, "context": told, "about": dict(task.about)}, arrays


def _unpacked(message: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> FigureTask:
    told = message["context"]
    context = Context(
        **told
        | {"labels": tuple(told["labels"]), "steps": tuple(told["steps"])}
        | {"left_out": tuple((reason, count) for reason, count in told["left_out"])}
        | {"padding": {name: tuple(box) for name, box in told["padding"].items()}},
        thumbnail=arrays.get(_THUMBNAIL),
        pictures={name.removeprefix(_PICTURE): values for name, values in arrays.items() if name.startswith(_PICTURE)},
    )
    return FigureTask(message["key"], serialization.activations(message["found"], arrays), 0, context, message["about"])


def main() -> None:
    """Draw what the command asks for until it closes the channel."""
    import numpy as np

    gc.set_threshold(COLLECTING)  # a figure has thousands of tiles, none of which is in a cycle
    reader, writer, told = sys.argv[1:4]
    said = json.loads(told)
    style = Style(**said | {"ranges": {name: tuple(ends) for name, ends in said["ranges"].items()}})
    channel = Channel(int(reader), int(writer))
    while True:
        try:
            message, arrays = channel.receive()
            pages = _drawn(_unpacked(message, arrays), style)
            contents = {str(number): np.frombuffer(page.content, np.uint8) for number, page in enumerate(pages or ())}
            channel.send({} if pages is None else {"pages": [page.record for page in pages]}, contents)
        except ClosedError:
            return


def _drawn(task: FigureTask, style: Style) -> list[FigureFile] | None:
    try:
        return [page() for page in figure_task.plan(task, style)]
    except Exception:  # noqa: BLE001  (the command draws it again and meets the same)
        return None
