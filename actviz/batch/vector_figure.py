"""Figures as SVG and PDF: the picture as one lossless image with crisp pixels, its text as text."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.figures import text

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.figures.colors import RGB
    from actviz.records import Label, Picture

SUFFIXES = (".svg", ".pdf")
_SIZES = range(6, 80)


def suffix_of(output: str | None) -> str:
    """Return the suffix of a vector format that an output has, else ``""``."""
    return next((suffix for suffix in SUFFIXES if output is not None and output.lower().endswith(suffix)), "")


def encode_vector(picture: Picture, suffix: str, provenance: dict[str, Any]) -> bytes:
    """Return a figure as SVG or PDF of the size of its pixels at 100 dpi, the same bytes on every run.

    matplotlib writes the file, since it embeds the fonts in a PDF.
    """
    from actviz.history.matplotlib_settings import DPI, save_vector, settings
    from actviz.history.themes import LIGHT
    from actviz.results.output_files import encode_drawing

    height, width = picture.size
    pixels = picture.pixels.copy()
    labels = [_PlacedText.of(label, pixels) for label in picture.labels if label.text.strip()]
    for placed in labels:
        top, left, bottom, right = placed.label.box
        pixels[top:bottom, left:right] = placed.ground
    with settings(LIGHT):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.imshow(pixels, interpolation="none", aspect="auto", resample=False)
        for placed in labels:
            placed.draw(figure, (height, width))
        return encode_drawing(save_vector(figure, suffix), suffix, provenance)


def write_picture(path: Path, picture: Picture, provenance: dict[str, Any], dpi: int | None = None) -> None:
    """Write a figure in the format of the suffix of its path: PNG, SVG or PDF."""
    from actviz.results.output_files import write_figure
    from actviz.system.file_writing import write_file

    suffix = suffix_of(path.name)
    if suffix:
        write_file(path, encode_vector(picture, suffix, provenance))
    else:
        write_figure(path, picture.pixels if picture.palette is not None else picture.drawn, provenance, dpi)


@dataclass(frozen=True, slots=True)
class _PlacedText:
    """A label, its colors, and the font in which it was drawn; `upwards` if it is rotated."""

    label: Label
    ground: RGB
    ink: RGB
    size: int
    bold: bool
    upwards: bool

    @classmethod
    def of(cls, label: Label, pixels: NDArray[np.uint8]) -> _PlacedText:
        top, left, bottom, right = label.box
        region = pixels[top:bottom, left:right]
        ground, ink = _colors(region.reshape(-1, 3))
        found = list[tuple[float, int, bool, bool]]()
        for upwards in (False, True):
            coverage = _coverage(np.rot90(region, -1) if upwards else region, ground, ink)
            found += [(error, size, bold, upwards) for error, size, bold in _fitting_fonts(label.text, coverage)]
        if not found:
            return cls(label, ground, ink, max(1, round((bottom - top) / 1.17)), bold=False, upwards=False)
        _, size, bold, upwards = min(found)
        return cls(label, ground, ink, size, bold, upwards)

    def draw(self, figure: Any, sizes: tuple[int, int]) -> None:
        """Write the text into a figure of matplotlib of `sizes` rows and columns."""
        from actviz.history.matplotlib_settings import text_style

        (top, left, bottom, _), (height, width) = self.label.box, sizes
        ascent = text.get_font(self.size, bold=self.bold).ascent
        column, row = (left + ascent, bottom) if self.upwards else (left, top + ascent)
        style = text_style(self.label.text, self.size, "#{:02x}{:02x}{:02x}".format(*self.ink), bold=self.bold)
        figure.text(
            column / width, 1 - row / height, style.pop("text"), rotation=90 if self.upwards else 0,
            rotation_mode="anchor", ha="left", va="baseline", **style,
        )  # fmt: skip


def _colors(pixels: NDArray[np.uint8]) -> tuple[RGB, RGB]:
    """Return the most frequent color of the box of a text, and the color farthest from it: that of the text."""
    kinds, counts = np.unique(pixels, axis=0, return_counts=True)
    ground = kinds[counts.argmax()].astype(int)
    ink = kinds[np.abs(kinds.astype(int) - ground).sum(axis=1).argmax()].astype(int)
    return (int(ground[0]), int(ground[1]), int(ground[2])), (int(ink[0]), int(ink[1]), int(ink[2]))


def _coverage(region: NDArray[np.uint8], ground: RGB, ink: RGB) -> NDArray[np.float64]:
    """Return how far each pixel of a text is from the ground to the ink, 0 to 255."""
    distance = np.abs(region.astype(int) - np.array(ground)).sum(axis=2)
    whole = max(1, sum(abs(a - b) for a, b in zip(ground, ink, strict=True)))
    coverage: NDArray[np.float64] = distance * (255 / whole)
    return coverage


def _fitting_fonts(string: str, coverage: NDArray[np.float64]) -> list[tuple[float, int, bool]]:
    """Return the fonts in which a text has the size of `coverage`: the mean difference from it, size and weight."""
    found = []
    for size, bold in _fonts_of(coverage.shape[0]):
        font = text.get_font(size, bold=bold)
        # The width alone is equal for some words in two weights.
        if font.width(string) == coverage.shape[1]:
            found.append((float(np.abs(font.alpha(string) - coverage).mean()), size, bold))
    return found


@functools.cache
def _fonts_of(height: int) -> list[tuple[int, bool]]:
    """Return size and weight of the fonts of a height in pixels."""
    fonts = ((size, bold) for size in _SIZES for bold in (False, True))
    return [(size, bold) for size, bold in fonts if text.get_font(size, bold=bold).height == height]
