"""From an activation to a figure of a report: the picture that `--bare` draws, and its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz import colors, renderers, stats
from actviz.errors import LimitError
from actviz.records import Context, Style
from actviz.renderers import reduction
from actviz.report import pictures
from actviz.report.contents import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation, Box, Picture
    from actviz.totals import Totals

LARGEST = 4_000_000
BINS = 48
_CHANNEL_AXES = ("channel", "unit", "head")
_CONTEXT = Context("", "", "")


def figure_of(activation: Activation, number: int, want: Want) -> Figure:
    """Draw the one entry of an activation's batch, its strongest channels where all are too many.

    One channel is drawn whatever its size, up to 4 million values.

    Raises
    ------
    ActvizError
        When nothing draws it, or one channel alone is too large.
    """
    axis = next((name for name in _CHANNEL_AXES if name in activation.axes), None)
    count = activation.values.shape[activation.axes.index(axis)] if axis else 1
    each = activation.values.size // max(1, count)
    if each > LARGEST:
        message = f"one channel has {each:,} values, at most {LARGEST:,} are drawn."
        raise LimitError(message)
    top = max(1, min(LARGEST, want.values) // max(1, each))
    style = Style(scale="filter", bare=True)
    if top < count:
        chosen = ",".join(map(str, want.order[:top])) or None
        style = Style(scale="filter", bare=True, channels=chosen, sort="index" if chosen else "mean", top=top)
    context = replace(_CONTEXT, padding=want.padding)
    picture = renderers.draw(activation, 0, context, style)
    return _figure(activation, picture, number, _Kept(axis, count, other=want.other, context=context))


@dataclass(frozen=True, slots=True)
class Want:
    """What is wanted of a layer: about so many values, the channels in this order if known.

    `other` says that the activation is of the model compared with; `padding` is that of the
    `Sample`, whose values are left out of the numbers of a map.
    """

    values: int
    order: Sequence[int] = ()
    other: bool = False
    padding: Mapping[str, Box] = field(default_factory=dict)


class _Kept:
    """Which axis numbers run over, how many there are, and whose they are."""

    def __init__(self, axis: str | None, count: int, *, other: bool, context: Context) -> None:
        self.axis, self.count, self.other, self.context = axis, count, other, context


def _figure(activation: Activation, picture: Picture, number: int, kept: _Kept) -> Figure:
    tiles = picture.tiles
    values = reduction.counted(activation.values[0], activation.axes[1:], activation, kept.context)
    if kept.axis is None:
        numbers = stats.statistics(values[None])
    else:
        numbers = stats.statistics(values, activation.axes.index(kept.axis) - 1)
    channels = [tile.channel if kept.axis else 0 for tile in tiles]
    columns = (numbers.minimum, numbers.maximum, numbers.mean, numbers.zeros)
    whole = len(tiles) * kept.count // max(1, len(set(channels)))
    return Figure(
        number,
        pictures.mosaic_of(picture.pixels, tiles, known_colors(str(picture.numbers["colormap"]))),
        tuple(tile.channel for tile in tiles),
        tuple(tile.indices for tile in tiles if len(tile.indices) > 1),
        single([[tile.low for tile in tiles], [tile.high for tile in tiles]]),
        single([column[channels] for column in columns]),
        numbers.state[channels],
        str(picture.numbers["colormap"]),
        bool(picture.numbers["signed"]),
        whole,
        histogram_of(activation.values, picture.numbers),
        kept.other,
    )


def single(values: Any) -> NDArray[np.float32]:
    """Return numbers as float32, those beyond its range at its ends."""
    ends = np.finfo(np.float32)
    wide = np.asarray(values, np.float64)
    with np.errstate(invalid="ignore", under="ignore"):
        return np.clip(wide, ends.min, ends.max).astype(np.float32)


def shrink(figure: Figure, most: int, order: Sequence[int]) -> Figure:
    """Return a figure with at most `most` tiles: the first channels of `order`, by their number."""
    if len(figure.channels) <= most:
        return figure
    rank = {channel: place for place, channel in enumerate(order)}
    wanted = sorted(range(len(figure.channels)), key=lambda place: rank.get(figure.channels[place], len(rank)))
    places = sorted(wanted[:most], key=lambda place: (figure.channels[place], place))
    return replace(
        figure,
        mosaic=pictures.keep(figure.mosaic, places),
        channels=tuple(figure.channels[place] for place in places),
        indices=tuple(figure.indices[place] for place in places) if figure.indices else (),
        ends=figure.ends[:, places],
        numbers=figure.numbers[:, places],
        states=figure.states[places],
    )


def order_of(figure: Figure) -> tuple[int, ...]:
    """Return the channels of a figure, the strongest first."""
    return tuple(dict.fromkeys(figure.channels[place] for place in strongest(figure)))


def strongest(figure: Figure) -> list[int]:
    """Return the places of the tiles by strength: those that live first, of them the largest mean."""
    means = np.nan_to_num(figure.numbers[2], nan=-np.inf)
    live = figure.states == stats.LIVE
    order: list[int] = np.lexsort((-means, ~live)).tolist()
    return order


def known_colors(name: str) -> NDArray[np.uint8]:
    """Return the colours that a bare picture may have, ``(color, RGB)``: the table, its marks, white."""
    table = colors.table(name)
    return np.concatenate([table.colors, np.array([*table.marks, (255, 255, 255)], np.uint8)])


def histogram_of(values: NDArray[Any], numbers: dict[str, Any]) -> dict[str, Any]:
    """Return how many values lie where: `counts` of bins of one width from `first` to `last`.

    `zeros` are counted apart where other values are; `total` is the number of finite values,
    `other` of those that are not. `numbers` are those that the picture of `values` came with:
    `cuts` are its percentiles, with mean and standard deviation.
    """
    flat = stats.as_numbers(values).reshape(-1)
    finite = flat if not (numbers["nan"] or numbers["infinite"]) else flat[np.isfinite(flat)]
    cuts = [cut for cut in numbers["percentiles"].items() if cut[1] is not None]
    record: dict[str, Any] = {
        "total": int(finite.size),
        "other": int(flat.size - finite.size),
        "zeros": int(finite.size - np.count_nonzero(finite)),
        "counts": [],
        "first": 0.0,
        "last": 0.0,
        "cuts": [[int(share), value] for share, value in cuts],
        "mean": numbers["mean"],
        "std": numbers["std"],
    }
    if not finite.size:
        return record
    rest = finite[finite != 0] if 0 < record["zeros"] < finite.size else finite
    first, last = float(rest.min()), float(rest.max())
    counts = [int(rest.size)] if first == last else stats.counts_between(rest, first, last, BINS)
    return record | {"counts": counts, "first": first, "last": last}


def summary_of(totals: Totals) -> dict[str, Any]:
    """Return the numbers of a layer over all inputs that a row of the list shows."""
    has = totals.finite > 0
    channels = totals.channels
    return {
        "low": float(totals.minimum[has].min()) if has.any() else None,
        "high": float(totals.maximum[has].max()) if has.any() else None,
        "dead": int(totals.dead.sum()),
        "constant": int(totals.constant.sum()),
        "nonfinite": int(((totals.nan > 0) | (totals.infinite > 0)).sum()),
        "zeros": totals.zeros / (totals.count or 1.0),
        "channels": channels,
    }
