"""Layout of a heat map of steps by units: orientation, zoom and panels that fit a page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.figures.renderers import axis_labels

if TYPE_CHECKING:
    from actviz.figures.renderers.axis_labels import AxisLabels
    from actviz.records import Style

_WIDE, _HIGH = 1200, 1300


_LARGEST, _THINNEST = 20, 12


_MOST_PIXELS = 6_000_000


# A tall map below the curve of a signal is at most this high, and up to as wide.
_LOW, _BROAD, _WIDEST_STEP = 700, 1000, 8


_BETWEEN_LINES, _BETWEEN_COLUMNS = 16, 28


_NICE = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)  # times a power of ten


@dataclass(frozen=True, slots=True)
class SequencePlan:
    """Division of a map of `down` by `across` into panels of `panel` rows and columns.

    `steps_down` is true if steps run down. Panels are stacked downwards if columns are divided, and to
    the right if rows are divided. `curve` is the height of the curve above a panel.
    """

    down: AxisLabels
    across: AxisLabels
    steps_down: bool
    zoom: tuple[int, int]
    panel: tuple[int, int]
    top: int = 0
    left: int = 0
    curve: int = 0

    @property
    def margins(self) -> tuple[int, int]:
        """Height of the labels and of the curve above a panel, and width of the labels to its left."""
        return self.curve + axis_labels.top_margin(self.across, self.zoom[1]), axis_labels.left_margin(self.down)

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of panels that rows and columns are divided into."""
        return -(-len(self.down.names) // self.panel[0]), -(-len(self.across.names) // self.panel[1])

    @property
    def step(self) -> tuple[int, int]:
        """Distances from a panel to the next below and to the right."""
        above, beside = self.margins
        height, width = (size * zoom for size, zoom in zip(self.panel, self.zoom, strict=True))
        over = max(axis_labels.overhang(self.across, self.zoom[1]), 1)
        return above + height + _BETWEEN_LINES, beside + width + over + _BETWEEN_COLUMNS

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of all panels in pixels."""
        rows, columns = self.counts
        stacked = columns if rows == 1 else 1
        beside = max(1, rows)
        return stacked * self.step[0] - _BETWEEN_LINES + 2, beside * self.step[1] - _BETWEEN_COLUMNS

    def panels(self) -> list[tuple[range, range, tuple[int, int]]]:
        """Return the rows, the columns and the top left pixel of each panel."""
        panels = []
        above, beside = self.margins
        rows, columns = self.counts
        for index in range(max(rows, columns)):
            row, column = (index, 0) if rows > 1 else (0, index)
            height, width = self.panel
            part = (
                range(row * height, min((row + 1) * height, len(self.down.names))),
                range(column * width, min((column + 1) * width, len(self.across.names))),
            )
            top = self.top + above + (self.step[0] * index if rows == 1 else 0)
            left = self.left + beside + (self.step[1] * index if rows > 1 else 0)
            panels.append((*part, (top, left)))
        return panels


def plan_panels(steps: AxisLabels, units: AxisLabels, style: Style, curve: int = 0) -> SequencePlan:
    """Return the panels for these axes: orientation, zoom and places per panel; steps run across below a curve."""
    steps_down = not curve and (steps.each or (not units.each and len(steps.names) < len(units.names)))
    down, across = (steps, units) if steps_down else (units, steps)
    rows, columns = len(down.names), len(across.names)
    if style.zoom:
        zoom = style.zoom, style.zoom
    else:
        zoom = choose_zoom(rows, columns, axis_labels.minimum_zoom(down), axis_labels.minimum_zoom(across))
        if rows * zoom[0] * columns * zoom[1] > _MOST_PIXELS:
            zoom = choose_zoom(rows, columns)
        if curve and rows * zoom[0] > columns * zoom[1]:
            height = max(axis_labels.minimum_zoom(down), _LOW // rows, 1)
            zoom = height, max(zoom[1], min(_BROAD // columns, _WIDEST_STEP * height))
    page = _page_side(rows * zoom[0], columns * zoom[1])
    if rows * zoom[0] > columns * zoom[1]:
        panel = places_per_panel(rows, zoom[0], max(_HIGH, page)), columns
    else:
        panel = rows, places_per_panel(columns, zoom[1], max(_WIDE, page))
    if style.columns and panel[0] == rows:
        panel = rows, min(style.columns, columns)
    return SequencePlan(down, across, steps_down, zoom, panel, curve=curve)


def _page_side(height: int, width: int) -> int:
    """Return the width of a page, a little wider than high, for a map of this size in pixels."""
    return round(math.sqrt(1.4 * height * width))


def choose_zoom(rows: int, columns: int, thinnest_row: int = 1, thinnest_column: int = 1) -> tuple[int, int]:
    """Return the height and width of a value in pixels.

    The largest integer factor with which the map, broken into lines, fits a page of 1200 by 1300 pixels.
    All rows together are at least 12 pixels high, and each at least as high as its name.
    """
    for zoom in range(_LARGEST, 0, -1):
        down = max(zoom, -(-_THINNEST // rows), thinnest_row)
        across = max(zoom, -(-_THINNEST // columns), thinnest_column)
        lines = -(-columns * across // _WIDE)
        if (lines == 1 or zoom <= _LARGEST // 4) and lines * (rows * down + 40 * (lines > 1)) <= _HIGH:
            break
    return down, across


def places_per_panel(count: int, zoom: int, pixels: int) -> int:
    """Return how many of `count` values are in a panel of `pixels` pixels.

    All, if they fit; otherwise a round number with which panels have similar sizes.
    """
    if count * zoom <= pixels:
        return count
    most = max(1, pixels // zoom)
    even = -(-count // -(-count // most))
    nice = [round(float(f"{unit}e{power}")) for power in range(8) for unit in _NICE]
    fits = [size for size in nice if size <= most]
    return next((size for size in fits if size >= even), fits[-1])
