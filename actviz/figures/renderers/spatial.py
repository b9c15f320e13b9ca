"""Spatial maps: axes row and column, with or without channels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actviz.figures.renderers import batch_entry, grid
from actviz.figures.renderers.renderer_protocol import FILTER, MAP, SheetTiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, Context, Picture, Style


def accepts(axes: Axes) -> bool:
    """Return True if the axes are row and column, with or without channels."""
    return axes[:1] == ("batch",) and sorted(axes[1:]) in (
        ["column", "row"],
        ["channel", "column", "row"],
    )


def maps_of(activation: Activation, index: int) -> NDArray[Any]:
    """Return one entry of the batch as ``(channel, row, column)``, contiguous."""
    return batch_entry.maps_in_order(activation, index, ("channel", "row", "column"))


def channel_axes(axes: Axes) -> Axes:
    """Return the axis of channels, if there is one; see `Renderer`."""
    return ("channel",) if "channel" in axes else ()


def sheet_tiles(activation: Activation, index: int) -> SheetTiles:
    """Return one tile for each channel; see `Renderer`."""
    return SheetTiles(maps_of(activation, index), FILTER if "channel" in activation.axes else MAP)


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw each selected channel as a tile; see `Renderer`.

    The channels of an input picture are drawn in grey on one scale, beside the picture.
    """
    tiles = channel_axes(activation.axes)
    tile_set = grid.TileSet(maps_of(activation, index), FILTER if tiles else MAP, (tiles, "row", "column"))
    if activation.kind == "InputLayer":
        style = input_style(style)
        picture = picture_of(activation, context) if len(tile_set.maps) > 1 else None
        tile_set = replace(tile_set, tile_name="channel" if tiles else MAP, input_image=picture)
    return grid.draw(activation, tile_set, context, style)


def input_style(style: Style) -> Style:
    """Return the style of the channels of an input picture: in grey on one scale, unless others are requested."""
    return replace(style, cmap=style.cmap or "gray", scale="layer" if style.scale == "auto" else style.scale)


def picture_of(activation: Activation, context: Context) -> NDArray[np.uint8] | None:
    """Return the input picture that an activation is computed from, ``None`` if it is unknown.

    Its shape is ``(row, column, RGB)``, or ``(frame, row, column, RGB)`` for an input of frames or planes.
    """
    geometry, pictures = activation.geometry, context.pictures
    if not pictures:
        return context.thumbnail
    if geometry is not None:
        return pictures.get(geometry.input)
    return next(iter(pictures.values())) if len(pictures) == 1 else None
