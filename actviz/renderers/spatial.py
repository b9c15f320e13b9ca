"""Feature maps: ``(row, column, channel)``, channels first too, or ``(row, column)`` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz import colors, mosaic, stats
from actviz.figure import GAP, MARGIN, SMALL, Frame, Page, open_page, outline
from actviz.records import Picture, Tile
from actviz.renderers.protocol import (
    captions,
    chosen_channels,
    record,
    shape_text,
    warnings_of,
)
from actviz.text import FAINT, WARNING, line_height, width_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, Context, Style

SPACE = ("row", "column")
STRENGTH = 3
HATCH, HATCH_PAPER, HATCH_STEP = 196, 238, 6


class SpatialRenderer:
    """Draws each channel as a tile."""

    def accepts(self, axes: Axes) -> bool:
        """Tell whether the axes are rows, columns and perhaps channels."""
        return axes[1:] in (
            ("row", "column", "channel"),
            ("channel", "row", "column"),
            SPACE,
        )

    def draw(
        self, activation: Activation, index: int, context: Context, style: Style
    ) -> Picture:
        """Draw one input of the batch; see `actviz.renderers.draw`."""
        maps = channels_first(activation.values[index], activation.axes[1:])
        numbers = stats.channel_statistics(maps)
        chosen = chosen_channels(numbers, style)
        scale = colors.resolve_scale(
            style.scale,
            style.cmap,
            numbers.minimum,
            numbers.maximum,
            signed=activation.signed,
        )
        picked = maps[chosen]
        steps = colors.quantise(picked, scale.low[chosen], scale.high[chosen])
        painted = colors.paint(picked, steps, colors.table(scale.cmap))
        zoom = style.zoom or (
            1 if style.bare else mosaic.zoom_for(*maps.shape[1:], len(chosen))
        )
        states = numbers.states()
        numbers_said = record(maps, numbers, scale, chosen) | {"zoom": zoom}
        ends = [
            (float(scale.low[channel]), float(scale.high[channel]), states[channel])
            for channel in chosen
        ]
        if style.bare:
            return _bare(painted, zoom, chosen, ends, style, numbers_said)
        frame = Frame(
            activation.address,
            activation.kind,
            shape_text(activation.values.shape[1:]),
            context,
            captions("filter", chosen, maps, numbers, style),
            warnings_of(numbers, picked, scale),
        )
        return _labelled(
            frame,
            _Body(mosaic.enlarge(painted, zoom), chosen, ends, numbers, scale),
            style,
            numbers_said,
        )


def channels_first(values: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """Return one input's maps as ``(channel, row, column)`` whatever the order of its axes."""
    if "channel" not in axes:
        return values[None]
    return np.ascontiguousarray(np.moveaxis(values, axes.index("channel"), 0))


def _bare(  # noqa: PLR0913  (the parts of one picture)
    painted: NDArray[np.uint8],
    zoom: int,
    chosen: list[int],
    ends: list[tuple[float, float, str]],
    style: Style,
    numbers: dict[str, Any],
) -> Picture:
    tiles = mosaic.enlarge(painted, zoom)
    _, height, width, _ = tiles.shape
    columns = style.columns or mosaic.columns_for(len(chosen), height, width)
    gap = mosaic.BARE_GAP
    placed = []
    for position, (channel, end) in enumerate(zip(chosen, ends, strict=True)):
        row = position // columns * (height + gap)
        column = position % columns * (width + gap)
        placed.append(Tile(channel, (row, column, row + height, column + width), *end))
    return Picture(mosaic.montage(tiles, columns), tuple(placed), (), numbers)


