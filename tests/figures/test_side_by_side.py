"""The outputs of one layer of two models side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from picture_helpers import CONTEXT, assert_labels_apart, spatial

from actviz.figures import colors, text
from actviz.figures.side_by_side import LayerPair, draw_side_by_side

if TYPE_CHECKING:
    from actviz.records import Picture

VALUES = np.abs(np.random.default_rng(0).normal(size=(6, 7, 5))).astype(np.float32)


def draw(ours: np.ndarray, theirs: np.ndarray) -> tuple[Picture, list[str]]:
    picture = draw_side_by_side(LayerPair(spatial(ours), spatial(theirs), ("a.keras", "b.keras")), CONTEXT)
    assert_labels_apart(picture)
    return picture, [label.text for label in picture.labels]


def has_colors(picture: Picture, name: str) -> bool:
    """Return True if the strongest color of a colormap occurs outside its color bar."""
    last = colors.table(name).colors[-1]
    return int((picture.pixels == last).all(axis=2).sum()) > 100


def test_layers_without_negative_values_have_a_scale_from_0_and_the_difference_one_around_it() -> None:
    positive, words = draw(VALUES, VALUES + np.eye(6, 7, dtype=np.float32)[..., None])
    assert has_colors(positive, colors.default_colormap(centred=False, dark=False))
    assert "A, B: 0" in words
    assert f"B {text.MINUS} A: 0" in words
    signed, _ = draw(-VALUES, VALUES)
    assert not has_colors(signed, colors.default_colormap(centred=False, dark=False))


def test_a_small_difference_is_enlarged_with_its_factor_and_written_as_it_is() -> None:
    ours, theirs, step = VALUES.copy(), VALUES.copy(), 2**-10
    ours[2, 3, 1], theirs[2, 3, 1] = 1, 1 + step
    picture, words = draw(ours, theirs)
    factor = int(next(word for word in words if word.startswith("(B")).split(text.TIMES)[1].replace(",", ""))
    assert f"B {text.MINUS} A" not in words
    assert picture.numbers["reach"] / factor >= step
    assert picture.numbers["reach"] / factor < 10 * step
    assert text.range_text(0.0, step) in words
    assert picture.numbers["channels"][0] == 1


def test_equal_layers_and_those_with_nan_are_drawn() -> None:
    _, words = draw(VALUES, VALUES)
    assert f"B {text.MINUS} A" in words
    broken = VALUES.copy()
    broken[0, 0, 0] = np.nan
    _, words = draw(VALUES, broken)
    assert "NaN" in words
    draw(VALUES * 0, VALUES * 0)
