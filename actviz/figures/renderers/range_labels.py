"""What is written below each tile: the range of its values, or its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actviz.figures import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.figures.renderers.prepared_maps import PreparedMaps
FONT_SIZE = 10


def labels_below(prepared: PreparedMaps, room: int, *, fixed: bool = False) -> list[str]:
    """Return what is written below each tile: the smallest and the largest of its values.

    With percentiles of its own it is the ends of its colours. Tiles of one value have that
    value. Both ends are written, in fewer digits where there is little room; where `room` is
    `fixed` and not even these fit, the end further from zero, with its sign (`has_one_end`).
    A state (``dead``) wins over numbers.
    """
    font, channels = text.get_font(FONT_SIZE), prepared.channels
    ends = prepared.written_ranges()
    per_tile = prepared.scale.kind == "filter"
    near, faint = set(prepared.numbers.near_constant), set(prepared.numbers.negligible if per_tile else ())
    full = (
        [text.range_text(*pair) for pair in ends]
        if prepared.maps[0].size > 1
        else [text.number(high) for _, high in ends]
    )
    if max(map(font.width, full)) > room:
        shorter = _short_pair if prepared.maps[0].size > 1 else _short_high
        full = [
            words if font.width(words) <= room or channel in near else shorter(pair, font, room, fixed=fixed)
            for channel, words, pair in zip(channels, full, ends, strict=True)
        ]
    for place, (state, channel) in enumerate(zip(prepared.states(), channels, strict=True)):
        if state == "dead":
            full[place] = "dead"
        elif state == "constant":
            value = float(prepared.numbers.maximum[channel])
            full[place] = "= " + text.fitting_number(value, font, room - font.width("= "))
        elif state == "nonfinite" and np.isnan(prepared.numbers.maximum[channel]):
            full[place] = "NaN" if prepared.numbers.nan[channel] else text.INFINITY
        elif channel in faint:
            words = f"{text.ALMOST} 0: {text.number(float(prepared.numbers.strength[channel]), 2)}"
            full[place] = words if font.width(words) <= room or not fixed else f"{text.ALMOST} 0"
    return full


def has_single_limit(words: Sequence[str]) -> bool:
    """Return True if `words`, those of `below`, hold a tile with only one of its two ends."""
    return any(word.lstrip(text.MINUS)[:1].isdigit() and ".." not in word for word in words)


def _short_pair(ends: tuple[float, float], font: text.Font, room: int, *, fixed: bool) -> str:
    """Return both ends in as many digits as fit; the one further from zero where `fixed` room holds no two."""
    words = [text.range_text(*ends, digits) for digits in (2, 1)]
    fits = next((one for one in words if font.width(one) <= room), None)
    if fits is None and fixed:
        return text.fitting_number(max(ends, key=abs), font, room)
    return fits or words[0]


def _short_high(ends: tuple[float, float], font: text.Font, room: int, *, fixed: bool) -> str:
    """Return the upper end in as many digits as fit."""
    del fixed
    return text.fitting_number(ends[1], font, room)
