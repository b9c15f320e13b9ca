"""Image files as pictures: decoded by an allow-list of formats, within a limit of pixels.

A `Picture` here is what a person sees in a viewer: turned as its EXIF block says, laid on
a stated background where it is transparent, in grey or in colour. Colour profiles are not
applied, as in the programs that networks are trained with.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz import system
from actviz.errors import ActvizError, InputError, LimitError
from actviz.inputs.options import parse_colour
from actviz.system import without_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

    from actviz.inputs.options import InputOptions

# The decoders that may see a file, by what `sniff.kind_of` says; Pillow has forty more.
DECODERS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
}
# A file that ends before its end mark was cut, even if enough is left to fill all rows.
_END_MARKS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
# Without a handler of its own Pillow's log goes to stderr; libtiff writes there itself.
_NO_HANDLER = logging.NullHandler()
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_SIXTEEN_BITS = 65_535


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as it is seen: ``(row, column, channel)``, uint8 0..255 or float32 0..1.

    `notes` say what a person would want to know about how it was read.
    """

    values: NDArray[np.uint8] | NDArray[np.float32]
    notes: tuple[str, ...] = ()


def decode(content: bytes, kind: str, path: str, channels: int, options: InputOptions) -> Decoded:
    """Decode an image file into `channels` channels: 1 grey, 3 colour, 4 with alpha.

    Raises
    ------
    InputError
        When the file is truncated or damaged, or has no such frame.
    LimitError
        When it has more pixels than `options` allow; nothing is decoded then.

    """
    end_mark = _END_MARKS.get(kind)
    if end_mark is not None and end_mark not in content:
        message = f"{path}: the {kind} image is truncated (no end mark); copy or save it again."
        raise InputError(message)
    with _guarded(path, kind, options.maximum_pixels):
        image = _open(content, kind, path, options)
        notes = _frame_notes(image, path, options.frame)
        image.load()
        upright, damaged = _upright(image)
        if damaged:
            notes.append(f"{path}: its EXIF block is damaged, so it is read as not turned.")
        values = _values(upright, image, path, channels, options)
    return Decoded(values, tuple(notes))


@contextlib.contextmanager
def _guarded(path: str, kind: str, max_pixels: int) -> Iterator[None]:
    """Run the decoder so that no setting of the process or text of Pillow's gets through.

    Pillow's limits are globals and Python's warning filters are too, so one image is
    decoded at a time. Whatever a decoder raises on a damaged file is that file's fault.
    """
    from PIL import Image, ImageFile

    logging.getLogger("PIL").addHandler(_NO_HANDLER)
    silence = system.native_silence if kind == "TIFF" else contextlib.nullcontext
    with without_warnings(Image.DecompressionBombWarning), silence():
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
            message = f"{path}: not enough memory to decode it; give a smaller image."
            raise LimitError(message) from None
        except Exception:  # noqa: BLE001  (a decoder may raise anything on a damaged file)
            message = f"{path}: the {kind} image is truncated or damaged; copy or save it again."
            raise InputError(message) from None
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _open(content: bytes, kind: str, path: str, options: InputOptions) -> ImageFile:
    module, name = DECODERS[kind]
    image: ImageFile = getattr(importlib.import_module(module), name)(BytesIO(content))
    _check_pixels(image, path, options.maximum_pixels)
    if options.frame:
        try:
            image.seek(options.frame)
        except EOFError:
            message = f"{path}: there is no frame {options.frame}; the first is --frame 0."
            raise InputError(message) from None
        _check_pixels(image, path, options.maximum_pixels)
    return image


def _check_pixels(image: Image, path: str, limit: int) -> None:
    columns, rows = image.size
    if rows * columns > limit:
        message = f"{path}: {rows:,} x {columns:,} pixels, at most {limit:,} in all are read; give a smaller image or raise --max-pixels."
        raise LimitError(message)
    if rows < 1 or columns < 1:
        message = f"{path}: the image has no pixels ({rows} x {columns}); give another."
        raise InputError(message)


def _frame_notes(image: ImageFile, path: str, frame: int) -> list[str]:
    if not getattr(image, "is_animated", False):
        return []
    return [f"{path}: it has several frames; frame {frame} is read (--frame N for another)."]


