"""Sequences: a heat map of steps by units.

Steps with words run down, so that the words are legible; otherwise the longer axis runs across. A map that
is larger than a page is broken into panels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.figures import color_scale, colors, mosaic, page_layout, text
from actviz.figures.canvas import check_size, theme_of
from actviz.figures.color_scale import ColorScale
from actviz.figures.renderers import axis_labels, batch_entry, captions, color_bars, grid, prepared_maps, reduction
from actviz.figures.renderers.axis_labels import AxisLabels
from actviz.figures.renderers.renderer_protocol import MAP, SheetTiles
from actviz.figures.renderers.sequence_layout import SequencePlan, plan_panels
from actviz.records import FORWARD, Picture, Tile
from actviz.statistics import channel_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.figures.canvas import Canvas
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Activation, Axes, Box, Context, Style

_SPACE = {"row", "column"}
_UNITS = ("unit", "channel")
_PAIR = 2
# Height of the curve of a signal above a map, and its distance from the labels, in pixels.
_CURVE, _BELOW_CURVE = 70, 8


def accepts(axes: Axes) -> bool:
    """Return True if there are a batch and two other axes that are not row and column."""
    return axes[:1] == ("batch",) and len(axes) == _PAIR + 1 and set(axes[1:]) != _SPACE


def tile_names(axes: Axes) -> tuple[str, str]:
    """Return the names of the axis of steps and the axis of units."""
    first, second = axes[1:]
    return (second, first) if first in _UNITS and second not in _UNITS else (first, second)


def has_units(axes: Axes) -> bool:
    """Return True for steps by units, False for the scores of attention, which are queries by keys."""
    return accepts(axes) and set(axes[1:]) != {"query", "key"}


def maps_of(activation: Activation, index: int) -> NDArray[Any]:
    """Return one entry of the batch as ``(unit, step, 1)``, contiguous."""
    steps, units = tile_names(activation.axes)
    return batch_entry.maps_in_order(activation, index, (units, steps))[:, :, None]


def channel_axes(axes: Axes) -> Axes:
    """Return the axis of units; see `Renderer`."""
    return tile_names(axes)[1:]


def sheet_tiles(activation: Activation, index: int) -> SheetTiles:
    """Return all steps (down) and units (across) as one map; see `Renderer`."""
    units = maps_of(activation, index)[:, :, 0]
    step, unit = tile_names(activation.axes)
    masked = batch_entry.masked_steps(activation, index) if step == "step" else []
    maps = np.delete(units, masked, axis=1)
    note = f"down: {step}, across: {unit}"
    tile = np.ascontiguousarray(maps.T)[None]
    return SheetTiles(tile, MAP, note, tuple(masked), 1, sequence=has_units(activation.axes))


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw the selected units at every step; see `Renderer`.

    Units of one heat map are compared with each other, so the scale ``auto`` means ``layer``. With
    ``filter`` each unit has its own range, which is written beside its number.
    """
    maps = maps_of(activation, index)
    step, unit = tile_names(activation.axes)
    masked = batch_entry.masked_steps(activation, index) if step == "step" else []
    seen = batch_entry.unmasked_steps(activation, masked, maps.shape[1])
    shown = maps[:, seen] if masked else maps
    prepared = prepared_maps.prepare(activation, shown, style, _scale(style, shown))
    matrix = _matrix(prepared, maps, masked, seen, style)
    if style.bare:
        return _draw_bare(matrix, prepared, style, (step, unit))
    words = batch_entry.step_words(activation, context, maps.shape[1]) if matrix.block == (1, 1) else ()
    named = _unit_names(prepared, context.labels) if matrix.block == (1, 1) else ()
    steps = AxisLabels.of(step, range(0, maps.shape[1], matrix.block[0]), words)
    units = AxisLabels.of(unit, prepared.channels[:: matrix.block[1]], named)
    signal = context.signal if step == "step" and activation.step_order == FORWARD and not masked else None
    plan = plan_panels(steps, units, style, _CURVE + _BELOW_CURVE if signal is not None else 0)
    layout = page_layout.PageLayout(
        captions.heading(activation, context),
        _color_bar(prepared, unit, plan),
        (*_caption(prepared, style, unit, matrix, plan), *_curve_note(signal)),
        *plan.size,
        prepared_maps.histogram(prepared, reduced=bool(context.reduced)),
    )
    canvas, top, left = page_layout.open_page(layout, theme_of(dark=style.dark))
    plan = replace(plan, top=top, left=left)
    tiles = _draw_panels(canvas, matrix, prepared, plan)
    if signal is not None:
        for _, columns, corner in plan.panels():
            _draw_curve(canvas, signal, columns, corner, plan)
    return canvas.picture(tiles, _record(prepared, matrix, style, plan, (step, unit)))


