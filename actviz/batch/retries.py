"""What a run survives: an input that the model cannot be run on, and a worker that dies of it.

Every job that computes inputs has the same rule. A batch that fails is run again one by one,
so that a bad input costs itself only; a worker that died begins anew with the next question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.errors import ActvizError, InputError, LimitError, ModelChangedError, RunLimitError, escape
from actviz.worker import WorkerCrashedError

if TYPE_CHECKING:
    from actviz.records import Sample

MOST_AT_ONCE = 3
"""So many deaths before anything was computed, and it is the model that kills."""

MOST_IN_A_ROW = 67
"""So many deaths without an answer between them, and it is no use to go on."""

NAME_LENGTH = 80


def is_sample_error(failure: ActvizError) -> bool:
    """Tell whether a failure may be one input's own: any other would meet all inputs alike."""
    return isinstance(failure, InputError | LimitError) and not isinstance(failure, RunLimitError)


def named(failure: ActvizError, sample: Sample) -> ActvizError:
    """Return a failure that says which input it is about, whatever the model's process said of it."""
    name = escape(sample.name, NAME_LENGTH)
    if not name or name in failure.message or not is_sample_error(failure):
        return failure
    return type(failure)(f"{name}: {failure.message}")


class CrashCounter:
    """Counts the ends of a worker, so that a run does not begin it anew for ever."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._answered = self._ended = False

    def answered(self) -> None:
        """Note that something was computed."""
        self._in_a_row, self._answered = 0, True

    def end(self) -> None:
        """Survive none from now on: the work is given up."""
        self._ended = True

    def count(self, failure: ActvizError) -> None:
        """Note a failure, of which only those of a dead worker count.

        Raises
        ------
        ActvizError
            The failure itself, when workers die one after another, the work has ended, or every
            input would fail alike.
        """
        if isinstance(failure, RunLimitError | ModelChangedError):
            raise failure
        if not isinstance(failure, WorkerCrashedError):
            return
        self._in_a_row += 1
        most = MOST_IN_A_ROW if self._answered else MOST_AT_ONCE
        if self._ended or self._in_a_row > most:
            raise failure
