"""Slices: the renderer of all other axes, a grid of maps of two axes.

The label of a slice is its index along each of the other axes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.figures.renderers import batch_entry, grid
from actviz.figures.renderers.renderer_protocol import SheetTiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, Context, Picture, Style

_SPACE = ("row", "column")
_LEAST = 3


def accepts(axes: Axes) -> bool:
    """Return True if there are a batch and at least three other axes."""
    return axes[:1] == ("batch",) and len(axes) > _LEAST


def order(axes: Axes) -> Axes:
    """Return the axes without the batch: those along slices, then down and across."""
    last = _SPACE if set(_SPACE) <= set(axes) else axes[-2:]
    return (*(name for name in axes[1:] if name not in last), *last)


def maps_of(activation: Activation, index: int) -> NDArray[Any]:
    """Return one entry of the batch as ``(slice, row, column)``, contiguous."""
    maps = batch_entry.maps_in_order(activation, index, order(activation.axes))
    return maps.reshape(-1, *maps.shape[-2:])


def channel_axes(axes: Axes) -> Axes:
    """Return the axes along slices; see `Renderer`."""
    return order(axes)[:-2]


def sheet_tiles(activation: Activation, index: int) -> SheetTiles:
    """Return one tile for each slice; see `Renderer`."""
    return SheetTiles(maps_of(activation, index), "slice")


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw each selected slice as a tile; see `Renderer`."""
    named = order(activation.axes)
    sizes = [activation.values.shape[activation.axes.index(name)] for name in named[:-2]]
    indices = tuple(np.ndindex(*sizes))
    names = tuple(",".join(map(str, along)) for along in indices)
    notes = (f"above a tile: its {', '.join(named[:-2])}", f"down: {named[-2]}", f"across: {named[-1]}")
    tile_set = grid.TileSet(
        maps_of(activation, index), "slice", (named[:-2], named[-2], named[-1]), names, indices, notes=notes
    )
    return grid.draw(activation, tile_set, context, style)
