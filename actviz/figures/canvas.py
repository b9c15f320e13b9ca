"""The canvas: pixels, the colors of light and dark pages, and the labels drawn so far."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import LimitError
from actviz.figures import colors
from actviz.records import Label, Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.figures import text
    from actviz.figures.colors import RGB
    from actviz.records import Box, Tile

LARGEST_SIDE = 65_535
LARGEST_AREA = 100_000_000

_TICK, _TICK_GAP = 3, 8


@dataclass(frozen=True, slots=True)
class Theme:
    """The colors of a page except the colormap."""

    page: RGB = (255, 255, 255)
    ink: RGB = (34, 34, 34)
    muted: RGB = (108, 108, 108)
    line: RGB = (200, 200, 200)
    track: RGB = (230, 230, 230)
    strength: RGB = (96, 96, 96)
    ground: RGB = (247, 247, 247)


LIGHT = Theme()
DARK = Theme(
    page=(22, 24, 29),
    ink=(236, 236, 236),
    muted=(164, 168, 176),
    line=(86, 91, 102),
    track=(46, 50, 59),
    strength=(164, 168, 176),
    ground=(40, 43, 51),
)


def theme_of(*, dark: bool) -> Theme:
    """Return the theme of a dark page or a light one."""
    return DARK if dark else LIGHT


@dataclass(slots=True)
class Canvas:
    """Pixels to draw on and the labels drawn so far.

    `pixels` is uint32 ``(row, column)``, packed as by `colors.pack_rgb`.
    """

    pixels: NDArray[np.uint32]
    theme: Theme
    labels: list[Label] = field(default_factory=list)

    @classmethod
    def blank(cls, height: int, width: int, theme: Theme) -> Canvas:
        """Return an empty page.

        Raises
        ------
        LimitError
            If the page is too large; see `check_size`.
        """
        check_size(height, width)
        return cls(np.full((height, width), colors.pack_color(theme.page)), theme)

    def ink(self, color: RGB) -> NDArray[np.uint32]:
        """Return the packed color for each coverage, 0..255, of text on the page."""
        return _ink(self.theme.page, color)

    def write(self, string: str, row: int, column: int, font: text.Font, color: RGB) -> int:
        """Write one line with its top left corner at a pixel; return the column after it."""
        if not string:
            return column
        alpha = font.alpha(string)
        bottom, right = row + int(alpha.shape[0]), column + int(alpha.shape[1])
        self.pixels[row:bottom, column:right] = self.ink(color)[alpha]
        self.labels.append(Label(string, (row, column, bottom, right)))
        return right

    def write_on(self, string: str, corner: tuple[int, int], font: text.Font, inks: tuple[RGB, RGB]) -> None:
        """Write one line in the first of two colors on a part of the page that has the second."""
        alpha = font.alpha(string)
        (row, column), (bottom, right) = corner, (corner[0] + alpha.shape[0], corner[1] + alpha.shape[1])
        self.pixels[row:bottom, column:right] = _ink(inks[1], inks[0])[alpha]
        self.labels.append(Label(string, (row, column, bottom, right)))

    def draw_curve(self, values: NDArray[np.float64], box: Box) -> None:
        """Draw finite values as a curve with a line at 0: for each pixel from the smallest to the largest."""
        top, left, bottom, right = box
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        scale = (bottom - top - 1) / ((high - low) or 1.0)
        rows = np.rint((high - values) * scale).astype(int)
        zero = top + round(high * scale)
        self.fill((zero, left, zero + 1, right), self.theme.line)
        edges = np.minimum(np.arange(right - left + 1) * len(values) // (right - left), len(values) - 1)
        for column in range(right - left):
            # With the first value of the next pixel, so that the curve has no gaps.
            part = rows[edges[column] : edges[column + 1] + 1]
            self.fill(
                (top + int(part.min()), left + column, top + int(part.max()) + 1, left + column + 1), self.theme.ink
            )

    def write_line(self, texts: Sequence[str], row: int, columns: Sequence[int], font: text.Font, color: RGB) -> None:
        """Write strings on one line of an empty part of the page, each at a column, from left to right.

        The labels of 512 tiles in 16 lines take 4.0 ms; one `write` for each takes 5.6 ms.
        """
        bottom, begin = row + font.height, columns[0]
        alpha, ends = font.line(texts, columns)
        self.pixels[row:bottom, begin : begin + alpha.shape[1]] = self.ink(color)[alpha]
        for string, column, end in zip(texts, columns, ends, strict=True):
            self.labels.append(Label(string, (row, column, bottom, end)))

    def write_upwards(self, string: str, bottom: int, column: int, font: text.Font, color: RGB) -> None:
        """Write one line rotated by 90 degrees counterclockwise, with its bottom left corner at a pixel."""
        if not string:
            return
        alpha = np.rot90(font.alpha(string))
        top, right = bottom - int(alpha.shape[0]), column + int(alpha.shape[1])
        self.pixels[top:bottom, column:right] = self.ink(color)[alpha]
        self.labels.append(Label(string, (top, column, bottom, right)))

    def write_ticks(
        self, ticks: Sequence[tuple[float, str]], corner: tuple[int, int], width: int, font: text.Font
    ) -> None:
        """Draw the ticks and tick labels of a horizontal axis of `width` pixels that starts at `corner`.

        `ticks` are ``(position, label)`` with increasing positions along the axis, 0..1. Ticks whose labels
        would overlap others are omitted, except the first and the last.
        """
        row, left = corner
        free, last = 0, left + width
        for index, (share, string) in enumerate(ticks):
            tick_column = left + round(share * (width - 1))
            size = font.width(string)
            begin = min(max(left, tick_column - size // 2), last - size)
            ends = last - font.width(ticks[-1][1]) - _TICK_GAP
            final = index == len(ticks) - 1
            if begin < free or (not final and begin + size > ends):
                continue
            self.fill((row, tick_column, row + _TICK, tick_column + 1), self.theme.muted)
            free = self.write(string, row + _TICK, begin, font, self.theme.ink) + _TICK_GAP

    def fill(self, box: Box, color: RGB) -> None:
        """Fill a box with one color."""
        top, left, bottom, right = box
        self.pixels[top:bottom, left:right] = colors.pack_color(color)

    def picture(self, tiles: Sequence[Tile], numbers: dict[str, Any]) -> Picture:
        """Return the picture drawn so far."""
        return Picture(self.pixels, tuple(tiles), tuple(self.labels), numbers)


@functools.lru_cache(maxsize=64)
def _ink(page: RGB, color: RGB) -> NDArray[np.uint32]:
    share = np.arange(256)[:, None] / 255
    shades = np.rint(np.array(page) * (1 - share) + np.array(color) * share)
    return colors.pack_rgb(shades.astype(np.uint8))


def check_size(height: int, width: int) -> None:
    """Refuse a page that is larger than common PNG viewers open.

    Raises
    ------
    LimitError
        If the page is too large; the message lists options that make it smaller.
    """
    if max(height, width) > LARGEST_SIDE or height * width > LARGEST_AREA:
        raise LimitError(
            f"the figure would be {width:,} x {height:,} pixels; at most {LARGEST_AREA // 1_000_000}"
            f" megapixels and {LARGEST_SIDE:,} a side are drawn; show fewer with --channels or --top,"
            " one map with --reduce mean, of frames or planes their maximum with --project max, or use"
            " a smaller --zoom."
        )
