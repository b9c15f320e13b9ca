"""Strips of frames: one block for each channel with its steps or planes side by side.

::

    0        0      1      2      3
    0..3.1   [    ] [    ] [    ] [    ]
    ===---
    1        0      1      2      3
    dead     [    ] [    ] [    ] [    ]

All frames of a channel have the same color limits, so that they can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from actviz.errors import UsageError
from actviz.figures import colors, mosaic, page_layout, text
from actviz.figures.canvas import check_size, theme_of
from actviz.figures.renderers import (
    batch_entry,
    captions,
    grid,
    padding,
    prepared_maps,
    range_labels,
    reduction,
    spatial,
)
from actviz.figures.renderers.overlay_blend import OVERLAY_NOTE
from actviz.figures.renderers.renderer_protocol import FILTER, MAP, SheetTiles
from actviz.records import Picture, Tile
from actviz.statistics import channel_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.figures.canvas import Canvas
    from actviz.figures.renderers.overlay_blend import Overlay
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Activation, Axes, Context, Style

PROJECTIONS = ("max",)

_FONT_SIZE, _NAME = 10, 12
_WIDEST = 1400
_GAP, _LABEL_GAP, _LINE_GAP, _BLOCK_GAP, _BETWEEN = 6, 2, 6, 14, 28
_STRENGTH, _GUTTER = 3, 40
_CLIP_AXES = 4


def maps_of(activation: Activation, index: int, along: str) -> NDArray[Any]:
    """Return one entry of the batch as ``(channel, along, row, column)``, contiguous."""
    return batch_entry.maps_in_order(activation, index, ("channel", along, "row", "column"))


@dataclass(frozen=True, slots=True)
class FramesRenderer:
    """The renderer of frames along an axis, ``step`` or ``plane``; see `Renderer`."""

    along: str

    def accepts(self, axes: Axes) -> bool:
        """Return True if the axes are `along`, row and column, with or without channels."""
        frame = (self.along, "row", "column")
        return axes[:1] == ("batch",) and sorted(axes[1:]) in (sorted(frame), sorted((*frame, "channel")))

    def channel_axes(self, axes: Axes) -> Axes:
        """Return the axis of channels, if there is one."""
        return ("channel",) if "channel" in axes else ()

    def draw(self, activation: Activation, index: int, context: Context, style: Style) -> Picture:
        """Draw the frames of each selected channel side by side."""
        return draw(activation, index, context, style, self.along)

    def sheet_tiles(self, activation: Activation, index: int) -> SheetTiles:
        """Return one tile for each channel: the value of largest magnitude over frames at each position."""
        masked = batch_entry.masked_steps(activation, index)
        maps, note = project(np.delete(maps_of(activation, index, self.along), masked, axis=1), self.along)
        note += f", {len(masked)} masked" if masked else ""
        return SheetTiles(maps, FILTER if "channel" in activation.axes else MAP, note, reduced=True)


def draw(  # noqa: PLR0913  (those of every renderer, the axis, and what lies below)
    activation: Activation, index: int, context: Context, style: Style, along: str, over: tuple[Overlay, ...] = ()
) -> Picture:
    """Draw each selected channel as a strip of frames along an axis, ``step`` or ``plane``.

    `over` is the overlay of each frame, if there is one.
    """
    frames = maps_of(activation, index, along)
    masked = batch_entry.masked_steps(activation, index)
    shown = batch_entry.unmasked_steps(activation, masked, frames.shape[1])
    if style.project is not None:
        return _draw_projection(activation, frames[:, shown], context, style, along)
    axes = (("channel", along) if "channel" in activation.axes else (along,), "row", "column")
    visible = frames[:, shown] if masked else frames
    maps = visible.reshape(len(frames), -1, frames.shape[3])
    prepared = prepared_maps.prepare(activation, maps, style, prepared_maps.scale_for(style, maps))
    frame_maps = _FrameMaps(prepared, frames.shape, shown, axes, over)
    if style.bare:
        return _draw_bare(frame_maps, style)
    plan = replace(_plan(frame_maps, style), clip=() if over else _clip(activation, context, frames.shape[1]))
    layout = page_layout.PageLayout(
        captions.heading(activation, context),
        _color_bar(frame_maps, along, plan.words),
        (
            *_caption(frame_maps, style, along, masked),
            *_clip_note(plan, context),
            *padding.note(activation, context, left_out=False),
        ),
        *plan.size,
        prepared_maps.histogram(prepared, reduced=bool(context.reduced)),
    )
    canvas, top, left = page_layout.open_page(layout, theme_of(dark=style.dark))
    tiles = _draw_blocks(canvas, frame_maps, replace(plan, top=top, left=left), frame_maps.painted(style))
    return canvas.picture(tiles, _record(frame_maps, style, plan.zoom))


@dataclass(frozen=True, slots=True)
class _FrameMaps:
    """The frames to draw: `shape` is ``(channel, along, row, column)``, `shown` the unmasked frames."""

    prepared: PreparedMaps
    shape: tuple[int, ...]
    shown: list[int]
    axes: prepared_maps.TileAxes
    over: tuple[Overlay, ...] = ()

    def size(self, style: Style) -> tuple[int, int]:
        """Return the height and width of `painted` for each frame."""
        if not self.over:
            return self.shape[2], self.shape[3]
        rows, columns = self.over[0].sizes
        factor = style.zoom or min(grid.choose_zoom(len(self.prepared.channels) * self.shape[1], rows, columns))
        return rows * factor, columns * factor

    def painted(self, style: Style) -> NDArray[np.uint32]:
        """Return the packed pixels of the selected channels, ``(channel, frame, row, column)``."""
        if not self.over:
            return self.prepared.painted().reshape(-1, len(self.shown), *self.shape[2:])
        maps = self.prepared.maps.reshape(len(self.prepared.maps), len(self.shown), *self.shape[2:])
        size = self.size(style)
        laid = [
            self.over[frame].painted(replace(self.prepared, maps=maps[:, index]), size)
            for index, frame in enumerate(self.shown)
        ]
        return np.stack(laid, axis=1)

    def tile(self, index: int, frame: int, box: tuple[int, int, int, int], states: list[str]) -> Tile:
        """Return the tile of one frame of the channel drawn at `index`."""
        channel = self.prepared.channels[index]
        low, high = float(self.prepared.low[channel]), float(self.prepared.high[channel])
        indices = (channel, frame) if "channel" in self.axes[0] else (frame,)
        return Tile(channel, box, low, high, states[index], indices=indices)


def _record(frame_maps: _FrameMaps, style: Style, zoom: tuple[int, int]) -> dict[str, Any]:
    record = frame_maps.prepared.record(style, frame_maps.axes)
    record["zoom"] = list(zoom)
    record["masked"] = frame_maps.shape[1] - len(frame_maps.shown)
    if frame_maps.over:
        record |= {
            "overlay": frame_maps.over[0].record(),
            "invertible": False,
            "reduced": OVERLAY_NOTE,
        }
    return record


def _draw_projection(
    activation: Activation, frames: NDArray[Any], context: Context, style: Style, along: str
) -> Picture:
    tiles = ("channel",) if "channel" in activation.axes else ()
    maps, reduced = project(frames, along, style.project or "")
    tile_set = grid.TileSet(maps, FILTER if tiles else MAP, (tiles, "row", "column"), reduced=reduced)
    return grid.draw(activation, tile_set, context, style)


def project(frames: NDArray[Any], along: str, how: str = "max") -> tuple[NDArray[Any], str]:
    """Project ``(channel, along, row, column)`` to ``(channel, row, column)``, and return a description as well.

    The result is the value of largest magnitude with its sign, so that a strong negative value is not
    replaced by a weak positive one.

    Raises
    ------
    UsageError
        If the projection `how` does not exist.
    """
    if how not in PROJECTIONS:
        raise UsageError(f"unknown projection {how!r}; use {', '.join(PROJECTIONS)}.")
    count = f"{frames.shape[1]} {along}{'s' if frames.shape[1] != 1 else ''}"
    words = reduction.SIGNED_MAX if (frames < 0).any() else reduction.REDUCTIONS["max"]
    return channel_statistics.furthest(frames, axis=1), f"{words} over {count}"


def _draw_bare(frame_maps: _FrameMaps, style: Style) -> Picture:
    """Draw channels down and their unmasked frames across, one pixel apart."""
    painted = frame_maps.painted(style)
    rows, columns = painted.shape[2:]
    zoom = 1 if frame_maps.over else style.zoom or 1
    across = style.columns or len(frame_maps.shown)
    flat = painted.reshape(-1, rows, columns)
    check_size(-(-len(flat) // across) * (rows * zoom + 1), across * (columns * zoom + 1))
    page = colors.pack_color(theme_of(dark=style.dark).page)
    pixels, grid_of_tiles = mosaic.assemble(flat, min(across, len(flat)), page, zoom)
    states = frame_maps.prepared.states()
    tiles = tuple(
        frame_maps.tile(*_channel_and_frame(index, frame_maps.shown), grid_of_tiles.box(index), states)
        for index in range(len(flat))
    )
    return Picture(pixels, tiles, (), _record(frame_maps, style, (zoom, zoom)))


def _channel_and_frame(index: int, shown: list[int]) -> tuple[int, int]:
    """Return the index of the channel and the frame of a tile of a bare mosaic."""
    channel, frame = divmod(index, len(shown))
    return channel, shown[frame]


@dataclass(frozen=True, slots=True)
class _FramesPlan:
    """Layout of blocks, one for each channel, and of their frames in lines of `per_line`."""

    zoom: tuple[int, int]
    frame: tuple[int, int]
    cell: tuple[int, int]
    per_line: int
    gutter: int
    blocks: mosaic.TileGrid
    words: list[str]
    top: int = 0
    left: int = 0
    clip: tuple[NDArray[np.uint8], ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        blocks = self.blocks
        return (
            (blocks.rows + bool(self.clip)) * blocks.step_down - _BLOCK_GAP,
            blocks.columns * blocks.step_right - _BETWEEN,
        )


def _plan(frame_maps: _FrameMaps, style: Style) -> _FramesPlan:
    prepared, count = frame_maps.prepared, frame_maps.shape[1]
    rows, columns = frame_maps.size(style)
    shown = len(prepared.channels)
    zoom = (style.zoom, style.zoom) if style.zoom else grid.choose_zoom(shown * count, rows, columns)
    if frame_maps.over:
        zoom = 1, 1
    frame = rows * zoom[0], columns * zoom[1]
    small, name = text.get_font(_FONT_SIZE), text.get_font(_NAME, bold=True)
    words = range_labels.labels_below(prepared, _GUTTER)
    names = max(name.width(str(channel)) for channel in prepared.channels)
    gutter = max(_GUTTER, names, *map(small.width, words)) + 10
    cell = (
        small.height + _LABEL_GAP + frame[0] + 1 + _LINE_GAP,
        max(frame[1] + 2, small.width(str(count - 1))) + _GAP,
    )
    lines = -(-count // max(1, (_WIDEST - gutter) // cell[1]))
    per_line = min(style.columns or -(-count // lines), count)
    lines = -(-count // per_line)
    height = max(lines * cell[0], name.height + small.height + _STRENGTH + 3 * _LABEL_GAP) + _BLOCK_GAP
    width = gutter + per_line * cell[1] - _GAP + _BETWEEN
    down, right = mosaic.grid_shape(shown, height, width, 1 if style.columns else None)
    blocks = mosaic.TileGrid(down, right, 0, 0, height, width, height - _BLOCK_GAP, width - _BETWEEN)
    return _FramesPlan(zoom, frame, cell, per_line, gutter, blocks, words)


def _draw_blocks(canvas: Canvas, frame_maps: _FrameMaps, plan: _FramesPlan, painted: NDArray[np.uint32]) -> list[Tile]:
    states = frame_maps.prepared.states()
    share = frame_maps.prepared.strength_shares().tolist()
    tiles: list[Tile] = []
    if plan.clip:
        for column in range(plan.blocks.columns):
            _draw_clip(canvas, plan, plan.left + column * plan.blocks.step_right)
        plan = replace(plan, top=plan.top + plan.blocks.step_down)
    for index in range(len(frame_maps.prepared.channels)):
        row, column = divmod(index, plan.blocks.columns)
        corner = plan.top + row * plan.blocks.step_down, plan.left + column * plan.blocks.step_right
        _write_gutter(canvas, frame_maps.prepared, plan, index, (corner, share[index]))
        tiles += _draw_frames(canvas, frame_maps, plan, (index, painted[index], states), corner)
    return tiles


def _clip(activation: Activation, context: Context, count: int) -> tuple[NDArray[np.uint8], ...]:
    """Return the frame of the input for each of `count` frames of an activation, none if it is not a clip."""
    pictures = spatial.picture_of(activation, context)
    if pictures is None or pictures.ndim != _CLIP_AXES or len(pictures) < count:
        return ()
    return tuple(pictures[frame * len(pictures) // count] for frame in range(count))


def _clip_note(plan: _FramesPlan, context: Context) -> tuple[str, ...]:
    """Return the note about the frames of the input above those of the channels."""
    count, total = len(plan.clip), max((len(picture) for picture in context.pictures.values()), default=0)
    if not count:
        return ()
    return (f"above: {count} of {total} frames of the input, evenly spaced" if count < total else "above: the input",)


def _draw_clip(canvas: Canvas, plan: _FramesPlan, left: int) -> None:
    """Draw the frames of the input above a column of blocks."""
    small, name, theme = text.get_font(_FONT_SIZE), text.get_font(_NAME, bold=True), canvas.theme
    canvas.write("input", plan.top, left, name, theme.ink)
    height, width = plan.frame
    for frame, pixels in enumerate(plan.clip):
        line, column = divmod(frame, plan.per_line)
        top = plan.top + line * plan.cell[0] + small.height + _LABEL_GAP
        start = left + plan.gutter + column * plan.cell[1] + 1
        canvas.fill((top - 1, start - 1, top + height + 1, start + width + 1), theme.line)
        enlarged = height >= pixels.shape[0]
        how = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
        image = Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), how)
        canvas.pixels[top : top + height, start : start + width] = colors.pack_rgb(np.asarray(image))


def _write_gutter(
    canvas: Canvas, prepared: PreparedMaps, plan: _FramesPlan, index: int, at: tuple[tuple[int, int], float]
) -> None:
    """Draw number, range and strength of a channel to the left of its frames."""
    small, name, theme = text.get_font(_FONT_SIZE), text.get_font(_NAME, bold=True), canvas.theme
    (row, left), share = at
    if prepared.total > 1:
        canvas.write(str(prepared.channels[index]), row, left, name, theme.ink)
    row += name.height + _LABEL_GAP
    canvas.write(plan.words[index], row, left, small, theme.muted)
    if prepared.total > 1:
        row += small.height + _LABEL_GAP
        canvas.fill((row, left, row + _STRENGTH, left + _GUTTER), theme.track)
        canvas.fill((row, left, row + _STRENGTH, left + int(np.ceil(share * _GUTTER))), theme.strength)


def _draw_frames(
    canvas: Canvas,
    frame_maps: _FrameMaps,
    plan: _FramesPlan,
    channel: tuple[int, NDArray[np.uint32], list[str]],
    corner: tuple[int, int],
) -> list[Tile]:
    """Draw the frames of one channel in lines, masked frames hatched."""
    index, painted, states = channel
    small, theme = text.get_font(_FONT_SIZE), canvas.theme
    drawn = dict(zip(frame_maps.shown, painted, strict=True))
    tiles = []
    for frame in range(frame_maps.shape[1]):
        line, column = divmod(frame, plan.per_line)
        row = corner[0] + line * plan.cell[0]
        left = corner[1] + plan.gutter + column * plan.cell[1] + 1
        canvas.write(str(frame), row, left - 1, small, theme.muted)
        top = row + small.height + _LABEL_GAP
        box = (top, left, top + plan.frame[0], left + plan.frame[1])
        pixels = drawn.get(frame)
        if pixels is None:
            grid.hatch(canvas, box, theme.muted)
            continue
        canvas.fill((top - 1, left - 1, box[2] + 1, box[3] + 1), theme.line)
        wide = pixels.repeat(plan.zoom[0], axis=0).repeat(plan.zoom[1], axis=1)
        canvas.pixels[top : box[2], left : box[3]] = wide
        tiles.append(frame_maps.tile(index, frame, box, states))
    grid.mark_states(canvas, tiles)
    return tiles


def _color_bar(frame_maps: _FrameMaps, along: str, words: list[str]) -> page_layout.ColorBar:
    bar = grid.color_bar(frame_maps.prepared, "channel", words, "beside")
    bar = frame_maps.over[0].bar(bar, frame_maps.prepared) if frame_maps.over else bar
    return replace(bar, notes=(*bar.notes, f"number above a frame: its {along}"))


def _caption(frame_maps: _FrameMaps, style: Style, along: str, masked: list[int]) -> tuple[str, ...]:
    count = frame_maps.shape[1]
    words = captions.caption(frame_maps.prepared, style, "channel", "dead")
    frames = f"{len(frame_maps.shown):,} of {count:,} {along}s of each"
    laid = frame_maps.over[0].notes((frame_maps.shape[2], frame_maps.shape[3])) if frame_maps.over else ()
    return (words[0], frames, *words[1:], *captions.masked_notes(masked, count), *laid)
