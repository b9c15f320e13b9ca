"""Ranges of layers: what two of them have together."""

from __future__ import annotations

import pytest

from actviz.statistics.value_ranges import ValueRange


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_a_range_is_signed_where_either_is(first, second):
    merged = ValueRange(0.0, 1.0, first).merge(ValueRange(0.0, 3.0, second))
    assert merged == ValueRange(0.0, 3.0, first or second)
    assert merged.ends == ((-3.0, 3.0) if first or second else (0.0, 3.0))
    assert ValueRange.from_arrays(merged.arrays()) == merged


def test_values_of_both_signs_make_a_range_symmetric():
    assert ValueRange(-2.0, 1.0, signed=False).ends == (-2.0, 2.0)
