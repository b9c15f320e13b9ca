"""Printed events: the reason for a failure is printed once, with or without --quiet."""

import pytest

from actviz.batch.events import FileFailed, FileWritten, Note, Output, Progress
from actviz.cli.printer import print_events
from actviz.errors import InputError, PartialError

REASON = "channel 900 does not exist; the layer has 32, 0 to 31."
FAILURE = Note(f"no figure: {REASON}", is_failure=True)
PARTIAL = "1 of 2 inputs failed, for the reasons above."


@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize(
    ("events", "printed"),
    [
        # The caller prints the error with which the run ends.
        ([Progress(0, 1), FAILURE, FileFailed({}), Progress(1, 1), InputError(REASON)], ""),
        ([FAILURE, InputError(REASON)], ""),
        ([FAILURE, PartialError(PARTIAL)], f"actviz: no figure: {REASON}\n"),
        ([FAILURE, FileWritten("a.png"), InputError(REASON)], f"actviz: no figure: {REASON}\n"),
        ([FAILURE, Output("text"), InputError(REASON)], f"actviz: no figure: {REASON}\n"),
        ([FAILURE, FAILURE, InputError(REASON)], f"actviz: no figure: {REASON}\n"),
        ([FAILURE, Progress(1, 2), InputError(REASON)], f"actviz: no figure: {REASON}\n"),
        ([FAILURE, KeyboardInterrupt()], f"actviz: no figure: {REASON}\n"),
    ],
    ids=["single", "no progress", "other error", "figure", "output", "two failures", "more inputs", "interrupted"],
)  # fmt: skip
def test_a_reason_that_ends_the_run_is_not_printed_twice(capsys, events, printed, quiet):
    *events, end = events

    def generator():
        yield from events
        raise end

    with pytest.raises(type(end)):
        print_events(generator(), quiet=quiet)
    assert capsys.readouterr().err == printed


def test_reasons_are_printed_before_the_next_result_and_at_the_end(capsys):
    print_events(iter([FAILURE, Note("a note"), FAILURE]), quiet=False)
    assert capsys.readouterr().err == f"actviz: no figure: {REASON}\nactviz: a note\nactviz: no figure: {REASON}\n"
