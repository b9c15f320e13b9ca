"""Padding is never the strongest place of a map: with --resize pad, orders and strengths are those of the image."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from picture_helpers import CONTEXT
from PIL import Image

from actviz.activations.metadata import ActivationMetadata, SavedInput
from actviz.activations.metadata_json import from_json, to_json
from actviz.batch.figure_task import FigureTask
from actviz.figures import renderers
from actviz.figures.renderers import padding, reduction
from actviz.figures.sheet import draw_sheet
from actviz.records import Activation, Geometry, Style
from actviz.report import report_figures
from actviz.system import serialization

pytestmark = pytest.mark.usefixtures("warm_worker")

AXES = ("batch", "row", "column", "channel")
BOX = (6, 0, 18, 24)
PADDED = dataclasses.replace(CONTEXT, padding={"image": BOX})
FAR = Geometry("image", (24, 24), (0.5, 0.5), (2.0, 2.0), (4.0, 4.0))


def layer(geometry=FAR):
    """Return 12 x 12 maps: of channel 0 the padding is strongest, of channel 1 a place in the image."""
    values = np.full((1, 12, 12, 3), 0.1, np.float32)
    values[0, 0, :, 0] = 9
    values[0, 11, :, 0] = 9
    values[0, 5, 5, 1] = 3
    values[0, 2:10, :, 1] += 0.5
    return Activation("conv", "Conv2D", values, AXES, False, "w", geometry=geometry)


def words(picture):
    return " ".join(label.text for label in picture.labels)


@pytest.mark.parametrize(
    ("offset", "stride", "box", "expected"),
    [(0.5, 2.0, BOX, (slice(3, 9), slice(0, 12))), (0.0, 1.0, (0, 5, 24, 7), (slice(0, 12), slice(5, 7))),
     (5.5, 2.0, BOX, (slice(0, 7), slice(0, 10))), (0.0, 1.0, (20, 0, 24, 24), None)],
)  # fmt: skip
def test_what_is_centred_in_the_image(offset, stride, box, expected):
    place = Geometry("image", (24, 24), (offset, offset), (stride, stride), (4.0, 4.0))
    context = dataclasses.replace(CONTEXT, padding={"image": box})
    found = padding.image_region(layer(place), context, (12, 12))
    if expected is None:
        assert found is None
        return
    for axis, part in enumerate(found):
        centres = offset + np.arange(12) * stride
        assert np.array_equal(
            np.arange(12)[part], np.flatnonzero((centres > box[axis] - 0.6) & (centres < box[axis + 2] - 0.4))
        )


@pytest.mark.parametrize("measure", ["max", "mean", "std", "l2"])
def test_the_order_is_by_what_is_in_the_image(measure):
    style = Style(top=1, sort=measure)
    chosen = [tile.channel for tile in renderers.draw(layer(), 0, CONTEXT, style).tiles]
    assert chosen == [0], "control: with nothing padded, what is there counts"
    picture = renderers.draw(layer(), 0, PADDED, style)
    assert [tile.channel for tile in picture.tiles] == [1]
    assert padding.LEFT_OUT in words(picture)
    assert picture.numbers["padding"] == padding.LEFT_OUT
    sheet = draw_sheet([layer()], 0, PADDED, Style(top=1, sort=measure))
    assert [tile.channel for tile in sheet.tiles] == [1]
    assert padding.LEFT_OUT in words(sheet)


def test_colours_still_cover_all_values():
    before, after = (renderers.draw(layer(), 0, context, Style()) for context in (CONTEXT, PADDED))
    assert [(tile.low, tile.high) for tile in after.tiles] == [(tile.low, tile.high) for tile in before.tiles]
    assert after.numbers["max"] == before.numbers["max"] == 9
    assert "padding" not in words(before)


def test_lines_below_tiles_are_by_the_image():
    picture = renderers.draw(layer(), 0, PADDED, Style(zoom=4))
    _, left, bottom, right = picture.tiles[0].box
    line = picture.pixels[bottom + 3, left:right]
    other = picture.pixels[picture.tiles[1].box[2] + 3, picture.tiles[1].box[1] : picture.tiles[1].box[3]]
    assert len(np.unique(other, axis=0)) == 1, "the strongest has a full line"
    assert len(np.unique(line, axis=0)) == 2, "the channel of the padding has a short one"


def test_an_overlay_and_a_reduction_too():
    pictures = {"image": np.full((24, 24, 3), 90, np.uint8)}
    context = dataclasses.replace(PADDED, pictures=pictures)
    picture = renderers.draw(layer(), 0, context, Style(overlay=True, top=1))
    assert [tile.channel for tile in picture.tiles] == [1]
    assert padding.LEFT_OUT in words(picture)
    one, _ = reduction.reduce_channels(layer(), 0, Style(reduce="max", top=1, sort="max"), PADDED)
    np.testing.assert_array_equal(one.values[0], layer().values[0, :, :, 1])


def test_where_the_place_is_not_known_the_caption_says_so():
    picture = renderers.draw(layer(None), 0, PADDED, Style(top=1))
    assert [tile.channel for tile in picture.tiles] == [0]
    assert padding.NOT_KNOWN in words(picture)
    film = Activation("film", "ConvLSTM2D", layer().values[:, None], ("batch", "step", *AXES[1:]))
    assert padding.NOT_KNOWN in words(renderers.draw(film, 0, PADDED, Style()))
    vector = Activation("scores", "Dense", np.ones((1, 4), np.float32), ("batch", "unit"))
    assert "padding" not in words(renderers.draw(vector, 0, PADDED, Style()))


def test_another_input_that_was_not_padded():
    other = dataclasses.replace(FAR, input="other")
    assert "padding" not in words(renderers.draw(layer(other), 0, PADDED, Style(top=1)))


def test_the_order_of_a_report():
    kept, left = (
        report_figures.figure_of(layer(), 0, report_figures.ChannelRequest(10_000, padding=box))
        for box in ({}, {"image": BOX})
    )
    assert report_figures.order_of(kept)[0] == 0
    assert report_figures.order_of(left)[0] == 1


def test_helpers_and_saved_activations_keep_it():
    task = FigureTask("conv", {"conv": layer()}, 0, PADDED, {})
    content, arrays = serialization.encode(task)
    assert serialization.decode(content, FigureTask, arrays).context.padding == PADDED.padding
    description = ActivationMetadata("m.h5", samples=(SavedInput("a.png", padding={"image": BOX}), SavedInput("b.png")))
    assert from_json(to_json(description), "a.npz").samples == description.samples


@pytest.mark.slow
def test_the_command_draws_extracts_and_reports_it(actviz, samples, tmp_path):
    Image.new("L", (56, 28), 0).save(tmp_path / "wide.png")
    done = actviz(
        "show", samples / "digits_cnn.h5", "wide.png", "-l", "conv", "--resize", "pad", "--top", "3", "-o", "a.png"
    )
    assert done.code == 0, done.err
    assert "stretched" not in done.err
    with Image.open(tmp_path / "a.png") as image:
        assert json.loads(image.text["actviz"])["numbers"]["padding"] == padding.LEFT_OUT
    done = actviz("extract", samples / "digits_cnn.h5", "wide.png", "-l", "conv", "--resize", "pad", "-o", "a.npz")
    assert done.code == 0, done.err
    done = actviz("render", "a.npz", "-l", "conv", "--top", "3", "-o", "b.png")
    assert done.code == 0, done.err
    assert (tmp_path / "a.png").stat().st_size > 0
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "b.png") as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    done = actviz("report", samples / "digits_cnn.h5", "wide.png", "--resize", "pad", "-o", "r.html")
    assert done.code == 0, done.err
    assert padding.LEFT_OUT in (tmp_path / "r.html").read_text()
    done = actviz("show", samples / "digits_cnn.h5", "wide.png", "-l", "conv", "-o", "c.png")
    assert "wide.png: stretched 2 : 1 to the size of the input" in done.err
