"""Find the minimum input sizes at which a graph runs, by inferring shapes without TensorFlow.

Only operations with windows, and those that keep the shape, are followed; after any other
operation the shape is unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actviz.formats.keras.minimum_size import MAX_SIZE, smallest_size
from actviz.formats.savedmodel.lookup_tables import constant
from actviz.formats.savedmodel.proto import attribute_numbers, attribute_shape, attribute_text, constant_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actviz.formats.savedmodel.inline import InlinedGraph, InlinedNode
    from actviz.records import Shape

CONVOLUTIONS = frozenset({"Conv2D", "Conv3D", "DepthwiseConv2dNative"})
POOLINGS = frozenset({"AvgPool", "AvgPool3D", "MaxPool", "MaxPool3D"})
SAME_SIZE = frozenset(
    {
        "Add", "AddV2", "BiasAdd", "Cast", "Elu", "Erf", "Exp", "FusedBatchNormV3", "Identity", "LeakyRelu", "Maximum", "Minimum",
        "Mul", "Neg", "RealDiv", "Relu", "Relu6", "Rsqrt", "Selu", "Sigmoid", "Softplus", "Square", "Sub", "Tanh",
    }
)  # fmt: skip


def minimum_shape(flat: InlinedGraph, number: int, shape: Shape, numbers: Sequence[int]) -> Shape:
    """Return the minimum sizes of one input at which some nodes run, batch axis first.

    ``None`` for an axis that is not free or can have size 1; empty if nothing is known.
    `number` is the node of the input and `shape` its shape.
    """
    free = [axis for axis, size in enumerate(shape) if axis and size is None]
    ordered = topological_order(flat, numbers) if free else []

    def works(sizes: Mapping[int, int]) -> bool:
        given = tuple(sizes.get(axis, size) for axis, size in enumerate(shape))
        return runs(flat, {number: given}, ordered)

    if not free or works(dict.fromkeys(free, 1)):
        return ()
    if not works(dict.fromkeys(free, MAX_SIZE)):
        return ()
    minimum: dict[int, int] = {}
    for axis in free:
        others = dict.fromkeys(free, MAX_SIZE)
        size = smallest_size(lambda size, others=others, axis=axis: works({**others, axis: size}))  # type: ignore[misc]
        minimum[axis] = size or 1
    return tuple(minimum.get(axis) if minimum.get(axis) != 1 else None for axis in range(len(shape)))


def topological_order(flat: InlinedGraph, numbers: Sequence[int]) -> list[int]:
    """Return nodes in topological order; cycles are cut at any node."""
    left, ordered, seen = set(numbers), list[int](), set[int]()
    for start in numbers:
        todo = [(start, False)]
        while todo:
            number, done = todo.pop()
            if done:
                ordered.append(number)
            elif number in left and number not in seen:
                seen.add(number)
                todo.append((number, True))
                todo += [(source, False) for source, _ in flat.nodes[number].inputs]
    return ordered


def runs(flat: InlinedGraph, inputs: Mapping[int, Shape], numbers: Sequence[int]) -> bool:
    """Return True if the windows of all nodes, in `topological_order`, fit into their inputs, as far as shapes are known."""
    known: dict[int, Shape | None] = dict(inputs)
    for number in numbers:
        if number in inputs:
            continue
        known[number] = shape = _output_shape(flat, flat.nodes[number], known)
        if shape is not None and any(size is not None and size < 1 for size in shape[1:]):
            return False
    return True


def _output_shape(flat: InlinedGraph, node: InlinedNode, known: Mapping[int, Shape | None]) -> Shape | None:
    if not node.inputs:
        return None
    given = known.get(node.inputs[0][0])
    if node.op in SAME_SIZE:
        shapes = [shape for source, _ in node.inputs if (shape := known.get(source)) is not None]
        return max(shapes, key=len, default=None)
    if given is None:
        return None
    if node.op == "ExpandDims":
        axis_index = _constant_int(flat, node.inputs[1])
        return (
            None
            if axis_index is None
            else tuple(np.insert(np.array(given, object), axis_index % (len(given) + 1), 1).tolist())
        )
    if node.op == "Squeeze":
        squeezed = {axis % len(given) for axis in attribute_numbers(node.node, "squeeze_dims")}
        return tuple(size for axis, size in enumerate(given) if axis not in squeezed) if squeezed else None
    if node.op in CONVOLUTIONS | POOLINGS:
        return _window_shape(flat, node, given)
    if node.op in {"SpaceToBatchND", "BatchToSpaceND"}:
        return _dilated_shape(flat, node, given, known)
    return None


def _dilated_shape(
    flat: InlinedGraph, node: InlinedNode, given: Shape, known: Mapping[int, Shape | None]
) -> Shape | None:
    """Return the shape after one of the two operations that TensorFlow puts around a dilated convolution.

    The first pads each axis to whole blocks and splits it; the second reverses both.
    """
    blocks = constant(flat, node.inputs[1])
    if blocks is None:
        return None
    before = given
    back = node
    while node.op == "BatchToSpaceND" and back.op != "SpaceToBatchND":
        if back.op not in CONVOLUTIONS | SAME_SIZE | {"BatchToSpaceND"} or not back.inputs:
            return None
        before = known.get(back.inputs[0][0]) or ()
        back = flat.nodes[back.inputs[0][0]]
    if node.op == "BatchToSpaceND":
        before = known.get(back.inputs[0][0]) or ()
    sizes = list(given)
    for axis, block in enumerate(np.ravel(blocks).tolist(), 1):
        size, whole = sizes[axis], before[axis] if axis < len(before) else None
        if size is None or whole is None:
            return None
        sizes[axis] = -(-size // block) if node.op == "SpaceToBatchND" else size * block - (-whole % block)
    return tuple(sizes)


def _window_shape(flat: InlinedGraph, node: InlinedNode, given: Shape) -> Shape | None:
    rank = len(given)
    strides = attribute_numbers(node.node, "strides")
    first = attribute_text(node.node, "data_format").startswith("NC")
    space = range(2, rank) if first else range(1, rank - 1)
    kernel = attribute_numbers(node.node, "ksize")
    if node.op in CONVOLUTIONS:
        filters = _kernel_shape(flat, node.inputs[1][0])
        kernel = [1] * rank if filters is None else kernel
        for axis, size in zip(space, filters or (), strict=False):
            kernel = kernel or [1] * rank
            kernel[axis] = size or 1
    dilations = attribute_numbers(node.node, "dilations") or [1] * rank
    if {len(strides), len(kernel), len(dilations)} != {rank} or (node.op in CONVOLUTIONS and filters is None):
        return None
    padding = attribute_text(node.node, "padding")
    sizes = list(given)
    for axis in space:
        size = given[axis]
        if size is not None and padding == "VALID":
            sizes[axis] = (size - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1
        elif size is not None and padding == "SAME":
            sizes[axis] = -(-size // strides[axis])
        else:
            return None
    return tuple(sizes)


def _kernel_shape(flat: InlinedGraph, number: int) -> Shape | None:
    """Return the shape of a kernel, before operations that pass it on."""
    node = flat.nodes[number]
    while node.op in {"ReadVariableOp", "Identity", "ExpandDims"} and node.inputs:
        if node.op == "ExpandDims":
            shape, axis = _kernel_shape(flat, node.inputs[0][0]), _constant_int(flat, node.inputs[1])
            if shape is None or axis is None:
                return None
            return (*shape[:axis], 1, *shape[axis:]) if axis >= 0 else None
        node = flat.nodes[node.inputs[0][0]]
    if node.op in {"VarHandleOp", "VariableV2"}:
        return attribute_shape(node.node, "shape")
    return constant_shape(node.node) if node.op == "Const" else None


def _constant_int(flat: InlinedGraph, tensor: tuple[int, int]) -> int | None:
    if flat.nodes[tensor[0]].op != "Const":
        return None
    value = constant(flat, tensor)
    return int(np.ravel(value)[0]) if value is not None and np.size(value) == 1 else None
