"""What a renderer is: a new kind of axes is one module that fits `Renderer` and one line in `RENDERERS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, Context, Picture, Style

FILTER, MAP = "filter", "map"
"""Names of tiles with a meaning for a sheet: channels that `Style.channels` chooses among, and a map that stands alone."""


@dataclass(frozen=True, slots=True)
class SheetTiles:
    """One entry of a batch as a sheet shows it.

    Attributes
    ----------
    maps
        Shape ``(tile, row, column)``, contiguous, masked steps left out.
    tile_name
        What one tile is called: ``head``; see `FILTER` and `MAP`.
    note
        What the sheet writes behind the number of tiles.
    masked
        Indices of the masked steps along `masked_axis` of `maps`, hatched on the sheet.
    reduced
        Whether a value of `maps` stands for several of the activation.
    strip
        Whether the tiles, ``(unit, 1, 1)``, are drawn as one strip of cells.
    """

    maps: NDArray[Any]
    tile_name: str
    note: str = ""
    masked: tuple[int, ...] = ()
    masked_axis: int = 2
    reduced: bool = False
    strip: bool = False


class Renderer(Protocol):
    """A module or object that draws activations of one kind of axes."""

    def accepts(self, axes: Axes) -> bool:
        """Return True if activations with these axes, batch first, are drawn here."""
        ...

    def channel_axes(self, axes: Axes) -> Axes:
        """Return the axes that `Tile.channel` counts along, the last one fastest; none where a tile is the whole entry."""
        ...

    def draw(self, activation: Activation, index: int, context: Context, style: Style) -> Picture:
        """Draw one entry of the batch.

        Raises
        ------
        UsageError
            When the style asks for what this activation does not have.
        LimitError
            When the figure would be too large.
        """
        ...

    def sheet_tiles(self, activation: Activation, index: int) -> SheetTiles:
        """Return one entry of the batch, of whose steps at least one is not masked, as the tiles of a sheet."""
        ...
