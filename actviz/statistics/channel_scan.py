"""The numbers of each channel of a layer, in one pass over its values in chunks that stay in the cache."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.statistics.exact_sums import exact_products

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# Values of a chunk; with their copies in float64 they take 1.5 MiB. Half of it takes 10% longer, an eighth twice as long.
_CHUNK = 1 << 17
# A row holds several values of every channel: a call of numpy for a row of 16 takes as long as for 100.
_ROW = 1 << 10
# Where less than this share of the sum of squares is around the mean, squares are summed around the mean: of 16 digits
# of float64, at least 10 are left for the variance.
_CENTERED = 1e-6

_thread = threading.local()


class ChannelScan:
    """What is known of the channels of a layer while its inputs are added.

    `low` and `high` are the extremes of the finite values; `finite`, `nan` and `infinite` count values, each
    ``(channel,)``; `nonfinite` has the numbers of the inputs with NaN or infinities, in order of adding. The sum of
    `terms`, ``(term, 2 * channel)``, is the sum of the values of each channel, then that of their squares; the terms of
    an input depend on it alone. `zeros` and `saturated` (at or beyond `cuts`) count values of the layer.
    """

    def __init__(self, channels: int, cuts: tuple[float, float] | None) -> None:
        self._cuts, self._inputs = cuts, 0
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)
        self.finite, self.nan, self.infinite = np.zeros((3, channels), np.int64)
        self.nonfinite: list[int] = []
        self.terms: list[NDArray[np.float64]] = []
        self.zeros = self.saturated = 0

    def add(self, values: NDArray[Any]) -> None:
        """Add inputs, ``(input, value, channel)``, C-contiguous float32 or float64."""
        inputs, size, channels = values.shape
        first, self._inputs = self._inputs, self._inputs + inputs
        if not values.size:
            return
        moments = np.empty((inputs, 2, channels))
        counts = np.full((inputs, 1), float(size))
        with np.errstate(all="ignore"):
            low, high = self._scan(values, moments)
            if np.isfinite(low).all() and np.isfinite(high).all():
                self._extend(low, high)
                self.finite += inputs * size
            else:
                counts = self._add_mixed(values, moments, first)
            self.terms.append(moments.reshape(inputs, -1))
            if size > 1 or values.dtype == np.float64:
                near = moments[:, 0] * moments[:, 0] * ((1 + _CENTERED) / counts) > moments[:, 1]
                if near.any():
                    self.terms += _center(values, moments, near)

    def _extend(self, low: NDArray[Any], high: NDArray[Any]) -> None:
        np.minimum(self.low, low, out=self.low)
        np.maximum(self.high, high, out=self.high)

    def _scan(self, values: NDArray[Any], moments: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Count, write the sums of values and of squares to ``(input, 2, channel)``, and return the extremes."""
        lows, highs = [], []
        for chunk in sum_up(values, moments):
            lows.append(np.minimum.reduce(chunk, axis=(0, 1)))
            highs.append(np.maximum.reduce(chunk, axis=(0, 1)))
            self.zeros += chunk.size - _count(np.not_equal, chunk, 0.0)
            if self._cuts is not None:
                self.saturated += _count(np.greater_equal, chunk, self._cuts[1])
                if self._cuts[0] > -np.inf:
                    self.saturated += _count(np.less_equal, chunk, self._cuts[0])
        channels = moments.shape[2]
        low, high = (np.concatenate(ends).reshape(-1, channels) for ends in (lows, highs))
        return low.min(axis=0), high.max(axis=0)

    def _add_mixed(self, values: NDArray[Any], moments: NDArray[np.float64], first: int) -> NDArray[np.float64]:
        """Add inputs of which some have NaN or infinities; return how many values are finite, ``(input, channel)``."""
        counts = np.empty((len(values), values.shape[2]))
        for number in range(len(values)):
            entry = values[number : number + 1]
            finite = np.isfinite(entry)
            count = finite.sum(axis=(0, 1))
            counts[number] = np.maximum(count, 1)
            self.finite += count
            if not finite.all():
                nan = np.isnan(entry).sum(axis=(0, 1))
                self.nan += nan
                self.infinite += entry.shape[1] - count - nan
                self.nonfinite.append(first + number)
                for _ in sum_up(np.where(finite, entry, 0.0), moments[number : number + 1]):
                    pass
            low, high = np.where(finite, entry, np.inf), np.where(finite, entry, -np.inf)
            self._extend(low.min(axis=(0, 1)), high.max(axis=(0, 1)))
        return counts


