"""What fits into a page of limited size: all channels if possible, else the strongest.

Every layer keeps its place and its numbers; what gives way are pictures, evenly: first the
channels of inputs after the first, then those of the first, then whole inputs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actviz.errors import LimitError, UsageError, escape
from actviz.report.figures import shrink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.report.contents import Figure, Shown

_ALL = 1 << 30
# Tiles of a figure of the first input, of the others. 0: no figure.
STEPS = (
    (_ALL, _ALL), (_ALL, 256), (_ALL, 128), (_ALL, 64), (256, 64), (256, 32), (128, 32), (64, 32), (64, 16), (32, 16),
    (32, 8), (16, 8), (16, 4), (8, 4), (8, 0), (4, 0), (2, 0), (1, 0),
)  # fmt: skip
_UNITS = {"": 1, "B": 1, "K": 10**3, "KB": 10**3, "M": 10**6, "MB": 10**6, "G": 10**9, "GB": 10**9}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")
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
class Fitted:
    """Layers whose figures fit, and the most tiles that figures of the first and other inputs have."""

    layers: tuple[Shown, ...]
    first: int
    rest: int
    needed: int


def fit(layers: Sequence[Shown], room: int) -> Fitted:
    """Return the layers with as many tiles in their figures as `room`, in bytes of a page, holds.

    Raises
    ------
    LimitError
        When not even one tile of one layer has room.
    """
    needed = sum(_bytes_of(figure, len(figure.channels)) for layer in layers for figure in layer.figures)
    for first, rest in STEPS:
        estimate = sum(_bytes_of(one, _most(one, first, rest)) for layer in layers for one in layer.figures)
        # Fewer tiles pack a little worse, so that the estimate is checked where it is near.
        if estimate > room * 1.1:
            continue
        kept = tuple(_with_figures(layer, first, rest) for layer in layers)
        if sum(_bytes_of(one, len(one.channels)) for layer in kept for one in layer.figures) <= room:
            return Fitted(kept, first, rest, needed)
    return Fitted(_greedy(layers, room), 1, 0, needed)


def _greedy(layers: Sequence[Shown], room: int) -> tuple[Shown, ...]:
    """Return the layers with one tile of the first input as far as that goes, those with findings first."""
    order = sorted(range(len(layers)), key=lambda place: (not layers[place].marked, place))
    kept = list(layers)
    for place in order:
        one = _with_figures(layers[place], 1, 0)
        size = sum(_bytes_of(figure, 1) for figure in one.figures)
        fits = size <= room
        room -= size if fits else 0
        kept[place] = one if fits else replace(one, figures=())
    if not any(layer.figures for layer in kept):
        message = "no figure fits"
        raise LimitError(message)
    return tuple(kept)


def _most(figure: Figure, first: int, rest: int) -> int:
    return min(len(figure.channels), rest if figure.input or figure.other else first)


def _with_figures(layer: Shown, first: int, rest: int) -> Shown:
    kept = [shrink(one, _most(one, first, rest)) for one in layer.figures if _most(one, first, rest)]
    return replace(layer, figures=tuple(kept))


def _bytes_of(figure: Figure, tiles: int) -> int:
    """Return what a figure with so many tiles takes in a page: base64 of its picture and numbers."""
    if not tiles:
        return 0
    png = len(figure.mosaic.png) * tiles / len(figure.channels)
    return int((png + tiles * _PER_TILE) * 4 / 3) + _PER_FIGURE


def smallest(layers: Sequence[Shown]) -> int:
    """Return what the smallest figure of one tile takes."""
    return min((_bytes_of(one, 1) for layer in layers for one in layer.figures), default=0)


def whole_size(figure: Figure) -> int:
    """Return about what a figure would take with all its tiles."""
    return _bytes_of(figure, figure.total)
