"""Figures of weights: arrangement, colors, dead and duplicate filters."""

import re

import numpy as np
import pytest

from actviz.errors import UsageError
from actviz.figures.filters_figure import draw_filters
from actviz.records import Context, Kernel, LayerInfo, Style
from actviz.statistics.filter_statistics import arrange_filters, filter_statistics

CONV = ("row", "column", "input", "output")


def layer(kind="Conv2D"):
    return LayerInfo("conv", "conv", 1, kind, None, "float32", 1, ())


def drawn(values, axes=CONV, style=None, *, from_image=False):
    kernel = Kernel(np.asarray(values, np.float32), axes)
    return draw_filters(kernel, layer(), Context("model.h5", "", ""), style or Style(), from_image=from_image)


def words(picture):
    return " ".join(label.text for label in picture.labels)


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((3, 4, 2, 5), CONV, (5, 2, 3, 4)),
        ((3, 4, 5, 2), ("row", "column", "output", "input"), (5, 2, 3, 4)),
        ((5, 3, 4, 2), ("output", "row", "column", "input"), (5, 2, 3, 4)),
        ((4, 2, 5), ("step", "input", "output"), (5, 2, 1, 4)),
        ((2, 3, 4, 6, 5), ("plane", "row", "column", "input", "output"), (5, 6, 3, 8)),
        ((3, 4, 6, 2), ("row", "column", "input", "multiplier"), (12, 1, 3, 4)),
        ((7, 5), ("input", "output"), (5, 7, 1, 1)),
    ],
)
def test_kernels_of_every_class_become_filters_by_inputs(shape, axes, expected):
    values = np.arange(np.prod(shape)).reshape(shape)
    filters = arrange_filters(Kernel(values, axes))
    assert filters.shape == expected
    index = dict.fromkeys(axes, 1)
    number = 1 * shape[-1] + 1 if "multiplier" in axes else 1
    column = shape[2] + 1 if "plane" in axes else 1 if expected[3] > 1 else 0
    row, source = (1 if expected[2] > 1 else 0), (0 if "multiplier" in axes else 1)
    assert filters[number, source, row, column] == values[tuple(index[axis] for axis in axes)]


def test_dead_and_equal_filters_are_counted_apart():
    filters = np.array([[1, 2], [0, 0], [1, 2], [0, 0], [3, 4], [1, 2]], np.float32)
    found = filter_statistics(filters)
    assert (found.dead, found.duplicates, found.nonfinite) == ([1, 3], [2, 5], 0)
    assert found.strongest(3) == [4, 0, 2]
    np.testing.assert_allclose(found.norms, [5**0.5, 0, 5**0.5, 0, 5, 5**0.5])


def test_the_scale_is_symmetric_and_the_caption_has_the_counts():
    values = np.zeros((3, 3, 2, 4))
    values[..., 0], values[..., 1], values[..., 3] = 0.5, -2, 0.5
    picture = drawn(values)
    assert "1 dead (all weights 0) (2)" in words(picture)
    assert "1 equal to an earlier filter (3)" in words(picture)
    assert picture.numbers["limit"] == 2
    counts = [int((picture.pixels == color).all(axis=-1).sum()) for color in ((5, 48, 97), (103, 0, 31))]
    assert counts[0] > 1000  # the first color of the map: -2
    assert counts[1] < 30  # the last one, only in the color bar: no weight is +2


def test_kernels_that_read_an_image_are_drawn_in_its_colors():
    values = np.zeros((2, 2, 3, 2))
    values[..., 0, 0], values[..., 2, 1] = 1, -1
    colors = {tuple(color) for color in drawn(values, from_image=True).pixels.reshape(-1, 3).tolist()}
    assert {(255, 128, 128), (128, 128, 0)} <= colors
    assert not drawn(values).numbers["in_color"]


def test_strongest_first_and_only_the_chosen():
    values = np.arange(1, 7) * np.ones((3, 3, 2, 6))
    assert drawn(values, style=Style(top=2)).numbers["shown"] == [5, 4]
    assert drawn(values, style=Style(top=2, channels="0:3")).numbers["shown"] == [2, 1]
    assert drawn(values, style=Style(channels="4,0")).numbers["shown"] == [4, 0]
    with pytest.raises(UsageError, match="channel 6 does not exist"):
        drawn(values, style=Style(channels="6"))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e-40, 1e38])
def test_weights_without_a_range_and_broken_ones_are_drawn(value):
    picture = drawn(np.full((3, 3, 2, 4), value))
    assert picture.numbers["nonfinite"] == (0 if np.isfinite(value) else 72)
    assert ("weights NaN or infinite" in words(picture)) == (not np.isfinite(value))


def test_of_a_large_table_the_caption_says_which_part_is_drawn():
    picture = drawn(np.ones((30_000, 8)), ("input", "output"))
    assert "the first 2,048 of 30,000 inputs are drawn" in words(picture)
    assert picture.size[1] < 2400


@pytest.mark.parametrize(("filters", "written"), [(64, True), (100, False)])
def test_up_to_80_rows_have_a_number_and_a_norm_each(filters, written):
    values = np.random.default_rng(0).normal(size=(5, 5, 16, filters))
    picture = drawn(values)
    numbers = [label for label in picture.labels if re.fullmatch(r"\d+", label.text)]
    left = min(label.box[1] for label in numbers if label.text == "10")
    rows = [label for label in numbers if label.box[1] < left + 20 and label.text != "0"]
    assert (len(rows) + 1 == filters) is written
