"""One layer of a sheet: a line of text, and its tiles or its strip of units below.

::

    address   class  shape   8 of 64 filters   colors -3..3   [histogram]
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
    sequence,
    spatial,
)
from actviz.figures.renderers.renderer_protocol import FILTER, MAP
from actviz.records import MIXED, REVERSED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.figures.renderers.overlay_blend import Overlay
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.figures.renderers.renderer_protocol import SheetTiles
    from actviz.records import Activation, Context, Style

FONT_SIZE, HEADING_SIZE, TEXT_SIZE = 10, 13, 11
GAP = 8

_STRIP_HEIGHT, _STRIP_CELL = 24, 24
_THINNEST = 10
_LEAST_REDUCED = 2  # axes, with the batch
# In rows narrower than this the color limits and the histogram have lines of their own: without a histogram, with one.
_NARROW, _NARROW_SPARK = 280, 3 * histograms.SPARK[1]
LINE_GAP = 6
# A sequence on a sheet: most steps that run down, largest height of a step, width of a unit relative to it.
STEPS_DOWN, _HIGHEST_STEP, _WIDEST_UNIT = 64, 24, 6
# More words than these are not written beside the steps; the widest is shortened to this many pixels.
_MOST_WORDS, _WIDEST_WORD, WORD_GAP = 40, 120, 6
_STEP_NOTES = {REVERSED: ["steps reversed"], MIXED: ["steps not in the order of the input"]}


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One layer, ready to be drawn in any size.

    Attributes
    ----------
    tile_name
        The name of one tile, such as ``filter``.
    style
        The style of the sheet as it applies to this layer.
    maps
        The selected channels, ``(tile, row, column)``.
    clipped
        Number of values of each tile outside its color limits.
    masked_steps
        Indices of the masked steps along `masked_axis` of `maps`.
    note
        Text after the number of tiles.
    over
        The picture below the maps of an overlay.
    reduced
        Whether each value is computed from several values of the layer.
    strip
        Whether the tiles are drawn as one strip of cells.
    sequence
        Whether the only tile is a map of steps by units.
    words
        The words of the input, beside its steps.
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
    sequence: bool = False
    words: tuple[str, ...] = ()

    @property
    def margin(self) -> int:
        """Width in pixels of the words to the left of the tile."""
        font = text.get_font(FONT_SIZE)
        return min(_WIDEST_WORD, max(map(font.width, self.words))) + WORD_GAP if self.words else 0

    @property
    def numbered(self) -> bool:
        """Whether channel numbers are above the tiles."""
        return self.prepared.total > 1

    @property
    def count(self) -> int:
        """Number of tiles; the units of a vector are one strip."""
        return 1 if self.strip else len(self.maps)

    @property
    def color_limits(self) -> str:
        """Text of the color limits if all tiles share them; a strip has them below it."""
        if self.prepared.scale.kind == "filter" or self.strip:
            return ""
        low, high = (text.number(float(values[0])) for values in (self.prepared.low, self.prepared.high))
        return f"colors {low}..{high}"

    @property
    def sorted(self) -> bool:
        """Whether tiles are selected or ordered by a measure."""
        channels = self.prepared.channels
        return self.style.measure != "index" and (len(channels) < self.prepared.total or channels != sorted(channels))

    def first(self, count: int) -> SheetRow:
        """Return the row with its first `count` tiles."""
        if self.count <= count:
            return self
        prepared = replace(self.prepared, channels=self.prepared.channels[:count])
        return replace(self, prepared=prepared, maps=self.maps[:count], clipped=self.clipped[:count])


@dataclass(frozen=True, slots=True)
class TileLimits:
    """The largest side of tiles in pixels, and the number of tiles in a row."""

    side: int
    per_row: int

    @property
    def width(self) -> int:
        """Width of a sheet row in pixels."""
        return self.per_row * (self.side + GAP) - GAP


@dataclass(frozen=True, slots=True)
class RowPart:
    """A sheet row, or some of its rows of tiles, with its top left corner at a pixel ``(row, column)``."""

    row: SheetRow
    rows: range
    corner: tuple[int, int]

    @property
    def words(self) -> str:
        """Note that the row began on an earlier page."""
        return " (continued)" if self.rows.start > 0 else ""

    def indices(self, limits: TileLimits) -> range:
        """Return the indices of the tiles in this part."""
        return range(self.rows.start * limits.per_row, min(self.rows.stop * limits.per_row, self.row.count))

    def prepared(self, limits: TileLimits) -> PreparedMaps:
        """Return the maps of the row with the channels in this part as those to draw."""
        indices, prepared = self.indices(limits), self.row.prepared
        return replace(prepared, channels=prepared.channels[indices.start : indices.stop])

    def channels(self, limits: TileLimits) -> list[int]:
        """Return the channels of the tiles in this part if tiles have different color limits."""
        per_tile = self.row.prepared.scale.kind == "filter" and not self.row.strip
        return self.prepared(limits).channels if per_tile else []

    def labels(self, limits: TileLimits) -> list[str]:
        """Return the labels below the tiles in this part; a strip has none."""
        return [] if self.row.strip else range_labels.labels_below(self.prepared(limits), limits.side, fixed=True)

    def clipped(self, limits: TileLimits) -> int:
        """Return the number of values in this part outside their color limits."""
        indices = self.indices(limits)
        return sum(self.row.clipped[indices.start : indices.stop])


def accepts(activation: Activation) -> bool:
    """Return True if an activation can be drawn: real numbers with axes that a renderer accepts."""
    real = activation.values.dtype.kind not in "OSUTc"
    known = renderer_of(activation.axes) is not None and len(set(activation.axes)) == activation.values.ndim
    return real and known and 0 not in activation.values.shape


def prepare(
    activation: Activation, index: int, context: Context, style: Style, *, steps_down: bool = True
) -> SheetRow | None:
    """Return the row of one entry of the batch, ``None`` if all steps are masked or no selected channel exists.

    `steps_down` is the direction of the steps of sequences.

    Raises
    ------
    UsageError
        If the style is invalid.
    """
    drawn, at, notes = activation, index, []
    reduced = ""
    # A layer with only channels would be reduced to one number.
    if style.reduce is not None and "channel" in activation.axes and activation.values.ndim > _LEAST_REDUCED:
        channels = mosaic.existing_channels(style.channels, activation.values.shape[activation.axes.index("channel")])
        if channels == "":
            return None
        drawn, reduced = reduction.reduce_channels(activation, index, replace(style, channels=channels), context)
        at, notes = 0, [reduced]
        style = replace(style, channels=None, top=None, sort="index")
    drawn = drawn if style.overlay or drawn is not activation else batch_entry.without_single_axes(drawn)
    renderer = renderer_of(drawn.axes)
    if renderer is None or _is_masked(activation, index):
        return None
    tiles = renderer.sheet_tiles(drawn, at)
    if tiles.sequence and not steps_down:
        tiles = _transposed(tiles)
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
    tile_name = tiles.tile_name
    if is_map and activation.kind == "InputLayer":
        style, tile_name = spatial.input_style(style), "channel" if tile_name == FILTER else tile_name
    prepared = prepared_maps.prepare(drawn, maps, style, prepared_maps.scale_for(style, maps), part)
    shown = prepared.shown()
    if tiles.masked:
        shown = _with_gaps(shown, tiles.masked, tiles.masked_axis)
    turned = [name for name in drawn.axes if name in {"row", "column"}] == ["column", "row"]
    notes += [tiles.note, "drawn with rows down" if turned else "", *step_notes]
    return SheetRow(
        activation,
        prepared,
        tile_name,
        style,
        shown,
        _clipped(prepared),
        tiles.masked,
        tiles.masked_axis,
        ", ".join(filter(None, notes)),
        over,
        reduced=bool(reduced) or tiles.reduced,
        sequence=tiles.sequence,
        words=_words(drawn, context, shown.shape[1]) if tiles.sequence and steps_down else (),
    )


def steps_of(activation: Activation) -> int:
    """Return the number of steps of a layer that is drawn as a sequence, else 0."""
    flat = batch_entry.without_single_axes(activation)
    if not sequence.has_units(flat.axes):
        return 0
    steps: int = flat.values.shape[flat.axes.index(sequence.tile_names(flat.axes)[0])]
    return steps


def _transposed(tiles: SheetTiles) -> SheetTiles:
    """Return a map of steps by units with the steps across."""
    down, across = (words.partition(": ")[2] for words in tiles.note.split(", "))
    maps = np.ascontiguousarray(tiles.maps.transpose(0, 2, 1))
    return replace(tiles, maps=maps, note=f"down: {across}, across: {down}", masked_axis=2)


def _words(activation: Activation, context: Context, steps: int) -> tuple[str, ...]:
    """Return the words beside the steps of a sequence, none if there are too many."""
    words = batch_entry.step_words(activation, context, steps) if "step" in activation.axes else ()
    return tuple(text.shown(word, 80) for word in words) if steps <= _MOST_WORDS else ()


def _is_masked(activation: Activation, index: int) -> bool:
    """Return True if all steps of a layer of several axes are masked."""
    if "step" not in activation.axes or activation.values.ndim <= _LEAST_REDUCED:
        return False
    steps: int = activation.values.shape[activation.axes.index("step")]
    return len(batch_entry.masked_steps(activation, index)) == steps


def _clipped(prepared: PreparedMaps) -> tuple[int, ...]:
    """Return the number of values of each tile outside its color limits."""
    return tuple(map(sum, prepared.clipped_of_tiles()))


def _over(activation: Activation, context: Context, style: Style) -> Overlay | None:
    """Return the overlay of a layer, ``None`` if it cannot be aligned with the input."""
    try:
        return overlay.overlay_for(activation, context, dark=style.dark)
    except UsageError:
        return None


def _with_gaps(maps: NDArray[Any], gaps: Sequence[int], masked_axis: int) -> NDArray[Any]:
    """Return ``(tile, row, column)`` with masked steps inserted at `gaps`, as copies of the preceding unmasked step."""
    total = maps.shape[masked_axis] + len(gaps)
    visible = np.delete(np.arange(total), gaps)
    indices = np.searchsorted(visible, np.arange(total), side="right") - 1
    return maps.take(np.maximum(indices, 0), axis=masked_axis)


def tile_size(row: SheetRow, limits: TileLimits) -> tuple[tuple[int, int], bool]:
    """Return the height and width of tiles, and whether values are averaged to fit.

    Small maps are enlarged by integer factors. For a strip the size is that of the cell of a unit.
    """
    if row.strip:
        rows = -(-row.prepared.total // limits.width)
        columns = -(-row.prepared.total // rows)
        return (max(3, _STRIP_HEIGHT // rows), min(_STRIP_CELL, limits.width // columns)), False
    if row.sequence:
        return _sequence_size(row, limits)
    height, width = row.maps.shape[1:] if row.over is None else row.over.sizes
    widest = limits.width if row.tile_name == MAP and row.over is None else limits.side
    factor = min(limits.side // height, widest // width)
    if factor >= 1:
        down, right = (max(factor, -(-_THINNEST // size)) for size in (height, width))
        return (height * down, width * right), False
    share = min(limits.side / height, widest / width)
    return (max(_THINNEST, round(height * share)), max(_THINNEST, round(width * share))), True


def _sequence_size(row: SheetRow, limits: TileLimits) -> tuple[tuple[int, int], bool]:
    """Return the size of a map of steps by units: as wide as the row, unless its units become too wide."""
    (rows, columns), room = row.maps.shape[1:], limits.width - row.margin
    down = min(_HIGHEST_STEP, limits.side // rows)
    if row.words:
        down = max(down, text.get_font(FONT_SIZE).height)
    right = min(_WIDEST_UNIT * max(1, down), room // columns)
    size = max(_THINNEST, rows * down if down else limits.side), max(_THINNEST, columns * right if right else room)
    return size, not down or not right


def natural_width(row: SheetRow, limits: TileLimits) -> int:
    """Return the width in pixels that a row needs: of a sequence that of square values."""
    if row.strip:
        return limits.width
    if row.sequence:
        (height, _), reduced = _sequence_size(row, limits)
        square = row.maps.shape[2] * max(1, height // row.maps.shape[1]) + row.margin
        return limits.width if reduced else min(limits.width, square)
    return row.count * max(limits.side + GAP, tile_size(row, limits)[0][1])


def height(row: SheetRow, limits: TileLimits, rows: range | None = None) -> int:
    """Return the height of a sheet row, or of some of its rows of tiles with the line of text."""
    head = text.get_font(HEADING_SIZE, bold=True).height + 6 + _below_name(row, limits)
    size, _ = tile_size(row, limits)
    if row.strip:
        return (
            head + -(-row.prepared.total // (limits.width // size[1])) * size[0] + 4 + text.get_font(FONT_SIZE).height
        )
    return head + len(rows or all_rows(row, limits)) * row_height(size, numbered=row.numbered) - GAP


def all_rows(row: SheetRow, limits: TileLimits) -> range:
    """Return the rows of tiles of a sheet row."""
    return range(-(-row.count // limits.per_row))


def _below_name(row: SheetRow, limits: TileLimits) -> int:
    """Return the height of color limits and histogram if they are below the address."""
    if not is_narrow(row, limits):
        return 0
    height = text.get_font(TEXT_SIZE).height + LINE_GAP if row.color_limits else 0
    return height + (histograms.SPARK[0] + LINE_GAP if row.prepared.distribution else 0)


def is_narrow(row: SheetRow, limits: TileLimits) -> bool:
    """Return True if color limits and histogram do not fit beside the address."""
    return limits.width < (_NARROW_SPARK if row.prepared.distribution else _NARROW)


def spark_side(limits: TileLimits) -> str:
    """Return where histograms are drawn relative to addresses."""
    return "below" if limits.width < _NARROW_SPARK else "at the right of"


def row_height(size: tuple[int, int], *, numbered: bool) -> int:
    """Return the height in pixels of one row of tiles of this size, labels and gap included."""
    font = text.get_font(FONT_SIZE)
    return (font.height + 2 if numbered else 0) + size[0] + 4 + font.height + GAP
