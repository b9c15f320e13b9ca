"""The color bars of a sheet, side by side below its rows, one for each kind of color limits on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.figures import page_layout, text
from actviz.figures.renderers import color_bars

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actviz.figures.canvas import Canvas
    from actviz.figures.page_layout import ColorBar
    from actviz.figures.renderers.prepared_maps import PreparedMaps

_WIDTH, _GAP, _ABOVE, _FONT_SIZE = 256, 36, 16, 11
_OWN_LIMITS = ((0.0, "lower limit"), (1.0, "upper limit"))


def bars_of(drawn: Iterable[PreparedMaps]) -> list[ColorBar]:
    """Return the different color bars of the maps on a page, in order of appearance."""
    bars: dict[tuple[object, ...], ColorBar] = {}
    for prepared in drawn:
        low, high = float(prepared.low[0]), float(prepared.high[0])
        if prepared.levels or prepared.scale.kind in {"fixed", "bounds"}:
            bar = color_bars.shared_bar(prepared, ())
        elif prepared.scale.kind == "filter" or (low == -high if prepared.signed else low == 0):
            bar = color_bars.bar_per_tile(prepared, "tile", "", ())
        else:
            # The limits of each layer are written beside its name.
            bar = page_layout.ColorBar(prepared.table, _OWN_LIMITS, ())
        bars.setdefault((prepared.table.name, bar.ticks, bar.levels), bar)
    return list(bars.values())


def height(count: int, width: int) -> int:
    """Return the height in pixels of `count` color bars below a body of this width."""
    lines = -(-count // _per_line(width))
    return lines * (_ABOVE + page_layout.BAR_HEIGHT + 5 + text.get_font(_FONT_SIZE).height)


def draw(canvas: Canvas, bars: list[ColorBar], corner: tuple[int, int], width: int) -> None:
    """Draw color bars from a corner to the right, in as many lines as they need."""
    per_line = _per_line(width)
    for index, bar in enumerate(bars):
        line, column = divmod(index, per_line)
        position = corner[0] + height(line * per_line, width) + _ABOVE, corner[1] + column * (_WIDTH + _GAP)
        page_layout.draw_bar(canvas, bar, position, (_WIDTH, text.get_font(_FONT_SIZE)))


def _per_line(width: int) -> int:
    return max(1, (width + _GAP) // (_WIDTH + _GAP))
