"""Sequences: one heat map of steps by units, in lines where it is long.

Words along the steps stand beside rows, so that they can be read; otherwise the longer
of the two axes runs across. A map that is wider than a page goes on in the next line, a
list of words in the next column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.figures import colors, mosaic, page_layout, text
from actviz.figures.colors import ColorScale
from actviz.figures.renderers import axis_labels, grid, reduction
from actviz.figures.renderers import prepared as subjects
from actviz.figures.renderers.axis_labels import AxisLabels
from actviz.figures.renderers.renderer_protocol import MAP, SheetTiles
from actviz.records import Picture, Tile
from actviz.statistics import channel_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.figures.renderers.prepared import PreparedMaps
    from actviz.records import Activation, Axes, Box, Context, Style

_SPACE = {"row", "column"}
_UNITS = ("unit", "channel")
_WIDE, _HIGH = 1200, 1300
_LARGEST, _THINNEST = 20, 12
_PAIR = 2
_MOST_PIXELS = 6_000_000
_BETWEEN_LINES, _BETWEEN_COLUMNS = 16, 28
_NICE = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)  # times a power of ten


def accepts(axes: Axes) -> bool:
    """Tell whether there is a batch and two other axes that are not those of space."""
    return axes[:1] == ("batch",) and len(axes) == _PAIR + 1 and set(axes[1:]) != _SPACE


def tile_names(axes: Axes) -> tuple[str, str]:
    """Return which axis is that of the steps and which that of the units."""
    first, second = axes[1:]
    return (second, first) if first in _UNITS and second not in _UNITS else (first, second)


def maps_of(activation: Activation, index: int) -> NDArray[Any]:
    """Return one entry of the batch as ``(unit, step, 1)``, contiguous."""
    steps, units = tile_names(activation.axes)
    return subjects.maps_in_order(activation, index, (units, steps))[:, :, None]


def channel_axes(axes: Axes) -> Axes:
    """Return the axis of the units; see `Renderer`."""
    return tile_names(axes)[1:]


def sheet_tiles(activation: Activation, index: int) -> SheetTiles:
    """Return all steps and units as one map, its longer side across; see `Renderer`."""
    units = maps_of(activation, index)[:, :, 0]
    step, unit = tile_names(activation.axes)
    masked = subjects.masked(activation, index) if step == "step" else []
    maps = np.delete(units, masked, axis=1)
    if units.shape[0] > units.shape[1]:
        return SheetTiles(maps.T[None], MAP, f"down: {step}, across: {unit}", tuple(masked), 1)
    return SheetTiles(maps[None], MAP, f"down: {unit}, across: {step}", tuple(masked))


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw every chosen unit at every step; see `Renderer`.

    Rows of one heat map are read against each other, so ``auto`` means ``layer`` here. With
    ``filter`` each unit has its own range, which stands beside its number.
    """
    maps = maps_of(activation, index)
    step, unit = tile_names(activation.axes)
    masked = subjects.masked(activation, index) if step == "step" else []
    seen = subjects.visible(activation, masked, maps.shape[1])
    shown = maps[:, seen] if masked else maps
    subject = subjects.prepare(activation, shown, style, _scale(style, shown))
    sheet = _matrix(subject, maps, masked, seen, style)
    if style.bare:
        return _draw_bare(sheet, subject, style, (step, unit))
    words = subjects.step_words(activation, context, maps.shape[1]) if sheet.by == (1, 1) else ()
    named = _unit_names(subject, context.labels) if sheet.by == (1, 1) else ()
    steps = AxisLabels.of(step, range(0, maps.shape[1], sheet.by[0]), words)
    units = AxisLabels.of(unit, subject.channels[:: sheet.by[1]], named)
    plan = _plan(steps, units, style)
    layout = page_layout.PageLayout(
        subjects.heading(activation, context),
        _color_bar(subject, unit, plan),
        _caption(subject, style, unit, sheet, plan),
        *plan.size,
        subjects.histogram(subject, reduced=bool(context.reduced)),
    )
    canvas, top, left = page_layout.open_page(layout, page_layout.theme_of(dark=style.dark))
    tiles = _draw_panels(canvas, sheet, subject, replace(plan, top=top, left=left))
    return canvas.picture(tiles, _record(subject, sheet, style, plan, (step, unit)))


def _scale(style: Style, maps: NDArray[Any]) -> ColorScale:
    scale = colors.parse_scale(style.scale)
    if scale.kind == "auto":
        return ColorScale("layer")
    if maps.size > reduction.BUDGET:
        return colors.resolved(scale, own=False, why="there are too many values to draw each one")
    return subjects.scale_of(style, maps)


