"""Differences between two networks: which layers belong together, and statistics of their difference.

`A` is what is compared with, `B` what is compared. Statistics are taken of each input and merged exactly, as
in `running_statistics`.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from actviz.formats.layer_families import ACTIVATION, alike, family_of, function_of
from actviz.statistics.channel_scan import folded
from actviz.statistics.channel_statistics import as_numbers
from actviz.statistics.exact_sums import ExactSums
from actviz.statistics.reducer import LayerReducer
from actviz.statistics.running_statistics import CHANNEL_AXES

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, LayerInfo, Shape

# A part of both arrays and of their difference stays in the cache.
_PART = 1 << 15
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
    """Return True if two shapes agree except for the batch; an unknown size agrees with any."""
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


@dataclass(frozen=True)
class LayerDifference:
    """The difference between two layers over any number of inputs, B - A.

    `count` values were compared; `apart` of them are NaN or infinite in one and not the
    same in the other, and are in no other number. `largest` is the largest absolute difference, `reach` the
    largest absolute value of A. `sums` are those of `totals`;
    `our_sums` and `their_sums` are those of A and of B for each channel. `worst_key` orders the inputs: whether
    values of one are apart, its largest difference, and its number, negative, so that the first of equals is worst.
    """

    count: int
    apart: int
    largest: float
    reach: float
    sums: ExactSums
    our_sums: ExactSums
    their_sums: ExactSums
    worst_key: tuple[bool, float, int]

    @cached_property
    def totals(self) -> tuple[float, ...]:
        """The sums of |B - A|, (B - A)**2, A**2, B**2 and A * B over all values."""
        return tuple(self.sums.rounded().tolist())

    @property
    def worst(self) -> int:
        """The number of the input with the largest difference."""
        return -self.worst_key[2]

    @property
    def mean(self) -> float:
        """The mean absolute difference."""
        return self.totals[0] / max(1, self.count - self.apart)

    @property
    def relative(self) -> float:
        """The length of the difference over that of A; infinite where A is 0 and B is not."""
        _, square, ours, _, _ = self.totals
        if not square:
            return 0.0
        return math.sqrt(square / ours) if ours else math.inf

    @property
    def cosine(self) -> float:
        """The cosine of the angle between A and B; 1 where both are 0, 0 where one is, NaN beyond float64."""
        _, square, ours, theirs, product = self.totals
        if not square:
            return 1.0
        if not (ours and theirs):
            return 0.0
        return _clipped(product / math.sqrt(ours) / math.sqrt(theirs))

    @property
    def correlation(self) -> float:
        """Pearson's correlation of the means of the channels; NaN where they do not differ among themselves."""
        ours, theirs = self.our_sums.rounded(), self.their_sums.rounded()
        if np.array_equal(ours, theirs) and len(ours):
            return 1.0
        ours, theirs = ours - ours.mean(), theirs - theirs.mean()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            length = float(np.sqrt(ours @ ours) * np.sqrt(theirs @ theirs))
            return _clipped(float(ours @ theirs) / length if length else math.nan)

    def merge(self, other: LayerDifference) -> LayerDifference:
        """Return the difference over both sets of inputs together."""
        return LayerDifference(
            self.count + other.count,
            self.apart + other.apart,
            max(self.largest, other.largest),
            max(self.reach, other.reach),
            self.sums.merge(other.sums),
            self.our_sums.merge(other.our_sums),
            self.their_sums.merge(other.their_sums),
            max(self.worst_key, other.worst_key),
        )

    def arrays(self, *, canonical: bool = True) -> dict[str, NDArray[Any]]:
        """Return everything as plain arrays, for `from_arrays`; `canonical` as in `Reducer.state`."""
        apart, largest, number = self.worst_key
        return {
            "counts": np.array([self.count, self.apart, apart, number], np.int64),
            "extremes": np.array([self.largest, self.reach, largest], np.float64),
            "sums": self.sums.packed(canonical=canonical),
            "our_sums": self.our_sums.packed(canonical=canonical),
            "their_sums": self.their_sums.packed(canonical=canonical),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the difference that `arrays` returned."""
        count, apart, worst_apart, number = arrays["counts"].tolist()
        largest, reach, worst_largest = arrays["extremes"].tolist()
        sums, ours, theirs = (ExactSums.unpacked(arrays[name]) for name in ("sums", "our_sums", "their_sums"))
        return cls(count, apart, largest, reach, sums, ours, theirs, (bool(worst_apart), worst_largest, number))


def _clipped(cosine: float) -> float:
    """Return a cosine within -1 to 1, where rounding may leave it, NaN if it overflowed."""
    return max(-1.0, min(1.0, cosine)) if math.isfinite(cosine) else math.nan


class DifferenceReducer(LayerReducer[LayerDifference]):
    """The difference of each pair of layers, by the address in A."""

    numbers = LayerDifference

    def update(self, address: str, activations: Sequence[Activation], samples: Sequence[int]) -> None:
        """Add the activations of A and B for a batch of consecutive inputs."""
        ours, theirs = (activation.values[: len(samples)] for activation in activations)
        self.add(address, drift(ours, theirs, activations[0].axes, samples[0]))


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
    left, right = (np.ascontiguousarray(array).reshape(len(ours), -1) for array in arrays)
    parts = _parts(left, right, channels)
    return _merged([_part(one, other, channels, start + first) for first, one, other in parts], channels, start)


@dataclass(frozen=True, slots=True)
class _PartNumbers:
    """Numbers of a part; `terms` is ``(input, 5)`` in the order of `LayerDifference.sums`, sums ``(input, channel)``."""

    count: int
    apart: int
    largest: float
    reach: float
    terms: NDArray[np.float64]
    our_sums: NDArray[np.float64]
    their_sums: NDArray[np.float64]
    worst_key: tuple[bool, float, int]


def _merged(parts: Sequence[_PartNumbers], channels: int, start: int) -> LayerDifference:
    nothing = np.zeros((0, channels))
    return LayerDifference(
        sum(part.count for part in parts),
        sum(part.apart for part in parts),
        max((part.largest for part in parts), default=0.0),
        max((part.reach for part in parts), default=0.0),
        ExactSums.of(np.concatenate([np.zeros((0, 5)), *(part.terms for part in parts)])),
        ExactSums.of(np.concatenate([nothing, *(part.our_sums for part in parts)])),
        ExactSums.of(np.concatenate([nothing, *(part.their_sums for part in parts)])),
        max((part.worst_key for part in parts), default=(False, 0.0, -start)),
    )


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


def _part(ours: NDArray[Any], theirs: NDArray[Any], channels: int, start: int) -> _PartNumbers:
    """Return the numbers of a part, ``(input, value)``; those of one input depend on it alone."""
    left, right = ours.astype(np.float64), theirs.astype(np.float64)
    wrong = np.zeros(len(left), np.int64)
    finite = np.isfinite(left) & np.isfinite(right)
    if not finite.all():
        same = (left == right) | (np.isnan(left) & np.isnan(right))
        wrong = np.count_nonzero(~finite & ~same, axis=1)
        left[~finite] = 0.0
        right[~finite] = 0.0
    with np.errstate(over="ignore", under="ignore"):
        lengths = np.abs(right - left)
        # Not a dot product, whose order of adding may depend on the number of threads.
        terms = [lengths, lengths * lengths, left * left, right * right, left * right]
        sums = np.stack([term.sum(axis=1) for term in terms], axis=1)
        our_sums, their_sums = (folded(np.add, side.reshape(len(side), -1, channels)) for side in (left, right))
    each = lengths.max(axis=1).tolist()
    keys = [
        (apart > 0, size, -start - number)
        for number, (apart, size) in enumerate(zip(wrong.tolist(), each, strict=True))
    ]
    return _PartNumbers(
        ours.size, int(wrong.sum()), max(each), float(np.abs(left).max()), sums, our_sums, their_sums, max(keys)
    )
