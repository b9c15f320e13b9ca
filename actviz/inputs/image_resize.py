"""Resize images to the size of an input.

Bytes are resampled as bytes and floats as floats, with an antialiased bicubic filter; an image that
has the size already is not changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError, LimitError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import TensorSpec

TIMES = " \N{MULTIPLICATION SIGN} "
Size = tuple[int, int]
"""Rows and columns."""

_PILLOW_CHANNELS = (1, 3)  # without alpha
_RANK_WITH_CHANNELS = 4
_RANK_WITHOUT = 3
_RANK_WITH_FRAMES = 5
FRAME_AXES = ("step", "plane")


@dataclass(frozen=True, slots=True)
class ImageShape:
    """The image shape of an input: rows and columns (``None``: any size) and channels.

    `order` holds the indices of row, column and channel among the axes after the batch axis; it has
    two entries if the input has no channel axis and takes gray. `any_channels` is true if the number
    of channels is free; then `channels` is 3. `frame_axis` is the index of the axis of frames or planes
    among the same axes, ``None`` if the input takes one image; `frames` is its size, ``None`` for any.
    """

    rows: int | None
    columns: int | None
    channels: int
    order: tuple[int, ...]
    any_channels: bool = False
    frame_axis: int | None = None
    frames: int | None = None

    @property
    def channels_first(self) -> bool:
        """Whether the channel axis comes before the rows."""
        return len(self.order) > 2 and self.order[2] < self.order[0]  # noqa: PLR2004  (has a channel axis)


@dataclass(frozen=True, slots=True)
class ResizePlan:
    """How an image is resized.

    The part `box` (top, left, bottom, right in pixels, possibly fractional) is scaled to `inner` and
    centered in an image of `size`. `word` describes it: ``""`` if the image is not changed, else
    ``scaled``, ``cropped``, ``padded`` or ``stretched 1.5 : 1``.
    """

    box: tuple[float, float, float, float]
    inner: Size
    size: Size
    word: str

    @property
    def picture(self) -> tuple[int, int, int, int] | None:
        """Return the image inside its padding (top, left, bottom, right in pixels), or ``None`` without padding."""
        if self.inner == self.size:
            return None
        top, left = ((whole - part) // 2 for whole, part in zip(self.size, self.inner, strict=True))
        return top, left, top + self.inner[0], left + self.inner[1]


def image_shape(spec: TensorSpec) -> ImageShape | None:
    """Return the image shape of an input, or ``None`` if it takes neither an image nor frames or planes."""
    axes, sizes, rank = spec.axes[1:], spec.shape[1:], len(spec.shape)
    if rank == _RANK_WITHOUT:
        return ImageShape(sizes[0], sizes[1], 1, (0, 1))
    named = {"row", "column", "channel"} <= set(axes)
    frame_axis = next((axes.index(name) for name in FRAME_AXES if rank == _RANK_WITH_FRAMES and name in axes), None)
    if rank != _RANK_WITH_CHANNELS and (frame_axis is None or not named):
        return None
    order = (axes.index("row"), axes.index("column"), axes.index("channel")) if named else (0, 1, 2)
    rows, columns, channels = (sizes[axis] for axis in order)
    shape = ImageShape(rows, columns, 3 if channels is None else channels, order, channels is None)
    return shape if frame_axis is None else replace(shape, frame_axis=frame_axis, frames=sizes[frame_axis])


def check_takes_images(spec: TensorSpec, path: str) -> ImageShape:
    """Return the image shape of an input.

    Raises
    ------
    InputError
        When rank or dtype of the input are not those of images.
    """
    if not spec.shape:
        message = f"{path}: the model file does not contain the size of its input, so an image cannot be fitted to it; give an array with the batch axis first (.npy)."
        raise InputError(message)
    shape = image_shape(spec)
    if shape is None or spec.dtype in {"string", "bool"}:
        message = f"{path}: an image, but the input is {shape_text(spec.shape)} {spec.dtype}; give an array of that shape (.npy)."
        raise InputError(message)
    return shape


def check_frames(count: int, shape: ImageShape, spec: TensorSpec, path: str) -> None:
    """Refuse an image with a different number of frames than the input has.

    Raises
    ------
    InputError
        When the numbers differ; with both.
    """
    if shape.frames is None or count == shape.frames:
        return
    noun = "planes" if "plane" in spec.axes else "frames"
    available = "one frame" if count == 1 else f"{count:,} frames"
    message = f"{path}: the image has {available}, the input {shape_text(spec.shape)} takes {shape.frames:,} {noun}; give an animation or a TIFF with {shape.frames:,} pages, or an array of that shape (.npy)."
    raise InputError(message)


def target_size(own: Size, shape: ImageShape) -> Size:
    """Return the size of the input for an image: free sizes follow the image.

    If one side is free, the aspect ratio is kept.
    """
    rows, columns = shape.rows, shape.columns
    if rows is None and columns is None:
        return own
    if rows is None:
        columns = own[1] if columns is None else columns
        return max(1, round(own[0] * columns / own[1])), columns
    if columns is None:
        return rows, max(1, round(own[1] * rows / own[0]))
    return rows, columns


def plan(own: Size, size: Size, how: str) -> ResizePlan:
    """Plan the resizing of an image to `size`; `how` is ``stretch``, ``crop`` or ``pad``.

    ``stretch`` scales each side by its own factor, ``pad`` both by the smaller one, ``crop`` both by
    the larger one. If the factors agree within a pixel, the image is scaled.
    """
    whole = (0.0, 0.0, float(own[0]), float(own[1]))
    if own == size:
        return ResizePlan(whole, size, size, "")
    factors = size[0] / own[0], size[1] / own[1]
    factor = min(factors)
    inner = (min(size[0], max(1, round(own[0] * factor))), min(size[1], max(1, round(own[1] * factor))))
    if inner == size:
        return ResizePlan(whole, size, size, "scaled")
    if how == "stretch":
        return ResizePlan(whole, size, size, f"stretched {_ratio(max(factors) / factor)} : 1")
    if how == "pad":
        return ResizePlan(whole, inner, size, "padded")
    rows, columns = size[0] / max(factors), size[1] / max(factors)
    top, left = (own[0] - rows) / 2, (own[1] - columns) / 2
    box = (max(0.0, top), max(0.0, left), min(top + rows, own[0]), min(left + columns, own[1]))
    return ResizePlan(box, size, size, "cropped")


def _ratio(value: float) -> str:
    """Return a ratio above 1 with three digits, or more if it would be rounded to 1."""
    return next((text for digits in (3, 4, 5) if (text := f"{value:.{digits}g}") != "1"), f"{value:.8g}")


def resize(
    picture: NDArray[Any], resizing: ResizePlan, background: tuple[int, int, int], *, alpha: bool = False
) -> NDArray[Any]:
    """Resize an image ``(row, column, channel)`` as planned; the dtype, uint8 or float32, is kept.

    Floats are clipped to the range of the image, as the filter overshoots. `alpha` is true if the
    last channel is alpha: Pillow weights the others by it, which would be wrong for other bands.
    """
    if not resizing.word:
        return picture
    if picture.dtype == np.uint8 and (alpha or picture.shape[2] in _PILLOW_CHANNELS):
        inner = _resample(picture, resizing)
    else:
        planes = [_resample(picture[:, :, channel], resizing) for channel in range(picture.shape[2])]
        inner = np.stack(planes, axis=2)
        if picture.dtype != np.uint8:
            inner = np.clip(inner, np.fmin.reduce(picture, axis=None), np.fmax.reduce(picture, axis=None))
    inner = inner if inner.ndim == picture.ndim else inner[:, :, None]
    if resizing.picture is None:
        return inner
    page = _background_page(picture, resizing.size, background, alpha=alpha)
    top, left, bottom, right = resizing.picture
    page[top:bottom, left:right] = inner
    return page


def check_pixels(size: Size, limit: int, path: str) -> None:
    """Refuse a size of more than `limit` pixels, before memory is allocated.

    Raises
    ------
    LimitError
        When it is refused.
    """
    if size[0] * size[1] > limit:
        message = f"{path}: {size[0]:,} x {size[1]:,} pixels would be fed, at most {limit:,} in all are; give a smaller image or raise --max-pixels."
        raise LimitError(message)


def shrink(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return an image ``(row, column, RGB)`` reduced by averaging to at most `side` pixels per side."""
    rows, columns = picture.shape[:2]
    factor = side / max(rows, columns)
    if factor >= 1:
        return picture
    from PIL import Image

    size = max(1, round(columns * factor)), max(1, round(rows * factor))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def shape_text(shape: tuple[int | None, ...]) -> str:
    """Return a shape as text: ``(any, 28, 28, 1)``."""
    return f"({', '.join('any' if size is None else str(size) for size in shape)}{',' if len(shape) == 1 else ''})"


def _resample(plane: NDArray[Any], resizing: ResizePlan) -> NDArray[Any]:
    from PIL import Image

    flat = plane[:, :, 0] if plane.ndim == 3 and plane.shape[2] == 1 else plane  # noqa: PLR2004  (row, column, channel)
    top, left, bottom, right = resizing.box
    resized = Image.fromarray(np.ascontiguousarray(flat)).resize(
        (resizing.inner[1], resizing.inner[0]), Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    return np.asarray(resized)


def _background_page(
    picture: NDArray[Any], size: Size, background: tuple[int, int, int], *, alpha: bool
) -> NDArray[Any]:
    """Return an image of the background color, or of its luminance if the bands are no colors, with opaque alpha."""
    red, green, blue = background
    grey = round(0.299 * red + 0.587 * green + 0.114 * blue)
    channels = picture.shape[2]
    count = channels - alpha
    color = (*(background if count == 3 else (grey,) * count), *((255,) if alpha else ()))  # noqa: PLR2004  (RGB)
    page = np.empty((*size, channels), picture.dtype)
    scale = 1 if picture.dtype == np.uint8 else 255
    page[:] = np.array(color, np.float64) / scale
    return page
