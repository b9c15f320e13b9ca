"""Draw activations: one renderer per kind of axes, see `Renderer`, and one line each in `RENDERERS`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from actviz.errors import UsageError
from actviz.figures import page_layout
from actviz.figures.renderers import (
    attention,
    batch_entry,
    overlay,
    parts,
    reduction,
    sequence,
    slices,
    spatial,
    vector,
)
from actviz.figures.renderers.frames import FramesRenderer
from actviz.records import sizes_text

if TYPE_CHECKING:
    from actviz.figures.renderers.renderer_protocol import Renderer
    from actviz.records import Activation, Axes, Context, LayerInfo, Picture, Style

__all__ = ["RENDERERS", "draw", "kind_of", "kind_of_layer", "renderer_of"]

RENDERERS: dict[str, Renderer] = {
    "grid": spatial,
    "vector": vector,
    "sequence": sequence,
    "film": FramesRenderer("step"),
    "volume": FramesRenderer("plane"),
    "attention": attention,
    "montage": slices,
}
"""Renderers by the name that `actviz layers` prints; the first one that accepts the axes is used."""

# Text, objects and complex numbers have no order that a color scale could show.
_UNDRAWN = {"O": "objects", "S": "text", "U": "text", "T": "text", "c": "complex numbers"}


def kind_of(axes: Axes) -> str | None:
    """Return the name of the renderer for these axes, ``None`` if there is none."""
    return next((name for name, renderer in RENDERERS.items() if renderer.accepts(axes)), None)


def kind_of_layer(layer: LayerInfo) -> str | None:
    """Return the name of the renderer for what a layer computes, ``None`` if there is none."""
    return kind_of(batch_entry.drawn_axes(layer.axes, layer.shape, layer.kind))


def renderer_of(axes: Axes) -> Renderer | None:
    """Return the renderer for these axes, ``None`` if there is none."""
    return RENDERERS.get(kind_of(axes) or "")


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw entry `index` of an activation's batch with the renderer for its axes.

    Raises
    ------
    UsageError
        If the axes or values cannot be drawn, or the style requests what the activation does
        not have.
    LimitError
        If the figure would be too large.
    """
    name, values = activation.address, activation.values
    if values.dtype.kind in _UNDRAWN:
        texts = values.dtype.kind == "O" and all(isinstance(item, (str, bytes)) for item in values.flat)
        what = "text" if texts else _UNDRAWN[values.dtype.kind]
        raise UsageError(f"layer {name!r} gives {what}, which cannot be drawn; choose another layer.")
    if len(activation.axes) != values.ndim:
        raise UsageError(
            f"layer {name!r} has {values.ndim} axes, but {len(activation.axes)} are named:"
            f" {', '.join(activation.axes)}; name each one."
        )
    duplicate = next((axis for axis in activation.axes if activation.axes.count(axis) > 1), None)
    if duplicate is not None:
        raise UsageError(f"layer {name!r} has two axes called {duplicate!r}; give each its own name.")
    renderer = renderer_of(activation.axes)
    if renderer is None:
        axes = ", ".join(activation.axes)
        raise UsageError(f"layer {name!r} has the axes ({axes}), of which the first must be the batch; name them so.")
    if 0 in values.shape:
        raise UsageError(
            f"layer {name!r} is empty ({sizes_text(values.shape)}): there is nothing to draw; give a larger input."
        )
    if not style.overlay and style.reduce is None:
        flat = batch_entry.without_single_axes(activation)
        if flat is not activation:
            context = replace(context, maps_shape=values.shape[1:])
            activation, renderer = flat, renderer_of(flat.axes) or renderer
    if style.reduce is not None and not style.reduce.startswith("nmf"):
        return _draw_reduced(activation, index, context, style)
    drawing = parts if style.reduce is not None else overlay if style.overlay else renderer
    return page_layout.draw_legibly(partial(drawing.draw, activation, index, context, style), style.font_scale)


def _draw_reduced(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw the selected channels of an entry reduced to one map, and record the reduction."""
    reduced, note = reduction.reduce_channels(activation, index, style, context)
    rest = replace(style, reduce=None, channels=None, sort="index", top=None)
    picture = draw(reduced, 0, replace(context, reduced=note), rest)
    notes = [note, picture.numbers["reduced"]] if picture.numbers["reduced"] else [note]
    return replace(picture, numbers=picture.numbers | {"reduced": "; ".join(notes)})
