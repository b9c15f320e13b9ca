"""Labels of tiles: the range of values of each tile, or its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actviz.figures import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.figures.renderers.prepared_maps import PreparedMaps
FONT_SIZE = 10


def labels_below(prepared: PreparedMaps, width: int, *, fixed: bool = False) -> list[str]:
    """Return the label below each drawn tile: the smallest and the largest of its values.

    For percentiles of each tile these are its color limits; a tile of one value has that value. Numbers
    are shortened to `width` pixels; if not even one digit each fits and `width` is `fixed`, only the limit
    farther from zero is written, with its sign (see `has_single_limit`). A state such as ``dead``
    replaces the numbers.
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
    labels = [
        label
        if font.width(label) <= width or channel in near
        else _short_pair(pair, font, width, fixed=fixed)
        if prepared.maps[0].size > 1
        else text.fitting_number(pair[1], font, width)
        for channel, label, pair in zip(channels, labels, ranges, strict=True)
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
            label = f"{text.ALMOST} 0: {text.number(float(prepared.numbers.strength[channel]), 2)}"
            labels[index] = label if font.width(label) <= width or not fixed else f"{text.ALMOST} 0"
    return labels


def has_single_limit(labels: Sequence[str]) -> bool:
    """Return True if one of the labels of `labels_below` has only one of its two limits."""
    return any(label.lstrip(text.MINUS)[:1].isdigit() and ".." not in label for label in labels)


def _short_pair(limits: tuple[float, float], font: text.Font, width: int, *, fixed: bool) -> str:
    """Return both limits with as many digits as fit, or the one farther from zero if two do not fit in a `fixed` width."""
    labels = [text.range_text(*limits, digits) for digits in (2, 1)]
    fitting = next((label for label in labels if font.width(label) <= width), None)
    if fitting is None and fixed:
        return text.fitting_number(max(limits, key=abs), font, width)
    return fitting or labels[0]
