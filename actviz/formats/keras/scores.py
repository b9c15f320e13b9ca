"""Scores of a Keras layer before its final softmax or sigmoid, and their gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.formats.keras.activation_sign import activation_of
from actviz.formats.keras.graph import TensorRef, refs
from actviz.formats.keras.inner_layers import output_list
from actviz.formats.keras.submodel import input_tensor, linear
from actviz.formats.score_axes import FINAL, check_units, mean_scores, no_gradient, score_axis, units_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.formats.keras.graph import LayerGraph
    from actviz.formats.keras.submodel import SubModel
    from actviz.records import Axes

# Layers between the scores and the end of the model that leave each value unchanged.
PASSING = frozenset({"Identity", "Dropout", "ActivityRegularization"})


@dataclass(frozen=True, slots=True)
class FinalActivation:
    """The tensor before the function that ends a layer.

    `inside` is the node whose layer applies the function itself (``None``: a layer of its own applies it to `before`).
    """

    before: TensorRef
    name: str = ""
    inside: int | None = None


def final_activation(graph: LayerGraph, target: TensorRef) -> FinalActivation:
    """Return the scores behind a tensor: before a softmax or sigmoid, if one ends it."""
    ref = target
    while graph.layer_of(ref.node).kind in PASSING and len(inputs := list(refs(graph.nodes[ref.node].args))) == 1:
        ref = inputs[0]
    entry = graph.layer_of(ref.node)
    name = activation_of(entry) or ""
    if entry.kind == "Softmax":
        name = "softmax"
    if name not in FINAL or entry.custom:
        return FinalActivation(target)
    inputs = list(refs(graph.nodes[ref.node].args))
    if "units" not in entry.config and "filters" not in entry.config:
        return FinalActivation(inputs[0], name) if len(inputs) == 1 else FinalActivation(target)
    return FinalActivation(ref, name, ref.node)


@dataclass(frozen=True, slots=True)
class ScoreQuery:
    """What to compute: the tensor of the target with its address and axes, and the tensor whose gradient is wanted.

    `units` are as in `actviz.formats.network_protocol.Network.scores`.
    """

    target: TensorRef
    address: str
    axes: Axes
    at: TensorRef | None
    at_address: str
    units: Sequence[int]


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """Arrays for a `ScoreBatch`; `values` and `gradients` belong to the tensor `at`."""

    scores: NDArray[Any]
    outputs: NDArray[Any]
    stripped: str
    values: NDArray[Any] | None
    gradients: NDArray[Any] | None


def compute_scores(submodel: SubModel, query: ScoreQuery, batch: Mapping[str, NDArray[Any]]) -> ScoreResult:
    """Run a sub-model that is built for the target and for `at`, eagerly, and differentiate the scores.

    Raises
    ------
    UsageError
        When there is no such unit, or no gradient.
    """
    import numpy as np
    import tensorflow as tf

    final = final_activation(submodel.graph, query.target)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        values = _forward(submodel, query, final, (batch, tape))
        before = values[final.before]
        axis = score_axis(query.axes, len(before.shape))
        scores = mean_scores(before, axis)
        units = units_of(np.asarray(scores), query.units) if query.units else []
        check_units(query.address, int(scores.shape[1]), units)
        chosen = tf.gather(scores, units, axis=1, batch_dims=1) if units else None
        total = None if chosen is None else tf.reduce_sum(chosen)
    at = None if query.at is None else values[query.at]
    gradients = None
    if total is not None and at is not None:
        if not at.dtype.is_floating:
            raise no_gradient(
                submodel.file, query.address, query.at_address, "it holds integers (choose the Embedding with -l)"
            )
        try:
            gradients = tape.gradient(total, at)
        except (LookupError, NotImplementedError) as failure:
            raise no_gradient(submodel.file, query.address, query.at_address, str(failure)[:160]) from None
        if gradients is None:
            raise no_gradient(submodel.file, query.address, query.at_address, "the score does not depend on it")
        gradients = np.asarray(tf.convert_to_tensor(gradients))
    outputs = np.asarray(mean_scores(_finished(submodel, final, before, values[query.target]), axis))
    return ScoreResult(
        np.asarray(scores), outputs, final.name, None if at is None else np.asarray(at), gradients
    )  # fmt: skip


def _forward(
    submodel: SubModel, query: ScoreQuery, final: FinalActivation, given: tuple[Mapping[str, NDArray[Any]], Any]
) -> dict[Any, Any]:
    """Compute the tensors of all steps; the tensor `at` is watched by the tape from where it is made."""
    batch, tape = given
    graph, values = submodel.graph, dict[Any, Any]()
    for number in submodel.steps:
        entry = graph.layer_of(number)
        if entry.kind == "InputLayer":
            outputs = input_tensor(batch[entry.name], graph.shapes[TensorRef(number, 0)][1])
        elif number == final.inside:
            with linear(submodel.layers[entry.key]):
                outputs = submodel.call(number, values)
        else:
            outputs = submodel.call(number, values)
        values |= {TensorRef(number, position): output for position, output in enumerate(output_list(outputs))}
        if query.at is not None and query.at.node == number and query.units:
            tape.watch(values[query.at])
    return values


def _finished(submodel: SubModel, final: FinalActivation, before: Any, target: Any) -> Any:
    """Return the output of the target with its final function."""
    if final.inside is None:
        return target
    return submodel.layers[submodel.graph.nodes[final.inside].entry].activation(before)
