"""The page around the tiles."""

from __future__ import annotations

import numpy as np
import pytest
from picture_helpers import assert_labels_apart

from actviz import colors, figure
from actviz.errors import LimitError
from actviz.records import Context

SMALL = np.full((28, 28, 3), 90, dtype=np.uint8)


def layout(address: str = "conv", *, width: int = 300, thumbnail: np.ndarray | None = None) -> figure.Layout:
    """Return a page with everything on it."""
    context = Context("digits_cnn.h5", "seven.png", "28 x 28 x 1, 0..1", thumbnail)
    bar = figure.ColorBar(
        colors.table("inferno"),
        ((0.0, "0"), (0.9, "9"), (1.0, "10")),
        ("one scale", "another note"),
        (((255, 0, 255), "NaN"),),
    )
    heading = figure.Heading(address, "Conv2D", "11 x 11 x 64", context)
    return figure.Layout(heading, bar, ("64 of 64 filters", "no NaN"), 50, width)


@pytest.mark.parametrize("address", ["c", "n" * 200, "\u202e\n" * 50, "一" * 80])
@pytest.mark.parametrize("width", [1, 700, 3000])
@pytest.mark.parametrize("thumbnail", [None, SMALL])
def test_labels_stay_apart(address: str, width: int, thumbnail: np.ndarray | None) -> None:
    canvas, top, left = figure.open_page(layout(address, width=width, thumbnail=thumbnail))

    picture = canvas.picture([], {})

    assert_labels_apart(picture)
    body = (top, left, top + 50, left + width)
    assert (picture.pixels[body[0] : body[2], body[1] : body[3]] == 255).all()


def test_the_title_says_what_is_drawn() -> None:
    canvas, _, _ = figure.open_page(layout())

    words = " ".join(label.text for label in canvas.labels)

    for part in ("conv", "Conv2D", "11 x 11 x 64", "digits_cnn.h5", "seven.png", "0..1"):
        assert part in words


def test_ticks_stand_at_their_colour() -> None:
    canvas, top, left = figure.open_page(layout())
    table = colors.table("inferno").colors
    pixels = canvas.picture([], {}).pixels
    row = top + 50 + 18 + 5

    np.testing.assert_array_equal(pixels[row, left : left + 256], table)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((28, 28), (84, 84)), ((1, 1), (84, 84)), ((224, 224), (84, 84)), ((30, 10), (60, 20))],
)
def test_thumbnails_keep_their_shape(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert figure.thumbnail(np.zeros((*shape, 3), dtype=np.uint8)).shape == (*expected, 3)


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (3, 400)])
def test_extreme_thumbnails_stay_small(shape: tuple[int, int]) -> None:
    rows, columns, _ = figure.thumbnail(np.zeros((*shape, 3), dtype=np.uint8)).shape

    assert 1 <= rows <= 84
    assert 1 <= columns <= 168


def test_small_thumbnails_are_the_pixels_fed() -> None:
    fed = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)

    np.testing.assert_array_equal(figure.thumbnail(fed)[::3, ::3], fed)


@pytest.mark.parametrize(("height", "width"), [(70_000, 1), (20_000, 20_000)])
def test_what_is_too_large_names_the_options(height: int, width: int) -> None:
    with pytest.raises(LimitError, match="--channels"):
        figure.check_size(height, width)
