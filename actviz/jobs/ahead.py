"""Reading ahead: files are opened, hashed and decoded by threads while others are computed."""

from __future__ import annotations

import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

READERS = 3
AHEAD = 24
# So many items of one source are read before the reader of the next one may be behind it.
TAKEN = 32

Source = TypeVar("Source")
Item = TypeVar("Item")


class Ahead(Generic[Source, Item]):
    """Items of many sources in order, those of the next sources read meanwhile.

    Parameters
    ----------
    read
        Yields the items of one source; run in a thread, one at a time for each source.
    """

    def __init__(self, read: Callable[[Source], Iterator[Item]]) -> None:
        self._read = read
        self._pool = ThreadPoolExecutor(READERS, "read")

    def items(self, sources: Iterable[Source]) -> Iterator[Item]:
        """Yield the items of every source. Whatever reading one raises is raised in its place."""
        pending: deque[tuple[Iterator[Item], Future[list[Item]]]] = deque()
        for source in sources:
            items = self._read(source)
            pending.append((items, self._pool.submit(_take, items)))
            if len(pending) >= AHEAD:
                yield from self._drain(*pending.popleft())
        while pending:
            yield from self._drain(*pending.popleft())

    def end(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _drain(self, items: Iterator[Item], first: Future[list[Item]]) -> Iterator[Item]:
        taken = first.result()
        while len(taken) == TAKEN:
            following = self._pool.submit(_take, items)
            yield from taken
            taken = following.result()
        yield from taken


def _take(items: Iterator[Item]) -> list[Item]:
    return list(itertools.islice(items, TAKEN))
