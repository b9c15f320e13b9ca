"""Vectors ``(unit,)``: bars with their values for a few units, a numbered heat grid for many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz import colors, mosaic, stats
from actviz.figure import GAP, MARGIN, SMALL, SUBTITLE, Frame, open_page
from actviz.records import Picture, Tile
from actviz.renderers.protocol import (
    captions,
    chosen_channels,
    record,
    shape_text,
    warnings_of,
)
from actviz.text import FAINT, INK, WARNING, line_height, width_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, Context, Style

BARS = 64
VALUES = 512
BAR_LENGTH = 220
TRACK = 236
STRONGEST = 5
MIDDLE_GREY = 128
# (at most this many units, columns, cell height, cell width)
LAYOUTS = (
    (VALUES, 16, 24, 62),
    (5000, 50, 16, 16),
    (20_000, 100, 10, 10),
    (10**9, 250, 5, 5),
)


class VectorRenderer:
    """Draws each unit as a bar or a cell."""

    def accepts(self, axes: Axes) -> bool:
        """Tell whether there is one axis beside the batch, or none."""
        return axes in (("batch", "unit"), ("batch",), ("batch", "channel"))

    def draw(
        self, activation: Activation, index: int, context: Context, style: Style
    ) -> Picture:
        """Draw one input of the batch; see `actviz.renderers.draw`.

        A unit is a single value, so the scale ``filter`` means that of the layer.
        """
        values = np.atleast_1d(activation.values[index])[:, None]
        numbers = stats.channel_statistics(values)
        chosen = chosen_channels(numbers, style)
        mode = "layer" if style.scale == "filter" else style.scale
        scale = colors.resolve_scale(
            mode, style.cmap, numbers.minimum, numbers.maximum, signed=activation.signed
        )
        picked = values[chosen]
        steps = colors.quantise(picked, scale.low[chosen], scale.high[chosen])
        painted = colors.paint(picked, steps, colors.table(scale.cmap))[:, 0]
        said = record(values, numbers, scale, chosen)
        units = _Units(chosen, picked[:, 0], painted, scale, numbers.states())
        if style.bare:
            return _bare(units, style, said)
        parts = captions("unit", chosen, values, numbers, style)
        if len(chosen) > BARS:
            parts.append(_strongest(values[:, 0]))
        shape = shape_text(activation.values.shape[1:])
        frame = Frame(
            activation.address,
            activation.kind,
            shape,
            context,
            parts,
            warnings_of(numbers, picked, scale),
        )
        return (
            _bars(frame, units, said)
            if len(chosen) <= BARS
            else _grid(frame, units, style, said)
        )


class _Units:
    """The units drawn: numbers, values ``(unit,)``, colours ``(unit, RGB)``, scale, states."""

    def __init__(
        self,
        chosen: list[int],
        values: NDArray[Any],
        painted: NDArray[np.uint8],
        scale: colors.Scale,
        states: list[str],
    ) -> None:
        self.chosen, self.painted, self.scale = chosen, painted, scale
        self.values = values.astype(np.float64)
        self.states = [states[channel] for channel in chosen]
        self.low, self.high = (
            float(end[0]) if end.size else 0.0 for end in (scale.low, scale.high)
        )

    def tile(self, position: int, box: tuple[int, int, int, int]) -> Tile:
        """Return the record of one unit drawn at `box`."""
        return Tile(
            self.chosen[position], box, self.low, self.high, self.states[position]
        )


def _strongest(values: NDArray[Any]) -> str:
    flat = values.astype(np.float64)
    ranked = np.argsort(-np.where(np.isfinite(flat), np.abs(flat), -1), kind="stable")[
        :STRONGEST
    ]
    return "strongest: " + ", ".join(
        f"{unit} = {_said(flat[unit])}" for unit in ranked.tolist()
    )


def _said(value: float) -> str:
    text = f"{value:.4g}" if math.isfinite(value) else str(value)
    return text.replace("-", "−")


def _bare(units: _Units, style: Style, said: dict[str, Any]) -> Picture:
    zoom = style.zoom or 8
    tiles = mosaic.enlarge(units.painted[:, None, None], zoom)
    columns = style.columns or mosaic.columns_for(len(units.chosen), zoom, zoom)
    step = zoom + mosaic.BARE_GAP
    placed = tuple(
        units.tile(position, (row, column, row + zoom, column + zoom))
        for position in range(len(units.chosen))
        for row, column in [(position // columns * step, position % columns * step)]
    )
    return Picture(
        mosaic.montage(tiles, columns),
        placed,
        (),
        said | {"zoom": zoom, "columns": columns},
    )


def _bars(frame: Frame, units: _Units, said: dict[str, Any]) -> Picture:
    """Draw one labelled bar a unit, from zero, in columns of at most 16."""
    count = len(units.chosen)
    columns = -(-count // 16)
    rows = -(-count // columns)
    number = max(
        width_of(str(channel), SUBTITLE, bold=True) for channel in units.chosen
    )
    texts = [_said(value) for value in units.values.tolist()]
    widest = max(width_of(text, SUBTITLE) for text in texts)
    line = line_height(SUBTITLE) + 6
    cell = number + 8 + BAR_LENGTH + 8 + widest + 2 * GAP
    page = open_page(frame, (rows * line, columns * cell - 2 * GAP), units.scale)
    reach = max(abs(units.low), abs(units.high), np.finfo(np.float64).tiny)
    start = min(units.low, 0.0) / reach
    span = max(units.high, 0.0) / reach - start
    placed = []
    for position, channel in enumerate(units.chosen):
        row = page.top + position % rows * line
        left = MARGIN + position // rows * cell
        column = left + number + 8
        shown = str(channel)
        page.write(
            shown,
            row,
            left + number - width_of(shown, SUBTITLE, bold=True),
            SUBTITLE,
            bold=True,
        )
        box = (row + 2, column, row + line - 6, column + BAR_LENGTH)
        page.canvas[box[0] : box[2], box[1] : box[3]] = TRACK
        zero = column + round((0.0 - start) / span * BAR_LENGTH) if span else column
        value = units.values[position]
        inside = min(max(value, units.low), units.high) if math.isfinite(value) else 0.0
        end = (
            column + round((inside / reach - start) / span * BAR_LENGTH)
            if span
            else column
        )
        page.canvas[box[0] : box[2], min(zero, end) : max(zero, end)] = units.painted[
            position
        ]
        if units.scale.signed:
            page.canvas[box[0] - 1 : box[2] + 1, min(zero, box[3] - 1)] = MIDDLE_GREY
        ink = WARNING if not math.isfinite(value) else INK if value else FAINT
        page.write(texts[position], row, column + BAR_LENGTH + 8, SUBTITLE, ink=ink)
        placed.append(units.tile(position, box))
    return Picture(
        page.canvas, tuple(placed), tuple(page.labels), said | {"columns": columns}
    )


def _grid(frame: Frame, units: _Units, style: Style, said: dict[str, Any]) -> Picture:
    """Draw a cell a unit, rows and columns numbered so that each can be found."""
    count = len(units.chosen)
    _, columns, height, width = next(layout for layout in LAYOUTS if count <= layout[0])
    columns = style.columns or columns
    rows = -(-count // columns)
    side = width_of(f"{max(units.chosen):,}", SMALL) + 8
    head = line_height(SMALL) + 4
    ordered = units.chosen == list(range(units.chosen[0], units.chosen[0] + count))
    page = open_page(frame, (head + rows * height, side + columns * width), units.scale)
    board = np.full((rows * columns, height, width, 3), 255, np.uint8)
    board[:count] = units.painted[:, None, None]
    gap = 1 if height > 8 else 0  # noqa: PLR2004  (smaller cells touch)
    if gap:
        board[:, -gap:], board[:, :, -gap:] = 255, 255
    board = board.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    top, left = page.top + head, MARGIN + side
    page.canvas[top : top + rows * height, left : left + columns * width] = (
        board.reshape(rows * height, columns * width, 3)
    )
    for number in range(0, columns, _spacing(width, len(str(columns)))):
        page.write(f"+{number}", page.top, left + number * width, SMALL, ink=FAINT)
    for row in range(0, rows, max(1, -(-line_height(SMALL) // height))):
        first = f"{units.chosen[row * columns]:,}"
        text_top = top + row * height + max(0, (height - line_height(SMALL)) // 2)
        if text_top + line_height(SMALL) <= top + rows * height + GAP and ordered:
            page.write(
                first, text_top, left - 6 - width_of(first, SMALL), SMALL, ink=FAINT
            )
    placed = []
    for position in range(count):
        row, column = (
            top + position // columns * height,
            left + position % columns * width,
        )
        placed.append(
            units.tile(
                position, (row, column, row + height - gap, column + width - gap)
            )
        )
        if count <= VALUES:
            _value(page, units, position, row + 5, column + 4, numbered=not ordered)
    return Picture(
        page.canvas, tuple(placed), tuple(page.labels), said | {"columns": columns}
    )


def _spacing(width: int, digits: int) -> int:
    """Return every how many columns a number fits."""
    return max(1, -(-(8 * (digits + 1) + 6) // width))


def _value(
    page: Any, units: _Units, position: int, row: int, column: int, *, numbered: bool
) -> None:  # noqa: ANN401, PLR0913
    """Write a value into its cell, in the ink that its colour carries best."""
    colour = tuple(int(part) for part in units.painted[position])
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > MIDDLE_GREY
    text = colors.brief(float(units.values[position])).replace("-", "−")
    if numbered:
        text = f"{units.chosen[position]}: {text}"
    page.write(
        text,
        row,
        column,
        SMALL,
        ink=(0, 0, 0) if light else (255, 255, 255),
        paper=colour,
    )
