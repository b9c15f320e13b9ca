"""Distributions of a layer's values: the numbers, and how they are drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from picture_helpers import CONTEXT, assert_labels_apart, spatial, vector

from actviz.figures import canvas, histograms, renderers, text
from actviz.records import Picture, Style
from actviz.statistics import channel_statistics

pytestmark = pytest.mark.filterwarnings("error")

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(arrays(np.float64, st.integers(1, 60), elements=st.one_of(FINITE, st.sampled_from([0.0, 1.0, 5e-324, 1e308]))))
def test_every_value_is_counted_once_and_in_its_bin(values: np.ndarray) -> None:
    before = values.copy()

    found = channel_statistics.distribution(values)

    np.testing.assert_array_equal(values, before)
    assert found is not None
    assert found.total == len(values)
    assert found.zeros == (values == 0).sum()
    assert sum(found.counts) == len(values) - found.zeros * found.apart
    assert found.first <= values[values != 0].min(initial=found.last)
    assert found.last >= values[values != 0].max(initial=found.first)
    if found.apart:
        assert found.zeros > max(found.counts)


@given(arrays(np.int64, st.integers(1, 60), elements=st.integers(-5, 40)))
def test_whole_numbers_have_a_bin_each(values: np.ndarray) -> None:
    found = channel_statistics.distribution(values.astype(np.float64), whole=True)

    assert found is not None
    others = values[values != 0] if found.apart else values
    if len(np.unique(others)) > 1:
        assert found.counts == tuple((others == one).sum() for one in range(others.min(), others.max() + 1))
        assert (found.first, found.last) == (others.min() - 0.5, others.max() + 0.5)


def test_counts_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).normal(size=10_000)

    found = channel_statistics.distribution(values)

    expected, edges = np.histogram(values, bins=channel_statistics.BINS)
    assert found == channel_statistics.ValueDistribution(
        tuple(expected.tolist()), edges[0], edges[-1], 10_000, 0, apart=False
    )


def test_zeros_stand_apart_where_they_are_a_spike() -> None:
    mostly = channel_statistics.distribution(np.array([0.0] * 50 + [1, 2, 3]))
    few = channel_statistics.distribution(np.array([0.0] + [0.5] * 5 + [1]))
    alone = channel_statistics.distribution(np.zeros(7))

    assert mostly is not None
    assert (mostly.apart, mostly.zeros, sum(mostly.counts), mostly.first, mostly.last) == (True, 50, 3, 1, 3)
    assert few is not None
    assert (few.apart, sum(few.counts), few.first) == (False, 7, 0)
    assert alone is not None
    assert (alone.apart, max(alone.counts), alone.first, alone.last) == (False, 7, 0, 0)
    assert channel_statistics.distribution(np.zeros(0)) is None


@given(st.floats(1e-9, 1))
def test_the_upright_axis_ends_at_a_round_number(share: float) -> None:
    top = histograms.top_share(share)

    assert 100 * share <= top * (1 + 1e-6)
    assert top <= 100 * share * 2.5 + 1e-12
    mantissa = top / 10 ** math.floor(math.log10(top) + 1e-9)
    assert min(abs(mantissa - round_) for round_ in (1, 2, 2.5, 5)) < 1e-6


def bars(picture: Picture) -> np.ndarray:
    """Return the height of the bar in each column of the plot, in pixels, and whether it is the plot's own."""
    theme = canvas.LIGHT
    title = next(label for label in picture.labels if label.text.startswith("distribution"))
    percents = [label for label in picture.labels if label.text.endswith("%") and label.box[0] > title.box[0]]
    axis = max(label.box[3] for label in percents if not label.text.startswith("0:")) + 2
    bottom = next(label for label in percents if label.text == "0%").box
    row = (bottom[0] + bottom[2]) // 2
    part = picture.pixels[title.box[2] : row, axis : axis + 420]
    return (part == theme.strength).all(axis=-1).sum(axis=0)


def test_bars_are_as_high_as_their_counts() -> None:
    values = np.repeat(np.arange(8), [1, 2, 4, 8, 16, 8, 4, 2]).astype(np.uint8)

    picture = renderers.draw(vector(values), 0, CONTEXT, Style(histogram=True))

    heights = bars(picture)
    tops = [max(heights[48 * place + 12 : 48 * place + 36]) for place in range(8)]
    for top, count in zip(tops, [1, 2, 4, 8, 16, 8, 4, 2], strict=True):
        assert abs(top - 72 * (100 * count / 45) / 50) <= 1


def test_the_figure_says_zeros_and_ends_of_colours() -> None:
    values = np.maximum(np.random.default_rng(0).normal(size=(20, 20, 3)), 0)

    picture = renderers.draw(spatial(values), 0, CONTEXT, Style(histogram=True, scale="0:1"))

    words = [label.text for label in picture.labels]
    assert "distribution of the layer's 1,200 values; lines: ends of the colours" in words
    assert f"0: {text.number(100 * (values == 0).mean(), 2)}%" in words
    assert picture.numbers["distribution"]["zeros"] == (values == 0).sum()
    assert "distribution" not in renderers.draw(spatial(values), 0, CONTEXT, Style()).numbers


@pytest.mark.parametrize(
    "values",
    [
        np.full((3, 3, 2), np.nan),
        np.zeros((3, 3, 2)),
        np.full((3, 3, 2), 1.7e308),
        1.7e308 * np.linspace(-1, 1, 18).reshape(3, 3, 2),
        np.linspace(0, 5e-323, 18).reshape(3, 3, 2),
        np.arange(18).reshape(3, 3, 2) > 4,
        np.full((1, 1, 1), -3.0),
    ],
)
@pytest.mark.parametrize("dark", [False, True])
def test_extreme_distributions(values: np.ndarray, dark: bool) -> None:
    picture = renderers.draw(spatial(values), 0, CONTEXT, Style(histogram=True, dark=dark))

    assert_labels_apart(picture)
    words = " ".join(label.text for label in picture.labels)
    assert "distribution" in words
    assert ("no distribution: no finite value" in words) == bool(np.isnan(values.astype(float)).all())
    found = picture.numbers.get("distribution")
    assert found is None or math.isfinite(found["first"])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_axis_that_almost_reaches_zero_ends_there(sign):
    found = channel_statistics.distribution(sign * np.array([0.01, 0.5, 0.9], np.float32))
    assert sorted((abs(found.first), abs(found.last))) == [0.0, pytest.approx(0.9)]
