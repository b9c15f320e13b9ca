"""The constant arithmetic at the head of a graph of TensorFlow operations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.formats.first_operations import first_operations
from actviz.formats.graph_operation import outputs_of
from actviz.formats.input_arithmetic import input_tensor
from actviz.formats.savedmodel.lookup_tables import constant
from actviz.formats.savedmodel.proto import attribute_number, constant_shape
from actviz.gate.protobuf import one_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.formats.first_operations import Tensor
    from actviz.formats.input_arithmetic import Value
    from actviz.formats.savedmodel.inline import InlinedGraph
    from actviz.formats.savedmodel.proto import GraphNode
    from actviz.records import InputOperation, TensorSpec

DEEPEST = 8
"""How many operations on constants are worked out, one inside the other."""
MOST_NUMBERS = 1 << 20
MOST_OPERANDS = 256
ELEMENTWISE = frozenset(
    {"Maximum", "Minimum", "Mul", "Add", "AddV2", "Sub", "RealDiv", "Less", "LessEqual", "Greater", "GreaterEqual"}
)
VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})
# What a converter leaves of the constants of a Normalization: its square root, its reshaping.
FOLDED: dict[str, Callable[..., Any]] = {
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


def operations_of(
    flat: InlinedGraph, inputs: Mapping[Tensor, TensorSpec], variable: Callable[[int], NDArray[Any] | None]
) -> list[InputOperation]:
    """Return what a graph does to its inputs first.

    `inputs` maps the tensors that are fed to what they are; `variable` gives the value of a
    small variable by the number of its node.
    """
    starts = {tensor: input_tensor(spec, len(spec.shape)) for tensor, spec in inputs.items()}
    return first_operations(starts, _GraphView(flat, variable))


class _GraphView:
    """A flat graph as the walk sees it."""

    def __init__(self, flat: InlinedGraph, variable: Callable[[int], NDArray[Any] | None]) -> None:
        self._flat = flat
        self._variable = variable
        self._folded: dict[Tensor, NDArray[Any] | None] = {}
        self._spent = 0
        self._readers: dict[int, list[int]] = {}
        for number, node in enumerate(flat.nodes):
            for source in {source for source, _ in node.inputs}:
                self._readers.setdefault(source, []).append(number)

    def readers(self, number: int) -> Sequence[int]:
        return self._readers.get(number, ())

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
        return outputs_of(node.op, given, lambda name: _attribute(node.node, name))

    def _constant(self, tensor: Tensor, depth: int) -> NDArray[Any] | None:
        """Return the value of a tensor that depends on constants alone, ``None`` for any other or a large one.

        Each is worked out once, and all of them together hold a bounded number of numbers.
        """
        if tensor not in self._folded:
            found = self._worked_out(tensor, depth) if self._spent <= MOST_NUMBERS else None
            self._spent += 1 if found is None else max(found.size, 1)
            self._folded[tensor] = found
        return self._folded[tensor]

    def _worked_out(self, tensor: Tensor, depth: int) -> NDArray[Any] | None:
        node = self._flat.nodes[tensor[0]]
        if node.op in {"Const", "HostConst"}:
            size = int(np.prod(constant_shape(node.node), dtype=np.float64))
            found = constant(self._flat, tensor) if size <= MOST_NUMBERS else None
            return found if isinstance(found, np.ndarray) and found.dtype.kind in "fiub" else None
        if node.op in VARIABLES:
            return self._variable(tensor[0])
        if node.op not in FOLDED or depth >= DEEPEST or not node.inputs:
            return None
        found = [self._constant(source, depth + 1) for source in node.inputs[:MOST_OPERANDS]]
        given = [value for value in found if value is not None]
        if len(given) < len(node.inputs):
            return None
        try:
            # Two small constants may make a large one of each other.
            if node.op in ELEMENTWISE and math.prod(np.broadcast_shapes(*(one.shape for one in given))) > MOST_NUMBERS:
                return None
            with np.errstate(all="ignore"):
                made = np.asarray(FOLDED[node.op](*given))
        except (ValueError, TypeError, IndexError):
            return None
        return made if made.size <= MOST_NUMBERS else None


def _attribute(node: GraphNode, name: str) -> int:
    """Return a whole number or a truth value (0, 1) of a node."""
    return attribute_number(node, name) or one_number(node.attributes.get(name, memoryview(b"")), 5)
