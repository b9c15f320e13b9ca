"""The page around the tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from picture_helpers import CONTEXT, assert_labels_apart, spatial

from actviz.errors import LimitError
from actviz.figures import canvas as canvases
from actviz.figures import colors, page_layout, renderers, text
from actviz.figures.canvas import Theme, check_size, theme_of
from actviz.records import Context, Style
from actviz.statistics import channel_statistics

SMALL = np.full((28, 28, 3), 90, dtype=np.uint8)


def layout(address: str = "conv", *, width: int = 300, thumbnail: np.ndarray | None = None) -> page_layout.PageLayout:
    """Return a page with everything on it."""
    context = Context("digits_cnn.h5", "seven.png", "28 x 28 x 1, 0..1", thumbnail)
    bar = page_layout.ColorBar(
        colors.table("inferno"),
        ((0.0, "0"), (0.9, "9"), (1.0, "10")),
        ("one scale", "another note"),
        (((255, 0, 255), "NaN"),),
    )
    heading = page_layout.PageHeading(address, "Conv2D", "11 x 11 x 64", context)
    return page_layout.PageLayout(heading, bar, ("64 of 64 filters", "no NaN"), 50, width)


@pytest.mark.parametrize("address", ["c", "n" * 200, "\u202e\n" * 50, "一" * 80])
@pytest.mark.parametrize("width", [1, 700, 3000])
@pytest.mark.parametrize("thumbnail", [None, SMALL])
@pytest.mark.parametrize("dark", [False, True])
def test_labels_stay_apart(address: str, width: int, thumbnail: np.ndarray | None, dark: bool) -> None:
    theme = theme_of(dark=dark)
    found = page_layout.FigureHistogram(
        channel_statistics.ValueDistribution((1, 3, 9), -1e-30, 1e30, 20, 7, apart=dark)
    )
    page = replace(layout(address, width=width, thumbnail=thumbnail), histogram=found)
    canvas, top, left = page_layout.open_page(page, theme)

    picture = canvas.picture([], {})

    assert_labels_apart(picture)
    body = (top, left, top + 50, left + width)
    assert (picture.pixels[body[0] : body[2], body[1] : body[3]] == theme.page).all()


def test_the_title_says_what_is_drawn() -> None:
    canvas, _, _ = page_layout.open_page(layout())

    words = " ".join(label.text for label in canvas.labels)

    for part in ("conv", "Conv2D", "11 x 11 x 64", "digits_cnn.h5", "seven.png", "0..1"):
        assert part in words


def test_ticks_stand_at_their_colour() -> None:
    canvas, top, left = page_layout.open_page(layout())
    table = colors.table("inferno").colors
    pixels = canvas.picture([], {}).pixels
    row = top + 50 + 18 + 5

    np.testing.assert_array_equal(pixels[row, left : left + 256], table)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((28, 28), (84, 84)), ((1, 1), (84, 84)), ((224, 224), (84, 84)), ((30, 10), (60, 20))],
)
def test_thumbnails_keep_their_shape(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert page_layout.thumbnail(np.zeros((*shape, 3), dtype=np.uint8)).shape == (*expected, 3)


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (3, 400)])
def test_extreme_thumbnails_stay_small(shape: tuple[int, int]) -> None:
    rows, columns, _ = page_layout.thumbnail(np.zeros((*shape, 3), dtype=np.uint8)).shape

    assert 1 <= rows <= 84
    assert 1 <= columns <= 168


def test_small_thumbnails_are_the_pixels_fed() -> None:
    fed = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)

    np.testing.assert_array_equal(page_layout.thumbnail(fed)[::3, ::3], fed)


@pytest.mark.parametrize(("height", "width"), [(70_000, 1), (20_000, 20_000)])
def test_what_is_too_large_names_the_options(height: int, width: int) -> None:
    with pytest.raises(LimitError, match="--channels"):
        check_size(height, width)


def contrast(one: colors.RGB, other: colors.RGB) -> float:
    """Return the contrast of two colours as the Web Content Accessibility Guidelines count it, 1 to 21."""

    def luminance(color: colors.RGB) -> float:
        parts = [part / 255 for part in color]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot((0.2126, 0.7152, 0.0722), linear))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [canvases.LIGHT, canvases.DARK])
def test_contrasts(theme: Theme) -> None:
    assert contrast(theme.ink, theme.page) >= 7
    assert contrast(theme.muted, theme.page) >= 4.5
    for one, other, least in (
        (theme.strength, theme.track, 3),
        (theme.strength, theme.page, 3),
        (theme.ink, theme.line, 3),  # the frame of a constant tile beside that of a live one
        (theme.muted, theme.ground, 3),  # the hatch of masked steps
        (theme.line, theme.ground, 1.5),  # the hatch of dead tiles
        (theme.line, theme.page, 1.5),
    ):
        assert contrast(one, other) >= least, (one, other)


def test_a_dark_page_is_dark() -> None:
    canvas, _, _ = page_layout.open_page(layout(), canvases.DARK)

    pixels = canvas.picture([], {}).pixels

    assert np.median(pixels) < 30
    assert (pixels == canvases.DARK.page).all(axis=-1).mean() > 0.8


@pytest.mark.parametrize(
    ("width", "requested", "scale"),
    [(1600, 1, 1), (1778, 1, 1.1), (2000, 1, 1.2), (2000, 1.6, 1.6), (2000, 0.8, 0.8), (9000, 1, 1.5)],
)
def test_text_has_nine_pixels_where_a_wide_page_is_shown_on_a_screen(
    width: int, requested: float, scale: float
) -> None:
    assert page_layout.legible_scale(width, requested) == scale


@pytest.mark.parametrize(("size", "grown"), [(16, False), (320, True)])
def test_only_wide_figures_have_larger_text(size: int, grown: bool) -> None:
    """Of tile numbers, the smallest text of a figure."""
    maps = np.random.default_rng(0).random((2 * size // 3, size, 32), np.float32)

    picture = renderers.draw(spatial(maps), 0, CONTEXT, Style())

    number = next(label for label in picture.labels if label.text == "31")
    height = number.box[2] - number.box[0]
    assert (height > text.get_font(10).height) is grown
    if grown:
        with text.scaled(0.9 * picture.pixels.shape[1] / 1600):
            assert height >= text.get_font(10).height
    assert_labels_apart(picture)
