"""Many layers on one page."""

from __future__ import annotations

import numpy as np
import pytest
from picture_helpers import CONTEXT, assert_labels_apart, spatial, vector

from actviz import sheet
from actviz.errors import LimitError, UsageError
from actviz.records import Activation, Style

pytestmark = pytest.mark.filterwarnings("error")


def layer(number: int, size: tuple[int, int, int], *, length: int = 5) -> Activation:
    """Return random maps with the number in the layer's address."""
    values = np.random.default_rng(number).normal(size=size).astype(np.float32)
    return spatial(values, address=f"{number}_" + "n" * length)


@pytest.mark.parametrize("count", [1, 5, 60])
@pytest.mark.parametrize("length", [1, 200])
def test_labels_stay_apart_and_the_page_in_its_budget(count: int, length: int) -> None:
    shapes = [(28, 28, 32), (7, 7, 3), (1, 1, 64), (2, 90, 8), (120, 3, 16)]
    layers = [layer(i, shapes[i % 5], length=length) for i in range(count)]
    layers.append(vector(np.arange(3000, dtype=np.float32), address="d" * length))

    picture = sheet.draw_sheet(layers, 0, CONTEXT, Style())

    assert_labels_apart(picture)
    assert picture.pixels.shape[0] * picture.pixels.shape[1] <= 16_000_000
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
