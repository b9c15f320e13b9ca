"""Which pixels of the input the values of a map see, after one layer more.

A rule takes a layer's configuration, the geometry of both axes of its input (rows, columns) and
the axis (0: rows, 1: columns), and returns the geometry of that axis of its output, ``None``
where it is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AxisGeometry:
    """One axis of a map of `size` values, and what they see of the input, in pixels.

    Value number i sees the input's pixels `first` + i * `stride` to `last` + i * `stride`,
    both included; parts of a pixel come from maps that were enlarged.
    """

    size: int
    first: float
    last: float
    stride: float

    def moved(self, first: float, last: float, size: int, stride: float) -> AxisGeometry:
        """Return a map whose first value sees the values `first` to `last` of this one, the next `stride` further."""
        return AxisGeometry(
            size, self.first + first * self.stride, self.last + last * self.stride, self.stride * stride
        )


Spans = tuple[AxisGeometry, AxisGeometry]
WindowRule = Callable[[Json, Spans, int], AxisGeometry | None]


def _number(value: Any, axis: int) -> int:
    return int(value[axis]) if isinstance(value, (list, tuple)) else int(value)


def window(span: AxisGeometry, kernel: int, stride: int = 1, dilation: int = 1, *, same: bool = False) -> AxisGeometry:
    """Return the map that a sliding window makes of another.

    ``same`` pads as TensorFlow does: the odd pixel goes to the end, and with strides it
    depends on the size how many there are.
    """
    reach = dilation * (kernel - 1) + 1
    size = -(-span.size // stride) if same else (span.size - reach) // stride + 1
    before = max((size - 1) * stride + reach - span.size, 0) // 2 if same else 0
    return span.moved(-before, reach - 1 - before, size, stride)


def transposed(
    span: AxisGeometry, kernel: int, stride: int = 1, dilation: int = 1, *, same: bool = False
) -> AxisGeometry:
    """Return the map that a transposed convolution makes of another: the window runs over its output."""
    reach = dilation * (kernel - 1) + 1
    size = span.size * stride + (0 if same else max(reach - stride, 0))
    before = max(reach - stride, 0) // 2 if same else 0
    return span.moved((before - reach + 1) / stride, before / stride, size, 1 / stride)


def stretched(span: AxisGeometry, size: int, *, smooth: bool = False) -> AxisGeometry:
    """Return a map resized to `size` values, with the middles of both pictures one on the other."""
    stride = span.size / size
    middle, reach = stride / 2 - 0.5, max(1.0, stride) / 2 if smooth else 0.0
    return span.moved(middle - reach, middle + reach, size, stride)


def convolution(config: Json, spans: Spans, axis: int) -> AxisGeometry:
    """Return one axis behind a convolution."""
    return window(
        spans[axis],
        _number(config["kernel_size"], axis),
        _number(config.get("strides", 1), axis),
        _number(config.get("dilation_rate", 1), axis),
        same=config.get("padding", "valid") == "same",
    )


def transposed_convolution(config: Json, spans: Spans, axis: int) -> AxisGeometry | None:
    """Return one axis behind a transposed convolution, ``None`` where its size is set by hand."""
    if config.get("output_padding") is not None:
        return None
    return transposed(
        spans[axis],
        _number(config["kernel_size"], axis),
        _number(config.get("strides", 1), axis),
        _number(config.get("dilation_rate", 1), axis),
        same=config.get("padding", "valid") == "same",
    )


def pooling(config: Json, spans: Spans, axis: int) -> AxisGeometry:
    """Return one axis behind a pooling layer."""
    size = config["pool_size"]
    stride = config.get("strides") or size
    same = config.get("padding", "valid") == "same"
    return window(spans[axis], _number(size, axis), _number(stride, axis), same=same)


def _amounts(value: Any, axis: int) -> tuple[int, int]:
    """Return how much a padding or cropping changes at the start and at the end of an axis."""
    amount = value[axis] if isinstance(value, (list, tuple)) else value
    return (int(amount[0]), int(amount[1])) if isinstance(amount, (list, tuple)) else (int(amount), int(amount))


def padding(config: Json, spans: Spans, axis: int) -> AxisGeometry:
    """Return one axis behind a padding layer."""
    before, after = _amounts(config["padding"], axis)
    return spans[axis].moved(-before, -before, spans[axis].size + before + after, 1)


def cropping(config: Json, spans: Spans, axis: int) -> AxisGeometry:
    """Return one axis behind a cropping layer."""
    before, after = _amounts(config["cropping"], axis)
    return spans[axis].moved(before, before, spans[axis].size - before - after, 1)


def up_sampling(config: Json, spans: Spans, axis: int) -> AxisGeometry:
    """Return one axis behind an upsampling layer."""
    span = spans[axis]
    smooth = config.get("interpolation", "nearest") != "nearest"
    return stretched(span, span.size * _number(config["size"], axis), smooth=smooth)


def resizing(config: Json, spans: Spans, axis: int) -> AxisGeometry | None:
    """Return one axis behind a Resizing layer, ``None`` where it keeps the aspect ratio."""
    if config.get("crop_to_aspect_ratio") or config.get("pad_to_aspect_ratio"):
        return None
    smooth = config.get("interpolation", "bilinear") != "nearest"
    return stretched(spans[axis], int(config[("height", "width")[axis]]), smooth=smooth)


def center_crop(config: Json, spans: Spans, axis: int) -> AxisGeometry | None:
    """Return one axis behind a CenterCrop layer, ``None`` where it resizes smaller images."""
    sizes = int(config["height"]), int(config["width"])
    if any(size > span.size for size, span in zip(sizes, spans, strict=True)):
        return None
    before = (spans[axis].size - sizes[axis]) // 2
    return spans[axis].moved(before, before, sizes[axis], 1)
