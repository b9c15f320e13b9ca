"""One layer of a sheet: a line of words, and its tiles or its strip of units below.

::

    address   class  shape   8 of 64 filters   colours -3..3   [distribution]
     3       17       40
    [tile]  [tile]  [tile] ...
    0..3.1  0..2.2  dead
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError
from actviz.figures import histograms, mosaic, text
from actviz.figures.renderers import (
    batch_entry,
    overlay,
    padding,
    prepared_maps,
    range_labels,
    reduction,
    renderer_of,
)
from actviz.figures.renderers.renderer_protocol import FILTER, MAP
from actviz.records import MIXED, REVERSED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.figures.renderers.overlay_blend import Overlay
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Activation, Context, Style

FONT_SIZE, HEADING_SIZE, TEXT_SIZE = 10, 13, 11
GAP = 8

_STRIP_HEIGHT, _STRIP_CELL = 24, 24
_THINNEST = 10
_LEAST_REDUCED = 2  # axes, with the batch
# Below this, what stands beside a name in wide bands gets lines of its own: without a distribution, with one.
_NARROW, _NARROW_SPARK = 280, 3 * histograms.SPARK[1]
LINE_GAP = 6
_STEP_NOTES = {REVERSED: ["steps reversed"], MIXED: ["steps not in the order of the input"]}


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One layer, ready to be drawn in any size.

    `noun` is what a tile is called; `style` is the sheet's as far as it is for this layer.
    `maps` are those of the chosen channels, ``(tile, row, column)``; `hatched` are the
    masked steps, which lie along `axis` of them. `note` says what was brought together into
    one map, `reduced` whether values were. `over` is the picture below the maps. `clipped`
    is how many values of each tile lie beyond the ends of its colours.
    """

    activation: Activation
    prepared: PreparedMaps
    tile_name: str
    style: Style
    maps: NDArray[Any]
    clipped: tuple[int, ...]
    masked_steps: tuple[int, ...] = ()
    masked_axis: int = 2
    note: str = ""
    over: Overlay | None = None
    reduced: bool = False
    strip: bool = False

    @property
    def count(self) -> int:
        """The number of tiles; the units of a vector make one strip."""
        return 1 if self.strip else len(self.maps)

    @property
    def ends(self) -> str:
        """The values at the ends of the colours that all tiles share, in words; a strip has them below it."""
        if self.prepared.scale.kind == "filter" or self.strip:
            return ""
        low, high = (text.number(float(ends[0])) for ends in (self.prepared.low, self.prepared.high))
        return f"colours {low}..{high}"

    @property
    def sorted(self) -> bool:
        """Whether its tiles are the strongest of the layer, or not in the order of their channels."""
        channels = self.prepared.channels
        return self.style.measure != "index" and (len(channels) < self.prepared.total or channels != sorted(channels))

    def first(self, count: int) -> SheetRow:
        """Return the band with the first `count` of its tiles."""
        if self.count <= count:
            return self
        prepared = replace(self.prepared, channels=self.prepared.channels[:count])
        return replace(self, prepared=prepared, maps=self.maps[:count], clipped=self.clipped[:count])


@dataclass(frozen=True, slots=True)
class TileLimits:
    """How large tiles are at most, and how many stand in a row."""

    side: int
    per_row: int

    @property
    def width(self) -> int:
        """The width of a band in pixels."""
        return self.per_row * (self.side + GAP) - GAP


