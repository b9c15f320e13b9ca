"""What fits into a page of limited size: all channels if possible, else the strongest.

Every layer keeps its place and its numbers; what gives way are pictures: the weaker channels
of large maps, of inputs after the first sooner than of the first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actviz.errors import LimitError, UsageError, escape
from actviz.report.report_figures import shrink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.report.contents import ReportFigure, ReportLayer

# How much more room a figure of the first input gets than one of another.
FIRST = 4
_LEAST, _STEPS = 64, 40
# A value takes about this many bytes in a picture, before it is known.
_BYTES_A_VALUE = 0.5
_UNITS = {"": 1, "B": 1, "K": 10**3, "KB": 10**3, "M": 10**6, "MB": 10**6, "G": 10**9, "GB": 10**9}
_SIZE = re.compile(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([a-zA-Z]*)\s*")
_PER_TILE = 26
_PER_FIGURE = 900


def parse_size(text: str) -> int:
    """Read a size such as ``20MB``, ``500 kB`` or ``3000000``, in bytes.

    Raises
    ------
    UsageError
        When it is none.
    """
    found = _SIZE.fullmatch(text)
    unit = _UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None or float(found[1]) * unit < 1:
        message = f"--max-size {escape(text, 40)}: a size such as 20MB or 500kB was expected."
        raise UsageError(message)
    return int(float(found[1]) * unit)


@dataclass(frozen=True, slots=True)
class FittedFigures:
    """Layers whose figures fit, and how many bytes figures of the first input and of others got at most."""

    layers: tuple[ReportLayer, ...]
    first: int
    rest: int


def values_each(sizes: Sequence[int], inputs: int, room: int) -> int:
    """Return how many values of one layer are worth drawing for the first input, before anything is packed.

    What is drawn is about twice what will fit, since nobody knows yet how small it packs.
    The others get a share of it, see `FIRST`.

    Parameters
    ----------
    sizes
        The number of values of each layer that is drawn.
    inputs
        How many inputs figures are of, about.
    room
        The size of the page in bytes.
    """
    total = int(2 * room / _BYTES_A_VALUE)

    def needed(most: int) -> int:
        return sum(min(size, most) + (inputs - 1) * min(size, most // FIRST) for size in sizes)

    low, high = 1, max(sizes, default=1) * FIRST
    if needed(high) <= total:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle) <= total else (low, middle)
    return low


def fit(layers: Sequence[ReportLayer], room: int) -> FittedFigures:
    """Return the layers with as much of their figures as `room`, in bytes of a page, holds.

    Every figure gets up to the same number of bytes, so that small maps are whole and of
    large ones the strongest channels are there.

    Raises
    ------
    LimitError
        When not even one tile of one layer has room.
    """
    every = [figure for layer in layers for figure in layer.figures]
    most = FIRST * max((_bytes_of(one, len(one.channels)) for one in every), default=0)
    if _total(layers, most) > room:
        low, high = _LEAST, most
        for _ in range(_STEPS):
            middle = (low + high) // 2
            low, high = (middle, high) if _total(layers, middle) <= room else (low, middle)
        most = low
    # Fewer tiles pack a little worse than all of them, so that what came out is measured.
    while most > _LEAST:
        kept = tuple(_with_figures(layer, most) for layer in layers)
        if sum(_bytes_of(one, len(one.channels)) for layer in kept for one in layer.figures) <= room:
            return FittedFigures(kept, most, most // FIRST)
        most = int(most * 0.9)
    return FittedFigures(_greedy(layers, room), 0, 0)


def _total(layers: Sequence[ReportLayer], most: int) -> int:
    return sum(
        _bytes_of(one, count) for layer in layers for one, count in zip(layer.figures, _tiles(layer, most), strict=True)
    )


def _tiles(layer: ReportLayer, most: int) -> list[int]:
    """Return how many tiles each figure of a layer has room for in `most` bytes, at least one.

    Figures of inputs after the first have equally many, so that they can be compared.
    """
    first = [not (one.input or one.other) for one in layer.figures]
    each = [(_bytes_of(one, len(one.channels)) - _PER_FIGURE) / len(one.channels) for one in layer.figures]
    largest = max((size for size, is_first in zip(each, first, strict=True) if not is_first), default=1.0)
    return [
        max(1, min(len(one.channels), int(((most if is_first else most // FIRST) - _PER_FIGURE) / size)))
        for one, is_first, size in zip(
            layer.figures,
            first,
            [size if is_first else largest for size, is_first in zip(each, first, strict=True)],
            strict=True,
        )
    ]


def _with_figures(layer: ReportLayer, most: int) -> ReportLayer:
    kept = zip(layer.figures, _tiles(layer, most), strict=True)
    return replace(layer, figures=tuple(shrink(one, count, layer.order) for one, count in kept))


def _greedy(layers: Sequence[ReportLayer], room: int) -> tuple[ReportLayer, ...]:
    """Return the layers with one tile of the first input as far as that goes, those with findings first."""
    order = sorted(range(len(layers)), key=lambda place: (not layers[place].marked, place))
    kept = list(layers)
    for place in order:
        own = [shrink(one, 1, layers[place].order) for one in layers[place].figures if not (one.input or one.other)]
        size = sum(_bytes_of(one, 1) for one in own)
        fits = size <= room
        room -= size if fits else 0
        kept[place] = replace(layers[place], figures=tuple(own) if fits else ())
    if not any(layer.figures for layer in kept):
        message = "no figure fits"
        raise LimitError(message)
    return tuple(kept)


def _bytes_of(figure: ReportFigure, tiles: int) -> int:
    """Return what a figure with so many tiles takes in a page: base64 of its picture and numbers."""
    if not tiles:
        return 0
    png = len(figure.mosaic.png) * tiles / len(figure.channels)
    return int((png + tiles * _PER_TILE) * 4 / 3) + _PER_FIGURE


def smallest(layers: Sequence[ReportLayer]) -> int:
    """Return what the smallest figure of one tile takes."""
    first = ((one, layer.order) for layer in layers for one in layer.figures if not (one.input or one.other))
    return min((_bytes_of(shrink(one, 1, order), 1) for one, order in first), default=0)


def whole_size(figure: ReportFigure) -> int:
    """Return about what a figure would take with all its tiles."""
    return _bytes_of(figure, figure.total)
