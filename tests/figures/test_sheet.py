"""Many layers on one page."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from picture_helpers import CONTEXT, assert_labels_apart, sheet_pages, spatial, vector

from actviz.batch import sheet_layers
from actviz.errors import LimitError, UsageError
from actviz.figures import sheet, text
from actviz.records import Activation, LayerInfo, Style

pytestmark = pytest.mark.filterwarnings("error")


def layer(number: int, size: tuple[int, int, int], *, length: int = 5) -> Activation:
    """Return random maps with the number in the layer's address."""
    values = np.random.default_rng(number).normal(size=size).astype(np.float32)
    return spatial(values, address=f"{number}_" + "n" * length)


@pytest.mark.parametrize("count", [1, 5, 25])
@pytest.mark.parametrize("length", [1, 200])
@pytest.mark.parametrize(
    "style", [Style(), Style(dark=True, histogram=True, scale="p1:99"), Style(scale="-1e-30:1e30")]
)
def test_labels_stay_apart_and_the_page_in_its_budget(count: int, length: int, style: Style) -> None:
    shapes = [(28, 28, 32), (7, 7, 3), (1, 1, 64), (2, 90, 8), (120, 3, 16)]
    layers = [layer(i, shapes[i % 5], length=length) for i in range(count)]
    layers.append(vector(np.arange(3000, dtype=np.float32), address="d" * length))

    picture = sheet.draw_sheet(layers, 0, CONTEXT, style)

    assert_labels_apart(picture)
    assert area(picture) <= 16_000_000
    assert {tile.address for tile in picture.tiles} == {one.address for one in layers}
    assert picture.numbers["reduced"] is True


def test_the_strongest_channels_are_shown_and_said() -> None:
    values = np.ones((4, 4, 64), np.float32) * np.arange(64)
    values[0, 0] = 0

    picture = sheet.draw_sheet([spatial(values)], 0, CONTEXT, Style())

    assert [tile.channel for tile in picture.tiles] == list(range(63, 55, -1))
    assert "8 of 64 filters" in [label.text for label in picture.labels]
    assert any("tiles of a layer: strongest first, by mean |value|" in label.text for label in picture.labels)


@pytest.mark.parametrize(
    ("style", "order"),
    [
        (Style(), "mean |value|"),
        (Style(channels="all", sort="std"), "standard deviation"),
        (Style(top=9, sort="max"), "maximum |value|"),
        (Style(channels="0:4", top=2), "mean |value|"),
        (Style(top=1), "mean |value|"),
        (Style(channels="3,1"), ""),
        (Style(channels="all"), ""),
        (Style(top=3, sort="index"), ""),
    ],
)
@pytest.mark.parametrize("megapixels", [16, 0.35])
def test_an_order_that_is_not_that_of_the_channels_is_named_once(style: Style, order: str, megapixels: float) -> None:
    """Also where all channels are shown, and where a name has no room for words beside it."""
    rising = np.ones((4, 4, 6), np.float32) * np.arange(1, 7)
    rising[0, 0] = 0
    layers = [spatial(rising, address=name * 60) for name in "ab"]

    picture = next(sheet_pages(layers, CONTEXT, replace(style, megapixels=megapixels)))

    words = " ".join(label.text for label in picture.labels)
    assert words.count("tiles of a layer: ") == bool(order)
    assert f"tiles of a layer: strongest first, by {order}" in words or not order


def test_tiles_in_the_order_of_their_channels_need_no_words_about_it() -> None:
    falling = np.ones((4, 4, 6), np.float32) * np.arange(6, 0, -1)
    falling[0, 0] = 0
    picture = sheet.draw_sheet([spatial(falling), vector(np.arange(9.0), address="units")], 0, CONTEXT, Style())
    assert not any("tiles of a layer: " in label.text for label in picture.labels)


def test_more_channels_than_a_row_holds() -> None:
    picture = sheet.draw_sheet([layer(0, (9, 9, 40))], 0, CONTEXT, Style(top=20))

    assert len(picture.tiles) == 20
    assert_labels_apart(picture)


