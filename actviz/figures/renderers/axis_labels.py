"""Numbers or words along the sides of a map, as many as are legible.

::

          0    5    10        numbers, or words rotated by 90 degrees
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

    from actviz.figures.canvas import Canvas

FONT_SIZE = 11
LONGEST = 130
_TICK, _GAP = 4, 3


@dataclass(frozen=True, slots=True)
class AxisLabels:
    """The labels of one axis of a map: `names` has one entry for each index.

    `each` is true if a name cannot be inferred from its neighbors, as for words or numbers that are not
    consecutive, so that all names are written if there is room.
    """

    axis_name: str
    names: tuple[str, ...]
    each: bool = False

    @classmethod
    def of(cls, axis_name: str, numbers: Sequence[int], words: Sequence[str] = ()) -> AxisLabels:
        """Return the labels of the indices `numbers`, with a word for each if there are `words`."""
        if words:
            font = text.get_font(FONT_SIZE)
            named = (font.fit(text.shown(f"{number} {words[number]}", 80), LONGEST) for number in numbers)
            return cls(axis_name, tuple(named), each=True)
        steps = {after - before for before, after in itertools.pairwise(numbers)}
        in_order = len(steps) <= 1 and min(steps, default=1) > 0
        return cls(axis_name, tuple(map(str, numbers)), each=not in_order)

    @property
    def widest(self) -> int:
        """Width of the widest name in pixels."""
        font = text.get_font(FONT_SIZE)
        if self.each:
            return max(map(font.width, self.names), default=0)
        return font.width("0") * max(map(len, self.names), default=0)

    def turned(self, zoom: int) -> bool:
        """Return True if names above columns of `zoom` pixels must be rotated."""
        return self.each and self.widest > zoom - 2


def minimum_zoom(axis: AxisLabels) -> int:
    """Return the zoom at which every name has room beside its row."""
    return text.get_font(FONT_SIZE).height if axis.each else 1


def left_margin(axis: AxisLabels) -> int:
    """Return the width of the labels to the left of a map in pixels."""
    return axis.widest + _TICK + _GAP


def top_margin(axis: AxisLabels, zoom: int) -> int:
    """Return the height of the labels above a map in pixels."""
    height = axis.widest if axis.turned(zoom) else text.get_font(FONT_SIZE).height
    return height + _TICK + _GAP


def overhang(axis: AxisLabels, zoom: int) -> int:
    """Return by how many pixels the name above the last column may extend beyond the map."""
    return 0 if axis.turned(zoom) else max(0, -(-(axis.widest - zoom) // 2))


def label_interval(zoom: int, pixels: int) -> int:
    """Return the interval of labels, 1, 2 or 5 times a power of ten, at which `pixels` fit between them."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if step * zoom >= pixels:
                return step
        power *= 10


def label_size(axis: AxisLabels, zoom: int, *, above: bool) -> int:
    """Return the pixels that a name takes along the axis, `above` the map or to its left."""
    return text.get_font(FONT_SIZE).height if not above or axis.turned(zoom) else axis.widest + 8


def write_left(canvas: Canvas, axis: AxisLabels, part: range, corner: tuple[int, int], zoom: int) -> None:
    """Write the names of the rows `part` to the left of a map whose top left pixel is `corner`."""
    font, color = text.get_font(FONT_SIZE), canvas.theme.muted
    for index in _labelled_indices(part, label_interval(zoom, label_size(axis, zoom, above=False))):
        middle = corner[0] + (index - part.start) * zoom + zoom // 2
        name = axis.names[index]
        column = corner[1] - 1 - _TICK - _GAP - font.width(name)
        canvas.write(name, middle - font.height // 2, column, font, color)
        canvas.fill((middle, corner[1] - 1 - _TICK, middle + 1, corner[1] - 1), color)


def write_above(canvas: Canvas, axis: AxisLabels, part: range, corner: tuple[int, int], zoom: int) -> None:
    """Write the names of the columns `part` above a map whose top left pixel is `corner`."""
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
    """Return the indices in `part` that are labelled: the multiples of `step`."""
    return range(-(-part.start // step) * step, part.stop, step)
