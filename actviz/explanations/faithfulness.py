"""Deletion and insertion: Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018.

Section 4.1, in ten steps: the places of the input that a map ranks highest are replaced by zeros, or inserted into
zeros, first. A map that ranks what the network uses lets the output fall, or rise, faster than a random one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.records import Faithfulness

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.explanations.method import Explanation

STEPS, SEED = 10, 0


def measure(explanation: Explanation, values: NDArray[Any], cells: NDArray[np.int64], whole: float) -> Faithfulness:
    """Measure the map of the only input of a batch, with 40 forward passes.

    Parameters
    ----------
    values
        The values of the map, flat.
    cells
        For each place of the input the index in `values` of the value that covers it, -1 for none.
    whole
        The output for the input.
    """
    random = np.random.default_rng(SEED)
    # Equal values, such as the zeros of a ReLU, are ordered at random, not from the top left.
    order = np.lexsort((random.permutation(values.size), -values))
    ranks = np.argsort(order, kind="stable")
    orders = ranks, random.permutation(values.size)
    changed = [part for order in orders for part in _changed(explanation, order, cells)]
    # All in one batch: each batch of a large network waits for a thousand calls of TensorFlow.
    outputs = replace(explanation, size=len(changed) * STEPS).outputs_of(np.concatenate(changed), 0).tolist()
    curves = [tuple(outputs[start : start + STEPS]) for start in range(0, len(outputs), STEPS)]
    return Faithfulness(whole, *curves)


def _changed(
    explanation: Explanation, ranks: NDArray[np.int64], cells: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the inputs after each step of deletion and of insertion, ``(step, ...)``."""
    sample, channel = explanation.values[0], explanation.channel
    first = np.argsort(np.where(cells < 0, len(ranks), ranks[cells]), axis=None, kind="stable")
    counts = np.rint(np.arange(1, STEPS + 1) * cells.size / STEPS).astype(np.int64)
    order = np.empty(cells.size, np.int64)
    order[first] = np.arange(cells.size)
    chosen = order.reshape(cells.shape) < counts.reshape(-1, *(1,) * cells.ndim)  # (step, place ...)
    if channel is not None:
        chosen = np.expand_dims(chosen, channel)
    zero = np.zeros((), sample.dtype)
    return np.where(chosen, zero, sample), np.where(chosen, sample, zero)