def _unit_names(subject: PreparedMaps, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return what stands beside the number of every unit: its label, and its range if it has its own."""
    named = labels if len(labels) == subject.total else ()
    if subject.scale.kind != "filter":
        return named
    every = replace(subject, channels=list(range(subject.total)))
    dead = subject.numbers.state == channel_statistics.DEAD
    ranges = ["zero" if zero else text.ends(*pair) for zero, pair in zip(dead, every.ends_written(), strict=True)]
    return tuple(" ".join(words) for words in zip(named, ranges, strict=True)) if named else tuple(ranges)


@dataclass(frozen=True, slots=True)
class _SequenceMatrix:
    """The colours of the chosen units at all steps, ``(unit, step)``, and which steps are masked.

    `by` says how many steps and units were brought together into one.
    """

    pixels: NDArray[np.uint32]
    masked: list[int]
    count: int
    by: tuple[int, int]


def _matrix(
    subject: PreparedMaps, maps: NDArray[Any], masked: list[int], seen: list[int], style: Style
) -> _SequenceMatrix:
    units, steps = len(subject.channels), maps.shape[1]
    by = reduction.factors(1, steps, units) if not (style.zoom or style.bare) else (1, 1)
    if by != (1, 1):
        values = maps[subject.channels, :, 0].T[None].copy() if not masked else _without(maps, subject, masked)
        means = reduction.block_means(values, *by)
        pixels = colors.paint(
            colors.quantise(means, subject.low[:1], subject.high[:1], signed=subject.signed), subject.table
        )
        if not subject.numbers.finite or masked:
            colors.paint_nonfinite(pixels, means, subject.table)
        return _SequenceMatrix(pixels[0].T, _whole_blocks(masked, by[0], steps), steps, by)
    painted = subject.painted()[:, :, 0]
    if masked:
        whole = np.zeros((units, steps), dtype=np.uint32)
        whole[:, seen] = painted
        painted = whole
    return _SequenceMatrix(painted, masked, steps, by)


def _without(maps: NDArray[Any], subject: PreparedMaps, masked: list[int]) -> NDArray[Any]:
    """Return the chosen units ``(1, step, unit)`` with the nearest step before in place of masked ones."""
    steps = np.arange(maps.shape[1])
    steps[masked] = -1
    steps = np.maximum.accumulate(steps)
    steps[steps < 0] = int(np.argmax(steps >= 0))
    found: NDArray[Any] = maps[subject.channels][:, np.maximum(steps, 0), 0].T[None]
    return found


def _whole_blocks(masked: list[int], by: int, steps: int) -> list[int]:
    """Return the blocks of steps all of which are masked."""
    counts = np.bincount(np.array(masked, dtype=int) // by, minlength=-(-steps // by))
    sizes = np.minimum(by, steps - np.arange(len(counts)) * by)
    found: list[int] = np.flatnonzero(counts == sizes).tolist()
    return found


def _record(
    subject: PreparedMaps, sheet: _SequenceMatrix, style: Style, plan: _SequencePlan | None, axes: tuple[str, str]
) -> dict[str, Any]:
    down = plan is None or plan.steps_down
    step, unit = axes
    record = subject.record(style, ((unit,), step, None) if down else ((unit,), None, step))
    record["masked"] = len(sheet.masked)
    record["zoom"] = list(plan.zoom) if plan else [style.zoom or 1] * 2
    if sheet.by != (1, 1):
        record["reduced"] = reduction.said(axes, sheet.by)
    return record


def _draw_bare(sheet: _SequenceMatrix, subject: PreparedMaps, style: Style, axes: tuple[str, str]) -> Picture:
    """Draw steps downwards and units across, one value `zoom` pixels wide; masked steps have the page's colour."""
    zoom = style.zoom or 1
    pixels = sheet.pixels.T.copy()
    pixels[sheet.masked] = colors.pixel(page_layout.theme_of(dark=style.dark).page)
    page_layout.check_size(pixels.shape[0] * zoom, pixels.shape[1] * zoom)
    pixels = pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)
    boxes = [(0, place * zoom, len(pixels), (place + 1) * zoom) for place in range(len(subject.channels))]
    tiles = tuple(_tile(subject, place, box, None, subject.states()) for place, box in enumerate(boxes))
    return Picture(pixels, tiles, (), _record(subject, sheet, style, None, axes))


def _tile(subject: PreparedMaps, place: int, box: Box, part: Box | None, states: list[str]) -> Tile:
    channel = subject.channels[place]
    return Tile(channel, box, float(subject.low[channel]), float(subject.high[channel]), states[place], part=part)


