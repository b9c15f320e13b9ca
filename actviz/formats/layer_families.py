"""Which classes of layers compute the same kind of value, whatever a format calls them.

A Keras layer, an operation of a graph and an operator of a `.tflite` file may be one and the same:
`GlobalAveragePooling2D` is a `Mean` there. `diff` pairs layers of different names only within a family.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actviz.records import LayerInfo

_FAMILIES = {
    "convolution": "Conv1D Conv2D Conv3D SeparableConv1D SeparableConv2D",
    "depthwise convolution": "DepthwiseConv1D DepthwiseConv2D DepthwiseConv2dNative",
    "transposed convolution": "Conv1DTranspose Conv2DTranspose Conv3DTranspose Conv2DBackpropInput Conv3DBackpropInputV2",
    "dense": "Dense EinsumDense MatMul Einsum FullyConnected BatchMatMul BatchMatMulV2 BatchMatMulV3",
    "normalization": "BatchNormalization FusedBatchNorm FusedBatchNormV3 SyncBatchNormalization",
    "average": "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D Mean ReduceMean",
    "maximum over axes": "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D Max ReduceMax Amax",
    "average pooling": "AveragePooling1D AveragePooling2D AveragePooling3D AvgPool AvgPool3D",
    "max pooling": "MaxPooling1D MaxPooling2D MaxPooling3D MaxPool MaxPoolV2 MaxPool3D",
    "recurrent": "LSTM GRU SimpleRNN RNN While StatelessWhile CudnnLSTM CuDNNLSTM CuDNNGRU UnidirectionalSequenceLstm",
    "reshape": "Flatten Reshape Squeeze ExpandDims Pack",
    "permute": "Permute Transpose",
    "pad": "ZeroPadding1D ZeroPadding2D ZeroPadding3D Pad PadV2 Padv2 MirrorPad",
    "crop": "Cropping1D Cropping2D Cropping3D CenterCrop StridedSlice Slice GetItem",
    "resize": "UpSampling1D UpSampling2D UpSampling3D Resizing ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea",
    "add": "Add AddV2 AddN",
    "subtract": "Subtract Sub",
    "multiply": "Multiply Mul",
    "concatenate": "Concatenate ConcatV2 Concat Concatenation",
    "embedding": "Embedding Gather GatherV2 ResourceGather",
    "model": "Functional Sequential Model Group",
}
_FAMILY_OF = {kind: family for family, kinds in _FAMILIES.items() for kind in kinds.split()}
# Classes that only apply a function to every value; the function tells them apart.
_FUNCTIONS = {
    "ReLU": "relu", "Relu": "relu", "Relu6": "relu6", "ReLU6": "relu6", "LeakyReLU": "leaky_relu", "LeakyRelu": "leaky_relu",
    "ELU": "elu", "Elu": "elu", "Selu": "selu", "PReLU": "prelu", "GELU": "gelu", "Gelu": "gelu", "Softmax": "softmax",
    "Sigmoid": "sigmoid", "Logistic": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Softsign": "softsign",
    "HardSwish": "hard_swish", "HardSigmoid": "hard_sigmoid", "LogSoftmax": "log_softmax", "Activation": "",
}  # fmt: skip
_ALIASES = {"swish": "silu", "hard_silu": "hard_swish", "relu6.0": "relu6", "linear": ""}
ACTIVATION = "activation"


def family_of(layer: LayerInfo) -> str:
    """Return what layers of a class compute, the class itself where no other class does the same."""
    return ACTIVATION if layer.kind in _FUNCTIONS else _FAMILY_OF.get(layer.kind, layer.kind)


def function_of(layer: LayerInfo) -> str:
    """Return the activation function that ends a layer, empty where there is none or it is not known."""
    name = layer.activation or _FUNCTIONS.get(layer.kind, "")
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
