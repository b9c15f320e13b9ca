"""The channels of a layer as a few parts: all of them over the input in colors, and the map of each.

::

    [ parts over the input ]   [part 0] filters 3, 17, 40
                               [part 1] filters 8, 2, 11
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError
from actviz.figures import colors, mosaic, page_layout, text
from actviz.figures.canvas import check_size, theme_of
from actviz.figures.renderers import captions, overlay, spatial
from actviz.figures.renderers.overlay_blend import DARK, Overlay
from actviz.records import Picture, Tile
from actviz.statistics import channel_statistics
from actviz.statistics.factorization import Factors, factorize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Activation, Context, Style

NAME = re.compile(r"nmf:([2-9]|1[0-2])")
# Light enough on black; neighbours differ in hue, also for most color-blind readers.
_COLORS = np.array(
    [
        (86, 180, 233), (230, 159, 0), (0, 190, 130), (240, 228, 66), (213, 94, 0), (204, 121, 167),
        (120, 120, 255), (170, 220, 60), (255, 110, 110), (0, 200, 200), (220, 170, 255), (200, 160, 120),
    ],
    dtype=np.float64,
)  # fmt: skip
_SOLID, _POWER = 0.9, 0.6
_WHOLE_SIDE = 700
_SIDE, _GAP, _TEXT_WIDTH, _STRONGEST, _FONT_SIZE = 84, 10, 190, 4, 12


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw one entry of the batch as parts.

    Raises
    ------
    UsageError
        If the layer has no maps for each channel, or negative or non-finite values, or the style does not apply.
    """
    maps, channels = _maps(activation, index, style)
    found = NAME.fullmatch(style.reduce or "")
    count = int(found[1]) if found else 0
    flat = maps.reshape(len(maps), -1).T
    if not found or count > min(flat.shape):
        most = min(12, *flat.shape)
        raise UsageError(
            f"--reduce {style.reduce}: layer {activation.address!r} has at most {most} parts; use nmf:2 to nmf:{most}."
        )
    factors = factorize(flat, count)
    weights = factors.weights.T.reshape(count, *maps.shape[1:])
    over = _overlay(activation, context, style)
    sizes = over.sizes if over is not None else (maps.shape[1], maps.shape[2])
    zoom = style.zoom or max(1, _WHOLE_SIDE // max(sizes))
    whole = sizes[0] * zoom, sizes[1] * zoom
    check_size(*whole)
    factor = min(_SIDE / weights.shape[1], _SIDE / weights.shape[2])
    tile = tuple(max(1, round(size * factor)) for size in weights.shape[1:])
    size = max(whole[0], count * (tile[0] + _GAP) - _GAP), whole[1] + 2 * _GAP + tile[1] + _GAP + _TEXT_WIDTH
    note = f"{count} parts of {len(maps)} filters"
    layout = page_layout.PageLayout(
        captions.heading(activation, replace(context, reduced=note)),
        None,
        _caption(factors, over, weights.shape[1:]),
        *size,
    )
    canvas, top, left = page_layout.open_page(layout, theme_of(dark=style.dark))
    canvas.pixels[top : top + whole[0], left : left + whole[1]] = _blended(weights, over, whole)
    font, tiles = text.get_font(_FONT_SIZE), []
    for part, map_ in enumerate(weights):
        row, column = top + part * (tile[0] + _GAP), left + whole[1] + 2 * _GAP
        share = map_ / (map_.max() or 1.0)
        ramp = np.rint(share[..., None] * _COLORS[part]).astype(np.uint8)[
            np.ix_(*(_indices(n, m) for n, m in zip(map_.shape, tile, strict=True)))
        ]
        canvas.pixels[row : row + tile[0], column : column + tile[1]] = colors.pack_rgb(ramp)
        tiles.append(Tile(part, (row, column, row + tile[0], column + tile[1]), 0.0, float(map_.max()), "live"))
        order = np.argsort(-factors.parts[part], kind="stable")[:_STRONGEST]
        strongest = [str(channels[channel]) for channel in order.tolist() if factors.parts[part, channel] > 0]
        begin = column + tile[1] + _GAP
        canvas.write(f"part {part}", row, begin, font, canvas.theme.ink)
        line = font.fit(f"filters {', '.join(strongest)}", _TEXT_WIDTH)
        canvas.write(line, row + font.height + 3, begin, font, canvas.theme.muted)
    return canvas.picture(tiles, _record(maps, channels, factors, note, style))


def _maps(activation: Activation, index: int, style: Style) -> tuple[NDArray[Any], list[int]]:
    """Return the selected maps ``(channel, row, column)`` of one entry of the batch, and their numbers."""
    name = activation.address
    if not spatial.accepts(activation.axes) or "channel" not in activation.axes:
        raise UsageError(
            f"layer {name!r} has no maps for each channel, which --reduce nmf needs; choose another layer."
        )
    if style.scale != "auto" or style.bare or style.histogram:
        raise UsageError("--reduce nmf has colors of its own; leave out --scale, --bare and --histogram.")
    maps = spatial.maps_of(activation, index)
    numbers = channel_statistics.statistics(maps)
    channels = channel_statistics.order(numbers, mosaic.parse_channels(style.channels, len(maps)), style.measure)
    channels = mosaic.keep_top(channels, style.top)
    maps = maps[channels]
    if not np.isfinite(maps).all() or maps.min() < 0:
        kind = "negative" if np.isfinite(maps).all() else "non-finite"
        raise UsageError(f"layer {name!r} has {kind} values; --reduce nmf needs values of 0 or more, as after a ReLU.")
    if not maps.any():
        raise UsageError(f"layer {name!r} is 0 everywhere on this input: there are no parts to draw.")
    return maps, channels


def _overlay(activation: Activation, context: Context, style: Style) -> Overlay | None:
    """Return the overlay on the input, ``None`` if the input is not a picture."""
    try:
        return overlay.overlay_for(activation, context, dark=style.dark)
    except UsageError:
        return None


def _blended(weights: NDArray[np.float64], over: Overlay | None, sizes: tuple[int, int]) -> NDArray[np.uint32]:
    """Return the packed pixels of all parts over the input: the mean of their colors, by weight."""
    if over is None:
        rows, columns = (_indices(count, length) for count, length in zip(weights.shape[1:], sizes, strict=True))
    else:
        rows, columns = over.positions((weights.shape[1], weights.shape[2]), sizes)
    inside = np.logical_and.outer(rows >= 0, columns >= 0)
    ground = np.full(sizes, DARK, np.float32) if over is None else over.ground(sizes, inside)
    here = weights[:, rows][:, :, columns]
    total = here.sum(axis=0)
    mixed = np.tensordot(here, _COLORS[: len(weights)], axes=(0, 0)) / np.maximum(total, 1e-300)[..., None]
    share = _SOLID * (total / (weights.sum(axis=0).max() or 1.0)) ** _POWER * inside
    pixels = ground[..., None] * (1 - share[..., None]) + mixed * share[..., None]
    return colors.pack_rgb(np.rint(pixels).astype(np.uint8))


def _indices(count: int, length: int) -> NDArray[np.int64]:
    return np.arange(length) * count // length


def _caption(factors: Factors, over: Overlay | None, sizes: tuple[int, ...]) -> tuple[str, ...]:
    held = f"non-negative factorization: the parts hold {factors.energy:.1%} of the energy (sum of squares)"
    how = "color: the mean of the parts by weight, opaque where they are strong; each map from 0 to its maximum"
    return (held, how, *(over.notes((sizes[0], sizes[1])) if over is not None else ()))


def _record(maps: NDArray[Any], channels: list[int], factors: Factors, note: str, style: Style) -> dict[str, Any]:
    """Return the record of the figure in the manifest."""
    record = channel_statistics.layer_numbers(maps, channel_statistics.statistics(maps))
    parts = [
        {"filters": [channels[i] for i in np.argsort(-part, kind="stable")[:_STRONGEST].tolist()]}
        for part in factors.parts
    ]
    return record | {
        "channels": len(maps), "shown": len(factors.parts), "sort": style.measure, "scale": "filter", "signed": False,
        "colormap": "", "invertible": False, "low": 0.0, "high": float(factors.weights.max()), "clipped": 0,
        "clipped_below": 0, "clipped_above": 0, "reduced": note, "energy": round(factors.energy, 6), "parts": parts,
    }  # fmt: skip
