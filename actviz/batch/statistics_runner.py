"""Numbers of layers over many inputs: batches to the worker, totals back, no maps.

While the worker computes one batch, the next is read. Memory does not grow with the number
of inputs beyond what reading them takes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.batch import requests
from actviz.batch.retries import CrashCounter, is_sample_error, named
from actviz.batch.streaming import Stream
from actviz.errors import ActvizError
from actviz.statistics.running_statistics import bounds_of, cuts_of, join, unpacked
from actviz.worker import WorkerCrashedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from actviz.batch.events import Note
    from actviz.records import LayerInfo, ModelFacts, Sample
    from actviz.statistics.running_statistics import RunningStatistics
    from actviz.worker import BatchStatistics, Worker

# What the layers of one batch may give, so that a worker stays small, and the most inputs
# in it: beyond that the fixed cost of a batch no longer counts.
BATCH_BYTES = 128 << 20
LARGEST_BATCH = 64
IN_WORK = 2

Key = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(slots=True)
class StatisticsSoFar:
    """What is known so far of `layers`.

    `totals` are theirs by address over `inputs` inputs; `left_out` the dtype of layers that
    give no numbers; `nonfinite` the first input with NaN or infinities. `sizes` are the
    bytes that one input's layers take, by the shapes of the input; `largest` is the most
    inputs of a batch.
    """

    layers: Sequence[LayerInfo]
    largest: int = LARGEST_BATCH
    totals: dict[str, RunningStatistics] = field(default_factory=dict)
    inputs: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    nonfinite: dict[str, str] = field(default_factory=dict)
    sizes: dict[Key, int] = field(default_factory=dict)

    def batch_size(self, key: Key, most: int) -> int:
        """Return how many inputs of some shapes make a batch of `most` bytes: one, until it is known what they take."""
        size = self.sizes.get(key)
        return 1 if size is None else max(1, min(self.largest, most // max(1, size)))

    def add(self, samples: Sequence[Sample], numbers: BatchStatistics) -> None:
        """Take the numbers of a batch."""
        for address, packed in numbers.packed.items():
            found = unpacked(packed)
            known = self.totals.get(address)
            self.totals[address] = found if known is None else join(known, found)
        self.left_out |= numbers.left_out
        for address, place in numbers.nonfinite.items():
            self.nonfinite.setdefault(address, samples[place].name)
        self.sizes[key_of(samples[0])] = numbers.size // len(samples)
        self.inputs += len(samples)


def largest_batch(facts: ModelFacts) -> int:
    """Return the most inputs of a batch: one for a model whose batch has a size of its own, or a state."""
    return 1 if any(spec.shape and spec.shape[0] is not None for spec in facts.inputs) else LARGEST_BATCH


def key_of(sample: Sample) -> Key:
    """Return what inputs of one batch have in common: their shapes, batch axis left out."""
    return tuple((name, values.shape[1:]) for name, values in sample.values.items())


def batched(
    found: Iterable[Sequence[Sample] | ActvizError], tally: StatisticsSoFar, most: int = BATCH_BYTES
) -> Iterator[list[Sample] | ActvizError]:
    """Yield inputs in batches of one shape each, and errors as they come."""
    waiting: dict[Key, list[Sample]] = {}
    for item in found:
        if isinstance(item, ActvizError):
            yield item
            continue
        for sample in item:
            key = key_of(sample)
            batch = waiting.setdefault(key, [])
            batch.append(sample)
            if len(batch) >= tally.batch_size(key, most):
                yield waiting.pop(key)
    yield from waiting.values()


def stacked(samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
    """Return the inputs of a batch as one array for each name, batch axis first."""
    import numpy as np

    if len(samples) == 1:
        return dict(samples[0].values)
    return {name: np.concatenate([sample.values[name] for sample in samples]) for name in samples[0].values}


def count_streams(
    worker: Worker, found: Iterable[Sequence[Sample] | ActvizError], tally: StatisticsSoFar, *, fail_fast: bool
) -> Iterator[Note | ActvizError]:
    """Compute the samples of each input in their order, as a stream, and add them to `tally`; yield as `count` does."""
    notes, stream, counting = requests.InputNotes(), Stream(), _PendingBatches(worker, tally, fail_fast=fail_fast)
    for part in found:
        if isinstance(part, ActvizError):
            yield part
            continue
        yield from notes.about(part)
        for sample in part:
            try:
                counting.compute(sample, stream.state(sample))
            except ActvizError as failure:
                if fail_fast or not is_sample_error(failure):
                    raise named(failure, sample) from None
                stream.fail()
                yield named(failure, sample)
        yield from requests.new_notes(worker)


def count(
    worker: Worker,
    found: Iterable[Sequence[Sample] | ActvizError],
    tally: StatisticsSoFar,
    *,
    fail_fast: bool,
    notes: requests.InputNotes | None = None,
) -> Iterator[Note | ActvizError]:
    """Compute all inputs and add them to `tally`; yield notes that `notes` has not had, and why inputs were lost."""
    notes, counting = notes or requests.InputNotes(), _PendingBatches(worker, tally, fail_fast=fail_fast)
    for batch in batched(found, tally):
        if isinstance(batch, ActvizError):
            yield batch
            continue
        yield from notes.about(batch)
        # One batch is computed and numbers are taken of another while the next is read.
        if len(counting.pending) == IN_WORK:
            yield from counting.take()
        counting.ask(batch)
        yield from requests.new_notes(worker)
    while counting.pending:
        yield from counting.take()
    yield from counting.one_by_one()
    yield from requests.new_notes(worker)


class _PendingBatches:
    """Batches on their way through the worker: `pending` ones are asked for, those to run `again` failed."""

    def __init__(self, worker: Worker, tally: StatisticsSoFar, *, fail_fast: bool) -> None:
        self._worker, self._tally, self._fail_fast = worker, tally, fail_fast
        self._cuts = {layer.address: cuts_of(bounds_of(layer.activation)) for layer in tally.layers}
        self._deaths = CrashCounter()
        self._again: list[Sample] = []
        self.pending: deque[list[Sample]] = deque()

    def ask(self, samples: list[Sample]) -> None:
        """Let the worker compute a batch."""
        self.pending.append(samples)
        try:
            self._ask(samples)
        except WorkerCrashedError as failure:
            self._lose(failure)

    def take(self) -> Iterator[ActvizError]:
        """Take the answer for the first batch that is pending; yield why inputs were lost, where that is known."""
        try:
            numbers = self._worker.numbers()
        except ActvizError as failure:
            if not is_sample_error(failure):
                raise
            self._lose(failure)
            if self._fail_fast:
                yield from self.one_by_one()
            return
        self._tally.add(self.pending.popleft(), numbers)
        self._deaths.answered()

    def one_by_one(self) -> Iterator[ActvizError]:
        """Run the samples of all batches that failed, each by itself; yield why some are lost."""
        while self.pending:
            yield from self.take()
        again, self._again = self._again, []
        for sample in again:
            try:
                self.compute(sample)
            except ActvizError as failure:
                if self._fail_fast or not is_sample_error(failure):
                    raise named(failure, sample) from None
                self._deaths.count(failure)
                yield named(failure, sample)

    def compute(self, sample: Sample, state: str = "file") -> None:
        """Compute one sample by itself and add it; `state` is what it begins with."""
        try:
            self._ask([sample], state)
            self._tally.add([sample], self._worker.numbers())
        except ActvizError as failure:
            if state != "file":
                self._deaths.count(failure)
            raise
        self._deaths.answered()

    def _ask(self, samples: Sequence[Sample], state: str = "file") -> None:
        asked = {address: pair for address, pair in self._cuts.items() if pair is not None}
        self._worker.ask_numbers(stacked(samples), list(self._cuts), asked, state)

    def _lose(self, failure: ActvizError) -> None:
        """Note what is to be run again: the first batch, and where the worker died all that it was given."""
        self._deaths.count(failure)
        lost = list(self.pending) if isinstance(failure, WorkerCrashedError) else [self.pending[0]]
        for batch in lost:
            self.pending.popleft()
            self._again += batch
