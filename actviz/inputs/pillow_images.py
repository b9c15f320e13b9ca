"""Images as Pillow decodes them: an allow-list of formats, within a limit of pixels.

An image is what a person sees in a viewer: turned as its EXIF block says, in front of a
stated background where it is transparent, in grey or in colour. Colour profiles are not
applied, as in the programs that networks are trained with.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import ActvizError, InputError, LimitError
from actviz.inputs.channels import COLOUR, COLOUR_CHANNELS, GREY, Bands, DecodedImage, check_channels, to_channels
from actviz.inputs.image_structure import MAX_FRAMES, too_many
from actviz.inputs.input_options import InputOptions, parse_colour
from actviz.system.warning_filters import without_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# The decoders that may see a file, by what `sniff.kind_of` says; Pillow has forty more.
DECODERS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
}
# Without a handler of its own Pillow's log goes to stderr; libtiff writes there itself.
_NO_HANDLER = logging.NullHandler()
_ORIENTATION = 0x0112
_SIXTEEN_BITS = 65_535
_WITH_ALPHA = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an image is decoded into.

    Parameters
    ----------
    channels
        How many the input takes; ``None``: any.
    frames
        Whether it takes frames or planes, so that all are decoded.
    options
        What was asked for.
    """

    channels: int | None
    frames: bool = False
    options: InputOptions = field(default_factory=InputOptions)

    @property
    def background(self) -> tuple[int, int, int]:
        """Red, green and blue, 0..255, of what shows through transparent pixels."""
        return parse_colour(self.options.background)


def decode(content: bytes, kind: str, path: str, wanted: Wanted) -> DecodedImage:
    """Decode an image file with Pillow; see `images.decode`."""
    with guarded(path, kind, wanted.options.maximum_pixels):
        image = _open(content, kind, path, wanted.options)
        if wanted.frames:
            return _decode_frames(image, path, wanted)
        return _decode_frame(image, path, wanted)


def _decode_frame(image: ImageFile, path: str, wanted: Wanted) -> DecodedImage:
    """Decode the frame that `_open` went to."""
    notes = frame_notes(path, wanted.options.frame) if getattr(image, "is_animated", False) else []
    image.load()
    turned, damaged = upright(image)
    notes += damaged_notes(path) if damaged else []
    found = channels_of(turned, image, path, wanted)
    return DecodedImage(found.values, (*notes, *found.notes), found.alpha)


def _decode_frames(image: ImageFile, path: str, wanted: Wanted) -> DecodedImage:
    """Decode all frames of an animation, or pages of a file, one size each."""
    # An animated PNG may begin with a picture for programs that show no animations.
    number = 1 if image.info.get("default_image") else 0
    found: list[DecodedImage] = []
    pixels = 0
    while True:
        try:
            image.seek(number)
        except EOFError:
            break
        pixels += image.width * image.height
        check_frames(len(found) + 1, pixels, path, wanted.options.maximum_pixels)
        image.load()
        found.append(channels_of(upright(image)[0], image, path, wanted))
        number += 1
    return joined(found, path)


@contextlib.contextmanager
def guarded(path: str, kind: str, max_pixels: int) -> Iterator[None]:
    """Run the decoder so that no setting of the process or text of Pillow's gets through.

    Pillow's limits are globals and Python's warning filters are too, so one image is
    decoded at a time. Whatever a decoder raises on a damaged file is that file's fault.
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
            message = f"{path}: not enough memory to decode it; give a smaller image."
            raise LimitError(message) from None
        except Exception:  # noqa: BLE001  (a decoder may raise anything on a damaged file)
            message = f"{path}: the {kind} image is truncated or damaged; copy or save it again."
            raise InputError(message) from None
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def open_image(content: bytes, kind: str) -> ImageFile:
    """Return an image whose header is read, by the decoder of its kind alone."""
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
    """Refuse an image of `size` (rows, columns) with more pixels than `limit`, or with none.

    Raises
    ------
    LimitError, InputError
        Before it is decoded.
    """
    rows, columns = size
    if rows * columns > limit:
        message = f"{path}: {rows:,} x {columns:,} pixels, at most {limit:,} in all are read; give a smaller image or raise --max-pixels."
        raise LimitError(message)
    if rows < 1 or columns < 1:
        message = f"{path}: the image has no pixels ({rows} x {columns}); give another."
        raise InputError(message)


def check_frames(count: int, pixels: int, path: str, limit: int) -> None:
    """Refuse frames that have more pixels than `limit` together, or are more than `MAX_FRAMES`.

    Raises
    ------
    LimitError
        Before they are decoded.
    """
    if count > MAX_FRAMES:
        raise too_many(path, f"more than {MAX_FRAMES:,}", "frames", MAX_FRAMES)
    if pixels > limit:
        message = f"{path}: its first {count:,} frames have {pixels:,} pixels, at most {limit:,} in all are read; give a shorter or smaller one, or raise --max-pixels."
        raise LimitError(message)


def no_frame(path: str, frame: int) -> InputError:
    """Return the error of an image without the frame that was asked for."""
    return InputError(f"{path}: there is no frame {frame}; the first is --frame 0.")


def frame_notes(path: str, frame: int) -> list[str]:
    """Return what is noted about an image of several frames of which one is read."""
    return [f"{path}: it has several frames; frame {frame} is read (--frame N for another)."]


def damaged_notes(path: str) -> list[str]:
    """Return what is noted about an image whose EXIF block cannot be read."""
    return [f"{path}: its EXIF block is damaged, so it is read as not turned."]


def joined(frames: list[DecodedImage], path: str) -> DecodedImage:
    """Return frames as one array, frame axis first.

    Raises
    ------
    InputError
        When they have different sizes.
    """
    if not frames:
        message = f"{path}: the image has no frame; give another."
        raise InputError(message)
    sizes = list(dict.fromkeys(frame.values.shape for frame in frames))
    if len(sizes) > 1:
        (rows, columns), (others, across) = sizes[0][:2], sizes[1][:2]
        message = f"{path}: its frames have different sizes ({rows} x {columns} and {others} x {across}); one size for all was expected."
        raise InputError(message)
    notes = tuple(dict.fromkeys(note for frame in frames for note in frame.notes))
    return DecodedImage(np.stack([frame.values for frame in frames]), notes, frames[0].alpha)


def orientation_of(image: Image) -> tuple[int, bool]:
    """Return the orientation that an EXIF block tells, 1 to 8, and whether the block is damaged."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  (a damaged block raises anything; the pixels are fine)
        return 1, True
    return (orientation if isinstance(orientation, int) else 1), False


