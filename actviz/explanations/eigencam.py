"""Eigen-CAM: Muhammad and Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", IJCNN 2020.

The projection of the activations of each place on their first right singular vector, not centered. It does not depend
on the target. Its sign is chosen so that the map has a positive sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.explanations.method import channels_last

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.explanations.method import Explanation


def compute(explanation: Explanation) -> NDArray[Any]:
    """Return maps ``(batch, ...)`` at the places of the layer."""
    activation = explanation.activation
    values = channels_last(activation.values, activation.axes).astype(np.float32)
    maps = []
    for sample in values:
        flat = sample.reshape(-1, sample.shape[-1])
        first = np.linalg.svd(flat, full_matrices=False)[2][0]
        projected = (flat @ first).reshape(sample.shape[:-1])
        maps.append(projected * (-1 if projected.sum() < 0 else 1))
    return np.stack(maps)
