"""Color bars of figures: one range for all tiles, or one for each tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actviz.figures import colors, text
from actviz.figures.page_layout import ColorBar, nonfinite_legend
from actviz.figures.renderers.captions import RANGE_NOTE, percentiles_note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.figures.colors import RGB
    from actviz.figures.renderers.prepared_maps import PreparedMaps


def nonfinite_colors(prepared: PreparedMaps) -> tuple[tuple[RGB, str], ...]:
    """Return the colors of the kinds of non-finite values that occur, with their names."""
    return () if prepared.numbers.finite else nonfinite_legend(prepared.table, [prepared.maps])


def bar_per_tile(prepared: PreparedMaps, tile_name: str, written: str, notes: Sequence[str]) -> ColorBar:
    """Return the color bar of tiles, called `tile_name`, each of which has its own range.

    `written` says where the range of a tile is written: ``below it: its smallest and largest value``.
    """
    ticks: tuple[tuple[float, str], ...]
    scale = prepared.scale
    if scale.per_tile_percentiles:
        written = "written " + written.replace(f": {RANGE_NOTE}", "")
    if prepared.signed:
        ticks = ((0.0, f"{text.MINUS}max"), (0.5, "0"), (1.0, "+max"))
        largest = (
            f"the larger |value| of {percentiles_note(scale)} of its own values"
            if scale.per_tile_percentiles
            else "its own largest |value|"
        )
        note = f"max: of each {tile_name} {largest}; {written}"
    elif scale.per_tile_percentiles:
        ticks = tuple((share, f"p{text.number(end, 4)}") for share, end in ((0.0, scale.low), (1.0, scale.high)))
        note = (
            f"{ticks[0][1]}, {ticks[1][1]}: of each {tile_name} {percentiles_note(scale)} of its own values, {written}"
        )
    else:
        ticks = ((0.0, "0"), (1.0, "max"))
        note = f"max: of each {tile_name} its own maximum; {written}"
    return ColorBar(prepared.table, ticks, (note, *notes), nonfinite_colors(prepared))


def shared_bar(prepared: PreparedMaps, notes: Sequence[str]) -> ColorBar:
    """Return the color bar of a range that all tiles share."""
    low, high = float(prepared.low[0]), float(prepared.high[0])
    if prepared.levels:
        values = np.array([[value for value, _ in prepared.levels]])
        steps = colors.values_to_steps(values, prepared.low[:1], prepared.high[:1], signed=prepared.signed)[0].tolist()
        blocks = tuple(zip(steps, (name for _, name in prepared.levels), strict=True))
        return ColorBar(prepared.table, (), tuple(notes), nonfinite_colors(prepared), blocks)
    if low == high:
        middle = 0.5 if prepared.signed else 0.0
        return ColorBar(prepared.table, ((middle, "0"),), tuple(notes), nonfinite_colors(prepared))
    ticks = [(colors.fraction_of_range(tick, low, high), text.number(tick)) for tick in colors.tick_values(low, high)]
    return ColorBar(prepared.table, tuple(ticks), tuple(notes), nonfinite_colors(prepared))
