"""What is written below each tile: the range of its values, or its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actviz.figures import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.figures.renderers.prepared_maps import PreparedMaps
FONT_SIZE = 10


def labels_below(prepared: PreparedMaps, width: int, *, fixed: bool = False) -> list[str]:
    """Return what is written below each tile: the smallest and the largest of its values.

    With percentiles of its own it is the ends of its colours. Tiles of one value have that
    value. Both ends are written, in fewer digits where there is little room; where `room` is
    `fixed` and not even these fit, the end further from zero, with its sign (`has_one_end`).
    A state (``dead``) wins over numbers.
    """
    font, channels = text.get_font(FONT_SIZE), prepared.channels
    ranges = prepared.written_ranges()
    per_tile = prepared.scale.kind == "filter"
    near, faint = set(prepared.numbers.near_constant), set(prepared.numbers.negligible if per_tile else ())
    labels = (
        [text.range_text(*pair) for pair in ranges]
        if prepared.maps[0].size > 1
        else [text.number(high) for _, high in ranges]
    )
    if max(map(font.width, labels)) > width:
        shorter = _short_pair if prepared.maps[0].size > 1 else _short_high
        labels = [
            words if font.width(words) <= width or channel in near else shorter(pair, font, width, fixed=fixed)
            for channel, words, pair in zip(channels, labels, ranges, strict=True)
        ]
    for index, (state, channel) in enumerate(zip(prepared.states(), channels, strict=True)):
        if state == "dead":
            labels[index] = "dead"
        elif state == "constant":
            value = float(prepared.numbers.maximum[channel])
            labels[index] = "= " + text.fitting_number(value, font, width - font.width("= "))
        elif state == "nonfinite" and np.isnan(prepared.numbers.maximum[channel]):
            labels[index] = "NaN" if prepared.numbers.nan[channel] else text.INFINITY
        elif channel in faint:
            words = f"{text.ALMOST} 0: {text.number(float(prepared.numbers.strength[channel]), 2)}"
            labels[index] = words if font.width(words) <= width or not fixed else f"{text.ALMOST} 0"
    return labels


def has_single_limit(words: Sequence[str]) -> bool:
    """Return True if `words`, those of `below`, hold a tile with only one of its two ends."""
    return any(word.lstrip(text.MINUS)[:1].isdigit() and ".." not in word for word in words)


def _short_pair(ranges: tuple[float, float], font: text.Font, width: int, *, fixed: bool) -> str:
    """Return both ends in as many digits as fit; the one further from zero where `fixed` room holds no two."""
    words = [text.range_text(*ranges, digits) for digits in (2, 1)]
    fits = next((one for one in words if font.width(one) <= width), None)
    if fits is None and fixed:
        return text.fitting_number(max(ranges, key=abs), font, width)
    return fits or words[0]


def _short_high(ranges: tuple[float, float], font: text.Font, width: int, *, fixed: bool) -> str:
    """Return the upper end in as many digits as fit."""
    del fixed
    return text.fitting_number(ranges[1], font, width)
