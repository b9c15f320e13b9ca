"""Attention: one map for each head, the weight of each key for each query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actviz.figures.renderers import grid, reduction
from actviz.figures.renderers.axis_labels import AxisLabels
from actviz.figures.renderers.batch_entry import maps_in_order, step_words
from actviz.figures.renderers.renderer_protocol import SheetTiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, Context, Picture, Style

_ORDER = ("head", "query", "key")


def accepts(axes: Axes) -> bool:
    """Return True if the axes are head, query and key."""
    return axes[:1] == ("batch",) and sorted(axes[1:]) == sorted(_ORDER)


def maps_of(activation: Activation, index: int) -> NDArray[Any]:
    """Return one entry of the batch as ``(head, query, key)``, contiguous."""
    return maps_in_order(activation, index, _ORDER)


def channel_axes(axes: Axes) -> Axes:  # noqa: ARG001  (as in every renderer)
    """Return the axis of the heads; see `Renderer`."""
    return ("head",)


def sheet_tiles(activation: Activation, index: int) -> SheetTiles:
    """Return one tile for each head; see `Renderer`."""
    return SheetTiles(maps_of(activation, index), "head", "down: query, across: key")


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw each selected head as a map with queries down and keys across; see `Renderer`."""
    maps = maps_of(activation, index)
    heads, queries, keys = maps.shape
    by = reduction.block_factors(heads, queries, keys) if not style.zoom else (1, 1)
    reduced = ""
    if by != (1, 1):
        maps, reduced = (
            reduction.block_means(maps, *by),
            reduction.block_mean_note(("query", "key"), by).replace("querys", "queries"),
        )
    side_labels = (
        _axis("query", queries, by[0], step_words(activation, context, queries)),
        _axis("key", keys, by[1], step_words(activation, context, keys)),
    )
    notes = ("down: query", "across: key")
    tile_set = grid.TileSet(
        maps,
        "head",
        (("head",), "query", "key"),
        names=_names(heads),
        side_labels=side_labels,
        notes=notes,
        reduced=reduced,
    )
    return grid.draw(activation, tile_set, context, style)


def _names(heads: int) -> tuple[str, ...]:
    return tuple(f"head {head}" for head in range(heads))


def _axis(name: str, count: int, by: int, words: tuple[str, ...]) -> AxisLabels:
    return AxisLabels.of(name, range(0, count, by), words if by == 1 else ())
