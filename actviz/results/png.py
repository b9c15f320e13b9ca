"""Pictures as PNG files: packed fast, by a library made for speed, in the same way every time."""

from __future__ import annotations

import functools
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from isal import isal_zlib

from actviz.results.provenance_json import dump_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"actviz"
END = b"\0\0\0\0IEND\xaeB`\x82"
LEVEL = 2
UP = 2
TRUE_COLOUR, INDEXED = 2, 3
BAND = 64
# Fewer rows that repeat are not worth a part of their own in the stream.
LONG = 10
ADLER = 65521
STRIPE = 2 << 20
# Fewer are not worth other threads: figures are packed beside each other anyway.
MANY_STRIPES = 8
ZLIB_HEADER = b"\x78\x01"


def encode_png(pixels: NDArray[Any], provenance: dict[str, Any], palette: NDArray[np.uint8] | None = None) -> bytes:
    """Encode a picture as PNG.

    Rows of colours are packed as they are: a colormap has few colours, which repeat. A row
    that is the same as the one above (enlarged pixels, margins) is filtered by the difference
    to it (PNG filter 2): nothing but zeros, which pack small and fast. Places in a palette are
    not filtered.

    Parameters
    ----------
    pixels
        uint8 ``(row, column, RGB)``, uint32 ``(row, column)`` in the form of `colors.packed`,
        or with a palette uint8 ``(row, column)`` of places in it.
    """
    import numpy as np

    height, width = pixels.shape[:2]
    if palette is None:
        packed = _packed_colours(pixels)
    else:
        rows = np.zeros((height, 1 + width), np.uint8)
        rows[:, 1:] = pixels
        packed = _packed(rows)
    text = dump_json(provenance)
    kind = TRUE_COLOUR if palette is None else INDEXED
    chunks = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
        _chunk(b"tEXt", KEYWORD + b"\0" + text),
    ]
    if palette is not None:
        chunks.append(_chunk(b"PLTE", palette.tobytes()))
    return b"".join((SIGNATURE, *chunks, _chunk(b"IDAT", packed), END))


def _packed_colours(pixels: NDArray[Any]) -> bytes:
    """Compress the rows of a picture, a zlib stream of the bytes that a PNG's are.

    Where a picture is large and its rows differ, stripes of them are packed on all cores.
    """
    import numpy as np

    height = len(pixels)
    flat = np.ascontiguousarray(pixels).reshape(height, -1)
    new = np.ones(height, dtype=bool)
    np.any(flat[1:] != flat[:-1], axis=1, out=new[1:])
    rows = _new_rows(flat, pixels.shape[1], np.flatnonzero(new))
    if rows.nbytes >= MANY_STRIPES * STRIPE:
        every = np.zeros((height, rows.shape[1]), np.uint8)
        every[~new, 0] = UP
        every[new] = rows
        return _packed(every)
    edges = [0, *(np.flatnonzero(new[1:] != new[:-1]) + 1).tolist(), height]
    return _packed_runs(rows, np.diff(edges).tolist())


def _new_rows(flat: NDArray[Any], width: int, places: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return some rows of a picture as they stand in a PNG, ``(row, byte)``, the first byte their filter."""
    import numpy as np

    rows = np.zeros((len(places), 1 + 3 * width), np.uint8)
    if flat.dtype == np.uint8:
        rows[:, 1:] = flat[places]
        return rows
    colors = np.empty((BAND, width, 3), np.uint8)
    # Colours are copied one by one, a band of rows that stays in the cache at a time.
    for start in range(0, len(places), BAND):
        band = flat[places[start : start + BAND]].view(np.uint8).reshape(-1, width, 4)
        for color in range(3):
            colors[: len(band), :, color] = band[..., color]
        rows[start : start + BAND, 1:] = colors[: len(band)].reshape(len(band), -1)
    return rows


def _packed_runs(rows: NDArray[np.uint8], runs: list[int]) -> bytes:
    """Compress runs of new rows and of rows that repeat, in turn, to one zlib stream.

    Parameters
    ----------
    rows
        The new rows, ``(row, byte)``.
    runs
        How many rows each run has; the first is of new ones.
    """
    across, content = rows.shape[1], rows.reshape(-1).data
    packer = _packer()
    parts, done, check = [ZLIB_HEADER], 0, 1
    for number, count in enumerate(runs):
        size = count * across
        if number % 2 == 0:
            part = content[done : done + size]
            parts.append(packer.compress(part))
            check = isal_zlib.adler32(part, check)
            done += size
            continue
        if count < LONG:
            parts.append(packer.compress(_same(across) * count))
        else:
            # What is packed later knows nothing of what stands before a full flush.
            parts += [packer.flush(isal_zlib.Z_FULL_FLUSH), _packed_same(across, count)]
        check = _check_same(check, across, count)
    return b"".join((*parts, packer.flush(), struct.pack(">I", check)))


def _same(across: int) -> bytes:
    """Return a row of so many bytes, its filter among them, that is the same as the one above."""
    return bytes((UP,)) + bytes(across - 1)


@functools.lru_cache(maxsize=256)
def _packed_same(across: int, count: int) -> bytes:
    """Compress rows that repeat, to be joined to other parts of a stream; margins are alike in many figures."""
    packer = _packer()
    return packer.compress(_same(across) * count) + packer.flush(isal_zlib.Z_FULL_FLUSH)


def _check_same(check: int, across: int, count: int) -> int:
    """Return the Adler-32 checksum of what `check` is that of and then rows that repeat.

    Its lower half is the sum of all bytes, its upper half that of all values of the lower
    half. Each row adds its filter to the first, and so many times the result to the second.
    """
    low, high = check & 0xFFFF, check >> 16
    high = (high + across * (count * low + UP * count * (count + 1) // 2)) % ADLER
    return high << 16 | (low + UP * count) % ADLER


def _packed(rows: NDArray[np.uint8]) -> bytes:
    """Compress to one zlib stream, stripe by stripe, many of them on all cores (the method of pigz).

    Each stripe but the last ends at a byte boundary (full flush), so that the stripes join;
    their size is fixed, so the result does not depend on the number of cores.
    """
    content = rows.reshape(-1).data
    stripes = [content[start : start + STRIPE] for start in range(0, len(content), STRIPE)] or [content]
    ends = [isal_zlib.Z_FULL_FLUSH] * (len(stripes) - 1) + [isal_zlib.Z_FINISH]
    if len(stripes) < MANY_STRIPES:
        packed = list(map(_stripe, stripes, ends))
    else:
        with ThreadPoolExecutor(min(os.cpu_count() or 1, len(stripes))) as pool:
            packed = list(pool.map(_stripe, stripes, ends))
    return b"".join((ZLIB_HEADER, *packed, struct.pack(">I", isal_zlib.adler32(content))))


def _stripe(content: memoryview, end: int) -> bytes:
    packer = _packer()
    return packer.compress(content) + packer.flush(end)


def _packer() -> isal_zlib.Compress:
    """Return what packs a raw stream, without the two bytes and the checksum around it."""
    return isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", isal_zlib.crc32(content, isal_zlib.crc32(kind)))
    )
