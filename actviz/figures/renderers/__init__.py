"""Activation to Picture: one module per kind of axes, one line each in `RENDERERS`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from actviz.errors import UsageError
from actviz.figures.renderers import attention, film, overlay, reduction, sequence, slices, spatial, vector, volume

if TYPE_CHECKING:
    from actviz.figures.renderers.renderer_protocol import Renderer
    from actviz.records import Activation, Axes, Context, Picture, Style

__all__ = ["RENDERERS", "draw", "kind_of"]

RENDERERS: dict[str, Renderer] = {
    "grid": spatial,
    "vector": vector,
    "sequence": sequence,
    "film": film,
    "volume": volume,
    "attention": attention,
    "montage": slices,
}
"""Every renderer by the name that the table of layers gives it, the first that accepts wins."""

# Text, objects and complex numbers have no place on a scale of colours.
_UNDRAWN = {"O": "objects", "S": "text", "U": "text", "T": "text", "c": "complex numbers"}


def kind_of(axes: Axes) -> str | None:
    """Return the name of the renderer for these axes, ``None`` where nothing draws them."""
    return next((name for name, one in RENDERERS.items() if one.accepts(axes)), None)


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw entry `index` of an activation's batch with the renderer for its axes.

    Raises
    ------
    UsageError
        When nothing draws such axes or such values, or the style asks for what this
        activation does not have.
    LimitError
        When the figure would be too large.
    """
    name, values = activation.address, activation.values
    if values.dtype.kind in _UNDRAWN:
        texts = values.dtype.kind == "O" and all(isinstance(item, (str, bytes)) for item in values.flat)
        what = "text" if texts else _UNDRAWN[values.dtype.kind]
        message = f"layer {name!r} gives {what}, which cannot be drawn; choose another layer."
        raise UsageError(message)
    if len(activation.axes) != values.ndim:
        message = (
            f"layer {name!r} has {values.ndim} axes, but {len(activation.axes)} are named:"
            f" {', '.join(activation.axes)}; name each one."
        )
        raise UsageError(message)
    twice = next((axis for axis in activation.axes if activation.axes.count(axis) > 1), None)
    if twice is not None:
        message = f"layer {name!r} has two axes called {twice!r}; give each its own name."
        raise UsageError(message)
    kind = kind_of(activation.axes)
    if kind is None:
        axes = ", ".join(activation.axes)
        message = f"layer {name!r} has the axes ({axes}), of which the first must be the batch; name them so."
        raise UsageError(message)
    if 0 in values.shape:
        sizes = " x ".join(str(size) for size in values.shape[1:])
        message = f"layer {name!r} is empty ({sizes}): there is nothing to draw; give a larger input."
        raise UsageError(message)
    if style.reduce is None:
        return _draw(activation, index, context, style)
    one, said = reduction.over_channels(activation, index, style, context)
    rest = replace(style, reduce=None, channels=None, sort="index", top=None)
    picture = _draw(one, 0, replace(context, reduced=said), rest)
    words = [said, picture.numbers["reduced"]] if picture.numbers["reduced"] else [said]
    return replace(picture, numbers=picture.numbers | {"reduced": "; ".join(words)})


def _draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    if style.overlay:
        return overlay.draw(activation, index, context, style)
    return RENDERERS[kind_of(activation.axes) or ""].draw(activation, index, context, style)
