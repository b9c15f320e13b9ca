"""Encode figures as PNG files: fast (ISA-L's deflate), and with the same bytes on every run."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from isal import isal_zlib

from actviz.results.provenance_json import dump_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"actviz"
END = b"\0\0\0\0IEND\xaeB`\x82"

# Compression level of ISA-L, 0 to 3.
LEVEL = 2
# Filter types and color types of the PNG specification.
FILTER_UP = 2
TRUECOLOR, INDEXED = 2, 3
# Rows that are converted at a time, so that they stay in the processor's cache.
BAND = 64


def encode_png(
    pixels: NDArray[Any], provenance: dict[str, Any], palette: NDArray[np.uint8] | None = None, dpi: int | None = None
) -> bytes:
    """Encode an image as PNG.

    Parameters
    ----------
    pixels
        uint8 of shape ``(height, width, 3)``, uint32 of shape ``(height, width)`` as returned by
        `colors.pack_rgb`, or with `palette` uint8 indices of shape ``(height, width)``.
    provenance
        Stored as JSON in a ``tEXt`` chunk.
    palette
        RGB colors of an indexed image, uint8 of shape ``(colors, 3)``.
    dpi
        Pixels per inch, which sets the size in print and on slides.

    Returns
    -------
    bytes
        The file, identical for identical arguments.
    """
    import numpy as np

    height, width = pixels.shape[:2]
    if palette is None:
        rows = _filtered_rows(pixels)
    else:
        rows = np.zeros((height, 1 + width), np.uint8)
        rows[:, 1:] = pixels
    color_type = TRUECOLOR if palette is None else INDEXED
    chunks = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)),
        _chunk(b"tEXt", KEYWORD + b"\0" + dump_json(provenance)),
    ]
    if dpi is not None:
        per_meter = round(dpi / 0.0254)
        chunks.append(_chunk(b"pHYs", struct.pack(">IIB", per_meter, per_meter, 1)))
    if palette is not None:
        chunks.append(_chunk(b"PLTE", palette.tobytes()))
    # Not isal_zlib.compress, which was seen to give two streams for the same 288 bytes: it starts from what its
    # buffer held before, where a compressor object clears it.
    packer = isal_zlib.compressobj(LEVEL)
    chunks.append(_chunk(b"IDAT", packer.compress(rows.reshape(-1).data) + packer.flush()))
    return b"".join((SIGNATURE, *chunks, END))


def _filtered_rows(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the filter type and the bytes of each row, uint8 of shape ``(height, 1 + 3 * width)``.

    Rows that equal the row above (enlarged pixels, margins) get filter "up", which leaves zeros;
    the others stay unfiltered, because colormaps yield few colors, which repeat.
    """
    import numpy as np

    height, width = pixels.shape[:2]
    source = np.ascontiguousarray(pixels).reshape(height, -1)
    is_new = np.ones(height, dtype=bool)
    np.any(source[1:] != source[:-1], axis=1, out=is_new[1:])
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[~is_new, 0] = FILTER_UP
    new_rows = np.flatnonzero(is_new)
    if source.dtype == np.uint8:
        rows[new_rows, 1:] = source[new_rows]
        return rows
    channels = np.empty((BAND, width, 3), np.uint8)
    # Copying one channel at a time is faster than slicing [..., :3], whose inner loop has 3 steps.
    for start in range(0, len(new_rows), BAND):
        indices = new_rows[start : start + BAND]
        band = source[indices].view(np.uint8).reshape(-1, width, 4)
        for channel in range(3):
            channels[: len(band), :, channel] = band[..., channel]
        rows[indices, 1:] = channels[: len(band)].reshape(len(band), -1)
    return rows


def _chunk(chunk_type: bytes, content: bytes) -> bytes:
    checksum = isal_zlib.crc32(content, isal_zlib.crc32(chunk_type))
    return struct.pack(">I", len(content)) + chunk_type + content + struct.pack(">I", checksum)
