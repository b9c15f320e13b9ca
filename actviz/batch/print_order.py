"""Figures are printed in the order of the inputs and layers, whichever are up to date, failed or made first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
    from pathlib import Path

    from actviz.batch.events import Event


@dataclass(slots=True)
class _Slot:
    """The events of a figure or input so far; `is_complete` where no more will follow.

    `file` is that of a figure that is up to date, whose events are loaded when they are due: records take memory.
    """

    events: list[Event] = field(default_factory=list)
    file: Path | None = None
    is_complete: bool = False


class PrintOrder:
    """Holds events of figures back until those of all figures before them have been yielded.

    Parameters
    ----------
    load
        Returns the events of a figure that is up to date, by its file.
    """

    def __init__(self, load: Callable[[Path], Iterable[Event]]) -> None:
        self._load = load
        self._slots: dict[Hashable, _Slot] = {}

    def expect(self, key: Hashable) -> None:
        """Append a figure, by its file, or an input that has none, unless it is expected already."""
        self._slots.setdefault(key, _Slot())

    def add(self, key: Hashable, events: Sequence[Event], *, count: int = 1) -> None:
        """Add events of a figure, which is complete once it has `count` of them."""
        slot = self._slots.setdefault(key, _Slot())
        slot.events += [event for event in events if event not in slot.events]
        slot.is_complete = len(slot.events) >= count

    def keep(self, file: Path) -> None:
        """Complete a figure that is up to date."""
        self._slots[file] = _Slot(is_complete=True, file=file)

    def ready(self) -> Iterator[Event]:
        """Yield the events of the first figures that are complete."""
        while self._slots and (slot := self._slots[key := next(iter(self._slots))]).is_complete:
            # Removed only after the caller has received them, since a signal may arrive at any time.
            yield from self._events(slot)
            del self._slots[key]

    def rest(self) -> list[Event]:
        """Return all events that were held back, in order, when the run ends."""
        return [event for slot in self._slots.values() for event in self._events(slot)]

    def _events(self, slot: _Slot) -> Iterable[Event]:
        return slot.events if slot.file is None else self._load(slot.file)
