"""Shapes and axis names of every call, worked out without Keras where the rule is plain.

The shapes that a file holds are facts; what it leaves open is derived here for the common
classes, by the same arithmetic as Keras. A class that is not listed stays unknown (`None`)
and is asked of Keras itself: nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from actviz.formats.axes import SEQUENCE, axes_of, input_axes, score_axes
from actviz.formats.keras.activation_sign import SIGN_KEEPING
from actviz.formats.keras.graph import CallNode, Json, LayerGraph, LayerNode, TensorRef, refs
from actviz.records import Axes, Shape

KEEP = frozenset(
    {
        "Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Softmax", "ThresholdedReLU", "BatchNormalization",
        "LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization", "Dropout", "SpatialDropout1D",
        "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "Rescaling",
        "Normalization", "Identity", "ActivityRegularization", "Masking", "RandomFlip", "RandomRotation",
        "RandomTranslation", "RandomZoom", "RandomContrast", "RandomBrightness",
    }
)  # fmt: skip
MERGE = frozenset({"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"})
# What can return its scores beside its output, and the number of that output here.
ATTENTION = frozenset({"MultiHeadAttention", "GroupQueryAttention", "Attention", "AdditiveAttention"})
SCORES = -1

Rule = Callable[[Json, Shape], Shape | None]


def infer(graph: LayerGraph) -> dict[TensorRef, tuple[Shape | None, Axes]]:
    """Return shape (``None``: unknown) and axis names of the first output of every call."""
    known: dict[TensorRef, tuple[Shape | None, Axes]] = {}
    for number, node in enumerate(graph.nodes):
        entry = graph.entries[node.entry]
        given = [known.get(ref, (None, ())) for ref in refs(node.args)]
        ref = TensorRef(number, 0)
        declared = graph.shapes.get(ref)
        shape = tuple(declared[0]) if declared else shape_of(entry.kind, entry.config, [item[0] for item in given])
        axes = axes_of(entry.kind, entry.config, shape, [item[1] for item in given])
        if entry.kind == "InputLayer" and shape is not None:
            readers = [graph.entries[other.entry] for other in graph.nodes if ref in set(refs(other.args))]
            first = any(reader.config.get("data_format") == "channels_first" for reader in readers)
            axes = input_axes(shape, {reader.kind for reader in readers}, first=first)
        known[ref] = (shape, axes)
        for output in range(1, graph.output_count(number, output_count(entry.kind, entry.config))):
            told = graph.shapes.get(TensorRef(number, output))
            if is_scores(entry, output):
                shape = tuple(told[0]) if told else shape_of_scores(node, entry.config, known)
                known[TensorRef(number, output)] = (shape, scores_named(entry.config, shape))
                continue
            state = tuple(told[0]) if told else state_shape(entry.config, given[0][0] if given else None)
            known[TensorRef(number, output)] = (state, axes_of("", {}, state, []) if state else ())
    return known


def shape_of(kind: str, config: Json, given: list[Shape | None]) -> Shape | None:
    """Return the shape of a layer's first output, ``None`` where no plain rule gives it."""
    shapes = [shape for shape in given if shape is not None]
    if not given or len(shapes) != len(given):
        return None
    try:
        if kind in MERGE:
            return _broadcast(shapes)
        if kind == "Concatenate":
            return _concatenate(config, shapes)
        if kind in KEEP:
            return shapes[0]
        rule = RULES.get(kind)
        return rule(config, shapes[0]) if rule and len(shapes) == 1 else None
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _broadcast(shapes: list[Shape]) -> Shape | None:
    """Return the common shape of same-rank inputs where each axis agrees or is 1."""
    if len({len(shape) for shape in shapes}) != 1:
        return None
    result: list[int | None] = []
    for sizes in zip(*shapes, strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            return None
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def _concatenate(config: Json, shapes: list[Shape]) -> Shape | None:
    axis = config.get("axis", -1) % len(shapes[0])
    if len({len(shape) for shape in shapes}) != 1:
        return None
    sizes = [shape[axis] for shape in shapes]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    return None if len(rest) != 1 else (*shapes[0][:axis], total, *shapes[0][axis + 1 :])


def _pair(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _spatial(config: Json, shape: Shape) -> tuple[Shape, int | None]:
    """Return the sizes along space and the number of channels of a batch shape."""
    if config.get("data_format") == "channels_first":
        return shape[2:], shape[1]
    return shape[1:-1], shape[-1]


def _joined(config: Json, batch: int | None, space: Shape, channels: int | None) -> Shape:
    if config.get("data_format") == "channels_first":
        return (batch, channels, *space)
    return (batch, *space, channels)


def _window(size: int | None, kernel: int, stride: int, padding: str, dilation: int = 1) -> int | None:
    """Return the output size of a sliding window; ``None`` for a free size."""
    if size is None:
        return None
    reach = dilation * (kernel - 1) + 1
    if padding == "valid":
        return (size - reach) // stride + 1
    return -(-size // stride)


def _convolution(config: Json, shape: Shape) -> Shape | None:
    space, _ = _spatial(config, shape)
    rank = len(space)
    kernel, stride = (
        _pair(config["kernel_size"], rank),
        _pair(config.get("strides", 1), rank),
    )
    dilation = _pair(config.get("dilation_rate", 1), rank)
    padding = config.get("padding", "valid")
    sizes = tuple(
        _window(*values[:3], padding, values[3]) for values in zip(space, kernel, stride, dilation, strict=True)
    )
    return _joined(config, shape[0], sizes, config["filters"])


def _depthwise(config: Json, shape: Shape) -> Shape | None:
    _, channels = _spatial(config, shape)
    filters = None if channels is None else channels * config.get("depth_multiplier", 1)
    return _convolution({**config, "filters": filters}, shape)


def _pooling(config: Json, shape: Shape) -> Shape | None:
    space, channels = _spatial(config, shape)
    size = _pair(config["pool_size"], len(space))
    stride = _pair(config.get("strides") or size, len(space))
    padding = config.get("padding", "valid")
    sizes = tuple(_window(*values, padding) for values in zip(space, size, stride, strict=True))
    return _joined(config, shape[0], sizes, channels)


def _global_pooling(config: Json, shape: Shape) -> Shape | None:
    space, channels = _spatial(config, shape)
    if config.get("keepdims"):
        return _joined(config, shape[0], (1,) * len(space), channels)
    return (shape[0], channels)


def _flatten(_: Json, shape: Shape) -> Shape | None:
    sizes = [size for size in shape[1:] if size is not None]
    return (shape[0], math.prod(sizes) if len(sizes) == len(shape) - 1 else None)


def _reshape(config: Json, shape: Shape) -> Shape | None:
    target = list(config["target_shape"])
    if -1 in target:
        _, total = _flatten(config, shape) or (None, None)
        rest = -math.prod(target)
        target[target.index(-1)] = None if total is None else total // rest
    return (shape[0], *target)


def _padding(sign: int) -> Rule:
    def rule(config: Json, shape: Shape) -> Shape | None:
        amounts = config["padding" if sign > 0 else "cropping"]
        space, channels = _spatial(config, shape)
        pairs = [_pair(amount, 2) for amount in (amounts if isinstance(amounts, list) else [amounts])]
        if len(space) == 1 and len(pairs) == 2:  # noqa: PLR2004  (before and after)
            pairs = [(pairs[0][0], pairs[1][0])]
        sizes = tuple(
            None if size is None else size + sign * sum(pair) for size, pair in zip(space, pairs, strict=True)
        )
        return _joined(config, shape[0], sizes, channels)

    return rule


def _up_sampling(config: Json, shape: Shape) -> Shape | None:
    space, channels = _spatial(config, shape)
    factor = _pair(config["size"], len(space))
    sizes = tuple(None if size is None else size * times for size, times in zip(space, factor, strict=True))
    return _joined(config, shape[0], sizes, channels)


def _resizing(config: Json, shape: Shape) -> Shape | None:
    _, channels = _spatial(config, shape)
    return _joined(config, shape[0], (config["height"], config["width"]), channels)


def _recurrent(config: Json, shape: Shape) -> Shape | None:
    if len(shape) != 3:  # noqa: PLR2004  (batch, step, unit)
        return None
    steps = (shape[1],) if config.get("return_sequences") else ()
    return (shape[0], *steps, config["units"])


def _bidirectional(config: Json, shape: Shape) -> Shape | None:
    inner = config["layer"]
    result = shape_of(inner["class_name"], inner["config"], [shape])
    if result is None or config.get("merge_mode") is None:
        return None
    width = result[-1]
    return result if config["merge_mode"] != "concat" or width is None else (*result[:-1], width * 2)


def _time_distributed(config: Json, shape: Shape) -> Shape | None:
    inner = config["layer"]
    result = shape_of(inner["class_name"], inner["config"], [(shape[0], *shape[2:])])
    return None if result is None else (shape[0], shape[1], *result[1:])


def _of_inner(config: Json, shape: Shape) -> Shape | None:
    return shape_of(config["layer"]["class_name"], config["layer"]["config"], [shape])


RULES: dict[str, Rule] = {
    "Dense": lambda config, shape: (*shape[:-1], config["units"]),
    "Conv1D": _convolution,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "SeparableConv1D": _convolution,
    "SeparableConv2D": _convolution,
    "DepthwiseConv1D": _depthwise,
    "DepthwiseConv2D": _depthwise,
    "MaxPooling1D": _pooling,
    "MaxPooling2D": _pooling,
    "MaxPooling3D": _pooling,
    "AveragePooling1D": _pooling,
    "AveragePooling2D": _pooling,
    "AveragePooling3D": _pooling,
    "GlobalAveragePooling1D": _global_pooling,
    "GlobalAveragePooling2D": _global_pooling,
    "GlobalAveragePooling3D": _global_pooling,
    "GlobalMaxPooling1D": _global_pooling,
    "GlobalMaxPooling2D": _global_pooling,
    "GlobalMaxPooling3D": _global_pooling,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": lambda config, shape: (
        shape[0],
        *(shape[axis] for axis in config["dims"]),
    ),
    "RepeatVector": lambda config, shape: (shape[0], config["n"], shape[1]),
    "ZeroPadding1D": _padding(1),
    "ZeroPadding2D": _padding(1),
    "ZeroPadding3D": _padding(1),
    "Cropping1D": _padding(-1),
    "Cropping2D": _padding(-1),
    "Cropping3D": _padding(-1),
    "UpSampling1D": _up_sampling,
    "UpSampling2D": _up_sampling,
    "UpSampling3D": _up_sampling,
    "Resizing": _resizing,
    "CenterCrop": _resizing,
    "Embedding": lambda config, shape: (*shape, config["output_dim"]),
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "SimpleRNN": _recurrent,
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
    "SpectralNormalization": _of_inner,
}


def is_scores(entry: LayerNode, output: int) -> bool:
    """Return True for the scores of an attention layer, also where it was called with `return_attention_scores`."""
    return output == SCORES or (output == 1 and entry.kind in ATTENTION and not entry.custom)


def shape_of_scores(node: CallNode, config: Json, known: Mapping[TensorRef, tuple[Shape | None, Axes]]) -> Shape | None:
    """Return the shape of the scores that a call of an attention layer computes, by what it is given."""
    given = list(refs((node.args, node.kwargs)))
    if not given:
        return None
    query, key = (known.get(ref, (None, ()))[0] for ref in (given[0], given[min(1, len(given) - 1)]))
    return score_shape(config, query, key)


def scores_named(config: Json, shape: Shape | None) -> Axes:
    """Name the axes of the scores of an attention layer, whose shape may not be known."""
    rank = 4 if "num_heads" in config or "num_query_heads" in config else 3
    return score_axes(len(shape) if shape else rank)


def score_shape(config: Json, query: Shape | None, key: Shape | None) -> Shape | None:
    """Return the shape of the scores of an attention layer over sequences."""
    if query is None or key is None or {len(query), len(key)} != {len(SEQUENCE)}:
        return None
    heads = config.get("num_heads", config.get("num_query_heads"))
    return (query[0], query[1], key[1]) if heads is None else (query[0], heads, query[1], key[1])


WITHOUT_WEIGHTS = (
    KEEP
    - {"PReLU", "BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "Normalization"}
    | MERGE
    | SIGN_KEEPING
    | {"InputLayer", "Dot", "Resizing", "CenterCrop", "GetItem", "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"}
)
RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"})


def weight_counts(kind: str, config: Json) -> tuple[int, int] | None:
    """Return how many weights a layer trains and how many it does not; ``None``: unknown."""
    bias = int(bool(config.get("use_bias", True)))
    if kind in WITHOUT_WEIGHTS:
        return (0, 0)
    if kind.startswith("SeparableConv"):
        return (2 + bias, 0)
    if kind in {"Dense", *(name for name in RULES if "Conv" in name)} or kind.endswith("Transpose"):
        return (1 + bias, 0)
    if kind in {"BatchNormalization", "LayerNormalization", "GroupNormalization"}:
        trained = int(bool(config.get("scale", True))) + int(bool(config.get("center", True)))
        return (trained, 2 if kind == "BatchNormalization" else 0)
    if kind in RECURRENT:
        return (2 + bias, 0)
    if kind in {"Embedding", "PReLU"}:
        return (1, 0)
    inner = config.get("layer")
    if kind in {"Bidirectional", "TimeDistributed"} and isinstance(inner, dict):
        found = weight_counts(str(inner["class_name"]), inner["config"])
        times = 2 if kind == "Bidirectional" else 1
        return None if found is None else (found[0] * times, found[1] * times)
    if kind == "Normalization":
        return (0, 3) if config.get("mean") is None else (0, 0)
    return None


def _pieces(config: Json) -> int:
    """Return into how many pieces a Split cuts: a number of them, or the places of the cuts."""
    cuts = config.get("indices_or_sections", 1)
    return cuts if isinstance(cuts, int) else len(cuts) + 1


# Operations with several outputs.
OPERATION_OUTPUTS: dict[str, Callable[[Json], int]] = {
    "Split": _pieces,
    "ArraySplit": _pieces,
    "Unstack": lambda config: config.get("num") or 1,
    **dict.fromkeys(("Eig", "Eigh", "Qr", "TopK", "Moments", "Modf", "Frexp", "Divmod", "Slogdet"), lambda _: 2),
}


def output_count(kind: str, config: Json) -> int:
    """Return how many outputs a layer has: recurrent layers may give their states too."""
    inner = config.get("layer")
    if kind == "Bidirectional" and isinstance(inner, dict):
        states = output_count(str(inner["class_name"]), inner["config"]) - 1
        halves = 2 if config.get("merge_mode", "concat") is None else 1
        return halves + 2 * states
    if kind in OPERATION_OUTPUTS:
        return OPERATION_OUTPUTS[kind](config)
    if not config.get("return_state"):
        return 1
    return 3 if kind == "LSTM" or kind.startswith("ConvLSTM") else 2


def state_shape(config: Json, given: Shape | None) -> Shape | None:
    """Return the shape of a state of a recurrent layer over vectors."""
    return (given[0], config["units"]) if given is not None and "units" in config else None
