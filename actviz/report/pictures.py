"""Pictures for a page: mosaics of tiles, mosaics of some of the tiles, thumbnails."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from actviz.report.contents import ReportMosaic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import Tile

COMPRESSION_LEVEL = 5
MAXIMUM_COLORS = 256
GAP_GREY = 150
THUMBNAIL_TILES, THUMBNAIL_SIDE, THUMBNAIL_WIDTH = 3, 44, 140
MAXIMUM_INPUT_SIDE = 512


def encode(pixels: NDArray[np.uint8], known: NDArray[np.uint8] | None = None) -> bytes:
    """Return ``(row, column, RGB)`` uint8 as a PNG, with a palette where 256 colors are enough.

    `known`, ``(color, RGB)``, are its probable colors: looking them up is faster than finding them.
    """
    packed = _packed(pixels)
    palette, indices = _palette(packed, known)
    if len(palette) > MAXIMUM_COLORS:
        return _png(Image.fromarray(np.ascontiguousarray(pixels)))
    image = Image.fromarray(indices.reshape(packed.shape).astype(np.uint8), "P")
    image.putpalette(np.stack([palette >> 16, palette >> 8 & 255, palette & 255], axis=1).astype(np.uint8).tobytes())
    return _png(image)


def _packed(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    wide = colors.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], np.uint32)


def _palette(
    packed: NDArray[np.uint32], known: NDArray[np.uint8] | None
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the colors that occur, sorted, and the index of each pixel's color among them."""
    if known is not None:
        table = np.unique(_packed(known))
        nearest = np.minimum(np.searchsorted(table, packed.reshape(-1)), len(table) - 1)
        if np.array_equal(table[nearest], packed.reshape(-1)):
            used = np.bincount(nearest, minlength=len(table)) > 0
            return table[used], (np.cumsum(used) - 1)[nearest]
    colors, indices = np.unique(packed, return_inverse=True)
    return colors, indices


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=COMPRESSION_LEVEL)
    return content.getvalue()


def decode(png: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a PNG that `encode` wrote: ``(row, column, RGB)`` uint8."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def mosaic_of(pixels: NDArray[np.uint8], tiles: Sequence[Tile], known: NDArray[np.uint8] | None = None) -> ReportMosaic:
    """Return a picture without captions as a mosaic of its tiles; `known` as for `encode`.

    Raises
    ------
    ValueError
        When the tiles do not form a regular grid in reading order.
    """
    tops, lefts = ([tile.box[side] for tile in tiles] for side in (0, 1))
    first = tiles[0].box
    size = first[2] - first[0], first[3] - first[1]
    columns = next((index for index, top in enumerate(tops) if top != tops[0]), len(tiles))
    step = (
        tops[columns] - tops[0] if columns < len(tiles) else size[0],
        lefts[1] - lefts[0] if columns > 1 else size[1],
    )
    expected = [
        (first[0] + index // columns * step[0], first[1] + index % columns * step[1]) for index in range(len(tiles))
    ]
    if expected != list(zip(tops, lefts, strict=True)) or first[:2] != (0, 0):
        message = "tiles do not lie in a regular grid"
        raise ValueError(message)
    return ReportMosaic(encode(pixels, known), size, step, columns)


def boxes(mosaic: ReportMosaic, indices: Sequence[int]) -> list[tuple[slice, slice]]:
    """Return the ``(rows, columns)`` of tiles in the pixels of a mosaic."""
    origins = ((index // mosaic.columns * mosaic.step[0], index % mosaic.columns * mosaic.step[1]) for index in indices)
    return [(slice(top, top + mosaic.tile[0]), slice(left, left + mosaic.tile[1])) for top, left in origins]


def keep(mosaic: ReportMosaic, indices: Sequence[int]) -> ReportMosaic:
    """Return a mosaic of some of the tiles, in the order of `indices`."""
    pixels = decode(mosaic.png)
    columns = max(1, min(len(indices), math.ceil(math.sqrt(len(indices) * mosaic.step[0] / mosaic.step[1]))))
    rows = -(-len(indices) // columns)
    canvas = np.full((rows * mosaic.step[0], columns * mosaic.step[1], 3), 255, dtype=np.uint8)
    kept = ReportMosaic(b"", mosaic.tile, mosaic.step, columns)
    for new, old in zip(boxes(kept, range(len(indices))), boxes(mosaic, indices), strict=True):
        canvas[new] = pixels[old]
    return replace(kept, png=encode(canvas))


def thumbnail(mosaic: ReportMosaic, indices: Sequence[int]) -> bytes:
    """Return the first three tiles of `indices` side by side as a small PNG, subsampled where they are large.

    Tiles of one value or one column would show nothing alone; their thumbnail is the whole mosaic.
    """
    pixels = decode(mosaic.png)
    if min(mosaic.tile) == 1:
        steps = [
            max(1, -(-size // most))
            for size, most in zip(pixels.shape, (THUMBNAIL_SIDE, THUMBNAIL_WIDTH), strict=False)
        ]
        return encode(pixels[:: steps[0], :: steps[1]])
    step = max(1, -(-max(mosaic.tile) // THUMBNAIL_SIDE))
    parts = [pixels[box][::step, ::step] for box in boxes(mosaic, indices[:THUMBNAIL_TILES])]
    gap = np.full((parts[0].shape[0], max(1, parts[0].shape[1] // 16), 3), GAP_GREY, dtype=np.uint8)
    joined = [piece for part in parts for piece in (gap, part)][1:]
    return encode(np.concatenate(joined, axis=1))


def input_picture(picture: NDArray[np.uint8]) -> bytes:
    """Return the picture of an input, ``(row, column, RGB)`` uint8, as a PNG of at most 512 pixels a side."""
    rows, columns = picture.shape[:2]
    scale = min(1.0, MAXIMUM_INPUT_SIDE / max(rows, columns))
    if scale == 1.0:
        return encode(picture)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    image = Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.LANCZOS)
    return encode(np.asarray(image))