class _Body:
    """The tiles of a figure and the layout of their cells."""

    def __init__(
        self,
        tiles: NDArray[np.uint8],
        chosen: list[int],
        ends: list[tuple[float, float, str]],
        numbers: stats.ChannelStatistics,
        scale: colors.Scale,
    ) -> None:
        self.tiles, self.chosen, self.ends = tiles, chosen, ends
        strongest = max(
            float(numbers.absolute.max(initial=0.0)), np.finfo(np.float64).tiny
        )
        self.strength = (numbers.absolute[chosen] / strongest).tolist()
        self.texts = [
            _range_text(
                scale,
                end,
                float(numbers.minimum[channel]),
                float(numbers.maximum[channel]),
            )
            for channel, end in zip(chosen, ends, strict=True)
        ]
        self.line = line_height(SMALL)
        _, self.height, self.width, _ = tiles.shape
        widest = max((width_of(text, SMALL) for text in set(self.texts)), default=0)
        number = max(
            (width_of(str(channel), SMALL, bold=True) for channel in chosen), default=0
        )
        self.cell_width = max(self.width, widest, number) + GAP
        self.cell_height = (
            self.line + 1 + self.height + 2 + STRENGTH + 1 + self.line + GAP - 4
        )


def _range_text(
    scale: colors.Scale, end: tuple[float, float, str], low: float, high: float
) -> str:
    """Return what stands under a tile: the end of its own scale, or its range on a common one."""
    state = end[2]
    if state == stats.DEAD:
        return "dead"
    if state == stats.CONSTANT:
        return f"= {colors.brief(low)}".replace("-", "−")
    mark = "!" if state == stats.NONFINITE else ""
    if scale.mode == "filter":
        return (
            f"±{colors.brief(end[1])}{mark}"
            if scale.signed
            else f"{colors.brief(end[1])}{mark}"
        )
    return f"{colors.brief(low)}…{colors.brief(high)}{mark}".replace("-", "−")


def _labelled(
    frame: Frame, body: _Body, style: Style, numbers: dict[str, Any]
) -> Picture:
    count = len(body.chosen)
    columns = style.columns or mosaic.columns_for(
        count, body.cell_height, body.cell_width
    )
    columns = min(columns, max(count, 1))
    rows = -(-count // columns)
    page = open_page(
        frame,
        (rows * body.cell_height, columns * body.cell_width - GAP),
        body_scale(numbers, body),
    )
    hatch = _hatched(body.height, body.width)
    placed = []
    for position, channel in enumerate(body.chosen):
        row = page.top + position // columns * body.cell_height
        column = MARGIN + position % columns * body.cell_width
        placed.append(_cell(page, body, position, (row, column), hatch, channel))
    return Picture(
        page.canvas, tuple(placed), tuple(page.labels), numbers | {"columns": columns}
    )


def body_scale(numbers: dict[str, Any], body: _Body) -> colors.Scale:
    """Return the scale that the colour bar shows: that of the tiles drawn."""
    low = np.array([end[0] for end in body.ends])
    high = np.array([end[1] for end in body.ends])
    return colors.Scale(numbers["scale"], numbers["signed"], numbers["cmap"], low, high)


def _cell(  # noqa: PLR0913  (the parts of one tile)
    page: Page,
    body: _Body,
    position: int,
    place: tuple[int, int],
    hatch: NDArray[np.uint8],
    channel: int,
) -> Tile:
    row, column = place
    page.write(str(channel), row, column, SMALL, bold=True)
    top = row + body.line + 1
    low, high, state = body.ends[position]
    area = page.canvas[top : top + body.height, column : column + body.width]
    if state == stats.DEAD:
        area[:] = hatch
        outline(page.canvas, top, column, (body.height, body.width))
    else:
        area[:] = body.tiles[position]
    below = top + body.height + 2
    if state != stats.DEAD:
        page.canvas[below : below + STRENGTH, column : column + body.width] = 228
        length = max(1, round(body.strength[position] * body.width))
        page.canvas[below : below + STRENGTH, column : column + length] = (90, 98, 108)
    ink = WARNING if state == stats.NONFINITE else FAINT
    page.write(body.texts[position], below + STRENGTH + 1, column, SMALL, ink=ink)
    return Tile(
        channel, (top, column, top + body.height, column + body.width), low, high, state
    )


def _hatched(height: int, width: int) -> NDArray[np.uint8]:
    """Return light paper with diagonal lines, which no colormap draws: ``(row, column, 1)``."""
    rows, columns = np.mgrid[:height, :width]
    lines = (rows + columns) % HATCH_STEP == 0
    return np.where(lines, HATCH, HATCH_PAPER).astype(np.uint8)[:, :, None]