def upright(image: Image) -> tuple[Image, bool]:
    """Return the image turned as its EXIF block says, and whether that block is damaged."""
    from PIL.Image import Transpose

    orientation, damaged = orientation_of(image)
    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return (image if turn is None else image.transpose(turn)), damaged


def turned(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return ``(row, column, band)`` turned by an orientation as EXIF and TIFF tell it; see `upright`."""
    quarters, mirrored = {
        2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)
    }.get(orientation, (0, False))  # fmt: skip
    found = np.rot90(values, quarters)
    return np.ascontiguousarray(found[:, ::-1] if mirrored else found)


def channels_of(image: Image, source: ImageFile, path: str, wanted: Wanted) -> DecodedImage:
    """Return a decoded image as channels: deep grey images as float 0..1, others as uint8.

    `source` is the image before it was turned.

    Raises
    ------
    InputError
        When no conversion of its bands is known.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return to_channels(_deep(image, source, path, wanted), wanted.channels, wanted.background, path)
    return plain(image, path, wanted)


def plain(image: Image, path: str, wanted: Wanted) -> DecodedImage:
    """Return an image of 8 bits a band or fewer as grey, grey with alpha, colour, or colour with alpha.

    CMYK is read as red = 255 - cyan - black and so on, without a profile; CIELAB goes
    through its defined white point to sRGB; grey is 0.299 red + 0.587 green + 0.114 blue.

    Raises
    ------
    InputError
        When no conversion of its bands is known.
    """
    channels = COLOUR_CHANNELS if wanted.channels is None else wanted.channels
    if image.mode == "LAB":
        image = _from_lab(image)
    elif image.mode in {"La", "RGBa"}:
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    elif image.mode == "RGBX":
        image = image.convert("RGB")
    meaning = GREY if image.mode in {"1", "L", "LA"} else COLOUR
    alpha = image.has_transparency_data
    count = (1 if meaning == GREY else COLOUR_CHANNELS) + alpha
    check_channels(meaning, count=count, alpha=alpha, channels=channels, path=path)
    mode = {1: "L", 2: "LA", COLOUR_CHANNELS: "RGB", _WITH_ALPHA: "RGBA"}[channels]
    keeps = mode in {"LA", "RGBA"}
    if alpha and not keeps:
        image = _laid_on(image.convert("RGBA"), wanted.background)
    elif image.mode == "P":
        image = image.convert("RGBA" if alpha else "RGB")
    values = np.asarray(image if image.mode == mode else image.convert(mode))
    return DecodedImage(values[:, :, None] if values.ndim == 2 else values, alpha=keeps)  # noqa: PLR2004  (row, column)


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


def _deep(image: Image, source: ImageFile, path: str, wanted: Wanted) -> Bands:
    """Return a grey image of more than 8 bits as float32 0..1, with alpha where one grey is transparent."""
    raw = np.asarray(image)
    grey = scaled(raw, 16, path)[:, :, None]
    clear = source.info.get("transparency")
    if not isinstance(clear, int):
        return Bands(grey, GREY, alpha=False)
    if wanted.channels == 1 and len(set(wanted.background)) > 1:
        grey = grey.repeat(COLOUR_CHANNELS, axis=2)
    opaque = np.where(raw == clear, np.float32(0), np.float32(1))[:, :, None]
    return Bands(np.concatenate([grey, opaque], axis=2), GREY if grey.shape[2] == 1 else COLOUR, alpha=True)


def scaled(raw: NDArray[Any], bits: int, path: str) -> NDArray[np.float32]:
    """Return samples of any depth as float32 0..1.

    Whole numbers of `bits` bits are divided by the largest that these hold: 255, 4,095,
    65,535. Those of more than 16 bits, and signed ones, count as 16-bit if they fit, since
    programs do not agree on what else they mean. Floats are taken as they are and must lie
    in 0..1 (NaN and infinity are judged later, with those of arrays).

    Raises
    ------
    InputError
        When a value is beyond its range.
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
