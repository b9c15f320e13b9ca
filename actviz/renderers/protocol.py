"""What every renderer is, and what renderers share: choosing channels and saying so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actviz import mosaic, stats
from actviz.colors import Scale, clipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, Context, Picture, Style
    from actviz.stats import ChannelStatistics

LISTED = 6


class Renderer(Protocol):
    """Draws one kind of axes."""

    def accepts(self, axes: Axes) -> bool:
        """Tell whether it draws an activation with these axes, batch first."""

    def draw(
        self, activation: Activation, index: int, context: Context, style: Style
    ) -> Picture:
        """Draw one input of the batch; see `actviz.renderers.draw`."""


def chosen_channels(numbers: ChannelStatistics, style: Style) -> list[int]:
    """Return the channels to draw: selected, sorted by the measure, then the first `top`."""
    wanted = set(selected := mosaic.select(style.channels, len(numbers.minimum)))
    if style.sort != "index":
        selected = [
            int(channel)
            for channel in stats.order(numbers, style.sort)
            if int(channel) in wanted
        ]
    return selected[: style.top] if style.top else selected


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape for people: ``11 × 11 × 64``."""
    return " × ".join(str(size) for size in shape) or "one value"


def captions(
    noun: str,
    chosen: list[int],
    values: NDArray[Any],
    numbers: ChannelStatistics,
    style: Style,
) -> list[str]:
    """Say how many channels are shown, by which order, and which of them are dead or constant."""
    total = len(numbers.minimum)
    shown = f"{len(chosen):,} of {total:,} {noun}{'s' if total != 1 else ''}"
    if style.sort != "index":
        shown += f", strongest by {style.sort}"
    states = numbers.states()
    parts = [shown]
    dead = [channel for channel in range(total) if states[channel] == stats.DEAD]
    parts.append(
        f"{len(dead):,} dead on this input{_listed(dead)}"
        if dead
        else "none dead on this input"
    )
    constant = [
        channel for channel in range(total) if states[channel] == stats.CONSTANT
    ]
    if constant:
        parts.append(f"{len(constant):,} constant{_listed(constant)}")
    if (
        not numbers.nans.any()
        and not numbers.infinities.any()
        and values.dtype.kind not in "iub"
    ):
        parts.append("no NaN")
    return parts


def warnings_of(
    numbers: ChannelStatistics, values: NDArray[Any], scale: Scale
) -> list[str]:
    """Say what must not be overlooked: NaN, infinities, clipped values."""
    parts = []
    nans, infinities = int(numbers.nans.sum()), int(numbers.infinities.sum())
    if nans:
        parts.append(f"{nans:,} NaN")
    if infinities:
        parts.append(f"{infinities:,} infinite")
    if parts:
        broken = [
            channel
            for channel, count in enumerate(numbers.nans + numbers.infinities)
            if count
        ]
        parts[-1] += (
            f" in {len(broken):,} filter{'s' if len(broken) != 1 else ''}{_listed(broken)}, drawn in magenta"
        )
    outside = clipped(values, scale)
    if outside:
        parts.append(
            f"{outside:,} of {values.size:,} values lie outside the scale and take the colour of its end"
        )
    return parts


def _listed(channels: list[int]) -> str:
    if len(channels) <= LISTED:
        return f" ({', '.join(map(str, channels))})"
    return f" ({', '.join(map(str, channels[:LISTED]))}, …)"


def record(
    values: NDArray[np.generic],
    numbers: ChannelStatistics,
    scale: Scale,
    chosen: list[int],
) -> dict[str, Any]:
    """Return what a manifest records of a picture: numbers, scale, channels shown."""
    result = stats.summary(values, numbers)
    result |= {
        "shown": len(chosen),
        "scale": scale.mode,
        "cmap": scale.cmap,
        "signed": scale.signed,
        "clipped": clipped(values, scale),
    }
    if scale.mode != "filter" and scale.low.size:
        result["range"] = [float(scale.low[0]), float(scale.high[0])]
    return result
