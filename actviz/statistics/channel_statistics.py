"""Statistics of an activation, for each channel and for the layer, and the order of channels by strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LIVE, DEAD, CONSTANT, NONFINITE = 0, 1, 2, 3
STATES = ("live", "dead", "constant", "nonfinite")
MEASURES = ("index", "max", "mean", "std", "l2")
NEAR_CONSTANT = 0.05
NEGLIGIBLE = 1e-4
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

# Squares of values within these bounds neither overflow nor vanish in float64.
_LARGEST, _SMALLEST = 1e140, 1e-140
_BLOCK = 1 << 16
# Larger arrays are not copied to be sorted: the copy would take more memory than all the rest (32 MiB of float32).
MOST_SORTED = 1 << 23
_DIGIT = 16

BINS = 64
# Number of bins of a histogram whose values are all equal; they are in the middle one.
_ALONE = 21


@dataclass(frozen=True, slots=True)
class ValueDistribution:
    """Histogram of the finite values of a layer.

    `counts` are those of equally wide bins from `first` to `last`; `total` is the number of finite values, `zeros`
    the number of those that are 0. If `apart`, zeros are in no bin, because they would dwarf the others.
    """

    counts: tuple[int, ...]
    first: float
    last: float
    total: int
    zeros: int
    apart: bool


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Statistics of each channel; every array is ``(channel,)`` in channel order.

    `minimum`, `maximum`, `mean`, `std`, `l2` and `magnitude` (the mean of the absolute values)
    are float64 over the finite values of the channel, NaN where it has none; `zeros` is the share of values that are 0, in 0..1;
    `nan` and `infinite` are counts; `state` holds codes into `STATES`. A channel of one
    value is never called constant.
    """

    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    l2: NDArray[np.float64]
    magnitude: NDArray[np.float64]
    zeros: NDArray[np.float64]
    nan: NDArray[np.int64]
    infinite: NDArray[np.int64]
    state: NDArray[np.uint8]

    @property
    def strength(self) -> NDArray[np.float64]:
        """Largest absolute finite value of each channel, 0 where there is none."""
        largest = np.maximum(np.abs(self.minimum), np.abs(self.maximum))
        return np.nan_to_num(largest, nan=0.0)

    @property
    def finite(self) -> bool:
        """Whether the layer has neither NaN nor infinity."""
        return not (self.nan.any() or self.infinite.any())

    @property
    def near_constant(self) -> list[int]:
        """Channels whose values differ by at most `NEAR_CONSTANT` of their largest absolute value.

        Constant channels and channels of one value are not among them.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            # Divided first: the difference of the widest ranges is infinite.
            size = np.where(self.strength > 0, self.strength, 1.0)
            spread = self.maximum / size - self.minimum / size
            near = (self.state == LIVE) & (self.minimum < self.maximum) & (spread <= NEAR_CONSTANT)
        return indices_of(near)

    @property
    def negligible(self) -> list[int]:
        """Channels of several values whose largest is below `NEGLIGIBLE` of the layer's largest, by magnitude."""
        strength = self.strength
        limit = float(strength.max(initial=0.0)) * NEGLIGIBLE
        faint = (strength < limit) & (self.minimum < self.maximum) & (self.state != NONFINITE)
        return indices_of(faint)

    def channels_in(self, state: int) -> list[int]:
        """Return the channels of a state, in channel order."""
        return indices_of(self.state == state)


def indices_of(mask: NDArray[np.bool_]) -> list[int]:
    """Return the indices at which a mask ``(channel,)`` is True."""
    indices: list[int] = np.flatnonzero(mask).tolist()
    return indices


def least_of(values: NDArray[np.float64]) -> float:
    """Return the smallest of some values that is not NaN, NaN if there is none."""
    return float(np.fmin.reduce(values, initial=np.nan))


def extremes_of(minima: NDArray[np.float64], maxima: NDArray[np.float64]) -> tuple[float, float]:
    """Return the smallest and the largest value of a layer from those of its channels, NaN where no channel has any."""
    return least_of(minima), float(np.fmax.reduce(maxima, initial=np.nan))


