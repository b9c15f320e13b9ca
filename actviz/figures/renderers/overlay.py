"""Overlays: maps drawn over the input picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError
from actviz.figures.renderers import batch_entry, frames, grid, spatial
from actviz.figures.renderers.overlay_blend import OVERLAY_NOTE, Overlay, to_grey
from actviz.records import Geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Activation, Context, Picture, Style

_LAID = ({"row", "column"}, {"row", "column", "step"}, {"row", "column", "plane"})


def overlay_for(activation: Activation, context: Context, *, dark: bool = False) -> Overlay:
    """Return the overlay on the input picture of an activation, for a light or a dark page.

    Raises
    ------
    UsageError
        If the activation has no rows and columns, or its input is not a picture.
    """
    name, geometry = activation.address, activation.geometry
    if set(activation.axes) - {"batch", "channel"} not in _LAID:
        message = f"layer {name!r} has no rows and columns to lay over the input; leave out --overlay or choose a spatial layer."
        raise UsageError(message)
    picture = spatial.picture_of(activation, context)
    if picture is None:
        several = len(context.pictures) > 1 and geometry is None
        reason = "it depends on several pictures" if several else "its input is not a picture"
        raise UsageError(f"layer {name!r} cannot be laid over the input: {reason}; leave out --overlay.")
    words = ""
    if picture.ndim > 3:  # noqa: PLR2004  (frames)
        words = f"over the mean of the {len(picture)} frames of the input"
        picture = np.rint(picture.mean(axis=0)).astype(np.uint8)
    known = geometry or _stretched(activation, (picture.shape[0], picture.shape[1]))
    return Overlay(to_grey(picture), known, geometry is not None, dark, words)


def overlays_for_frames(
    activation: Activation, context: Context, along: str, *, dark: bool = False
) -> tuple[Overlay, ...]:
    """Return the overlay of each frame of an activation along its axis ``step`` or ``plane``.

    If the input has another number of frames, the frame at the same relative position is used, and the
    caption says so.

    Raises
    ------
    UsageError
        If its input is not a picture.
    """
    whole = overlay_for(activation, context, dark=dark)
    picture = spatial.picture_of(activation, context)
    count = int(activation.values.shape[activation.axes.index(along)])
    if picture is None or picture.ndim == 3:  # noqa: PLR2004  (one picture)
        return (whole,) * count
    input_frames = len(picture)
    indices = [min(input_frames - 1, int((frame + 0.5) * input_frames / count)) for frame in range(count)]
    words = f"each {along} over that of the input with its number"
    if input_frames != count:
        words = f"each {along} over the frame at the same share of the {input_frames} of the input: which it sees is not known"
    grey = to_grey(picture)
    return tuple(replace(whole, grey=grey[index], frames=words) for index in indices)


def _stretched(activation: Activation, sizes: tuple[int, int]) -> Geometry:
    counts = [activation.values.shape[activation.axes.index(axis)] for axis in ("row", "column")]
    rows, columns = (size / max(1, count) for size, count in zip(sizes, counts, strict=True))
    return Geometry("", sizes, (rows / 2 - 0.5, columns / 2 - 0.5), (rows, columns), (rows, columns))


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw the selected channels over the input; see `Renderer`."""
    along = next((name for name in ("step", "plane") if name in activation.axes), None)
    if along is not None and style.project is None and not spatial.accepts(activation.axes):
        laid = overlays_for_frames(activation, context, along, dark=style.dark)
        return frames.draw(activation, index, context, style, along, laid)
    over = overlay_for(activation, context, dark=style.dark)
    tiles = ("channel",) if "channel" in activation.axes else ()
    maps, notes = _maps(activation, index, along, style)
    tile_set = grid.TileSet(
        maps,
        "filter" if tiles else "map",
        (tiles, "row", "column"),
        notes=(*notes, *over.notes((maps.shape[1], maps.shape[2]))),
        reduced=OVERLAY_NOTE,
        over=over,
    )
    return grid.draw(activation, tile_set, context, style)


def _maps(activation: Activation, index: int, along: str | None, style: Style) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return one map for each channel, ``(channel, row, column)``, and notes about a projection over frames."""
    if along is None or style.project is None:
        return spatial.maps_of(activation, index), ()
    masked = batch_entry.masked_steps(activation, index)
    strips = frames.maps_of(activation, index, along)
    shown = batch_entry.unmasked_steps(activation, masked, strips.shape[1])
    maps, note = frames.project(strips[:, shown], along, style.project)
    return maps, (note,)
