"""Preparation of maps for drawing: statistics, selected channels, color limits and colormap."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError
from actviz.figures import color_scale, colors, mosaic, text
from actviz.figures.color_scale import ColorScale
from actviz.figures.histograms import FigureHistogram
from actviz.figures.renderers import padding
from actviz.records import FORWARD, Tile
from actviz.statistics import channel_statistics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from actviz.records import Activation, Box, Style


_MAX_LEVELS, _MAX_NAMES = 12, 8

TileAxes = tuple[tuple[str, ...], str | None, str | None]
"""The axes of an activation along tiles, down a tile and across a tile."""


@dataclass(frozen=True, slots=True)
class PreparedMaps:
    """The maps of one activation for one input, ready to be drawn.

    Attributes
    ----------
    maps
        All channels, ``(channel, row, column)``, float32 or float64.
    numbers
        Statistics of `maps`.
    channels
        The channels to draw, in order.
    low, high
        Color limits of each channel, float64 ``(channel,)``.
    levels
        Value and name of each level, ascending, if the values are a few integers or booleans.
    requested_range
        The color limits that the scale requests; values may lie outside.
    distribution
        Distribution of the finite values of the layer, if a histogram is drawn.
    image_numbers
        Statistics of the part of `maps` without padding, which orders and strengths are computed from.
    """

    maps: NDArray[Any]
    numbers: channel_statistics.ChannelStatistics
    channels: list[int]
    scale: ColorScale
    signed: bool
    table: colors.ColorTable
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    levels: tuple[tuple[float, str], ...] = ()
    requested_range: tuple[float, float] | None = None
    distribution: channel_statistics.ValueDistribution | None = None
    step_order: str = FORWARD
    image_numbers: channel_statistics.ChannelStatistics | None = None

    @property
    def strength(self) -> NDArray[np.float64]:
        """Largest magnitude of each channel, ``(channel,)``, without padding."""
        return (self.image_numbers or self.numbers).strength

    @property
    def total(self) -> int:
        """Number of channels of the layer."""
        return len(self.maps)

    def shown(self) -> NDArray[Any]:
        """Return the maps to draw in order, ``(tile, row, column)``."""
        return self.maps if self.whole else self.maps[self.channels]

    @property
    def whole(self) -> bool:
        """Whether all channels are drawn in the order of the layer."""
        return self.channels == list(range(self.total))

    def steps(self) -> NDArray[np.uint8]:
        """Return the color step of each value to draw, uint8 ``(tile, row, column)``."""
        low, high = self.low[self.channels], self.high[self.channels]
        return colors.values_to_steps(self.shown(), low, high, signed=self.signed)

    def painted(self) -> NDArray[np.uint32]:
        """Return the packed pixels of the maps to draw, uint32 ``(tile, row, column)``."""
        pixels = colors.steps_to_pixels(self.steps(), self.table)
        if not self.numbers.finite:
            colors.paint_nonfinite(pixels, self.shown(), self.table)
        return pixels

    def written_ranges(self) -> list[tuple[float, float]]:
        """Return the two numbers to write beside each tile.

        These are its smallest and largest value, or its color limits if they are percentiles of the tile.
        """
        limits = (
            (self.low, self.high) if self.scale.per_tile_percentiles else (self.numbers.minimum, self.numbers.maximum)
        )
        low, high = (values[self.channels].tolist() for values in limits)
        return list(zip(low, high, strict=True))

    def states(self) -> list[str]:
        """Return the state of each channel to draw, such as ``dead``."""
        return [channel_statistics.STATES[code] for code in self.numbers.state[self.channels].tolist()]

    def tiles(self, boxes: Iterable[Box]) -> list[Tile]:
        """Return the tile of each channel to draw, in these boxes."""
        low, high = self.low[self.channels].tolist(), self.high[self.channels].tolist()
        return list(map(Tile, self.channels, boxes, low, high, self.states()))

    def strength_shares(self) -> NDArray[np.float64]:
        """Return the strength of each channel to draw, relative to the strongest channel of the layer, 0..1."""
        strength = self.strength
        shares: NDArray[np.float64] = strength[self.channels] / (float(strength.max()) or 1.0)
        return shares

    @property
    def clips(self) -> bool:
        """Whether values may lie outside their color limits."""
        return self.requested_range is not None or self.scale.per_tile_percentiles

    def clipped_of_tiles(self) -> list[tuple[int, int]]:
        """Return the numbers of values below and above the color limits for each tile to draw."""
        if not self.clips:
            return [(0, 0)] * len(self.channels)
        low, high = self.low[self.channels].tolist(), self.high[self.channels].tolist()
        return list(map(colors.count_clipped, self.shown(), low, high))

    def clipped(self) -> tuple[int, int]:
        """Return the numbers of drawn values below and above their color limits."""
        if self.requested_range is not None:
            return colors.count_clipped(self.shown(), *self.requested_range)
        counts = self.clipped_of_tiles() if self.clips else []
        return sum(below for below, _ in counts), sum(above for _, above in counts)

    def record(self, style: Style, axes: TileAxes | None = None) -> dict[str, Any]:
        """Return the record of the figure in the manifest; `axes` are those of the tiles."""
        record = channel_statistics.layer_numbers(self.maps, self.numbers)
        below, above = self.clipped()
        record.update(
            channels=self.total,
            shown=len(self.channels),
            sort=style.measure,
            scale=str(self.scale),
            signed=self.signed,
            colormap=self.table.name,
            invertible=self.table.invertible,
            low=float(self.low.min()),
            high=float(self.high.max()),
            clipped=below + above,
            clipped_below=below,
            clipped_above=above,
            reduced=False,
        )
        if self.distribution is not None:
            record["distribution"] = dataclasses.asdict(self.distribution)
        if self.step_order != FORWARD:
            record["step_order"] = self.step_order
        if self.image_numbers is not None:
            record["padding"] = padding.LEFT_OUT
        if axes is not None:
            record["axes"] = {"tiles": list(axes[0]), "down": axes[1], "across": axes[2]}
        return record


def scale_for(style: Style, maps: NDArray[Any]) -> ColorScale:
    """Return the scale for maps ``(channel, row, column)``.

    Tiles of one value cannot each have their own range, since all would have the last color.
    """
    scale = color_scale.parse_scale(style.scale)
    return color_scale.resolve_scale(scale, per_tile=maps[0].size > 1, reason="one value has no range of its own")


def prepare(
    activation: Activation, maps: NDArray[Any], style: Style, scale: ColorScale, part: tuple[slice, slice] | None = None
) -> PreparedMaps:
    """Select the channels of `maps`, ``(channel, row, column)``, and their color limits and colormap.

    `part` are the rows and columns that orders and strengths are computed from (``None``: all). A requested
    range determines the colormap independently of the values, so that figures with the same scale look alike.

    Raises
    ------
    UsageError
        If the channels, measure, scale or colormap of the style do not exist.
    """
    _check_style(style)
    levels = _named_levels(activation, maps)
    numbers = channel_statistics.statistics(maps)
    image_numbers = None if part is None else channel_statistics.statistics(maps[:, part[0], part[1]])
    scale = _scale_for_values(activation, scale, style, numbers, whole=bool(levels))
    channels = mosaic.parse_channels(style.channels, len(maps))
    channels = mosaic.keep_top(channel_statistics.order(image_numbers or numbers, channels, style.measure), style.top)
    signed = colors.is_signed(activation.signed, numbers.minimum)
    requested_range = _requested_range(activation.address, scale, style, (maps, numbers))
    if scale.per_tile_percentiles:
        low, high = _percentile_limits(scale, maps, numbers, signed=signed)
        centred = signed
    elif requested_range is None:
        low, high = colors.color_limits(scale, numbers.minimum, numbers.maximum, signed=signed)
        centred = signed
    else:
        low, high = (np.full(len(maps), end) for end in requested_range)
        centred = colors.is_symmetric(*requested_range)
    name = style.cmap or colors.default_colormap(centred=centred, dark=style.dark)
    distribution = (
        channel_statistics.distribution(channel_statistics.finite_values(maps, numbers), whole=bool(levels))
        if style.histogram
        else None
    )
    table, order = colors.table(name), activation.step_order
    return PreparedMaps(
        maps,
        numbers,
        channels,
        scale,
        centred,
        table,
        low,
        high,
        levels,
        requested_range,
        distribution,
        order,
        image_numbers,
    )


def _scale_for_values(
    activation: Activation,
    scale: ColorScale,
    style: Style,
    numbers: channel_statistics.ChannelStatistics,
    *,
    whole: bool,
) -> ColorScale:
    """Return the scale adapted to the values of an activation.

    With the default scale the bounds of the activation function are the color limits, so that 0.22 of a
    sigmoid does not have the color of 1, unless values outside show that the recorded function is wrong.
    Integers (`whole`) have one color each.
    """
    if style.scale == "auto" and activation.bounds is not None and not whole:
        low, high = activation.bounds
        if not ((numbers.minimum < low).any() or (numbers.maximum > high).any()):
            return ColorScale("bounds", low, high)
    if whole and scale.kind == "filter":
        return ColorScale("layer", reason="a whole number has one color" if style.scale == "filter" else "")
    return scale


def _percentile_limits(
    scale: ColorScale, maps: NDArray[Any], numbers: channel_statistics.ChannelStatistics, *, signed: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return color limits between two percentiles of each channel, two arrays ``(channel,)``.

    In a signed layer zero stays in the middle. If both percentiles are equal, the limits are those of
    all values of the channel.
    """
    low, high = np.nan_to_num(channel_statistics.percentiles_of_channels(maps, (scale.low, scale.high)), nan=0.0)
    if signed:
        high = np.maximum(np.abs(low), np.abs(high))
        low = -high
    whole = colors.color_limits(scale, numbers.minimum, numbers.maximum, signed=signed)
    return np.where(low < high, low, whole[0]), np.where(low < high, high, whole[1])


