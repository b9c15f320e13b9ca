"""Statistics of each channel of a layer over any number of inputs, without keeping any of them.

Merging is exact: the numbers of a set of inputs have the same bytes however the inputs are cut into batches and in
whatever order the batches are merged. Counts are integers, extremes are values; sums of values and of squares are taken
of each input by itself in float64, always in one order, and added in an exact accumulator that rounds once at the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from actviz.layer_catalogue.activation_functions import BOUNDS
from actviz.statistics.channel_scan import ChannelScan
from actviz.statistics.channel_statistics import as_numbers
from actviz.statistics.exact_sums import ExactSums, quotients
from actviz.statistics.reducer import LayerReducer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation

CHANNEL_AXES = ("channel", "unit", "head")
NEAR = 0.01
_SHARES = frozenset({"softmax", "sparsemax"})
_CLIPPED_RELU = re.compile(r"relu(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class RunningStatistics:
    """Statistics of each channel; every array is ``(channel,)`` in channel order.

    `finite`, `nan` and `infinite` are int64 counts of values. `minimum` and `maximum` are float64, of the finite
    values, NaN where there is none. `moments` adds the finite values of each channel, then their squares,
    ``(2 * channel,)``: one accumulator takes half the time of two. `zeros` and `saturated` (within one hundredth of a
    bound of the activation function; NaN where it has none) count values of the whole layer. `first_nonfinite` is the
    lowest number of an input with NaN or infinities, -1 where none has.
    """

    finite: NDArray[np.int64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    moments: ExactSums
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
        totals = self.moments.integers()[: self.channels]
        found = quotients(totals, self.finite.tolist(), self.moments.exponent, 0 * self.finite)
        # Rounding may put the mean of an input outside the values that it is the mean of.
        return np.where(self.moments.overflow[: self.channels] > 0, np.nan, np.clip(found, self.minimum, self.maximum))

    @cached_property
    def std(self) -> NDArray[np.float64]:
        """The standard deviation of each channel, NaN where there is no finite value."""
        # The difference of two nearly equal sums is taken as integers: nothing cancels.
        integers, unit, counts = self.moments.integers(), self.moments.exponent, self.finite.tolist()
        exponent = min(unit, 2 * unit)
        numerators = [
            max(0, ((square * count) << (unit - exponent)) - ((total * total) << (2 * unit - exponent)))
            for total, square, count in zip(integers[: self.channels], integers[self.channels :], counts, strict=True)
        ]
        overflow = self.moments.overflow[self.channels :]
        variance = quotients(numerators, [count * count for count in counts], exponent, overflow)
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
            self.moments.merge(other.moments),
            self.nan + other.nan,
            self.infinite + other.infinite,
            self.zeros + other.zeros,
            self.saturated + other.saturated,
            min(first, default=-1),
        )

    def arrays(self, *, canonical: bool = True) -> dict[str, NDArray[Any]]:
        """Return everything as plain arrays, for `from_arrays`; `canonical` as in `Reducer.state`."""
        return {
            "counts": np.array([self.finite, self.nan, self.infinite]),
            "extremes": np.array([self.minimum, self.maximum]),
            "moments": self.moments.packed(canonical=canonical),
            "layer": np.array([self.zeros, self.saturated, self.first_nonfinite], np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the statistics that `arrays` returned."""
        finite, nan, infinite = arrays["counts"]
        moments = ExactSums.unpacked(arrays["moments"])
        zeros, saturated, first = arrays["layer"].tolist()
        minimum, maximum = arrays["extremes"]
        return cls(finite, minimum, maximum, moments, nan, infinite, int(zeros), saturated, int(first))


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
    if activation is None or activation in _SHARES:
        return None
    clipped = _CLIPPED_RELU.fullmatch(activation)
    return (-np.inf, float(clipped[1])) if clipped else BOUNDS.get(activation)


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
    scan, mask = ChannelScan(channels, cuts), activation.mask
    if mask is not None and axes[:2] == ("batch", "step") and activation.values.shape[:2] == mask.shape:
        for entry, kept in zip(values, mask, strict=False):
            scan.add(entry[kept].reshape(1, -1, channels))
    elif values.size:
        count = len(values) if axes[:1] == ("batch",) else 1
        scan.add(np.ascontiguousarray(values).reshape(count, -1, channels))
    known = scan.finite > 0
    return RunningStatistics(
        scan.finite,
        # Adding 0.0 makes 0.0 of -0.0, so that equal extremes have equal bytes.
        np.where(known, scan.low + 0.0, np.nan),
        np.where(known, scan.high + 0.0, np.nan),
        ExactSums.of(np.concatenate(scan.terms or [np.zeros((0, 2 * channels))])),
        scan.nan,
        scan.infinite,
        scan.zeros,
        float(scan.saturated) if cuts is not None else np.nan,
        min((numbers[entry] for entry in scan.nonfinite), default=-1),
    )
