"""The output shapes of Keras layers, computed from their configurations as Keras does.

A rule takes a configuration and the shape of the input, batch axis first, and returns the shape of
the output, ``None`` if it is unknown. A free size is ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from actviz.records import Shape

Json = dict[str, Any]
ShapeRule = Callable[[Json, Shape], Shape | None]


def keep(_: Json, shape: Shape) -> Shape | None:
    """Return the shape of the input."""
    return shape


def dense(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a Dense layer."""
    return (*shape[:-1], config["units"])


def permute(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a Permute layer, whose axes are numbered from 1."""
    return (shape[0], *(shape[axis] for axis in config["dims"]))


def repeat_vector(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a RepeatVector layer."""
    return (shape[0], config["n"], shape[1])


def embedding(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of an Embedding layer."""
    return (*shape, config["output_dim"])


def broadcast(_: Json, shapes: list[Shape]) -> Shape | None:
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


def concatenate(config: Json, shapes: list[Shape]) -> Shape | None:
    """Return the output shape of a Concatenate layer, ``None`` if the inputs differ along another axis."""
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


def _window(size: int | None, kernel: int, stride: int, dilation: int, padding: str) -> int | None:
    """Return the output size of a sliding window; ``None`` for a free size."""
    if size is None:
        return None
    reach = dilation * (kernel - 1) + 1
    if padding == "valid":
        return (size - reach) // stride + 1
    return -(-size // stride)


def convolution(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a convolution."""
    space, _ = _spatial(config, shape)
    rank = len(space)
    kernel = _pair(config["kernel_size"], rank)
    stride, dilation = (_pair(config.get(name, 1), rank) for name in ("strides", "dilation_rate"))
    padding = config.get("padding", "valid")
    sizes = tuple(_window(*values, padding) for values in zip(space, kernel, stride, dilation, strict=True))
    return _joined(config, shape[0], sizes, config["filters"])


def depthwise(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a depthwise convolution."""
    _, channels = _spatial(config, shape)
    filters = None if channels is None else channels * config.get("depth_multiplier", 1)
    return convolution({**config, "filters": filters}, shape)


def pooling(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a pooling layer."""
    space, channels = _spatial(config, shape)
    size = _pair(config["pool_size"], len(space))
    stride = _pair(config.get("strides") or size, len(space))
    padding = config.get("padding", "valid")
    sizes = tuple(_window(*values, 1, padding) for values in zip(space, size, stride, strict=True))
    return _joined(config, shape[0], sizes, channels)


def global_pooling(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a global pooling layer."""
    space, channels = _spatial(config, shape)
    if config.get("keepdims"):
        return _joined(config, shape[0], (1,) * len(space), channels)
    return (shape[0], channels)


def flatten(_: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a Flatten layer."""
    sizes = [size for size in shape[1:] if size is not None]
    return (shape[0], math.prod(sizes) if len(sizes) == len(shape) - 1 else None)


def reshape(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a Reshape layer, in which one size may be -1."""
    target = list(config["target_shape"])
    if -1 in target:
        _, total = flatten(config, shape) or (None, None)
        rest = -math.prod(target)
        target[target.index(-1)] = None if total is None else total // rest
    return (shape[0], *target)


def padding(sign: int) -> ShapeRule:
    """Return the rule of padding (`sign` 1) or cropping (-1)."""

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


def up_sampling(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of an upsampling layer."""
    space, channels = _spatial(config, shape)
    factor = _pair(config["size"], len(space))
    sizes = tuple(None if size is None else size * times for size, times in zip(space, factor, strict=True))
    return _joined(config, shape[0], sizes, channels)


def resizing(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a layer that returns images of a fixed size."""
    _, channels = _spatial(config, shape)
    return _joined(config, shape[0], (config["height"], config["width"]), channels)


def recurrent(config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a recurrent layer over vectors."""
    if len(shape) != 3:  # noqa: PLR2004  (batch, step, unit)
        return None
    steps = (shape[1],) if config.get("return_sequences") else ()
    return (shape[0], *steps, config["units"])