def as_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return `values` in a dtype that numpy computes with: float32 or float64.

    float32 and float64 stay as they are, without a copy; float16, bfloat16 and the other
    small floats become float32, everything else float64.

    Raises
    ------
    TypeError
        If the dtype is not one of real numbers (text, complex, objects).
    """
    kind = values.dtype.kind
    if values.dtype in (np.float32, np.float64):
        return values
    if kind == "f" and values.dtype.itemsize < np.dtype(np.float32).itemsize:
        return values.astype(np.float32)
    if kind in "fiub":
        return values.astype(np.float64)
    # bfloat16 and float8 come from ml_dtypes, which numpy sees as opaque.
    if kind == "V" and values.dtype.names is None and "float" in values.dtype.name:
        return values.astype(np.float32)
    message = f"values of dtype {values.dtype} are no real numbers"
    raise TypeError(message)


def statistics(values: NDArray[Any], channel_axis: int = 0) -> ChannelStatistics:
    """Return the statistics of each channel of an array.

    Parameters
    ----------
    values
        Any real dtype, any rank of at least one; not written to.
    channel_axis
        The axis of the channels.
    """
    numbers = np.moveaxis(as_numbers(values), channel_axis, 0)
    size = int(np.prod(numbers.shape[1:], dtype=np.int64))
    flat = numbers.reshape(numbers.shape[0], size)
    if flat.size == 0:
        return _of_nothing(len(flat))
    low, high = flat.min(axis=1), flat.max(axis=1)
    # NaN and infinities propagate to the minimum or the maximum, so these two suffice.
    if np.isfinite(low).all() and np.isfinite(high).all():
        return _of_finite(flat, low.astype(np.float64), high.astype(np.float64))
    return _of_mixed(flat)


def _of_nothing(count: int) -> ChannelStatistics:
    nothing = np.full(count, np.nan)
    none = np.zeros(count, dtype=np.int64)
    state = np.full(count, DEAD, dtype=np.uint8)
    zeros = np.zeros(count)
    return ChannelStatistics(nothing, nothing, nothing, nothing, nothing, nothing, zeros, none, none, state)


def _of_finite(flat: NDArray[Any], low: NDArray[np.float64], high: NDArray[np.float64]) -> ChannelStatistics:
    count, size = flat.shape
    factor = _safe_factor(float(max(np.abs(low).max(), np.abs(high).max())))
    mean, square, zeros = np.empty(count), np.empty(count), np.empty(count)
    magnitude = np.empty(count)
    mixed = (low < 0) & (high > 0)
    step = max(1, _BLOCK // size)
    for start in range(0, count, step):
        part = slice(start, start + step)
        block = flat[part].astype(np.float64)
        zeros[part] = size - np.count_nonzero(block, axis=1)
        if factor != 1.0:
            block *= factor
        mean[part] = block.mean(axis=1)
        # For values of one sign it is the mean; only the others need a second pass.
        magnitude[part] = np.abs(block).mean(axis=1) if mixed[part].any() else np.abs(mean[part])
        block -= mean[part, None]
        square[part] = np.einsum("ij,ij->i", block, block)
    # Rounding may put a mean outside the range of its values.
    mean = np.clip(mean, low * factor, high * factor)
    std = np.sqrt(square / size)
    l2 = np.sqrt(square + size * mean * mean)
    with np.errstate(over="ignore"):
        mean, std, l2, magnitude = mean / factor, std / factor, l2 / factor, magnitude / factor
    none = np.zeros(count, dtype=np.int64)
    state = np.where((low == high) & (size > 1), CONSTANT, LIVE)
    state = np.where((low == 0) & (high == 0), DEAD, state).astype(np.uint8)
    magnitude = np.maximum(magnitude, np.abs(mean))
    return ChannelStatistics(low, high, mean, std, l2, magnitude, zeros / size, none, none, state)


def _safe_factor(largest: float) -> float:
    """Return a power of two that scales values near 1 if their squares are out of range."""
    if largest == 0 or _SMALLEST < largest < _LARGEST:
        return 1.0
    exponent = int(np.frexp(largest)[1])
    return float(2.0 ** max(-1000, min(1000, -exponent)))


def _of_mixed(flat: NDArray[Any]) -> ChannelStatistics:
    """Return the statistics of channels if some have NaN or infinities."""
    count, size = flat.shape
    columns = np.full((7, count), np.nan)
    columns[6] = 0.0
    nan = np.isnan(flat).sum(axis=1)
    infinite = np.isinf(flat).sum(axis=1)
    state = np.full(count, NONFINITE, dtype=np.uint8)
    good = (nan == 0) & (infinite == 0)
    for channels in (np.flatnonzero(good), *np.flatnonzero(~good)[:, None]):
        values = flat[channels]
        if not good[channels].all():
            values = values[np.isfinite(values)][None]
        if not values.size:
            continue
        low, high = values.min(axis=1), values.max(axis=1)
        part = _of_finite(values, low.astype(np.float64), high.astype(np.float64))
        columns[:6, channels] = part.minimum, part.maximum, part.mean, part.std, part.l2, part.magnitude
        columns[6, channels] = part.zeros * (values.shape[1] / size)
        if good[channels].all():
            state[channels] = part.state
    low, high, mean, std, l2, magnitude, zeros = columns
    return ChannelStatistics(low, high, mean, std, l2, magnitude, zeros, nan, infinite, state)


def order(numbers: ChannelStatistics, channels: Sequence[int], measure: str) -> list[int]:
    """Return `channels` with the strongest first; ties and `index` keep their order.

    Strength has no sign: `max` and `mean` are of the absolute values, so that a channel of -5
    comes before one of 3; `l2` is the root of the sum of the squares. A channel without a
    finite value comes last.
    """
    if measure == "index" or not channels:
        return list(channels)
    chosen = {
        "max": np.where(np.isnan(numbers.maximum), np.nan, numbers.strength),
        "mean": numbers.magnitude,
        "std": numbers.std,
        "l2": numbers.l2,
    }
    keys = np.nan_to_num(chosen[measure][list(channels)], nan=-np.inf)
    return [channels[index] for index in np.argsort(-keys, kind="stable").tolist()]


def furthest(values: NDArray[Any], axis: int = 0) -> NDArray[Any]:
    """Return the value of largest magnitude along an axis, with its sign: -0.3 of -0.3 and 0.1.

    One NaN makes it NaN; of two of one size the positive one is taken.
    """
    high, low = values.max(axis=axis), values.min(axis=axis)
    # Not abs() of everything: it would need an array as large as the values.
    found: NDArray[Any] = np.where(-low > high, low, high)
    return found


def layer_numbers(values: NDArray[Any], channels: ChannelStatistics) -> dict[str, Any]:
    """Return the statistics of a layer for one input as the manifest records them.

    `values` is the array that `channels` were computed from, in any arrangement. Numbers
    are Python's own, over finite values, ``None`` where there is none; ``percentiles``
    maps ``"1"`` to ``"99"`` to those of `numpy.percentile`; ``dead``, ``constant``,
    ``near_constant`` and ``negligible`` list channels, the last two by the limits in
    ``near_constant_spread`` and ``negligible_share``.
    """
    finite = finite_values(values, channels)
    record: dict[str, Any] = dict.fromkeys(("min", "max", "mean", "std"))
    record["percentiles"] = {str(share): None for share in PERCENTILES}
    if finite.size:
        record["min"], record["max"] = extremes_of(channels.minimum, channels.maximum)
        record["mean"], record["std"] = _whole(values.size, channels)
        cuts = percentiles(finite, PERCENTILES)
        record["percentiles"] = {str(share): cut for share, cut in zip(PERCENTILES, cuts, strict=True)}
    record["zeros"] = float(np.mean(channels.zeros)) if channels.zeros.size else 0.0
    record["dead"] = channels.channels_in(DEAD)
    record["constant"] = channels.channels_in(CONSTANT)
    record["near_constant"], record["near_constant_spread"] = channels.near_constant, NEAR_CONSTANT
    record["negligible"], record["negligible_share"] = channels.negligible, NEGLIGIBLE
    record["nan"] = int(channels.nan.sum())
    record["infinite"] = int(channels.infinite.sum())
    return record


def finite_values(values: NDArray[Any], channels: ChannelStatistics) -> NDArray[Any]:
    """Return the finite values of an array that `channels` were computed from, ``(value,)``."""
    flat = as_numbers(values).reshape(-1)
    return flat if channels.finite else flat[np.isfinite(flat)]


def percentiles(finite: NDArray[Any], shares: Sequence[float]) -> list[float]:
    """Return percentiles, shares in 0..100, of at least one finite value ``(value,)``.

    They are those of `numpy.percentile` with its default, linear interpolation, computed in
    float64 whatever the dtype. Neither overflows where the ends are the widest apart.
    """
    # numpy sorts with vector instructions, four times as fast as it partitions at five indices.
    indices, weights = _percentile_indices(finite.size, shares)
    ordered = _selected(finite, indices) if finite.size > MOST_SORTED else np.sort(finite)[indices].astype(np.float64)
    pairs = np.asarray(ordered, np.float64).reshape(2, -1)
    found: list[float] = _between(pairs[0], pairs[1], weights).tolist()
    return found


def percentiles_of_channels(maps: NDArray[Any], shares: Sequence[float]) -> NDArray[np.float64]:
    """Return percentiles of the finite values of each channel, ``(share, channel)``, NaN where there is none.

    `maps` is ``(channel, ...)``, float32 or float64.
    """
    flat = maps.reshape(len(maps), -1)
    if np.isfinite(flat).all():
        indices, weights = _percentile_indices(flat.shape[1], shares)
        pairs = np.sort(flat, axis=1)[:, indices].astype(np.float64).T.reshape(2, len(shares), -1)
        return _between(pairs[0], pairs[1], weights[:, None])
    found = np.full((len(shares), len(flat)), np.nan)
    for channel, values in enumerate(flat):
        finite = values[np.isfinite(values)]
        if finite.size:
            found[:, channel] = percentiles(finite, shares)
    return found


def _percentile_indices(count: int, shares: Sequence[float]) -> tuple[list[int], NDArray[np.float64]]:
    """Return the indices in `count` sorted values below all shares, then above all, and the weights of the latter."""
    exact = np.asarray(shares, np.float64) / 100 * (count - 1)
    below = np.floor(exact)
    above = np.minimum(below + 1, count - 1)
    return [*below.astype(int).tolist(), *above.astype(int).tolist()], exact - below


def _between(
    first: NDArray[np.float64], second: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate from `first` to `second` with `weight` in 0..1."""
    with np.errstate(over="ignore", invalid="ignore"):
        step = second - first
        # As numpy computes it, from the nearer end; where the difference is infinite, from both.
        near = np.where(weight < 0.5, first + step * weight, second - step * (1 - weight))  # noqa: PLR2004  (half way)
    return np.where(np.isfinite(step), near, first * (1 - weight) + second * weight)


