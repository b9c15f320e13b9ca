"""Activations to pictures."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from golden import assert_golden
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from picture_helpers import (
    CONTEXT,
    SPATIAL,
    VECTOR,
    assert_labels_apart,
    decode,
    spatial,
    step_of,
    steps_to_values,
    vector,
)

from actviz.errors import LimitError, UsageError
from actviz.figures import colors, renderers, text
from actviz.records import Activation, Context, LayerInfo, Style

pytestmark = pytest.mark.filterwarnings("error")

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
MAPS = arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=9), elements=FLOATS)
UNITS = arrays(np.float32, array_shapes(min_dims=1, max_dims=1, max_side=80), elements=FLOATS)


def field(rows: int, columns: int, channels: int, *, signed: bool = False) -> np.ndarray:
    """Return smooth waves, one a channel, ``(row, column, channel)`` float32."""
    row, column, channel = np.ogrid[:rows, :columns, :channels]
    waves = np.sin(row * 0.4 + channel) * np.cos(column * 0.3 - channel) * (1 + channel)
    return (waves if signed else np.maximum(waves, 0)).astype(np.float32)


def read_back(picture: Any, values: np.ndarray, style: Style) -> None:
    """Check that every value ``(channel, row, column)`` comes back within one step."""
    low, high = -np.inf, np.inf
    if ":" in style.scale:
        low, high = (float(end) for end in style.scale.split(":"))
    pixels = picture.pixels
    for tile in picture.tiles:
        expected = np.clip(values[tile.channel].astype(np.float64), low, high)
        found = decode(pixels, picture.numbers["colormap"], tile, expected.shape)
        assert (np.abs(found - expected) <= step_of(tile) * 0.51 + 1e-300).all()


@pytest.mark.parametrize(
    ("axes", "kind"),
    [
        (SPATIAL, "grid"),
        (("batch", "channel", "row", "column"), "grid"),
        (("batch", "row", "column"), "grid"),
        (VECTOR, "vector"),
        (("batch",), "vector"),
        (("batch", "step"), "vector"),
        (("batch", "step", "unit"), "sequence"),
        (("batch", "unit", "step"), "sequence"),
        (("batch", "query", "key"), "sequence"),
        (("batch", "step", "row", "column", "channel"), "film"),
        (("batch", "step", "channel", "row", "column"), "film"),
        (("batch", "step", "row", "column"), "film"),
        (("batch", "plane", "row", "column", "channel"), "volume"),
        (("batch", "head", "query", "key"), "attention"),
        (("batch", "step", "plane", "row", "column", "channel"), "montage"),
        (("batch", "axis1", "step", "unit"), "montage"),
        ((), None),
        (("row", "column"), None),
    ],
)
def test_kinds_of_axes(axes: tuple[str, ...], kind: str | None) -> None:
    assert renderers.kind_of(axes) == kind


@pytest.mark.parametrize(
    ("shape", "kind", "drawn"),
    [
        ((None, 1, 1, 8), "Conv2D", "vector"),
        ((None, 1, 9, 8), "Conv2D", "sequence"),
        ((None, None, 1, 8), "Conv2D", "sequence"),
        ((None, None, None, 8), "Conv2D", "grid"),
        ((None, 9, 9, 1), "Conv2D", "grid"),
        ((None, 1, 1, 3), "InputLayer", "grid"),
        (None, "Conv2D", "grid"),
    ],
)
def test_layers_lists_what_is_drawn(shape: tuple[int | None, ...] | None, kind: str, drawn: str) -> None:
    layer = LayerInfo("layer", "layer", 0, kind, shape, "float32", 0, ("batch", "row", "column", "channel"))

    assert renderers.kind_of_layer(layer) == drawn


@given(
    MAPS,
    st.sampled_from(["filter", "layer", "-1:2", "0:1e30"]),
    st.booleans(),
    st.sampled_from([None, 1, 3]),
)
@settings(max_examples=60)
def test_grids_give_their_values_back(values: np.ndarray, scale: str, bare: bool, zoom: int | None) -> None:
    assume(min(values.shape[:2]) > 1)
    before = values.copy()
    style = Style(scale=scale, bare=bare, zoom=zoom)

    picture = renderers.draw(spatial(values), 0, CONTEXT, style)

    np.testing.assert_array_equal(values, before)
    assert sorted(tile.channel for tile in picture.tiles) == list(range(values.shape[2]))
    read_back(picture, values.transpose(2, 0, 1), style)


@given(UNITS, st.sampled_from(["filter", "-1:2"]), st.booleans())
@settings(max_examples=60)
def test_vectors_give_their_values_back(values: np.ndarray, scale: str, bare: bool) -> None:
    style = Style(scale=scale, bare=bare)

    picture = renderers.draw(vector(values), 0, CONTEXT, style)

    assert [tile.channel for tile in picture.tiles] == list(range(len(values)))
    pixels = picture.pixels
    for tile in picture.tiles:
        low, high = (-1, 2) if scale != "filter" else (-np.inf, np.inf)
        top, left, bottom, right = tile.box
        block = pixels[top:bottom, left:right].reshape(-1, 3)
        assert (block == block[0]).all()
        table = colors.table(picture.numbers["colormap"]).colors
        step = np.flatnonzero((table == block[0]).all(axis=1)).astype(np.uint8)
        found = steps_to_values(step, np.array([tile.low]), np.array([tile.high]))[0]
        expected = np.clip(float(values[tile.channel]), low, high)
        assert abs(found - expected) <= step_of(tile) * 0.51 + 1e-300


@given(
    arrays(
        np.float64,
        array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=st.floats(allow_nan=True, allow_infinity=True),
    ),
    st.sampled_from(["filter", "layer", "-1:2"]),
)
@settings(max_examples=60)
def test_nothing_in_an_array_upsets_a_grid(values: np.ndarray, scale: str) -> None:
    picture = renderers.draw(spatial(values), 0, CONTEXT, Style(scale=scale))

    assert len(picture.tiles) == values.shape[2]
    assert picture.numbers["nan"] == np.isnan(values).sum()
    assert_labels_apart(picture)


@pytest.mark.parametrize("size", [5e-324, 1e-40, 1e38, 1.7e308])
def test_extreme_values_come_back(size: float) -> None:
    values = np.linspace(-1, 1, 48).reshape(4, 4, 3) * size

    picture = renderers.draw(spatial(values), 0, CONTEXT, Style())

    read_back(picture, values.transpose(2, 0, 1), Style())


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float16"])
def test_other_dtypes_come_back(dtype: str) -> None:
    values = (field(5, 6, 4) * 3).astype(dtype)

    picture = renderers.draw(spatial(values), 0, CONTEXT, Style())

    read_back(picture, values.transpose(2, 0, 1), Style())


def test_bfloat16_comes_back() -> None:
    types = pytest.importorskip("ml_dtypes")
    values = field(5, 6, 4).astype(types.bfloat16)

    picture = renderers.draw(spatial(values), 0, CONTEXT, Style())

    read_back(picture, values.astype(np.float32).transpose(2, 0, 1), Style())


@pytest.mark.parametrize("count", [1, 7, 64, 513, 2048])
@pytest.mark.parametrize("length", [1, 200])
@pytest.mark.parametrize("size", [(2, 2), (7, 7), (3, 40)])
def test_labels_of_grids_stay_apart(count: int, length: int, size: tuple[int, int]) -> None:
    activation = spatial(field(*size, count, signed=True) * 1e-5, address="n" * length)

    picture = renderers.draw(activation, 0, CONTEXT, Style())

    assert_labels_apart(picture)
    texts = [label.text for label in picture.labels]
    assert all(str(channel) in texts for channel in range(count))


@pytest.mark.parametrize("count", [1, 7, 64, 65, 513, 2048, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("length", [1, 200])
@pytest.mark.parametrize("scale", ["layer", "-1e30:1e-30"])
def test_labels_of_vectors_stay_apart(count: int, length: int, scale: str) -> None:
    units = np.sin(np.arange(count)).astype(np.float32) * 1e-7
    activation = vector(units, address="n" * length)

    picture = renderers.draw(activation, 0, CONTEXT, Style(scale=scale))

    assert_labels_apart(picture)


@pytest.mark.parametrize("columns", [1, 5, 64])
@pytest.mark.parametrize("count", [3, 70, 600])
def test_columns_are_obeyed(columns: int, count: int) -> None:
    picture = renderers.draw(vector(np.ones(count, "f4")), 0, CONTEXT, Style(columns=columns))
    assert_labels_apart(picture)

    picture = renderers.draw(spatial(field(4, 4, count)), 0, CONTEXT, Style(columns=columns))
    assert_labels_apart(picture)
    assert len({tile.box[1] for tile in picture.tiles}) == min(columns, count)


def test_channels_first_is_the_same_picture() -> None:
    values = field(5, 6, 4)
    first = Activation("conv", "Conv2D", values[None].transpose(0, 3, 1, 2), ("batch", "channel", "row", "column"))

    one = renderers.draw(first, 0, CONTEXT, Style(bare=True))
    other = renderers.draw(spatial(values), 0, CONTEXT, Style(bare=True))

    np.testing.assert_array_equal(one.pixels, other.pixels)


def test_the_entry_of_the_batch_is_the_one_asked_for() -> None:
    values = np.stack([field(4, 4, 2), field(4, 4, 2) + 1])
    batch = Activation("conv", "Conv2D", values, SPATIAL)

    picture = renderers.draw(batch, 1, CONTEXT, Style())

    read_back(picture, values[1].transpose(2, 0, 1), Style())


def test_channels_sort_and_top_are_said() -> None:
    picture = renderers.draw(spatial(field(6, 6, 16)), 0, CONTEXT, Style(channels="0:8", sort="max", top=3))

    assert [tile.channel for tile in picture.tiles] == [7, 6, 5]
    assert any("3 of 16 filters, strongest by maximum" in label.text for label in picture.labels)


def test_states_are_marked_and_counted() -> None:
    values = field(6, 6, 5) + 0.01
    values[..., 1] = 0
    values[..., 2] = 2.5
    values[0, 0, 3] = np.nan

    picture = renderers.draw(spatial(values), 0, CONTEXT, Style())

    states = [tile.state for tile in picture.tiles]
    assert states == ["live", "dead", "constant", "nonfinite", "live"]
    caption = " ".join(label.text for label in picture.labels)
    for words in ("1 dead on this input (1)", "1 constant (2)", "1 NaN (in 3)"):
        assert words in caption
    top, left, bottom, right = picture.tiles[1].box
    assert (picture.pixels[top:bottom, left:right].min(axis=-1) > 180).all()
    top, left, *_ = picture.tiles[3].box
    mark = colors.table(picture.numbers["colormap"]).nonfinite_colors[0]
    assert tuple(picture.pixels[top, left]) == mark


def test_clipped_values_are_said() -> None:
    values = np.linspace(0, 1, 100, dtype=np.float32).reshape(5, 5, 4)

    picture = renderers.draw(spatial(values), 0, CONTEXT, Style(scale="0:0.5"))

    assert picture.numbers["clipped"] == 50
    assert any(f"50 values (50%) clipped to 0 {text.DASH} 0.5" in label.text for label in picture.labels)


def test_the_sign_is_decided_for_the_figure() -> None:
    values = field(5, 5, 3)
    values[0, 0, 0] = -0.1

    picture = renderers.draw(spatial(values), 0, CONTEXT, Style())

    assert picture.numbers["colormap"] == colors.DIVERGING
    assert all(tile.low == -tile.high for tile in picture.tiles)


def test_a_known_activation_function_decides_the_sign() -> None:
    picture = renderers.draw(spatial(field(5, 5, 3), signed=True), 0, CONTEXT, Style())

    assert picture.numbers["signed"] is True


@pytest.mark.parametrize(
    "style",
    [
        Style(scale="5:1"),
        Style(scale="nan:1"),
        Style(cmap="no such map"),
        Style(channels="99"),
        Style(channels=""),
        Style(sort="size"),
        Style(top=0),
        Style(columns=0),
        Style(zoom=0),
    ],
)
@pytest.mark.parametrize("activation", [spatial(field(4, 4, 3)), vector(np.ones(5, "f4"))])
def test_styles_that_mean_nothing(style: Style, activation: Activation) -> None:
    with pytest.raises(UsageError) as caught:
        renderers.draw(activation, 0, CONTEXT, style)

    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("values", "axes", "words"),
    [
        (np.zeros((1, 2, 3)), ("step", "unit", "batch"), "the first must be the batch"),
        (np.zeros((1, 2, 3)), ("batch", "step", "step"), "two axes called 'step'"),
        (np.array([["a"]]), VECTOR, "text"),
        (np.array([[1j]]), VECTOR, "complex"),
        (np.zeros((1, 0, 4, 2)), SPATIAL, "empty"),
        (np.zeros((1, 4)), SPATIAL, "2 axes"),
    ],
)
def test_what_cannot_be_drawn_says_why(values: np.ndarray, axes: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        renderers.draw(Activation("lstm", "LSTM", values, axes), 0, CONTEXT, Style())


def test_a_figure_beyond_the_limit_names_the_options() -> None:
    with pytest.raises(LimitError, match="--zoom"):
        renderers.draw(spatial(field(10, 10, 4)), 0, CONTEXT, Style(zoom=2000))


def test_bare_is_tiles_and_one_pixel_between_them() -> None:
    picture = renderers.draw(spatial(field(3, 4, 6)), 0, CONTEXT, Style(bare=True, columns=3))

    assert picture.pixels.shape == (2 * 4 - 1, 3 * 5 - 1, 3)
    assert picture.labels == ()


def test_the_picture_is_the_same_every_time() -> None:
    activation = spatial(field(6, 6, 10))
    context = Context("m.h5", "a.png", "6 x 6", np.full((300, 200, 3), 9, dtype=np.uint8))

    one, other = (renderers.draw(activation, 0, context, Style()) for _ in range(2))

    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert one.labels == other.labels


@pytest.mark.parametrize(
    ("name", "values", "style"),
    [
        ("grid_positive", field(8, 9, 6), Style(bare=True, zoom=2)),
        ("grid_signed", field(8, 9, 6, signed=True), Style(bare=True)),
        ("grid_layer", field(8, 9, 6), Style(bare=True, scale="layer", cmap="magma")),
        ("vector", field(1, 30, 1, signed=True)[0, :, 0], Style(bare=True, zoom=4, columns=10)),
    ],
)
def test_golden_pictures(name: str, values: np.ndarray, style: Style) -> None:
    grid = values.ndim == 3
    activation = spatial(values) if grid else vector(values)

    picture = renderers.draw(activation, 0, CONTEXT, style)

    assert_golden(name, picture.pixels)
    read_back(picture, values.transpose(2, 0, 1) if grid else values[:, None, None], style)


def test_neither_pyplot_nor_tensorflow_is_imported() -> None:
    program = (
        "import sys, numpy as np\n"
        "from actviz.figures import renderers, sheet\n"
        "from actviz.records import *\n"
        "a = Activation('a', 'b', np.ones((1, 4)), ('batch', 'unit'))\n"
        "renderers.draw(a, 0, Context('', '', ''), Style())\n"
        "bad = {'matplotlib', 'tensorflow', 'keras', 'scipy'} & set(sys.modules)\n"
        "assert not bad, bad"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
