"""Recovery from inputs on which the model cannot be run, and from crashes of the worker.

The rule is the same for every command. The inputs of a batch that fails are run again one by one, so that a failing
input does not fail the rest of its batch; a worker that crashed is restarted with the next request.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from actviz.batch.computations import MixedBatchError, Piece
from actviz.batch.streaming import Stream
from actviz.errors import ActvizError, InputError, LimitError, ModelChangedError, RunLimitError, UsageError, escape
from actviz.worker import WorkerCrashedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.batch.computations import Computation
    from actviz.records import Sample

MOST_AT_ONCE = 3
"""Worker crashes before the first result after which the model itself is blamed."""

MOST_IN_A_ROW = 67
"""Worker crashes without a result in between after which the run ends."""

NAME_LENGTH = 80

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ComputedBatch(Generic[Piece, Result]):
    """The result of a batch; entry ``i`` along each batch axis belongs to ``pieces[i]``."""

    pieces: Sequence[Piece]
    result: Result


@dataclass(frozen=True, slots=True)
class FailedItem(Generic[Piece]):
    """An item on which the model could not be run, and the error."""

    piece: Piece
    failure: ActvizError


def is_sample_error(failure: ActvizError) -> bool:
    """Return True if a failure may be due to one input, False if it would occur with every input."""
    return isinstance(failure, InputError | LimitError) and not isinstance(failure, RunLimitError)


def named(failure: ActvizError, sample: Sample) -> ActvizError:
    """Return a failure whose message names the input."""
    name = escape(sample.name, NAME_LENGTH)
    if not name or name in failure.message or not is_sample_error(failure):
        return failure
    return type(failure)(f"{name}: {failure.message}")


class CrashCounter:
    """Counts crashes of a worker, so that it is not restarted forever."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._answered = self._ended = False

    def answered(self) -> None:
        """Note a result."""
        self._in_a_row, self._answered = 0, True

    def end(self) -> None:
        """Tolerate no further crash: the run is ending."""
        self._ended = True

    def count(self, failure: ActvizError) -> None:
        """Count a failure if it is a crash of the worker.

        Raises
        ------
        ActvizError
            The failure itself, if workers crash one after another, the run is ending, or every input would fail.
        """
        if isinstance(failure, RunLimitError | ModelChangedError):
            raise failure
        if not isinstance(failure, WorkerCrashedError):
            return
        self._in_a_row += 1
        most = MOST_IN_A_ROW if self._answered else MOST_AT_ONCE
        if self._ended or self._in_a_row > most:
            raise failure


Results = list[ComputedBatch[Piece, Result] | FailedItem[Piece]]


class RetryingQueue(Generic[Piece, Result]):
    """Runs batches in order; if one fails, its samples are run one by one.

    Parameters
    ----------
    computation
        What is computed.
    stateful
        Whether the samples of one input are a stream; then batches have one sample.
    """

    def __init__(self, computation: Computation[Piece, Result], *, stateful: bool = False) -> None:
        self._computation = computation
        self._stream = Stream() if stateful else None
        self._pending: deque[list[Piece]] = deque()
        self._crashes = CrashCounter()

    def end(self) -> None:
        """Retry nothing from now on."""
        self._crashes.end()

    def advance(self, batch: list[Piece] | None, depth: int = 1) -> Results[Piece, Result]:
        """Start a batch, and wait for the oldest one where `depth` of them are pending or no batch is given.

        Raises
        ------
        ActvizError
            If every input would fail.
        """
        try:
            if batch is not None:
                self._pending.append(batch)
                state = "file" if self._stream is None else self._stream.state(batch[0].sample)
                self._computation.ask(batch, self._computation.sizes.filled_size(), state)
            if len(self._pending) < (1 if batch is None else depth):
                return []
            result = self._computation.take()
        except (ActvizError, MixedBatchError) as failure:
            return self._retry(failure)
        self._crashes.answered()
        return [ComputedBatch(self._pending.popleft(), result)]

    def _retry(self, failure: ActvizError | MixedBatchError) -> Results[Piece, Result]:
        """Compute the samples of the oldest batch one by one, and those of all batches if the worker crashed."""
        results: Results[Piece, Result] = []
        lost = self._pending.popleft()
        if isinstance(failure, MixedBatchError):
            self._computation.sizes.one_by_one()
        else:
            self._crashes.count(failure)
            if isinstance(failure, UsageError):
                raise failure
            if self._stream is not None:
                self._stream.fail()
            if isinstance(failure, WorkerCrashedError):
                while self._pending:
                    lost = [*lost, *self._pending.popleft()]
            if len(lost) == 1:
                results = [FailedItem(lost[0], named(failure, lost[0].sample))]
                lost = []
        # The worker still sends the results of the batches after this one.
        while self._pending:
            results += self.advance(None)
        for piece in lost:
            results += self.advance([piece])
        return results


def survived(item: FailedItem[Piece], *, alone: bool, fail_fast: bool) -> ActvizError:
    """Return the error of an input, if the run continues without it.

    Raises
    ------
    ActvizError
        The error itself, if the input is `alone`, with `fail_fast`, or if every input would fail.
    """
    if fail_fast or alone or not is_sample_error(item.failure):
        raise item.failure
    return item.failure
