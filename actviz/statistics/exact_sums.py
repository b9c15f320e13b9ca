"""Sums of float64 numbers without rounding errors, so that they do not depend on the order of adding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_BITS, _MASK = 32, (1 << 32) - 1
_LARGEST_INTEGER = 53
# Limb 0 weighs 2**-1074, the smallest float64, so that every float64 is a whole number of it.
_OFFSET = 1074
# Beyond 2**900 the constant that rounds a term to a limb could overflow; four limbs are 2**128.
_LARGEST, _SCALE_LIMBS = 2.0**900, 4
# Terms of one slab of channels and what is left of them stay in the cache.
_SLAB = 1 << 14


@dataclass(frozen=True, slots=True)
class ExactSums:
    """The exact sum of any number of float64 terms for each channel: an integer in limbs of 32 bits.

    `limbs` is int64 ``(limb, channel)``, the least significant first; limb `i` weighs ``2**(32 * (lowest + i) - 1074)``.
    Limbs may have any sign and exceed 32 bits, so that merging adds arrays; 2**30 merges fit. Only `packed` makes the
    form canonical: equal sums have equal arrays. `overflow` is int64 ``(channel,)``: how many terms were not finite,
    which makes the sum infinite.
    """

    limbs: NDArray[np.int64]
    lowest: int
    overflow: NDArray[np.int64]

    @classmethod
    def of(cls, terms: NDArray[np.float64]) -> ExactSums:
        """Return the sums of ``(term, channel)``, at most 2**20 terms."""
        overflow = np.zeros(terms.shape[1], np.int64)
        largest = _largest(terms)
        if not np.isfinite(largest):
            finite = np.isfinite(terms)
            overflow += np.count_nonzero(~finite, axis=0)
            terms = np.where(finite, terms, 0.0)
            largest = _largest(terms)
        if largest > _LARGEST:
            small = np.abs(terms) <= _LARGEST
            scaled = np.where(small, 0.0, terms) * 2.0 ** (-_BITS * _SCALE_LIMBS)
            sums = cls.of(np.where(small, terms, 0.0))
            large = cls.of(scaled)
            return sums.merge(cls(large.limbs, large.lowest + _SCALE_LIMBS, overflow))
        exponent = int(np.frexp(largest)[1]) + max(2, len(terms).bit_length()) - _LARGEST_INTEGER
        # The lowest limb into which all terms, rounded to whole numbers of it, add without an error in float64.
        top = max(0, -(-(exponent + _OFFSET) // _BITS))
        step = max(1, _SLAB // max(1, len(terms)))
        starts = range(0, terms.shape[1], step)
        slabs = [_in_limbs(terms[:, start : start + step], top) for start in starts]
        rows = max(map(len, slabs), default=0)
        limbs = np.zeros((rows + 1, terms.shape[1]), np.int64)
        for start, slab in zip(starts, slabs, strict=True):
            for row, sums_of_row in enumerate(slab, 1):
                limbs[rows - row, start : start + step] = sums_of_row
        carry = limbs[:-1] >> _BITS
        limbs[:-1] &= _MASK
        limbs[1:] += carry
        return cls(limbs, top + 1 - rows, overflow)

    def merge(self, other: ExactSums) -> ExactSums:
        """Return the sums of the terms of both."""
        overflow = self.overflow + other.overflow
        if self.lowest == other.lowest and len(self.limbs) == len(other.limbs):
            return ExactSums(self.limbs + other.limbs, self.lowest, overflow)
        lowest = min(self.lowest, other.lowest)
        rows = max(sums.lowest - lowest + len(sums.limbs) for sums in (self, other))
        limbs = np.zeros((rows, self.limbs.shape[1]), np.int64)
        for sums in (self, other):
            start = sums.lowest - lowest
            limbs[start : start + len(sums.limbs)] += sums.limbs
        return ExactSums(limbs, lowest, overflow)

    def packed(self, *, canonical: bool = True) -> NDArray[np.int64]:
        """Return everything as one array ``(number, channel)`` for `unpacked`; `canonical`: the same for equal sums."""
        if not canonical:
            return np.concatenate([np.full_like(self.overflow, self.lowest)[None], self.overflow[None], self.limbs])
        limbs = _carried(self.limbs)
        used = np.flatnonzero(limbs.any(axis=1))
        first, end = (int(used[0]), len(limbs) - 1) if used.size else (0, 0)
        sign = limbs[-1]
        # Limbs that only repeat the sign are left out, but for one.
        while end > first and (limbs[end - 1] == sign & _MASK).all():
            end -= 1
        lowest = self.lowest + first if used.size else 0
        return np.concatenate([np.full_like(sign, lowest)[None], self.overflow[None], limbs[first:end], sign[None]])

    @classmethod
    def unpacked(cls, packed: NDArray[np.int64]) -> ExactSums:
        """Return the sums that `packed` returned."""
        return cls(packed[2:], int(packed[0, 0]) if packed.shape[1] else 0, packed[1])

    def integers(self) -> list[int]:
        """Return the sum of the finite terms of each channel, in units of ``2**exponent``."""
        words = np.ascontiguousarray((_carried(self.limbs) & _MASK).astype("<u4").T)
        return [int.from_bytes(row.tobytes(), "little", signed=True) for row in words]

    @property
    def exponent(self) -> int:
        """The power of two of the unit of `integers`."""
        return _BITS * self.lowest - _OFFSET

    def rounded(self) -> NDArray[np.float64]:
        """Return each sum, rounded once; infinite where a term was."""
        return quotients(self.integers(), [1] * len(self.overflow), self.exponent, self.overflow)


def quotients(
    numerators: Iterable[int], denominators: Iterable[int], exponent: int, overflow: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return ``numerator * 2**exponent / denominator``, rounded once; infinite at overflow, NaN where it divides by 0."""
    found = [_quotient(number, divisor, exponent) for number, divisor in zip(numerators, denominators, strict=True)]
    return np.where(overflow > 0, np.inf, np.array(found, np.float64))


