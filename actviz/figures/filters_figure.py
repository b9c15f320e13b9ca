"""Draw the filters of a layer: kernels of red, green and blue in color, others as filters by inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.figures import colors, mosaic, page_layout, text
from actviz.figures.canvas import Canvas, theme_of
from actviz.figures.renderers.grid import choose_zoom
from actviz.statistics.filter_statistics import arrange_filters, filter_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import Context, Kernel, LayerInfo, Picture, Style
    from actviz.statistics.filter_statistics import FilterStatistics

_BODY = (900, 1100)
_MAX_CELLS = 2048
_MOST_NAMED = 80
_LARGEST_ZOOM = 24
_FONT_SIZE = 10
_GAP = 4
_RGB = 3


@dataclass(frozen=True, slots=True)
class FilterSet:
    """The filters of one kernel that are drawn.

    Attributes
    ----------
    filters
        All filters, ``(filter, input, row, column)``.
    shown
        The filters to draw, in this order.
    inputs
        How many inputs are drawn, from the first.
    limit
        The largest finite |value| of the kernel, the end of the symmetric scale.
    in_color
        Whether the three inputs are drawn as red, green and blue.
    """

    filters: NDArray[Any]
    shown: list[int]
    inputs: int
    limit: float
    in_color: bool
    statistics: FilterStatistics
    noun: str = "filter"

    def pixels(self, table: colors.ColorTable) -> NDArray[np.uint32]:
        """Return the packed pixels of the filters to draw, ``(tile, row, column)``, inputs fastest."""
        values = self.filters[self.shown, : self.inputs].astype(np.float64)
        if self.in_color:
            with np.errstate(invalid="ignore"):
                steps = np.nan_to_num(127.5 + values / (self.limit or 1.0) * 127.5, posinf=255, neginf=0)
            return colors.pack_rgb(np.rint(np.moveaxis(steps, 1, -1)).astype(np.uint8))
        tiles = values.reshape(-1, *values.shape[2:])
        ends = np.full((2, 1), self.limit) * [[-1.0], [1.0]]
        steps = colors.values_to_steps(tiles[None], ends[0], ends[1], signed=True)[0]
        pixels = colors.steps_to_pixels(steps, table)
        if self.statistics.nonfinite:
            colors.paint_nonfinite(pixels, tiles, table)
        return pixels


def draw_filters(kernel: Kernel, layer: LayerInfo, context: Context, style: Style, *, from_image: bool) -> Picture:
    """Draw one kernel of a layer.

    Parameters
    ----------
    style
        Of this, `channels`, `top`, `zoom` and `dark` are used; with `top`, the strongest filters come first.
    from_image
        Whether three inputs of the layer are red, green and blue.

    Raises
    ------
    UsageError
        If the channels do not exist.
    LimitError
        If the figure would be too large.
    """
    filters = arrange_filters(kernel)
    statistics = filter_statistics(filters)
    shown = mosaic.parse_channels(style.channels, len(filters))
    if style.top is not None:
        chosen = set(shown)
        shown = [index for index in statistics.strongest(len(filters)) if index in chosen][: style.top]
    finite = filters[np.isfinite(filters)]
    limit = float(np.abs(finite.astype(np.float64)).max(initial=0))
    in_color = from_image and filters.shape[1] == _RGB and filters.shape[2] * filters.shape[3] > 1
    noun = "filter" if kernel.values.ndim > 2 else "unit"  # noqa: PLR2004  (a table)
    most = _MAX_CELLS // filters.shape[2], _MAX_CELLS // filters.shape[3]
    drawn = FilterSet(filters, shown[: most[0]], min(filters.shape[1], most[1]), limit, in_color, statistics, noun)
    sizes = text.shape(kernel.values.shape) + f" ({', '.join(kernel.axes)})"
    heading = page_layout.PageHeading(layer.address, f"weights of {layer.kind}", sizes, context)
    in_tiles = in_color or drawn.inputs == 1
    plan = (_tiles_plan if in_tiles else _matrix_plan)(drawn, style)
    table = colors.table(colors.DIVERGING_DARK if style.dark else colors.DIVERGING)
    layout = page_layout.PageLayout(heading, _bar(drawn, table), _caption(drawn, style), *plan.size)
    canvas, top, left = page_layout.open_page(layout, theme_of(dark=style.dark))
    plan.draw(canvas, drawn.pixels(table), (top, left))
    return canvas.picture((), _record(drawn))


@dataclass(frozen=True, slots=True)
class _Plan:
    """Layout of the tiles: `names` above or beside them, `norms` below or behind them; all sizes in pixels."""

    grid: mosaic.TileGrid
    zoom: tuple[int, int]
    size: tuple[int, int]
    names: list[str]
    norms: list[str]
    in_rows: bool

    def draw(self, canvas: Canvas, tiles: NDArray[np.uint32], corner: tuple[int, int]) -> None:
        """Draw tiles and labels with the body's top left corner at a pixel."""
        grid, (top, left) = self.grid, corner
        placed = mosaic.TileGrid(
            grid.rows, grid.columns, grid.top + top, grid.left + left, grid.step_down, grid.step_right, grid.height, grid.width
        )  # fmt: skip
        if grid.height * grid.width > 1 and grid.step_down > grid.height:
            mosaic.draw_frames(canvas.pixels, placed, len(tiles), colors.pack_color(canvas.theme.line))
        mosaic.write_tiles(canvas.pixels, placed, tiles, self.zoom)
        (self._label_rows if self.in_rows else self._label_tiles)(canvas, placed)

    def _label_tiles(self, canvas: Canvas, grid: mosaic.TileGrid) -> None:
        font, theme = text.get_font(_FONT_SIZE), canvas.theme
        for index, (name, norm) in enumerate(zip(self.names, self.norms, strict=True)):
            top, left, bottom, _ = grid.box(index)
            canvas.write(name, top - 1 - font.height, left - 1, font, theme.ink)
            canvas.write(norm, bottom + 2, left - 1, font, theme.muted)

    def _label_rows(self, canvas: Canvas, grid: mosaic.TileGrid) -> None:
        """Write filter numbers before and norms behind rows, and input numbers above columns, as many as fit."""
        font, theme = text.get_font(_FONT_SIZE), canvas.theme
        right = grid.left + grid.columns * grid.step_right + _GAP
        for index in range(0, grid.rows, -(-font.height // grid.step_down)):
            row = grid.top + index * grid.step_down + (grid.height - font.height) // 2
            row = min(max(row, 0), canvas.pixels.shape[0] - font.height)
            name = self.names[index]
            canvas.write(name, row, grid.left - _GAP - font.width(name), font, theme.ink)
            canvas.write(self.norms[index], row, right, font, theme.muted)
        every = -(-(font.width(str(grid.columns)) + _GAP) // grid.step_right)
        columns = range(0, grid.columns, _round_step(every))
        lefts = [grid.left + index * grid.step_right for index in columns]
        canvas.write_line(list(map(str, columns)), grid.top - 2 - font.height, lefts, font, theme.ink)


def _round_step(least: int) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, 50 ... that is at least `least`."""
    power = 1
    while True:
        for unit in (1, 2, 5):
            if unit * power >= least:
                return unit * power
        power *= 10


def _labels(drawn: FilterSet) -> tuple[list[str], list[str]]:
    return [str(index) for index in drawn.shown], [text.number(drawn.statistics.norms[index]) for index in drawn.shown]


def _tiles_plan(drawn: FilterSet, style: Style) -> _Plan:
    """Return the layout of one tile for each filter, in a grid."""
    count, (height, width) = len(drawn.shown), drawn.filters.shape[2:]
    zoom = (style.zoom, style.zoom) if style.zoom else choose_zoom(4 * count, height, width)
    font, (names, norms) = text.get_font(_FONT_SIZE), _labels(drawn)
    tile = height * zoom[0], width * zoom[1]
    cell = tile[0] + 2 * font.height + 10, max(tile[1], *map(font.width, (*names, *norms))) + 8
    rows, columns = mosaic.grid_shape(count, *cell)
    grid = mosaic.TileGrid(rows, columns, font.height + 1, 1, *cell, *tile)
    return _Plan(grid, zoom, (rows * cell[0], columns * cell[1]), names, norms, in_rows=False)


def _matrix_plan(drawn: FilterSet, style: Style) -> _Plan:
    """Return the layout of one row for each filter and one column for each input."""
    rows, columns, (height, width) = len(drawn.shown), drawn.inputs, drawn.filters.shape[2:]
    gap = int(height * width > 1)
    fitting = [
        max(1, min(_LARGEST_ZOOM, (side - count * gap) // (count * size)))
        for side, count, size in zip(_BODY, (rows, columns), (height, width), strict=True)
    ]
    font, (names, norms) = text.get_font(_FONT_SIZE), _labels(drawn)
    # At this zoom every row has its number and norm.
    named = -(-(font.height - gap) // height) if rows <= _MOST_NAMED else 1
    if gap and columns * (width * named + gap) <= _BODY[1]:
        fitting = [max(zoom, named) for zoom in fitting]
    elif not gap:
        fitting[0] = max(fitting[0], named)
    down, right = (style.zoom, style.zoom) if style.zoom else fitting if not gap else (min(fitting),) * 2
    above, beside, behind = font.height + 3, max(map(font.width, names)) + _GAP + 1, max(map(font.width, norms)) + _GAP
    cell = height * down + gap, width * right + gap
    grid = mosaic.TileGrid(rows, columns, above, beside, *cell, height * down, width * right)
    size = above + max(rows * cell[0], font.height), beside + columns * cell[1] + _GAP + behind
    return _Plan(grid, (down, right), size, names, norms, in_rows=True)


def _bar(drawn: FilterSet, table: colors.ColorTable) -> page_layout.ColorBar | None:
    if drawn.in_color:
        return None
    low, high = -drawn.limit, drawn.limit
    ticks = [(colors.fraction_of_range(tick, low, high), text.number(tick)) for tick in colors.tick_values(low, high)]
    note = "one scale for the whole layer, symmetric around 0, to its largest |weight|"
    legend = page_layout.nonfinite_legend(table, [drawn.filters]) if drawn.statistics.nonfinite else ()
    return page_layout.ColorBar(table, tuple(ticks) if drawn.limit else ((0.5, "0"),), (note,), legend)


def _caption(drawn: FilterSet, style: Style) -> tuple[str, ...]:
    statistics, total, inputs = drawn.statistics, len(drawn.filters), drawn.filters.shape[1]
    order = "strongest by L2 norm" if style.top is not None else "by number"
    parts = [f"{len(drawn.shown):,} of {text.plural(total, drawn.noun)}, {order}"]
    if drawn.in_color:
        end = text.number(drawn.limit)
        parts.append(f"the inputs as red, green and blue: middle grey is 0, full color {end}, none {text.MINUS}{end}")
    elif inputs > 1:
        parts.append(f"a row for each {drawn.noun}, a column for each of {text.plural(drawn.inputs, 'input')}")
    if drawn.inputs < inputs:
        parts.append(f"the first {drawn.inputs:,} of {inputs:,} inputs are drawn")
    norms = statistics.norms
    where = "below" if drawn.in_color or inputs == 1 else "behind"
    median = text.number(_median(norms))
    parts.append(f"L2 norm {where} each: {text.range_text(norms.min(), norms.max())}, median {median}")
    parts.append(_counted(statistics.dead, "dead (all weights 0)"))
    parts.append(_counted(statistics.duplicates, f"equal to an earlier {drawn.noun}"))
    if statistics.nonfinite:
        parts.append(f"{statistics.nonfinite:,} weights NaN or infinite")
    return tuple(parts)


def _median(values: NDArray[np.float64]) -> float:
    """Return the median, NaN if a value is; `np.median` imports `numpy.ma`, which takes 40 ms."""
    ordered = np.sort(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return float(ordered[-1] if np.isnan(ordered[-1]) else middle)


def _counted(indices: Sequence[int], words: str) -> str:
    return f"{len(indices):,} {words} ({text.listing(indices)})" if indices else f"none {words}"


def _record(drawn: FilterSet) -> dict[str, Any]:
    statistics = drawn.statistics
    return {
        "filters": len(drawn.filters),
        "inputs": int(drawn.filters.shape[1]),
        "shown": drawn.shown,
        "inputs_shown": drawn.inputs,
        "norms": [float(value) if np.isfinite(value) else None for value in statistics.norms],
        "dead": statistics.dead,
        "duplicates": statistics.duplicates,
        "nonfinite": statistics.nonfinite,
        "limit": drawn.limit,
        "in_color": drawn.in_color,
    }
