"""Pictures of a report: exact in few colours, smaller ones of them, and what fits a page."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from report_helpers import contents, gathered, maps

from actviz.errors import LimitError
from actviz.figures import colors
from actviz.records import Activation
from actviz.report import budget, data, pictures, report_figures

GRID = ("batch", "row", "column", "channel")


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)), elements=st.integers(0, 255))
)
def test_few_colours_come_back_exactly_from_a_palette(pixels):
    assert np.array_equal(pictures.decode(pictures.encode(pixels)), pixels)
    with Image.open(io.BytesIO(pictures.encode(pixels))) as image:
        assert image.mode == "P"
    known = np.unique(pixels.reshape(-1, 3), axis=0)
    assert pictures.encode(pixels, known) == pictures.encode(pixels)
    assert np.array_equal(pictures.decode(pictures.encode(pixels, known[:1])), pixels)


def test_many_colours_come_back_exactly_too():
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    assert np.array_equal(pictures.decode(pictures.encode(pixels)), pixels)


def activation(values):
    return Activation("conv", "Conv2D", values, GRID)


@settings(max_examples=25)
@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 6), st.integers(1, 20))
def test_shrinking_keeps_tiles_as_they_were(channels, height, width, most):
    values = np.random.default_rng(channels).normal(size=(1, height, width, channels)).astype(np.float32)
    whole = report_figures.figure_of(activation(values), 0, report_figures.ChannelRequest(10**6))
    small = report_figures.shrink(whole, most, report_figures.order_of(whole))
    assert len(small.channels) == min(most, channels)
    assert small.total == channels
    pixels = [pictures.decode(one.mosaic.png) for one in (whole, small)]
    places = [pictures.boxes(one.mosaic, range(len(one.channels))) for one in (whole, small)]
    for place, channel in enumerate(small.channels):
        before = whole.channels.index(channel)
        assert np.array_equal(pixels[1][places[1][place]], pixels[0][places[0][before]])
        assert np.array_equal(small.numbers[:, place], whole.numbers[:, before])
        assert np.array_equal(small.ends[:, place], whole.ends[:, before])


def test_values_come_back_from_the_page_within_one_colour_step():
    values = np.random.default_rng(0).normal(size=(1, 5, 7, 6)).astype(np.float32)
    figure = report_figures.figure_of(activation(values), 0, report_figures.ChannelRequest(10**6))
    pixels = pictures.decode(figure.mosaic.png)
    table = colors.table(figure.table).colors.astype(int)
    for place, box in enumerate(pictures.boxes(figure.mosaic, range(6))):
        steps = ((pixels[box].astype(int)[:, :, None] - table) ** 2).sum(-1)
        assert (steps.min(-1) == 0).all()
        low, high = figure.ends[:, place]
        found = low + steps.argmin(-1) / 255 * (high - low)
        assert np.abs(found - values[0, :, :, place]).max() <= (high - low) / 255


def test_numbers_of_channels_are_true():
    values = maps(np.random.default_rng(0))
    figure = report_figures.figure_of(activation(values), 0, report_figures.ChannelRequest(10**6))
    for channel in range(values.shape[-1]):
        one = values[..., channel]
        expected = [one.min(), one.max(), one.mean(), (one == 0).mean(), np.abs(one).mean()]
        assert np.allclose(figure.numbers[:, channel], expected, rtol=1e-5)
    assert figure.states[:4].tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1, 10), ("batch", "unit")),
        ((1, 5, 6), ("batch", "step", "unit")),
        ((1, 3, 4, 5, 2), ("batch", "step", "row", "column", "channel")),
        ((1, 3, 4, 5, 2), ("batch", "plane", "row", "column", "channel")),
        ((1, 2, 4, 4), ("batch", "head", "query", "key")),
        ((1, 4, 5), ("batch", "row", "column")),
        ((1, 2, 3, 4), ("batch", "axis1", "axis2", "axis3")),
        ((1, 7, 3, 4), ("batch", "step", "column", "channel")),
        ((1, 5, 3), ("batch", "channel", "unit")),
        ((1, 5, 3), ("batch", "step", "row")),
        ((1, 5, 2, 3, 4), ("batch", "axis1", "step", "head", "unit")),
        ((1, 5), ("batch", "step")),
    ],
)
@pytest.mark.parametrize("most", [10**6, 4])
def test_every_kind_of_axes_has_a_figure_that_shrinks(shape, axes, most):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    figure = report_figures.figure_of(Activation("x", "X", values, axes), 0, report_figures.ChannelRequest(most))
    for wanted in (len(figure.channels), 1):
        small = report_figures.shrink(figure, wanted, report_figures.order_of(figure))
        assert small.numbers.shape == (5, wanted)
        assert len(data.packed_numbers(small)) == 29 * wanted


def test_numbers_of_slices_are_those_of_their_own_values():
    values = np.random.default_rng(0).normal(size=(1, 7, 3, 4)).astype(np.float32)
    figure = report_figures.figure_of(
        Activation("x", "X", values, ("batch", "step", "column", "channel")), 0, report_figures.ChannelRequest(99)
    )
    assert figure.channels == tuple(range(7))
    assert np.allclose(figure.numbers[1], values[0].max(axis=(1, 2)))


def test_a_sigmoid_runs_to_its_bound():
    values = np.random.default_rng(0).uniform(0, 0.22, size=(1, 5, 5, 3)).astype(np.float32)
    one = Activation("x", "X", values, ("batch", "row", "column", "channel"), bounds=(0.0, 1.0))
    assert report_figures.figure_of(one, 0, report_figures.ChannelRequest(99)).ends.tolist() == [[0] * 3, [1] * 3]


@pytest.mark.parametrize(
    "fill", [0.0, 1.0, np.nan, np.inf, 1e300, 1e-310], ids=["zero", "one", "nan", "infinite", "huge", "denormal"]
)
def test_odd_values_make_figures_too(fill):
    values = np.full((1, 3, 3, 4), fill)
    values[..., 1] = 1
    values[0, 0, 0, 1] = 2
    before = values.copy()
    figure = report_figures.figure_of(activation(values), 0, report_figures.ChannelRequest(10**6))
    assert np.array_equal(values, before, equal_nan=True)
    assert np.isfinite(figure.ends).all()
    json.dumps(figure.histogram | {"cuts": []}, allow_nan=False)


def test_one_channel_that_is_too_large_says_so():
    values = np.zeros((1, 2001, 2000, 1), np.float32)
    with pytest.raises(LimitError, match="one channel has 4,002,000 values"):
        report_figures.figure_of(activation(values), 0, report_figures.ChannelRequest(10))


def size_of(layers):
    return sum(len(png) for layer in layers for png in (one.mosaic.png for one in layer.figures)) * 4 / 3


def test_what_fits_is_within_its_room_and_keeps_small_maps_whole():
    rng = np.random.default_rng(0)
    inputs = [[rng.normal(size=(1, 40, 40, 32)), rng.normal(size=(1, 3, 3, 32))] for _ in range(3)]
    layers = contents(gathered(["large", "small"], inputs)).layers
    room = int(size_of(layers) / 5)
    fitted = budget.fit(layers, room)
    assert size_of(fitted) <= room
    large, small = fitted
    assert len(small.figures[0].channels) == 32
    assert 1 <= len(large.figures[0].channels) < 32
    assert len(large.figures[1].channels) <= len(large.figures[0].channels)
    assert set(large.figures[1].channels) <= set(large.figures[0].channels)
    assert large.figures[1].channels == large.figures[2].channels


def test_room_for_everything_changes_nothing():
    layers = contents(gathered(["a"], [[maps(np.random.default_rng(0))]])).layers
    assert budget.fit(layers, 10**7) == layers


def test_little_room_keeps_one_figure_and_none_is_an_error():
    layers = contents(gathered(["a", "b"], [[maps(np.random.default_rng(0))] * 2])).layers
    least = budget.smallest_figure_bytes(layers)
    kept = budget.fit(layers, least + 20)
    assert sum(bool(layer.figures) for layer in kept) == 1
    with pytest.raises(LimitError):
        budget.fit(layers, least // 2)


@pytest.mark.parametrize("strong", [8, 32])
def test_a_page_is_filled_and_never_beyond_its_size(strong):
    rng = np.random.default_rng(0)
    values = [rng.normal(size=one) for one in ((1, 40, 40, 32), (1, 12, 12, 64), (1, 3, 3, 32))]
    values[0][..., strong:] = 0  # the strong channels, which are kept, take more bytes than the others
    layers = contents(gathered(["large", "middle", "small"], [values] * 3)).layers
    size, before = size_of(layers), 0
    for share in (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99):
        fitted = budget.fit(layers, int(share * size))
        tiles = sum(len(figure.channels) for one in fitted for figure in one.figures)
        assert size_of(fitted) <= share * size
        assert tiles >= before
        before = tiles
        if strong == 32 and share >= 0.1:  # below, not every figure has room for a tile
            assert all(one.figures for one in fitted)
            assert size_of(fitted) > share * size / 2