def _upright(image: Image) -> tuple[Image, bool]:
    """Return the image turned as its EXIF block says, and whether that block is damaged."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  (a damaged block raises anything; the pixels are fine)
        return image, True
    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation if isinstance(orientation, int) else 1)
    return (image if turn is None else image.transpose(turn)), False


def _values(
    image: Image, source: ImageFile, path: str, channels: int, options: InputOptions
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Return ``(row, column, channel)``: deep grey images as float 0..1, others as uint8."""
    if image.mode == "F" or image.mode.startswith("I"):
        background = parse_colour(options.background)
        return _deep(image, source, path, channels, background)
    seen = _plain(image, channels, parse_colour(options.background))
    values = np.asarray(seen)
    return values[:, :, None] if values.ndim == 2 else values  # noqa: PLR2004  (row, column)


def _plain(image: Image, channels: int, background: tuple[int, int, int]) -> Image:
    """Convert an image of 8 bits a channel or fewer to L, RGB or RGBA.

    CMYK is read as red = 255 - cyan - black and so on, without a profile; CIELAB goes
    through its defined white point to sRGB; grey is 0.299 red + 0.587 green + 0.114 blue.
    """
    wanted = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    if image.mode == "LAB":
        image = _from_lab(image)
    elif image.mode in {"La", "RGBa"}:
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    elif image.mode == "RGBX":
        image = image.convert("RGB")
    if wanted != "RGBA" and image.has_transparency_data:
        image = _laid_on(image.convert("RGBA"), background)
    elif image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image if image.mode == wanted else image.convert(wanted)


def _laid_on(image: Image, background: tuple[int, int, int]) -> Image:
    from PIL import Image as pillow  # noqa: N813  (the module, not the class)

    ground = pillow.new("RGBA", image.size, (*background, 255))
    return pillow.alpha_composite(ground, image).convert("RGB")


def _from_lab(image: Image) -> Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:
        message = "the conversion gave no image"
        raise ValueError(message)
    return converted


def _deep(
    image: Image,
    source: ImageFile,
    path: str,
    channels: int,
    background: tuple[int, int, int],
) -> NDArray[np.float32]:
    """Return a 12-, 16- or 32-bit grey image as float32 0..1, ``(row, column, channel)``.

    16 bits are divided by 65,535, 12 bits by 4,095. 32-bit whole numbers count as 16-bit
    if they fit; nobody agrees what else they mean. Floats are taken as they are and must
    lie in 0..1 (NaN and infinity are judged later, with those of arrays).
    """
    raw = np.asarray(image)
    tags: Any = getattr(source, "tag_v2", {})
    if image.mode == "F":
        finite = raw[np.isfinite(raw)]
        low, high = _ends(finite)
        if low < 0 or high > 1:
            message = f"{path}: a float image with values {low:g}..{high:g}, 0..1 was expected; scale it, or give it as .npy to have it fed as it is."
            raise InputError(message)
        grey = raw.astype(np.float32)
    else:
        top = 4_095 if tags.get(_BITS_PER_SAMPLE) == (12,) else _SIXTEEN_BITS
        low, high = _ends(raw)
        if low < 0 or high > top:
            message = f"{path}: whole numbers {low:.0f}..{high:.0f} are beyond 16 bits; save it as 16-bit, or give it as .npy to have it fed as it is."
            raise InputError(message)
        grey = (raw.astype(np.float64) / top).astype(np.float32)
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            grey = np.float32(1) - grey
    clear = source.info.get("transparency")
    hidden = raw == clear if isinstance(clear, int) else np.zeros(raw.shape, bool)
    colour = np.repeat(grey[:, :, None], 3 if hidden.any() else 1, axis=2)
    if channels < 4:  # noqa: PLR2004  (a fourth channel keeps the alpha instead)
        colour[hidden] = np.array(background, np.float32)[: colour.shape[2]] / 255
    return _in_channels(colour, hidden, channels)


def _in_channels(colour: NDArray[np.float32], hidden: NDArray[np.bool_], channels: int) -> NDArray[np.float32]:
    if channels == 1:
        if colour.shape[2] == 1:
            return colour
        weights = np.array([0.299, 0.587, 0.114])
        grey: NDArray[np.float32] = (colour.astype(np.float64) @ weights).astype(np.float32)
        return grey[:, :, None]
    three = colour if colour.shape[2] == 3 else np.repeat(colour, 3, axis=2)  # noqa: PLR2004  (RGB)
    if channels == 3:  # noqa: PLR2004  (RGB)
        return three
    alpha = np.where(hidden, np.float32(0), np.float32(1))[:, :, None]
    return np.concatenate([three, alpha], axis=2)


def _ends(values: NDArray[Any]) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