def _selected(values: NDArray[Any], indices: Sequence[int]) -> list[float]:
    """Return the values at some indices of the sorted `values`, ``(value,)`` of float32 or float64, without a copy.

    The bits of a float, with all of them flipped where it is negative and the sign otherwise,
    are integers in the same order, which are selected 16 bits at a time by counting.
    """
    bits = values.dtype.itemsize * 8
    unsigned = np.dtype(f"u{values.dtype.itemsize}").type
    prefixes, left = [0] * len(indices), list(indices)
    for shift in range(bits - _DIGIT, -1, -_DIGIT):
        counts = {prefix: np.zeros(1 << _DIGIT, np.int64) for prefix in prefixes}
        for start in range(0, values.size, _BLOCK):
            keys = _ordered_bits(values[start : start + _BLOCK], unsigned)
            above = keys >> unsigned(shift)
            for prefix in counts:
                own = above if shift == bits - _DIGIT else above[above >> unsigned(_DIGIT) == unsigned(prefix)]
                digits = (own & unsigned((1 << _DIGIT) - 1)).astype(np.int64)
                counts[prefix] += np.bincount(digits, minlength=1 << _DIGIT)
        for position, prefix in enumerate(prefixes):
            below = np.cumsum(counts[prefix])
            digit = int(np.searchsorted(below, left[position], "right"))
            left[position] -= int(below[digit - 1]) if digit else 0
            prefixes[position] = prefix << _DIGIT | digit
    top = 1 << (bits - 1)
    raw = [prefix ^ top if prefix & top else prefix ^ (2 * top - 1) for prefix in prefixes]
    found: list[float] = np.array(raw, unsigned).view(values.dtype).astype(np.float64).tolist()
    return found


