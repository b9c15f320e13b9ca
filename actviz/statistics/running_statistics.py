"""Statistics of each channel of a layer over any number of inputs, without keeping any of them.

Merging is exact: the numbers of a set of inputs have the same bytes however the inputs are cut into batches and in
whatever order the batches are merged. Counts are integers, extremes are values; mean and deviation are taken of each
input by itself in float64, always in one order, and added in an exact accumulator that rounds once at the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from actviz.statistics.channel_statistics import as_numbers
from actviz.statistics.exact_sums import ExactSums, exact_products, quotients
from actviz.statistics.reducer import LayerReducer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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

# One part of the values stays in the cache while every number is taken of it, and its rows are long, because a row
# costs more than its values where it is short.
_BLOCK_BYTES = 1 << 20
_ROW = 4096


@dataclass(frozen=True)
class RunningStatistics:
    """Statistics of each channel; every array is ``(channel,)`` in channel order.

    `finite`, `nan` and `infinite` are int64 counts of values. `minimum` and `maximum` are float64, of the finite
    values, NaN where there is none. `sums` adds the finite values, `squares` their squares. `zeros` and `saturated`
    (within one hundredth of a bound of the activation function; ``None`` where it has none) count values of the whole
    layer. `first_nonfinite` is the lowest number of an input with NaN or infinities, -1 where none has.
    """

    finite: NDArray[np.int64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    sums: ExactSums
    squares: ExactSums
    nan: NDArray[np.int64]
    infinite: NDArray[np.int64]
    zeros: int
    saturated: float
    first_nonfinite: int = -1

    @property
    def channels(self) -> int:
        """The number of channels."""
        return len(self.finite)

    @property
    def count(self) -> int:
        """The number of values of the layer, finite or not."""
        return int((self.finite + self.nan + self.infinite).sum())

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each channel, NaN where there is no finite value or the sum of an input overflows float64."""
        found = quotients(self.sums.integers(), self.finite.tolist(), self.sums.exponent, 0 * self.finite)
        # Rounding may put the mean of an input outside the values that it is the mean of.
        return np.where(self.sums.overflow > 0, np.nan, np.clip(found, self.minimum, self.maximum))

    @cached_property
    def std(self) -> NDArray[np.float64]:
        """The standard deviation of each channel, NaN where there is no finite value."""
        # The difference of two nearly equal sums is taken as integers: nothing cancels.
        exponent = min(self.squares.exponent, 2 * self.sums.exponent)
        counts = self.finite.tolist()
        numerators = [
            max(
                0,
                ((square * count) << (self.squares.exponent - exponent))
                - ((total * total) << (2 * self.sums.exponent - exponent)),
            )
            for square, total, count in zip(self.squares.integers(), self.sums.integers(), counts, strict=True)
        ]
        variance = quotients(numerators, [count * count for count in counts], exponent, self.squares.overflow)
        variance[self.minimum == self.maximum] = 0.0
        return np.sqrt(variance)

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

    def merge(self, other: RunningStatistics) -> RunningStatistics:
        """Return the statistics of both sets of inputs together."""
        first = [one for one in (self.first_nonfinite, other.first_nonfinite) if one >= 0]
        return RunningStatistics(
            self.finite + other.finite,
            np.fmin(self.minimum, other.minimum),
            np.fmax(self.maximum, other.maximum),
            self.sums.merge(other.sums),
            self.squares.merge(other.squares),
            self.nan + other.nan,
            self.infinite + other.infinite,
            self.zeros + other.zeros,
            self.saturated + other.saturated,
            min(first, default=-1),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as plain arrays, for `from_arrays`."""
        return {
            "counts": np.array([self.finite, self.nan, self.infinite]),
            "extremes": np.array([self.minimum, self.maximum]),
            "sums": self.sums.packed(),
            "squares": self.squares.packed(),
            "layer": np.array([self.zeros, self.saturated, self.first_nonfinite], np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the statistics that `arrays` returned."""
        finite, nan, infinite = arrays["counts"]
        sums, squares = (ExactSums.unpacked(arrays[name]) for name in ("sums", "squares"))
        zeros, saturated, first = arrays["layer"].tolist()
        minimum, maximum = arrays["extremes"]
        return cls(finite, minimum, maximum, sums, squares, nan, infinite, int(zeros), saturated, int(first))


class StatisticsReducer(LayerReducer[RunningStatistics]):
    """Running statistics of each layer; `cuts` are those of `totals_of` by address."""

    numbers = RunningStatistics

    def __init__(self, cuts: Mapping[str, tuple[float, float] | None] | None = None) -> None:
        super().__init__()
        self._cuts = cuts or {}

    def update(self, address: str, activations: Sequence[Activation], samples: Sequence[int]) -> None:
        """Add a layer's activation for a batch."""
        self.add(address, totals_of(activations[0], self._cuts.get(address), samples))


def _truths(values: Any) -> NDArray[np.bool_]:
    """Return a comparison as the array of truths that it is."""
    return np.asarray(values, np.bool_)


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


def totals_of(
    activation: Activation, cuts: tuple[float, float] | None = None, samples: Sequence[int] | None = None
) -> RunningStatistics:
    """Return the statistics of a layer for a batch; steps that are masked are left out.

    `cuts` are the values at and beyond which one counts as saturated; `samples` the number of each input, 0, 1, 2 ...
    if not given. Entries of the batch beyond those are not counted.

    Raises
    ------
    TypeError
        When the values are not real numbers.
    """
    values, axes = as_numbers(activation.values), activation.axes
    numbers = range(len(values) if values.ndim else 1) if samples is None else samples
    if values.ndim and axes[:1] == ("batch",):
        values = values[: len(numbers)]
    name = next((axis for axis in CHANNEL_AXES if axis in axes), None)
    if name is not None:
        values = np.moveaxis(values, axes.index(name), -1)
    channels = values.shape[-1] if name is not None else 1
    mask = activation.mask
    if mask is not None and axes[:2] == ("batch", "step") and activation.values.shape[:2] == mask.shape:
        parts = [entry[kept].reshape(1, -1, channels) for entry, kept in zip(values, mask, strict=False)]
    elif not values.size:
        parts = [np.zeros((0, 0, channels), values.dtype)]
    else:
        count = len(values) if axes[:1] == ("batch",) else 1
        parts = list(_blocks(np.ascontiguousarray(values).reshape(count, -1, channels)))
    return _total([_numbers(part, cuts) for part in parts], numbers, saturates=cuts is not None)


@dataclass(frozen=True, slots=True)
class _InputNumbers:
    """Numbers of some inputs: `count`, `mean`, `square`, `nan` and `infinite` are ``(input, channel)``, the others of all inputs."""

    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    square: NDArray[np.float64]
    nan: NDArray[np.int64]
    infinite: NDArray[np.int64]
    low: NDArray[Any]
    high: NDArray[Any]
    zeros: int
    saturated: int


def _total(parts: Sequence[_InputNumbers], samples: Sequence[int], *, saturates: bool) -> RunningStatistics:
    """Return the statistics of all inputs from the numbers of each."""
    names = ("count", "mean", "square", "nan", "infinite")
    count, mean, square, nan, infinite = (
        np.concatenate([getattr(part, name) for part in parts], axis=0) for name in names
    )
    finite, nans, infinities = (each.sum(axis=0) for each in (count, nan, infinite))
    # Adding 0.0 makes 0.0 of -0.0, so that equal extremes have equal bytes.
    low = np.min([part.low for part in parts], axis=0).astype(np.float64) + 0.0
    high = np.max([part.high for part in parts], axis=0).astype(np.float64) + 0.0
    bad = np.flatnonzero((nan + infinite).any(axis=1))
    sizes = count.astype(np.float64)
    total, lost = exact_products(sizes, mean)
    squared = (*exact_products(total, mean), lost * mean)
    return RunningStatistics(
        finite,
        np.where(finite > 0, low, np.nan),
        np.where(finite > 0, high, np.nan),
        ExactSums.of(np.concatenate([total, lost])),
        ExactSums.of(np.concatenate([square, *squared])),
        nans,
        infinities,
        sum(part.zeros for part in parts),
        float(sum(part.saturated for part in parts)) if saturates else np.nan,
        min((samples[entry] for entry in bad.tolist()), default=-1),
    )


def _blocks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut ``(input, value, channel)`` into some inputs at a time that stay in the cache."""
    step = max(1, _BLOCK_BYTES // max(1, values[0].nbytes))
    return (values[start : start + step] for start in range(0, len(values), step))


def _numbers(values: NDArray[Any], cuts: tuple[float, float] | None) -> _InputNumbers:
    """Return the numbers of ``(input, value, channel)``, C-contiguous; those of one input depend on it alone."""
    inputs, size, channels = values.shape
    none = np.zeros((inputs, channels), np.int64)
    if not values.size:
        ends = np.full(channels, np.inf)
        return _InputNumbers(none, none.astype(np.float64), none.astype(np.float64), none, none, ends, -ends, 0, 0)
    zeros = values.size - int(np.count_nonzero(values != 0))  # five times as fast as counting in the numbers
    saturated = 0
    with np.errstate(invalid="ignore"):
        if cuts is not None:
            saturated = int(np.count_nonzero(values >= cuts[1]))
            saturated += int(np.count_nonzero(values <= cuts[0])) if np.isfinite(cuts[0]) else 0
    low, high = folded(np.minimum, values).min(axis=0), folded(np.maximum, values).max(axis=0)
    exact = values.astype(np.float64)
    if np.isfinite(low).all() and np.isfinite(high).all():
        mean, square = _moments(exact, np.full((inputs, channels), float(size)), None)
        return _InputNumbers(none + size, mean, square, none, none, low, high, zeros, saturated)
    finite = np.isfinite(exact)
    count, nan = finite.sum(axis=1), np.isnan(exact).sum(axis=1)
    low = np.where(finite, exact, np.inf).min(axis=(0, 1))
    high = np.where(finite, exact, -np.inf).max(axis=(0, 1))
    exact[~finite] = 0.0
    mean, square = _moments(exact, np.maximum(count, 1).astype(np.float64), finite)
    return _InputNumbers(count, mean, square, nan, size - count - nan, low, high, zeros, saturated)


def _moments(
    values: NDArray[np.float64], count: NDArray[np.float64], finite: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return means and sums of squared distances from them, ``(input, channel)``; `values` is overwritten."""
    if values.shape[1] == 1:
        return values[:, 0].copy(), np.zeros_like(count)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = folded(np.add, values) / count
        if not np.isfinite(mean).all():
            mean = np.where(np.isfinite(mean), mean, folded(np.add, values / count[:, None]))
        values -= mean[:, None]
        if finite is not None:
            values[~finite] = 0.0
        values *= values
        return mean, folded(np.add, values)


def folded(reduce: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
    """Reduce ``(input, value, channel)`` to ``(input, channel)``, in an order that depends on the last two sizes only."""
    inputs, size, channels = values.shape
    several = max(1, min(size, _ROW // channels))
    rows = size // several
    columns = reduce.reduce(values[:, : rows * several].reshape(inputs, rows, several * channels), axis=1)
    found: NDArray[Any] = reduce.reduce(columns.reshape(inputs, several, channels), axis=1)
    rest = values[:, rows * several :]
    return reduce(found, reduce.reduce(rest, axis=1)) if rest.shape[1] else found
