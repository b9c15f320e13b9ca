"""Every kind of axes, by one contract: all is drawn, all can be found, all comes back."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from golden import assert_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from picture_helpers import AXES, CONTEXT, assert_labels_apart, assert_read_back, ends_of

from actviz.errors import UsageError
from actviz.figures import colors, page_layout, renderers, sheet, text
from actviz.figures.canvas import theme_of
from actviz.figures.renderers import attention, frames, reduction, sequence
from actviz.records import Activation, Context, Picture, Style

pytestmark = pytest.mark.filterwarnings("error")

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


SCALES = st.sampled_from(
    ["auto", "filter", "layer", "-1:2", "0:1e300", "p5:95", "p0:p99.5", "filter:p5:95", "run", "from:a.json"]
)
INVERTIBLE = [name for name in mpl.colormaps if colors.table(name).invertible]


@st.composite
def styles(draw: Any, **fixed: Any) -> Style:
    """Return a strategy of styles that a picture can be read back from."""
    scale = draw(SCALES)
    ranges = [(0.0, 0.0), (-2.0, 2.0), (-1e-310, 0.0), (0.5, 1e308), (-1.7e308, 1.7e308), (-3.0, -2.0)]
    return Style(
        scale=scale,
        cmap=draw(st.one_of(st.none(), st.sampled_from(INVERTIBLE))),
        dark=draw(st.booleans()),
        ranges={"layer": draw(st.sampled_from(ranges))} if scale in {"run", "from:a.json"} else {},
        **fixed,
    )


@pytest.mark.parametrize("axes", [*AXES.values(), *OTHER_AXES], ids="-".join)
@pytest.mark.parametrize("bare", [False, True])
@given(st.data())
@settings(max_examples=6)  # 204 over all axes
def test_values_come_back(axes: tuple[str, ...], bare: bool, data: Any) -> None:
    values = data.draw(any_values(axes, finite=False))
    before = values.copy()
    style = data.draw(styles(bare=bare, histogram=not bare and data.draw(st.booleans())))
    one = activation(values, axes)

    picture = renderers.draw(one, 0, CONTEXT, style)

    np.testing.assert_array_equal(values, before)
    assert picture.numbers["reduced"] is False
    assert picture.numbers["invertible"] is True
    assert_read_back(picture, one, style)
    assert_labels_apart(picture)
    if picture.numbers["scale"].startswith("filter:"):
        return
    low, high = ends_of(replace(style, scale=picture.numbers["scale"]), "layer", values)
    finite = values[np.isfinite(values)]
    assert picture.numbers["clipped_below"] == (finite < low).sum()
    assert picture.numbers["clipped_above"] == (finite > high).sum()
    assert picture.numbers["clipped"] == ((finite < low) | (finite > high)).sum()


@pytest.mark.parametrize("axes", [*AXES.values(), *OTHER_AXES], ids="-".join)
@given(st.data())
@settings(max_examples=4)  # 68 over all axes
def test_nothing_in_an_array_upsets_a_renderer(axes: tuple[str, ...], data: Any) -> None:
    values = data.draw(any_values(axes, finite=False))
    style = data.draw(styles(histogram=True))

    picture = renderers.draw(activation(values, axes), 0, CONTEXT, style)

    assert picture.numbers["nan"] == np.isnan(values).sum()
    assert picture.numbers["infinite"] == np.isinf(values).sum()
    assert_labels_apart(picture)
    json.dumps(picture.numbers, allow_nan=False)
    page = sheet.draw_sheet([activation(values, axes)], 0, CONTEXT, style)
    assert page.tiles
    assert_labels_apart(page)
    json.dumps(page.numbers, allow_nan=False)


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


# 2,048 tiles take up to 3 s, 513 up to 0.6 s; the longest name with everything around the tiles leaves the least room.
COUNTS = [
    pytest.param(
        count,
        length,
        plain,
        marks=[pytest.mark.slow] if count == 2048 or (count == 513 and (plain or length == 1)) else [],
    )
    for count, length, plain in itertools.product([1, 7, 64, 513, 2048], [1, 200], [True, False])
]


@pytest.mark.parametrize("kind", AXES)
@pytest.mark.parametrize(("count", "length", "plain"), COUNTS)
def test_labels_stay_apart(kind: str, count: int, length: int, plain: bool) -> None:
    axes = AXES[kind]
    places = {"channel": count, "unit": count, "head": min(count, 64), "step": 3, "plane": 2, "query": 5, "key": 4}
    shape = [places.get(axis, 6) for axis in axes[1:]]
    one = Activation("n" * length, "Kind", waves(1, *shape) * 1e-7, axes)

    style = Style() if plain else Style(dark=True, histogram=True, scale="filter" if count < 513 else "p1:99")

    picture = renderers.draw(one, 0, CONTEXT, style)

    assert_labels_apart(picture)
    assert {tile.channel for tile in picture.tiles} >= set(range(min(count, 64)))


LONG = [(1, 1), (1, 300), (300, 1), (20, 128), (128, 20), (1000, 32), (10_000, 64), (12, 4096), (700, 700)]
WORDY = {(1000, 32), (10_000, 64), (12, 4096), (700, 700)}  # thousands of different words are set: 1 to 10 s


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        pytest.param(shape, named, marks=[pytest.mark.slow] if named and shape in WORDY else [])
        for shape, named in itertools.product(LONG, [False, True])
    ],
)
@pytest.mark.slow
def test_sequences_of_any_length(shape: tuple[int, int], named: bool) -> None:
    one = activation(waves(*shape), AXES["sequence"])
    words = tuple(f"word{place}" * (place % 7) for place in range(shape[0])) if named else ()
    context = Context("m.h5", "x", "", steps=words, labels=tuple("ab" * shape[1])[: shape[1]] if named else ())

    picture = renderers.draw(one, 0, context, Style())

    assert_labels_apart(picture)
    assert math.prod(picture.size) < 16_000_000
    if math.prod(shape) < 100_000:
        assert_read_back(picture, one, Style())


def test_what_is_reduced_says_so_and_keeps_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "BUDGET", 16_000)
    values = np.zeros((500, 40), np.float32)
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
    assert reduction.block_factors(1, 10, 10) == (1, 1)
    assert reduction.block_factors(2, 10, 40, 100) == (2, 5)


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

    said = " ".join(label.text for label in picture.labels)
    assert "bars: the 10 largest; below: all units drawn" in said
    assert said.index("500 class500") < said.index("3 class3")
    assert len(picture.tiles) == 1000
    assert_labels_apart(picture)


def test_units_without_names_have_no_bars_but_the_strongest_are_listed() -> None:
    values = np.zeros(1000, np.float32)
    values[[3, 500]] = -0.2, 0.7
    words = " ".join(
        label.text for label in renderers.draw(activation(values, AXES["vector"]), 0, CONTEXT, Style()).labels
    )
    assert f"strongest by |value|: 500 (0.7), 3 ({text.MINUS}0.2)" in words


@pytest.mark.parametrize(
    ("size", "across", "shape"),
    [((1, 1, 40), None, "1 x 1 x 40"), ((60, 1, 9), "row", "60 x 1 x 9"), ((1, 60, 9), "column", "1 x 60 x 9")],
)
def test_maps_of_one_value_are_a_vector_and_of_one_row_or_column_a_sequence(
    size: tuple[int, ...], across: str | None, shape: str
) -> None:
    maps = activation(waves(*size), AXES["grid"])
    for one in (
        maps,
        replace(maps, values=maps.values.transpose(0, 3, 1, 2), axes=("batch", "channel", "row", "column")),
    ):
        picture = renderers.draw(one, 0, CONTEXT, Style())
        assert picture.numbers["axes"]["across"] == across
        assert_read_back(picture, one, Style())
        assert_labels_apart(picture)
    assert shape.replace("x", "\N{MULTIPLICATION SIGN}") in [
        label.text for label in renderers.draw(maps, 0, CONTEXT, Style()).labels
    ]
    image = replace(maps, kind="InputLayer")
    assert renderers.draw(image, 0, CONTEXT, Style()).numbers["axes"]["down"] == "row"


@pytest.mark.parametrize("kind", ["film", "volume"])
@pytest.mark.parametrize("signed", [True, False])
def test_a_projection_keeps_what_is_furthest_from_zero_and_says_reduced(kind: str, signed: bool) -> None:
    values = waves(4, 5, 6, 3, signed=signed)

    picture = renderers.draw(activation(values, AXES[kind]), 0, CONTEXT, Style(project="max"))

    high, low = values.max(axis=0), values.min(axis=0)
    maps = Activation("layer", "Kind", np.where(-low > high, low, high)[None], AXES["grid"])
    assert_read_back(picture, maps, Style())
    assert picture.numbers["reduced"].startswith("largest |value| (signed) over 4 " if signed else "maximum over 4 ")
    with pytest.raises(UsageError, match="sum"):
        renderers.draw(activation(values, AXES[kind]), 0, CONTEXT, Style(project="sum"))


def bar_ticks(picture: Picture) -> list[tuple[str, tuple[int, ...]]]:
    """Return the words of the colour bar's ticks and the colour of the bar above each tick's line."""
    pixels = picture.pixels
    theme = theme_of(dark=bool(pixels[0, 0].max() < 128))
    table = colors.table(picture.numbers["colormap"]).colors
    left = page_layout.MARGIN
    start = max(tile.box[2] for tile in picture.tiles)
    # The row in the middle of the bar is the table itself, each colour as wide as any other.
    scale = next(
        (row, factor)
        for row in range(start, len(pixels))
        for factor in (1, 2)
        if (pixels[row, left : left + 256 * factor] == table.repeat(factor, axis=0)).all()
    )
    row, factor = scale
    below = row + 11
    found = []
    for label in picture.labels:
        if label.box[0] != below + 3:
            continue
        lines = [at for at in range(left, left + 256 * factor) if (pixels[below + 1, at] == theme.muted).all()]
        middle = (label.box[1] + label.box[3]) / 2
        at = min(lines, key=lambda place: abs(place - middle))
        found.append((label.text, tuple(pixels[row, at].tolist())))
    return found


@given(
    st.tuples(*[st.floats(-1e6, 1e6).filter(lambda end: end == 0 or abs(end) > 1e-6)] * 2).filter(
        lambda ends: abs(ends[0] - ends[1]) > 1e-3 * max(map(abs, ends))
    ),
    st.sampled_from(["layer", "fixed", "run", "p0:100"]),
    st.booleans(),
    st.sampled_from([3, 1500]),
)
@settings(max_examples=25)
def test_ticks_of_the_colour_bar_are_the_values_of_their_colours(
    ends: tuple[float, float], scale: str, dark: bool, columns: int
) -> None:
    low, high = sorted(ends)
    values = np.linspace(low, high, 2 * columns).reshape(2, columns)
    words = f"{low!r}:{high!r}" if scale == "fixed" else scale
    style = Style(scale=words, dark=dark, ranges={"layer": (low, high)} if scale == "run" else {}, zoom=1)

    picture = renderers.draw(activation(values, ("batch", "row", "column")), 0, CONTEXT, style)

    table = colors.table(picture.numbers["colormap"]).colors
    ticks = bar_ticks(picture)
    assert len(ticks) >= 2
    first, last = picture.numbers["low"], picture.numbers["high"]
    for said, color in ticks:
        value = float(said.replace(text.MINUS, "-"))
        step = int(np.flatnonzero((table == color).all(axis=1))[0])
        rounded = abs(value) * 0.005 + 1e-12
        assert abs(first + (last - first) * step / 255 - value) <= (last - first) / 255 + rounded


@pytest.mark.parametrize("labelled", [False, True])
def test_units_have_ranges_of_their_own_where_that_is_asked(labelled: bool) -> None:
    values = waves(6, 5) * 10.0 ** np.arange(5)
    values[:, 3] = 0
    context = Context("m.h5", "x", "", labels=tuple("abcde") if labelled else ())
    one = activation(values, AXES["sequence"])

    own = renderers.draw(one, 0, context, Style(scale="filter"))
    together = renderers.draw(one, 0, context, Style())

    texts = [label.text for label in own.labels]
    for unit in (0, 1, 2, 4):
        range_ = f"{text.number(values[:, unit].min())}..{text.number(values[:, unit].max())}"
        assert f"{unit} {'abcde'[unit] + ' ' if labelled else ''}{range_}" in texts
    assert [text_ for text_ in texts if text_.endswith("zero")]
    assert own.numbers["scale"] == "filter"
    assert len({tile.high for tile in own.tiles}) == 5
    assert_read_back(own, one, Style(scale="filter"))
    assert_labels_apart(own)
    assert together.numbers["scale"] == "layer"
    assert len({tile.high for tile in together.tiles}) == 1


@pytest.mark.parametrize(
    ("axes", "shape", "why"),
    [
        ("vector", (5,), "one value has no range of its own"),
        ("grid", (1, 1, 5), "one value has no range of its own"),
        ("sequence", (1, 5), "one value has no range of its own"),
        ("film", (1, 1, 1, 5), "one value has no range of its own"),
        ("sequence", (500, 40), "there are too many values to draw each one"),
    ],
)
def test_where_a_range_of_its_own_cannot_be_the_figure_says_so(
    axes: str, shape: tuple[int, ...], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduction, "BUDGET", 16_000)
    one = activation(waves(*shape), AXES[axes])

    asked = renderers.draw(one, 0, CONTEXT, Style(scale="filter"))

    said = " ".join(label.text for label in asked.labels)
    assert why in said
    assert asked.numbers["scale"] == "layer"
    if math.prod(shape) < 100:
        by_itself = renderers.draw(one, 0, CONTEXT, Style())
        assert why not in " ".join(label.text for label in by_itself.labels)


@pytest.mark.parametrize("kind", AXES)
@pytest.mark.parametrize(
    ("style", "said"),
    [
        (Style(top=3), "3 of 12 NOUN, strongest by mean |value|"),
        (Style(top=3, sort="index"), "3 of 12 NOUN, first by number"),
        (Style(sort="std"), "12 of 12 NOUN, strongest by standard deviation"),
        (Style(channels="0:8", sort="max", top=3), "3 of 12 NOUN, strongest by maximum |value| of the 8 chosen"),
        (Style(channels="0:8"), "8 of 12 NOUN, as chosen"),
        (Style(channels="9,2,5", top=2, sort="index"), "2 of 12 NOUN, first of the 3 chosen"),
        (Style(), "12 of 12 NOUN"),
    ],
)
def test_a_figure_says_which_channels_it_shows(kind: str, style: Style, said: str) -> None:
    places = {"channel": 12, "unit": 12, "head": 12}
    axes = ("batch", "part", "plane", "row", "column") if kind == "montage" else AXES[kind]
    shape = [{"part": 6, "plane": 2}.get(axis, 3) if kind == "montage" else places.get(axis, 3) for axis in axes[1:]]
    values = np.abs(waves(*shape))
    noun = {"vector": "units", "sequence": "units", "film": "channels", "volume": "channels"}.get(kind, "filters")
    noun = {"attention": "heads", "montage": "slices"}.get(kind, noun)

    picture = renderers.draw(activation(values, axes), 0, CONTEXT, style)

    text_ = " ".join(label.text for label in picture.labels)
    assert f"{said.replace('NOUN', noun)} {text.DOT}" in text_
    assert (
        len({tile.indices[:1] if kind == "film" else tile.channel for tile in picture.tiles})
        == picture.numbers["shown"]
    )
    if style.measure != "index":
        tiles = np.moveaxis(values, axes.index("channel") - 1, 0) if "channel" in axes else values
        tiles = values.reshape(12, -1) if kind == "montage" else tiles
        tiles = values.T if kind == "sequence" else tiles
        flat = tiles.reshape(12, -1)
        measure = {"mean": flat.mean, "std": flat.std, "max": flat.max}[style.measure](axis=1)
        shown = list(dict.fromkeys(tile.channel for tile in picture.tiles))
        assert [measure[channel] for channel in shown] == sorted((measure[channel] for channel in shown), reverse=True)
        chosen = range(8) if style.channels else range(12)
        assert max(measure[shown]) == max(measure[list(chosen)])


@pytest.mark.parametrize("kind", AXES)
def test_records_carry_every_number(kind: str) -> None:
    values = np.maximum(waves(*[9 if kind == "vector" else 4] * (len(AXES[kind]) - 1)), 0).astype(np.float64)
    values.flat[5], values.flat[6] = np.nan, np.inf
    finite = values[np.isfinite(values)]

    found = renderers.draw(activation(values, AXES[kind]), 0, CONTEXT, Style(scale="0:1")).numbers

    assert (found["min"], found["max"]) == (finite.min(), finite.max())
    np.testing.assert_allclose((found["mean"], found["std"]), (finite.mean(), finite.std()))
    assert list(found["percentiles"]) == ["1", "5", "25", "50", "75", "95", "99"]
    shares = [1, 5, 25, 50, 75, 95, 99]
    assert list(found["percentiles"].values()) == np.percentile(finite, shares).tolist()
    assert found["zeros"] == (values == 0).mean()
    assert (found["nan"], found["infinite"]) == (1, 1)
    assert (found["clipped_below"], found["clipped_above"]) == (0, (finite > 1).sum())
    assert (found["scale"], found["low"], found["high"]) == ("0:1", 0, 1)
    assert all(type(channel) is int for channel in found["dead"] + found["constant"])


@pytest.mark.parametrize("kind", AXES)
@pytest.mark.parametrize("signed", [False, True])
def test_dark_pages_differ_in_nothing_but_colours(kind: str, signed: bool) -> None:
    values = waves(*[9 if kind == "vector" else 5] * (len(AXES[kind]) - 1), signed=signed)
    one = activation(values, AXES[kind])

    light, dark = (renderers.draw(one, 0, CONTEXT, Style(dark=dark)) for dark in (False, True))

    assert light.tiles == dark.tiles
    assert light.labels == dark.labels
    assert light.numbers | {"colormap": ""} == dark.numbers | {"colormap": ""}
    assert dark.numbers["colormap"] == ("berlin" if signed else "inferno")
    assert_read_back(dark, one, Style(dark=True))
    bare = renderers.draw(one, 0, CONTEXT, Style(dark=True, bare=True))
    assert not (bare.pixels == 255).all(axis=-1).any()


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
    assert any("20 of 64 units, strongest by maximum" in said for said in numbers)
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


def test_a_tall_map_below_a_curve_is_low_and_broad() -> None:
    """As a spectrogram of 61 steps by 257 frequencies, which was 305 pixels wide and 1,285 high."""
    context = replace(CONTEXT, signal=np.zeros(16_000, np.float32))

    picture = renderers.draw(activation(waves(61, 257), AXES["sequence"]), 0, context, Style())

    height, width = picture.pixels.shape[:2]
    assert width > 900
    assert height < 1000
    assert_labels_apart(picture)


def test_a_signal_is_a_curve_above_its_maps_on_the_same_axis() -> None:
    values, signal = waves(60, 3), np.zeros(240, np.float32)
    signal[120:124] = 1
    context = replace(CONTEXT, signal=signal)

    picture = renderers.draw(activation(values, AXES["sequence"]), 0, context, Style())

    assert picture.numbers["axes"]["across"] == "step"
    assert_read_back(picture, activation(values, AXES["sequence"]), Style())
    assert_labels_apart(picture)
    above = picture.tiles[0].box[0] - 30  # of the labels
    left, right = picture.tiles[0].box[1], picture.tiles[0].box[3]
    band = picture.pixels[above - 80 : above, left:right]
    high = np.flatnonzero((band == theme_of(dark=False).ink).all(axis=2).sum(axis=0) > 40)
    assert abs(high.min() - (right - left) * 0.5) <= 2
    assert "curve: the 240 values of the input" in " ".join(label.text for label in picture.labels)


def test_the_frames_of_a_clip_are_above_those_of_its_channels() -> None:
    clip = np.zeros((8, 5, 6, 3), np.uint8)
    clip[:] = np.arange(8)[:, None, None, None] * 30
    values = waves(4, 5, 6, 2)
    one = activation(values, AXES["film"])
    context = replace(CONTEXT, pictures={"clip": clip})

    picture = renderers.draw(one, 0, context, Style())

    assert_read_back(picture, one, Style())
    first = [tile.box for tile in picture.tiles if tile.channel == 0]
    names = {label.text: label.box[0] for label in picture.labels if label.box[1] == page_layout.MARGIN}
    middle = (first[0][0] + first[0][2]) // 2 - (names["0"] - names["input"])
    grays = [int(picture.pixels[middle, (box[1] + box[3]) // 2, 0]) for box in first]
    assert grays == [0, 60, 120, 180]
    assert "above: 4 of 8 frames of the input" in " ".join(label.text for label in picture.labels)
    without = renderers.draw(one, 0, CONTEXT, Style())
    assert without.size[0] < picture.size[0]


@pytest.mark.parametrize("scale", [0.6, 1.5, 3.0])
@pytest.mark.parametrize("kind", AXES)
def test_text_of_any_size_stays_apart(kind: str, scale: float) -> None:
    one = activation(waves(*(SIZES[len(AXES[kind]) - 1],) * (len(AXES[kind]) - 1)), AXES[kind])
    picture = renderers.draw(one, 0, CONTEXT, Style(font_scale=scale))
    plain = renderers.draw(one, 0, CONTEXT, Style())

    assert_labels_apart(picture)
    assert_read_back(picture, one, Style())
    heights = [
        next(label.box[2] - label.box[0] for label in p.labels if label.text == "layer") for p in (plain, picture)
    ]
    assert heights[1] == pytest.approx(heights[0] * scale, rel=0.15)
    assert_labels_apart(sheet.draw_sheet([one], 0, CONTEXT, Style(font_scale=scale)))
