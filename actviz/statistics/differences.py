"""How far two networks drift apart: which layers belong together, and numbers of their difference.

`A` is what is compared with, `B` what is compared. Numbers are taken in parts and joined, as
in `totals`.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.formats.layer_families import ACTIVATION, alike, family_of, function_of
from actviz.statistics.channel_statistics import as_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from numpy.typing import NDArray

    from actviz.records import Axes, LayerInfo, Shape

CHANNEL_AXES = ("channel", "unit", "head")
# A part of both arrays and of their difference stays in the cache.
_PART = 1 << 16
_LARGEST_SINGLE, _SMALLEST_SINGLE = 1e15, 1e-15
_MOST_STEPS = 4_000_000


@dataclass(frozen=True, slots=True)
class LayerMatch:
    """Two layers that belong together; `by` says how they were found: ``address`` or ``order``."""

    ours: LayerInfo
    theirs: LayerInfo
    by: str

    @property
    def fits(self) -> bool:
        """Whether their shapes agree, as far as they are known."""
        return fit(self.ours.shape, self.theirs.shape)


@dataclass(frozen=True, slots=True)
class Matching:
    """The pairs in the order of A, and the layers that have no partner."""

    pairs: tuple[LayerMatch, ...]
    only_ours: tuple[LayerInfo, ...]
    only_theirs: tuple[LayerInfo, ...]


def fit(ours: Shape | None, theirs: Shape | None) -> bool:
    """Tell whether two shapes agree but for the batch; an unknown size agrees with any."""
    if ours is None or theirs is None:
        return True
    if len(ours) != len(theirs):
        return False
    return all(None in pair or pair[0] == pair[1] for pair in zip(ours[1:], theirs[1:], strict=True))


def match(ours: Sequence[LayerInfo], theirs: Sequence[LayerInfo]) -> Matching:
    """Find the layers of two models that belong together.

    Those of one address do. Of the rest, those do that follow one another in the same order, have the
    same shape, and may compute the same: first those of one class and activation function, then an
    activation layer and the layer that a converter fused it into, then those of one family of classes
    (`actviz.formats.layer_families`). Each time it is the longest such sequence (as `diff` does with lines of
    text), between the pairs that are known. A layer without a like one has no partner: equal shapes
    alone prove nothing. An operation inside a layer of the other model (``scores/BiasAdd`` of
    ``scores``) is not that layer, and has none either.
    """
    by_address = {layer.address: layer for layer in theirs}
    found = {
        layer.address: LayerMatch(layer, by_address[layer.address], "address")
        for layer in ours
        if layer.address in by_address
    }
    taken = set(found)
    inside = _operations_within(ours, theirs), _operations_within(theirs, ours)
    for key, suits in _TIERS:
        left = [layer for layer in ours if layer.address not in found and layer.address not in inside[0]]
        right = [layer for layer in theirs if layer.address not in taken and layer.address not in inside[1]]
        gaps = _gaps(ours, theirs, found)
        left, right = ([layer for layer in some if layer.shape is not None] for some in (left, right))
        rows = _longest(
            [(gaps[0][layer.address], key(layer), _sizes(layer)) for layer in left],
            [(gaps[1][layer.address], key(layer), _sizes(layer)) for layer in right],
        )
        pairs = [(left[one], right[other]) for one, other in rows if suits(left[one], right[other])]
        found |= {one.address: LayerMatch(one, other, "order") for one, other in pairs}
        taken |= {other.address for _, other in pairs}
    ordered = tuple(found[layer.address] for layer in ours if layer.address in found)
    return Matching(
        ordered,
        tuple(layer for layer in ours if layer.address not in found),
        tuple(layer for layer in theirs if layer.address not in taken),
    )


def _operations_within(layers: Sequence[LayerInfo], others: Sequence[LayerInfo]) -> set[str]:
    """Return the addresses that lie within a layer of the other model which has nothing listed inside it.

    A nested model has its layers listed: those of both are compared.
    """
    parents = {parent for layer in others for parent in _parents(layer.address)}
    single = {layer.address for layer in others} - parents
    return {layer.address for layer in layers if any(parent in single for parent in _parents(layer.address))}


def _parents(address: str) -> list[str]:
    """Return the addresses around an address; a number of a call (``conv#1``) is part of the name."""
    return [address[:place] for place, letter in enumerate(address) if letter == "/"]


def _gaps(
    ours: Sequence[LayerInfo], theirs: Sequence[LayerInfo], found: dict[str, LayerMatch]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return for every address between which two of the known pairs it stands.

    Pairs that are in another order in both models (parallel branches) do not count.
    """
    places = {layer.address: place for place, layer in enumerate(theirs)}
    ends: list[int] = []
    longest: list[list[str]] = []
    for layer in ours:
        if layer.address in found:
            place = places[found[layer.address].theirs.address]
            at = bisect.bisect_left(ends, place)
            chain = [*(longest[at - 1] if at else []), layer.address]
            ends[at : at + 1], longest[at : at + 1] = [place], [chain]
    known = set(longest[-1]) if longest else set()
    partners = {found[address].theirs.address for address in known}
    gaps: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for layers, anchors, gap in ((ours, known, gaps[0]), (theirs, partners, gaps[1])):
        number = 0
        for layer in layers:
            gap[layer.address] = number
            number += layer.address in anchors
    return gaps


def _fuses(ours: LayerInfo, theirs: LayerInfo) -> bool:
    """Return True if one of the layers is an activation and the other a layer that ends with it."""
    return ACTIVATION in {family_of(ours), family_of(theirs)}


# What layers that belong together have in common, and what the pair has to be besides.
_TIERS: tuple[tuple[Callable[[LayerInfo], Hashable], Callable[[LayerInfo, LayerInfo], bool]], ...] = (
    (lambda layer: (layer.kind, function_of(layer)), alike),
    (lambda layer: (family_of(layer), function_of(layer)), alike),
    (lambda layer: function_of(layer) or layer.address, lambda one, other: alike(one, other) and _fuses(one, other)),
    (family_of, alike),
)


def _sizes(layer: LayerInfo) -> Hashable:
    return None if layer.shape is None else layer.shape[1:]


def _longest(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the places of the longest common row of two sequences (Wagner and Fischer 1974)."""
    if len(ours) * len(theirs) > _MOST_STEPS:
        return [(place, place) for place in range(min(len(ours), len(theirs))) if ours[place] == theirs[place]]
    lengths = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for one in range(len(ours) - 1, -1, -1):
        for other in range(len(theirs) - 1, -1, -1):
            same = ours[one] == theirs[other]
            below, beside = lengths[one + 1][other], lengths[one][other + 1]
            lengths[one][other] = lengths[one + 1][other + 1] + 1 if same else max(below, beside)
    found, one, other = [], 0, 0
    while one < len(ours) and other < len(theirs):
        if ours[one] == theirs[other]:
            found.append((one, other))
            one, other = one + 1, other + 1
        elif lengths[one + 1][other] >= lengths[one][other + 1]:
            one += 1
        else:
            other += 1
    return found


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """The difference between two layers over any number of inputs, B - A.

    `count` values were compared; `apart` of them are NaN or infinite in one and not the
    same in the other, and are in no other number. `largest` and `total` are of the absolute
    differences, `square` of their squares; `ours`, `theirs` and `product` are the sums of
    the squares of A, of B, and of A times B. `reach` is the largest absolute value of A.
    `our_sums` and `their_sums` are float64 ``(channel,)``, `each` how many values a channel
    has. `worst` is the input with the largest difference.
    """

    count: int
    apart: int
    largest: float
    total: float
    square: float
    ours: float
    theirs: float
    product: float
    reach: float
    our_sums: NDArray[np.float64]
    their_sums: NDArray[np.float64]
    each: int
    worst: int

    @property
    def mean(self) -> float:
        """The mean absolute difference."""
        return self.total / max(1, self.count - self.apart)

    @property
    def relative(self) -> float:
        """The length of the difference over that of A; infinite where A is 0 and B is not."""
        if not self.square:
            return 0.0
        return math.sqrt(self.square / self.ours) if self.ours else math.inf

    @property
    def cosine(self) -> float:
        """The cosine of the angle between A and B; 1 where both are 0, 0 where one is, NaN beyond float64."""
        if not self.square:
            return 1.0
        if not (self.ours and self.theirs):
            return 0.0
        found = self.product / math.sqrt(self.ours) / math.sqrt(self.theirs)
        return max(-1.0, min(1.0, found)) if math.isfinite(found) else math.nan

    @property
    def correlation(self) -> float:
        """Pearson's correlation of the means of the channels; NaN where they do not differ among themselves."""
        if np.array_equal(self.our_sums, self.their_sums) and len(self.our_sums):
            return 1.0
        ours, theirs = (sums - sums.mean() for sums in (self.our_sums, self.their_sums))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            length = float(np.sqrt(ours @ ours) * np.sqrt(theirs @ theirs))
            found = float(ours @ theirs) / length if length else math.nan
        return max(-1.0, min(1.0, found)) if math.isfinite(found) else math.nan


def join(first: LayerDifference, second: LayerDifference) -> LayerDifference:
    """Return the difference over two sets of inputs together."""
    worse = second if (second.apart > 0, second.largest) > (first.apart > 0, first.largest) else first
    return LayerDifference(
        count=first.count + second.count,
        apart=first.apart + second.apart,
        largest=max(first.largest, second.largest),
        total=first.total + second.total,
        square=first.square + second.square,
        ours=first.ours + second.ours,
        theirs=first.theirs + second.theirs,
        product=first.product + second.product,
        reach=max(first.reach, second.reach),
        our_sums=first.our_sums + second.our_sums,
        their_sums=first.their_sums + second.their_sums,
        each=first.each + second.each,
        worst=worse.worst,
    )


def drift(ours: NDArray[Any], theirs: NDArray[Any], axes: Axes, start: int = 0) -> LayerDifference:
    """Return the difference of two layers for a batch.

    Parameters
    ----------
    ours, theirs
        A and B, batch first, of one shape and any real dtypes; not written to.
    axes
        Their axes.
    start
        The number of the first input of the batch.

    Raises
    ------
    ValueError
        When the shapes differ.
    TypeError
        When one holds no real numbers.
    """
    if ours.shape != theirs.shape:
        message = f"shapes {ours.shape} and {theirs.shape}"
        raise ValueError(message)
    channels = 1
    name = next((axis for axis in CHANNEL_AXES if axis in axes), None)
    arrays = [as_numbers(one) for one in (ours, theirs)]
    if name is not None:
        arrays = [np.moveaxis(one, axes.index(name), -1) for one in arrays]
        channels = arrays[0].shape[-1]
    one, other = (np.ascontiguousarray(array).reshape(len(ours), -1) for array in arrays)
    found = LayerDifference(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, np.zeros(channels), np.zeros(channels), 0, start)
    for first, left, right in _parts(one, other, channels):
        part = _part(left, right, channels, start + first)
        found = join(found, part) if found.count else part
    return found


def _parts(ours: NDArray[Any], theirs: NDArray[Any], channels: int) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
    """Cut ``(input, value)`` into parts of whole channels: several inputs, or a piece of one."""
    count, size = ours.shape
    if not ours.size:
        return
    if size <= _PART:
        step = max(1, _PART // size)
        for first in range(0, count, step):
            yield first, ours[first : first + step], theirs[first : first + step]
        return
    step = max(1, _PART // channels) * channels
    for number in range(count):
        for begin in range(0, size, step):
            yield (
                number,
                ours[number : number + 1, begin : begin + step],
                theirs[number : number + 1, begin : begin + step],
            )


def _part(ours: NDArray[Any], theirs: NDArray[Any], channels: int, start: int) -> LayerDifference:
    """Return the difference of a part, ``(input, value)``."""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = theirs - ours
        np.abs(apart, out=apart)
        largest_each = apart.max(axis=1)
        largest, reach = float(largest_each.max()), float(np.abs(ours).max())
        if not (math.isfinite(largest) and math.isfinite(reach)):
            return _nonfinite_part(ours, theirs, channels, start)
        top = reach + largest
        squared_well = _squares_well(reach) and _squares_well(top)
        if np.float64 not in {ours.dtype.type, theirs.dtype.type} and not squared_well:
            return _part(ours.astype(np.float64), theirs.astype(np.float64), channels, start)
        flat, left, right = apart.reshape(-1), ours.reshape(-1), theirs.reshape(-1)
        others = float(right @ right)
        if others < _SMALLEST_SINGLE**2 and theirs.dtype != np.float64 and theirs.any():
            return _part(ours.astype(np.float64), theirs.astype(np.float64), channels, start)
        return LayerDifference(
            ours.size,
            0,
            largest,
            float(flat.sum(dtype=np.float64 if flat.dtype == np.float64 else None)),
            float(flat @ flat),
            float(left @ left),
            others,
            float(left @ right),
            reach,
            _sums(ours, channels),
            _sums(theirs, channels),
            ours.size // channels,
            start + int(largest_each.argmax()),
        )


def _squares_well(size: float) -> bool:
    """Tell whether the square of a size is neither lost nor infinite in single precision."""
    return size == 0 or _SMALLEST_SINGLE < size < _LARGEST_SINGLE


def _sums(values: NDArray[Any], channels: int) -> NDArray[np.float64]:
    """Return the sum of each channel of a part; long rows are summed before they are split."""
    rows = values.reshape(-1, channels)
    several = max(1, min(len(rows), 2048 // channels))
    whole = len(rows) // several * several
    folded = rows[:whole].reshape(-1, several * channels).sum(axis=0).astype(np.float64)
    found: NDArray[np.float64] = folded.reshape(several, channels).sum(axis=0)
    found += rows[whole:].sum(axis=0)
    return found


def _nonfinite_part(ours: NDArray[Any], theirs: NDArray[Any], channels: int, start: int) -> LayerDifference:
    """Return the difference of a part that holds NaN or infinities, or whose difference overflows."""
    left, right = (values.astype(np.float64) for values in (ours, theirs))
    finite = np.isfinite(left) & np.isfinite(right)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    wrong = ~finite & ~same
    left[~finite] = 0.0
    right[~finite] = 0.0
    with np.errstate(over="ignore"):
        lengths = np.abs(right - left)
    flat, one, other = lengths.reshape(-1), left.reshape(-1), right.reshape(-1)
    each = wrong.any(axis=1) if wrong.any() else lengths.max(axis=1)
    return LayerDifference(
        count=ours.size,
        apart=int(wrong.sum()),
        largest=float(lengths.max()),
        total=float(lengths.sum()),
        square=float(flat @ flat),
        ours=float(one @ one),
        theirs=float(other @ other),
        product=float(one @ other),
        reach=float(np.abs(left).max()),
        our_sums=_sums(left, channels),
        their_sums=_sums(right, channels),
        each=ours.size // channels,
        worst=start + int(each.argmax()),
    )
