"""Numbers about activations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from actviz import stats

pytestmark = pytest.mark.filterwarnings("error")


def test_numbers_of_each_channel() -> None:
    values = np.array([[1, 0, 2, 5], [3, 0, 2, np.nan], [5, 0, 2, -np.inf]], dtype=np.float32)

    found = stats.statistics(values, channel_axis=1)

    np.testing.assert_array_equal(found.minimum, [1, 0, 2, 5])
    np.testing.assert_array_equal(found.maximum, [5, 0, 2, 5])
    np.testing.assert_allclose(found.mean, [3, 0, 2, 5])
    np.testing.assert_allclose(found.std, [np.sqrt(8 / 3), 0, 0, 0])
    np.testing.assert_allclose(found.l2, [np.sqrt(35), 0, np.sqrt(12), 5])
    np.testing.assert_array_equal(found.zeros, [0, 1, 0, 0])
    assert found.nan.tolist() == [0, 0, 0, 1]
    assert found.infinite.tolist() == [0, 0, 0, 1]
    assert [stats.STATES[code] for code in found.state] == ["live", "dead", "constant", "nonfinite"]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float32", "float64"])
def test_every_real_dtype_counts(dtype: str) -> None:
    values = np.array([[0, 1], [1, 1]], dtype=dtype)

    found = stats.statistics(values)

    np.testing.assert_array_equal(found.mean, [0.5, 1])
    assert found.mean.dtype == np.float64


def test_bfloat16_counts() -> None:
    types = pytest.importorskip("ml_dtypes")

    found = stats.statistics(np.array([[1.5, 2.5]], dtype=types.bfloat16))

    assert found.mean.tolist() == [2.0]


@pytest.mark.parametrize("values", [["a"], [1j], [object()]])
def test_what_is_no_number_is_refused(values: list[object]) -> None:
    with pytest.raises(TypeError, match="no real numbers"):
        stats.as_numbers(np.array(values))


def test_nothing_at_all() -> None:
    found = stats.statistics(np.zeros((3, 0, 4)))

    assert np.isnan(found.minimum).all()
    assert found.strength.tolist() == [0, 0, 0]
    assert stats.layer_numbers(np.zeros((3, 0, 4)), found)["mean"] is None


@pytest.mark.parametrize("size", [1e38, 1.7e308, 1e-310, 5e-324])
def test_the_largest_and_smallest_values(size: float) -> None:
    values = np.array([[size, -size, size, 0.0]])

    found = stats.statistics(values)
    record = stats.layer_numbers(values, found)

    assert found.maximum[0] == size
    assert np.isfinite([found.mean[0], found.std[0]]).all()
    assert found.minimum[0] <= record["mean"] <= found.maximum[0]
    assert found.l2[0] >= size


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=3, max_side=6),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
@settings(deadline=None)
def test_agrees_with_numpy_channel_by_channel(values: np.ndarray) -> None:
    before = values.copy()

    found = stats.statistics(values)
    record = stats.layer_numbers(values, found)

    np.testing.assert_array_equal(values, before)
    for channel, one in enumerate(values):
        finite = one[np.isfinite(one)].astype(np.float64)
        assert found.nan[channel] == np.isnan(one).sum()
        if finite.size:
            assert found.minimum[channel] == finite.min()
            np.testing.assert_allclose(found.mean[channel], finite.mean(), rtol=1e-9, atol=1e-300)
            scale = np.abs(finite).max()
            np.testing.assert_allclose(found.std[channel], finite.std(), atol=1e-9 * scale + 1e-300)
    assert record["nan"] == np.isnan(values).sum()
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size:
        scale = np.abs(finite).max()
        np.testing.assert_allclose(record["mean"], finite.mean(), atol=1e-9 * scale + 1e-300)
        np.testing.assert_allclose(record["std"], finite.std(), atol=1e-9 * scale + 1e-300)
        assert record["percentiles"]["50"] in values


def test_order_puts_the_strongest_first_and_keeps_ties() -> None:
    values = np.array([[1, 1], [3, 3], [np.nan, np.nan], [1, 1], [-9, -9]], dtype=np.float32)
    found = stats.statistics(values)

    assert stats.order(found, [0, 1, 2, 3, 4], "mean") == [1, 0, 3, 4, 2]
    assert stats.order(found, [4, 3, 0], "max") == [3, 0, 4]
    assert stats.order(found, [4, 0], "l2") == [4, 0]
    assert stats.order(found, [4, 0, 2], "index") == [4, 0, 2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["normal", "few", "zeros", "wide", "tiny"])
def test_percentiles_of_large_arrays_are_those_of_a_sorted_copy(monkeypatch, dtype, kind):
    generator = np.random.default_rng(5)
    values = {
        "normal": generator.normal(size=200_003),
        "few": generator.integers(-3, 3, 200_003),
        "zeros": np.where(generator.random(200_003) < 0.7, -0.0, generator.normal(size=200_003)),
        "wide": np.concatenate([[np.finfo(dtype).max, -np.finfo(dtype).max, 0], generator.normal(size=100)]),
        "tiny": np.finfo(dtype).smallest_subnormal * generator.integers(-5, 5, 1000),
    }[kind].astype(dtype)
    before = values.copy()
    expected = stats.percentiles(values, stats.PERCENTILES)
    monkeypatch.setattr(stats, "MOST_SORTED", 10)
    assert stats.percentiles(values, stats.PERCENTILES) == expected
    np.testing.assert_array_equal(values, before)
