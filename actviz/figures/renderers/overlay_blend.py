"""Blending of maps with the input picture.

The picture is drawn in grey. Each pixel has the color of the value whose receptive field is centered
nearest to it, with an opacity that grows with the distance of the value from zero. The positions follow
from strides and paddings of the preceding layers (`actviz.records.Geometry`). Pixels outside the map,
such as the borders of a convolution without padding, are pale, on a dark page dim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.explanations.positions import nearest_indices
from actviz.figures import colors, text
from actviz.figures.page_layout import ColorBar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Geometry

# The grey levels of black and white in the picture; colors contrast with both.
DARK, LIGHT = 40, 225
OVERLAY_NOTE = "overlay: the input in grey; each pixel is tinted in the color of the nearest value of the map"
# Pixels outside the map are the mean of this and the picture.
_PALE, _DIM = 250, 24
# The opacity of the strongest value, and the exponent of the relative magnitude for the others.
_SOLID, _POWER = 0.88, 0.6
_LUMINANCE = (0.299, 0.587, 0.114)
_WHOLE = 255


@dataclass(frozen=True, slots=True)
class Overlay:
    """A picture below maps, and the positions of their values on it.

    Attributes
    ----------
    grey
        Shape ``(row, column)``, uint8, from `DARK` to `LIGHT`.
    aligned
        Whether the position of the map in the input is known; if not, it is stretched over the picture.
    dark
        Whether the page is dark, so that pixels outside the map are darkened rather than lightened.
    frames
        Which frame of the input the picture is, if the input has several.
    """

    grey: NDArray[np.uint8]
    geometry: Geometry
    aligned: bool
    dark: bool = False
    frames: str = ""

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of rows and columns of the picture."""
        return self.grey.shape[0], self.grey.shape[1]

    def painted(self, prepared: PreparedMaps, sizes: tuple[int, int]) -> NDArray[np.uint32]:
        """Return the packed pixels of the selected maps over the picture, ``(tile, row, column)``, of `sizes`."""
        rows, columns = self.positions((prepared.maps.shape[1], prepared.maps.shape[2]), sizes)
        inside = np.logical_and.outer(rows >= 0, columns >= 0)
        base = self.ground(sizes, inside)
        table, opacity = prepared.table.colors.astype(np.float32), opacities(prepared)
        steps = prepared.steps()
        nonfinite_pixels = None if prepared.numbers.finite else prepared.painted()
        pixels = np.empty((len(steps), *sizes), dtype=np.uint32)
        for index, map_ in enumerate(steps):
            here = map_[np.ix_(rows, columns)]
            share = opacity[here] * inside
            mixed = base[..., None] * (1 - share[..., None]) + table[here] * share[..., None]
            pixels[index] = colors.pack_rgb(np.rint(mixed).astype(np.uint8))
            if nonfinite_pixels is not None:
                bad = inside & ~np.isfinite(prepared.shown()[index][np.ix_(rows, columns)])
                pixels[index][bad] = nonfinite_pixels[index][np.ix_(rows, columns)][bad]
        return pixels

    def positions(self, counts: tuple[int, int], sizes: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the index of the nearest row and column of maps of `counts` for each pixel, -1 outside."""
        geometry = self.geometry
        rows, columns = (
            nearest_indices(
                geometry.offset[axis], geometry.stride[axis], counts[axis], (geometry.size[axis], sizes[axis])
            )
            for axis in (0, 1)
        )
        return rows, columns

    def ground(self, sizes: tuple[int, int], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the grey picture ``(row, column)`` in `sizes`, pale or dim where not `inside` the map."""
        grey = _resized(self.grey, sizes).astype(np.float32)
        return np.where(inside, grey, (grey + (_DIM if self.dark else _PALE)) / 2)

    def bar(self, bar: ColorBar, prepared: PreparedMaps) -> ColorBar:
        """Return a color bar in two halves: the colors over black and over white."""
        over = [_blended_table(prepared, grey) for grey in (DARK, LIGHT)]
        notes = ("upper half of the bar: over black, lower half: over white", *bar.notes)
        return ColorBar(over[0], bar.ticks, notes, bar.nonfinite_colors, bar.levels, over[1])

    def record(self) -> dict[str, Any]:
        """Return the positions of values in the input for the manifest."""
        geometry = self.geometry
        position = {"size": list(geometry.size), "offset": list(geometry.offset), "stride": list(geometry.stride)}
        return {"input": geometry.input, "aligned": self.aligned, **position, "field": list(geometry.field)}

    def notes(self, counts: tuple[int, int]) -> tuple[str, ...]:
        """Return the notes about the positions of the values of maps of `counts` rows and columns."""
        geometry = self.geometry
        over = (self.frames,) if self.frames else ()
        if not self.aligned:
            return (*over, "the map's place in the input is not known: stretched over all of it")
        step = text.shape_of_numbers(geometry.stride)
        seen = text.shape_of_numbers(geometry.field)
        words = f"one value every {step} pixels of the input, seeing {seen}"
        return (*over, words, self.border) if self.leaves_border(counts) else (*over, words)

    @property
    def border(self) -> str:
        """Note about pixels outside the map."""
        return f"{'dim' if self.dark else 'pale'}: beyond the map"

    def leaves_border(self, counts: tuple[int, int]) -> bool:
        """Return True if maps of `counts` rows and columns do not cover all pixels."""
        geometry = self.geometry
        axes = zip(geometry.offset, geometry.stride, counts, geometry.size, strict=True)
        return any(
            (nearest_indices(offset, stride, count, (size, size)) < 0).any() for offset, stride, count, size in axes
        )


def opacities(prepared: PreparedMaps) -> NDArray[np.float32]:
    """Return the opacity of each color step, 0..1, ``(step,)``: 0 at zero, largest farthest from zero."""
    share = np.arange(colors.STEPS) / (colors.STEPS - 1)
    if prepared.requested_range is not None and not prepared.signed:
        # Zero may be anywhere in a requested range, or outside.
        low, high = prepared.requested_range
        largest = max(abs(low), abs(high)) or 1.0
        share = np.abs(low / largest * (1 - share) + high / largest * share)
    elif prepared.signed:
        share = np.abs(2 * share - 1)
    return (_SOLID * share**_POWER).astype(np.float32)


def _blended_table(prepared: PreparedMaps, grey: int) -> colors.ColorTable:
    """Return the colormap of a figure blended with one grey level."""
    share = opacities(prepared)[:, None]
    mixed = np.rint(grey * (1 - share) + prepared.table.colors * share).astype(np.uint8)
    return colors.ColorTable(
        prepared.table.name, mixed, invertible=False, nonfinite_colors=prepared.table.nonfinite_colors
    )


def _resized(grey: NDArray[np.uint8], sizes: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the picture in another size: integer factors repeat pixels, others average."""
    if grey.shape == sizes:
        return grey
    rows, columns = grey.shape
    if sizes[0] % rows == 0 and sizes[1] % columns == 0:
        return grey.repeat(sizes[0] // rows, axis=0).repeat(sizes[1] // columns, axis=1)
    from PIL import Image

    return np.asarray(Image.fromarray(grey).resize(sizes[::-1], Image.Resampling.BOX))


def to_grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture ``(row, column, RGB)`` as grey ``(row, column)``, DARK to LIGHT."""
    share = picture.astype(np.float32) @ np.array(_LUMINANCE, dtype=np.float32) / _WHOLE
    grey: NDArray[np.uint8] = np.rint(DARK + (LIGHT - DARK) * share).astype(np.uint8)
    return grey
