"""The engine of every command that runs a model: samples are grouped by shape and computed in batches by a worker.

One batch is computed while the one before is with the caller and the next is read; what fails is retried
(`batch.retries`). What is computed, activations or states of reducers, is a `batch.computations.Computation`.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from actviz.batch.computations import NumberedSample, Piece
from actviz.batch.events import Note
from actviz.batch.retries import ComputedBatch, FailedItem, Result, RetryingQueue, survived

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from actviz.batch.computations import Computation
    from actviz.errors import ActvizError
    from actviz.records import Sample

GROUPS = 4
"""A batch is started when this many times its size is waiting, whatever the shapes."""

Other = TypeVar("Other")


class BatchRunner(Generic[Piece, Result]):
    """Computes samples in batches, in a thread beside the caller.

    As a context manager it waits for what is being computed, and kills the worker where the block fails.

    Parameters
    ----------
    computation
        What is computed; only the thread of this object uses it until `rest` or `end`.
    stateful
        Whether the samples of one input are a stream; then batches have one sample.
    depth
        How many batches the worker is given at a time. With 2, the worker reduces one while the network
        computes the next.
    """

    def __init__(self, computation: Computation[Piece, Result], *, stateful: bool = False, depth: int = 1) -> None:
        self._computation, self._sizes, self._depth = computation, computation.sizes, depth
        self._queue = RetryingQueue(computation, stateful=stateful)
        self._pool = ThreadPoolExecutor(1, "compute")

    def __enter__(self) -> Self:
        """Return the runner itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for what is being computed, or give it up where something failed."""
        if kind is None:
            self.rest()
        else:
            self.end()

    def run(
        self: BatchRunner[NumberedSample, Result],
        items: Iterable[NumberedSample | Note | ActvizError],
        *,
        fail_fast: bool,
    ) -> Iterator[ComputedBatch[NumberedSample, Result] | Note | ActvizError]:
        """Yield results, notes, and why inputs failed.

        Raises
        ------
        ActvizError
            Why an input failed, where it is the only one, the run is to `fail_fast` or every input would fail alike.
        """
        results: Iterator[ComputedBatch[NumberedSample, Result] | FailedItem[NumberedSample] | Note | ActvizError] = (
            self.compute(items, NumberedSample)
        )
        for item in results:
            if isinstance(item, FailedItem):
                yield survived(item, alone=item.piece.alone, fail_fast=fail_fast)
            else:
                yield item

    def compute(
        self, items: Iterable[Piece | Other], kind: type[Piece]
    ) -> Iterator[ComputedBatch[Piece, Result] | FailedItem[Piece] | Note | Other]:
        """Yield the results of every item of class `kind`, notes on the model, and other items as they come.

        Pieces of one shape go together; their order among each other is kept.
        """
        pending: deque[Future[list[ComputedBatch[Piece, Result] | FailedItem[Piece] | Note]]] = deque()
        groups: dict[Any, list[Piece]] = {}
        for item in items:
            if not isinstance(item, kind):
                yield item  # type: ignore[misc]  # an `Other`, which mypy cannot conclude
                continue
            group = groups.setdefault(_shape_of(item.sample), [])
            group.append(item)
            held = sum(map(len, groups.values()))
            if len(group) >= self._sizes.most() or held >= GROUPS * self._sizes.most():
                pending.append(self._begin(groups))
            while len(pending) > 1:
                yield from pending.popleft().result()
        while groups:
            pending.append(self._begin(groups))
            if len(pending) > 1:
                yield from pending.popleft().result()
        pending += [self._pool.submit(self._advance, None) for _ in range(1, self._depth)]
        while pending:
            yield from pending.popleft().result()

    def rest(self) -> None:
        """Start nothing more; the worker stays for others."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def end(self) -> None:
        """Kill the worker; what is being computed is given up."""
        self._queue.end()
        for worker in self._computation.workers:
            worker.stop()
        self.rest()

    def _begin(
        self, groups: dict[Any, list[Piece]]
    ) -> Future[list[ComputedBatch[Piece, Result] | FailedItem[Piece] | Note]]:
        """Start the largest group, the oldest of those."""
        shape = max(groups, key=lambda one: len(groups[one]))
        most = max(1, self._sizes.most())
        group = groups[shape]
        batch, rest = group[:most], group[most:]
        if rest:
            groups[shape] = rest
        else:
            del groups[shape]
        self._sizes.begun()
        return self._pool.submit(self._advance, batch)

    def _advance(self, batch: list[Piece] | None) -> list[ComputedBatch[Piece, Result] | FailedItem[Piece] | Note]:
        """Run in the thread: start a batch and return what is ready, after notes on the model that are new."""
        results = self._queue.advance(batch, self._depth)
        return [*(Note(line) for worker in self._computation.workers for line in worker.notes()), *results]


def _shape_of(sample: Sample) -> tuple[Any, ...]:
    """Return what must be the same for samples to make a batch; texts of any length go together."""
    return tuple(
        (name, values.shape[1:], "U" if values.dtype.kind == "U" else values.dtype.str)
        for name, values in sorted(sample.values.items())
    )
