"""LayerCAM: Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE TIP 2021.

Equations 6 to 8: each value is weighted with its own positive gradient.
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
    maps: NDArray[Any] = np.maximum((np.maximum(gradients, 0) * values).sum(axis=-1), 0)
    return maps
