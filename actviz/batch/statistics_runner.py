"""Statistics of layers over many inputs: batches go to the worker, states of reducers come back, no activations.

While the worker computes one batch, the next is read. Memory does not grow with the number
of inputs beyond what reading them takes.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.batch import requests
from actviz.batch.retries import CrashCounter, is_sample_error, named
from actviz.batch.streaming import Stream
from actviz.errors import ActvizError
from actviz.statistics.running_statistics import StatisticsReducer, bounds_of, cuts_of
from actviz.worker import WorkerCrashedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
    """Statistics of `layers` over the inputs so far.

    `size` is the number of inputs that the model is fed at a time. `left_out` is the dtype of layers that give no
    numbers, `nonfinite` the name of the first input with NaN or infinities, both by address.
    """

    layers: Sequence[LayerInfo]
    size: int = 1
    reducer: StatisticsReducer = field(default_factory=StatisticsReducer)
    inputs: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    nonfinite: dict[str, str] = field(default_factory=dict)

    @property
    def totals(self) -> Mapping[str, RunningStatistics]:
        """The statistics by address."""
        return self.reducer.layers

    def add(self, names: Mapping[int, str], reducer: StatisticsReducer, left_out: Mapping[str, str]) -> None:
        """Merge the statistics of a batch of inputs, of which `names` are those by number."""
        self.reducer.merge(reducer)
        self.left_out |= left_out
        for address in reducer.layers:
            first = self.totals[address].first_nonfinite
            if first in names:
                self.nonfinite[address] = names[first]
        self.inputs += len(names)


def batch_size(facts: ModelFacts, most: int = BATCH_BYTES) -> int:
    """Return how many inputs a model is fed at a time by commands that reduce.

    It follows from what the file declares alone: the last bits of activations depend on the size of the batch (1 and
    32 differ in 6 of 7 layers of the digits sample, by up to 1.7e-6), so that results do not depend on how many inputs
    there are. It is 1 where an input has a size of its own for the batch, or a size that is not fixed.
    """
    shapes = [spec.shape for spec in facts.inputs]
    if any(not shape or shape[0] is not None or None in shape[1:] for shape in shapes):
        return 1
    known = [
        4 * math.prod(size or 1 for size in layer.shape[1:])
        for layer in facts.layers
        if layer.shape is not None and None not in layer.shape[1:]
    ]
    # A layer of unknown shape counts as the largest of the others.
    total = sum(known) + (len(facts.layers) - len(known)) * max(known, default=most)
    return max(1, min(LARGEST_BATCH, most // max(1, total)))


def key_of(sample: Sample) -> Key:
    """Return what inputs of one batch have in common: their shapes, batch axis left out."""
    return tuple((name, values.shape[1:]) for name, values in sample.values.items())


def batched(found: Iterable[Sequence[Sample] | ActvizError], size: int) -> Iterator[list[Sample] | ActvizError]:
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
            if len(batch) >= size:
                yield waiting.pop(key)
    yield from waiting.values()


def stacked(samples: Sequence[Sample], size: int = 1) -> dict[str, NDArray[Any]]:
    """Return inputs as one array for each name, batch axis first, filled up to `size` with copies of the last."""
    import numpy as np

    filled = [*samples, *[samples[-1]] * (size - len(samples))]
    if len(filled) == 1:
        return dict(samples[0].values)
    return {name: np.concatenate([sample.values[name] for sample in filled]) for name in samples[0].values}


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
    for batch in batched(found, tally.size):
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


Numbered = list[tuple[int, "Sample"]]


class _PendingBatches:
    """Batches on their way through the worker: `pending` ones are asked for, those to run `again` failed."""

    def __init__(self, worker: Worker, tally: StatisticsSoFar, *, fail_fast: bool) -> None:
        self._worker, self._tally, self._fail_fast = worker, tally, fail_fast
        self._cuts = {layer.address: cuts_of(bounds_of(layer.activation)) for layer in tally.layers}
        self._deaths = CrashCounter()
        self._next = tally.inputs
        self._again: Numbered = []
        self.pending: deque[Numbered] = deque()

    def ask(self, samples: list[Sample]) -> None:
        """Let the worker compute a batch."""
        self.pending.append(self._numbered(samples))
        try:
            self._ask(self.pending[-1])
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
        batch = self.pending.popleft()
        if numbers.mixed:
            self._again += batch
        else:
            self._add(batch, numbers)

    def one_by_one(self) -> Iterator[ActvizError]:
        """Run the samples of all batches that failed, each by itself; yield why some are lost."""
        while self.pending:
            yield from self.take()
        again, self._again = self._again, []
        for item in again:
            try:
                self._compute(item)
            except ActvizError as failure:
                if self._fail_fast or not is_sample_error(failure):
                    raise named(failure, item[1]) from None
                self._deaths.count(failure)
                yield named(failure, item[1])

    def compute(self, sample: Sample, state: str) -> None:
        """Compute one sample of a stream; `state` is what it begins with."""
        try:
            self._compute(self._numbered([sample])[0], state)
        except ActvizError as failure:
            self._deaths.count(failure)
            raise

    def _compute(self, item: tuple[int, Sample], state: str = "file") -> None:
        """Compute one sample in a batch of copies, or alone where outputs mix those of a batch."""
        self._ask([item], state)
        numbers = self._worker.numbers()
        if numbers.mixed:
            self._tally.size = 1
            self._ask([item], state)
            numbers = self._worker.numbers()
        self._add([item], numbers)

    def _numbered(self, samples: Sequence[Sample]) -> Numbered:
        start, self._next = self._next, self._next + len(samples)
        return list(enumerate(samples, start))

    def _ask(self, batch: Numbered, state: str = "file") -> None:
        cuts = {address: pair for address, pair in self._cuts.items() if pair is not None}
        numbers, samples = zip(*batch, strict=True)
        fed = stacked(samples, self._tally.size if state == "file" else 1)
        self._worker.ask_numbers(fed, list(self._cuts), cuts, numbers, state)

    def _add(self, batch: Numbered, numbers: BatchStatistics) -> None:
        names = {number: sample.name for number, sample in batch}
        self._tally.add(names, StatisticsReducer.from_state(numbers.state), numbers.left_out)
        self._deaths.answered()

    def _lose(self, failure: ActvizError) -> None:
        """Note what is to be run again: the first batch, and where the worker died all that it was given."""
        self._deaths.count(failure)
        lost = list(self.pending) if isinstance(failure, WorkerCrashedError) else [self.pending[0]]
        for batch in lost:
            self.pending.popleft()
            self._again += batch