def sum_up(values: NDArray[Any], moments: NDArray[np.float64]) -> Iterator[NDArray[Any]]:
    """Write sums of ``(input, value, channel)`` and of its squares to `moments`, ``(input, 2, channel)``.

    Yield chunks ``(input, row, column)`` of it before they are added; those and the order of adding depend on the last
    two sizes only.
    """
    channels = values.shape[2]
    for number, stripe in enumerate(_stripes(values)):
        inputs, rows, columns = stripe.shape
        sums = moments if columns == channels and not number else np.empty((inputs, 2, columns))
        several, step = max(1, _CHUNK // (rows * columns)), max(1, _CHUNK // columns)
        for start in range(0, inputs, several):
            for row in range(0, rows, step):
                chunk = stripe[start : start + several, row : row + step]
                yield chunk
                _add_chunk(chunk, sums[start : start + several], first=not row)
        if sums is not moments:
            folded_sums = np.add.reduce(sums.reshape(inputs, 2, -1, channels), axis=2)
            moments[...] = moments + folded_sums if number else folded_sums


def _add_chunk(chunk: NDArray[Any], sums: NDArray[np.float64], *, first: bool) -> None:
    """Add ``(input, row, column)`` and its squares to `sums`, ``(input, 2, column)``."""
    if first and chunk.shape[1] == 1:
        sums[:, 0] = chunk[:, 0]
        np.multiply(sums[:, 0], sums[:, 0], out=sums[:, 1])
        return
    if chunk.dtype != np.float64:
        exact = _scratch(chunk.shape, np.float64)
        np.copyto(exact, chunk)
        chunk = exact
    if first:
        np.add.reduce(chunk, axis=1, out=sums[:, 0])
        np.einsum("irc,irc->ic", chunk, chunk, out=sums[:, 1])
    else:
        sums[:, 0] += np.add.reduce(chunk, axis=1)
        sums[:, 1] += np.einsum("irc,irc->ic", chunk, chunk)


def _count(compare: np.ufunc, chunk: NDArray[Any], number: float) -> int:
    """Return for how many values a comparison with a number is true."""
    # Counting truths is five times as fast as counting in the numbers.
    return int(np.count_nonzero(compare(chunk, number, out=_scratch(chunk.shape, np.bool_))))


def _scratch(shape: tuple[int, ...], dtype: type[Any]) -> NDArray[Any]:
    """Return an array without defined values, which lasts until the next one of its dtype in this thread."""
    # A new one of this size comes from the system page by page each time: a count of zeros took twice as long.
    size, arrays = math.prod(shape), _thread.__dict__
    if len(arrays.get(dtype.__name__, ())) < size:
        arrays[dtype.__name__] = np.empty(max(size, _CHUNK), dtype)
    found: NDArray[Any] = arrays[dtype.__name__][:size].reshape(shape)
    return found


def _stripes(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield views ``(input, row, column)`` of ``(input, value, channel)`` that hold every value once."""
    inputs, size, channels = values.shape
    most = max(1, min(size, _ROW // channels))
    # A divisor of the size leaves no rest; a row of a quarter of the length is long enough.
    several = next((count for count in range(most, most // 4, -1) if size % count == 0), most)
    whole = size // several * several
    yield values[:, :whole].reshape(inputs, -1, several * channels)
    if whole < size:
        yield values[:, whole:]


def _center(values: NDArray[Any], moments: NDArray[np.float64], near: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Replace the sums of some inputs and channels, ``(input, channel)``, by more exact ones; return what to add to them.

    The sum is count times mean and that of squares the one around the mean and count times mean squared, with the
    rounding errors of the products as terms of their own.
    """
    inputs, channels = np.nonzero(near)
    exact = np.ascontiguousarray(values[inputs, :, channels]).astype(np.float64)
    finite = np.isfinite(exact)
    exact[~finite] = 0.0
    counts = np.maximum(finite.sum(axis=1), 1).astype(np.float64)
    means = np.add.reduce(exact, axis=1) / counts
    exact -= means[:, None]
    exact[~finite] = 0.0
    exact *= exact
    totals, lost = exact_products(counts, means)
    products, errors = exact_products(totals, means)
    moments[inputs, 0, channels], moments[inputs, 1, channels] = totals, np.add.reduce(exact, axis=1)
    extra = np.zeros((3, *moments.shape))
    extra[0, inputs, 0, channels], extra[0, inputs, 1, channels] = lost, products
    extra[1, inputs, 1, channels], extra[2, inputs, 1, channels] = errors, lost * means
    return [extra.reshape(-1, 2 * moments.shape[2])]


def folded(reduce: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
    """Reduce ``(input, value, channel)`` to ``(input, channel)``, in an order that depends on the last two sizes only."""
    inputs, _, channels = values.shape
    parts = [reduce.reduce(stripe, axis=1).reshape(inputs, -1, channels) for stripe in _stripes(values)]
    ends: list[NDArray[Any]] = [reduce.reduce(part, axis=1) for part in parts]
    return reduce(*ends) if len(ends) > 1 else ends[0]
