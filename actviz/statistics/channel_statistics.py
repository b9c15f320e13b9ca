"""Numbers about an activation: per channel, for the whole layer, and orders by strength."""

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
# Beyond so many values a sorted copy takes more memory than all the rest: 32 MiB of float32.
MOST_SORTED = 1 << 23
_DIGIT = 16

BINS = 64
# A single value is drawn as the middle one of so many bins.
_ALONE = 21


@dataclass(frozen=True, slots=True)
class ValueDistribution:
    """How many of the finite values of a layer lie where.

    `counts` are those of bins of one width from `first` to `last`; `total` is the number
    of finite values. `zeros` is how many are exactly 0; `apart` says that these are in no
    bin, because they would dwarf all others.
    """

    counts: tuple[int, ...]
    first: float
    last: float
    total: int
    zeros: int
    apart: bool


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Numbers of each channel; every array is ``(channel,)`` in channel order.

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
            found = (self.state == LIVE) & (self.minimum < self.maximum) & (spread <= NEAR_CONSTANT)
        channels: list[int] = np.flatnonzero(found).tolist()
        return channels

    @property
    def negligible(self) -> list[int]:
        """Channels of several values whose largest is below `NEGLIGIBLE` of the layer's largest, by magnitude."""
        strength = self.strength
        limit = float(strength.max(initial=0.0)) * NEGLIGIBLE
        faint = (strength < limit) & (self.minimum < self.maximum) & (self.state != NONFINITE)
        found: list[int] = np.flatnonzero(faint).tolist()
        return found

    def channels_in(self, state: int) -> list[int]:
        """Return the channels of a state, in channel order."""
        found: list[int] = np.flatnonzero(self.state == state).tolist()
        return found


def as_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return `values` in a dtype that numpy computes with: float32 or float64.

    float32 and float64 stay as they are, without a copy; float16, bfloat16 and the other
    small floats become float32, everything else float64.

    Raises
    ------
    TypeError
        When the dtype holds no real numbers (text, complex, objects).
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
    """Return the numbers of each channel of an array with any other axes.

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
    # NaN and infinities reach the minimum or the maximum, so that these two tell.
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
        # Of values of one sign the mean says it already; the second pass is only for the others.
        magnitude[part] = np.abs(block).mean(axis=1) if mixed[part].any() else np.abs(mean[part])
        block -= mean[part, None]
        square[part] = np.einsum("ij,ij->i", block, block)
    # Rounding may put a mean outside the values that it is the mean of.
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
    """Return a power of two that brings values whose squares are out of range near one."""
    if largest == 0 or _SMALLEST < largest < _LARGEST:
        return 1.0
    exponent = int(np.frexp(largest)[1])
    return float(2.0 ** max(-1000, min(1000, -exponent)))


def _of_mixed(flat: NDArray[Any]) -> ChannelStatistics:
    """Return the numbers of channels of which some have NaN or infinities."""
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
    return [channels[place] for place in np.argsort(-keys, kind="stable").tolist()]


def furthest(values: NDArray[Any], axis: int = 0) -> NDArray[Any]:
    """Return the value of largest magnitude along an axis, with its sign: -0.3 of -0.3 and 0.1.

    One NaN makes it NaN; of two of one size the positive one is taken.
    """
    high, low = values.max(axis=axis), values.min(axis=axis)
    # Not abs() of everything: it would need an array as large as the values.
    found: NDArray[Any] = np.where(-low > high, low, high)
    return found


def layer_numbers(values: NDArray[Any], channels: ChannelStatistics) -> dict[str, Any]:
    """Return what a manifest records about a layer's output for one input.

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
        record["min"] = float(np.nanmin(channels.minimum))
        record["max"] = float(np.nanmax(channels.maximum))
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
    # numpy sorts with vector instructions, four times as fast as it partitions at five places.
    places, weights = _places(finite.size, shares)
    ordered = _selected(finite, places) if finite.size > MOST_SORTED else np.sort(finite)[places].astype(np.float64)
    pairs = np.asarray(ordered, np.float64).reshape(2, -1)
    found: list[float] = _between(pairs[0], pairs[1], weights).tolist()
    return found


def percentiles_of_channels(maps: NDArray[Any], shares: Sequence[float]) -> NDArray[np.float64]:
    """Return percentiles of the finite values of each channel, ``(share, channel)``, NaN where there is none.

    `maps` is ``(channel, ...)``, float32 or float64.
    """
    flat = maps.reshape(len(maps), -1)
    if np.isfinite(flat).all():
        places, weights = _places(flat.shape[1], shares)
        pairs = np.sort(flat, axis=1)[:, places].astype(np.float64).T.reshape(2, len(shares), -1)
        return _between(pairs[0], pairs[1], weights[:, None])
    found = np.full((len(shares), len(flat)), np.nan)
    for channel, values in enumerate(flat):
        finite = values[np.isfinite(values)]
        if finite.size:
            found[:, channel] = percentiles(finite, shares)
    return found


def _places(count: int, shares: Sequence[float]) -> tuple[list[int], NDArray[np.float64]]:
    """Return the places in `count` sorted values below all shares, then above all, and how far between they lie."""
    exact = np.asarray(shares, np.float64) / 100 * (count - 1)
    below = np.floor(exact)
    above = np.minimum(below + 1, count - 1)
    return [*below.astype(int).tolist(), *above.astype(int).tolist()], exact - below


def _between(
    first: NDArray[np.float64], second: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what lies a share `weight` of the way from `first` to `second`."""
    with np.errstate(over="ignore", invalid="ignore"):
        step = second - first
        # As numpy computes it, from the nearer end; where the difference is infinite, from both.
        near = np.where(weight < 0.5, first + step * weight, second - step * (1 - weight))  # noqa: PLR2004  (half way)
    return np.where(np.isfinite(step), near, first * (1 - weight) + second * weight)


def _selected(values: NDArray[Any], places: Sequence[int]) -> list[float]:
    """Return the values at some places of the sorted `values`, ``(value,)`` of float32 or float64, without a copy.

    The bits of a float, with all of them flipped where it is negative and the sign otherwise,
    are whole numbers in the same order. They are found 16 bits at a time by counting.
    """
    bits = values.dtype.itemsize * 8
    unsigned = np.dtype(f"u{values.dtype.itemsize}").type
    prefixes, left = [0] * len(places), list(places)
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
    """Return mean and std of the layer from those of its channels: no second pass."""
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

    Zeros stand apart where they are more than in any bin of the others: a layer after a
    ReLU is mostly zeros, and everything else would be a line on the ground. Of `whole`
    numbers each has a bin of its own, if they are at most `BINS` apart; a single value
    stands in the middle of empty bins.
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
    places = np.minimum((share * bins).astype(np.int64), bins - 1)
    counts: list[int] = np.bincount(places, minlength=bins).tolist()
    return counts
