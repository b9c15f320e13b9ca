"""Prefetching: threads open, hash and decode files while others are computed."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

READERS = 3
BUDGET = 64 << 20
"""Bytes of items that may wait, in addition to one item of each open source."""

# Largest and smallest number of open sources, and items that are read of a source at a time.
MOST, LEAST, TAKEN = 24, 2, 32

Source = TypeVar("Source")
Item = TypeVar("Item")


class Prefetcher(Generic[Source, Item]):
    """Yields the items of many sources in order, and reads the next sources meanwhile.

    Parameters
    ----------
    read
        Yields the items of a source; run in a thread, one at a time for each source.
    weigh
        Returns the bytes of an item. The larger items are, the fewer are prefetched.
    """

    def __init__(self, read: Callable[[Source], Iterator[Item]], weigh: Callable[[Item], int]) -> None:
        self._read, self._weigh = read, weigh
        self._heaviest = 0
        self._pool = ThreadPoolExecutor(READERS, "read")

    def items(self, sources: Iterable[Source]) -> Iterator[Item]:
        """Yield the items of every source; an exception of `read` is raised when the source is reached."""
        pending: deque[tuple[Iterator[Item], Future[list[Item]]]] = deque()
        for source in sources:
            items = self._read(source)
            pending.append((items, self._pool.submit(self._take, items)))
            while len(pending) >= self._sources():
                yield from self._drain(*pending.popleft())
        while pending:
            yield from self._drain(*pending.popleft())

    def end(self) -> None:
        """Accept no further work."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _sources(self) -> int:
        """Return how many sources may be open: few until the size of items is known."""
        if not self._heaviest:
            return READERS
        return max(LEAST, min(MOST, BUDGET // self._heaviest))

    def _drain(self, items: Iterator[Item], first: Future[list[Item]]) -> Iterator[Item]:
        taken = first.result()
        while taken:
            following = self._pool.submit(self._take, items)
            yield from taken
            taken = following.result()

    def _take(self, items: Iterator[Item]) -> list[Item]:
        """Return the next items of a source, at least one unless it is exhausted."""
        taken: list[Item] = []
        total = 0
        for item in items:
            taken.append(item)
            weight = self._weigh(item)
            self._heaviest = max(self._heaviest, weight)
            total += weight
            if len(taken) == TAKEN or total > BUDGET // MOST:
                break
        return taken
