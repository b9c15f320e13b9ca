"""Numbers of each channel of a layer over any number of inputs: taken in parts, then joined.

What `stats` says of one input, this says of all of them without keeping any: the totals of
two sets of inputs give those of both, in any order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.statistics.channel_statistics import as_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation

CHANNEL_AXES = ("channel", "unit", "head")
NEAR = 0.01
_BOUNDS: dict[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}
_CLIPPED_RELU = re.compile(r"relu(\d+(?:\.\d+)?)")

# A part of the values stays in the cache while every number is taken of it, and its rows
# are long, because a row costs more than its values where it is short.
_BLOCK_BYTES = 1 << 20
_ROW = 4096
# Squares of float32 values within these bounds neither overflow nor vanish.
_LARGEST_SINGLE = 1e15
# Where the mean is so much larger than the spread, squares say little about the latter.
_CENTRED = 1e-4


@dataclass(frozen=True, slots=True)
class RunningStatistics:
    """Numbers of each channel; every array is float64 ``(channel,)`` in channel order.

    `finite` counts the values that are neither NaN nor infinite; `minimum`, `maximum` and
    `mean` are of those, NaN where there is none, and `square` is the sum of their squared
    distances from the mean. `nan` and `infinite` are counts. `zeros` and `saturated`
    (within one hundredth of a bound of the activation function; NaN where it has none)
    count values of the whole layer.
    """

    finite: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    mean: NDArray[np.float64]
    square: NDArray[np.float64]
    nan: NDArray[np.float64]
    infinite: NDArray[np.float64]
    zeros: float
    saturated: float

    @property
    def channels(self) -> int:
        """The number of channels."""
        return len(self.finite)

    @property
    def count(self) -> float:
        """The number of values of the layer, finite or not."""
        return float((self.finite + self.nan + self.infinite).sum())

    @property
    def std(self) -> NDArray[np.float64]:
        """The standard deviation of each channel, NaN where there is no finite value."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(self.square / self.finite)

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Whether a channel gave nothing but 0."""
        return _truths(self._known & (self.minimum == 0) & (self.maximum == 0))

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Whether a channel gave one value, not 0, every time, and more than once."""
        same = (self.minimum == self.maximum) & (self.minimum != 0)
        return _truths(self._known & same & (self.finite > 1))

    @property
    def _known(self) -> NDArray[np.bool_]:
        return _truths((self.nan == 0) & (self.infinite == 0) & (self.finite > 0))

    def packed(self) -> NDArray[np.float64]:
        """Return everything as one array ``(number, channel)``, for `unpacked`."""
        columns = [np.broadcast_to(getattr(self, field.name), (self.channels,)) for field in fields(self)]
        return np.array(columns, np.float64).reshape(len(columns), self.channels)


def _truths(values: Any) -> NDArray[np.bool_]:
    """Return a comparison as the array of truths that it is."""
    return np.asarray(values, np.bool_)


def unpacked(packed: NDArray[np.float64]) -> RunningStatistics:
    """Return what `Totals.packed` packed."""
    *columns, zeros, saturated = packed
    return RunningStatistics(*columns, *(float(one[0]) if len(one) else 0.0 for one in (zeros, saturated)))


def bounds_of(activation: str | None) -> tuple[float, float] | None:
    """Return the values between which an activation function stays, ``None`` where it has no such.

    A clipped ReLU (``relu6``) is only bounded above here: its lower bound is the zero of
    every ReLU. Softmax is not counted: a sure answer is no fault.
    """
    if activation is None:
        return None
    clipped = _CLIPPED_RELU.fullmatch(activation)
    return (-np.inf, float(clipped[1])) if clipped else _BOUNDS.get(activation)


