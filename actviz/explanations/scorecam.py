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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.explanations.method import Explanation


def compute(explanation: Explanation) -> NDArray[Any]:
    """Return maps ``(batch, row, column)`` at the places of the layer.

    Raises
    ------
    UsageError
        When the layer or the input has other places than rows and columns.
    """
    activation = explanation.activation
    axes = [name for name in activation.axes[1:] if name != "channel"]
    if axes != ["row", "column"] or explanation.image_sizes is None:
        message = f'scorecam masks the rows and columns of an image with those of a layer, which "{escape(explanation.layer, 80)}" or the input does not have; choose occlusion.'
        raise UsageError(message)
    values = channels_last(activation.values, activation.axes).astype(np.float32)
    maps = []
    for index, sample in enumerate(values):
        image = explanation.values[index]
        masks = np.stack([_mask(sample[..., channel], explanation.image_sizes) for channel in range(sample.shape[-1])])
        shaped = np.expand_dims(masks, explanation.channel) if explanation.channel is not None else masks
        parts = [image * shaped[start : start + explanation.size] for start in range(0, len(masks), explanation.size)]
        scores = np.concatenate([explanation.scores_of(part.astype(image.dtype), index) for part in parts])
        weights = np.exp(scores - scores.max())
        maps.append(np.maximum((sample * weights / weights.sum()).sum(axis=-1), 0))
    return np.stack(maps).astype(np.float32)


def _mask(map_: NDArray[np.float32], sizes: tuple[int, int]) -> NDArray[np.float32]:
    """Return a map enlarged to the input and normalized to 0..1; zeros for a flat one."""
    from PIL import Image

    large = np.asarray(Image.fromarray(map_).resize(sizes[::-1], Image.Resampling.BILINEAR))
    low, high = large.min(), large.max()
    return (large - low) / (high - low) if high > low else np.zeros_like(large)
