"""Numbers of channels over many inputs, in parts and together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from actviz.records import Activation
from actviz.statistics import running_statistics

pytestmark = pytest.mark.filterwarnings("error")
MAPS = ("batch", "row", "column", "channel")


def of(values, axes=MAPS, cuts=None, mask=None):
    return running_statistics.totals_of(Activation("a", "Conv2D", np.asarray(values), axes, mask=mask), cuts)


def as_bytes(found):
    return {name: values.tobytes() for name, values in found.arrays().items()}


def test_numbers_of_each_channel_over_a_batch():
    values = np.zeros((2, 2, 2, 5), np.float32)
    values[..., 1] = 3
    values[0, 0, 0, 2] = 4
    values[1, 1, 1, 3] = np.nan
    values[0, 1, 1, 4] = -np.inf

    found = of(values)

    assert found.minimum.tolist() == [0, 3, 0, 0, 0]
    assert found.maximum.tolist() == [0, 3, 4, 0, 0]
    assert found.mean.tolist() == [0, 3, 0.5, 0, 0]
    np.testing.assert_allclose(found.std, [0, 0, np.sqrt(1.75), 0, 0])
    assert found.dead.tolist() == [True, False, False, False, False]
    assert found.constant.tolist() == [False, True, False, False, False]
    assert (found.nan.tolist(), found.infinite.tolist()) == ([0, 0, 0, 1, 0], [0, 0, 0, 0, 1])
    assert (found.zeros, found.count, found.channels) == (8 + 7 + 7 + 7, 40, 5)


FLOATS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, np.nan, np.inf, -np.inf])


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(2, 7), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)),
        elements=FLOATS,
    ),
    st.data(),
)
@settings(max_examples=80)
def test_parts_joined_are_the_whole(values, data):
    cut = data.draw(st.integers(1, len(values) - 1))
    joined = of(values[:cut], cuts=(-1.0, 1.0)).merge(of(values[cut:], cuts=(-1.0, 1.0)))
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)

    assert joined.zeros == (flat == 0).sum()
    assert joined.saturated == (flat <= -1).sum() + (flat >= 1).sum()
    for channel, one in enumerate(flat.T):
        finite = one[np.isfinite(one)]
        assert joined.nan[channel] == np.isnan(one).sum()
        assert joined.infinite[channel] == np.isinf(one).sum()
        assert joined.finite[channel] == len(finite)
        if len(finite):
            spread = max(np.ptp(finite), 1e-6)
            assert (joined.minimum[channel], joined.maximum[channel]) == (finite.min(), finite.max())
            assert joined.mean[channel] == pytest.approx(finite.mean(), rel=1e-5, abs=1e-5 * spread)
            assert joined.std[channel] == pytest.approx(finite.std(), rel=1e-3, abs=1e-3 * spread)
        else:
            assert np.isnan(joined.mean[channel])
            assert np.isnan(joined.std[channel])


@pytest.mark.parametrize("shape", [(3, 40, 40, 5), (2, 7, 7, 1280), (5, 113, 97, 3), (1, 1, 1, 9000)])
def test_large_layers_are_cut_into_blocks_without_losing_a_value(shape):
    values = np.random.default_rng(0).normal(2, 1, shape).astype(np.float32)
    values[values < 1] = 0

    found = of(values, cuts=(-np.inf, 3.0))

    flat = values.reshape(-1, shape[-1]).astype(np.float64)
    np.testing.assert_array_equal(found.minimum, flat.min(0))
    np.testing.assert_array_equal(found.maximum, flat.max(0))
    np.testing.assert_allclose(found.mean, flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.std, flat.std(0), rtol=1e-4, atol=1e-7)
    assert found.zeros == (flat == 0).sum()
    assert found.saturated == (flat >= 3).sum()


@pytest.mark.parametrize("scale", [1e-30, 1e18, 1e30])
def test_squares_of_single_precision_do_not_overflow(scale):
    values = np.array([1, 2, 3, 4], np.float32).reshape(4, 1, 1, 1) * np.float32(scale)
    np.testing.assert_allclose(of(values).std, np.sqrt(1.25) * scale, rtol=1e-5)


def test_a_small_spread_around_a_large_mean_is_kept():
    values = (1000 + np.random.default_rng(0).normal(0, 0.01, (8, 32, 32, 2))).astype(np.float32)
    np.testing.assert_allclose(of(values).std, values.astype(float).std((0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize(
    ("axes", "shape", "count"),
    [(("batch", "unit"), (4, 3), 3), (("batch", "channel", "row", "column"), (2, 5, 3, 3), 5), (("batch",), (6,), 1),
     (("batch", "step", "unit"), (2, 3, 7), 7), (("batch", "head", "query", "key"), (2, 2, 3, 3), 2), (("batch", "step"), (2, 4), 1)],
)  # fmt: skip
def test_channels_lie_along_the_axis_that_is_called_so(axes, shape, count):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = of(values, axes)
    assert found.channels == count
    assert found.count == values.size


def test_masked_steps_are_in_no_number():
    values = np.ones((2, 3, 1), np.float32)
    values[0, 2] = np.nan
    mask = np.array([[True, True, False], [True, True, True]])
    found = of(values, ("batch", "step", "unit"), mask=mask)
    assert (found.count, found.nan.sum(), found.maximum.tolist()) == (5, 0, [1])


@pytest.mark.parametrize("shape", [(0, 2, 2, 3), (2, 0, 2, 3)])
def test_nothing_gives_no_numbers_and_changes_none(shape):
    empty = of(np.zeros(shape, np.float32))
    some = of(np.ones((1, 1, 1, 3), np.float32))
    assert empty.count == 0
    assert not empty.dead.any()
    assert as_bytes(empty.merge(some)) == as_bytes(some)


@pytest.mark.parametrize(
    ("activation", "bounds"),
    [("sigmoid", (0, 1)), ("tanh", (-1, 1)), ("relu6", (-np.inf, 6)), ("relu1.5", (-np.inf, 1.5)), ("relu", None),
     ("linear", None), ("softmax", None), (None, None), ("relu6x", None)],
)  # fmt: skip
def test_bounds_follow_the_activation_function(activation, bounds):
    assert running_statistics.bounds_of(activation) == bounds


def test_saturated_is_within_a_hundredth_of_a_bound():
    assert running_statistics.cuts_of((0.0, 1.0)) == (0.01, 0.99)
    assert running_statistics.cuts_of((-1.0, 1.0)) == (-0.98, 0.98)
    assert running_statistics.cuts_of((-np.inf, 6.0)) == (-np.inf, 5.94)
    assert running_statistics.cuts_of(None) is None
    values = np.array([0, 0.005, 0.5, 0.995, 1], np.float32).reshape(5, 1)
    assert of(values, ("batch", "unit"), (0.01, 0.99)).saturated == 4


def test_the_first_bad_input_is_found():
    values = np.zeros((4, 2, 2, 1))
    values[2, 0, 0] = np.nan
    assert of(values).first_nonfinite == 2
    assert of(values[:2]).first_nonfinite == -1
    assert of(values[2:]).merge(of(values)).first_nonfinite == 0


@pytest.mark.parametrize("shape", [(5, 40, 40, 3), (7, 9, 1, 1), (3, 1, 1, 6), (4, 70, 70, 40), (3, 1, 1, 5000)])
def test_numbers_of_an_input_do_not_depend_on_its_batch(shape):
    values = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    whole, parts = of(values), [of(values[number : number + 1]) for number in range(len(values))]
    backwards = parts[-1]
    for part in parts[-2::-1]:
        backwards = backwards.merge(part)
    assert as_bytes(whole)["moments"] == as_bytes(backwards)["moments"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 9, 9, 3), (4, 1, 1, 3), (2, 211, 211, 3)])
def test_a_spread_that_squares_would_hide_is_kept(dtype, shape):
    values = np.random.default_rng(0).normal(1e6, 1, shape).astype(dtype)
    values[..., 1] = np.arange(len(values))[:, None, None] + 1e6
    values[..., 2] = 0.1

    found = of(values)

    flat = values.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(found.mean, flat.mean(0), rtol=1e-10)
    np.testing.assert_allclose(found.std, flat.std(0), rtol=1e-6, atol=1e-9)
    assert found.std[2] == 0


def test_an_input_with_nan_changes_no_number_of_the_others():
    values = np.random.default_rng(0).normal(size=(5, 30, 30, 7)).astype(np.float32)
    values[:, :, :, 3] += 1e5
    values[2, 4, 4] = np.nan
    parts = [of(values[number : number + 1]) for number in range(len(values))]
    merged = parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3]).merge(parts[4])
    assert as_bytes(of(values))["moments"] == as_bytes(merged)["moments"]
    finite = values[np.isfinite(values).all(-1)].astype(np.float64)
    np.testing.assert_allclose(merged.std, finite.std(0), rtol=1e-9)