def test_what_is_not_finite_stays_on_the_sheet() -> None:
    values = np.random.default_rng(0).normal(size=(200, 200, 3))
    values[:50, :50, 0] = np.nan
    values[..., 1] = np.inf
    values[..., 2] = 0

    picture = sheet.draw_sheet([spatial(values)], 0, CONTEXT, Style(sort="index"))

    assert_labels_apart(picture)


def test_layers_that_cannot_be_drawn_are_counted() -> None:
    other = Activation("words", "StringLookup", np.array([["a", "b"]]), ("batch", "step"))

    picture = sheet.draw_sheet([layer(0, (5, 5, 4)), other], 0, CONTEXT, Style())
    assert any("1 of 2 layers" in label.text for label in picture.labels)

    with pytest.raises(UsageError):
        sheet.draw_sheet([other], 0, CONTEXT, Style())


def test_too_many_layers_are_refused() -> None:
    layers = [layer(i, (3, 3, 8)) for i in range(60)]

    with pytest.raises(LimitError, match="--layer"):
        sheet.draw_sheet(layers, 0, CONTEXT, Style(megapixels=1))


def test_a_range_that_tiles_share_stands_beside_the_name_of_the_layer() -> None:
    values = np.linspace(-1, 3, 5 * 5 * 4).reshape(5, 5, 4)

    texts = {
        scale: " ".join(
            label.text for label in sheet.draw_sheet([spatial(values)], 0, CONTEXT, Style(scale=scale)).labels
        )
        for scale in ("auto", "layer", "0:2", "p0:100")
    }

    assert "colors" not in texts["auto"].split("1 layer")[0]
    assert f"colors {text.MINUS}3..3" in texts["layer"]
    assert "colors 0..2" in texts["0:2"]
    assert "50 values clipped" in texts["0:2"]
    assert f"0 {text.DASH} 2, as asked" in texts["0:2"]
    assert "one range a layer (p0:100)" in texts["p0:100"]
    assert "clipped" not in texts["p0:100"]


def test_distributions_stand_beside_the_names_of_layers() -> None:
    layers = [layer(number, (9, 9, 4)) for number in range(3)]

    plain, with_them = (sheet.draw_sheet(layers, 0, CONTEXT, Style(histogram=wanted)) for wanted in (False, True))

    assert with_them.tiles == plain.tiles
    strength = [(one.pixels == (96, 96, 96)).all(axis=-1).sum() for one in (plain, with_them)]
    assert strength[1] > strength[0] + 3 * 64
    assert all("distribution" in one for one in with_them.numbers["layers"].values())
    assert any("the distribution of the layer's values" in label.text for label in with_them.labels)


def words(picture) -> str:
    return " | ".join(label.text for label in picture.labels)


def area(picture) -> int:
    return math.prod(picture.size)


def test_a_sheet_is_shrunk_to_its_budget_and_says_so() -> None:
    layers = [layer(i, (14, 14, 32)) for i in range(40)]

    large = sheet.draw_sheet(layers, 0, CONTEXT, Style())
    small = sheet.draw_sheet(layers, 0, CONTEXT, Style(megapixels=2.4))
    fewer = sheet.draw_sheet(layers, 0, CONTEXT, Style(megapixels=1))

    assert area(fewer) <= 1_000_000 < area(small) <= 2_400_000 < area(large) <= 16_000_000
    assert len(small.tiles) == len(large.tiles) == 8 * 40
    assert "of a layer, to fit" not in words(large) + words(small)
    per_layer = len(fewer.tiles) // 40
    assert 1 <= per_layer < 8
    assert f"{per_layer} of a layer, to fit 1 megapixels (--max-megapixels)" in words(fewer)
    assert f"{per_layer} of 32" in words(fewer)


def test_all_channels_go_on_on_further_pages_each_once() -> None:
    sizes = [(28, 28, 64), (14, 14, 512), (7, 7, 700), (1, 1, 3)]
    layers = [layer(i, size) for i, size in enumerate(sizes)]

    pages = list(sheet_pages(layers, CONTEXT, Style(channels="all", megapixels=2)))

    assert len(pages) > 2
    drawn = [(tile.address, tile.channel) for page in pages for tile in page.tiles]
    assert drawn == [(one.address, channel) for one in layers for channel in range(one.values.shape[-1])]
    for number, page in enumerate(pages, start=1):
        assert area(page) <= 2_000_000
        assert_labels_apart(page)
        assert f"4 layers, page {number} of {len(pages)}" in words(page)
        assert (page.numbers["page"], page.numbers["pages"]) == (number, len(pages))
    assert "(continued)" in words(pages[1])