@dataclass(frozen=True, slots=True)
class RowPart:
    """A band, or some rows of its tiles, with its top left at a pixel (row, column)."""

    row: SheetRow
    rows: range
    corner: tuple[int, int]

    @property
    def words(self) -> str:
        """What the line of words says where the band began on an earlier page."""
        return " (continued)" if self.rows.start > 0 else ""

    def indices(self, limits: TileLimits) -> range:
        """Return the tiles of the band that are here."""
        return range(self.rows.start * limits.per_row, min(self.rows.stop * limits.per_row, self.row.count))

    def channels(self, limits: TileLimits) -> list[int]:
        """Return the channels whose tiles, in ranges of their own, are here."""
        prepared, indices = self.row.prepared, self.indices(limits)
        per_tile = prepared.scale.kind == "filter" and not self.row.strip
        return prepared.channels[indices.start : indices.stop] if per_tile else []

    def ends(self, limits: TileLimits) -> list[str]:
        """Return what is written below the tiles that are here; a strip of units has none."""
        row, indices = self.row, self.indices(limits)
        if row.strip:
            return []
        here = replace(row.prepared, channels=row.prepared.channels[indices.start : indices.stop])
        return range_labels.labels_below(here, limits.side, fixed=True)

    def clipped(self, limits: TileLimits) -> int:
        """Count the values here that lie beyond the ends of their colours."""
        indices = self.indices(limits)
        return sum(self.row.clipped[indices.start : indices.stop])


def accepts(activation: Activation) -> bool:
    """Return True if a row can be made of an activation: numbers whose axes a renderer draws."""
    real = activation.values.dtype.kind not in "OSUTc"
    known = renderer_of(activation.axes) is not None and len(set(activation.axes)) == activation.values.ndim
    return real and known and 0 not in activation.values.shape


def prepare(activation: Activation, index: int, context: Context, style: Style) -> SheetRow | None:
    """Return the row of one entry of the batch, ``None`` where all steps are masked or no chosen channel exists.

    Raises
    ------
    UsageError
        When the style means nothing.
    """
    drawn, at, notes = activation, index, []
    # Reduced, a layer of channels alone would be one number.
    if style.reduce is not None and "channel" in activation.axes and activation.values.ndim > _LEAST_REDUCED:
        channels = mosaic.existing_channels(style.channels, activation.values.shape[activation.axes.index("channel")])
        if channels == "":
            return None
        drawn, note = reduction.reduce_channels(activation, index, replace(style, channels=channels), context)
        at, notes = 0, [note]
        style = replace(style, channels=None, top=None, sort="index")
    renderer = renderer_of(drawn.axes)
    if renderer is None or _is_masked(activation, index):
        return None
    tiles = renderer.sheet_tiles(drawn, at)
    maps, step_notes = tiles.maps, _STEP_NOTES.get(activation.step_order, ())
    if tiles.strip:
        whole = replace(style, top=None, sort="index", channels=None)
        prepared = prepared_maps.prepare(drawn, maps, whole, prepared_maps.scale_for(style, maps))
        clipped, note = (sum(prepared.clipped()),), ", ".join(notes)
        return SheetRow(activation, prepared, tiles.tile_name, whole, prepared.shown(), clipped, note=note, strip=True)
    over = _over(activation, context, style) if style.overlay else None
    if tiles.tile_name != FILTER or len(maps) == 1:
        style = replace(style, channels=None)
    channels = mosaic.existing_channels(style.channels, len(maps))
    if channels == "":
        return None
    style = replace(style, channels=channels)
    is_map = set(drawn.axes[1:]) - {"channel"} == {"row", "column"}
    part = padding.image_region(drawn, context, (maps.shape[1], maps.shape[2])) if is_map else None
    prepared = prepared_maps.prepare(drawn, maps, style, prepared_maps.scale_for(style, maps), part)
    shown = prepared.shown()
    if tiles.masked:
        shown = _with_gaps(shown, tiles.masked, tiles.masked_axis)
    turned = [name for name in drawn.axes if name in {"row", "column"}] == ["column", "row"]
    notes += [tiles.note, "drawn with rows down" if turned else "", *step_notes]
    return SheetRow(
        activation,
        prepared,
        tiles.tile_name,
        style,
        shown,
        _clipped(prepared),
        tiles.masked,
        tiles.masked_axis,
        ", ".join(filter(None, notes)),
        over,
        reduced=drawn is not activation or tiles.reduced,
    )


