"""The channels of a layer as a few parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from picture_helpers import CONTEXT, assert_labels_apart, spatial, vector

from actviz.errors import UsageError
from actviz.figures import renderers, sheet
from actviz.records import Style

PARTS = Style(reduce="nmf:2")


def two_parts() -> np.ndarray:
    """Return maps of 10 x 12 of which filters 0..3 are strong on the left and 4..7 on the right, half as strong."""
    values = np.zeros((10, 12, 8), np.float32)
    values[:, :6, :4] = [4, 3, 2, 1]
    values[:, 6:, 4:] = [0.5, 1, 1.5, 2]
    return values


def test_parts_are_drawn_over_the_input_with_their_strongest_filters() -> None:
    thumbnail = np.full((20, 24, 3), 128, np.uint8)
    picture = renderers.draw(spatial(two_parts()), 0, replace(CONTEXT, thumbnail=thumbnail), PARTS)

    assert_labels_apart(picture)
    assert [tile.channel for tile in picture.tiles] == [0, 1]
    words = [label.text for label in picture.labels]
    assert words.index("filters 0, 1, 2, 3") < words.index("filters 7, 6, 5, 4")
    assert "hold 100.0% of the energy" in " ".join(words)
    assert picture.numbers["energy"] == pytest.approx(1)
    assert picture.numbers["parts"] == [{"filters": [0, 1, 2, 3]}, {"filters": [7, 6, 5, 4]}]
    first, second = (picture.pixels[tile.box[0] : tile.box[2], tile.box[1] : tile.box[3]] for tile in picture.tiles)
    half = first.shape[1] // 2
    assert first[:, : half - 1].min(axis=(0, 1)).max() > 200
    assert first[:, half + 1 :].max() == 0
    assert second[:, : half - 1].max() == 0
    left, right = picture.tiles[0].box[0] + 100, 200
    blue, orange = picture.pixels[left, right].astype(int), picture.pixels[left, 600].astype(int)
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]


def test_an_input_that_is_no_picture_has_a_plain_ground() -> None:
    for dark in (True, False):
        picture = renderers.draw(spatial(two_parts()), 0, CONTEXT, replace(PARTS, dark=dark))
        assert_labels_apart(picture)
        assert picture.numbers["reduced"] == "2 parts of 8 filters"


def test_chosen_filters_are_called_by_their_numbers() -> None:
    picture = renderers.draw(spatial(two_parts()), 0, CONTEXT, replace(PARTS, channels="2:6"))
    assert picture.numbers["channels"] == 4
    assert "filters 2, 3" in [label.text for label in picture.labels]


@pytest.mark.parametrize(
    ("values", "style", "words"),
    [
        (-two_parts(), PARTS, "has negative values; --reduce nmf needs values of 0 or more"),
        (two_parts() * np.nan, PARTS, "has non-finite values"),
        (two_parts() * 0, PARTS, "is 0 everywhere on this input"),
        (two_parts(), Style(reduce="nmf:9"), "has at most 8 parts; use nmf:2 to nmf:8"),
        (two_parts(), Style(reduce="nmf"), "use nmf:2 to nmf:8"),
        (two_parts(), replace(PARTS, scale="layer"), "leave out --scale"),
    ],
)
def test_what_has_no_parts_is_refused(values: np.ndarray, style: Style, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        renderers.draw(spatial(values), 0, CONTEXT, style)


def test_layers_without_maps_and_sheets_have_no_parts() -> None:
    with pytest.raises(UsageError, match="has no maps for each channel"):
        renderers.draw(vector(np.ones(5, np.float32)), 0, CONTEXT, PARTS)
    with pytest.raises(UsageError, match="draws a figure of its own for each layer; name layers with --layer"):
        sheet.draw_sheet([spatial(two_parts())], 0, CONTEXT, PARTS)