def test_a_selection_is_of_those_channels_that_a_layer_has() -> None:
    layers = [layer(0, (5, 5, 3)), layer(1, (5, 5, 40)), layer(2, (5, 5, 1))]

    picture = sheet.draw_sheet(layers, 0, CONTEXT, Style(channels="2:6,39"))

    found = [(tile.address[0], tile.channel) for tile in picture.tiles]
    assert found == [("0", 2), *(("1", channel) for channel in (2, 3, 4, 5, 39)), ("2", 0)]
    for selection in ("1:x", "0:5:0", "--5"):
        with pytest.raises(UsageError, match="are not valid"):
            sheet.draw_sheet(layers, 0, CONTEXT, Style(channels=selection))


def test_masked_steps_are_hatched_and_in_no_number() -> None:
    values = np.full((1, 6, 9), 0.5, np.float32)
    values[0, 4:] = 99
    mask = np.array([[True] * 4 + [False] * 2])
    axes = ("batch", "step", "unit")
    lstm = Activation("lstm", "LSTM", values, axes, mask=mask)

    picture = sheet.draw_sheet([lstm], 0, CONTEXT, Style())

    (tile,) = picture.tiles
    assert tile.high == 0.5
    assert picture.numbers["layers"]["lstm"]["max"] == 0.5
    assert "hatched: masked steps, in no number" in words(picture)
    top, left, bottom, right = tile.box
    height = (bottom - top) // 6
    seen, masked = (
        picture.pixels[top : top + 4 * height, left:right],
        picture.pixels[top + 4 * height : bottom, left:right],
    )
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) == 1
    assert (masked > 90).all()
    assert_labels_apart(picture)


def test_frames_are_their_maximum_over_the_steps_that_are_not_masked() -> None:
    values = np.zeros((1, 3, 5, 5, 2), np.float32)
    values[0, 0, 1, 1, 0], values[0, 1, 2, 2, 0], values[0, 2] = 1, 2, 50
    mask = np.array([[True, True, False]])
    axes = ("batch", "step", "row", "column", "channel")

    picture = sheet.draw_sheet([Activation("film", "ConvLSTM2D", values, axes, mask=mask)], 0, CONTEXT, Style())

    assert [tile.high for tile in picture.tiles] == [2, 0]
    assert "maximum over 2 steps, 1 masked" in words(picture)


def test_what_the_caption_says_of_colors_follows_the_scale() -> None:
    layers = [layer(0, (5, 5, 3))]
    said = {
        scale: words(sheet.draw_sheet(layers, 0, CONTEXT, Style(scale=scale))) for scale in ("filter", "layer", "-1:1")
    }
    assert "colors of a tile: from 0" in said["filter"]
    assert "colors of a tile: one range a layer, beside its name" in said["layer"]
    assert f"colors of a tile: {text.MINUS}1 {text.DASH} 1, as asked" in said["-1:1"]


def test_reduced_channels_are_one_map_a_layer() -> None:
    layers = [layer(0, (50, 50, 16)), layer(1, (25, 25, 32)), vector(np.arange(7, dtype=np.float32))]

    picture = sheet.draw_sheet(layers, 0, CONTEXT, Style(reduce="mean"))

    assert [tile.address for tile in picture.tiles[:2]] == [layers[0].address, layers[1].address]
    assert "mean of 16 filters" in words(picture)
    assert "mean of 32 filters" in words(picture)
    assert_labels_apart(picture)


LAYERS = [layer(i, (14, 14, 32)) for i in range(120)]


@pytest.mark.parametrize(
    ("megapixels", "style"),
    [
        (1.3, Style(scale="-1:2", histogram=True, dark=True)),
        (1.6, Style(scale="p1:99", histogram=True)),
        (1.3, Style(scale="layer")),
    ],
)
def test_narrow_bands_say_on_lines_of_their_own_what_has_no_room_beside_the_name(
    megapixels: float, style: Style
) -> None:
    picture = sheet.draw_sheet(LAYERS[:40], 0, CONTEXT, replace(style, megapixels=megapixels))

    caption = words(picture).replace(" | ", " ")
    assert f"of a layer, to fit {megapixels} megapixels" in caption
    texts = [label.text for label in picture.labels]
    assert sum(one.startswith("colors ") and ".." in one for one in texts) == 40
    assert sum(one[:2].strip("_").isdigit() and "_" in one for one in texts) == 40
    assert ("below a name: the distribution" in caption) == style.histogram
    assert area(picture) <= megapixels * 1_000_000
    assert_labels_apart(picture)


