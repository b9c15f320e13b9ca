"""Decode images with Pillow: allowed formats only, within a limit on pixels.

Images are decoded as a viewer shows them: rotated by their EXIF orientation, blended with the
background where they are transparent, in gray or in color. Color profiles are not applied, as in
training pipelines.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import ActvizError, InputError, LimitError
from actviz.inputs.channels import COLOR, COLOR_CHANNELS, GREY, Bands, DecodedImage, check_channels, to_channels
from actviz.inputs.image_structure import MAX_FRAMES, check_count
from actviz.inputs.input_options import InputOptions, parse_color
from actviz.system.warning_filters import without_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# The decoders that may read a file, by `file_type.kind_of`; Pillow has forty more.
DECODERS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
}
# Without a handler, Pillow's log messages go to stderr.
_NO_HANDLER = logging.NullHandler()
_ORIENTATION = 0x0112
_SIXTEEN_BITS = 65_535
_WITH_ALPHA = 4


@dataclass(frozen=True, slots=True)
class DecodeTarget:
    """What an image is decoded to.

    Parameters
    ----------
    channels
        Channels of the input; ``None``: any number.
    frames
        Whether all frames are decoded, as the input takes frames or planes.
    options
        The options of the user.
    """

    channels: int | None
    frames: bool = False
    options: InputOptions = field(default_factory=InputOptions)

    @property
    def background(self) -> tuple[int, int, int]:
        """Red, green and blue, 0..255, behind transparent pixels."""
        return parse_color(self.options.background)


def decode(content: bytes, kind: str, path: str, target: DecodeTarget) -> DecodedImage:
    """Decode an image file with Pillow; see `images.decode`."""
    with guarded(path, kind, target.options.maximum_pixels):
        image = _open(content, kind, path, target.options)
        if target.frames:
            return _decode_frames(image, path, target)
        return _decode_frame(image, path, target)


def _decode_frame(image: ImageFile, path: str, target: DecodeTarget) -> DecodedImage:
    """Decode the frame that `_open` selected."""
    notes = frame_notes(path, target.options.frame) if getattr(image, "is_animated", False) else []
    image.load()
    decoded, damaged = _upright(image, path, target)
    return replace(decoded, notes=(*notes, *(damaged_notes(path) if damaged else ()), *decoded.notes))


def _decode_frames(image: ImageFile, path: str, target: DecodeTarget) -> DecodedImage:
    """Decode all frames of an animation or pages of a file, which must have equal sizes."""
    # An animated PNG may start with a default image for programs without animations.
    number = 1 if image.info.get("default_image") else 0
    frames: list[DecodedImage] = []
    pixels = 0
    while True:
        try:
            image.seek(number)
        except EOFError:
            break
        pixels += image.width * image.height
        check_frames(len(frames) + 1, pixels, path, target.options.maximum_pixels)
        image.load()
        frames.append(_upright(image, path, target)[0])
        number += 1
    return joined(frames, path)


@contextlib.contextmanager
def guarded(path: str, kind: str, max_pixels: int) -> Iterator[None]:
    """Run a decoder with Pillow's limits set, without its warnings, and convert its exceptions.

    Pillow's limits and Python's warning filters are global, so only one image is decoded at a time.
    Any exception of a decoder is taken for a damaged file.
    """
    from PIL import Image, ImageFile

    logging.getLogger("PIL").addHandler(_NO_HANDLER)
    with without_warnings(Image.DecompressionBombWarning):
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels, False
        try:
            yield
        except ActvizError:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            message = f"{path}: more than {max_pixels:,} pixels; give a smaller image or raise --max-pixels."
            raise LimitError(message) from None
        except MemoryError:
            raise LimitError(f"{path}: not enough memory to decode it; give a smaller image.") from None
        except Exception:  # noqa: BLE001  (a decoder may raise anything on a damaged file)
            raise InputError(f"{path}: the {kind} image is truncated or damaged; copy or save it again.") from None
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def open_image(content: bytes, kind: str) -> ImageFile:
    """Open an image with the decoder of its format only, which reads the header."""
    module, name = DECODERS[kind]
    image: ImageFile = getattr(importlib.import_module(module), name)(BytesIO(content))
    return image


def _open(content: bytes, kind: str, path: str, options: InputOptions) -> ImageFile:
    image = open_image(content, kind)
    check_pixels(image.size[::-1], path, options.maximum_pixels)
    if options.frame:
        try:
            image.seek(options.frame)
        except EOFError:
            raise no_frame(path, options.frame) from None
        check_pixels(image.size[::-1], path, options.maximum_pixels)
    return image


def check_pixels(size: tuple[int, int], path: str, limit: int) -> None:
    """Refuse an image of `size` (rows, columns) with more pixels than `limit` or with none, before it is decoded.

    Raises
    ------
    LimitError, InputError
        When it is refused.
    """
    rows, columns = size
    if rows * columns > limit:
        message = f"{path}: {rows:,} x {columns:,} pixels, at most {limit:,} in all are read; give a smaller image or raise --max-pixels."
        raise LimitError(message)
    if rows < 1 or columns < 1:
        raise InputError(f"{path}: the image has no pixels ({rows} x {columns}); give another.")


def check_frames(count: int, pixels: int, path: str, limit: int) -> None:
    """Refuse frames with more than `limit` pixels in total or more than `MAX_FRAMES` frames.

    Raises
    ------
    LimitError
        When they are refused.
    """
    check_count(count, MAX_FRAMES, "frames", path)
    if pixels > limit:
        message = f"{path}: its first {count:,} frames have {pixels:,} pixels, at most {limit:,} in all are read; give a shorter or smaller one, or raise --max-pixels."
        raise LimitError(message)


def no_frame(path: str, frame: int) -> InputError:
    """Return the error for an image without frame `frame`."""
    return InputError(f"{path}: there is no frame {frame}; the first is --frame 0.")


def frame_notes(path: str, frame: int) -> list[str]:
    """Return the note that only one frame of several is read."""
    return [f"{path}: it has several frames; frame {frame} is read (--frame N for another)."]


def damaged_notes(path: str) -> list[str]:
    """Return the note on an image whose EXIF block cannot be read."""
    return [f"{path}: its EXIF block is damaged, so it is read as not turned."]


def joined(frames: list[DecodedImage], path: str) -> DecodedImage:
    """Stack frames along a new first axis.

    Raises
    ------
    InputError
        When there is none, or they have different sizes.
    """
    if not frames:
        raise InputError(f"{path}: the image has no frame; give another.")
    sizes = list(dict.fromkeys(frame.values.shape for frame in frames))
    if len(sizes) > 1:
        (rows, columns), (others, across) = sizes[0][:2], sizes[1][:2]
        message = f"{path}: its frames have different sizes ({rows} x {columns} and {others} x {across}); one size for all was expected."
        raise InputError(message)
    notes = tuple(dict.fromkeys(note for frame in frames for note in frame.notes))
    return DecodedImage(np.stack([frame.values for frame in frames]), notes, frames[0].alpha)


def orientation_of(image: Image) -> tuple[int, bool]:
    """Return the EXIF orientation, 1 to 8, and whether the EXIF block is damaged."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  (a damaged block raises anything; the pixels are fine)
        return 1, True
    return (orientation if isinstance(orientation, int) else 1), False


