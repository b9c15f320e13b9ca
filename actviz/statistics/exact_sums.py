"""Sums of float64 numbers without rounding errors, so that they do not depend on the order of adding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_BITS, _MASK, _MANTISSA = 32, (1 << 32) - 1, 53
# Limb 0 has the weight 2**-_OFFSET: below the last bit of the smallest float64, as `frexp` scales it.
_OFFSET = 36 * _BITS


@dataclass(frozen=True, slots=True)
class ExactSums:
    """The exact sum of any number of float64 terms for each channel: an integer in limbs of 32 bits.

    `limbs` is int64 ``(limb, channel)``, the least significant first: each in 0..2**32-1, except the last, which is
    the sign (0 or -1). Limb `i` weighs ``2**(32 * (lowest + i) - 1152)``. The form is canonical: equal sums have
    equal arrays. `overflow` is int64 ``(channel,)``: how many terms were not finite, which makes the sum infinite.
    """

    limbs: NDArray[np.int64]
    lowest: int
    overflow: NDArray[np.int64]

    @classmethod
    def of(cls, terms: NDArray[np.float64]) -> ExactSums:
        """Return the sums of ``(term, channel)``, at most 2**20 terms."""
        channels = terms.shape[1]
        finite = np.isfinite(terms)
        overflow = len(terms) - np.count_nonzero(finite, axis=0).astype(np.int64)
        if not finite.all():
            terms = np.where(finite, terms, 0.0)
        if not terms.any():
            return cls(np.zeros((1, channels), np.int64), 0, overflow)
        mantissas, exponents = np.frexp(terms)
        whole = np.ldexp(mantissas, _MANTISSA).astype(np.int64)
        index, shift = np.divmod(exponents.astype(np.int64) + (_OFFSET - _MANTISSA), _BITS)
        low = (whole & _MASK) << shift
        middle = ((whole >> _BITS) << shift) + (low >> _BITS)
        lowest = int(index.min())
        rows = int(index.max()) - lowest + 3
        cells = (index - lowest) * channels + np.arange(channels)
        limbs = np.zeros(rows * channels, np.int64)
        for row, pieces in enumerate((low & _MASK, middle & _MASK, middle >> _BITS)):
            # bincount adds in float64, which is exact: 2**20 pieces below 2**32 stay below 2**53.
            sums = np.bincount((cells + row * channels).ravel(), pieces.ravel(), rows * channels)
            limbs += sums.astype(np.int64)
        return cls(*_canonical(limbs.reshape(rows, channels), lowest), overflow)

    def merge(self, other: ExactSums) -> ExactSums:
        """Return the sums of the terms of both."""
        lowest = min(self.lowest, other.lowest)
        rows = max(one.lowest - lowest + len(one.limbs) for one in (self, other))
        limbs = np.zeros((rows, self.limbs.shape[1]), np.int64)
        for one in (self, other):
            start = one.lowest - lowest
            limbs[start : start + len(one.limbs)] += one.limbs
            # A sign extends over all higher limbs; adding it once at its own weight is the same number.
        return ExactSums(*_canonical(limbs, lowest), self.overflow + other.overflow)

    def packed(self) -> NDArray[np.int64]:
        """Return everything as one array ``(number, channel)`` for `unpacked`."""
        return np.vstack([np.full_like(self.overflow, self.lowest), self.overflow, self.limbs])

    @classmethod
    def unpacked(cls, packed: NDArray[np.int64]) -> ExactSums:
        """Return the sums that `packed` returned."""
        return cls(packed[2:], int(packed[0, 0]) if packed.shape[1] else 0, packed[1])

    def integers(self) -> list[int]:
        """Return the sum of the finite terms of each channel, in units of ``2**exponent``."""
        words = np.ascontiguousarray((self.limbs & _MASK).astype("<u4").T)
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


def _canonical(limbs: NDArray[np.int64], lowest: int) -> tuple[NDArray[np.int64], int]:
    """Carry from limb to limb, then drop limbs that say nothing; see `ExactSums`."""
    limbs = np.concatenate([limbs, np.zeros((2, limbs.shape[1]), np.int64)])
    for row in range(len(limbs) - 1):
        limbs[row + 1] += limbs[row] >> _BITS
        limbs[row] &= _MASK
    used = np.flatnonzero(limbs.any(axis=1))
    if not used.size:
        return np.zeros((1, limbs.shape[1]), np.int64), 0
    end = len(limbs) - 1
    sign = limbs[end].copy()
    while end > used[0] and (limbs[end - 1] == sign & _MASK).all():
        end -= 1
    limbs[end] = sign
    return limbs[used[0] : end + 1], lowest + int(used[0])
