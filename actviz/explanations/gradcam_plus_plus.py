"""Grad-CAM++: Chattopadhay et al., "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks", WACV 2018.

Equations 10 and 19, for the exponential of the score; the coefficients of a channel sum to 1, as in the authors' code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.explanations.method import Explanation


def compute(explanation: Explanation) -> NDArray[Any]:
    """Return maps ``(batch, ...)`` at the places of the layer."""
    _, values, gradients, scores = explanation.at_layer()
    gradients = gradients.astype(np.float64)  # float32 leaves an error of 9e-5 of the largest value
    places = tuple(range(1, values.ndim - 1))
    # The exponential cancels in the coefficients, so that it cannot overflow there.
    denominator = 2 * gradients**2 + gradients**3 * values.sum(axis=places, keepdims=True)
    shares = np.divide(gradients**2, denominator, out=np.zeros_like(gradients), where=denominator != 0)
    total = shares.sum(axis=places, keepdims=True)
    shares = np.divide(shares, total, out=np.zeros_like(shares), where=total != 0)
    weights = (shares * np.maximum(gradients, 0)).sum(axis=places, keepdims=True)
    factor = np.exp(scores.astype(np.float64)).reshape(-1, *(1,) * len(places))
    maps: NDArray[Any] = (factor * np.maximum((weights * values).sum(axis=-1), 0)).astype(np.float32)
    return maps
