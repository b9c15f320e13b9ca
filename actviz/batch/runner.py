"""Batches through the worker: grouped by shape, as large as memory allows, again one by one where they fail."""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from actviz.batch.retries import CrashCounter, named
from actviz.batch.streaming import Stream
from actviz.errors import ActvizError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from actviz.records import Activation, LayerInfo, Sample
    from actviz.worker import Worker

BUDGET = 256 << 20
"""Bytes of activations that a batch may hold; about three batches are in memory at a time."""

MOST = 64
GROUPS = 4
GROWTH = 4


class HasSample(Protocol):
    """Anything that brings one sample to compute."""

    @property
    def sample(self) -> Sample:
        """What is fed."""


Piece = TypeVar("Piece", bound=HasSample)
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class ComputedBatch(Generic[Piece]):
    """Activations of some pieces: those of the first stand at entry 0 of each batch, and so on."""

    pieces: Sequence[Piece]
    found: Mapping[str, Activation]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FailedItem(Generic[Piece]):
    """A piece that the model could not be run on, and why."""

    piece: Piece
    failure: ActvizError


class BatchSizes:
    """How many samples make a batch.

    As many as asked for, else as many as keep the activations within the budget: from the
    shapes that the file declares, and where it leaves them open, from what came back. The
    first batches are small, so that drawing begins early.
    """

    def __init__(self, layers: Sequence[LayerInfo], asked: int | None = None, budget: int = BUDGET) -> None:
        self._asked, self._budget = asked, budget
        self._bytes = declared_bytes(layers)
        self._batches = 0

    def most(self) -> int:
        """Return the size of the next batch."""
        if self._asked is not None:
            return self._asked
        ramp = int(GROWTH ** min(self._batches, 8))
        if self._bytes is None:
            return 1
        return min(ramp, self.limit(self._bytes))

    def limit(self, each: int) -> int:
        """Return how large a batch gets whose samples take `each` bytes of activations."""
        return self._asked or max(1, min(MOST, self._budget // max(1, each)))

    def begun(self) -> None:
        """Note that a batch was begun."""
        self._batches += 1

    def learn(self, samples: int, found: Iterable[Activation]) -> None:
        """Note how large the activations of so many samples are."""
        each = sum(item.values.nbytes for item in found) // samples
        self._bytes = max(self._bytes or 0, each)


def declared_bytes(layers: Sequence[LayerInfo]) -> int | None:
    """Return the bytes of the outputs of layers for one sample, ``None`` where a size is free."""
    total = 0
    for layer in layers:
        if layer.shape is None or None in layer.shape[1:]:
            return None
        total += math.prod(axis or 1 for axis in layer.shape[1:]) * 4
    return total


class BatchRunner(Generic[Piece]):
    """Runs a model on samples, beside whatever else goes on, in batches.

    Parameters
    ----------
    worker
        What runs the model; where it dies, it begins anew.
    addresses
        Which layers.
    sizes
        How large batches are.
    stateful
        Whether the samples of one input are a stream; then batches have one sample.
    """

    def __init__(self, worker: Worker, addresses: Sequence[str], sizes: BatchSizes, *, stateful: bool = False) -> None:
        self._stream = Stream() if stateful else None
        self._worker, self._addresses, self._sizes = worker, addresses, sizes
        self._pool = ThreadPoolExecutor(1, "compute")
        self._versions: dict[str, str] = {}
        self._deaths = CrashCounter()

    def compute(
        self, items: Iterable[Piece | Other], kind: type[Piece]
    ) -> Iterator[ComputedBatch[Piece] | FailedItem[Piece] | Other]:
        """Yield the activations of every item of class `kind`, and other items as they come.

        One batch is computed while the one before is with the caller. Pieces of one shape
        go together; their order among each other is kept.
        """
        flying: deque[Future[list[ComputedBatch[Piece] | FailedItem[Piece]]]] = deque()
        groups: dict[Any, list[Piece]] = {}
        for item in items:
            if not isinstance(item, kind):
                yield item  # type: ignore[misc]  # an `Other`, which mypy cannot conclude
                continue
            group = groups.setdefault(_shape_of(item.sample), [])
            group.append(item)
            held = sum(map(len, groups.values()))
            if len(group) >= self._sizes.most() or held >= GROUPS * self._sizes.most():
                flying.append(self._begin(groups))
            while len(flying) > 1:
                yield from flying.popleft().result()
        while groups or flying:
            if groups:
                flying.append(self._begin(groups))
            if len(flying) > 1 or not groups:
                yield from flying.popleft().result()

    def notes(self) -> list[str]:
        """Return lines worth saying about the model that were not returned before."""
        return self._worker.notes()

    def rest(self) -> None:
        """Begin nothing more; the worker stays for others."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def end(self) -> None:
        """Kill the worker; what is being computed is given up."""
        self._deaths.end()
        self._worker.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._worker.close()

    def _begin(self, groups: dict[Any, list[Piece]]) -> Future[list[ComputedBatch[Piece] | FailedItem[Piece]]]:
        """Begin the largest group, the oldest of those."""
        shape = max(groups, key=lambda one: len(groups[one]))
        most = max(1, self._sizes.most())
        group = groups[shape]
        batch, rest = group[:most], group[most:]
        if rest:
            groups[shape] = rest
        else:
            del groups[shape]
        self._sizes.begun()
        return self._pool.submit(self._run, batch)

    def _run(self, batch: list[Piece]) -> list[ComputedBatch[Piece] | FailedItem[Piece]]:
        """Run a batch; where that fails, each of its samples by itself."""
        import numpy as np

        names = batch[0].sample.values
        try:
            state = "file" if self._stream is None else self._stream.state(batch[0].sample)
            fed: dict[str, NDArray[Any]] = {
                name: np.concatenate([piece.sample.values[name] for piece in batch])
                if len(batch) > 1
                else batch[0].sample.values[name]
                for name in names
            }
            # Together they travel; each is computed by itself, so that no figure depends on the batch:
            # 2 ms more for a digit, and 4 to 12% more, or 15% less, of CPU time for a photograph (MobileNetV2,
            # VGG16), where filling each batch up would cost as many times the work for a single input.
            found = self._worker.activations(fed, self._addresses, separate=True, state=state)
            _check_batch(found, len(batch))
            self._versions = self._versions or self._worker.versions()
        except ActvizError as failure:
            self._deaths.count(failure)
            if isinstance(failure, UsageError):
                raise
            if self._stream is not None:
                self._stream.fail()
            if len(batch) == 1:
                return [FailedItem(batch[0], named(failure, batch[0].sample))]
            return [result for piece in batch for result in self._run([piece])]
        except _NoBatchError:
            return [result for piece in batch for result in self._run([piece])]
        self._deaths.answered()
        self._sizes.learn(len(batch), found.values())
        return [ComputedBatch(batch, found, self._versions)]


class _NoBatchError(Exception):
    """The outputs do not have the batch as their first axis."""


def _check_batch(found: Mapping[str, Activation], count: int) -> None:
    """Refuse outputs that mix samples: they are computed one by one instead."""
    if count > 1 and any(not item.values.ndim or item.values.shape[0] != count for item in found.values()):
        raise _NoBatchError


def _shape_of(sample: Sample) -> tuple[Any, ...]:
    """Return what must be the same for samples to make a batch; texts of any length go together."""
    return tuple(
        (name, values.shape[1:], "U" if values.dtype.kind == "U" else values.dtype.str)
        for name, values in sorted(sample.values.items())
    )
