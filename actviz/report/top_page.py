"""The strongest inputs of layers as one HTML file that loads nothing else.

`top.html` is a Jinja template, as that of the report. All rows are plain HTML; the script `top.js` filters and sorts
them, and shows the whole input with the box of a crop.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from actviz.figures import strongest_page, text
from actviz.report import data, html_page, pictures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.figures.strongest_page import StrongestPage, StrongestRow, StrongestTile

WHOLE_SIDE = 320
LOSSLESS_SIDE = 64
"""Larger pictures are JPEG: as PNG, 128 x 128 pixels of a photograph take 30 KB instead of 5."""
_QUALITY = 85
_BARS, _BARS_WIDTH = 46, 110


@dataclass(frozen=True, slots=True)
class WholeInput:
    """The whole picture of an input as a ``data:`` URI; its size is that of the input as fed."""

    uri: str
    width: int
    height: int


def whole_input(picture: NDArray[np.uint8]) -> WholeInput:
    """Return a picture ``(row, column, RGB)``, reduced to `WHOLE_SIDE`."""
    rows, columns = picture.shape[:2]
    return WholeInput(_uri(picture), columns, rows)


def render(
    pages: Sequence[StrongestPage], wholes: Mapping[str, WholeInput], provenance: Mapping[str, Any], title: str
) -> bytes:
    """Return the page as UTF-8, one section for each layer."""
    return html_page.render_template(
        "top.html",
        styles=("page.css", "top.css"),
        scripts=("theme.js", "top.js"),
        provenance=provenance,
        title=title,
        inputs=pages[0].heading.context.input,
        layers=[_layer(page) for page in pages],
        island={key: [whole.uri, whole.width, whole.height] for key, whole in wholes.items()},
        bars=(_BARS_WIDTH, _BARS),
    )


def _layer(page: StrongestPage) -> dict[str, Any]:
    head, shown = page.heading, strongest_page.shown_bins(page)
    scaled = iter(
        strongest_page.scaled([tile.picture for row in page.rows for tile in row.tiles if tile.picture is not None])
    )
    return {
        "address": head.address,
        "about": f"{head.kind} {head.sizes}".strip(),
        "caption": page.caption,
        "ends": strongest_page.ends_of(shown),
        "rows": [_row(row, shown, head.address, [_tile(tile, scaled) for tile in row.tiles]) for row in page.rows],
    }


def _row(row: StrongestRow, shown: range, address: str, tiles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counts = row.histogram[shown.start : shown.stop]
    heights = np.where(counts > 0, np.maximum(1, np.rint(_BARS * counts / max(1, int(counts.max())))), 0).astype(int)
    edges = np.rint(np.linspace(0, _BARS_WIDTH, len(counts) + 1)).astype(int).tolist()
    bars = [
        (left, _BARS - height, max(1, right - left - 1), height)
        for left, right, height in zip(edges[:-1], edges[1:], heights.tolist(), strict=True)
        if height
    ]
    low = row.title.endswith("lowest")
    return {
        "key": data.key_of(f"{address}:{row.channel}{':low' if low else ''}"),
        "channel": row.channel,
        "title": row.title,
        "notes": row.notes,
        "share": f"{row.share:.6g}",
        "value": f"{row.tiles[0].strength:.6g}" if row.tiles else "",
        "bars": bars,
        "tiles": tiles,
    }


def _tile(tile: StrongestTile, scaled: Any) -> dict[str, Any]:
    picture = next(scaled) if tile.picture is not None else None
    return {
        "uri": "" if tile.picture is None else _uri(tile.picture, most=strongest_page.LARGEST),
        "size": (0, 0) if picture is None else picture.shape[1::-1],
        "value": text.number(tile.strength),
        "name": tile.name,
        "place": tile.place,
        "words": [(word, index == tile.marked) for index, word in enumerate(tile.words)],
        "whole": tile.whole,
        "box": "" if tile.box is None else " ".join(map(str, tile.box)),
    }


def _uri(picture: NDArray[np.uint8], most: int = WHOLE_SIDE) -> str:
    """Return a picture, reduced to `most` pixels along its longer side, as a ``data:`` URI."""
    rows, columns = picture.shape[:2]
    side = max(rows, columns)
    if side <= LOSSLESS_SIDE:
        return data.png_uri(pictures.encode(picture))
    image = Image.fromarray(np.ascontiguousarray(picture))
    if side > most:
        size = max(1, round(columns * most / side)), max(1, round(rows * most / side))
        image = image.resize(size, Image.Resampling.BOX)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{data.base64_of(content.getvalue())}"