@dataclass(frozen=True, slots=True)
class _SequencePlan:
    """How a map of `down` by `across` is broken into panels of `size_of_panel` places.

    `steps_down` says which of the axes runs down. Panels follow each other downwards where
    columns are broken, and to the right where rows are.
    """

    down: AxisLabels
    across: AxisLabels
    steps_down: bool
    zoom: tuple[int, int]
    panel: tuple[int, int]
    top: int = 0
    left: int = 0

    @property
    def margins(self) -> tuple[int, int]:
        """What stands above and to the left of a panel."""
        return axis_labels.room_above(self.across, self.zoom[1]), axis_labels.room_left(self.down)

    @property
    def counts(self) -> tuple[int, int]:
        """How many panels there are, downwards through rows and across through columns."""
        return -(-len(self.down.names) // self.panel[0]), -(-len(self.across.names) // self.panel[1])

    @property
    def step(self) -> tuple[int, int]:
        """What leads from a panel to the next below and to the right."""
        above, beside = self.margins
        height, width = (size * zoom for size, zoom in zip(self.panel, self.zoom, strict=True))
        over = max(axis_labels.overhang(self.across, self.zoom[1]), 1)
        return above + height + _BETWEEN_LINES, beside + width + over + _BETWEEN_COLUMNS

    @property
    def size(self) -> tuple[int, int]:
        rows, columns = self.counts
        stacked = columns if rows == 1 else 1
        beside = max(1, rows)
        return stacked * self.step[0] - _BETWEEN_LINES + 2, beside * self.step[1] - _BETWEEN_COLUMNS

    def panels(self) -> list[tuple[range, range, tuple[int, int]]]:
        """Return rows, columns and the top left pixel of each panel."""
        found = []
        above, beside = self.margins
        rows, columns = self.counts
        for place in range(max(rows, columns)):
            row, column = (place, 0) if rows > 1 else (0, place)
            height, width = self.panel
            part = (
                range(row * height, min((row + 1) * height, len(self.down.names))),
                range(column * width, min((column + 1) * width, len(self.across.names))),
            )
            top = self.top + above + (self.step[0] * place if rows == 1 else 0)
            left = self.left + beside + (self.step[1] * place if rows > 1 else 0)
            found.append((*part, (top, left)))
        return found


def _plan(steps: AxisLabels, units: AxisLabels, style: Style) -> _SequencePlan:
    steps_down = steps.each or (not units.each and len(steps.names) < len(units.names))
    down, across = (steps, units) if steps_down else (units, steps)
    rows, columns = len(down.names), len(across.names)
    if style.zoom:
        zoom = style.zoom, style.zoom
    else:
        zoom = choose_zoom(rows, columns, axis_labels.thinnest(down), axis_labels.thinnest(across))
        if rows * zoom[0] * columns * zoom[1] > _MOST_PIXELS:
            zoom = choose_zoom(rows, columns)
    page = _page(rows * zoom[0], columns * zoom[1])
    if rows * zoom[0] > columns * zoom[1]:
        panel = pieces(rows, zoom[0], max(_HIGH, page)), columns
    else:
        panel = rows, pieces(columns, zoom[1], max(_WIDE, page))
    if style.columns and panel[0] == rows:
        panel = rows, min(style.columns, columns)
    return _SequencePlan(down, across, steps_down, zoom, panel)


def _page(height: int, width: int) -> int:
    """Return how many pixels wide a page for a map of that size is: a little wider than high."""
    return round(math.sqrt(1.4 * height * width))


def choose_zoom(rows: int, columns: int, thinnest_row: int = 1, thinnest_column: int = 1) -> tuple[int, int]:
    """Return how many pixels a value gets, down and right.

    The largest whole factor with which the map, broken into lines, stays on a page of
    1200 by 1300 pixels. A map of few rows would stay a hair line: rows grow to 12 pixels
    together, and to what their names need.
    """
    for zoom in range(_LARGEST, 0, -1):
        down = max(zoom, -(-_THINNEST // rows), thinnest_row)
        across = max(zoom, -(-_THINNEST // columns), thinnest_column)
        lines = -(-columns * across // _WIDE)
        if (lines == 1 or zoom <= _LARGEST // 4) and lines * (rows * down + 40 * (lines > 1)) <= _HIGH:
            break
    return down, across


def pieces(count: int, zoom: int, room: int) -> int:
    """Return how many of `count` places stand in a line of `room` pixels.

    All, if they fit; else a number people count in, with which lines are about alike.
    """
    if count * zoom <= room:
        return count
    most = max(1, room // zoom)
    even = -(-count // -(-count // most))
    nice = [round(float(f"{unit}e{power}")) for power in range(8) for unit in _NICE]
    fits = [size for size in nice if size <= most]
    return next((size for size in fits if size >= even), fits[-1])


def _draw_panels(
    canvas: page_layout.Canvas, sheet: _SequenceMatrix, subject: PreparedMaps, plan: _SequencePlan
) -> list[Tile]:
    pixels = sheet.pixels.T if plan.steps_down else sheet.pixels
    states = subject.states()
    tiles: list[Tile] = []
    for rows, columns, (top, left) in plan.panels():
        height, width = len(rows) * plan.zoom[0], len(columns) * plan.zoom[1]
        canvas.fill((top - 1, left - 1, top + height + 1, left + width + 1), canvas.theme.line)
        part = pixels[rows.start : rows.stop, columns.start : columns.stop]
        place = mosaic.TileGrid(1, 1, top, left, height, width, height, width)
        mosaic.place(canvas.pixels, place, part[None], plan.zoom)
        panel = _SequencePanel(rows, columns, (top, left), plan)
        if sheet.by == (1, 1):
            tiles += panel.tiles(subject, states)
            panel.hatch_dead(canvas, states)
        panel.hatch_masked(canvas, sheet.masked)
        axis_labels.write_left(canvas, plan.down, rows, (top, left), plan.zoom[0])
        axis_labels.write_above(canvas, plan.across, columns, (top, left), plan.zoom[1])
    return tiles


@dataclass(frozen=True, slots=True)
class _SequencePanel:
    """A part of the map: its rows and columns, and its top left pixel."""

    rows: range
    columns: range
    corner: tuple[int, int]
    plan: _SequencePlan

    def tiles(self, subject: PreparedMaps, states: list[str]) -> list[Tile]:
        """Return a tile for each unit, with the steps that it shows."""
        steps = self.rows if self.plan.steps_down else self.columns
        part = (steps.start, 0, steps.stop, 1) if self.plan.steps_down else (0, steps.start, 1, steps.stop)
        units = self.columns if self.plan.steps_down else self.rows
        return [_tile(subject, unit, self.unit_box(unit), part, states) for unit in units]

    def unit_box(self, unit: int) -> Box:
        """Return the pixels of all steps of a unit."""
        return self._column_box(unit) if self.plan.steps_down else self._row_box(unit)

    def step_box(self, step: int) -> Box:
        """Return the pixels of all units of a step."""
        return self._row_box(step) if self.plan.steps_down else self._column_box(step)

    def hatch_dead(self, canvas: page_layout.Canvas, states: list[str]) -> None:
        """Hatch units that are zero at every step."""
        for unit in self.columns if self.plan.steps_down else self.rows:
            if states[unit] == "dead":
                grid.hatch(canvas, self.unit_box(unit), origin=self.corner)

    def hatch_masked(self, canvas: page_layout.Canvas, masked: list[int]) -> None:
        """Hatch steps that the network leaves out."""
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


def _color_bar(subject: PreparedMaps, unit: str, plan: _SequencePlan) -> page_layout.ColorBar:
    ways = f"down: {plan.down.noun}s, across: {plan.across.noun}s"
    if subject.scale.kind == "filter":
        return subjects.own_bar(subject, unit, f"beside it: {subjects.ENDS}", [ways])
    return subjects.numeric_bar(subject, [subjects.scale_note(subject, "the whole layer"), ways])


def _caption(
    subject: PreparedMaps, style: Style, unit: str, sheet: _SequenceMatrix, plan: _SequencePlan
) -> tuple[str, ...]:
    words = subjects.caption(subject, style, unit, "zero")
    noun = (plan.down if plan.steps_down else plan.across).noun
    steps = [f"{sheet.count:,} {noun}{'s' if sheet.count != 1 else ''}"]
    panels = len(plan.panels())
    if panels > 1:
        way = "columns" if plan.counts[0] > 1 else "lines"
        steps.append(f"in {panels} {way}")
    axis, zoom = (plan.across, plan.zoom[1]) if plan.steps_down else (plan.down, plan.zoom[0])
    if (
        subject.scale.kind == "filter"
        and axis_labels.every(zoom, axis_labels.room_of(axis, zoom, above=plan.steps_down)) > 1
    ):
        steps.append(f"ranges of the {unit}s between those written: in the record of the figure")
    if sheet.by != (1, 1):
        steps.append(f"reduced: {reduction.said((noun, unit), sheet.by)}")
    return (words[0], *steps, *words[1:], *subjects.masked_caption(sheet.masked, sheet.count))
