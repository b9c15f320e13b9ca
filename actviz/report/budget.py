"""Which tiles fit into a page of limited size: all channels if possible, else the strongest.

Every layer stays on the page with its numbers. What is dropped are the weaker channels of large maps, and more of
them for later inputs than for the first one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from actviz.errors import LimitError
from actviz.report.report_figures import shrink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.report.contents import ReportFigure, ReportLayer

# A figure of the first input gets this many times the bytes of a figure of another input.
FIRST_INPUT_FACTOR = 4
_MINIMUM_FIGURE_BYTES = 64
_BISECTION_STEPS = 40
# Estimate of the bytes that a value takes as a compressed pixel, before anything is drawn.
_BYTES_PER_VALUE = 0.5
_BYTES_PER_TILE = 26
_BYTES_PER_FIGURE = 900


def values_per_layer(sizes: Sequence[int], inputs: int, page_bytes: int) -> int:
    """Return how many values of a layer are worth drawing for the first input, before anything is compressed.

    The result allows about twice the values that fit, since the compressed size is only an estimate yet.

    Parameters
    ----------
    sizes
        Number of values of each drawn layer.
    inputs
        Estimated number of inputs with figures.
    page_bytes
        Size of the page.
    """
    total = int(2 * page_bytes / _BYTES_PER_VALUE)

    def drawn(limit: int) -> int:
        return sum(min(size, limit) + (inputs - 1) * min(size, limit // FIRST_INPUT_FACTOR) for size in sizes)

    low, high = 1, max(sizes, default=1) * FIRST_INPUT_FACTOR
    if drawn(high) <= total:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if drawn(middle) <= total else (low, middle)
    return low


def fit(layers: Sequence[ReportLayer], page_bytes: int) -> tuple[ReportLayer, ...]:
    """Return the layers with as many tiles as `page_bytes` of a page hold.

    Every figure gets up to the same number of bytes, so that small maps stay whole and large ones keep their
    strongest channels.

    Raises
    ------
    LimitError
        When not even one tile of one layer fits.
    """
    figures = [figure for layer in layers for figure in layer.figures]
    limit = FIRST_INPUT_FACTOR * max((_bytes_of(figure, len(figure.channels)) for figure in figures), default=0)
    if _total_bytes(layers, limit) > page_bytes:
        low, high = _MINIMUM_FIGURE_BYTES, limit
        for _ in range(_BISECTION_STEPS):
            middle = (low + high) // 2
            low, high = (middle, high) if _total_bytes(layers, middle) <= page_bytes else (low, middle)
        limit = low
    # Fewer tiles compress a little worse than all of them, so the estimate is checked against the drawn figures.
    while limit > _MINIMUM_FIGURE_BYTES:
        kept = tuple(_with_figures(layer, limit) for layer in layers)
        if sum(_bytes_of(figure, len(figure.channels)) for layer in kept for figure in layer.figures) <= page_bytes:
            return kept
        limit = int(limit * 0.9)
    return _greedy(layers, page_bytes)


def _total_bytes(layers: Sequence[ReportLayer], limit: int) -> int:
    return sum(
        _bytes_of(figure, count)
        for layer in layers
        for figure, count in zip(layer.figures, _tile_counts(layer, limit), strict=True)
    )


def _is_main(figure: ReportFigure) -> bool:
    """Return True for a figure of the first input and of the reported model."""
    return not (figure.input or figure.other)


def _tile_counts(layer: ReportLayer, limit: int) -> list[int]:
    """Return how many tiles of each figure of a layer fit into `limit` bytes, at least one.

    Figures of later inputs get equally many tiles, so that they can be compared.
    """
    tile_bytes = [
        (_bytes_of(figure, len(figure.channels)) - _BYTES_PER_FIGURE) / len(figure.channels) for figure in layer.figures
    ]
    largest = max(
        (size for size, figure in zip(tile_bytes, layer.figures, strict=True) if not _is_main(figure)), default=1.0
    )
    counts = []
    for figure, size in zip(layer.figures, tile_bytes, strict=True):
        main = _is_main(figure)
        available = (limit if main else limit // FIRST_INPUT_FACTOR) - _BYTES_PER_FIGURE
        counts.append(max(1, min(len(figure.channels), int(available / (size if main else largest)))))
    return counts


def _with_figures(layer: ReportLayer, limit: int) -> ReportLayer:
    counts = zip(layer.figures, _tile_counts(layer, limit), strict=True)
    return replace(layer, figures=tuple(shrink(figure, count, layer.order) for figure, count in counts))


def _greedy(layers: Sequence[ReportLayer], page_bytes: int) -> tuple[ReportLayer, ...]:
    """Return as many layers as fit with one tile of the first input each, those with findings first."""
    kept = list(layers)
    for index in sorted(range(len(layers)), key=lambda index: (not layers[index].marked, index)):
        layer = layers[index]
        figures = tuple(shrink(figure, 1, layer.order) for figure in layer.figures if _is_main(figure))
        size = sum(_bytes_of(figure, 1) for figure in figures)
        fits = size <= page_bytes
        page_bytes -= size if fits else 0
        kept[index] = replace(layer, figures=figures if fits else ())
    if not any(layer.figures for layer in kept):
        message = "no figure fits"
        raise LimitError(message)
    return tuple(kept)


def _bytes_of(figure: ReportFigure, tiles: int) -> int:
    """Return the estimated bytes of a figure with `tiles` tiles in a page: its picture and numbers in base64."""
    if not tiles:
        return 0
    png = len(figure.mosaic.png) * tiles / len(figure.channels)
    return int((png + tiles * _BYTES_PER_TILE) * 4 / 3) + _BYTES_PER_FIGURE


def smallest_figure_bytes(layers: Sequence[ReportLayer]) -> int:
    """Return the bytes of the smallest figure of one tile."""
    sizes = (
        _bytes_of(shrink(figure, 1, layer.order), 1) for layer in layers for figure in layer.figures if _is_main(figure)
    )
    return min(sizes, default=0)


def whole_figure_bytes(figure: ReportFigure) -> int:
    """Return the estimated bytes of a figure with all its tiles."""
    return _bytes_of(figure, figure.total)
