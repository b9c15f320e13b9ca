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

FACE, HEAD, PLAIN = 10, 13, 11
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
    subject: PreparedMaps
    noun: str
    style: Style
    maps: NDArray[Any]
    clipped: tuple[int, ...]
    hatched: tuple[int, ...] = ()
    axis: int = 2
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
        if self.subject.scale.kind == "filter" or self.strip:
            return ""
        low, high = (text.number(float(ends[0])) for ends in (self.subject.low, self.subject.high))
        return f"colours {low}..{high}"

    @property
    def sorted(self) -> bool:
        """Whether its tiles are the strongest of the layer, or not in the order of their channels."""
        channels = self.subject.channels
        return self.style.measure != "index" and (len(channels) < self.subject.total or channels != sorted(channels))

    def first(self, count: int) -> SheetRow:
        """Return the band with the first `count` of its tiles."""
        if self.count <= count:
            return self
        subject = replace(self.subject, channels=self.subject.channels[:count])
        return replace(self, subject=subject, maps=self.maps[:count], clipped=self.clipped[:count])


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

    band: SheetRow
    rows: range
    corner: tuple[int, int]

    @property
    def words(self) -> str:
        """What the line of words says where the band began on an earlier page."""
        return " (continued)" if self.rows.start > 0 else ""

    def places(self, room: TileLimits) -> range:
        """Return the tiles of the band that are here."""
        return range(self.rows.start * room.per_row, min(self.rows.stop * room.per_row, self.band.count))

    def channels(self, room: TileLimits) -> list[int]:
        """Return the channels whose tiles, in ranges of their own, are here."""
        subject, places = self.band.subject, self.places(room)
        per_tile = subject.scale.kind == "filter" and not self.band.strip
        return subject.channels[places.start : places.stop] if per_tile else []

    def ends(self, room: TileLimits) -> list[str]:
        """Return what is written below the tiles that are here; a strip of units has none."""
        band, places = self.band, self.places(room)
        if band.strip:
            return []
        here = replace(band.subject, channels=band.subject.channels[places.start : places.stop])
        return range_labels.labels_below(here, room.side, fixed=True)

    def clipped(self, room: TileLimits) -> int:
        """Count the values here that lie beyond the ends of their colours."""
        places = self.places(room)
        return sum(self.band.clipped[places.start : places.stop])


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
        subject = prepared_maps.prepare(drawn, maps, whole, prepared_maps.scale_for(style, maps))
        clipped, note = (sum(subject.clipped()),), ", ".join(notes)
        return SheetRow(activation, subject, tiles.tile_name, whole, subject.shown(), clipped, note=note, strip=True)
    over = _over(activation, context, style) if style.overlay else None
    if tiles.tile_name != FILTER or len(maps) == 1:
        style = replace(style, channels=None)
    channels = mosaic.existing_channels(style.channels, len(maps))
    if channels == "":
        return None
    style = replace(style, channels=channels)
    is_map = set(drawn.axes[1:]) - {"channel"} == {"row", "column"}
    part = padding.image_region(drawn, context, (maps.shape[1], maps.shape[2])) if is_map else None
    subject = prepared_maps.prepare(drawn, maps, style, prepared_maps.scale_for(style, maps), part)
    shown = subject.shown()
    if tiles.masked:
        shown = _with_gaps(shown, tiles.masked, tiles.masked_axis)
    turned = [name for name in drawn.axes if name in {"row", "column"}] == ["column", "row"]
    notes += [tiles.note, "drawn with rows down" if turned else "", *step_notes]
    return SheetRow(
        activation,
        subject,
        tiles.tile_name,
        style,
        shown,
        _clipped(subject),
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


def _clipped(subject: PreparedMaps) -> tuple[int, ...]:
    """Return how many values of each tile lie beyond the ends of its colours."""
    return tuple(map(sum, subject.clipped_of_tiles()))


def _over(activation: Activation, context: Context, style: Style) -> Overlay | None:
    """Return the picture below a layer's maps, ``None`` where it has no place there."""
    try:
        return overlay.overlay_for(activation, context, dark=style.dark)
    except UsageError:
        return None


def _with_gaps(maps: NDArray[Any], gaps: Sequence[int], axis: int) -> NDArray[Any]:
    """Return ``(tile, row, column)`` with the places `gaps` put in along an axis: copies of the visible one before."""
    total = maps.shape[axis] + len(gaps)
    visible = np.delete(np.arange(total), gaps)
    places = np.searchsorted(visible, np.arange(total), side="right") - 1
    return maps.take(np.maximum(places, 0), axis=axis)


def tile_size(band: SheetRow, room: TileLimits) -> tuple[tuple[int, int], bool]:
    """Return height and width of a band's tiles, and whether values are averaged to fit.

    Small maps grow by whole factors. The units of a vector are cells side by side, in as
    many rows as they need; the size is that of a cell.
    """
    if band.strip:
        rows = -(-band.subject.total // room.width)
        columns = -(-band.subject.total // rows)
        return (max(3, _STRIP_HEIGHT // rows), min(_STRIP_CELL, room.width // columns)), False
    height, width = band.maps.shape[1:] if band.over is None else band.over.sizes
    widest = room.width if band.noun == MAP and band.over is None else room.side
    factor = min(room.side // height, widest // width)
    if factor >= 1:
        down, right = (max(factor, -(-_THINNEST // size)) for size in (height, width))
        return (height * down, width * right), False
    share = min(room.side / height, widest / width)
    return (max(_THINNEST, round(height * share)), max(_THINNEST, round(width * share))), True


def height(band: SheetRow, room: TileLimits, rows: range | None = None) -> int:
    """Return the height of a band, or of some rows of its tiles with the line of words."""
    head = text.get_font(HEAD, bold=True).height + 6 + _below_name(band, room)
    size, _ = tile_size(band, room)
    if band.strip:
        return head + -(-band.subject.total // (room.width // size[1])) * size[0] + 4 + text.get_font(FACE).height
    return head + len(rows or all_rows(band, room)) * row_height(size) - GAP


def all_rows(band: SheetRow, room: TileLimits) -> range:
    """Return the rows of tiles that a band has."""
    return range(-(-band.count // room.per_row))


def _below_name(band: SheetRow, room: TileLimits) -> int:
    """Return the height of what has no room beside the name: ends of the colours, distribution."""
    if not is_narrow(band, room):
        return 0
    ends = text.get_font(PLAIN).height + LINE_GAP if band.ends else 0
    return ends + (histograms.SPARK[0] + LINE_GAP if band.subject.distribution else 0)


def is_narrow(band: SheetRow, room: TileLimits) -> bool:
    """Tell whether ends of the colours and distribution have no room beside the name."""
    return room.width < (_NARROW_SPARK if band.subject.distribution else _NARROW)


def spark_side(room: TileLimits) -> str:
    """Return where the distributions of bands stand, in words."""
    return "below" if room.width < _NARROW_SPARK else "at the right of"


def row_height(size: tuple[int, int]) -> int:
    """Return the height in pixels of one row of tiles of this size, labels and gap included."""
    face = text.get_font(FACE)
    return face.height + 2 + size[0] + 4 + face.height + GAP
