"""Integrated gradients: Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, equation 1.

The path from zeros to the input in 64 points, by the trapezoidal rule; the channels of a place are added, so that the
map sums to the difference of the scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.explanations.method import Explanation

STEPS = 64


def compute(explanation: Explanation) -> NDArray[Any]:
    """Return maps ``(batch, ...)`` at the places of the input."""
    values = explanation.values
    total = np.zeros(values.shape, np.float64)
    for index, share in enumerate(np.linspace(0, 1, STEPS)):
        weight = 0.5 if index in {0, STEPS - 1} else 1.0
        total += weight * explanation.input_gradients((share * values).astype(values.dtype))
    attributions = (values * total / (STEPS - 1)).astype(np.float32)
    return attributions if explanation.channel is None else attributions.sum(axis=explanation.channel)