def _is_masked(activation: Activation, index: int) -> bool:
    """Return True if a layer of several axes has masked steps only."""
    if "step" not in activation.axes or activation.values.ndim <= _LEAST_REDUCED:
        return False
    steps: int = activation.values.shape[activation.axes.index("step")]
    return len(batch_entry.masked_steps(activation, index)) == steps


def _clipped(prepared: PreparedMaps) -> tuple[int, ...]:
    """Return how many values of each tile lie beyond the ends of its colours."""
    return tuple(map(sum, prepared.clipped_of_tiles()))


def _over(activation: Activation, context: Context, style: Style) -> Overlay | None:
    """Return the picture below a layer's maps, ``None`` where it has no place there."""
    try:
        return overlay.overlay_for(activation, context, dark=style.dark)
    except UsageError:
        return None


def _with_gaps(maps: NDArray[Any], gaps: Sequence[int], masked_axis: int) -> NDArray[Any]:
    """Return ``(tile, row, column)`` with the places `gaps` put in along an axis: copies of the visible one before."""
    total = maps.shape[masked_axis] + len(gaps)
    visible = np.delete(np.arange(total), gaps)
    indices = np.searchsorted(visible, np.arange(total), side="right") - 1
    return maps.take(np.maximum(indices, 0), axis=masked_axis)


def tile_size(row: SheetRow, limits: TileLimits) -> tuple[tuple[int, int], bool]:
    """Return height and width of a band's tiles, and whether values are averaged to fit.

    Small maps grow by whole factors. The units of a vector are cells side by side, in as
    many rows as they need; the size is that of a cell.
    """
    if row.strip:
        rows = -(-row.prepared.total // limits.width)
        columns = -(-row.prepared.total // rows)
        return (max(3, _STRIP_HEIGHT // rows), min(_STRIP_CELL, limits.width // columns)), False
    height, width = row.maps.shape[1:] if row.over is None else row.over.sizes
    widest = limits.width if row.tile_name == MAP and row.over is None else limits.side
    factor = min(limits.side // height, widest // width)
    if factor >= 1:
        down, right = (max(factor, -(-_THINNEST // size)) for size in (height, width))
        return (height * down, width * right), False
    share = min(limits.side / height, widest / width)
    return (max(_THINNEST, round(height * share)), max(_THINNEST, round(width * share))), True


def height(row: SheetRow, limits: TileLimits, rows: range | None = None) -> int:
    """Return the height of a band, or of some rows of its tiles with the line of words."""
    head = text.get_font(HEADING_SIZE, bold=True).height + 6 + _below_name(row, limits)
    size, _ = tile_size(row, limits)
    if row.strip:
        return (
            head + -(-row.prepared.total // (limits.width // size[1])) * size[0] + 4 + text.get_font(FONT_SIZE).height
        )
    return head + len(rows or all_rows(row, limits)) * row_height(size) - GAP


def all_rows(row: SheetRow, limits: TileLimits) -> range:
    """Return the rows of tiles that a band has."""
    return range(-(-row.count // limits.per_row))


def _below_name(row: SheetRow, limits: TileLimits) -> int:
    """Return the height of what has no room beside the name: ends of the colours, distribution."""
    if not is_narrow(row, limits):
        return 0
    ends = text.get_font(TEXT_SIZE).height + LINE_GAP if row.ends else 0
    return ends + (histograms.SPARK[0] + LINE_GAP if row.prepared.distribution else 0)


def is_narrow(row: SheetRow, limits: TileLimits) -> bool:
    """Tell whether ends of the colours and distribution have no room beside the name."""
    return limits.width < (_NARROW_SPARK if row.prepared.distribution else _NARROW)


def spark_side(limits: TileLimits) -> str:
    """Return where the distributions of bands stand, in words."""
    return "below" if limits.width < _NARROW_SPARK else "at the right of"


def row_height(size: tuple[int, int]) -> int:
    """Return the height in pixels of one row of tiles of this size, labels and gap included."""
    font = text.get_font(FONT_SIZE)
    return font.height + 2 + size[0] + 4 + font.height + GAP
