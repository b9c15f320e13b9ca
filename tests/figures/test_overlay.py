"""Maps over the input: where each pixel's colour comes from, and that the colour bar is true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_helpers import CONTEXT, SPATIAL, assert_labels_apart, spatial, vector

from actviz.errors import LimitError, UsageError
from actviz.figures import colors, renderers, sheet, text
from actviz.figures.renderers import overlay_blend, prepared_maps, reduction
from actviz.records import Activation, Context, Geometry, Style

pytestmark = pytest.mark.filterwarnings("error")
OVER = Style(overlay=True)


def picture_of(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def placed(maps, offset, stride, size, **more) -> tuple[Activation, Context]:
    geometry = Geometry("image", size, offset, stride, (3, 3))
    picture = picture_of(*size)
    return replace(spatial(maps, **more), geometry=geometry), replace(
        CONTEXT, pictures={"image": picture}, thumbnail=picture
    )


def words(picture) -> str:
    return " | ".join(label.text for label in picture.labels)


def test_each_pixel_takes_the_value_that_it_is_nearest_to() -> None:
    """Of a valid 3-wide window over 6 pixels: values at 1, 2, 3, 4; nothing beside 0 and 5."""
    assert overlay_blend.nearest_indices(1, 1, 4, (6, 6)).tolist() == [-1, 0, 1, 2, 3, -1]


def test_pooling_gives_two_pixels_to_each_value() -> None:
    assert overlay_blend.nearest_indices(0.5, 2, 3, (6, 6)).tolist() == [0, 0, 1, 1, 2, 2]


def test_enlarged_half_pixels_have_their_place() -> None:
    assert overlay_blend.nearest_indices(0.5, 2, 3, (6, 12)).tolist() == [0] * 4 + [1] * 4 + [2] * 4


@given(
    offset=st.floats(-20, 20),
    stride=st.floats(0.25, 32),
    count=st.integers(1, 40),
    sizes=st.tuples(st.integers(1, 100), st.integers(1, 300)),
)
def test_no_other_value_is_nearer(offset: float, stride: float, count: int, sizes: tuple[int, int]) -> None:
    found = overlay_blend.nearest_indices(offset, stride, count, sizes)
    middles = (np.arange(sizes[1]) + 0.5) * sizes[0] / sizes[1] - 0.5
    distances = np.abs(middles[:, None] - (offset + stride * np.arange(count)))
    inside = found >= 0
    assert (distances.min(axis=1)[~inside] >= stride / 2 - 1e-6).all()
    assert (distances[inside, found[inside]] <= distances.min(axis=1)[inside] + 1e-6).all()


def test_a_tile_has_the_size_of_the_input_times_a_whole_number() -> None:
    activation, context = placed(np.random.default_rng(0).random((11, 13, 5)), (3.5, 3.5), (2, 2), (28, 31))
    picture = renderers.draw(activation, 0, context, OVER)
    heights = {(tile.box[2] - tile.box[0], tile.box[3] - tile.box[1]) for tile in picture.tiles}
    assert len(heights) == 1
    height, width = heights.pop()
    assert (height % 28, width % 31, height // 28) == (0, 0, width // 31)
    assert_labels_apart(picture)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("scale", ["filter", "layer", "0.2:0.6", "-0.5:0.5", "p5:95"])
def test_every_pixel_lies_between_the_two_halves_of_the_colour_bar(signed: bool, scale: str, dark: bool) -> None:
    maps = np.random.default_rng(1).random((9, 9, 2)) - 0.4 * signed
    activation, context = placed(maps, (0, 0), (1, 1), (9, 9), signed=signed)
    style = replace(OVER, scale=scale, zoom=1, dark=dark)
    picture = renderers.draw(activation, 0, context, style)
    centred = scale == "-0.5:0.5" or (signed and scale != "0.2:0.6")
    assert picture.numbers["colormap"] == colors.default_colormap(centred=centred, dark=dark)
    channels = np.moveaxis(maps, -1, 0)
    subject = prepared_maps.prepare(activation, channels, style, prepared_maps.scale_for(style, channels))
    steps = subject.steps()
    for tile in picture.tiles:
        over = [
            overlay_blend._blended_table(subject, grey).colors[steps[tile.channel]].astype(int)
            for grey in (overlay_blend.DARK, overlay_blend.LIGHT)
        ]
        top, left, bottom, right = tile.box
        found = picture.pixels[top:bottom, left:right].astype(int)
        assert (found >= np.minimum(*over) - 1).all()
        assert (found <= np.maximum(*over) + 1).all()


@pytest.mark.parametrize(
    ("scale", "clearest", "most_solid"),
    [
        ("0:2", [0], [255]),
        ("-2:2", [127, 128], [0, 255]),
        ("-1:3", [64], [255]),
        ("-3:-1", [255], [0]),
        ("-1e308:1e300", [255], [0]),
        ("0:5e-324", [0], [255]),
    ],
)
def test_values_are_the_more_solid_the_further_they_are_from_zero(
    scale: str, clearest: list[int], most_solid: list[int]
) -> None:
    maps = np.ones((1, 3, 3))
    style = Style(scale=scale)
    subject = prepared_maps.prepare(spatial(np.ones((3, 3, 1))), maps, style, prepared_maps.scale_for(style, maps))

    found = overlay_blend.opacities(subject)

    assert np.flatnonzero(np.isclose(found, found.min())).tolist() == clearest
    assert np.flatnonzero(np.isclose(found, found.max())).tolist() == most_solid
    assert 0 <= found.min() < found.max() <= 1


def test_beyond_the_map_a_dark_page_is_dim() -> None:
    activation, context = placed(np.ones((4, 4, 2)), (1, 1), (1, 1), (6, 6), signed=False)
    light, dark = (renderers.draw(activation, 0, context, replace(OVER, zoom=1, dark=dark)) for dark in (False, True))
    corners = [int(one.pixels[one.tiles[0].box[0], one.tiles[0].box[1], 0]) for one in (light, dark)]
    grey = int(overlay_blend.to_grey(context.pictures["image"])[0, 0])
    assert corners[1] < grey < corners[0]
    assert "dim: beyond the map" in words(dark)
    assert "pale" not in words(dark)


def test_zero_lets_the_picture_through_and_beyond_the_map_it_is_pale() -> None:
    activation, context = placed(np.zeros((4, 4, 2)) + np.array([0, 1.0]), (1, 1), (1, 1), (6, 6), signed=False)
    picture = renderers.draw(activation, 0, context, replace(OVER, zoom=1, channels="0,1", scale="0:1"))
    grey = overlay_blend.to_grey(context.pictures["image"])
    tile = picture.tiles[1]
    top, left, bottom, right = tile.box
    found = picture.pixels[top:bottom, left:right].astype(int)
    border = np.ones((6, 6), bool)
    border[1:5, 1:5] = False
    pale = (grey[border].astype(float) + overlay_blend._PALE) / 2
    assert np.abs(found[border] - pale[:, None]).max() <= 1
    assert "pale: beyond the map" in words(picture)
    clear = renderers.draw(
        replace(activation, values=activation.values * 0 + 1e-9), 0, context, replace(OVER, zoom=1, scale="0:1")
    )
    top, left, bottom, right = clear.tiles[0].box
    inner = clear.pixels[top + 1 : bottom - 1, left + 1 : right - 1].astype(int)
    assert np.abs(inner - grey[1:5, 1:5, None]).max() <= 1


def test_what_is_not_finite_keeps_its_own_colour() -> None:
    maps = np.ones((4, 4, 1))
    maps[1, 2, 0] = np.nan
    activation, context = placed(maps, (0, 0), (1, 1), (4, 4))
    picture = renderers.draw(activation, 0, context, replace(OVER, zoom=1))
    top, left = picture.tiles[0].box[:2]
    assert tuple(picture.pixels[top + 1, left + 2]) == colors.table("inferno").nonfinite_colors[0]


def test_the_figure_says_overlay_and_reduced() -> None:
    activation, context = placed(np.random.default_rng(0).random((4, 4, 3)), (1, 1), (2, 2), (8, 8))
    picture = renderers.draw(activation, 0, context, OVER)
    assert overlay_blend.OVERLAY_NOTE in words(picture)
    assert "reduced" not in words(picture)
    assert "one value every 2 × 2 pixels of the input, seeing 3 × 3" in words(picture)
    assert picture.numbers["reduced"].startswith("overlay")
    assert picture.numbers["invertible"] is False
    assert picture.numbers["overlay"]["aligned"] is True


def test_an_unknown_place_is_stretched_and_said() -> None:
    activation, context = placed(np.random.default_rng(0).random((4, 4, 3)), (1, 1), (2, 2), (8, 8))
    picture = renderers.draw(replace(activation, geometry=None), 0, context, OVER)
    assert "stretched over all of it" in words(picture)
    assert picture.numbers["overlay"]["aligned"] is False


def test_a_smaller_picture_than_was_fed_is_laid_under_all_the_same() -> None:
    activation, context = placed(np.random.default_rng(0).random((8, 8, 1)), (0, 0), (1, 1), (8, 8))
    small = replace(context, pictures={}, thumbnail=context.thumbnail[::2, ::2])
    picture = renderers.draw(activation, 0, small, replace(OVER, zoom=2))
    top, left, bottom, right = picture.tiles[0].box
    assert (bottom - top, right - left) == (8, 8)


@pytest.mark.parametrize(
    ("activation", "context", "said"),
    [
        (vector(np.arange(5.0)), CONTEXT, "no rows and columns"),
        (spatial(np.ones((3, 3, 2))), CONTEXT, "its input is not a picture"),
        (
            spatial(np.ones((3, 3, 2))),
            replace(CONTEXT, pictures={"a": picture_of(3, 3), "b": picture_of(4, 4)}),
            "several pictures",
        ),
    ],
)
def test_what_cannot_be_laid_over_says_why(activation, context, said) -> None:
    with pytest.raises(UsageError, match=said):
        renderers.draw(activation, 0, context, OVER)


def test_an_overlay_that_is_too_large_names_what_helps() -> None:
    activation, context = placed(np.ones((2, 2, 300), np.float32), (0, 0), (1, 1), (640, 640))
    with pytest.raises(LimitError, match="--reduce"):
        renderers.draw(activation, 0, context, OVER)


def test_a_sheet_of_overlays() -> None:
    first, context = placed(np.random.default_rng(0).random((40, 60, 9)), (0, 0), (1, 1), (40, 60), address="a")
    second = replace(spatial(np.random.default_rng(0).random((5, 5, 2)), address="b"), geometry=None)
    picture = sheet.draw_sheet([first, second], 0, context, OVER)
    sides = {(tile.box[2] - tile.box[0]) / (tile.box[3] - tile.box[1]) for tile in picture.tiles}
    assert all(abs(side - 2 / 3) < 0.02 for side in sides)
    assert overlay_blend.OVERLAY_NOTE in words(picture)


VALUES = np.random.default_rng(3).normal(size=(6, 5, 7))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", VALUES.mean(axis=2)),
        ("max", np.where(-VALUES.min(axis=2) > VALUES.max(axis=2), VALUES.min(axis=2), VALUES.max(axis=2))),
        ("l2", np.sqrt((VALUES**2).sum(axis=2))),
    ],
)
def test_reductions_are_those_of_numpy(how: str, expected: np.ndarray) -> None:
    one, said = reduction.reduce_channels(spatial(VALUES), 0, Style(reduce=how))
    np.testing.assert_allclose(one.values[0], expected)
    assert one.axes == ("batch", "row", "column")
    assert said.endswith("of 7 filters")


def test_channels_first_and_chosen_channels_are_reduced_alike() -> None:
    first = Activation("conv", "Conv2D", np.moveaxis(VALUES, 2, 0)[None], ("batch", "channel", "row", "column"))
    style = Style(reduce="mean", channels="1:6", sort="max", top=2)
    mine, said = reduction.reduce_channels(first, 0, style)
    strongest = sorted(range(1, 6), key=lambda channel: -np.abs(VALUES[..., channel]).max())[:2]
    np.testing.assert_allclose(mine.values[0], VALUES[..., strongest].mean(axis=2))
    assert said == "mean of 2 of 7 filters, strongest by maximum |value| of the 5 chosen"


def test_a_reduced_entry_of_a_batch_keeps_its_own_mask() -> None:
    axes = ("batch", "step", "row", "column", "channel")
    mask = np.array([[True, True, True], [True, False, False]])
    values = np.random.default_rng(0).random((2, 3, 4, 4, 5))
    one, _ = reduction.reduce_channels(
        Activation("film", "ConvLSTM2D", values, axes, mask=mask), 1, Style(reduce="max")
    )
    assert one.mask is not None
    assert one.mask.tolist() == [[True, False, False]]


def test_the_distribution_of_a_reduced_figure_is_that_of_what_is_drawn_and_says_so() -> None:
    activation, context = placed(VALUES, (0, 0), (1, 1), (6, 5))
    titles = {
        reduce: words(renderers.draw(activation, 0, context, replace(OVER, histogram=True, reduce=reduce)))
        for reduce in (None, "mean")
    }
    assert "distribution of the layer's 210 values" in titles[None]
    assert "distribution of the layer's 30 reduced values" in titles["mean"]


@pytest.mark.parametrize("factor", [1e200, 1e-200, 0.0])
def test_huge_and_tiny_values_are_reduced_without_warnings(factor: float) -> None:
    one, _ = reduction.reduce_channels(spatial(VALUES * factor), 0, Style(reduce="l2"))
    np.testing.assert_allclose(one.values[0], np.sqrt((VALUES**2).sum(axis=2)) * factor)


@pytest.mark.parametrize(
    ("axes", "shape"), [(SPATIAL, (1, 6, 5, 4)), (("batch", "step", "row", "column", "channel"), (1, 3, 4, 4, 5))]
)
def test_a_reduced_figure_says_so(axes, shape) -> None:
    values = np.random.default_rng(0).random(shape)
    picture = renderers.draw(Activation("conv", "Conv", values, axes), 0, CONTEXT, Style(reduce="max"))
    assert f"reduced: maximum of {shape[-1]} filters" in words(picture)
    assert picture.numbers["reduced"] == f"maximum of {shape[-1]} filters"
    assert_labels_apart(picture)


def test_what_has_no_channels_is_not_reduced() -> None:
    with pytest.raises(UsageError, match="no channels"):
        renderers.draw(vector(np.arange(4.0)), 0, CONTEXT, Style(reduce="mean"))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_channels_of_a_fed_picture_are_grey_and_beside_it(channels: int) -> None:
    fed = picture_of(12, 10)
    maps = fed[:, :, :channels] / 255
    activation = Activation(
        "image", "InputLayer", maps[None], SPATIAL, geometry=Geometry("image", (12, 10), (0, 0), (1, 1), (1, 1))
    )
    picture = renderers.draw(activation, 0, replace(CONTEXT, pictures={"image": fed}), Style(zoom=3))
    top, left = picture.tiles[0].box[:2]
    assert picture.numbers["colormap"] == "gray"
    assert len(picture.tiles) == channels
    assert ("as fed" in words(picture)) == (channels == 3)
    if channels == 3:
        front = picture.pixels[top : top + 36, 29 : 29 + 30]
        np.testing.assert_array_equal(front, fed.repeat(3, axis=0).repeat(3, axis=1))
    assert left >= 29
    assert_labels_apart(picture)


@pytest.mark.parametrize(("axis", "given", "count"), [("step", 4, 4), ("plane", 6, 3)])
@pytest.mark.parametrize("bare", [False, True])
def test_frames_are_laid_over_the_frames_of_the_input(axis: str, given: int, count: int, bare: bool) -> None:
    rng = np.random.default_rng(2)
    pictures = rng.integers(0, 255, (given, 6, 8, 3), dtype=np.uint8)
    values = rng.random((count, 6, 8, 2))
    values[0, :, :, 0] = 0
    one = Activation("film", "Conv3D", values[None], ("batch", axis, "row", "column", "channel"))
    context = Context("m.h5", "clip.npy", "", pictures={"clip": pictures})

    picture = renderers.draw(one, 0, context, replace(OVER, bare=bare))

    tiles = [tile for tile in picture.tiles if tile.channel == 0]
    assert [tile.indices for tile in tiles] == [(0, frame) for frame in range(count)]
    assert picture.numbers["invertible"] is False
    assert picture.numbers["reduced"].startswith("overlay")
    top, left, bottom, right = tiles[0].box
    factor = (bottom - top) // 6
    assert (bottom - top, right - left) == (6 * factor, 8 * factor)
    # Where all values are 0 the frame of the input shows through, in grey.
    expected = overlay_blend.to_grey(pictures[int(0.5 * given / count)])
    assert (picture.pixels[top:bottom:factor, left:right:factor] == expected[..., None]).all()
    if not bare:
        number = f"each {axis} over that of the input with its number"
        share = f"each {axis} over the frame at the same share of the"
        assert (number if given == count else share) in words(picture).replace(" | ", " ")


def test_a_projection_is_laid_over_the_mean_of_the_frames() -> None:
    rng = np.random.default_rng(2)
    pictures = rng.integers(0, 255, (3, 6, 8, 3), dtype=np.uint8)
    one = Activation("f", "K", rng.normal(size=(1, 3, 6, 8, 2)), ("batch", "step", "row", "column", "channel"))
    context = Context("m.h5", "clip.npy", "", pictures={"clip": pictures})
    said = words(renderers.draw(one, 0, context, replace(OVER, project="max")))
    assert "over the mean of the 3 frames of the input" in said
    assert "largest |value| (signed) over 3 steps" in said
    assert "over the mean of the 3 frames" in words(
        renderers.draw(
            Activation("last", "ConvLSTM2D", one.values[:, 0], ("batch", "row", "column", "channel")), 0, context, OVER
        )
    )


def test_an_exchange_of_rows_and_columns_is_said() -> None:
    values = np.random.default_rng(0).random((1, 50, 4, 2))
    turned = Activation("t", "Permute", values, ("batch", "column", "row", "channel"))
    picture = renderers.draw(turned, 0, Context("m", "x", ""), Style())
    assert f"drawn with rows down: 4 {text.TIMES} 50" in words(picture)
    assert "drawn with rows down" in words(sheet.draw_sheet([turned], 0, Context("m", "x", ""), Style()))
    plain = replace(turned, axes=("batch", "row", "column", "channel"))
    assert "rows down" not in words(renderers.draw(plain, 0, Context("m", "x", ""), Style()))
