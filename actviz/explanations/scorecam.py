"""Score-CAM: Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", CVPRW 2020.

Algorithm 1: a channel is weighted with the score of the input of which only what its map covers is left, by a softmax
over the channels; the score of an empty input, which is subtracted, cancels in it. Maps are normalized to 0..1 and
enlarged linearly.

The code of the authors and tf-keras-vis 0.8.7 weight a channel with the probability of the class instead, by a softmax over
the classes. tf-keras-vis also enlarges maps so that their corner values lie on the corners of the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError, escape
from actviz.explanations.method import channels_last
from actviz.explanations.positions import enlargement_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.explanations.method import Explanation


def compute(explanation: Explanation) -> NDArray[Any]:
    """Return maps ``(batch, ...)`` at the places of the layer.

    Raises
    ------
    UsageError
        When the layer has other axes of places than the input, or the input holds text.
    """
    activation, sizes = explanation.activation, explanation.sizes
    if explanation.values.dtype.kind in "OSU":
        raise UsageError("scorecam masks the input, which holds text; choose gradcam or eigencam.")
    axes = [name for name in activation.axes[1:] if name not in {"channel", "unit"}]
    if len(axes) != len(sizes):
        message = f'scorecam masks the input with the maps of a layer, but "{escape(explanation.layer, 80)}" has the axes ({", ".join(axes)}) and the input {len(sizes)} such axes; choose another layer, or occlusion.'
        raise UsageError(message)
    values = channels_last(activation.values, activation.axes).astype(np.float32)
    maps = []
    for index, sample in enumerate(values):
        given = explanation.values[index]
        masks = _masks(sample, sizes)
        if explanation.discrete:
            masks = np.rint(masks)  # a fraction of the number of a word is another word
        shaped = np.expand_dims(masks, explanation.channel) if explanation.channel is not None else masks
        parts = [given * shaped[start : start + explanation.size] for start in range(0, len(masks), explanation.size)]
        scores = np.concatenate([explanation.scores_of(part.astype(given.dtype), index) for part in parts])
        weights = np.exp(scores - scores.max())
        maps.append(np.maximum((sample * weights / weights.sum()).sum(axis=-1), 0))
    return np.stack(maps).astype(np.float32)


def _masks(sample: NDArray[np.float32], sizes: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the maps ``(..., channel)`` enlarged to the input and normalized to 0..1, ``(channel, ...)``; zeros for flat ones."""
    large = np.moveaxis(sample, -1, 0)
    for axis, size in enumerate(sizes, start=1):
        matrix = enlargement_matrix(large.shape[axis], size).astype(np.float32)
        large = np.moveaxis(np.tensordot(matrix, large, (1, axis)), 0, axis)
    places = tuple(range(1, large.ndim))
    low, high = large.min(axis=places, keepdims=True), large.max(axis=places, keepdims=True)
    masks: NDArray[np.float32] = (large - low) / np.where(high > low, high - low, 1)
    return masks