def turned(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an array ``(row, column, band)`` transposed by an EXIF or TIFF orientation, 1 to 8."""
    quarters, mirrored = {
        2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)
    }.get(orientation, (0, False))  # fmt: skip
    rotated = np.rot90(values, quarters)
    return np.ascontiguousarray(rotated[:, ::-1] if mirrored else rotated)


def _upright(image: ImageFile, path: str, target: DecodeTarget) -> tuple[DecodedImage, bool]:
    """Return a frame as a viewer shows it, and whether its EXIF block is damaged.

    The values are float32 0..1 for gray of more than 8 bits, else uint8.

    Raises
    ------
    InputError
        When its bands cannot be converted.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        decoded = to_channels(_deep(image, path, target), target.channels, target.background, path)
    else:
        decoded = plain(image, path, target)
    orientation, damaged = orientation_of(image)
    return replace(decoded, values=turned(decoded.values, orientation)), damaged


def plain(image: Image, path: str, target: DecodeTarget) -> DecodedImage:
    """Return an image of at most 8 bits per band as gray or color, with or without alpha.

    CMYK is converted without a profile (red = 255 - cyan - black), CIELAB with its white point to
    sRGB; gray is 0.299 red + 0.587 green + 0.114 blue.

    Raises
    ------
    InputError
        When its bands cannot be converted.
    """
    channels = COLOR_CHANNELS if target.channels is None else target.channels
    if image.mode == "LAB":
        image = _from_lab(image)
    elif image.mode in {"La", "RGBa"}:
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    elif image.mode == "RGBX":
        image = image.convert("RGB")
    meaning = GREY if image.mode in {"1", "L", "LA"} else COLOR
    alpha = image.has_transparency_data
    count = (1 if meaning == GREY else COLOR_CHANNELS) + alpha
    check_channels(meaning, count=count, alpha=alpha, channels=channels, path=path)
    mode = {1: "L", 2: "LA", COLOR_CHANNELS: "RGB", _WITH_ALPHA: "RGBA"}[channels]
    keeps = mode in {"LA", "RGBA"}
    if alpha and not keeps:
        image = _blended(image.convert("RGBA"), target.background)
    elif image.mode == "P":
        image = image.convert("RGBA" if alpha else "RGB")
    values = np.asarray(image if image.mode == mode else image.convert(mode))
    return DecodedImage(values[:, :, None] if values.ndim == 2 else values, alpha=keeps)  # noqa: PLR2004  (row, column)


def _blended(image: Image, background: tuple[int, int, int]) -> Image:
    from PIL import Image as pillow  # noqa: N813  (the module, not the class)

    ground = pillow.new("RGBA", image.size, (*background, 255))
    return pillow.alpha_composite(ground, image).convert("RGB")


def _from_lab(image: Image) -> Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:
        raise ValueError("the conversion gave no image")
    return converted


def _deep(image: ImageFile, path: str, target: DecodeTarget) -> Bands:
    """Return gray of more than 8 bits as float32 0..1, with alpha if the file declares a transparent value."""
    raw = np.asarray(image)
    grey = scaled(raw, 16, path)[:, :, None]
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return Bands(grey, GREY, alpha=False)
    if target.channels == 1 and len(set(target.background)) > 1:
        grey = grey.repeat(COLOR_CHANNELS, axis=2)
    opaque = np.where(raw == transparent, np.float32(0), np.float32(1))[:, :, None]
    return Bands(np.concatenate([grey, opaque], axis=2), GREY if grey.shape[2] == 1 else COLOR, alpha=True)


def scaled(raw: NDArray[Any], bits: int, path: str) -> NDArray[np.float32]:
    """Return samples of any bit depth as float32 0..1.

    Integers of `bits` bits are divided by their maximum: 255, 4,095 or 65,535. Those of more than 16
    bits, and signed ones, are taken for 16-bit values if they fit, as there is no convention for them.
    Floats must be in 0..1 (NaN and infinity are checked later, as in arrays).

    Raises
    ------
    InputError
        When a value is out of range.
    """
    if raw.dtype.kind == "f":
        low, high = _ends(raw[np.isfinite(raw)])
        if low < 0 or high > 1:
            message = f"{path}: a float image with values {low:g}..{high:g}, 0..1 was expected; scale it, or give it as .npy to have it fed as it is."
            raise InputError(message)
        return raw.astype(np.float32)
    top = 2**bits - 1 if bits <= 16 and raw.dtype.kind in "ub" else _SIXTEEN_BITS  # noqa: PLR2004  (see the docstring)
    low, high = _ends(raw)
    if low < 0 or high > top:
        message = f"{path}: whole numbers {low:.0f}..{high:.0f} are beyond 16 bits; save it as 16-bit, or give it as .npy to have it fed as it is."
        raise InputError(message)
    return (raw.astype(np.float64) / top).astype(np.float32)


def _ends(values: NDArray[Any]) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
