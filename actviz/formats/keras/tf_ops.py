"""Calls of TensorFlow functions that Keras 2 saved as layers, as layers of today's Keras.

What may be called was decided by `actviz.gate.functions`; it is looked up again here, so
that nothing else can be.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import random_seed

from actviz.gate.functions import RANDOM_CALLS, named_call

OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "truediv", "pow": "pow", "matmul": "matmul",
    "floordiv": "floordiv", "mod": "math.floormod", "eq": "equal", "ne": "not_equal", "gt": "greater", "ge": "greater_equal",
    "lt": "less", "le": "less_equal", "and": "logical_and", "or": "logical_or", "xor": "math.logical_xor", "neg": "negative",
    "invert": "logical_not", "radd": "add", "rmul": "multiply",
}  # fmt: skip
REVERSED = {"rsub": "subtract", "rtruediv": "truediv", "rpow": "pow"}


def make(kind: str, config: dict[str, Any]) -> keras.layers.Layer:
    """Return the layer for one saved call.

    Raises
    ------
    ValueError
        When it names what is not on the list.
    """
    name, allowed = named_call(kind, config)
    if not allowed:
        message = f"{name} is not on the list of pure functions"
        raise ValueError(message)
    plain = str(config.get("name", "call"))
    if kind == "TensorFlowOpLayer":
        return OperationCall(config["node_def"], config.get("constants") or {}, plain)
    return FunctionCall(name, plain)


class FunctionCall(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A function of TensorFlow's Python interface, called with what the graph says."""

    def __init__(self, function: str, name: str) -> None:
        super().__init__(name=name)
        self._allow_non_tensor_positional_args = True
        self._convert_input_args = False
        self._function = function

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; the argument `name` of the old graph is dropped."""
        kwargs.pop("name", None)
        operator = self._function.removeprefix("__operators__.")
        if operator == "getitem":
            return args[0][tuple(_slice(item) for item in _listed(kwargs.get("slice_spec", args[1:])))]
        if operator != self._function and operator in REVERSED:
            return _resolved(REVERSED[operator])(*reversed([*args, *kwargs.values()]))
        if operator != self._function:
            return _resolved(OPERATORS[operator])(*args, *kwargs.values())
        return _resolved(self._function)(*args, **kwargs)


class OperationCall(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """One operation of TensorFlow 1 graphs with its attributes and constant inputs."""

    def __init__(self, node: dict[str, Any], constants: dict[str, Any], name: str) -> None:
        from google.protobuf import json_format

        super().__init__(name=name)
        self._convert_input_args = False
        described = {key: value for key, value in node.items() if key in {"op", "attr"}}
        self._node = json_format.ParseDict({**described, "name": "call"}, tf.compat.v1.NodeDef())
        self._constants = {int(place): value for place, value in constants.items()}

    def call(self, inputs: Any) -> Any:
        """Run the operation on its inputs, constants filled in at their places."""
        tensors = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        given = iter(tensors)
        total = len(tensors) + len(self._constants)
        values = [
            _constant(self._constants[place], tensors[0].dtype) if place in self._constants else next(given)
            for place in range(total)
        ]
        graph = tf.compat.v1.GraphDef()
        graph.versions.producer = 1087
        node = graph.node.add()
        node.CopyFrom(self._node)
        if node.op in RANDOM_CALLS and not (node.attr["seed"].i or node.attr["seed2"].i):
            # Seeds of 0 draw other numbers each time; these follow from the seed of this run.
            node.attr["seed"].i, node.attr["seed2"].i = random_seed.get_seed(None)
        node.input.extend(f"input{place}" for place in range(total))

        def run(*arguments: Any) -> Any:
            names = {f"input{place}": argument for place, argument in enumerate(arguments)}
            return tf.graph_util.import_graph_def(graph, input_map=names, return_elements=["call:0"], name="")[0]

        return tf.function(run, autograph=False)(*values)


def _constant(value: Any, dtype: Any) -> Any:
    array = np.array(value)
    return tf.constant(array, tf.int32 if array.dtype.kind == "i" else dtype if array.dtype.kind == "f" else None)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _slice(item: Any) -> Any:
    """Return one part of an index: a slice, a new axis, an ellipsis, a number or a tensor."""
    if isinstance(item, dict) and set(item) == {"start", "stop", "step"}:
        return slice(item["start"], item["stop"], item["step"])
    if isinstance(item, dict) and item.get("class_name") == "__ellipsis__":
        return Ellipsis
    return tf.newaxis if item is None else item


def _resolved(path: str) -> Any:
    found: Any = tf
    for part in path.split("."):
        found = getattr(found, part)
    return found
