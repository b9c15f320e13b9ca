"""A layer through its checkpoints: a row of channels for each, all on one scale.

::

                  3        17       40
    epoch_1.keras [map]    [map]    [map]
                  0..3.1   0..2.2   dead
    epoch_2.keras [map]    [map]    [map]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError
from actviz.figures import color_scale, colors, mosaic, page_layout, text
from actviz.figures.canvas import theme_of
from actviz.figures.renderers import captions, color_bars, grid, prepared_maps, range_labels, renderer_of
from actviz.records import Activation
from actviz.statistics.channel_statistics import as_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Context, Picture, Style

MOST_CHANNELS = 8
_FONT_SIZE, _GAP, _ROW_GAP, _LONGEST_NAME = 11, 12, 14, 220
_NARROWEST, _WIDTH = 72, 1400
_MAP_AXES = ("batch", "row", "column", "channel")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The activation of one layer, a batch of one, for the same input, and the name of the file."""

    name: str
    activation: Activation


@dataclass(frozen=True, slots=True)
class CheckpointFigure:
    """The maps of all checkpoints on one scale: `channels` of them for each, in `prepared` checkpoint by checkpoint."""

    checkpoints: Sequence[Checkpoint]
    channels: list[int]
    total: int
    prepared: PreparedMaps
    context: Context
    style: Style

    @classmethod
    def of(cls, checkpoints: Sequence[Checkpoint], context: Context, style: Style) -> CheckpointFigure:
        """Choose the channels, the strongest at the last checkpoint by default, and the scale.

        Raises
        ------
        UsageError
            If the layer cannot be drawn, or has another shape in another checkpoint.
        """
        maps = [_maps_of(item) for item in checkpoints]
        wrong = next((index for index, item in enumerate(maps) if item.shape != maps[0].shape), None)
        if wrong is not None:
            sizes = [text.shape(maps[index].shape) for index in (wrong, 0)]
            message = f"{checkpoints[wrong].name}: layer {checkpoints[wrong].activation.address!r} has {sizes[0]} values, that of {checkpoints[0].name} {sizes[1]}; checkpoints of one architecture were expected."
            raise UsageError(message)
        if style.channels is None and style.top is None:
            style = replace(style, top=MOST_CHANNELS)
        last = checkpoints[-1].activation
        plain = color_scale.ColorScale("layer")
        channels = prepared_maps.prepare(last, maps[-1], style, plain).channels
        scale = color_scale.parse_scale(style.scale)
        scale = plain if scale.kind == "auto" else scale
        stacked = np.concatenate([item[channels] for item in maps])
        signed = None if any(item.activation.signed is not False for item in checkpoints) else False
        whole = Activation(last.address, last.kind, stacked[None], _MAP_AXES, signed, bounds=last.bounds)
        unsorted = replace(style, channels=None, sort=None, top=None)
        prepared = prepared_maps.prepare(whole, stacked, unsorted, scale)
        return cls(checkpoints, channels, len(maps[0]), prepared, context, style)

    def draw(self) -> Picture:
        """Draw a row for each checkpoint."""
        with text.scaled(self.style.font_scale):
            return self._draw(range(len(self.checkpoints)))

    def frames(self) -> list[Picture]:
        """Draw a picture for each checkpoint, all of one size."""
        with text.scaled(self.style.font_scale):
            return [self._draw(range(index, index + 1)) for index in range(len(self.checkpoints))]

    def _draw(self, rows: range) -> Picture:
        count, (height, width) = len(self.channels), self.prepared.maps.shape[1:]
        zoom = (self.style.zoom,) * 2 if self.style.zoom else grid.choose_zoom(4 * count, height, width)
        font, tile = text.get_font(_FONT_SIZE), (height * zoom[0], width * zoom[1])
        names = [font.fit(text.shown(item.name, 120), _LONGEST_NAME) for item in self.checkpoints]
        beside = max(map(font.width, names)) + _GAP
        cell = font.height + 3 + tile[0] + 3 + font.height + _ROW_GAP, max(tile[1] + 2, _NARROWEST) + _GAP
        columns = self.style.columns or max(1, min(count, (_WIDTH - beside) // cell[1]))
        lines = -(-count // columns)
        body = len(rows) * lines * cell[0] - _ROW_GAP, beside + min(columns, count) * cell[1] - _GAP
        layout = page_layout.PageLayout(self._heading(), self._bar(), self._caption(), *body)
        canvas, top, left = page_layout.open_page(layout, theme_of(dark=self.style.dark))
        labels = range_labels.labels_below(self.prepared, cell[1] - _GAP, fixed=True)
        tiles = []
        for row, checkpoint in enumerate(rows):
            begin = top + row * lines * cell[0]
            canvas.write(names[checkpoint], begin + font.height + 3, left, font, canvas.theme.ink)
            above = begin + font.height + 3
            placed = mosaic.TileGrid(lines, columns, above, left + beside + 1, *cell, *tile)
            mine = list(range(checkpoint * count, (checkpoint + 1) * count))
            part = replace(self.prepared, channels=mine)
            mosaic.draw_frames(canvas.pixels, placed, count, colors.pack_color(canvas.theme.line))
            mosaic.write_tiles(canvas.pixels, placed, part.painted(), zoom)
            drawn = part.tiles(placed.box(index) for index in range(count))
            grid.mark_states(canvas, drawn)
            for channel, entry, item in zip(self.channels, mine, drawn, strict=True):
                up, start, bottom, _ = item.box
                canvas.write(
                    str(channel) if self.total > 1 else "", up - 3 - font.height, start - 1, font, canvas.theme.ink
                )
                canvas.write(labels[entry], bottom + 3, start - 1, font, canvas.theme.muted)
            tiles += [
                item._replace(channel=channel, indices=(checkpoint, channel))
                for channel, item in zip(self.channels, drawn, strict=True)
            ]
        return canvas.picture(tiles, self.record())

    def _heading(self) -> page_layout.PageHeading:
        first = self.checkpoints[0].activation
        sizes = text.shape(first.values.shape[1:])
        return page_layout.PageHeading(first.address, first.kind, sizes, self.context)

    def _bar(self) -> page_layout.ColorBar:
        if self.prepared.scale.kind == "filter":
            return color_bars.bar_per_tile(self.prepared, "map", f"below it: {captions.RANGE_NOTE}", ())
        notes = [captions.scale_note(self.prepared, "all checkpoints"), f"below a map: {captions.RANGE_NOTE}"]
        return color_bars.shared_bar(self.prepared, notes)

    def _caption(self) -> tuple[str, ...]:
        if self.total == 1:
            return (f"{text.plural(len(self.checkpoints), 'checkpoint')} of the same input",)
        order = captions.selection_note(len(self.channels), self.total, self.style)
        first = f"{len(self.channels):,} of {text.plural(self.total, 'filter')}{order}"
        if self.style.measure != "index":
            first += f" at {text.shown(self.checkpoints[-1].name, 60)}"
        return (first, f"{text.plural(len(self.checkpoints), 'checkpoint')} of the same input")

    def record(self) -> dict[str, Any]:
        """Return the numbers of the figure."""
        return {
            "checkpoints": [item.name for item in self.checkpoints],
            "channels": self.channels,
            "scale": str(self.prepared.scale),
            "low": float(self.prepared.low[0]),
            "high": float(self.prepared.high[0]),
            "minimum": [float(value) for value in self.prepared.numbers.minimum],
            "maximum": [float(value) for value in self.prepared.numbers.maximum],
        }


def _maps_of(checkpoint: Checkpoint) -> NDArray[Any]:
    """Return the maps ``(channel, row, column)``; the units of a vector are one map."""
    activation = checkpoint.activation
    renderer = renderer_of(activation.axes)
    if renderer is None or activation.values.dtype.kind in "OSUTc" or 0 in activation.values.shape:
        message = f"layer {activation.address!r} holds no numbers that can be drawn; choose another layer."
        raise UsageError(message)
    tiles = renderer.sheet_tiles(activation, 0)
    maps = as_numbers(tiles.maps)
    return maps.reshape(1, 1, -1) if tiles.strip else maps
