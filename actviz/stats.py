"""Numbers of an activation, channel by channel, in float64 and without a warning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERCENTILES = (1, 5, 50, 95, 99)
LIVE, DEAD, CONSTANT, NONFINITE = "live", "dead", "constant", "nonfinite"


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Numbers of each channel: arrays of one axis, ``(channel,)``, float64 or int64.

    NaN and infinities are counted and otherwise left out; a channel without a finite value
    has the minimum, maximum, mean, std and l2 of 0. `std` is that of the population.
    """

    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    l2: NDArray[np.float64]
    zeros: NDArray[np.int64]
    nans: NDArray[np.int64]
    infinities: NDArray[np.int64]
    size: int

    @property
    def absolute(self) -> NDArray[np.float64]:
        """Largest magnitude of each channel."""
        return np.maximum(np.abs(self.minimum), np.abs(self.maximum))

    def states(self) -> list[str]:
        """Return for each channel ``live``, ``dead``, ``constant`` or ``nonfinite``.

        A channel is dead when every value is zero, constant when all are one other value;
        with a single value (a 1 x 1 map) only dead can be told.
        """
        broken = self.nans + self.infinities
        states = []
        for bad, zeros, low, high in zip(
            broken, self.zeros, self.minimum, self.maximum, strict=True
        ):
            if bad:
                states.append(NONFINITE)
            elif zeros == self.size:
                states.append(DEAD)
            elif low == high and self.size > 1:
                states.append(CONSTANT)
            else:
                states.append(LIVE)
        return states


def channel_statistics(values: NDArray[Any]) -> ChannelStatistics:
    """Return the numbers of each channel.

    Parameters
    ----------
    values
        ``(channel, ...)`` of any real dtype; not changed.
    """
    count = values.shape[0]
    flat = values.reshape(count, -1).astype(np.float64)
    nans = np.isnan(flat)
    infinite = np.isinf(flat)
    broken = nans | infinite
    size = flat.shape[1]
    good = np.where(broken, 0.0, flat) if broken.any() else flat
    number = np.maximum(size - broken.sum(1), 1)
    if not size:
        low = high = np.zeros(count)
    elif broken.any():
        low = np.where(broken, np.inf, flat).min(1)
        high = np.where(broken, -np.inf, flat).max(1)
        empty = broken.all(1)
        low[empty] = high[empty] = 0.0
    else:
        low, high = flat.min(1), flat.max(1)
    # Sums of squares overflow float64 only above 1e154: scale by the largest magnitude.
    scale = np.maximum(np.maximum(np.abs(low), np.abs(high)), np.finfo(np.float64).tiny)
    scaled = good / scale[:, None]
    mean = scaled.sum(1) / number
    spread = (
        np.where(broken, 0.0, scaled - mean[:, None])
        if broken.any()
        else scaled - mean[:, None]
    )
    return ChannelStatistics(
        minimum=low,
        maximum=high,
        mean=mean * scale,
        std=np.sqrt((spread * spread).sum(1) / number) * scale,
        l2=np.sqrt((scaled * scaled).sum(1)) * scale,
        zeros=(flat == 0).sum(1),
        nans=nans.sum(1),
        infinities=infinite.sum(1),
        size=size,
    )


MEASURES = {
    "index": None,
    "max": "maximum",
    "mean": "mean",
    "std": "std",
    "l2": "l2",
}
"""What channels can be sorted by: the name on the command line and the field."""


def order(numbers: ChannelStatistics, measure: str) -> NDArray[np.int64]:
    """Return channel numbers, strongest first by a measure; by ``index`` in their own order."""
    field = MEASURES[measure]
    count = len(numbers.minimum)
    if field is None:
        return np.arange(count)
    return np.argsort(-getattr(numbers, field), kind="stable").astype(np.int64)


def summary(values: NDArray[Any], numbers: ChannelStatistics) -> dict[str, Any]:
    """Return the numbers of a whole layer for a manifest, JSON-ready.

    Keys: ``min``, ``max``, ``mean``, ``std``, ``percentiles``, ``zeros`` (share, 0..1),
    ``dead`` and ``constant`` (channel numbers), ``nan`` and ``inf`` (counts).
    """
    flat = values.reshape(-1).astype(np.float64)
    finite = flat[np.isfinite(flat)]
    states = numbers.states()
    result: dict[str, Any] = {
        "channels": len(states),
        "zeros": float(numbers.zeros.sum() / max(flat.size, 1)),
        "dead": [number for number, state in enumerate(states) if state == DEAD],
        "constant": [
            number for number, state in enumerate(states) if state == CONSTANT
        ],
        "nan": int(numbers.nans.sum()),
        "inf": int(numbers.infinities.sum()),
    }
    if finite.size:
        scale = max(float(np.abs(finite).max()), np.finfo(np.float64).tiny)
        result |= {
            "min": float(finite.min()),
            "max": float(finite.max()),
            "mean": float((finite / scale).mean() * scale),
            "std": float((finite / scale).std() * scale),
            "percentiles": {
                str(percent): float(value)
                for percent, value in zip(
                    PERCENTILES, np.percentile(finite, PERCENTILES), strict=True
                )
            },
        }
    return result
