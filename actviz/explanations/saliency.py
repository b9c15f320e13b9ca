"""Saliency: Simonyan et al., "Deep Inside Convolutional Networks", ICLR workshop 2014, section 3.

The largest |gradient| over the channels of each place of the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.explanations.method import Explanation


def compute(explanation: Explanation) -> NDArray[Any]:
    """Return maps ``(batch, ...)`` at the places of the input."""
    return largest(explanation, explanation.input_gradients(explanation.values))


def largest(explanation: Explanation, gradients: NDArray[Any]) -> NDArray[Any]:
    """Return the largest |gradient| over the channels of the input."""
    sizes = np.abs(gradients)
    maps: NDArray[Any] = sizes if explanation.channel is None else sizes.max(axis=explanation.channel)
    return maps