def _check_style(style: Style) -> None:
    if style.measure not in channel_statistics.MEASURES:
        raise UsageError(f"unknown measure {style.measure!r}; use {', '.join(channel_statistics.MEASURES)}.")
    if style.columns is not None and style.columns < 1:
        raise UsageError(f"columns {style.columns} is not valid; use 1 or more.")
    if style.zoom is not None and style.zoom < 1:
        raise UsageError(f"zoom {style.zoom} is not valid; use 1 or more.")
    if style.bare and style.histogram:
        raise UsageError("a bare mosaic has no room for a histogram; leave --bare or --histogram out.")


def _requested_range(
    address: str, scale: ColorScale, style: Style, layer: tuple[NDArray[Any], channel_statistics.ChannelStatistics]
) -> tuple[float, float] | None:
    """Return the color limits that a scale requests, ``None`` if they are computed from each layer.

    Percentiles of opposite sign give limits with zero in the middle; equal percentiles give ``None``.
    """
    if scale.kind in {"fixed", "bounds"}:
        return scale.low, scale.high
    if scale.kind == "percentile":
        finite = channel_statistics.finite_values(*layer)
        low, high = channel_statistics.percentiles(finite, (scale.low, scale.high)) if finite.size else (0.0, 0.0)
        return colors.symmetric_limits(low, high) if low < high else None
    if scale.kind not in color_scale.RANGES_BY_ADDRESS:
        return None
    if address not in style.ranges:
        known = ", ".join(f"{name!r}" for name in list(style.ranges)[:_MAX_NAMES]) or "none"
        message = f"scale {scale}: no range is known of layer {address!r}, only of {known}; choose another scale."
        raise UsageError(message)
    low, high = style.ranges[address]
    if not colors.is_valid_range(low, high):
        message = f"layer {address!r}: the range {low:g} to {high:g} is not valid; two finite numbers were expected, the smaller one first."
        raise UsageError(message)
    return low, high


def _named_levels(activation: Activation, maps: NDArray[Any]) -> tuple[tuple[float, str], ...]:
    """Return value and name of each level if an activation holds at most 12 integers or booleans, else none."""
    kind = activation.values.dtype.kind
    if kind not in "biu" or not maps.size:
        return ()
    levels = np.unique(maps)
    if len(levels) > _MAX_LEVELS:
        return ()
    names = {0.0: "false", 1.0: "true"} if kind == "b" else {}
    return tuple((value, names.get(value, text.number(value, 6))) for value in levels.tolist())


def histogram(prepared: PreparedMaps, *, reduced: bool = False) -> FigureHistogram | None:
    """Return the histogram of a figure, ``None`` if none is requested or no value is finite.

    `reduced` is true if each value is computed from several values of the layer.
    """
    if prepared.distribution is None:
        return None
    return FigureHistogram(prepared.distribution, prepared.levels, prepared.requested_range, reduced)