def test_each_page_counts_the_values_that_are_clipped_on_it() -> None:
    values = np.zeros((6, 6, 600), np.float32)
    values[0, :3] = 2
    layers = [spatial(values, address="a"), spatial(-values, address="b")]

    pages = list(sheet_pages(layers, CONTEXT, Style(channels="all", megapixels=1, scale="-1:1")))

    assert len(pages) > 1
    for page in pages:
        assert f"{3 * len(page.tiles):,} values clipped" in words(page)


def test_pages_of_a_dark_sheet_are_dark() -> None:
    light, dark = (sheet.draw_sheet([layer(0, (9, 9, 4))], 0, CONTEXT, Style(dark=dark)) for dark in (False, True))

    assert [one.pixels[0, 0].mean() > 128 for one in (light, dark)] == [True, False]
    assert light.tiles == dark.tiles
    assert_labels_apart(dark)


def test_a_range_of_an_earlier_run_is_that_of_its_layer() -> None:
    layers = [layer(0, (5, 5, 3)), layer(1, (5, 5, 3))]
    ranges = {layers[0].address: (-1.0, 1.0), layers[1].address: (0.0, 4.0)}

    picture = sheet.draw_sheet(layers, 0, CONTEXT, Style(scale="from:before/manifest.json", ranges=ranges))

    assert {(tile.address, tile.low, tile.high) for tile in picture.tiles} == {
        (address, *ends) for address, ends in ranges.items()
    }
    assert "(from:manifest.json), beside its name" in words(picture)


def test_reduced_layers_take_those_channels_that_they_have_and_count_what_is_drawn() -> None:
    layers = [layer(0, (5, 5, 3)), layer(1, (5, 5, 40)), layer(2, (5, 5, 1))]

    picture = sheet.draw_sheet(layers, 0, CONTEXT, Style(channels="1:6,39", reduce="max", histogram=True))

    assert [tile.address for tile in picture.tiles] == [layers[0].address, layers[1].address]
    assert "largest |value| (signed) of 2 of 3 filters" in words(picture)
    assert "largest |value| (signed) of 6 of 40 filters" in words(picture)
    assert "the distribution of the layer's reduced values" in words(picture)
    assert picture.numbers["layers"][layers[1].address]["distribution"]["total"] == 25


def test_counts_of_many_channels_are_never_cut() -> None:
    """On a narrow page, "8 of 1,152" once became "8 of 1"."""
    values = np.linspace(-1, 3, 5 * 5 * 1152).reshape(5, 5, 1152)
    for style in (Style(scale="layer"), Style(channels="0:2", scale="layer"), Style(channels="0:3"), Style(top=1)):
        texts = [label.text for label in sheet.draw_sheet([spatial(values)], 0, CONTEXT, style).labels]
        counts = [words for words in texts if re.match(r"\d[\d,]* of 1", words) and "layer" not in words]
        assert counts
        assert all(re.match(r"\d[\d,]* of 1,152\b", words) for words in counts), counts


