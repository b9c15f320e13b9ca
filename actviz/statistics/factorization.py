"""Non-negative matrix factorization: a few parts whose sums are the channels of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ITERATIONS = 60
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Factors:
    """The parts of a matrix, the one with the most energy first.

    Attributes
    ----------
    weights
        Weight of each part at each position, float64 ``(position, part)``.
    parts
        Each part as a mixture of channels of length 1, float64 ``(part, channel)``.
    energy
        Share of the sum of squares that the parts hold, 0..1.
    """

    weights: NDArray[np.float64]
    parts: NDArray[np.float64]
    energy: float


def factorize(matrix: NDArray[Any], count: int) -> Factors:
    """Factorize a finite non-negative matrix ``(position, channel)``, not all zero, into `count` parts.

    It starts from the singular vectors (NNDSVD) and takes a fixed number of steps of hierarchical alternating least
    squares, so that the same values give the same parts; there are no random numbers.
    """
    largest = float(matrix.max())
    values = matrix.astype(np.float64) / largest
    weights, parts = _start(values, count)
    for _ in range(_ITERATIONS):
        _improve(weights, values @ parts.T, parts @ parts.T)
        _improve(parts.T, values.T @ weights, weights.T @ weights)
    lengths = np.sqrt((parts**2).sum(axis=1))
    weights, parts = weights * lengths, parts / np.maximum(lengths, _TINY)[:, None]
    order = np.argsort(-(weights**2).sum(axis=0), kind="stable")
    weights, parts = weights[:, order], parts[order]
    residual = values - weights @ parts
    return Factors(weights * largest, parts, float(1 - (residual**2).sum() / (values**2).sum()))


def _start(values: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the start of Boutsidis and Gallopoulos (2008): the larger side of each pair of singular vectors."""
    squares, vectors = np.linalg.eigh(values.T @ values)
    weights, parts = np.zeros((len(values), count)), np.zeros((count, values.shape[1]))
    for part in range(count):
        size = float(np.sqrt(max(squares[-1 - part], 0.0)))
        right = vectors[:, -1 - part]
        left = values @ right / max(size, _TINY)
        sides = [(np.maximum(sign * left, 0), np.maximum(sign * right, 0)) for sign in (1, -1)]
        norms = [float(np.linalg.norm(one) * np.linalg.norm(two)) for one, two in sides]
        best = int(norms[1] > norms[0])
        left, right = sides[best]
        scale = np.sqrt(size * norms[best])
        weights[:, part] = scale * left / max(float(np.linalg.norm(left)), _TINY)
        parts[part] = scale * right / max(float(np.linalg.norm(right)), _TINY)
    return weights, parts


def _improve(factor: NDArray[np.float64], product: NDArray[np.float64], gram: NDArray[np.float64]) -> None:
    """Replace each column of a factor by the non-negative one with the smallest error, in place."""
    for part in range(factor.shape[1]):
        change = (product[:, part] - factor @ gram[:, part]) / max(float(gram[part, part]), _TINY)
        factor[:, part] = np.maximum(factor[:, part] + change, 0)
