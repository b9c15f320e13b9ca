"""Decode TIFF files with tifffile, or with Pillow if they use a color space.

tifffile reads bands for which Pillow has no mode: several of 16 bits or floats, more than four,
planar or interleaved, in strips or tiles. Pillow converts palettes, CMYK, CIELAB and YCbCr.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError, LimitError
from actviz.inputs import pillow_images
from actviz.inputs.channels import BANDS, COLOR, COLOR_CHANNELS, GREY, Bands, DecodedImage, to_channels
from actviz.inputs.image_structure import check_tiff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tifffile import TiffFile, TiffPage

    from actviz.inputs.pillow_images import DecodeTarget

MAX_BYTES = 2 << 30  # of a decompressed page
_ORIENTATION = 274
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
# These and the other photometric interpretations that are bands: masks, raw sensor data, depth maps.
_BANDS = frozenset({_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, 4, 32803, 34892, 51177})
_UNSPECIFIED, _ASSOCIATED = 0, 1
# None, CCITT, LZW, JPEG, deflate (two codes), PackBits, LZMA, Zstandard (two codes) and WebP: the common
# ones of the forty that imagecodecs supports.
_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 34926, 50000, 50001})
_BYTE = 8


def decode(content: bytes, path: str, target: DecodeTarget) -> DecodedImage:
    """Decode a TIFF file; see `images.decode`."""
    check_tiff(content, path)
    with pillow_images.guarded(path, "TIFF", target.options.maximum_pixels):
        import tifffile

        with tifffile.TiffFile(BytesIO(content)) as file:
            # Reduced copies and masks are not counted as pages.
            pages = [page.aspage() for page in file.pages]
            pages = [page for page in pages if not page.subfiletype & 5] or pages  # reduced: 1, mask: 4
            if int(pages[0].photometric) not in _BANDS:
                return pillow_images.decode(content, "TIFF", path, target)
            stacked = _stacked(file, pages)
            if target.frames:
                return _frames(pages, stacked, path, target)
            return _selected(pages, stacked, path, target)


def _selected(pages: Sequence[TiffPage], stacked: int, path: str, target: DecodeTarget) -> DecodedImage:
    """Return the page that the options select."""
    number = target.options.frame
    count = stacked if len(pages) == 1 else len(pages)
    if number >= count:
        raise pillow_images.no_frame(path, number)
    page = _decoded(pages[number] if number < len(pages) else pages[0], path, target, number if stacked > 1 else 0)
    notes = pillow_images.frame_notes(path, number) if count > 1 else []
    return DecodedImage(page.values, (*notes, *page.notes), page.alpha)


def _frames(pages: Sequence[TiffPage], stacked: int, path: str, target: DecodeTarget) -> DecodedImage:
    """Return all pages, or all planes of a single page."""
    frames, pixels = [], 0
    for number in range(stacked if len(pages) == 1 else len(pages)):
        page = pages[min(number, len(pages) - 1)]
        pixels += page.imagelength * page.imagewidth
        pillow_images.check_frames(number + 1, pixels, path, target.options.maximum_pixels)
        frames.append(_decoded(page, path, target, number if stacked > 1 else 0))
    return pillow_images.joined(frames, path)


def _stacked(file: TiffFile, pages: Sequence[TiffPage]) -> int:
    """Return the number of planes of a single page: ImageJ describes large stacks by one page."""
    if len(pages) > 1:
        return 1
    if pages[0].imagedepth > 1:
        return int(pages[0].imagedepth)
    return int((file.imagej_metadata or {}).get("images", 1)) if file.is_imagej else 1


def _decoded(page: TiffPage, path: str, target: DecodeTarget, plane: int) -> DecodedImage:
    _check(page, path, target)
    return _in_channels(page, _samples(page, path, plane), path, target)


def _check(page: TiffPage, path: str, target: DecodeTarget) -> None:
    """Refuse a page by the sizes and codes in its directory, before it is decompressed."""
    pillow_images.check_pixels((page.imagelength, page.imagewidth), path, target.options.maximum_pixels)
    size = np.dtype(page.dtype or np.uint8).itemsize
    chunk = int(np.prod(page.chunks, dtype=object)) * size
    if max(page.nbytes, chunk) > MAX_BYTES:
        raise LimitError(
            f"{path}: {max(page.nbytes, chunk):,} bytes unpacked, at most {MAX_BYTES:,} are read; give a smaller image."
        )
    if int(page.compression) not in _COMPRESSIONS or page.dtype is None:
        message = f"{path}: the TIFF image is compressed or stored in a way that is not read ({page.compression!s}, {page.bitspersample} bits); save it again uncompressed or with deflate."
        raise InputError(message)


def _samples(page: TiffPage, path: str, plane: int) -> NDArray[Any]:
    """Return the samples of a page or of one of its planes, ``(row, column, band)``."""
    if plane and page.imagedepth == 1:  # the planes of ImageJ follow the first, uncompressed
        size, start = page.nbytes, page.dataoffsets[0] + plane * page.nbytes
        page.parent.filehandle.seek(start)
        raw = page.parent.filehandle.read(size)
        if len(raw) != size:
            raise InputError(f"{path}: the TIFF image is truncated in its plane {plane}; copy or save it again.")
        values = np.frombuffer(raw, np.dtype(page.dtype).newbyteorder(page.parent.byteorder)).reshape(page.shape)
    else:
        values = page.asarray(maxworkers=1)
    axes = page.axes
    if "Z" in axes:
        values, axes = values.take(plane, axes.index("Z")), axes.replace("Z", "")
    if "S" not in axes:
        return values[:, :, None]
    return np.moveaxis(values, axes.index("S"), 2)


def _in_channels(page: TiffPage, samples: NDArray[Any], path: str, target: DecodeTarget) -> DecodedImage:
    """Return the samples of a page as the channels of an input."""
    extra = tuple(map(int, page.extrasamples))
    # Several alpha bands, or one that is not the last, are read like other bands.
    alpha = bool(extra) and extra[-1] != _UNSPECIFIED and not any(extra[:-1])
    count = samples.shape[2] - alpha
    kind = int(page.photometric)
    # Some writers do not declare extra samples; they are read like other bands.
    expected, name = (COLOR_CHANNELS, COLOR) if kind == _RGB else (1, GREY)
    meaning = name if count == expected else BANDS
    values = _scaled(page, samples, path, alpha=alpha)
    tag = page.tags.get(_ORIENTATION)
    values = pillow_images.turned(values, tag.value if tag is not None and isinstance(tag.value, int) else 1)
    if alpha and extra[-1] == _ASSOCIATED:
        values = _divided(values)
    if values.dtype == np.uint8 and meaning in {GREY, COLOR}:
        return _by_pillow(values, path, target)
    return to_channels(Bands(values, meaning, alpha), target.channels, target.background, path)


def _scaled(page: TiffPage, samples: NDArray[Any], path: str, *, alpha: bool) -> NDArray[Any]:
    """Return samples as uint8 0..255 if they have 1, 2, 4 or 8 bits, else as float32 0..1."""
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    if samples.dtype.kind == "b":
        samples, bits = samples.astype(np.uint8), 1
    if samples.dtype == np.uint8 and 255 % (2**bits - 1) == 0:
        values: NDArray[Any] = samples * np.uint8(255 // (2**bits - 1))
    else:
        values = pillow_images.scaled(samples, min(bits, samples.dtype.itemsize * _BYTE), path)
    if int(page.photometric) == _WHITE_IS_ZERO:
        color = values.shape[2] - alpha
        values = values.copy()
        values[:, :, :color] = (255 if values.dtype == np.uint8 else np.float32(1)) - values[:, :, :color]
    return values


def _divided(values: NDArray[Any]) -> NDArray[Any]:
    """Convert premultiplied alpha to straight alpha as Pillow does."""
    full = 255 if values.dtype == np.uint8 else 1
    alpha = values[:, :, -1:].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        straight = np.where(alpha > 0, np.minimum(values[:, :, :-1] * np.float32(full) / alpha, full), 0)
    if values.dtype == np.uint8:
        straight = straight.astype(np.uint8)  # truncated as in Pillow
    return np.concatenate([straight.astype(values.dtype), values[:, :, -1:]], axis=2)


def _by_pillow(values: NDArray[np.uint8], path: str, target: DecodeTarget) -> DecodedImage:
    """Convert gray or color of 8 bits with Pillow, as for other formats."""
    from PIL import Image

    flat = np.ascontiguousarray(values[:, :, 0] if values.shape[2] == 1 else values)
    mode = {1: "L", 2: "LA", COLOR_CHANNELS: "RGB", COLOR_CHANNELS + 1: "RGBA"}[values.shape[2]]
    return pillow_images.plain(Image.frombytes(mode, (values.shape[1], values.shape[0]), flat.tobytes()), path, target)
