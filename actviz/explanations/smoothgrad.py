"""SmoothGrad: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017.

The mean of the gradients of 25 copies with Gaussian noise of 15% of the range of the input; then as saliency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.explanations.saliency import largest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.explanations.method import Explanation

COPIES, NOISE, SEED = 25, 0.15, 0


def compute(explanation: Explanation) -> NDArray[Any]:
    """Return maps ``(batch, ...)`` at the places of the input."""
    values = explanation.values
    random = np.random.default_rng(SEED)
    axes = tuple(range(1, values.ndim))
    spread = NOISE * (values.max(axis=axes, keepdims=True) - values.min(axis=axes, keepdims=True))
    total = np.zeros(values.shape, np.float64)
    for _ in range(COPIES):
        noisy = values + spread * random.standard_normal(values.shape[1:])
        total += explanation.input_gradients(noisy.astype(values.dtype))
    return largest(explanation, (total / COPIES).astype(np.float32))
