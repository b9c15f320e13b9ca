"""Scores of a layer's output: one number for each unit or channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actviz.errors import UsageError, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import Axes

FINAL = frozenset({"softmax", "sigmoid"})
"""Activation functions that a score is taken before: their gradient vanishes where the network is certain."""


def score_axis(axes: Axes, rank: int) -> int:
    """Return the index of the axis of units or channels; the last one if none is named so."""
    named = [index for index, axis in enumerate(axes) if axis in {"unit", "channel"}]
    return named[0] if named and len(axes) == rank else rank - 1


def mean_scores(values: Any, axis: int) -> Any:
    """Return values ``(batch, ...)``, an array or a tensor of TensorFlow, averaged to ``(batch, unit)`` in float32."""
    import numpy as np

    rank = len(values.shape)
    if rank == 1:
        values, rank, axis = values[:, None], 2, 1
    others = tuple(index for index in range(1, rank) if index != axis)
    if isinstance(values, np.ndarray):
        return values.astype(np.float32).mean(axis=others)
    import tensorflow as tf

    return tf.reduce_mean(tf.cast(values, tf.float32), axis=others)


def check_units(address: str, count: int, units: Sequence[int]) -> None:
    """Raise UsageError for a unit that the layer does not have."""
    wrong = next((unit for unit in units if not 0 <= unit < count), None)
    if wrong is not None:
        if wrong < 0:
            raise UsageError(f'"{escape(address, 80)}" has {count:,} classes, so that there is no top {-wrong}.')
        message = f'"{escape(address, 80)}" has no class or channel {wrong}; it has {count:,}, 0 to {count - 1:,}.'
        raise UsageError(message)


def units_of(scores: NDArray[Any], units: Sequence[int]) -> list[int]:
    """Return units in which ``-k`` is replaced by the unit of the k-th highest of the scores ``(batch, unit)``.

    Of equal scores the first unit is the higher one. A rank that does not exist is returned as it is.
    """
    import numpy as np

    if all(unit >= 0 for unit in units):
        return list(units)
    order = np.argsort(-scores, axis=1, kind="stable")
    return [int(row[-unit - 1]) if -len(row) <= unit < 0 else unit for row, unit in zip(order, units, strict=True)]


def sum_of_units(scores: Any, units: Any) -> Any:
    """Return the sum over a batch of one score of each input, as a tensor of TensorFlow.

    `scores` and `units` are tensors ``(batch, unit)`` and ``(batch,)``, `units` as in `units_of`. Units that do not exist
    are replaced by one that does: `check_units` refuses them afterwards.
    """
    import tensorflow as tf

    order = tf.argsort(-scores, axis=1, stable=True)
    last = tf.shape(scores)[1] - 1
    ranked = tf.gather(order, tf.clip_by_value(-units - 1, 0, last), axis=1, batch_dims=1)
    chosen = tf.where(units < 0, ranked, tf.clip_by_value(units, 0, last))
    return tf.reduce_sum(tf.gather(scores, chosen, axis=1, batch_dims=1))


def no_gradient(file: str, target: str, at: str, reason: str) -> UsageError:
    """Return the error for a score that has no gradient with respect to a layer."""
    message = f'{file}: the score of "{escape(target, 80)}" has no gradient with respect to "{escape(at, 80)}": {reason}; give a method without gradients with --method, such as occlusion.'
    return UsageError(message)