def _ordered_bits(block: NDArray[Any], unsigned: Any) -> NDArray[Any]:
    raw = (block + block.dtype.type(0)).view(unsigned)  # which makes 0 of -0
    top = unsigned(1 << (block.dtype.itemsize * 8 - 1))
    ordered: NDArray[Any] = np.where(raw & top, ~raw, raw | top)
    return ordered


def _whole(size: int, channels: ChannelStatistics) -> tuple[float, float]:
    """Return mean and std of the layer from those of its channels, without a second pass."""
    each = size // len(channels.mean)
    counts = each - channels.nan - channels.infinite
    has = counts > 0
    shares = counts[has] / counts.sum()
    factor = _safe_factor(float(channels.strength.max()))
    means, stds = channels.mean[has] * factor, channels.std[has] * factor
    mean = float((shares * means).sum())
    spread = float((shares * (stds**2 + (means - mean) ** 2)).sum())
    return mean / factor, float(np.sqrt(spread)) / factor


def distribution(finite: NDArray[Any], *, whole: bool = False) -> ValueDistribution | None:
    """Return the distribution of finite values ``(value,)``, ``None`` where there is none.

    Zeros are counted separately if they outnumber every bin of the other values: after a ReLU most values are 0,
    and the others would be invisible. Each of `whole` numbers has its own bin, if they span less than `BINS`; equal
    values are in the middle of empty bins.
    """
    if not finite.size:
        return None
    zeros = int(finite.size - np.count_nonzero(finite))
    others = finite[finite != 0] if 0 < zeros < finite.size else finite
    found = _binned(others, whole=whole)
    apart = 0 < zeros < finite.size and zeros > max(found[0])
    if zeros and not apart:
        found = _binned(finite, whole=whole)
    return ValueDistribution(*found, total=int(finite.size), zeros=zeros, apart=apart)


