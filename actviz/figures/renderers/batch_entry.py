"""One entry of a batch: its values with the axes in a given order, its masked steps, the names of its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError
from actviz.records import MIXED, REVERSED
from actviz.statistics import channel_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, Context


def step_words(activation: Activation, context: Context, count: int) -> tuple[str, ...]:
    """Return the words of the input in the order of the `count` steps of an activation, or none if their number differs."""
    if len(context.steps) != count or activation.step_order == MIXED:
        return ()
    return context.steps[::-1] if activation.step_order == REVERSED else context.steps


def maps_in_order(activation: Activation, index: int, order: Axes) -> NDArray[Any]:
    """Return one entry of the batch with its axes in `order`, contiguous; an axis that it lacks has length 1."""
    axes, values = activation.axes[1:], activation.values[index]
    transposed = values.transpose([axes.index(name) for name in order if name in axes])
    lengths = iter(transposed.shape)
    shape = [next(lengths) if name in axes else 1 for name in order]
    return np.ascontiguousarray(channel_statistics.as_numbers(transposed.reshape(shape)))


def without_single_axes(activation: Activation) -> Activation:
    """Return maps of one row or one column of values as a sequence, and maps of one value as a vector.

    Others, and the pictures of inputs, are returned unchanged.
    """
    shape = activation.values.shape
    axes = drawn_axes(activation.axes, shape, activation.kind)
    if axes == activation.axes or 0 in shape:
        return activation
    kept = [size for name, size in zip(activation.axes, shape, strict=True) if name in axes]
    return replace(activation, values=activation.values.reshape(kept), axes=axes)


def drawn_axes(axes: Axes, shape: Sequence[int | None] | None, kind: str) -> Axes:
    """Return the axes of a layer of class `kind` without rows and columns of one value, if these are maps.

    A size of `shape` is ``None`` if it is only known with an input.
    """
    if shape is None or len(shape) != len(axes) or sorted(axes[1:]) != ["channel", "column", "row"]:
        return axes
    single = {name for name, size in zip(axes, shape, strict=True) if size == 1 and name in {"row", "column"}}
    return axes if kind == "InputLayer" else tuple(name for name in axes if name not in single)


def masked_steps(activation: Activation, index: int) -> list[int]:
    """Return the indices of the masked steps of one entry of the batch."""
    mask = activation.mask
    if mask is None or "step" not in activation.axes:
        return []
    if mask.shape[1] != activation.values.shape[activation.axes.index("step")]:
        return []
    steps: list[int] = np.flatnonzero(~mask[index]).tolist()
    return steps


def unmasked_steps(activation: Activation, masked_steps: Sequence[int], count: int) -> list[int]:
    """Return the indices of the steps, `count` of them, that are not masked.

    Raises
    ------
    UsageError
        If all steps are masked.
    """
    if len(masked_steps) == count:
        message = f"layer {activation.address!r}: all {count} steps are masked on this input, so there is nothing to draw; give another input."
        raise UsageError(message)
    left_out = set(masked_steps)
    return [step for step in range(count) if step not in left_out]
