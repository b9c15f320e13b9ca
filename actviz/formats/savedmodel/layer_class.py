"""Infer class, activation, sign, bounds and axes of a layer from its operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.formats.axes import axes_of
from actviz.formats.savedmodel.dtypes import first_channels, shape_at
from actviz.layer_catalogue.activation_functions import BOUNDS, Bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor
    from actviz.records import Axes, Shape

# The first match among the operations of a layer decides its class; {} is the number of spatial dimensions.
CLASSES = (
    ("TensorListStack TensorArrayGatherV3 While StatelessWhile", "RNN"),
    ("Conv3DBackpropInputV2", "Conv3DTranspose"),
    ("Conv2DBackpropInput", "Conv{}DTranspose"),
    ("Conv3D", "Conv3D"),
    ("Conv2D", "Conv{}D"),
    ("DepthwiseConv2dNative", "DepthwiseConv{}D"),
    ("FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3", "BatchNormalization"),
    ("Rsqrt", "BatchNormalization"),
    ("MaxPool MaxPoolV2", "MaxPooling{}D"),
    ("MaxPool3D", "MaxPooling3D"),
    ("AvgPool", "AveragePooling{}D"),
    ("AvgPool3D", "AveragePooling3D"),
    ("BatchMatMulV2 BatchMatMul BatchMatMulV3", "MatMul"),
    ("Einsum", "EinsumDense"),
    ("MatMul", "Dense"),
    ("ResourceGather GatherV2 Gather", "Embedding"),
    ("LookupTableFindV2 LookupTableFind", "StringLookup"),
    ("ConcatV2 Concat", "Concatenate"),
    ("Mean", "Mean"),
    ("ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea", "Resizing"),
    ("Pad PadV2 MirrorPad", "ZeroPadding2D"),
    ("SpaceToDepth", "SpaceToDepth"),
    ("Softmax", "Softmax"),
    ("Relu Relu6 Sigmoid Tanh Elu Selu Softplus Softsign LeakyRelu", "Activation"),
)
FUNCTIONS = {
    "Relu": "relu", "Relu6": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softmax": "softmax", "Elu": "elu",
    "Selu": "selu", "Softplus": "softplus", "Softsign": "softsign", "LeakyRelu": "leaky_relu",
}  # fmt: skip
LINEAR = frozenset({"BiasAdd", "Conv2D", "Conv3D", "MatMul", "DepthwiseConv2dNative", "Conv2DBackpropInput"})
NON_NEGATIVE = frozenset({"Relu", "Relu6", "Sigmoid", "Softmax", "Softplus", "Exp", "Abs", "Square", "Sqrt"})
KEEPING = frozenset(
    {
        "Identity", "CheckNumerics", "CheckNumericsV2", "EnsureShape", "MaxPool", "MaxPool3D", "AvgPool", "AvgPool3D", "Reshape", "Squeeze", "ExpandDims", "Mean", "Max", "Pad",
        "Transpose", "Cast", "StridedSlice", "Tile", "ResizeNearestNeighbor", "ResizeBilinear", "SpaceToDepth",
    }
)  # fmt: skip
CHECKED = frozenset({"CheckNumerics", "CheckNumericsV2", "EnsureShape"})
PASSED = CHECKED | {"Identity"}
MERGING = frozenset({"ConcatV2", "AddV2", "Add", "AddN", "Mul", "Maximum", "Minimum", "Pack"})
PRODUCTS = frozenset({"Einsum", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"})
FLAT_RANK, SPACE_RANK = 2, 4
MAX_DEPTH = 64
WITH_SEQUENCE = frozenset({"RNN"})


def infer_layer_class(flat: InlinedGraph, numbers: Sequence[int], tensor: Tensor, shape: Shape | None) -> str:
    """Return the class that matches the operations of a layer, else its last operation.

    `shape` is that of the layer's output, as far as it is known.
    """
    ops = {flat.nodes[number].op for number in numbers}
    rank = len(shape) if shape is not None else SPACE_RANK
    if "DepthwiseConv2dNative" in ops and "Conv2D" in ops:
        return "SeparableConv2D" if rank == SPACE_RANK else "SeparableConv1D"
    if {"FusedBatchNormV3", "Fill"} <= ops:
        return "LayerNormalization"
    # One product and a softmax may be a Dense with that activation; attention has a second product, with values.
    products = [flat.nodes[number].op for number in numbers if flat.nodes[number].op in PRODUCTS]
    if len(products) > 1 and "Softmax" in ops:
        return "MultiHeadAttention" if "Einsum" in products else "Attention"
    if len(ops - {"Shape", "StridedSlice", "Pack", "Identity"}) == 1:
        single = _single(next(iter(ops - {"Shape", "StridedSlice", "Pack", "Identity"})), rank)
        if single:
            return single
    for operations, name in CLASSES:
        if ops & set(operations.split()):
            if name == "Mean":
                space = len(_read_shape(flat, numbers) or (0,) * SPACE_RANK) - FLAT_RANK
                return f"GlobalAveragePooling{space}D" if rank == FLAT_RANK else name
            return name.format(rank - 2 if rank > FLAT_RANK else 2)
    return flat.nodes[tensor[0]].op


def _single(operation: str, rank: int) -> str:
    """Return the class of a layer with a single operation, ``""`` if it has none."""
    if operation == "Reshape":
        return "Flatten" if rank == FLAT_RANK else "Reshape"
    return {
        "AddV2": "Add",
        "Add": "Add",
        "AddN": "Add",
        "Mul": "Multiply",
        "Maximum": "Maximum",
        "Sub": "Subtract",
    }.get(operation, "")


def _read_shape(flat: InlinedGraph, numbers: Iterable[int]) -> Shape | None:
    """Return the shape of the input of the ``Mean`` of a layer."""
    for number in numbers:
        node = flat.nodes[number]
        if node.op == "Mean":
            source, output = node.inputs[0]
            return shape_at(flat.nodes[source].node, output)
    return None


def activation_of(flat: InlinedGraph, tensor: Tensor) -> str | None:
    """Return the name of the activation function that produces a tensor, ``None`` if it is not known."""
    op = flat.nodes[flat.origin(tensor, CHECKED)[0]].op
    return FUNCTIONS.get(op) or ("linear" if op in LINEAR else None)


def sign_of(flat: InlinedGraph, tensor: Tensor, depth: int = 0) -> bool | None:
    """Return True if a tensor can be negative, ``None`` if that is not known."""
    node = flat.nodes[tensor[0]]
    if node.op in NON_NEGATIVE:
        return False
    if depth < MAX_DEPTH and node.op in KEEPING and node.inputs:
        return False if sign_of(flat, node.inputs[0], depth + 1) is False else None
    if depth < MAX_DEPTH and node.op in MERGING and node.inputs:
        given = node.inputs[:-1] if node.op == "ConcatV2" else node.inputs
        return False if all(sign_of(flat, source, depth + 1) is False for source in given[:8]) else None
    return True if activation_of(flat, tensor) in {"tanh", "linear", "elu", "selu", "softsign"} else None


def bounds_at(flat: InlinedGraph, tensor: Tensor, depth: int = 0) -> Bounds | None:
    """Return the bounds of the values of a tensor, ``None`` if they are not known."""
    node = flat.nodes[tensor[0]]
    if depth < MAX_DEPTH and node.inputs:
        if node.op in KEEPING:
            return bounds_at(flat, node.inputs[0], depth + 1)
        if node.op == "ConcatV2":
            limits = {bounds_at(flat, source, depth + 1) for source in node.inputs[:-1][:8]}
            return limits.pop() if len(limits) == 1 and len(node.inputs) <= 9 else None  # noqa: PLR2004  (the eight above, and the axis)
    return BOUNDS.get(FUNCTIONS.get(node.op, ""))


def axes_at(flat: InlinedGraph, numbers: Iterable[int], kind: str, shape: Shape | None) -> Axes:
    """Return the names of the axes of a layer's output."""
    first = any(first_channels(flat.nodes[number].node) for number in numbers)
    config = {"data_format": "channels_first" if first else "channels_last"}
    return axes_of("" if kind in WITH_SEQUENCE else kind, config, shape, [])


def pre_activation(flat: InlinedGraph, numbers: Iterable[int], output: Tensor) -> Tensor | None:
    """Return what the last activation function of a layer is applied to, if the layer computes it, else ``None``."""
    node = flat.nodes[flat.origin(output, PASSED)[0]]
    if node.op not in FUNCTIONS or not node.inputs:
        return None
    source = node.inputs[0]
    return source if source[0] in set(numbers) and flat.nodes[source[0]].inputs else None
