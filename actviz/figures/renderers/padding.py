"""The part of a map whose receptive fields are centered in the input image rather than in its padding.

Padding often has the largest values and its border the strongest edge, so that channels would be ordered
by what is not in the image. Strengths and orders ignore it; the maps show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from actviz.records import Activation, Context

LEFT_OUT = "padding left out of strengths"
NOT_KNOWN = "padding counts in strengths: the map's place in the input is not known"

Region = tuple[slice, slice]
"""The rows and columns of a part of a map."""


def image_region(activation: Activation, context: Context, counts: tuple[int, int]) -> Region | None:
    """Return the part of maps of `counts` rows and columns whose receptive fields are centered in the image.

    ``None`` if the input has no padding, no value is centered in the image, or the geometry of the layer
    is unknown.
    """
    geometry = activation.geometry
    box = context.padding.get(geometry.input) if geometry is not None else None
    if geometry is None or box is None or not _is_map(activation):
        return None
    region = []
    for axis, (first, end) in enumerate(((box[0], box[2]), (box[1], box[3]))):
        centres = geometry.offset[axis] + np.arange(counts[axis]) * geometry.stride[axis]
        # The center of the first pixel is 0, so its left edge is -0.5.
        numbers = np.flatnonzero((centres >= first - 0.5) & (centres <= end - 0.5))
        if not numbers.size:
            return None
        region.append(slice(int(numbers[0]), int(numbers[-1]) + 1))
    return region[0], region[1]


def note(activation: Activation, context: Context, *, left_out: bool) -> tuple[str, ...]:
    """Return the notes about padding; `left_out` says whether strengths ignore it."""
    if not context.padding or not _is_map(activation):
        return ()
    if left_out:
        return (LEFT_OUT,)
    geometry = activation.geometry
    if geometry is not None and geometry.input not in context.padding:
        return ()
    return (NOT_KNOWN,)


def _is_map(activation: Activation) -> bool:
    return {"row", "column"} <= set(activation.axes)
