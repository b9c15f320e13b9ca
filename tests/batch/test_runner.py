"""The engine: every sample has exactly one result, whatever fails, in whatever order and however deep the queue is."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actviz.batch.batch_sizes import BatchSizes
from actviz.batch.computations import MixedBatchError, NumberedSample
from actviz.batch.events import Note
from actviz.batch.retries import ComputedBatch, FailedItem, RetryingQueue
from actviz.batch.runner import BatchRunner
from actviz.errors import InputError, ModelError, UsageError
from actviz.records import Sample
from actviz.worker import WorkerCrashedError

HARMS = {"bad": InputError, "kills": WorkerCrashedError}


class FakeWorker:
    def __init__(self):
        self.stopped, self.new = False, []

    def notes(self):
        new, self.new = self.new, []
        return new

    def stop(self):
        self.stopped = True


@dataclass
class FakeComputation:
    """Results are the numbers of a batch; `harms` are by number, and a crash loses all that was asked for."""

    sizes: BatchSizes
    harms: dict[int, str] = field(default_factory=dict)
    mixes: bool = False
    asked: list = field(default_factory=list)
    taken: list = field(default_factory=list)
    worker: FakeWorker = field(default_factory=FakeWorker)

    @property
    def workers(self):
        return [self.worker]

    def ask(self, batch, size, state):
        self.asked.append(([piece.number for piece in batch], max(size, len(batch)), state))

    def take(self):
        numbers, size, _ = self.asked.pop(0)
        self.taken.append((numbers, size))
        harm = next((self.harms[number] for number in numbers if number in self.harms), None)
        if harm == "kills":
            self.asked.clear()
        if harm:
            raise HARMS[harm](f"m.h5: {harm}")
        if self.mixes and size > 1:
            raise MixedBatchError
        return tuple(numbers)


def samples(count, shape=lambda _: 1):
    return [
        NumberedSample(number, Sample(f"s{number}", {"x": np.zeros((1, shape(number)))}, None, "", ""))
        for number in range(count)
    ]


def split(results):
    done = [number for item in results if isinstance(item, ComputedBatch) for number in item.result]
    failed = [item.piece.number for item in results if isinstance(item, FailedItem)]
    return done, failed


@given(
    st.integers(1, 12),
    st.dictionaries(st.integers(0, 30), st.sampled_from(sorted(HARMS)), max_size=2),
    st.integers(1, 5),
    st.integers(1, 2),
    st.booleans(),
    st.booleans(),
    st.integers(1, 3),
)
def test_every_sample_has_one_result(count, harms, size, depth, filled, mixes, shapes):
    harms = {number: harm for number, harm in harms.items() if number < count}
    computation = FakeComputation(BatchSizes((), size, filled=filled), harms, mixes)
    with BatchRunner(computation, depth=depth) as runner:
        results = list(runner.compute(samples(count, lambda number: 1 + number % shapes), NumberedSample))
    done, failed = split(results)
    assert sorted(done) == sorted(set(range(count)) - set(harms))
    assert sorted(failed) == sorted(harms)
    assert not computation.asked
    assert not computation.worker.stopped


def test_a_batch_that_fails_is_computed_one_by_one_and_filled_up_as_before():
    computation = FakeComputation(BatchSizes((), 4, filled=True), {2: "bad"})
    queue = RetryingQueue(computation)
    results = queue.advance(samples(4))
    assert computation.taken == [([0, 1, 2, 3], 4), ([0], 4), ([1], 4), ([2], 4), ([3], 4)]
    assert [item.failure.message for item in results if isinstance(item, FailedItem)] == ["s2: m.h5: bad"]


def test_a_crash_loses_the_batches_behind_it_too_and_nothing_counts_twice():
    computation = FakeComputation(BatchSizes((), 2, filled=True), {0: "kills"})
    queue = RetryingQueue(computation)
    assert queue.advance(samples(4)[:2], 2) == []
    results = queue.advance(samples(4)[2:], 2)
    assert split(results) == ([1, 2, 3], [0])
    assert computation.taken == [([0, 1], 2), ([0], 2), ([1], 2), ([2], 2), ([3], 2)]


def test_where_outputs_mix_samples_no_copies_are_fed_from_then_on():
    computation = FakeComputation(BatchSizes((), 3, filled=True), mixes=True)
    queue = RetryingQueue(computation)
    assert split(queue.advance(samples(3))) == ([0, 1, 2], [])
    assert computation.taken == [([0, 1, 2], 3), ([0], 1), ([1], 1), ([2], 1)]


@pytest.mark.parametrize(("harm", "options"), [("bad", {"fail_fast": True}), ("alone", {"fail_fast": False})])
def test_a_failure_ends_the_run_where_it_is_to(harm, options):
    computation = FakeComputation(BatchSizes((), 1), {0: "bad"})
    (piece,) = samples(1)
    piece = NumberedSample(0, piece.sample, alone=harm == "alone")
    runner = BatchRunner(computation)
    with pytest.raises(InputError, match=r"s0: m\.h5: bad"), runner:
        list(runner.run([piece], **options))
    assert computation.worker.stopped


@pytest.mark.parametrize("kind", [ModelError, UsageError])
def test_what_every_input_would_fail_with_ends_the_run(monkeypatch, kind):
    monkeypatch.setitem(HARMS, "bad", kind)
    runner = BatchRunner(FakeComputation(BatchSizes((), 2), {1: "bad"}))
    with pytest.raises(kind), runner:
        list(runner.run(samples(4), fail_fast=False))


def test_notes_come_once_and_before_results():
    computation = FakeComputation(BatchSizes((), 1))
    computation.worker.new = ["noted"]
    with BatchRunner(computation) as runner:
        results = list(runner.run([Note("first"), *samples(2)], fail_fast=False))
    assert [item.text if isinstance(item, Note) else item.result for item in results] == ["first", "noted", (0,), (1,)]
