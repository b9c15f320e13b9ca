"""Every kind of axes, by one contract: all is drawn, all can be found, all comes back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from golden import assert_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from picture_helpers import CONTEXT, assert_labels_apart, assert_read_back

from actviz import renderers, sheet
from actviz.errors import UsageError
from actviz.records import Activation, Context, Style
from actviz.renderers import attention, frames, reduction, sequence

pytestmark = pytest.mark.filterwarnings("error")

AXES = {
    "grid": ("batch", "row", "column", "channel"),
    "vector": ("batch", "unit"),
    "sequence": ("batch", "step", "unit"),
    "film": ("batch", "step", "row", "column", "channel"),
    "volume": ("batch", "plane", "row", "column", "channel"),
    "attention": ("batch", "head", "query", "key"),
    "montage": ("batch", "step", "plane", "row", "column", "channel"),
}
OTHER_AXES = [
    ("batch", "channel", "row", "column"),
    ("batch", "row", "column"),
    ("batch", "step"),
    ("batch", "unit", "step"),
    ("batch", "query", "key"),
    ("batch", "step", "channel", "row", "column"),
    ("batch", "step", "row", "column"),
    ("batch", "plane", "row", "column"),
    ("batch", "axis1", "step", "unit"),
    ("batch", "step", "column", "channel"),
]
SIZES = {1: 40, 2: 12, 3: 6, 4: 4, 5: 3}


def activation(values: np.ndarray, axes: tuple[str, ...], mask: np.ndarray | None = None) -> Activation:
    """Return one entry of a batch as an activation."""
    return Activation("layer", "Kind", values[None], axes, mask=None if mask is None else mask[None])


def waves(*shape: int, signed: bool = True) -> np.ndarray:
    """Return a smooth float32 array."""
    places = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    values = np.sin(places * 0.7) * (1 + places % 5)
    return (values if signed else np.maximum(values, 0)).astype(np.float32)


def any_values(axes: tuple[str, ...], *, finite: bool = True) -> Any:
    """Return a strategy of arrays with these axes, the batch left out."""
    rank = len(axes) - 1
    shapes = st.tuples(*[st.integers(1, SIZES[rank])] * rank)
    floats = st.floats(allow_nan=not finite, allow_infinity=not finite)
    special = st.sampled_from([0.0, 1.0, -1.0, 5e-324, 1e-310, 1e308, -1.7e308])
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.one_of(floats, special)))


def test_every_renderer_has_its_axes_here() -> None:
    assert AXES.keys() == renderers.RENDERERS.keys()
    assert {kind: renderers.kind_of(axes) for kind, axes in AXES.items()} == {kind: kind for kind in AXES}


@pytest.mark.parametrize("axes", [*AXES.values(), *OTHER_AXES], ids="-".join)
@pytest.mark.parametrize("bare", [False, True])
@given(st.data(), st.sampled_from(["filter", "layer", "-1:2", "0:1e300"]))
@settings(deadline=None, max_examples=25)
def test_values_come_back(axes: tuple[str, ...], bare: bool, data: Any, scale: str) -> None:
    values = data.draw(any_values(axes))
    before = values.copy()
    style = Style(scale=scale, bare=bare)
    one = activation(values, axes)

    picture = renderers.draw(one, 0, CONTEXT, style)

    np.testing.assert_array_equal(values, before)
    assert picture.numbers["reduced"] is False
    assert_read_back(picture, one, style)
    assert_labels_apart(picture)


@pytest.mark.parametrize("axes", [*AXES.values(), *OTHER_AXES], ids="-".join)
@given(st.data())
@settings(deadline=None, max_examples=15)
def test_nothing_in_an_array_upsets_a_renderer(axes: tuple[str, ...], data: Any) -> None:
    values = data.draw(any_values(axes, finite=False))

    picture = renderers.draw(activation(values, axes), 0, CONTEXT, Style())

    assert picture.numbers["nan"] == np.isnan(values).sum()
    assert picture.numbers["infinite"] == np.isinf(values).sum()
    assert_labels_apart(picture)
    assert sheet.draw_sheet([activation(values, axes)], 0, CONTEXT, Style()).tiles


@pytest.mark.parametrize("axes", [*AXES.values(), *OTHER_AXES], ids="-".join)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "bool", "int32", "uint8"])
def test_every_dtype_comes_back(axes: tuple[str, ...], dtype: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    shape = [3] * (len(axes) - 1)
    values = np.abs(waves(*shape)).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)

    picture = renderers.draw(activation(values, axes), 0, CONTEXT, Style())

    assert_read_back(picture, activation(values.astype(np.float64), axes), Style())


@pytest.mark.parametrize("axes", AXES.values(), ids="-".join)
def test_empty_axes_say_so(axes: tuple[str, ...]) -> None:
    for place in range(len(axes) - 1):
        shape = [2] * (len(axes) - 1)
        shape[place] = 0
        with pytest.raises(UsageError, match="empty"):
            renderers.draw(activation(np.zeros(shape), axes), 0, CONTEXT, Style())


@pytest.mark.parametrize("kind", AXES)
@pytest.mark.parametrize("count", [1, 7, 64, 513, 2048])
@pytest.mark.parametrize("length", [1, 200])
def test_labels_stay_apart(kind: str, count: int, length: int) -> None:
    axes = AXES[kind]
    places = {"channel": count, "unit": count, "head": min(count, 64), "step": 3, "plane": 2, "query": 5, "key": 4}
    shape = [places.get(axis, 6) for axis in axes[1:]]
    one = Activation("n" * length, "Kind", waves(1, *shape) * 1e-7, axes)

    picture = renderers.draw(one, 0, CONTEXT, Style())

    assert_labels_apart(picture)
    assert {tile.channel for tile in picture.tiles} >= set(range(min(count, 64)))


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (300, 1), (20, 128), (128, 20), (1000, 32), (10_000, 64), (12, 4096), (700, 700)]
)
@pytest.mark.parametrize("named", [False, True])
def test_sequences_of_any_length(shape: tuple[int, int], named: bool) -> None:
    one = activation(waves(*shape), AXES["sequence"])
    words = tuple(f"word{place}" * (place % 7) for place in range(shape[0])) if named else ()
    context = Context("m.h5", "x", "", steps=words, labels=tuple("ab" * shape[1])[: shape[1]] if named else ())

    picture = renderers.draw(one, 0, context, Style())

    assert_labels_apart(picture)
    assert picture.pixels.shape[0] * picture.pixels.shape[1] < 16_000_000
    if math.prod(shape) < 100_000:
        assert_read_back(picture, one, Style())


def test_what_is_reduced_says_so_and_keeps_its_numbers() -> None:
    values = np.zeros((5000, 4000), np.float32)
    values[17, 3] = 8

    picture = renderers.draw(activation(values, AXES["sequence"]), 0, CONTEXT, Style())

    assert picture.numbers["reduced"] == "each value drawn is the mean of 2 steps"
    assert picture.numbers["max"] == 8
    assert picture.tiles == ()
    assert any("reduced: each value drawn is the mean of 2 steps" in label.text for label in picture.labels)


def test_block_means() -> None:
    maps = np.arange(15.0).reshape(1, 3, 5)

    np.testing.assert_allclose(reduction.block_means(maps, 2, 2), [[[3, 5, 6.5], [10.5, 12.5, 14]]])
    np.testing.assert_array_equal(reduction.block_means(np.full((1, 4, 4), 1.7e308), 4, 4), [[[1.7e308]]])
    assert reduction.factors(1, 10, 10) == (1, 1)
    assert reduction.factors(2, 10, 40, 100) == (2, 5)


def test_masked_steps_look_masked_and_count_for_nothing() -> None:
    values = waves(10, 4)
    values[7:] = 1000
    mask = np.arange(10) < 7
    for axes, shaped in ((AXES["sequence"], values), (AXES["film"], values.reshape(10, 2, 2, 1))):
        one = activation(shaped, axes, mask)

        picture = renderers.draw(one, 0, CONTEXT, Style())

        assert picture.numbers["masked"] == 3
        assert picture.numbers["max"] == values[:7].max()
        assert any("3 of 10 steps masked (7 to 9)" in label.text for label in picture.labels)
        assert_read_back(picture, one, Style())
        other = renderers.draw(activation(np.where(shaped == 1000, -5, shaped), axes, mask), 0, CONTEXT, Style())
        np.testing.assert_array_equal(picture.pixels, other.pixels)
        with pytest.raises(UsageError, match="all 10 steps are masked"):
            renderers.draw(activation(shaped, axes, np.zeros(10, dtype=bool)), 0, CONTEXT, Style())


def test_words_stand_beside_steps_queries_and_keys() -> None:
    words = ("the", "cat", "sat")
    context = Context("m.h5", "x", "", steps=words, labels=("noun", "verb"))
    texts = {
        kind: [
            label.text for label in renderers.draw(activation(waves(*shape), AXES[kind]), 0, context, Style()).labels
        ]
        for kind, shape in (("sequence", (3, 2)), ("attention", (2, 3, 3)), ("vector", (2,)))
    }

    for place, word in enumerate(words):
        assert f"{place} {word}" in texts["sequence"]
        assert texts["attention"].count(f"{place} {word}") == 4
    assert {"0 noun", "1 verb"} <= set(texts["sequence"])
    assert {"0 noun", "1 verb"} <= set(texts["vector"])


def test_names_of_another_length_are_not_used() -> None:
    context = Context("m.h5", "x", "", steps=("a",), labels=("b",))

    picture = renderers.draw(activation(waves(3, 2), AXES["sequence"]), 0, context, Style())

    assert not {"0 a", "0 b"} & {label.text for label in picture.labels}


def test_the_top_classes_are_named() -> None:
    values = np.zeros(1000, np.float32)
    values[[3, 500]] = 0.2, 0.7
    context = Context("m.h5", "x", "", labels=tuple(f"class{place}" for place in range(1000)))

    picture = renderers.draw(activation(values, AXES["vector"]), 0, context, Style())

    text = " ".join(label.text for label in picture.labels)
    assert "strongest: 500 class500 (0.7), 3 class3 (0.2)" in text


@pytest.mark.parametrize("kind", ["film", "volume"])
def test_a_projection_is_the_maximum_and_says_reduced(kind: str) -> None:
    values = waves(4, 5, 6, 3)

    picture = renderers.draw(activation(values, AXES[kind]), 0, CONTEXT, Style(project="max"))

    maps = Activation("layer", "Kind", values.max(axis=0)[None], AXES["grid"])
    assert_read_back(picture, maps, Style())
    assert picture.numbers["reduced"].startswith("maximum over 4 ")
    with pytest.raises(UsageError, match="sum"):
        renderers.draw(activation(values, AXES[kind]), 0, CONTEXT, Style(project="sum"))


def test_few_whole_numbers_are_blocks_of_colour() -> None:
    values = np.arange(12).reshape(3, 4) % 3

    picture = renderers.draw(activation(values, ("batch", "row", "column")), 0, CONTEXT, Style())
    truths = renderers.draw(activation(values > 0, ("batch", "row", "column")), 0, CONTEXT, Style())

    assert {"0", "1", "2"} <= {label.text for label in picture.labels}
    assert {"false", "true"} <= {label.text for label in truths.labels}
    assert picture.numbers["scale"] == "layer"


def test_chosen_units_and_steps_of_any_order_carry_their_numbers() -> None:
    one = activation(waves(30, 64), AXES["sequence"])

    picture = renderers.draw(one, 0, CONTEXT, Style(sort="max", top=20))

    numbers = [label.text for label in picture.labels]
    assert all(str(tile.channel) in numbers for tile in picture.tiles)
    assert any("20 of 64 units, strongest by maximum" in text for text in numbers)
    assert_read_back(picture, one, Style())


@pytest.mark.parametrize("kind", ["sequence", "film", "attention", "montage"])
def test_golden_pictures(kind: str) -> None:
    shape = {"sequence": (9, 14), "film": (4, 6, 7, 3), "attention": (3, 6, 5), "montage": (2, 2, 4, 5, 2)}[kind]
    values = waves(*shape, signed=kind != "attention")
    one = activation(values, AXES[kind])

    picture = renderers.draw(one, 0, CONTEXT, Style(bare=True, zoom=2))

    assert_golden(kind, picture.pixels)
    assert_read_back(picture, one, Style())


def test_maps_of_renderers_have_their_axes_in_order() -> None:
    values = np.arange(24.0).reshape(2, 3, 4)
    turned = Activation("a", "b", values.transpose(2, 0, 1)[None], ("batch", "key", "head", "query"))

    np.testing.assert_array_equal(attention.maps_of(turned, 0), values)
    film = Activation("a", "b", values[None], ("batch", "step", "row", "column"))
    np.testing.assert_array_equal(frames.maps_of(film, 0, "step"), values[None])
    assert sequence.maps_of(Activation("a", "b", values[:1], ("batch", "step", "unit")), 0).shape == (4, 3, 1)
