"""Limits: how they are written, and what they say of layers."""

from __future__ import annotations

import numpy as np
import pytest

from actviz.errors import UsageError
from actviz.records import Activation
from actviz.statistics.limits import Limits, judge, parse_number, parse_range, parse_share, percent
from actviz.statistics.running_statistics import totals_of

VALUES = np.array([[0, 1, 5.0, 2], [0, 2, 5, np.nan], [0, 3, 5, np.inf]], np.float32)
FOUND = totals_of(Activation("units", "Dense", VALUES, ("batch", "unit")), (-1.0, 4.0))


@pytest.mark.parametrize(
    ("text", "share"), [("10%", 0.1), ("0.1", 0.1), ("0", 0), ("100%", 1), (" 5 %".replace(" ", ""), 0.05)]
)
def test_shares(text, share):
    assert parse_share(text, "--max-dead") == pytest.approx(share)


@pytest.mark.parametrize("text", ["ten", "10", "-1%", "101%", "nan", "", "%", "1e400", "\x1b[31m"])
def test_what_is_no_share_is_refused_in_one_line(text):
    with pytest.raises(UsageError, match=r"--max-dead .*such as 10% or 0\.1") as failure:
        parse_share(text, "--max-dead")
    assert failure.value.message.isprintable()


@pytest.mark.parametrize(
    ("text", "ends"), [("-1:2", (-1, 2)), ("0:", (0, np.inf)), (":6", (-np.inf, 6)), ("1e3:2e3", (1000, 2000))]
)
def test_ranges(text, ends):
    assert parse_range(text, "--range") == ends


@pytest.mark.parametrize("text", ["2:1", "1:1", "5", "a:b", "nan:1", "1:2:3", "", ":"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(UsageError, match="a range such as"):
        parse_range(text, "--range")


@pytest.mark.parametrize("text", ["x", "nan", "inf", "-1"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(UsageError, match="a number of at least 0"):
        parse_number(text, "--min-std")


@pytest.mark.parametrize(
    ("limits", "kept", "reason"),
    [
        (Limits(dead=0.2), False, "1 of 4 channels never fires on 3 inputs (0); limit 20%"),
        (Limits(dead=0.25), True, "1 of 4 channels never fires on 3 inputs (0); limit 25%"),
        (Limits(constant=0.0), False, "1 of 4 channels never changes on 3 inputs (2); limit 0%"),
        (Limits(no_nan=True), False, "1 NaN in 1 of 4 channels on 3 inputs (3)"),
        (Limits(no_infinite=True), False, "1 infinite values in 1 of 4 channels on 3 inputs (3)"),
        (Limits(zeros=0.2), False, "25% of 12 values are zero on 3 inputs; limit 20%"),
        (Limits(saturated=0.5), True, "33.3% of 12 values are saturated on 3 inputs; limit 50%"),
        (Limits(min_std=0.5), False, "3 of 4 channels vary less than 0.5 on 3 inputs (0, 2, 3); smallest standard deviation 0"),
        (Limits(within=(0, 4)), False, "2 of 4 channels leave the range 0 to 4 on 3 inputs (2, 3); values from 0 to 5"),
    ],
)  # fmt: skip
def test_each_limit_says_what_it_found(limits, kept, reason):
    (case,) = judge("units", FOUND, limits, 3)
    assert (case.subject, case.kept, case.reason) == ("units", kept, reason)


def test_a_layer_without_bounds_has_nothing_to_say_of_saturation():
    unbounded = totals_of(Activation("units", "Dense", VALUES, ("batch", "unit")))
    assert judge("units", unbounded, Limits(saturated=0.1), 3) == []


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (1, "100%"), (0.578125, "57.8%"), (0.5, "50%"), (1e-5, "0.001%"), (0.1, "10%")]
)
def test_a_share_that_is_not_nothing_never_looks_like_it(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(("value", "kept"), [(0.5, True), (2.0, False)])
def test_a_single_value_may_leave_a_range(value, kept):
    totals = totals_of(Activation("units", "Dense", np.full((1, 1), value, np.float32), ("batch", "unit")))
    (case,) = judge("units", totals, Limits(within=(0.0, 1.0)), 1)
    assert case.kept is kept
