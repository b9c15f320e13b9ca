"""Families of layer classes, graph operations and TFLite operators that compute the same kind of value.

Names differ between formats: `GlobalAveragePooling2D` is a `Mean` in a graph. `diff` pairs layers of different
names only within a family.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actviz.layer_catalogue import facts_of

if TYPE_CHECKING:
    from actviz.records import LayerInfo

# Operations, and layer classes that are not in Keras; the layer catalogue has the families of Keras's classes.
_FAMILIES = {
    "depthwise convolution": "DepthwiseConv2dNative",
    "transposed convolution": "Conv2DBackpropInput Conv3DBackpropInputV2",
    "dense": "MatMul Einsum FullyConnected BatchMatMul BatchMatMulV2 BatchMatMulV3",
    "normalization": "FusedBatchNorm FusedBatchNormV3 SyncBatchNormalization", "average": "Mean ReduceMean",
    "maximum over axes": "Max ReduceMax Amax", "average pooling": "AvgPool AvgPool3D",
    "max pooling": "MaxPool MaxPoolV2 MaxPool3D",
    "recurrent": "While StatelessWhile CudnnLSTM CuDNNLSTM CuDNNGRU UnidirectionalSequenceLstm",
    "reshape": "Squeeze ExpandDims Pack", "permute": "Transpose", "pad": "Pad PadV2 Padv2 MirrorPad",
    "crop": "StridedSlice Slice GetItem", "resize": "ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea",
    "add": "AddV2 AddN", "subtract": "Sub", "multiply": "Mul", "concatenate": "ConcatV2 Concat Concatenation",
    "embedding": "Gather GatherV2 ResourceGather", "model": "Group",
}  # fmt: skip
_FAMILY_OF = {kind: family for family, kinds in _FAMILIES.items() for kind in kinds.split()}
# Classes that only apply a function to every value, and the function.
_FUNCTIONS = {
    "Relu": "relu", "Relu6": "relu6", "ReLU6": "relu6", "LeakyRelu": "leaky_relu", "Elu": "elu", "Selu": "selu",
    "GELU": "gelu", "Gelu": "gelu", "Sigmoid": "sigmoid", "Logistic": "sigmoid", "Tanh": "tanh",
    "Softplus": "softplus", "Softsign": "softsign", "HardSwish": "hard_swish", "HardSigmoid": "hard_sigmoid",
    "LogSoftmax": "log_softmax",
}  # fmt: skip
_ALIASES = {"swish": "silu", "hard_silu": "hard_swish", "relu6.0": "relu6", "linear": ""}
ACTIVATION = "activation"


def _applied(kind: str) -> str | None:
    """Return the activation function of a class that only applies one, else ``None``."""
    return _FUNCTIONS.get(kind, facts_of(kind).activation)


def family_of(layer: LayerInfo) -> str:
    """Return the family of a layer, or its class if no other class computes the same."""
    if _applied(layer.kind) is not None:
        return ACTIVATION
    return facts_of(layer.kind).family or _FAMILY_OF.get(layer.kind, layer.kind)


def function_of(layer: LayerInfo) -> str:
    """Return the activation function at the end of a layer, ``""`` if there is none or it is unknown."""
    name = layer.activation or _applied(layer.kind) or ""
    name = re.sub(r"(?<=\d)\.0$", "", name)
    return _ALIASES.get(name, name)


def alike(ours: LayerInfo, theirs: LayerInfo) -> bool:
    """Return True if two layers may compute the same: they have one family, or end with the same function.

    A converter fuses an activation layer into the operator before it, so that a `ReLU` becomes a convolution
    that ends with relu.
    """
    families = family_of(ours), family_of(theirs)
    functions = function_of(ours), function_of(theirs)
    if ACTIVATION in families:
        either_unknown = families[0] == families[1] and not all(functions)
        return functions[0] == functions[1] != "" or either_unknown
    return families[0] == families[1]
