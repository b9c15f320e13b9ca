"""The interface of renderers. A new kind of axes needs one module that implements `Renderer` and one line in `RENDERERS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, Context, Picture, Style

FILTER, MAP = "filter", "map"
"""Tile names that a sheet distinguishes: channels that `Style.channels` selects, and a single map."""


@dataclass(frozen=True, slots=True)
class SheetTiles:
    """The tiles of one entry of a batch on a sheet.

    Attributes
    ----------
    maps
        Shape ``(tile, row, column)``, contiguous, without masked steps.
    tile_name
        The name of one tile, such as ``head``; see `FILTER` and `MAP`.
    note
        Text after the number of tiles.
    masked
        Indices of the masked steps along `masked_axis` of `maps`, hatched on the sheet.
    reduced
        Whether each value of `maps` is computed from several values of the activation.
    strip
        Whether the tiles, ``(unit, 1, 1)``, are drawn as one strip of cells.
    sequence
        Whether the tile is a map of steps (down) by units: enlarged in each direction by itself, and transposed on
        sheets of long sequences.
    """

    maps: NDArray[Any]
    tile_name: str
    note: str = ""
    masked: tuple[int, ...] = ()
    masked_axis: int = 2
    reduced: bool = False
    strip: bool = False
    sequence: bool = False


class Renderer(Protocol):
    """A module or object that draws activations of one kind of axes."""

    def accepts(self, axes: Axes) -> bool:
        """Return True if the renderer draws activations with these axes, batch first."""
        ...

    def channel_axes(self, axes: Axes) -> Axes:
        """Return the axes that `Tile.channel` counts along, the last one fastest; none if one tile is the whole entry."""
        ...

    def draw(self, activation: Activation, index: int, context: Context, style: Style) -> Picture:
        """Draw one entry of the batch.

        Raises
        ------
        UsageError
            If the style requests what the activation does not have.
        LimitError
            If the figure would be too large.
        """
        ...

    def sheet_tiles(self, activation: Activation, index: int) -> SheetTiles:
        """Return the tiles of one entry of the batch, which has at least one unmasked step, for a sheet."""
        ...
