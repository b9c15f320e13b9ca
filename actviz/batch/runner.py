"""The engine of every command that runs a model: samples are grouped by shape and computed in batches by a worker.

A batch is computed while the caller uses the previous one and the next one is read; batches that fail are retried
(`batch.retries`). Activations or states of reducers are computed by a `batch.computations.Computation`.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from actviz.batch.computations import NumberedSample, Piece
from actviz.batch.events import Note, Progress
from actviz.batch.retries import ComputedBatch, FailedItem, Result, RetryingQueue, survived

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from actviz.batch.computations import Computation
    from actviz.errors import ActvizError
    from actviz.records import Sample

GROUPS = 4
"""A batch is started when this many times its size is waiting, in all shapes together."""

Other = TypeVar("Other")


class BatchRunner(Generic[Piece, Result]):
    """Computes samples in batches, in a thread beside the caller.

    As a context manager it waits for pending batches, or kills the worker if the block fails.

    Parameters
    ----------
    computation
        What is computed; only the thread of this object uses it until `rest` or `end`.
    stateful
        Whether the samples of one input are a stream; then batches have one sample.
    depth
        Number of batches that the worker has at a time. With 2, it reduces a batch while the network
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
        """Wait for pending batches, or cancel them if the block failed."""
        if kind is None:
            self.rest()
        else:
            self.end()

    def run(
        self: BatchRunner[NumberedSample, Result],
        items: Iterable[NumberedSample | Note | ActvizError],
        *,
        fail_fast: bool,
    ) -> Iterator[ComputedBatch[NumberedSample, Result] | Note | Progress | ActvizError]:
        """Yield results, each before the progress, notes, and the errors of inputs.

        Raises
        ------
        ActvizError
            The error of an input, if it is the only one, with `fail_fast`, or if every input would fail.
        """
        results: Iterator[ComputedBatch[NumberedSample, Result] | FailedItem[NumberedSample] | Note | ActvizError] = (
            self.compute(items, NumberedSample)
        )
        for item in results:
            if isinstance(item, FailedItem):
                yield survived(item, alone=item.piece.alone, fail_fast=fail_fast)
                yield from _progress([item.piece])
            elif isinstance(item, ComputedBatch):
                yield item
                yield from _progress(item.pieces)
            else:
                yield item

    def compute(
        self, items: Iterable[Piece | Other], kind: type[Piece]
    ) -> Iterator[ComputedBatch[Piece, Result] | FailedItem[Piece] | Note | Other]:
        """Yield the results of every item of class `kind`, notes on the model, and other items as they come.

        Items of one shape are batched together, in order.
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
        """Accept no further work; the worker stays alive."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def end(self) -> None:
        """Kill the worker and cancel pending batches."""
        self._queue.end()
        for worker in self._computation.workers:
            worker.stop()
        self.rest()

    def _begin(
        self, groups: dict[Any, list[Piece]]
    ) -> Future[list[ComputedBatch[Piece, Result] | FailedItem[Piece] | Note]]:
        """Start a batch of the largest group, the oldest if several are equal."""
        shape = max(groups, key=lambda shape: len(groups[shape]))
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
        """Start a batch, in the thread of this object; return new notes, then the results that are ready."""
        results = self._queue.advance(batch, self._depth)
        return [*(Note(line) for worker in self._computation.workers for line in worker.notes()), *results]


def _progress(pieces: Sequence[NumberedSample]) -> Iterator[Progress]:
    """Yield the progress after some samples, if the number of all is known."""
    last = max(pieces, key=lambda piece: piece.done)
    if last.total:
        yield Progress(min(last.done, last.total), last.total)


def _shape_of(sample: Sample) -> tuple[Any, ...]:
    """Return a key that is equal for samples that can be in one batch; texts may have any length."""
    return tuple(
        (name, values.shape[1:], "U" if values.dtype.kind == "U" else values.dtype.str)
        for name, values in sorted(sample.values.items())
    )
