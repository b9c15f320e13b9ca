"""Scores of a graph before its final softmax or sigmoid, and their gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.formats.savedmodel.name_scopes import PASSING
from actviz.formats.score_axes import mean_scores, sum_of_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor

FINAL = {"Softmax": "softmax", "Sigmoid": "sigmoid"}


def before_final(flat: InlinedGraph, tensor: Tensor) -> tuple[Tensor, str]:
    """Return the tensor before the softmax or sigmoid that gives a tensor, and its name; else the tensor itself."""
    found, _ = flat.origin(tensor, set(PASSING))
    node = flat.nodes[found]
    return (node.inputs[0], FINAL[node.op]) if node.op in FINAL and node.inputs else (tensor, "")


class NoGradientError(Exception):
    """The graph has no gradient; the text says why."""


@dataclass(frozen=True, slots=True)
class ScoreGradient:
    """Adds to a graph the gradients of scores with respect to a tensor.

    `axis` is the axis of units of the scores.
    """

    axis: int

    def extend(self, tensors: Sequence[Any], units: Any) -> list[Any]:
        """Return the tensors ``(output, before, at)`` and the gradients with respect to `at`.

        `units` are as in `actviz.formats.network_protocol.Network.scores`.

        Raises
        ------
        NoGradientError
            When an operation between them has none.
        """
        import tensorflow as tf

        output, before, at = tensors
        scores = mean_scores(before, self.axis)
        total = sum_of_units(scores, units)
        try:
            (gradient,) = tf.gradients(total, [at])
        except Exception as failure:
            raise NoGradientError(_reason(failure)) from failure
        if gradient is None:
            raise NoGradientError(_blocking(total.op, at))
        return [tf.identity(output), tf.identity(before), tf.identity(at), tf.convert_to_tensor(gradient)]


def _reason(failure: Exception) -> str:
    return " ".join(str(failure).split())[:160]


def _blocking(end: Any, at: Any) -> str:
    """Return why a score has no gradient: the operation between that has none."""
    import tensorflow as tf

    reached, after, todo = {at.ref()}, list[Any](), [at]
    while todo:
        for operation in todo.pop().consumers():
            floating = [output for output in operation.outputs if output.dtype.is_floating]
            new = [output for output in floating if output.ref() not in reached]
            reached |= {output.ref() for output in new}
            todo += new
            after += [operation] * bool(new)
    if end not in after:
        return "the score does not depend on it"
    for operation in after:
        inputs = [tensor for tensor in operation.inputs if tensor.ref() in reached]
        if all(gradient is None for gradient in tf.gradients(list(operation.outputs), inputs, stop_gradients=inputs)):
            return f"the operation {operation.type} has none"
    return "the operations between them have none"