def test_a_sheet_says_how_many_layers_it_left_out_and_why() -> None:
    context = replace(CONTEXT, left_out=(("left out (--layer '**' --sheet for all)", 24), ("that nothing draws", 1)))
    picture = sheet.draw_sheet([layer(0, (5, 5, 4))], 0, context, Style())
    texts = [label.text for label in picture.labels]
    assert "1 of 26 layers" in texts
    caption = next(words for words in texts if "colors of a tile" in words or "1 of 26 layers \N{MIDDLE DOT}" in words)
    assert "24 left out (--layer '**' --sheet for all)" in caption
    assert "1 that nothing draws" in " ".join(texts)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (("conv", "lstm"), (("that nothing draws", 1), ("left out (1 vector; --layer '**' --sheet for all)", 1))),
        (("dense",), (("not chosen", 3),)),
        (("conv", "dense", "lstm", "odd"), ()),
    ],
)
def test_reasons_why_layers_are_left_out(shown: tuple[str, ...], expected: tuple[tuple[str, int], ...]) -> None:
    axes = {
        "conv": ("batch", "row", "column", "channel"),
        "dense": ("batch", "unit"),
        "lstm": ("batch", "step", "unit"),
        "odd": (),
        "input": ("batch", "row", "column", "channel"),
    }
    layers = [
        LayerInfo(name, name, place, "InputLayer" if name == "input" else "Any", (None,) * len(one), "float32", 0, one)
        for place, (name, one) in enumerate(axes.items())
    ]
    assert sheet_layers.left_out(layers, set(shown)) == expected


@pytest.mark.parametrize("sizes", [[14] * 60, [*[40] * 20, *[4] * 60], [*[4] * 60, *[40] * 20], [4, 40] * 30])
def test_columns_of_a_sheet_are_about_equally_high(sizes: list[int]) -> None:
    layers = [layer(i, (size, size, 8)) for i, size in enumerate(sizes)]

    picture = sheet.draw_sheet(layers, 0, CONTEXT, Style())

    tiles: dict[str, list[tuple[int, int, int, int]]] = {}
    for tile in picture.tiles:
        tiles.setdefault(tile.address, []).append(tile.box)
    columns: dict[int, list[tuple[int, int]]] = {}
    for boxes in tiles.values():
        left = min(box[1] for box in boxes)
        columns.setdefault(left, []).append((min(box[0] for box in boxes), max(box[2] for box in boxes)))
    ends = [max(bottom for _, bottom in bands) for bands in columns.values()]
    steps = [after[0] - before[0] for bands in columns.values() for before, after in itertools.pairwise(bands)]
    assert len(columns) > 1
    assert max(ends) - min(ends) <= max(steps)


def test_layers_continue_on_pages_of_the_size_of_a_screen() -> None:
    layers = [layer(i, (28, 28, 32)) for i in range(40)]

    pages = list(sheet_pages(layers, CONTEXT, Style()))

    assert [page.numbers["page"] for page in pages] == [1, 2, 3, 4]
    assert all(page.size[0] <= 1200 and page.size[1] <= 1920 for page in pages)
    shown = [tile.address for page in pages for tile in page.tiles]
    assert list(dict.fromkeys(shown)) == [item.address for item in layers]
    assert all(shown.count(item.address) == 8 for item in layers)
    for page in pages:
        assert_labels_apart(page)


@pytest.mark.parametrize("count", range(11, 40, 3))
def test_columns_of_all_pages_are_about_equally_high(count: int) -> None:
    layers = [layer(i, (28, 28, 32)) for i in range(count)]

    pages = list(sheet_pages(layers, CONTEXT, Style()))

    shown = [len({tile.address for tile in page.tiles}) for page in pages]
    assert sum(shown) == count
    assert max(shown) - min(shown) <= 2, shown
    for page in pages:
        words = [label.text for label in page.labels]
        assert any(text.startswith(f"{count} layers, page") or text == f"{count} layers" for text in words)
        assert any(text.startswith(f"{count} layers \N{MIDDLE DOT}") for text in words)


def test_a_small_budget_makes_more_pages_and_none_for_a_single_layer_is_refused() -> None:
    layers = [layer(i, (28, 28, 32)) for i in range(6)]
    small = list(sheet_pages(layers, CONTEXT, Style(megapixels=0.4)))
    assert len(small) > 1
    assert all(area(page) <= 400_000 for page in small)
    with pytest.raises(LimitError, match=r"no layer of the sheet fits a page of 0\.01 megapixels"):
        list(sheet_pages(layers, CONTEXT, Style(megapixels=0.01)))


def test_a_sheet_has_a_color_bar_for_each_kind_of_limits() -> None:
    signed, positive = layer(0, (9, 9, 4)), spatial(np.abs(layer(1, (9, 9, 4)).values[0]), address="positive")
    (page,) = sheet_pages([signed, positive], CONTEXT, Style())
    words = [label.text for label in page.labels]
    assert words.count("+max") == words.count("max") == 1
    (page,) = sheet_pages([signed, positive], CONTEXT, Style(scale="-1:2"))
    assert [label.text for label in page.labels].count(f"{text.MINUS}1") == 1


