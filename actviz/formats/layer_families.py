"""Which classes of layers compute the same kind of value, whatever a format calls them.

A Keras layer, an operation of a graph and an operator of a `.tflite` file may be one and the same:
`GlobalAveragePooling2D` is a `Mean` there. `diff` pairs layers of different names only within a family.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actviz.layer_catalogue import facts_of

if TYPE_CHECKING:
    from actviz.records import LayerInfo

# Names of operations and of layer classes that are not Keras's own; Keras's stand in the layer catalogue.
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
# Classes that only apply a function to every value; the function tells them apart.
_FUNCTIONS = {
    "Relu": "relu", "Relu6": "relu6", "ReLU6": "relu6", "LeakyRelu": "leaky_relu", "Elu": "elu", "Selu": "selu",
    "GELU": "gelu", "Gelu": "gelu", "Sigmoid": "sigmoid", "Logistic": "sigmoid", "Tanh": "tanh",
    "Softplus": "softplus", "Softsign": "softsign", "HardSwish": "hard_swish", "HardSigmoid": "hard_sigmoid",
    "LogSoftmax": "log_softmax",
}  # fmt: skip
_ALIASES = {"swish": "silu", "hard_silu": "hard_swish", "relu6.0": "relu6", "linear": ""}
ACTIVATION = "activation"


def _applied(kind: str) -> str | None:
    """Return the function of a class that only applies one, ``None`` for all others."""
    return _FUNCTIONS.get(kind, facts_of(kind).activation)


def family_of(layer: LayerInfo) -> str:
    """Return what layers of a class compute, the class itself where no other class does the same."""
    if _applied(layer.kind) is not None:
        return ACTIVATION
    return facts_of(layer.kind).family or _FAMILY_OF.get(layer.kind, layer.kind)


def function_of(layer: LayerInfo) -> str:
    """Return the activation function that ends a layer, empty where there is none or it is not known."""
    name = layer.activation or _applied(layer.kind) or ""
    name = re.sub(r"(?<=\d)\.0$", "", name)
    return _ALIASES.get(name, name)


def alike(ours: LayerInfo, theirs: LayerInfo) -> bool:
    """Return True if two layers may compute the same: one family, or one function that ends both.

    A converter fuses an activation layer into the operator before it, so that a `ReLU` is a convolution
    that ends with relu there.
    """
    families = family_of(ours), family_of(theirs)
    functions = function_of(ours), function_of(theirs)
    if ACTIVATION in families:
        either_unknown = families[0] == families[1] and not all(functions)
        return functions[0] == functions[1] != "" or either_unknown
    return families[0] == families[1]
