"""The constant arithmetic that a graph of TensorFlow operations applies to its inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.formats.first_operations import first_operations
from actviz.formats.graph_operation import apply_tf_operation
from actviz.formats.input_arithmetic import input_tensor
from actviz.formats.savedmodel.inline import VARIABLES
from actviz.formats.savedmodel.lookup_tables import constant
from actviz.formats.savedmodel.proto import attribute_bool, attribute_number, constant_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.formats.first_operations import Tensor
    from actviz.formats.input_arithmetic import Value
    from actviz.formats.savedmodel.inline import InlinedGraph
    from actviz.records import InputOperation, TensorSpec

MAX_DEPTH = 8
"""Nesting depth up to which operations on constants are evaluated."""
MAX_CONSTANT_SIZE = 1 << 20
MAX_OPERANDS = 256
ELEMENTWISE = frozenset(
    {"Maximum", "Minimum", "Mul", "Add", "AddV2", "Sub", "RealDiv", "Less", "LessEqual", "Greater", "GreaterEqual"}
)
# Operations on the constants of a Normalization that converters leave in the graph.
CONSTANT_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Identity": lambda x: x, "ReadVariableOp": lambda x: x, "Cast": lambda x: x, "Snapshot": lambda x: x,
    "StopGradient": lambda x: x, "Neg": np.negative, "Sqrt": np.sqrt, "Square": np.square, "Maximum": np.maximum,
    "Minimum": np.minimum, "Mul": np.multiply, "Add": np.add, "AddV2": np.add, "Sub": np.subtract, "RealDiv": np.divide,
    "Less": np.less, "LessEqual": np.less_equal, "Greater": np.greater, "GreaterEqual": np.greater_equal,
    "Rsqrt": lambda x: 1 / np.sqrt(x), "Reciprocal": np.reciprocal,
    "Reshape": lambda x, shape: x.reshape([int(size) for size in shape]),
    "ExpandDims": lambda x, axis: np.expand_dims(x, int(axis.ravel()[0])),
    "Squeeze": np.squeeze, "Pack": lambda *parts: np.stack(parts),
    "ConcatV2": lambda *parts: np.concatenate(parts[:-1], int(parts[-1].ravel()[0])),
}  # fmt: skip


def input_operations(
    flat: InlinedGraph, inputs: Mapping[Tensor, TensorSpec], variable: Callable[[int], NDArray[Any] | None]
) -> list[InputOperation]:
    """Return the constant arithmetic that a graph applies to its inputs.

    `inputs` describes the input tensors; `variable` returns the value of a small variable by
    the index of its node.
    """
    starts = {tensor: input_tensor(spec, len(spec.shape)) for tensor, spec in inputs.items()}
    return first_operations(starts, _GraphView(flat, variable))


class _GraphView:
    """A flat graph as a `first_operations.Graph`."""

    def __init__(self, flat: InlinedGraph, variable: Callable[[int], NDArray[Any] | None]) -> None:
        self._flat = flat
        self._variable = variable
        self._folded: dict[Tensor, NDArray[Any] | None] = {}
        self._spent = 0

    def readers(self, number: int) -> Sequence[int]:
        return self._flat.readers.get(number, ())

    def operands(self, number: int) -> Sequence[Tensor]:
        return self._flat.nodes[number].inputs

    def values(self, number: int, known: Mapping[Tensor, Value]) -> Sequence[Value] | None:
        node = self._flat.nodes[number]
        given: list[Value] = []
        for tensor in node.inputs:
            value = known[tensor] if tensor in known else self._constant(tensor, 0)
            if value is None:
                return None
            given.append(value)
        return apply_tf_operation(
            node.op, given, lambda name: attribute_number(node.node, name) or attribute_bool(node.node, name)
        )

    def _constant(self, tensor: Tensor, depth: int) -> NDArray[Any] | None:
        """Return the value of a tensor that depends on constants alone, ``None`` for any other tensor or a large one.

        Each is evaluated once, and their total size is limited.
        """
        if tensor not in self._folded:
            value = self._evaluate(tensor, depth) if self._spent <= MAX_CONSTANT_SIZE else None
            self._spent += 1 if value is None else max(value.size, 1)
            self._folded[tensor] = value
        return self._folded[tensor]

    def _evaluate(self, tensor: Tensor, depth: int) -> NDArray[Any] | None:
        node = self._flat.nodes[tensor[0]]
        if node.op in {"Const", "HostConst"}:
            size = int(np.prod(constant_shape(node.node), dtype=np.float64))
            value = constant(self._flat, tensor) if size <= MAX_CONSTANT_SIZE else None
            return value if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" else None
        if node.op in VARIABLES:
            return self._variable(tensor[0])
        if node.op not in CONSTANT_FUNCTIONS or depth >= MAX_DEPTH or not node.inputs:
            return None
        operands = [self._constant(source, depth + 1) for source in node.inputs[:MAX_OPERANDS]]
        given = [value for value in operands if value is not None]
        if len(given) < len(node.inputs):
            return None
        try:
            # Broadcasting two small constants may produce a large one.
            if (
                node.op in ELEMENTWISE
                and math.prod(np.broadcast_shapes(*(value.shape for value in given))) > MAX_CONSTANT_SIZE
            ):
                return None
            with np.errstate(all="ignore"):
                result = np.asarray(CONSTANT_FUNCTIONS[node.op](*given))
        except (ValueError, TypeError, IndexError):
            return None
        return result if result.size <= MAX_CONSTANT_SIZE else None