def test_attention_and_its_scores_count_as_one_layer() -> None:
    scores = Activation(
        "attend@scores", "Any", np.full((1, 2, 5, 5), 0.2, np.float32), ("batch", "head", "query", "key")
    )
    output = Activation("attend", "Any", np.ones((1, 5, 6), np.float32), ("batch", "step", "unit"))
    (page,) = sheet_pages([output, scores], replace(CONTEXT, left_out=(("not chosen", 3),)), Style())
    assert "1 of 4 layers" in [label.text for label in page.labels]
    assert {tile.address for tile in page.tiles} == {"attend", "attend@scores"}


def sequence(steps: int, units: int, address: str) -> Activation:
    """Return random values ``(1, step, unit)``."""
    values = np.random.default_rng(units).normal(size=(1, steps, units)).astype(np.float32)
    return Activation(address, "LSTM", values, ("batch", "step", "unit"), mask=np.arange(steps)[None] < steps - 1)


@pytest.mark.parametrize(("steps", "way"), [(12, "down: step, across: unit"), (90, "down: unit, across: step")])
def test_the_sequences_of_a_sheet_have_one_orientation_and_fill_its_width(steps: int, way: str) -> None:
    layers = [sequence(steps, units, f"layer_{units}") for units in (7, 24, 48)]

    picture = sheet.draw_sheet(layers, 0, CONTEXT, Style())

    assert [label.text for label in picture.labels if "down: " in label.text] == [way] * 3
    widths = [tile.box[3] - tile.box[1] for tile in picture.tiles]
    assert min(widths[1:]) > 0.85 * max(widths)
    assert_labels_apart(picture)


@pytest.mark.parametrize(("steps", "written"), [(12, True), (41, False)])
def test_the_words_of_the_input_are_beside_their_steps(steps: int, written: bool) -> None:
    words = tuple(f"word{index}" for index in range(steps))

    picture = sheet.draw_sheet(
        [sequence(steps, units, f"layer_{units}") for units in (7, 24)], 0, replace(CONTEXT, steps=words), Style()
    )

    for tile in picture.tiles:
        top, left, bottom, _ = tile.box
        beside = [label for label in picture.labels if label.text in words and top <= label.box[0] < bottom]
        assert [label.text for label in beside] == (list(words) if written else [])
        assert all(label.box[3] < left for label in beside)
    assert_labels_apart(picture)


def test_a_strip_from_zero_has_the_color_bar_of_tiles() -> None:
    layers = [spatial(np.ones((4, 4, 3), np.float32) * [1, 2, 3]), vector(np.arange(9, dtype=np.float32))]

    picture = sheet.draw_sheet(layers, 0, CONTEXT, Style())

    assert [label.text for label in picture.labels].count("max") == 1


def test_a_range_that_does_not_begin_at_zero_is_named_in_the_color_bar() -> None:
    picture = sheet.draw_sheet(
        [vector(np.arange(1, 9, dtype=np.float32), address=name) for name in "ab"], 0, CONTEXT, Style(scale="p1:99")
    )

    assert {"lower limit", "upper limit"} <= {label.text for label in picture.labels}


def test_scores_of_attention_are_square() -> None:
    """Also with one head, where they have two axes like a sequence."""
    scores = Activation("scores", "Attention", np.ones((1, 6, 6), np.float32), ("batch", "query", "key"))

    picture = sheet.draw_sheet([scores, sequence(6, 24, "layer")], 0, CONTEXT, Style())

    top, left, bottom, right = next(tile.box for tile in picture.tiles if tile.address == "scores")
    assert bottom - top == right - left


def test_an_input_on_a_sheet_is_grey_and_has_channels() -> None:
    maps = np.random.default_rng(0).random((9, 9, 3), np.float32)

    picture = sheet.draw_sheet([replace(spatial(maps), kind="InputLayer")], 0, CONTEXT, Style())

    assert "3 of 3 channels" in words(picture)
    top, left, bottom, right = picture.tiles[0].box
    tile = picture.pixels[top:bottom, left:right]
    assert (tile == tile[..., :1]).all()
