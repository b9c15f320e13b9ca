"""The constant arithmetic at the head of a graph of TensorFlow operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.formats.first_operations import first_operations
from actviz.formats.graph_operation import outputs_of
from actviz.formats.input_arithmetic import Affine
from actviz.formats.saved.meta import attribute_number, constant_shape
from actviz.formats.saved.tables import constant
from actviz.gate.wire import one_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.formats.first_operations import Tensor
    from actviz.formats.input_arithmetic import Value
    from actviz.formats.saved.flatten import Flat
    from actviz.formats.saved.meta import Node
    from actviz.records import InputOperation, TensorSpec

DEEPEST = 8
"""How many operations on constants are worked out, one inside the other."""
MOST_NUMBERS = 1 << 20
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
    flat: Flat, inputs: Mapping[Tensor, TensorSpec], variable: Callable[[int], NDArray[Any] | None]
) -> list[InputOperation]:
    """Return what a graph does to its inputs first.

    `inputs` maps the tensors that are fed to what they are; `variable` gives the value of a
    small variable by the number of its node.
    """
    starts: dict[Tensor, Affine] = {}
    for tensor, spec in inputs.items():
        axis = spec.axes.index("channel") if "channel" in spec.axes else None
        count = spec.shape[axis] if axis is not None else 1
        starts[tensor] = Affine(spec.name, max(len(spec.shape), 1), axis, count or 3)
    return first_operations(starts, _GraphView(flat, variable))


class _GraphView:
    """A flat graph as the walk sees it."""

    def __init__(self, flat: Flat, variable: Callable[[int], NDArray[Any] | None]) -> None:
        self._flat = flat
        self._variable = variable
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
        """Return the value of a tensor that depends on constants alone, ``None`` for any other or a large one."""
        node = self._flat.nodes[tensor[0]]
        if node.op in {"Const", "HostConst"}:
            size = int(np.prod(constant_shape(node.node), dtype=np.float64))
            found = constant(self._flat, tensor) if size <= MOST_NUMBERS else None
            return found if isinstance(found, np.ndarray) and found.dtype.kind in "fiub" else None
        if node.op in VARIABLES:
            return self._variable(tensor[0])
        if node.op not in FOLDED or depth >= DEEPEST or not node.inputs:
            return None
        given = [self._constant(source, depth + 1) for source in node.inputs]
        if any(value is None for value in given):
            return None
        try:
            with np.errstate(all="ignore"):
                made = np.asarray(FOLDED[node.op](*given))
        except (ValueError, TypeError, IndexError):
            return None
        return made if made.size <= MOST_NUMBERS else None


def _attribute(node: Node, name: str) -> int:
    """Return a whole number or a truth value (0, 1) of a node."""
    return attribute_number(node, name) or one_number(node.attributes.get(name, memoryview(b"")), 5)
