"""TensorFlow functions and operations that a model of Keras 2 may call: pure ones only.

Keras 2 saved calls of TensorFlow functions as layers (TFOpLambda, SlicingOpLambda, and
TensorFlowOpLayer with a whole NodeDef). Some functions of TensorFlow write files, so names
that are not listed here are refused.
"""

from __future__ import annotations

from typing import Any

_MATH = (
    "abs acos acosh add asin asinh atan atan2 atanh ceil cos cosh cumprod cumsum divide divide_no_nan equal erf exp expm1 "
    "floor floordiv floormod greater greater_equal is_finite is_inf is_nan less less_equal log log1p log_sigmoid logical_and "
    "logical_not logical_or logical_xor maximum minimum mod multiply multiply_no_nan negative not_equal pow reciprocal "
    "reduce_all reduce_any reduce_euclidean_norm reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_std "
    "reduce_sum reduce_variance round rsqrt sigmoid sign sin sinh softplus softsign sqrt square squared_difference subtract "
    "tan tanh top_k truediv xdivy xlogy add_n argmax argmin l2_normalize"
)
_NN = (
    "avg_pool avg_pool2d bias_add conv1d conv2d conv3d depthwise_conv2d elu gelu l2_normalize leaky_relu local_response_normalization "
    "log_softmax max_pool max_pool2d moments pool relu relu6 selu sigmoid silu softmax softplus softsign swish tanh "
    "depth_to_space space_to_depth"
)
_TOP = (
    "abs add argmax argmin argsort boolean_mask broadcast_to cast clip_by_value concat cos einsum exp expand_dims equal fill "
    "floor gather gather_nd greater greater_equal identity less less_equal linalg.matmul logical_and logical_not logical_or "
    "matmul maximum minimum multiply negative norm not_equal one_hot ones_like pad pow range reduce_all reduce_any "
    "reduce_max reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse roll round sequence_mask shape sigmoid sign "
    "sin slice sort split sqrt square squeeze stack stop_gradient strided_slice subtract tanh tensordot tile transpose truediv "
    "unstack where zeros_like"
)
_OPERATIONS = (
    "Abs Add AddN AddV2 All Any ArgMax ArgMin AvgPool BatchMatMul BatchMatMulV2 BiasAdd BroadcastTo Cast Ceil "
    "ClipByValue Concat ConcatV2 Conv2D Cos Cumsum DepthToSpace DepthwiseConv2dNative Elu Equal Exp ExpandDims Fill "
    "Floor FloorDiv FloorMod Gather GatherNd GatherV2 Greater GreaterEqual Identity LeakyRelu Less LessEqual Log "
    "Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool Maximum Mean Min Minimum Mul Neg NotEqual "
    "OneHot OnesLike Pack Pad PadV2 Pow Prod RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear "
    "ResizeNearestNeighbor ReverseV2 Round Rsqrt Select SelectV2 Selu Shape Sigmoid Sign Sin Slice Softmax Softplus "
    "Softsign SpaceToDepth Sqrt Square SquaredDifference Squeeze StridedSlice Sub Sum Tan Tanh Tile Transpose Unpack "
    "Where ZerosLike"
)
_OPERATORS = "add and eq floordiv ge getitem gt invert le lt matmul mod mul ne neg or pow radd rmul rpow rsub rtruediv sub truediv xor"
_IMAGE = "adjust_brightness central_crop crop_to_bounding_box flip_left_right flip_up_down pad_to_bounding_box per_image_standardization resize rgb_to_grayscale rot90 transpose"
_COMPAT = (
    "transpose shape gather squeeze expand_dims reduce_mean reduce_sum reduce_max reduce_min nn.avg_pool nn.max_pool"
)

# Pure except for random numbers, which are seeded from the input.
_RANDOM = "random.normal random.uniform random.truncated_normal random.gamma random.poisson random.shuffle random.categorical nn.dropout"
_RANDOM_OPERATIONS = "RandomStandardNormal RandomUniform RandomUniformInt TruncatedNormal RandomShuffle Multinomial"
RANDOM_CALLS = frozenset(
    [*_RANDOM.split(), *(f"compat.v1.{name}" for name in _RANDOM.split()), *_RANDOM_OPERATIONS.split()]
)

FUNCTIONS = frozenset(
    _TOP.split()
    + _RANDOM.split()
    + [f"compat.v1.{name}" for name in _RANDOM.split()]
    + [f"math.{name}" for name in _MATH.split()]
    + [f"nn.{name}" for name in _NN.split()]
    + [f"__operators__.{name}" for name in _OPERATORS.split()]
    + [f"image.{name}" for name in _IMAGE.split()]
    + [f"compat.v1.{name}" for name in _COMPAT.split()]
    + [f"linalg.{name}" for name in ("l2_normalize", "norm", "tensordot", "einsum")]
)
OPERATIONS = frozenset(f"{_OPERATIONS} {_RANDOM_OPERATIONS}".split())
CALLS = frozenset({"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"})


def named_call(kind: str, config: dict[str, Any]) -> tuple[str, bool]:
    """Return the name of what a layer of `CALLS` calls, and whether it is allowed."""
    if kind == "TensorFlowOpLayer":
        node = config.get("node_def")
        name = node.get("op") if isinstance(node, dict) else None
        return str(name), name in OPERATIONS
    name = config.get("function")
    return str(name), name in FUNCTIONS
