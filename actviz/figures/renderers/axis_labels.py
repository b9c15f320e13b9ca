"""Numbers or words along the sides of a map, as many as can be read.

::

          0    5    10        numbers, or words turned upwards
    the   [map            ]
    cat   [               ]
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.figures import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.figures import page_layout

FONT_SIZE = 11
LONGEST = 130
_TICK, _GAP = 4, 3


@dataclass(frozen=True, slots=True)
class AxisLabels:
    """One side of a map: what it is called, and the name of each place along it.

    `each` says that no name can be worked out from its neighbours, so that all of them
    are written where there is room: words, or numbers that are out of order.
    """

    axis_name: str
    names: tuple[str, ...]
    each: bool = False

    @classmethod
    def of(cls, axis_name: str, numbers: Sequence[int], words: Sequence[str] = ()) -> AxisLabels:
        """Return the axis of some places; `words`, where there are any, name all places."""
        if words:
            font = text.get_font(FONT_SIZE)
            named = (font.fit(text.shown(f"{number} {words[number]}", 80), LONGEST) for number in numbers)
            return cls(axis_name, tuple(named), each=True)
        steps = {after - before for before, after in itertools.pairwise(numbers)}
        in_order = len(steps) <= 1 and min(steps, default=1) > 0
        return cls(axis_name, tuple(map(str, numbers)), each=not in_order)

    @property
    def widest(self) -> int:
        """The width of the widest name in pixels."""
        font = text.get_font(FONT_SIZE)
        if self.each:
            return max(map(font.width, self.names), default=0)
        return font.width("0") * max(map(len, self.names), default=0)

    def turned(self, zoom: int) -> bool:
        """Whether names above places of `zoom` pixels must be turned upwards."""
        return self.each and self.widest > zoom - 2


def minimum_zoom(axis: AxisLabels) -> int:
    """Return how many pixels a place needs for its name to stand beside it."""
    return text.get_font(FONT_SIZE).height if axis.each else 1


def left_margin(axis: AxisLabels) -> int:
    """Return the width that names to the left of a map need."""
    return axis.widest + _TICK + _GAP


def top_margin(axis: AxisLabels, zoom: int) -> int:
    """Return the height that names above a map need."""
    height = axis.widest if axis.turned(zoom) else text.get_font(FONT_SIZE).height
    return height + _TICK + _GAP


def overhang(axis: AxisLabels, zoom: int) -> int:
    """Return by how much a name above the last place may reach beyond the map."""
    return 0 if axis.turned(zoom) else max(0, -(-(axis.widest - zoom) // 2))


def label_interval(zoom: int, room: int) -> int:
    """Return how many places of `zoom` pixels apart names that need `room` pixels stand."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if step * zoom >= room:
                return step
        power *= 10


def label_size(axis: AxisLabels, zoom: int, *, above: bool) -> int:
    """Return how many pixels along a map a name needs, `above` it or to its left."""
    return text.get_font(FONT_SIZE).height if not above or axis.turned(zoom) else axis.widest + 8


def write_left(canvas: page_layout.Canvas, axis: AxisLabels, part: range, corner: tuple[int, int], zoom: int) -> None:
    """Write the names of the places `part` to the left of a map whose top left is `corner`."""
    font, color = text.get_font(FONT_SIZE), canvas.theme.muted
    for index in _labelled_indices(part, label_interval(zoom, label_size(axis, zoom, above=False))):
        middle = corner[0] + (index - part.start) * zoom + zoom // 2
        name = axis.names[index]
        column = corner[1] - 1 - _TICK - _GAP - font.width(name)
        canvas.write(name, middle - font.height // 2, column, font, color)
        canvas.fill((middle, corner[1] - 1 - _TICK, middle + 1, corner[1] - 1), color)


def write_above(canvas: page_layout.Canvas, axis: AxisLabels, part: range, corner: tuple[int, int], zoom: int) -> None:
    """Write the names of the places `part` above a map whose top left is `corner`."""
    font, color, turned = text.get_font(FONT_SIZE), canvas.theme.muted, axis.turned(zoom)
    for index in _labelled_indices(part, label_interval(zoom, label_size(axis, zoom, above=True))):
        middle = corner[1] + (index - part.start) * zoom + zoom // 2
        name, bottom = axis.names[index], corner[0] - 1 - _TICK - _GAP
        if turned:
            canvas.write_upwards(name, bottom, middle - font.height // 2, font, color)
        else:
            canvas.write(name, bottom - font.height, middle - font.width(name) // 2, font, color)
        canvas.fill((corner[0] - 1 - _TICK, middle, corner[0] - 1, middle + 1), color)


def _labelled_indices(part: range, step: int) -> range:
    """Return the places with a name: multiples of `step`, counted from the start of the axis."""
    return range(-(-part.start // step) * step, part.stop, step)
