"""Reductions: block means of maps too large for a picture, and channels reduced to one map."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError
from actviz.figures import mosaic
from actviz.figures.renderers import captions, padding
from actviz.statistics import channel_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, Context, Style

BUDGET = 16_000_000


def block_factors(count: int, rows: int, columns: int, budget: int | None = None) -> tuple[int, int]:
    """Return the height and width of the blocks that are averaged so that at most `budget` (`BUDGET`) values remain.

    The longer side is divided first; (1, 1) if all values fit.
    """
    budget = BUDGET if budget is None else budget
    down = across = 1
    while count * -(-rows // down) * -(-columns // across) > budget and (rows > down or columns > across):
        if rows / down > columns / across:
            down += 1
        else:
            across += 1
    return down, across


def block_means(maps: NDArray[Any], down: int, across: int) -> NDArray[np.float64]:
    """Return the mean of each block of `down` rows and `across` columns, float64 ``(tile, row, column)``.

    Blocks at the ends may be smaller. The mean of a block with a NaN or an infinity is not finite.
    """
    values = maps.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for axis, factor in ((1, down), (2, across)):
            if factor > 1:
                size = values.shape[axis]
                starts = np.arange(0, size, factor)
                shape = [1, 1, 1]
                shape[axis] = len(starts)
                counts = np.minimum(factor, size - starts).reshape(shape)
                # Divide before adding, so that sums of huge values stay finite.
                values = np.add.reduceat(values / np.repeat(counts, counts.ravel(), axis=axis), starts, axis=axis)
    return values


def block_mean_note(axis_names: tuple[str, str], block: tuple[int, int]) -> str:
    """Return the description of block means for a caption and the manifest."""
    blocks = " by ".join(f"{factor} {noun}s" for factor, noun in zip(block, axis_names, strict=True) if factor > 1)
    return f"each value drawn is the mean of {blocks}"


SIGNED_MAX = "largest |value| (signed)"
REDUCTIONS = {"mean": "mean", "max": "maximum", "l2": "L2 norm"}


def reduce_channels(
    activation: Activation, index: int, style: Style, context: Context | None = None
) -> tuple[Activation, str]:
    """Return one entry of the batch with its selected channels reduced to one map, and the description of that.

    Raises
    ------
    UsageError
        If the activation has no channels, or the style is invalid.
    """
    name = activation.address
    if style.reduce is not None and style.reduce.startswith("nmf"):
        raise UsageError(
            "--reduce nmf draws a figure of its own for each layer; name layers with --layer, without --scale run."
        )
    if style.reduce not in REDUCTIONS:
        raise UsageError(f"unknown reduction {style.reduce!r}; use {', '.join(REDUCTIONS)}.")
    if "channel" not in activation.axes:
        raise UsageError(f"layer {name!r} has no channels to bring into one map; leave out --reduce.")
    axis = activation.axes.index("channel")
    values = np.moveaxis(channel_statistics.as_numbers(activation.values[index]), axis - 1, 0)
    moved = ("channel", *(axis for axis in activation.axes[1:] if axis != "channel"))
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    channels = mosaic.parse_channels(style.channels, len(flat))
    if style.measure != "index":
        channels = channel_statistics.order(
            channel_statistics.statistics(values_in_image(values, moved, activation, context)), channels, style.measure
        )
    channels = mosaic.keep_top(channels, style.top)
    map_ = _reduced(flat[channels], style.reduce).reshape(values.shape[1:])
    count = f"{len(channels):,}" + (f" of {len(flat):,}" if len(channels) < len(flat) else "")
    signed_max = style.reduce == "max" and bool((flat[channels] < 0).any())
    note = f"{SIGNED_MAX if signed_max else REDUCTIONS[style.reduce]} of {count} filter{'s' if len(flat) > 1 else ''}"
    if len(channels) < len(flat):
        note += captions.selection_note(len(channels), len(flat), style)
    axes = tuple(axis for axis in activation.axes if axis != "channel")
    signed, bounds = (False, None) if style.reduce == "l2" else (activation.signed, activation.bounds)
    mask = None if activation.mask is None else activation.mask[index : index + 1]
    return replace(activation, values=map_[None], axes=axes, signed=signed, mask=mask, bounds=bounds), note


def values_in_image(values: NDArray[Any], axes: Axes, activation: Activation, context: Context | None) -> NDArray[Any]:
    """Return the values of one entry of the batch, with these `axes`, without those of padding."""
    if context is None or set(axes) - {"channel"} != {"row", "column"}:
        return values
    down, across = axes.index("row"), axes.index("column")
    part = padding.image_region(activation, context, (values.shape[down], values.shape[across]))
    if part is None:
        return values
    slices: list[slice] = [slice(None)] * values.ndim
    slices[down], slices[across] = part
    return values[tuple(slices)]


def as_drawn(activation: Activation, style: Style) -> Activation:
    """Return the first entry of the batch reduced as in `style.reduce`, or unchanged if it cannot be reduced.

    Raises
    ------
    UsageError
        If the style is invalid.
    """
    if style.reduce is None or "channel" not in activation.axes or activation.values.dtype.kind in "OSUTc":
        return activation
    count = activation.values.shape[activation.axes.index("channel")]
    channels = mosaic.existing_channels(style.channels, count)
    if channels == "" or 0 in activation.values.shape:
        return activation
    return reduce_channels(activation, 0, replace(style, channels=channels))[0]


def _reduced(flat: NDArray[Any], how: str) -> NDArray[Any]:
    """Reduce ``(channel, value)`` over channels to ``(value,)``; NaN in any channel gives NaN.

    ``max`` is the value of largest magnitude, with its sign.
    """
    with np.errstate(all="ignore"):
        if how == "max":
            return channel_statistics.furthest(flat)
        wide = flat.astype(np.float64)
        if how == "mean":
            mean: NDArray[Any] = (wide / len(wide)).sum(axis=0)
            return mean
        # Scaling by a power of two keeps squares of huge values finite and squares of tiny values above 0.
        largest = np.abs(wide[np.isfinite(wide)]).max(initial=0.0)
        factor = 2.0 ** -float(np.clip(np.frexp(largest)[1], -1000, 1000))
        root: NDArray[Any] = np.sqrt(((wide * factor) ** 2).sum(axis=0)) / factor
        return root
