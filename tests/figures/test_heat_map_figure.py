"""Figures of heat maps: where values lie on the input, what the words say and what is recorded."""

import re
from dataclasses import replace

import numpy as np
import pytest

from actviz.errors import UsageError
from actviz.figures import heat_map_words
from actviz.figures.heat_map_figure import draw_heat_maps
from actviz.records import Context, Faithfulness, Geometry, HeatMap, Style

LABELS = ("zero", "one", "two")
PICTURE = np.zeros((8, 8, 3), np.uint8)
CONTEXT = Context("model.h5", "a.png", "8 x 8 x 3, 0..1", PICTURE, LABELS)
VALUES = np.zeros((2, 2), np.float32)
VALUES[0, 1] = 2
MAP = HeatMap(
    method="gradcam", layer="conv", target="dense", unit=1, units=3, score=4.0, output=0.75, rank=1,
    top=((1, 0.75), (0, 0.2), (2, 0.05)), stripped="softmax", values=VALUES, axes=("row", "column"),
    geometry=Geometry("image", (8, 8), (2.5, 2.5), (2, 2), (5, 5)), input="image",
)  # fmt: skip
CHECK = Faithfulness(0.75, (0.1,) * 10, (0.6,) * 10, (0.3,) * 10, (0.4,) * 10)


def words_of(*maps, style=None, context=CONTEXT):
    picture = draw_heat_maps(maps, context, style or Style())
    return picture, " ".join(label.text for label in picture.labels)


def test_the_figure_says_method_layer_target_probability_rank_and_other_classes():
    _, words = words_of(MAP)
    for expected in (
        "dense: 1 (one)", "gradcam at conv", "2 × 2", "input as fed", "probability 0.75, rank 1 of 3, score 4",
        "highest probabilities of dense: 1 (one): 0.75, 0 (zero): 0.2, 2 (two): 0.05",
        "score: the value before the softmax", "one value every 2 × 2 pixels of the input, seeing 5 × 5",
    ):  # fmt: skip
        assert expected in words
    assert "deletion" not in words


def test_a_value_lies_on_the_pixels_nearest_to_its_receptive_field():
    picture, _ = words_of(MAP, style=Style(zoom=10))
    (tile,) = picture.tiles
    top, left, bottom, right = tile.box
    assert (bottom - top, right - left) == (80, 80)
    pixels = picture.pixels[top:bottom, left:right].reshape(8, 10, 8, 10, 3)[:, 5, :, 5].astype(int)
    # In the pixels 2 and 3 of each axis lies the first value, in 4 and 5 the second; the rest is beyond the map.
    colorful = np.ptp(pixels, axis=-1) > 0
    expected = np.zeros((8, 8), bool)
    expected[2:4, 4:6] = True
    np.testing.assert_array_equal(colorful, expected)


def test_several_targets_and_methods_make_a_row_for_each_target():
    others = [replace(MAP, method="occlusion", values=-np.eye(8, dtype=np.float32), geometry=None)]
    others += [replace(item, unit=2, rank=3) for item in (MAP, others[0])]
    picture, words = words_of(MAP, *others)
    boxes = [tile.box for tile in picture.tiles]
    assert boxes[0][0] == boxes[1][0] < boxes[2][0] == boxes[3][0]
    assert boxes[0][1] == boxes[2][1] < boxes[1][1] == boxes[3][1]
    assert "2 (two): occlusion" in words
    assert "patches of 1 × 1" in words


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"values": np.zeros((2, 2), np.float32)}, "flat map: 0 everywhere"),
        ({"values": np.full((2, 2), 3, np.float32)}, "flat map: the same value everywhere"),
        ({"values": np.array([[-1, -2], [-1, 0]], np.float32)}, "all negative"),
        ({"values": np.full((2, 2), np.nan, np.float32)}, "no finite value"),
        ({"rank": 6, "units": 10}, "not in the top 5"),
    ],
)
def test_what_is_unusual_is_said(changes, expected):
    item = replace(MAP, **changes)
    _, words = words_of(item)
    assert expected in words
    assert any(expected in line for line in heat_map_words.warnings(item))
    assert not heat_map_words.warnings(MAP)


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        (CHECK, "more faithful than a random map"),
        (replace(CHECK, random_insertion=(0.9,) * 10), "better than a random map in one of the two"),
        (
            replace(CHECK, random_insertion=(0.9,) * 10, random_deletion=(0.0,) * 10),
            "not more faithful than a random map",
        ),
    ],
)
def test_faithfulness_is_said_with_its_limit(check, verdict):
    picture, words = words_of(replace(MAP, check=check))
    assert f"(random {'0' if check.random_deletion[0] == 0 else '0.3'})" in words
    assert re.search(rf"insertion 0.6 \(random 0.[49]\) {verdict} ", words + " ")
    assert heat_map_words.LIMITS in words
    assert "deletion 0.1 (random" in words
    assert picture.numbers["maps"][0]["faithfulness"]["insertion"] == pytest.approx(0.6)


def test_an_output_that_does_not_change_says_nothing_about_a_map():
    check = Faithfulness(0.25, (0.2501,) * 10, (0.2502,) * 10, (0.2503,) * 10, (0.25,) * 10)
    _, words = words_of(replace(MAP, check=check))
    assert "the output stays within 1%, whatever is deleted" in words
    assert "faithful than" not in words


