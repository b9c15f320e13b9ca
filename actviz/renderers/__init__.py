"""Activations to pictures: one module for each kind of axes, found through one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.errors import UsageError, escape
from actviz.renderers import spatial, vector

if TYPE_CHECKING:
    from actviz.records import Activation, Axes, Context, Picture, Style
    from actviz.renderers.protocol import Renderer

__all__ = ["RENDERERS", "draw", "kind_of"]

RENDERERS: dict[str, Renderer] = {
    "grid": spatial.SpatialRenderer(),
    "vector": vector.VectorRenderer(),
}
"""What `layers` prints as "drawn as"; a new kind is one module and one line here."""


def kind_of(axes: Axes, dtype: str) -> str | None:
    """Return the name of the renderer for these axes, ``None`` when nothing draws them."""
    if dtype in {"string", "object"}:
        return None
    return next(
        (name for name, renderer in RENDERERS.items() if renderer.accepts(axes)), None
    )


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw the output of a layer for one input of a batch.

    Parameters
    ----------
    activation
        The output of the layer; its values are not changed.
    index
        Position along the batch axis.
    context
        What the figure says about model and input.
    style
        Scale, colours, channels and layout.

    Raises
    ------
    UsageError
        When nothing draws these axes or this dtype, or `style` names what is not there.
    LimitError
        When the figure would be too large.
    """
    kind = kind_of(
        activation.axes, "string" if activation.values.dtype.kind in "OSU" else "number"
    )
    if kind is None:
        axes = ", ".join(activation.axes[1:]) or "none"
        message = f'layer "{escape(activation.address, 80)}" cannot be drawn: nothing draws the axes ({axes}) of {escape(str(activation.values.dtype))}; choose another layer.'
        raise UsageError(message)
    return RENDERERS[kind].draw(activation, index, context, style)
