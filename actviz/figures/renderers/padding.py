"""The part of a map whose receptive fields are centered in the input image rather than in its padding.

Padding often has the largest values and its border the strongest edge, so that channels would be ordered
by what is not in the image. Strengths and orders ignore it; the maps show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.statistics.image_positions import centered_region

if TYPE_CHECKING:
    from actviz.records import Activation, Context
    from actviz.statistics.image_positions import Region

LEFT_OUT = "padding left out of strengths"
NOT_KNOWN = "padding counts in strengths: the map's place in the input is not known"


def image_region(activation: Activation, context: Context, counts: tuple[int, int]) -> Region | None:
    """Return the part of maps of `counts` rows and columns whose receptive fields are centered in the image.

    ``None`` if the input has no padding, no value is centered in the image, or the geometry of the layer
    is unknown.
    """
    geometry = activation.geometry
    box = context.padding.get(geometry.input) if geometry is not None else None
    if geometry is None or box is None or not _is_map(activation):
        return None
    rows, columns = centered_region(geometry, box, counts)
    return None if rows.stop == 0 or columns.stop == 0 else (rows, columns)


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