def cuts_of(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the values at and beyond which one counts as saturated."""
    if bounds is None:
        return None
    low, high = bounds
    width = high - (low if np.isfinite(low) else 0.0)
    return low + NEAR * width, high - NEAR * width


def totals_of(activation: Activation, cuts: tuple[float, float] | None = None) -> RunningStatistics:
    """Return the numbers of a layer for a batch; steps that are masked are left out.

    Raises
    ------
    TypeError
        When the values are no real numbers.
    """
    values, axes = as_numbers(activation.values), activation.axes
    mask = activation.mask
    if mask is not None and axes[:2] == ("batch", "step") and values.shape[:2] == mask.shape:
        values, axes = values[mask], axes[1:]
    name = next((axis for axis in CHANNEL_AXES if axis in axes), None)
    if name is None:
        return _totals(np.ascontiguousarray(values).reshape(-1, 1), cuts)
    moved = np.ascontiguousarray(np.moveaxis(values, axes.index(name), -1))
    return _totals(moved.reshape(-1, moved.shape[-1]) if moved.size else moved[:0], cuts)


def join(first: RunningStatistics, second: RunningStatistics) -> RunningStatistics:
    """Return the totals of two sets of inputs together (Chan, Golub and LeVeque 1983)."""
    finite = first.finite + second.finite
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        share = np.where(finite > 0, second.finite / finite, 0.0)
        ours, theirs = (np.where(one.finite > 0, one.mean, 0.0) for one in (first, second))
        apart = np.where((first.finite > 0) & (second.finite > 0), theirs - ours, 0.0)
        square = first.square + second.square + apart * apart * first.finite * share
        mean = np.where(first.finite > 0, ours + apart * share, theirs)
    return RunningStatistics(
        finite,
        np.fmin(first.minimum, second.minimum),
        np.fmax(first.maximum, second.maximum),
        np.where(finite > 0, mean, np.nan),
        square,
        first.nan + second.nan,
        first.infinite + second.infinite,
        first.zeros + second.zeros,
        first.saturated + second.saturated,
    )


def first_nonfinite(values: NDArray[Any]) -> int | None:
    """Return the first entry of the batch that holds a NaN or an infinity, ``None`` if none does."""
    numbers = as_numbers(values)
    for number, entry in enumerate(numbers):
        if not np.isfinite(entry).all():
            return number
    return None


def _totals(values: NDArray[Any], cuts: tuple[float, float] | None) -> RunningStatistics:
    """Return the numbers of ``(value, channel)``, C-contiguous float32 or float64."""
    count, channels = values.shape[0], values.shape[-1]
    if not values.size:
        nothing, none = np.full(channels, np.nan), np.zeros(channels)
        return RunningStatistics(none, nothing, nothing, nothing, none, none, none, 0.0, 0.0 if cuts else np.nan)
    parts = [_part(block, cuts) for block in _blocks(values)]
    low = np.min([part.low.reshape(-1, channels).min(axis=0) for part in parts], axis=0).astype(np.float64)
    high = np.max([part.high.reshape(-1, channels).max(axis=0) for part in parts], axis=0).astype(np.float64)
    zeros = float(sum(part.zeros for part in parts))
    saturated = float(sum(part.saturated for part in parts)) if cuts else np.nan
    none = np.zeros(channels)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return _mixed(values, zeros, saturated)
    total = np.sum([part.total.reshape(-1, channels).sum(axis=0) for part in parts], axis=0)
    squares = np.sum([part.squares.reshape(-1, channels).sum(axis=0) for part in parts], axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        # Rounding may put a mean outside the values that it is the mean of.
        mean = np.clip(total / count, low, high)
        square = np.maximum(squares - count * mean * mean, 0.0)
        unsure = ~(square > _CENTRED * count * mean * mean)
    square[low == high] = 0.0
    for channel in np.flatnonzero(unsure & (low != high)):
        mean[channel], square[channel] = _centred(values[:, channel])
    return RunningStatistics(np.full(channels, float(count)), low, high, mean, square, none, none, zeros, saturated)


def _centred(values: NDArray[Any]) -> tuple[float, float]:
    """Return the mean of finite values and the sum of their squared distances from it."""
    exact = values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(exact.mean())
        if not np.isfinite(mean):
            mean = float((exact / len(exact)).sum())
        exact -= mean
        return mean, float(exact @ exact)


def _mixed(values: NDArray[Any], zeros: float, saturated: float) -> RunningStatistics:
    """Return the numbers of channels of which some have NaN or infinities."""
    nan, infinite = np.isnan(values).sum(axis=0), np.isinf(values).sum(axis=0)
    finite = len(values) - nan - infinite
    low, high, mean = (np.full(values.shape[1], np.nan) for _ in range(3))
    square = np.zeros(values.shape[1])
    for channel in np.flatnonzero(finite):
        one = values[:, channel]
        good = one[np.isfinite(one)]
        low[channel], high[channel] = good.min(), good.max()
        mean[channel], square[channel] = _centred(good)
    counts = (one.astype(np.float64) for one in (finite, nan, infinite))
    many, nans, infinities = counts
    return RunningStatistics(many, low, high, mean, square, nans, infinities, zeros, saturated)


@dataclass(frozen=True, slots=True)
class _ColumnStatistics:
    """Numbers of the columns of a block; a column belongs to its number modulo the channels."""

    low: NDArray[Any]
    high: NDArray[Any]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    zeros: int
    saturated: int


def _blocks(values: NDArray[Any]) -> Sequence[NDArray[Any]]:
    """Cut ``(value, channel)`` into blocks whose rows hold several values of every channel."""
    count, channels = values.shape
    several = max(1, min(count, _ROW // channels))
    rows = count // several
    folded = values[: rows * several].reshape(rows, several * channels)
    high = max(1, _BLOCK_BYTES // max(1, folded[0].nbytes))
    blocks = [folded[start : start + high] for start in range(0, rows, high)]
    rest = values[rows * several :]
    return [*blocks, rest] if len(rest) else blocks


def _part(block: NDArray[Any], cuts: tuple[float, float] | None) -> _ColumnStatistics:
    with np.errstate(invalid="ignore", over="ignore"):
        low, high = block.min(axis=0), block.max(axis=0)
        largest = max(abs(float(low.min())), abs(float(high.max())))
        exact = block if largest < _LARGEST_SINGLE else block.astype(np.float64)
        total = exact.sum(axis=0).astype(np.float64)
        squares = np.einsum("ij,ij->j", exact, exact).astype(np.float64)
        saturated = 0
        if cuts is not None:
            saturated = int(np.count_nonzero(block >= cuts[1]))
            saturated += int(np.count_nonzero(block <= cuts[0])) if np.isfinite(cuts[0]) else 0
    return _ColumnStatistics(low, high, total, squares, block.size - int(np.count_nonzero(block != 0)), saturated)
