"""Which values of a map are centred in the image that was fed, and which in the padding around it.

Padding is often the brightest thing that a network sees, and its edge the sharpest, so that channels
would be ordered by what the image does not hold. It counts in no strength and no order; the maps
show it as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from actviz.records import Activation, Context

LEFT_OUT = "padding left out of strengths"
NOT_KNOWN = "padding counts in strengths: the map's place in the input is not known"

Region = tuple[slice, slice]
"""Rows and columns of a map."""


def image_region(activation: Activation, context: Context, counts: tuple[int, int]) -> Region | None:
    """Return the values of maps of `counts` rows and columns whose receptive fields are centred in the image.

    ``None`` where nothing was padded, no value is centred in the image, or it is not known where
    the values look.
    """
    geometry = activation.geometry
    box = context.padding.get(geometry.input) if geometry is not None else None
    if geometry is None or box is None or not _is_map(activation):
        return None
    found = []
    for axis, (first, end) in enumerate(((box[0], box[2]), (box[1], box[3]))):
        centres = geometry.offset[axis] + np.arange(counts[axis]) * geometry.stride[axis]
        # The middle of the first pixel is 0, so that its left edge is at -0.5.
        numbers = np.flatnonzero((centres >= first - 0.5) & (centres <= end - 0.5))
        if not numbers.size:
            return None
        found.append(slice(int(numbers[0]), int(numbers[-1]) + 1))
    return found[0], found[1]


def note(activation: Activation, context: Context, *, left_out: bool) -> tuple[str, ...]:
    """Return what a caption says about padding; `left_out` says whether it is left out of strengths."""
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
