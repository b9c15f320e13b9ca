"""Many layers on one page."""

from __future__ import annotations

import numpy as np
import pytest
from picture_helpers import CONTEXT, assert_labels_apart, spatial, vector

from actviz import sheet, text
from actviz.errors import LimitError, UsageError
from actviz.records import Activation, Style

pytestmark = pytest.mark.filterwarnings("error")


def layer(number: int, size: tuple[int, int, int], *, length: int = 5) -> Activation:
    """Return random maps with the number in the layer's address."""
    values = np.random.default_rng(number).normal(size=size).astype(np.float32)
    return spatial(values, address=f"{number}_" + "n" * length)


@pytest.mark.parametrize("count", [1, 5, 60])
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
    assert picture.pixels.shape[0] * picture.pixels.shape[1] <= sheet.BUDGET
    assert {tile.address for tile in picture.tiles} == {one.address for one in layers}
    assert picture.numbers["reduced"] is True


def test_the_strongest_channels_are_shown_and_said() -> None:
    values = np.ones((4, 4, 64), np.float32) * np.arange(64)
    values[0, 0] = 0

    picture = sheet.draw_sheet([spatial(values)], 0, CONTEXT, Style())

    assert [tile.channel for tile in picture.tiles] == list(range(63, 55, -1))
    assert any("8 of 64 filters, strongest by mean" in label.text for label in picture.labels)


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
    layers = [layer(i, (3, 3, 8)) for i in range(900)]

    with pytest.raises(LimitError, match="--layer"):
        sheet.draw_sheet(layers, 0, CONTEXT, Style())


def test_a_range_that_tiles_share_stands_beside_the_name_of_the_layer() -> None:
    values = np.linspace(-1, 3, 5 * 5 * 4).reshape(5, 5, 4)

    texts = {
        scale: " ".join(
            label.text for label in sheet.draw_sheet([spatial(values)], 0, CONTEXT, Style(scale=scale)).labels
        )
        for scale in ("auto", "layer", "0:2", "p0:100")
    }

    assert "colours" not in texts["auto"].split("1 of 1 layers")[0]
    assert f"colours {text.MINUS}3..3" in texts["layer"]
    assert "colours 0..2" in texts["0:2"]
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
