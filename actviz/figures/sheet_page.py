"""One page of a sheet: its rows, color bars and caption."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actviz.figures import color_scale, histograms, page_layout, sheet_bars, sheet_row, text
from actviz.figures.renderers import captions, padding, range_labels
from actviz.figures.renderers.overlay_blend import OVERLAY_NOTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actviz.figures.sheet_row import RowPart, SheetRow, TileLimits
    from actviz.records import Context, Style

# Tile side with room for both limits of every pair.
_WIDE_SIDE = 104


@dataclass(frozen=True, slots=True)
class SheetPage:
    """The contents of one page, and the size of its body in pixels."""

    parts: list[RowPart]
    limits: TileLimits
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """The rows of a sheet of `total` layers; `requested` is true if the user selected channels."""

    sheet_rows: list[SheetRow]
    context: Context
    style: Style
    total: int
    requested: bool

    @property
    def whole(self) -> int:
        """Number of layers including those left out."""
        return self.total + sum(number for _, number in self.context.left_out)

    @property
    def drawn(self) -> int:
        """Number of layers on all pages."""
        return len(layer_names(row.activation.address for row in self.sheet_rows))

    @property
    def counts(self) -> str:
        """The numbers of layers, the same in the heading and the caption of every page."""
        return (f"{self.drawn:,} of " if self.drawn < self.whole else "") + text.plural(self.whole, "layer")


def layer_names(addresses: Iterable[str]) -> set[str]:
    """Return the layers of some addresses; attention and its scores are one layer."""
    return {address.removesuffix("@scores") for address in addresses}


def layout(sheet: Sheet, page: SheetPage, where: str = "", words: Sequence[str] = ()) -> page_layout.PageLayout:
    """Return the layout of a page; `where` is its number, `words` are notes on how it was made to fit."""
    bars = sheet_bars.bars_of(part.row.prepared for part in page.parts)
    height = page.height + sheet_bars.height(len(bars), page.width)
    heading = page_layout.PageHeading(sheet.context.model, "", sheet.counts + where, replace(sheet.context, model=""))
    return page_layout.PageLayout(heading, None, (*_caption(sheet, page), *words), height, page.width)


def _caption(sheet: Sheet, page: SheetPage) -> list[str]:
    parts = [sheet.counts]
    parts += [f"{number:,} {reason}" for reason, number in sheet.context.left_out]
    if sheet.drawn < sheet.total:
        parts.append(f"{sheet.total - sheet.drawn} with nothing to draw")
    if any(part.row.sorted for part in page.parts):
        # Once for all layers, since there is often no room beside an address.
        parts.append(
            f"tiles of a layer: {captions.ORDERS[sheet.style.measure].replace('strongest', 'strongest first,')}"
        )
    range_note = captions.RANGE_NOTE + (captions.SINGLE_LIMIT_NOTE if _has_one_end(page) else "")
    drawn = [part.row.prepared for part in page.parts]
    shared = any(part.row.color_limits or part.row.strip for part in page.parts)
    parts.append(f"colors of a tile: {_colors_of_tiles(sheet.style, range_note, shared=shared)}")
    if any(set(part.row.prepared.numbers.negligible) & set(part.channels(page.limits)) for part in page.parts):
        parts.append(f"{text.ALMOST} 0: next to nothing, {captions.negligible_limit('its layer')}")
    clipped = sum(part.clipped(page.limits) for part in page.parts)
    if clipped:
        parts.append(f"{text.plural(clipped, 'value')} clipped to the ends of the colors")
    parts += captions.colormap_notes(drawn)
    parts += _distributions(page)
    parts += _overlays(page)
    if any(part.row.masked_steps for part in page.parts):
        parts.append("hatched: masked steps, in no number")
    if sheet.context.padding:
        parts += dict.fromkeys(
            words
            for part in page.parts
            for words in padding.note(
                part.row.activation, sheet.context, left_out=part.row.prepared.image_numbers is not None
            )
        )
    reduced = {id(part.row) for part in page.parts if sheet_row.tile_size(part.row, page.limits)[1]}
    if reduced:
        parts.append(f"reduced: the maps of {text.plural(len(reduced), 'layer')} averaged to fit")
    return parts


def _has_one_end(page: SheetPage) -> bool:
    """Return True if a tile has no room for both limits; in the largest tiles every pair fits."""
    limits = page.limits
    return limits.side < _WIDE_SIDE and any(range_labels.has_single_limit(part.labels(limits)) for part in page.parts)


def _colors_of_tiles(style: Style, range_note: str, *, shared: bool) -> str:
    """Return the description of the color limits of tiles.

    `range_note` describes the numbers below a tile, `shared` is true if a layer has its color limits written beside
    its name or below its strip.
    """
    scale = color_scale.parse_scale(style.scale)
    below = f"below a tile {range_note}"
    if scale.per_tile_percentiles:
        return f"{captions.percentiles_note(scale)} of its own values, written below it{range_note.removeprefix(captions.RANGE_NOTE)}"
    if scale.kind in {"auto", "filter"}:
        words = f"from 0 to its largest value, or as far to both sides of 0 as its largest |value|; {below}"
        return (
            f"{words}; of a layer with a range beside its name or below its strip, over that range" if shared else words
        )
    if scale.kind == "fixed":
        low, high = (text.number(end) for end in (scale.low, scale.high))
        return f"{low} {text.DASH} {high}, as asked; {below}"
    named = {"layer": "", "run": " (all inputs of the run)"}.get(scale.kind, f" ({text.shown(str(scale), 60)})")
    return f"one range a layer{named}, beside its name; {below}"


def _distributions(page: SheetPage) -> list[str]:
    """Return the notes about the histograms beside or below addresses."""
    reduced = [part.row.reduced for part in page.parts if part.row.prepared.distribution]
    if not reduced:
        return []
    values = "the layer's values"
    if any(reduced):
        values = "the layer's reduced values" if all(reduced) else f"{values}, reduced where its tiles are"
    return [histograms.spark_note(sheet_row.spark_side(page.limits), values)]


def _overlays(page: SheetPage) -> list[str]:
    """Return the notes about overlays."""
    laid = [(part.row.over, part.row.maps.shape[1:]) for part in page.parts if part.row.over]
    if not laid:
        return []
    borders = [over.border for over, (rows, columns) in laid if over.aligned and over.leaves_border((rows, columns))]
    return [OVERLAY_NOTE, *borders[:1]]
