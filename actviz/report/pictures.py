"""Pictures for a page: mosaics in few colours, smaller ones of them, thumbnails."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from actviz.report.contents import ReportMosaic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import Tile

LEVEL = 5
MOST_COLORS = 256
GAP = 150
THUMBNAIL_TILES, THUMBNAIL_SIDE = 3, 44
LARGEST_INPUT = 512
_WHITE = 0xFFFFFF


def encode(pixels: NDArray[np.uint8], known: NDArray[np.uint8] | None = None) -> bytes:
    """Return ``(row, column, RGB)`` uint8 as a PNG, with a palette where 256 colours are enough.

    `known`, ``(color, RGB)``, are colours that it probably consists of: then it is faster.
    """
    packed = _packed(pixels)
    found, places = _places(packed, known)
    if len(found) > MOST_COLORS:
        return _written(Image.fromarray(np.ascontiguousarray(pixels)))
    image = Image.fromarray(places.reshape(packed.shape).astype(np.uint8), "P")
    image.putpalette(np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8).tobytes())
    return _written(image)


def _packed(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    wide = colors.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], np.uint32)


def _places(
    packed: NDArray[np.uint32], known: NDArray[np.uint8] | None
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the colours that occur, in order, and the place among them of each pixel."""
    if known is not None:
        table = np.unique(_packed(known))
        nearest = np.minimum(np.searchsorted(table, packed.reshape(-1)), len(table) - 1)
        if np.array_equal(table[nearest], packed.reshape(-1)):
            used = np.bincount(nearest, minlength=len(table)) > 0
            return table[used], (np.cumsum(used) - 1)[nearest]
    colors, where = np.unique(packed, return_inverse=True)
    return colors, where


def _written(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=LEVEL)
    return content.getvalue()


def decode(png: bytes) -> NDArray[np.uint8]:
    """Return the pixels of what `encode` wrote: ``(row, column, RGB)`` uint8."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def mosaic_of(pixels: NDArray[np.uint8], tiles: Sequence[Tile], known: NDArray[np.uint8] | None = None) -> ReportMosaic:
    """Return a bare picture with its tiles as a mosaic; `known` as for `encode`.

    Raises
    ------
    ValueError
        When the tiles are not those of a regular grid in reading order.
    """
    tops, lefts = ([tile.box[side] for tile in tiles] for side in (0, 1))
    first = tiles[0].box
    size = first[2] - first[0], first[3] - first[1]
    columns = next((place for place, top in enumerate(tops) if top != tops[0]), len(tiles))
    step = (
        tops[columns] - tops[0] if columns < len(tiles) else size[0],
        lefts[1] - lefts[0] if columns > 1 else size[1],
    )
    expected = [
        (first[0] + place // columns * step[0], first[1] + place % columns * step[1]) for place in range(len(tiles))
    ]
    if expected != list(zip(tops, lefts, strict=True)) or first[:2] != (0, 0):
        message = "tiles do not lie in a regular grid"
        raise ValueError(message)
    return ReportMosaic(encode(pixels, known), size, step, columns)


def boxes(mosaic: ReportMosaic, places: Sequence[int]) -> list[tuple[slice, slice]]:
    """Return where tiles lie in the pixels of a mosaic: rows, then columns."""
    found = []
    for place in places:
        top, left = place // mosaic.columns * mosaic.step[0], place % mosaic.columns * mosaic.step[1]
        found.append((slice(top, top + mosaic.tile[0]), slice(left, left + mosaic.tile[1])))
    return found


def keep(mosaic: ReportMosaic, places: Sequence[int]) -> ReportMosaic:
    """Return a mosaic of some of the tiles, in the order of `places`."""
    pixels = decode(mosaic.png)
    columns = max(1, min(len(places), math.ceil(math.sqrt(len(places) * mosaic.step[0] / mosaic.step[1]))))
    rows = -(-len(places) // columns)
    canvas = np.full((rows * mosaic.step[0], columns * mosaic.step[1], 3), 255, dtype=np.uint8)
    kept = ReportMosaic(b"", mosaic.tile, mosaic.step, columns)
    for new, old in zip(boxes(kept, range(len(places))), boxes(mosaic, places), strict=True):
        canvas[new] = pixels[old]
    return ReportMosaic(encode(canvas), mosaic.tile, mosaic.step, columns)


def thumbnail(mosaic: ReportMosaic, places: Sequence[int]) -> bytes:
    """Return the first three of `places` beside each other as a small PNG, thinned out where they are large.

    Tiles of one value or one column would show nothing alone: then it is the whole mosaic.
    """
    pixels = decode(mosaic.png)
    if min(mosaic.tile) == 1:
        by = [max(1, -(-size // most)) for size, most in zip(pixels.shape, (THUMBNAIL_SIDE, 140), strict=False)]
        return encode(pixels[:: by[0], :: by[1]])
    by_tile = max(1, -(-max(mosaic.tile) // THUMBNAIL_SIDE))
    parts = [pixels[box][::by_tile, ::by_tile] for box in boxes(mosaic, places[:THUMBNAIL_TILES])]
    gap = np.full((parts[0].shape[0], max(1, parts[0].shape[1] // 16), 3), GAP, dtype=np.uint8)
    joined = [one for part in parts for one in (gap, part)][1:]
    return encode(np.concatenate(joined, axis=1))


def input_picture(picture: NDArray[np.uint8]) -> bytes:
    """Return what was fed, ``(row, column, RGB)`` uint8, as a PNG of at most 512 pixels a side."""
    rows, columns = picture.shape[:2]
    share = min(1.0, LARGEST_INPUT / max(rows, columns))
    if share == 1.0:
        return encode(picture)
    size = max(1, round(columns * share)), max(1, round(rows * share))
    image = Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.LANCZOS)
    return encode(np.asarray(image))
