"""Maps laid over the picture that the network was fed, each value where it looks.

The picture is drawn in grey. A value colours the pixels that it is nearest to, the more
solid the further it is from zero, so that the picture shows through where a filter finds
nothing. Which pixels these are follows from the strides and paddings of the layers before
(`actviz.records.Geometry`); pixels beyond the map, as along the borders of a convolution
without padding, stay pale, or dim on a dark page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.figures import colors, text
from actviz.figures.page_layout import ColorBar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Geometry

# The grey of black and of white in the picture: colours stand out from both.
DARK, LIGHT = 40, 225
# What is beyond the map is mixed with this, half and half.
_PALE, _DIM = 250, 24
# How solid the strongest value is, and by which power of its share weaker ones are.
_SOLID, _POWER = 0.88, 0.6
_LUMINANCE = (0.299, 0.587, 0.114)
_WHOLE = 255


@dataclass(frozen=True, slots=True)
class Overlay:
    """A picture to lay maps over, and where their values lie on it.

    `grey` is uint8 ``(row, column)``, DARK to LIGHT. `aligned` is false where the place of
    the map is not known, so that it is stretched over the whole picture; `frames` says which
    frame of the input the picture is, where it has several. `dark` is for
    dark pages, where what is beyond the map is darkened, not lightened.
    """

    grey: NDArray[np.uint8]
    geometry: Geometry
    aligned: bool
    dark: bool = False
    frames: str = ""

    @property
    def reduction_note(self) -> str:
        """How values were brought into pixels."""
        return "overlay: each pixel has the colour of the nearest value, mixed with the picture"

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows and columns of the picture."""
        return self.grey.shape[0], self.grey.shape[1]

    def painted(self, prepared: PreparedMaps, sizes: tuple[int, int]) -> NDArray[np.uint32]:
        """Return the chosen maps over the picture, packed, ``(tile, row, column)`` of `sizes`."""
        rows, columns = (self._nearest(prepared, axis, size) for axis, size in ((0, sizes[0]), (1, sizes[1])))
        ground = _resized(self.grey, sizes).astype(np.float32)
        inside = np.logical_and.outer(rows >= 0, columns >= 0)
        base = np.where(inside, ground, (ground + (_DIM if self.dark else _PALE)) / 2)
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

    def _nearest(self, prepared: PreparedMaps, axis: int, length: int) -> NDArray[np.int64]:
        geometry = self.geometry
        count = prepared.maps.shape[1 + axis]
        return nearest_indices(geometry.offset[axis], geometry.stride[axis], count, (geometry.size[axis], length))

    def bar(self, bar: ColorBar, prepared: PreparedMaps) -> ColorBar:
        """Return a colour bar in two halves: what a value looks like over black and over white."""
        over = [_blended_table(prepared, grey) for grey in (DARK, LIGHT)]
        notes = ("upper half of the bar: over black, lower half: over white", *bar.notes)
        return ColorBar(over[0], bar.ticks, notes, bar.nonfinite_colors, bar.levels, over[1])

    def record(self) -> dict[str, Any]:
        """Return what a manifest says of where values lie in the input."""
        geometry = self.geometry
        position = {"size": list(geometry.size), "offset": list(geometry.offset), "stride": list(geometry.stride)}
        return {"input": geometry.input, "aligned": self.aligned, **position, "field": list(geometry.field)}

    def notes(self, counts: tuple[int, int]) -> tuple[str, ...]:
        """Return what the caption says of where the values of maps of so many rows and columns lie."""
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
        """What the caption says of pixels beyond the map."""
        return f"{'dim' if self.dark else 'pale'}: beyond the map"

    def leaves_border(self, counts: tuple[int, int]) -> bool:
        """Tell whether a map of so many rows and columns leaves pixels at its borders."""
        geometry = self.geometry
        places = zip(geometry.offset, geometry.stride, counts, geometry.size, strict=True)
        return any(
            (nearest_indices(offset, stride, count, (size, size)) < 0).any() for offset, stride, count, size in places
        )


def nearest_indices(offset: float, stride: float, count: int, sizes: tuple[int, int]) -> NDArray[np.int64]:
    """Return the number of the value that each pixel along an axis is nearest to, -1 beyond the map.

    Values lie at `offset`, `offset` + `stride`, ...; each owns half a stride to either side.

    Parameters
    ----------
    count
        The number of values.
    sizes
        The length of the axis in the unit of `offset`, and in pixels to be drawn.
    """
    size, length = sizes
    middles = (np.arange(length) + 0.5) * (size / length) - 0.5
    places = np.floor((middles - offset) / stride + 0.5).astype(np.int64)
    return np.where((places >= 0) & (places < count), places, -1)


def opacities(prepared: PreparedMaps) -> NDArray[np.float32]:
    """Return how solid each step of the table is, 0..1: nothing at zero, most where it is furthest from that."""
    share = np.arange(colors.STEPS) / (colors.STEPS - 1)
    if prepared.requested_range is not None and not prepared.signed:
        # Zero may lie anywhere in a range that was given, or outside.
        low, high = prepared.requested_range
        largest = max(abs(low), abs(high)) or 1.0
        share = np.abs(low / largest * (1 - share) + high / largest * share)
    elif prepared.signed:
        share = np.abs(2 * share - 1)
    return (_SOLID * share**_POWER).astype(np.float32)


def _blended_table(prepared: PreparedMaps, grey: int) -> colors.ColorTable:
    """Return the table of a figure as it looks over one grey."""
    share = opacities(prepared)[:, None]
    mixed = np.rint(grey * (1 - share) + prepared.table.colors * share).astype(np.uint8)
    return colors.ColorTable(
        prepared.table.name, mixed, invertible=False, nonfinite_colors=prepared.table.nonfinite_colors
    )


def _resized(grey: NDArray[np.uint8], sizes: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the picture in another size: whole factors repeat pixels, anything else averages."""
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
