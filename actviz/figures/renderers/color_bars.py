"""Colour bars of figures: one range for all tiles, or one for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actviz.figures import colors, text
from actviz.figures.page_layout import ColorBar
from actviz.figures.renderers.captions import RANGE_NOTE, percentiles_note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.figures.colors import RGB
    from actviz.figures.renderers.prepared_maps import PreparedMaps

_HUGE = 1e300


def nonfinite_colors(prepared: PreparedMaps) -> tuple[tuple[RGB, str], ...]:
    """Return the colours of what is not finite, where there is such a thing."""
    if prepared.numbers.finite:
        return ()
    nan, above, below = prepared.table.nonfinite_colors
    maps = prepared.maps
    found = (
        (nan, "NaN", bool(prepared.numbers.nan.any())),
        (above, f"+{text.INFINITY}", bool(np.isposinf(maps).any())),
        (below, f"{text.MINUS}{text.INFINITY}", bool(np.isneginf(maps).any())),
    )
    return tuple((color, words) for color, words, present in found if present)


def bar_per_tile(prepared: PreparedMaps, tile_name: str, written: str, notes: Sequence[str]) -> ColorBar:
    """Return a colour bar for tiles, called `noun`, that have a range of their own.

    `written` says where its ends are written: ``below it: its smallest and largest value``.
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
    """Return a colour bar for one range that all tiles share."""
    low, high = float(prepared.low[0]), float(prepared.high[0])
    if prepared.levels:
        values = np.array([[value for value, _ in prepared.levels]])
        steps = colors.values_to_steps(values, prepared.low[:1], prepared.high[:1], signed=prepared.signed)[0].tolist()
        blocks = tuple(zip(steps, (words for _, words in prepared.levels), strict=True))
        return ColorBar(prepared.table, (), tuple(notes), nonfinite_colors(prepared), blocks)
    if low == high:
        middle = 0.5 if prepared.signed else 0.0
        return ColorBar(prepared.table, ((middle, "0"),), tuple(notes), nonfinite_colors(prepared))
    found = colors.tick_values(low, high)
    # Halved, the widest ranges stay finite; the narrowest would vanish.
    factor = 0.5 if high > _HUGE or low < -_HUGE else 1.0
    width = high * factor - low * factor
    shares = [min(1.0, max(0.0, (tick * factor - low * factor) / width)) for tick in found]
    words = [text.number(tick) for tick in found]
    pairs = tuple(zip(shares, words, strict=True))
    return ColorBar(prepared.table, pairs, tuple(notes), nonfinite_colors(prepared))