def _scale(style: Style, maps: NDArray[Any]) -> ColorScale:
    scale = color_scale.parse_scale(style.scale)
    if scale.kind == "auto":
        return ColorScale("layer")
    if maps.size > reduction.BUDGET:
        return color_scale.resolve_scale(scale, per_tile=False, reason="there are too many values to draw each one")
    return prepared_maps.scale_for(style, maps)


def _unit_names(prepared: PreparedMaps, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the text beside the number of every unit: its label, and its range if it has its own."""
    named = labels if len(labels) == prepared.total else ()
    if prepared.scale.kind != "filter":
        return named
    every = replace(prepared, channels=list(range(prepared.total)))
    dead = prepared.numbers.state == channel_statistics.DEAD
    ranges = [
        "zero" if zero else text.range_text(*pair) for zero, pair in zip(dead, every.written_ranges(), strict=True)
    ]
    return tuple(" ".join(words) for words in zip(named, ranges, strict=True)) if named else tuple(ranges)


@dataclass(frozen=True, slots=True)
class _SequenceMatrix:
    """The pixels of the selected units at all steps, ``(unit, step)``, and the masked steps.

    `block` is the number of steps and units that are averaged into one pixel.
    """

    pixels: NDArray[np.uint32]
    masked: list[int]
    count: int
    block: tuple[int, int]


def _matrix(
    prepared: PreparedMaps, maps: NDArray[Any], masked: list[int], seen: list[int], style: Style
) -> _SequenceMatrix:
    units, steps = len(prepared.channels), maps.shape[1]
    block = reduction.block_factors(1, steps, units) if not (style.zoom or style.bare) else (1, 1)
    if block != (1, 1):
        values = maps[prepared.channels, :, 0].T[None].copy() if not masked else _fill_masked(maps, prepared, masked)
        means = reduction.block_means(values, *block)
        pixels = colors.steps_to_pixels(
            colors.values_to_steps(means, prepared.low[:1], prepared.high[:1], signed=prepared.signed), prepared.table
        )
        if not prepared.numbers.finite or masked:
            colors.paint_nonfinite(pixels, means, prepared.table)
        return _SequenceMatrix(pixels[0].T, _whole_blocks(masked, block[0], steps), steps, block)
    painted = prepared.painted()[:, :, 0]
    if masked:
        whole = np.zeros((units, steps), dtype=np.uint32)
        whole[:, seen] = painted
        painted = whole
    return _SequenceMatrix(painted, masked, steps, block)


def _fill_masked(maps: NDArray[Any], prepared: PreparedMaps, masked: list[int]) -> NDArray[Any]:
    """Return the selected units ``(1, step, unit)`` with masked steps replaced by the preceding unmasked step."""
    steps = np.arange(maps.shape[1])
    steps[masked] = -1
    steps = np.maximum.accumulate(steps)
    steps[steps < 0] = int(np.argmax(steps >= 0))
    filled: NDArray[Any] = maps[prepared.channels][:, np.maximum(steps, 0), 0].T[None]
    return filled


def _whole_blocks(masked: list[int], block: int, steps: int) -> list[int]:
    """Return the blocks of which all steps are masked."""
    counts = np.bincount(np.array(masked, dtype=int) // block, minlength=-(-steps // block))
    sizes = np.minimum(block, steps - np.arange(len(counts)) * block)
    blocks: list[int] = np.flatnonzero(counts == sizes).tolist()
    return blocks


def _record(
    prepared: PreparedMaps, matrix: _SequenceMatrix, style: Style, plan: SequencePlan | None, axes: tuple[str, str]
) -> dict[str, Any]:
    down = plan is None or plan.steps_down
    step, unit = axes
    record = prepared.record(style, ((unit,), step, None) if down else ((unit,), None, step))
    record["masked"] = len(matrix.masked)
    record["zoom"] = list(plan.zoom) if plan else [style.zoom or 1] * 2
    if matrix.block != (1, 1):
        record["reduced"] = reduction.block_mean_note(axes, matrix.block)
    return record


def _draw_bare(matrix: _SequenceMatrix, prepared: PreparedMaps, style: Style, axes: tuple[str, str]) -> Picture:
    """Draw steps down and units across, `zoom` pixels for each value; masked steps have the color of the page."""
    zoom = style.zoom or 1
    pixels = matrix.pixels.T.copy()
    pixels[matrix.masked] = colors.pack_color(theme_of(dark=style.dark).page)
    check_size(pixels.shape[0] * zoom, pixels.shape[1] * zoom)
    pixels = pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)
    boxes = [(0, index * zoom, len(pixels), (index + 1) * zoom) for index in range(len(prepared.channels))]
    tiles = tuple(_tile(prepared, index, box, None, prepared.states()) for index, box in enumerate(boxes))
    return Picture(pixels, tiles, (), _record(prepared, matrix, style, None, axes))


def _tile(prepared: PreparedMaps, index: int, box: Box, part: Box | None, states: list[str]) -> Tile:
    channel = prepared.channels[index]
    return Tile(channel, box, float(prepared.low[channel]), float(prepared.high[channel]), states[index], part=part)


def _draw_panels(canvas: Canvas, matrix: _SequenceMatrix, prepared: PreparedMaps, plan: SequencePlan) -> list[Tile]:
    pixels = matrix.pixels.T if plan.steps_down else matrix.pixels
    states = prepared.states()
    tiles: list[Tile] = []
    for rows, columns, (top, left) in plan.panels():
        height, width = len(rows) * plan.zoom[0], len(columns) * plan.zoom[1]
        canvas.fill((top - 1, left - 1, top + height + 1, left + width + 1), canvas.theme.line)
        part = pixels[rows.start : rows.stop, columns.start : columns.stop]
        cell = mosaic.TileGrid(1, 1, top, left, height, width, height, width)
        mosaic.write_tiles(canvas.pixels, cell, part[None], plan.zoom)
        panel = _SequencePanel(rows, columns, (top, left), plan)
        if matrix.block == (1, 1):
            tiles += panel.tiles(prepared, states)
            panel.hatch_dead(canvas, states)
        panel.hatch_masked(canvas, matrix.masked)
        axis_labels.write_left(canvas, plan.down, rows, (top, left), plan.zoom[0])
        axis_labels.write_above(canvas, plan.across, columns, (top, left), plan.zoom[1])
    return tiles


def _curve_note(signal: NDArray[Any] | None) -> tuple[str, ...]:
    if signal is None:
        return ()
    values = _finite(signal)
    ends = text.range_text(float(values.min()), float(values.max()))
    return (f"curve: the {len(signal):,} values of the input, {ends}, over the same time",)


def _finite(signal: NDArray[Any]) -> NDArray[np.float64]:
    return np.nan_to_num(signal.astype(np.float64), posinf=0.0, neginf=0.0)


def _draw_curve(
    canvas: Canvas, signal: NDArray[Any], columns: range, corner: tuple[int, int], plan: SequencePlan
) -> None:
    """Draw the part of the input signal above a panel: for each pixel its values from the smallest to the largest."""
    values = _finite(signal)
    top, width = corner[0] - plan.margins[0], len(columns) * plan.zoom[1]
    first, last = (step * len(values) / len(plan.across.names) for step in (columns.start, columns.stop))
    edges = np.clip(np.linspace(first, last, width + 1).astype(int), 0, len(values) - 1)
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    rows = np.rint((high - values) / ((high - low) or 1.0) * (_CURVE - 1)).astype(int)
    zero = top + round(high / ((high - low) or 1.0) * (_CURVE - 1))
    canvas.fill((zero, corner[1], zero + 1, corner[1] + width), canvas.theme.line)
    for column in range(width):
        # With the first value of the next pixel, so that the curve has no gaps.
        part = rows[edges[column] : edges[column + 1] + 1]
        left = corner[1] + column
        canvas.fill((top + int(part.min()), left, top + int(part.max()) + 1, left + 1), canvas.theme.ink)


@dataclass(frozen=True, slots=True)
class _SequencePanel:
    """A panel of the map: its rows and columns, and its top left pixel."""

    rows: range
    columns: range
    corner: tuple[int, int]
    plan: SequencePlan

    def tiles(self, prepared: PreparedMaps, states: list[str]) -> list[Tile]:
        """Return one tile for each unit, with the range of its steps."""
        steps = self.rows if self.plan.steps_down else self.columns
        part = (steps.start, 0, steps.stop, 1) if self.plan.steps_down else (0, steps.start, 1, steps.stop)
        units = self.columns if self.plan.steps_down else self.rows
        return [_tile(prepared, unit, self.unit_box(unit), part, states) for unit in units]

    def unit_box(self, unit: int) -> Box:
        """Return the pixels of all steps of a unit."""
        return self._column_box(unit) if self.plan.steps_down else self._row_box(unit)

    def step_box(self, step: int) -> Box:
        """Return the pixels of all units of a step."""
        return self._row_box(step) if self.plan.steps_down else self._column_box(step)

    def hatch_dead(self, canvas: Canvas, states: list[str]) -> None:
        """Hatch units that are 0 at every step."""
        for unit in self.columns if self.plan.steps_down else self.rows:
            if states[unit] == "dead":
                grid.hatch(canvas, self.unit_box(unit), origin=self.corner)

    def hatch_masked(self, canvas: Canvas, masked: list[int]) -> None:
        """Hatch masked steps."""
        steps = self.rows if self.plan.steps_down else self.columns
        for step in masked:
            if step in steps:
                grid.hatch(canvas, self.step_box(step), canvas.theme.muted, self.corner)

    def _row_box(self, row: int) -> Box:
        top = self.corner[0] + (row - self.rows.start) * self.plan.zoom[0]
        return top, self.corner[1], top + self.plan.zoom[0], self.corner[1] + len(self.columns) * self.plan.zoom[1]

    def _column_box(self, column: int) -> Box:
        left = self.corner[1] + (column - self.columns.start) * self.plan.zoom[1]
        return self.corner[0], left, self.corner[0] + len(self.rows) * self.plan.zoom[0], left + self.plan.zoom[1]


def _color_bar(prepared: PreparedMaps, unit: str, plan: SequencePlan) -> page_layout.ColorBar:
    ways = f"down: {plan.down.axis_name}s, across: {plan.across.axis_name}s"
    if prepared.scale.kind == "filter":
        return color_bars.bar_per_tile(prepared, unit, f"beside it: {captions.RANGE_NOTE}", [ways])
    return color_bars.shared_bar(prepared, [captions.scale_note(prepared, "the whole layer"), ways])


def _caption(
    prepared: PreparedMaps, style: Style, unit: str, matrix: _SequenceMatrix, plan: SequencePlan
) -> tuple[str, ...]:
    words = captions.caption(prepared, style, unit, "zero")
    axis_name = (plan.down if plan.steps_down else plan.across).axis_name
    steps = [text.plural(matrix.count, axis_name)]
    panels = len(plan.panels())
    if panels > 1:
        way = "columns" if plan.counts[0] > 1 else "lines"
        steps.append(f"in {panels} {way}")
    axis, zoom = (plan.across, plan.zoom[1]) if plan.steps_down else (plan.down, plan.zoom[0])
    if (
        prepared.scale.kind == "filter"
        and axis_labels.label_interval(zoom, axis_labels.label_size(axis, zoom, above=plan.steps_down)) > 1
    ):
        steps.append(f"ranges of the {unit}s between those written: in the record of the figure")
    if matrix.block != (1, 1):
        steps.append(f"reduced: {reduction.block_mean_note((axis_name, unit), matrix.block)}")
    return (words[0], *steps, *words[1:], *captions.masked_notes(matrix.masked, matrix.count))