def _binned(values: NDArray[Any], *, whole: bool) -> tuple[tuple[int, ...], float, float]:
    """Return the counts of bins, and the ends of the first and the last."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        counts = [0] * (_ALONE // 2)
        return (*counts, int(values.size), *counts), low, high
    if whole and high - low < BINS:
        edge, bins = 0.5, int(high - low) + 1
    else:
        edge, bins = 0.0, BINS
        # An axis that almost reaches zero begins there.
        low = 0.0 if 0 < low < high / 10 else low
        high = 0.0 if low / 10 < high < 0 else high
    first, last = low - edge, high + edge
    return tuple(counts_between(values, first, last, bins)), first, last


def counts_between(values: NDArray[Any], first: float, last: float, bins: int) -> list[int]:
    """Return how many of finite values ``(value,)`` lie in each of `bins` of one width from `first` to `last`.

    All lie between the two, which differ; `last` itself counts for the last bin.
    """
    # Halved, the widest ranges stay finite; where values are tiny, halves would vanish.
    factor = 0.5 if max(-first, last) > _LARGEST else 1.0
    with np.errstate(under="ignore"):
        share = (values.astype(np.float64) * factor - first * factor) / (last * factor - first * factor)
    indices = np.minimum((share * bins).astype(np.int64), bins - 1)
    counts: list[int] = np.bincount(indices, minlength=bins).tolist()
    return counts