def _quotient(numerator: int, denominator: int, exponent: int) -> float:
    if not denominator:
        return math.nan
    try:
        # Python divides integers of any size with one rounding.
        return numerator / (denominator << -exponent) if exponent < 0 else (numerator << exponent) / denominator
    except OverflowError:
        return math.copysign(math.inf, numerator)


def exact_products(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return products and their rounding errors (Dekker 1971): their sum is the exact product, short of underflow."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        product = first * second
        (high, low), (other_high, other_low) = _halves(first), _halves(second)
        error = ((high * other_high - product) + high * other_low + low * other_high) + low * other_low
    return product, np.where(np.isfinite(product) & np.isfinite(error), error, 0.0)


def _halves(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    large = values * ((1 << 27) + 1)
    high = large - (large - values)
    return high, values - high


def _carried(limbs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return limbs in 0..2**32-1, and a last one that is the sign (0 or -1)."""
    limbs = np.concatenate([limbs, np.zeros((2, limbs.shape[1]), np.int64)])
    for row in range(len(limbs) - 1):
        limbs[row + 1] += limbs[row] >> _BITS
        limbs[row] &= _MASK
    return limbs


def _largest(terms: NDArray[np.float64]) -> float:
    """Return the largest absolute value, 0 of none; NaN or infinite if a term is."""
    return float(np.maximum(terms.max(initial=0.0), -terms.min(initial=0.0)))


def _in_limbs(terms: NDArray[np.float64], top: int) -> list[NDArray[np.float64]]:
    """Return the sums of finite ``(term, channel)`` in units of the limbs ``top, top - 1, ...``, as far as they are used."""
    rows: list[NDArray[np.float64]] = []
    for level in range(top, -1, -1):
        # Adding and subtracting 1.5 * 2**52 units rounds to whole units, and both differences are exact.
        magic = math.ldexp(1.5, _BITS * level - _OFFSET + _LARGEST_INTEGER - 1)
        whole = terms + magic
        whole -= magic
        rows.append(np.add.reduce(whole, axis=0) / math.ldexp(1.0, _BITS * level - _OFFSET))
        terms = np.subtract(terms, whole, out=whole)
        if len(rows) > 1 and not terms.any():
            break
    return rows
