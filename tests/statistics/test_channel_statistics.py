"""Numbers about activations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from actviz.statistics import channel_statistics

pytestmark = pytest.mark.filterwarnings("error")


def test_numbers_of_each_channel() -> None:
    values = np.array([[1, 0, 2, 5], [3, 0, 2, np.nan], [5, 0, 2, -np.inf]], dtype=np.float32)

    found = channel_statistics.statistics(values, channel_axis=1)

    np.testing.assert_array_equal(found.minimum, [1, 0, 2, 5])
    np.testing.assert_array_equal(found.maximum, [5, 0, 2, 5])
    np.testing.assert_allclose(found.mean, [3, 0, 2, 5])
    np.testing.assert_allclose(found.std, [np.sqrt(8 / 3), 0, 0, 0])
    np.testing.assert_allclose(found.l2, [np.sqrt(35), 0, np.sqrt(12), 5])
    np.testing.assert_array_equal(found.zeros, [0, 1, 0, 0])
    assert found.nan.tolist() == [0, 0, 0, 1]
    assert found.infinite.tolist() == [0, 0, 0, 1]
    assert [channel_statistics.STATES[code] for code in found.state] == ["live", "dead", "constant", "nonfinite"]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float32", "float64"])
def test_every_real_dtype_counts(dtype: str) -> None:
    values = np.array([[0, 1], [1, 1]], dtype=dtype)

    found = channel_statistics.statistics(values)

    np.testing.assert_array_equal(found.mean, [0.5, 1])
    assert found.mean.dtype == np.float64


def test_bfloat16_counts() -> None:
    types = pytest.importorskip("ml_dtypes")

    found = channel_statistics.statistics(np.array([[1.5, 2.5]], dtype=types.bfloat16))

    assert found.mean.tolist() == [2.0]


@pytest.mark.parametrize("values", [["a"], [1j], [object()]])
def test_what_is_no_number_is_refused(values: list[object]) -> None:
    with pytest.raises(TypeError, match="no real numbers"):
        channel_statistics.as_numbers(np.array(values))


def test_nothing_at_all() -> None:
    found = channel_statistics.statistics(np.zeros((3, 0, 4)))

    assert np.isnan(found.minimum).all()
    assert found.strength.tolist() == [0, 0, 0]
    assert channel_statistics.layer_numbers(np.zeros((3, 0, 4)), found)["mean"] is None


@pytest.mark.parametrize("size", [1e38, 1.7e308, 1e-310, 5e-324])
def test_the_largest_and_smallest_values(size: float) -> None:
    values = np.array([[size, -size, size, 0.0]])

    found = channel_statistics.statistics(values)
    record = channel_statistics.layer_numbers(values, found)

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
def test_agrees_with_numpy_channel_by_channel(values: np.ndarray) -> None:
    before = values.copy()

    found = channel_statistics.statistics(values)
    record = channel_statistics.layer_numbers(values, found)

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
        expected = np.percentile(finite / 4, channel_statistics.PERCENTILES) * 4
        found = list(record["percentiles"].values())
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15 * scale + 1e-300)
        assert sorted(found) == found


def test_order_puts_the_strongest_first_and_keeps_ties() -> None:
    values = np.array([[1, 1], [3, 3], [np.nan, np.nan], [1, 1], [-9, -9]], dtype=np.float32)
    found = channel_statistics.statistics(values)

    assert channel_statistics.order(found, [0, 1, 2, 3, 4], "mean") == [4, 1, 0, 3, 2]
    assert channel_statistics.order(found, [2, 3, 4, 0], "max") == [4, 3, 0, 2]
    assert channel_statistics.order(found, [4, 0], "l2") == [4, 0]
    assert channel_statistics.order(found, [4, 0, 2], "index") == [4, 0, 2]


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
    expected = channel_statistics.percentiles(values, channel_statistics.PERCENTILES)
    monkeypatch.setattr(channel_statistics, "MOST_SORTED", 10)
    assert channel_statistics.percentiles(values, channel_statistics.PERCENTILES) == expected
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 3, 100, 1001])
def test_percentiles_are_those_of_numpy(dtype: str, count: int) -> None:
    values = np.random.default_rng(count).normal(size=count).astype(dtype)
    shares = [0, 0.1, 1, 5, 33.3, 50, 87, 99, 100]

    assert channel_statistics.percentiles(values, shares) == np.percentile(values.astype(np.float64), shares).tolist()
    rows = np.stack([values, values[::-1] * 3])
    expected = np.percentile(rows.astype(np.float64), shares, axis=1)
    np.testing.assert_array_equal(channel_statistics.percentiles_of_channels(rows, shares), expected)


def test_percentiles_of_the_widest_values_are_finite_and_others_leave_out_what_is_not() -> None:
    assert channel_statistics.percentiles(np.array([-1.7e308, 1.7e308]), [0, 25, 50]) == pytest.approx(
        [-1.7e308, -0.85e308, 0]
    )
    rows = np.array([[np.nan, 1, 3], [np.inf, np.nan, -np.inf], [2, 2, 2]])
    found = channel_statistics.percentiles_of_channels(rows, [50])
    np.testing.assert_array_equal(found, [[2, np.nan, 2]])


def test_strength_has_no_sign() -> None:
    values = np.zeros((4, 100), np.float32)
    values[0], values[1] = -5, -3
    values[2] = np.random.default_rng(0).normal(size=100) * 0.13
    values[3] = 0.1
    found = channel_statistics.statistics(values)

    np.testing.assert_allclose(found.magnitude, np.abs(values.astype(np.float64)).mean(axis=1))
    assert channel_statistics.order(found, [2, 3, 0, 1], "mean")[:2] == [0, 1]
    assert channel_statistics.order(found, [2, 3, 0, 1], "max")[:2] == [0, 1]


def test_the_value_furthest_from_zero_keeps_its_sign() -> None:
    frames = np.array([[-0.3, 0.06, np.nan, -2, 0], [0.1, -0.05, 1, 2, 0]])
    np.testing.assert_array_equal(channel_statistics.furthest(frames), [-0.3, 0.06, np.nan, 2, 0])


def test_channels_that_hardly_change_are_not_the_constant_ones() -> None:
    steps = np.linspace(0, 1, 50)
    rows = [0.49 + 0.015 * steps, 0 * steps + 0.5, steps, -5 - 0.1 * steps, steps - 0.5, 0 * steps, 1e300 * (1 + steps)]
    found = channel_statistics.statistics(np.stack(rows))
    record = channel_statistics.layer_numbers(np.stack(rows), found)

    assert record["near_constant"] == [0, 3]
    assert record["near_constant_spread"] == 0.05
    assert record["constant"] == [1]


def test_channels_that_are_next_to_nothing_beside_the_layer_are_told() -> None:
    steps = np.linspace(0, 1, 50)
    rows = np.stack([steps, 4e-34 * steps, 2e-4 * steps, 0 * steps, 5e-5 * steps, np.full(50, np.nan)])

    assert channel_statistics.layer_numbers(rows, channel_statistics.statistics(rows))["negligible"] == [1, 4]
    # Beside each other they are as strong as any.
    assert channel_statistics.statistics(rows[1:2]).negligible == []
    # One number a unit has no map that could look lively.
    assert channel_statistics.statistics(rows[:, -1:]).negligible == []
