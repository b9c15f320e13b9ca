"""Image files to pictures ``(row, column, channel)``, float32, 0..1.

What the network is fed is what the person sees: orientation, transparency, palettes and
deep pixels are resolved here, by stated rules. Files are recognised by content.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from actviz.errors import InputError, LimitError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.inputs.options import InputOptions

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
DEEP = 65535.0
BYTE = 255.0
RESAMPLING = Image.Resampling.BICUBIC
TRUNCATED = "the image is truncated or damaged; copy or save it again"
# ITU-R 601 luma, the weights that Pillow's mode "L" uses.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def decode(content: bytes, name: str, options: InputOptions) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Decode an image.

    Returns
    -------
    picture
        ``(row, column, channel)``, float32, 0..1, with 1 or 3 channels. Float images keep
        their own values.
    notes
        Lines worth saying.

    Raises
    ------
    InputError
        When it is no image of a known format, damaged, or has not the frame asked for.
    LimitError
        When it has more pixels than the limit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            if image.width * image.height > options.max_pixels:
                message = f"{name}: {image.width:,} x {image.height:,} pixels (limit {options.max_pixels:,}); shrink it or raise --max-pixels."
                raise LimitError(message)
            notes = _seek(image, name, options.frame)
            image.load()
            return _picture(image, options, name), notes
    except Image.DecompressionBombError:
        message = f"{name}: far more pixels than the limit of {options.max_pixels:,}; shrink it or raise --max-pixels."
        raise LimitError(message) from None
    except UnidentifiedImageError:
        message = f"{name}: not an image that is read here; give PNG, JPEG, WebP, BMP, TIFF or GIF, or an array as .npy or .npz."
        raise InputError(message) from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        KeyError,
        IndexError,
        TypeError,
        ArithmeticError,
    ):
        message = f"{name}: {TRUNCATED}."
        raise InputError(message) from None
    except MemoryError:
        message = f"{name}: the image does not fit into memory; shrink it."
        raise LimitError(message) from None


def _seek(image: Image.Image, name: str, frame: int) -> tuple[str, ...]:
    frames = int(getattr(image, "n_frames", 1))
    if frame >= frames or frame < 0:
        message = f"{name}: there is no frame {frame}; the image has {frames} (0 to {frames - 1})."
        raise InputError(message)
    if frames == 1:
        return ()
    image.seek(frame)
    return (f"{name}: frame {frame} of {frames} is used; choose another with --frame",)


def _picture(image: Image.Image, options: InputOptions, name: str) -> NDArray[np.float32]:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        return _stacked(np.asarray(upright).astype(np.float32) / np.float32(DEEP))
    if upright.mode == "I":
        return _stacked(np.asarray(upright).astype(np.float32) / np.float32(DEEP))
    if upright.mode == "F":
        values = np.asarray(upright, np.float32)
        if not options.allow_nonfinite and not np.isfinite(values).all():
            message = f"{name}: holds NaN or infinite values; mend them or pass --allow-nonfinite."
            raise InputError(message)
        return _stacked(values)
    if upright.mode in {"1", "L"} and "transparency" not in upright.info:
        return _stacked(np.asarray(upright.convert("L"), np.float32) / np.float32(BYTE))
    if upright.has_transparency_data:
        return _composited(upright, (255, 255, 255))
    return np.asarray(upright.convert("RGB"), np.float32) / np.float32(BYTE)


def _composited(image: Image.Image, background: tuple[int, int, int]) -> NDArray[np.float32]:
    """Lay a transparent image over the background: hidden colours stay hidden."""
    grey = image.mode in {"LA", "La", "L"}
    values = np.asarray(image.convert("RGBA"), np.float32) / np.float32(BYTE)
    alpha = values[..., 3:]
    behind = np.array(background, np.float32) / np.float32(BYTE)
    result = values[..., :3] * alpha + behind * (1 - alpha)
    same = background[0] == background[1] == background[2]
    return result[..., :1] if grey and same else result


def _stacked(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values[..., None]


def with_channels(picture: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Turn grey into colour or colour into grey (ITU-R 601 luma), by the network's channels."""
    have = picture.shape[-1]
    if have == count:
        return picture
    if count == 1:
        return picture @ LUMA[:, None]
    return np.repeat(picture, count, axis=-1)


def resized(
    picture: NDArray[np.float32],
    size: tuple[int | None, int | None],
    options: InputOptions,
) -> tuple[NDArray[np.float32], str]:
    """Bring a picture to (rows, columns), where given, and say in words what was done.

    Computed channel by channel in float32 with antialiasing (Pillow, bicubic); a picture
    that has the size already is not touched. Results are kept within the picture's own range.
    """
    height, width = picture.shape[:2]
    rows, columns = size[0] or height, size[1] or width
    if (rows, columns) == (height, width):
        return picture, ""
    said = f"from {height} × {width}"
    if options.resize == "stretch" or rows * width == columns * height:
        return _resample(picture, rows, columns), f"resized {said}"
    if options.resize == "crop":
        factor = max(rows / height, columns / width)
        inner = (max(rows, round(height * factor)), max(columns, round(width * factor)))
        large = _resample(picture, *inner)
        top, left = (inner[0] - rows) // 2, (inner[1] - columns) // 2
        return large[top : top + rows, left : left + columns], f"cropped {said}"
    factor = min(rows / height, columns / width)
    inner = (
        min(rows, max(1, round(height * factor))),
        min(columns, max(1, round(width * factor))),
    )
    behind = with_channels(
        np.array((255, 255, 255), np.float32).reshape(1, 1, 3) / np.float32(BYTE),
        picture.shape[-1],
    )
    board = np.broadcast_to(behind, (rows, columns, picture.shape[-1])).copy()
    top, left = (rows - inner[0]) // 2, (columns - inner[1]) // 2
    board[top : top + inner[0], left : left + inner[1]] = _resample(picture, *inner)
    return board, f"fitted {said}"


def _resample(picture: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    if picture.shape[:2] == (rows, columns):
        return picture
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(picture[..., number])).resize((columns, rows), RESAMPLING))
        for number in range(picture.shape[-1])
    ]
    return np.clip(np.stack(channels, axis=-1), picture.min(), picture.max())
