"""Grad-CAM: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.

Equations 1 and 2: the ReLU of the sum of the channels, each weighted with the mean of its gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.explanations.method import Explanation


def compute(explanation: Explanation) -> NDArray[Any]:
    """Return maps ``(batch, ...)`` at the places of the layer."""
    _, values, gradients, _ = explanation.at_layer()
    weights = gradients.mean(axis=tuple(range(1, gradients.ndim - 1)), keepdims=True)
    maps: NDArray[Any] = np.maximum((weights * values).sum(axis=-1), 0)
    return maps
