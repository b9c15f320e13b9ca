"""Ranges of layers: what two of them have together."""

from __future__ import annotations

import numpy as np
import pytest

from actviz.records import Activation
from actviz.statistics.value_ranges import RangeReducer, ValueRange


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_a_range_is_signed_where_either_is(first, second):
    merged = ValueRange(0.0, 1.0, first).merge(ValueRange(0.0, 3.0, second))
    assert merged == ValueRange(0.0, 3.0, first or second)
    assert merged.ends == ((-3.0, 3.0) if first or second else (0.0, 3.0))
    assert ValueRange.from_arrays(merged.arrays()) == merged


def test_values_of_both_signs_make_a_range_symmetric():
    assert ValueRange(-2.0, 1.0, signed=False).ends == (-2.0, 2.0)


@pytest.mark.parametrize(("mask", "largest"), [(None, 9.0), ([True, True, False], 3.0), ([True, False, False], 1.0)])
def test_masked_steps_are_outside_the_range(mask, largest):
    values = np.array([[[1.0], [3.0], [9.0]]] * 2, np.float32)
    masks = None if mask is None else np.array([mask] * 2)
    reducer = RangeReducer()
    reducer.update("lstm", [Activation("lstm", "LSTM", values, ("batch", "step", "channel"), mask=masks)], [0, 1])
    assert reducer.layers["lstm"].ends[1] == largest