def test_a_map_whose_zero_means_nothing_is_colored_from_its_minimum_to_its_maximum():
    values = np.array([[5, 6], [7, 8]], np.float32)
    picture, said = words_of(replace(MAP, method="rise", values=values), replace(MAP, values=values))
    assert [(tile.low, tile.high) for tile in picture.tiles] == [(5, 8), (0, 8)]
    assert "colored from the lowest to the highest" in said


def test_methods_are_named_once_for_each_layer_and_long_titles_are_whole():
    others = [replace(MAP, method=name, unit=unit) for unit in (1, 2) for name in ("gradcam", "integrated-gradients")]
    _, words = words_of(*others)
    assert "gradcam, integrated-gradients at conv" in words
    assert "2 (two): integrated-gradients" in words


def test_the_box_is_outlined_and_its_share_said():
    picture, words = words_of(replace(MAP, box=(0, 0, 4, 4), share=0.25), style=Style(zoom=10))
    top, left, _, _ = picture.tiles[0].box
    assert picture.pixels[top, left + 20].tolist() == [255, 255, 255]
    assert picture.pixels[top + 39, left + 20].tolist() == [255, 255, 255]
    assert "25% of the positive values in the box" in words
    assert picture.numbers["maps"][0]["share"] == 0.25


def test_other_inputs_than_pictures_and_sequences_are_refused():
    volume = replace(MAP, axes=("plane", "row", "column"), values=VALUES[None])
    with pytest.raises(UsageError, match=r"the axes \(plane, row, column\).*extract --explain gradcam"):
        draw_heat_maps([volume], replace(CONTEXT, thumbnail=None), Style())


STEPS = replace(MAP, axes=("step",), values=np.array([0, 4, -2, 1], np.float32), geometry=None, check=CHECK)


@pytest.mark.parametrize("dark", [False, True])
def test_each_word_lies_on_the_color_of_its_value_in_readable_ink(dark):
    words = ("the", "cat", "sat", "down")
    picture, said = words_of(STEPS, context=replace(CONTEXT, thumbnail=None, steps=words), style=Style(dark=dark))
    grounds = []
    for word in words:
        (box,) = [label.box for label in picture.labels if label.text == word]
        pixels = picture.pixels[box[0] : box[2], box[1] : box[3]].reshape(-1, 3).astype(int)
        ground = picture.pixels[box[0] - 1, box[1] - 2].astype(int)
        assert np.abs(pixels - ground).sum(axis=1).max() > 250
        grounds.append(tuple(ground.tolist()))
    assert len(set(grounds)) == 4
    (tile,) = picture.tiles
    assert (tile.low, tile.high) == (-4, 4)
    assert "1 (one)" in said
    assert "more faithful than a random map" in said


def test_many_words_flow_in_lines_and_steps_without_words_have_numbers():
    many = replace(STEPS, values=np.arange(300, dtype=np.float32))
    picture, said = words_of(many, context=replace(CONTEXT, thumbnail=None))
    assert {"0", "150", "299"} <= set(said.split())
    assert all(label.box[3] <= picture.size[1] for label in picture.labels)


def test_a_signal_has_its_curve_above_the_strip():
    signal = np.sin(np.arange(500) / 20).astype(np.float32)
    context = replace(CONTEXT, thumbnail=None, signal=signal)
    picture, _ = words_of(replace(STEPS, values=np.arange(4, dtype=np.float32)), context=context)
    top, left, bottom, right = picture.tiles[0].box
    strip = picture.pixels[bottom - 5, left:right]
    assert len(np.unique(strip, axis=0)) == 4
    ink = (picture.pixels[top : bottom - 30, left:right] == 34).all(axis=2)
    assert ink.any(axis=0).all()


def test_no_text_leaves_the_page_or_overlaps():
    picture, _ = words_of(*[replace(MAP, check=CHECK, unit=unit) for unit in range(3)], style=Style(font_scale=2))
    rows, columns = picture.size
    boxes = [label.box for label in picture.labels]
    assert all(0 <= top < bottom <= rows and 0 <= left < right <= columns for top, left, bottom, right in boxes)
    for index, (top, left, bottom, right) in enumerate(boxes):
        for other in boxes[index + 1 :]:
            assert bottom <= other[0] or other[2] <= top or right <= other[1] or other[3] <= left


def test_frames_of_a_map_lie_over_those_of_the_input_on_one_scale():
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    frames[2] = 255
    values = np.zeros((2, 2, 2), np.float32)
    values[1] = 3
    film = replace(MAP, axes=("step", "row", "column"), values=values, geometry=None)
    picture, said = words_of(film, context=replace(CONTEXT, pictures={"image": frames}), style=Style(zoom=5))
    first, second = picture.tiles
    assert (first.high, second.high) == (3, 3)
    assert first.box[0] == second.box[0]
    assert first.box[3] < second.box[1]
    # The second frame of the map lies over the fourth of the input, the first over the second: both are black.
    grey = picture.pixels[first.box[0] + 2, first.box[1] + 2]
    assert len(set(grey.tolist())) == 1
    assert len(set(picture.pixels[second.box[0] + 2, second.box[1] + 2].tolist())) > 1
    assert "each step over that of the 4 of the input at the same share" in said
    assert "one scale for all steps of a map" in said


def test_the_residual_of_integrated_gradients_is_printed():
    item = replace(MAP, method="integrated-gradients", difference=2.5)
    picture, said = words_of(item)
    assert "sum 2, residual 0.5" in said
    assert picture.numbers["maps"][0]["residual"] == pytest.approx(0.5)
