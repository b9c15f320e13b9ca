"""Receptive fields: which pixels of the input each value of a map depends on, computed layer by layer.

A rule takes a layer's configuration, the geometry of both axes of its input (rows, columns) and
the axis (0: rows, 1: columns), and returns the geometry of that axis of its output, ``None``
if it is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AxisGeometry:
    """One axis of a map of `size` values, and their receptive fields in pixels of the input.

    The field of value i is from pixel `first` + i * `stride` to pixel `last` + i * `stride`, both included;
    the numbers are fractions after an enlargement.
    """

    size: int
    first: float
    last: float
    stride: float

    def moved(self, first: float, last: float, size: int, stride: float) -> AxisGeometry:
        """Return the geometry of a map of `size` values computed from this one.

        Its value i depends on the values from `first` + i * `stride` to `last` + i * `stride` of this map.
        """
        return AxisGeometry(
            size, self.first + first * self.stride, self.last + last * self.stride, self.stride * stride
        )


Spans = tuple[AxisGeometry, AxisGeometry]
WindowRule = Callable[[Json, Spans, int], AxisGeometry | None]


def _number(value: Any, axis: int) -> int:
    return int(value[axis]) if isinstance(value, (list, tuple)) else int(value)


def window(span: AxisGeometry, kernel: int, stride: int = 1, dilation: int = 1, *, same: bool = False) -> AxisGeometry:
    """Return the geometry of the output of a sliding window.

    `same` pads as TensorFlow does: an odd pixel is added at the end, and with strides the amount depends on
    the size.
    """
    reach = dilation * (kernel - 1) + 1
    size = -(-span.size // stride) if same else (span.size - reach) // stride + 1
    before = max((size - 1) * stride + reach - span.size, 0) // 2 if same else 0
    return span.moved(-before, reach - 1 - before, size, stride)


def transposed(
    span: AxisGeometry, kernel: int, stride: int = 1, dilation: int = 1, *, same: bool = False
) -> AxisGeometry:
    """Return the geometry of the output of a transposed convolution, along which its window moves."""
    reach = dilation * (kernel - 1) + 1
    size = span.size * stride + (0 if same else max(reach - stride, 0))
    before = max(reach - stride, 0) // 2 if same else 0
    return span.moved((before - reach + 1) / stride, before / stride, size, 1 / stride)


def stretched(span: AxisGeometry, size: int, *, smooth: bool = False) -> AxisGeometry:
    """Return the geometry of a map resized to `size` values around its center; `smooth` interpolates linearly."""
    stride = span.size / size
    middle, reach = stride / 2 - 0.5, max(1.0, stride) / 2 if smooth else 0.0
    return span.moved(middle - reach, middle + reach, size, stride)


def _window_of(config: Json, axis: int) -> tuple[int, int, int]:
    """Return the size of a convolution's kernel, its stride and its dilation along an axis."""
    kernel, stride, dilation = config["kernel_size"], config.get("strides", 1), config.get("dilation_rate", 1)
    return _number(kernel, axis), _number(stride, axis), _number(dilation, axis)


def _is_same(config: Json) -> bool:
    return bool(config.get("padding", "valid") == "same")


def convolution(config: Json, spans: Spans, axis: int) -> AxisGeometry:
    """Return one axis of the output of a convolution."""
    return window(spans[axis], *_window_of(config, axis), same=_is_same(config))


def transposed_convolution(config: Json, spans: Spans, axis: int) -> AxisGeometry | None:
    """Return one axis of the output of a transposed convolution, ``None`` if its size is set by `output_padding`."""
    if config.get("output_padding") is not None:
        return None
    return transposed(spans[axis], *_window_of(config, axis), same=_is_same(config))


def pooling(config: Json, spans: Spans, axis: int) -> AxisGeometry:
    """Return one axis of the output of a pooling layer."""
    size = config["pool_size"]
    stride = config.get("strides") or size
    return window(spans[axis], _number(size, axis), _number(stride, axis), same=_is_same(config))


def _amounts(value: Any, axis: int) -> tuple[int, int]:
    """Return how much a padding or cropping changes at the start and at the end of an axis."""
    amount = value[axis] if isinstance(value, (list, tuple)) else value
    return (int(amount[0]), int(amount[1])) if isinstance(amount, (list, tuple)) else (int(amount), int(amount))


def padding(config: Json, spans: Spans, axis: int) -> AxisGeometry:
    """Return one axis of the output of a padding layer."""
    before, after = _amounts(config["padding"], axis)
    return spans[axis].moved(-before, -before, spans[axis].size + before + after, 1)


def cropping(config: Json, spans: Spans, axis: int) -> AxisGeometry:
    """Return one axis of the output of a cropping layer."""
    before, after = _amounts(config["cropping"], axis)
    return spans[axis].moved(before, before, spans[axis].size - before - after, 1)


def up_sampling(config: Json, spans: Spans, axis: int) -> AxisGeometry:
    """Return one axis of the output of an upsampling layer."""
    span = spans[axis]
    smooth = config.get("interpolation", "nearest") != "nearest"
    return stretched(span, span.size * _number(config["size"], axis), smooth=smooth)


def resizing(config: Json, spans: Spans, axis: int) -> AxisGeometry | None:
    """Return one axis of the output of a Resizing layer, ``None`` if it keeps the aspect ratio."""
    if config.get("crop_to_aspect_ratio") or config.get("pad_to_aspect_ratio"):
        return None
    smooth = config.get("interpolation", "bilinear") != "nearest"
    return stretched(spans[axis], int(config[("height", "width")[axis]]), smooth=smooth)


def center_crop(config: Json, spans: Spans, axis: int) -> AxisGeometry | None:
    """Return one axis of the output of a CenterCrop layer, ``None`` if it resizes smaller images."""
    sizes = int(config["height"]), int(config["width"])
    if any(size > span.size for size, span in zip(sizes, spans, strict=True)):
        return None
    before = (spans[axis].size - sizes[axis]) // 2
    return spans[axis].moved(before, before, sizes[axis], 1)
