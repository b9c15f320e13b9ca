"""From an activation to a figure of a report: the picture that `--bare` draws, and its statistics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import LimitError
from actviz.figures import colors, renderers
from actviz.figures.renderers import reduction
from actviz.records import Context, Style
from actviz.report import pictures
from actviz.report.contents import ReportFigure
from actviz.statistics import channel_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation, Box, Picture
    from actviz.statistics.running_statistics import RunningStatistics

MAXIMUM_VALUES = 4_000_000
BINS = 48
_CONTEXT = Context("", "", "")


def figure_of(activation: Activation, number: int, want: ChannelRequest) -> ReportFigure:
    """Draw an activation of one input, or its strongest channels where `want` allows no more.

    At least one channel is drawn, of up to 4 million values.

    Raises
    ------
    ActvizError
        When no renderer draws it, or one channel alone is too large.
    """
    channels = channels_of(activation)
    count = len(channels)
    each = activation.values.size // max(1, count)
    if each > MAXIMUM_VALUES:
        message = f"one channel has {each:,} values, at most {MAXIMUM_VALUES:,} are drawn."
        raise LimitError(message)
    top = max(1, min(MAXIMUM_VALUES, want.values) // max(1, each))
    # Where the bounds are known, colors run to them: 0.22 of a sigmoid must not look like certainty.
    scale = "filter" if activation.bounds is None else "auto"
    style = Style(scale=scale, bare=True)
    if top < count:
        chosen = ",".join(map(str, want.order[:top])) or None
        style = Style(scale=scale, bare=True, channels=chosen, sort="index" if chosen else "mean", top=top)
    context = replace(_CONTEXT, padding=want.padding)
    picture = renderers.draw(activation, 0, context, style)
    return _figure(activation, picture, number, channels_of(activation, context), other=want.other)


def channels_of(activation: Activation, context: Context = _CONTEXT) -> NDArray[Any]:
    """Return an activation of one input as ``(channel, ...)``, in the order of `Tile.channel`.

    What a channel is depends on the renderer: a unit, a head, a slice along all leading axes,
    or the whole activation. Values in the padding of `context` are left out.
    """
    axes = activation.axes
    values = reduction.values_in_image(activation.values[0], axes[1:], activation, context)
    renderer = renderers.renderer_of(axes)
    channel_axes = renderer.channel_axes(axes) if renderer is not None else ()
    moved: NDArray[Any] = np.moveaxis(values, [axes.index(name) - 1 for name in channel_axes], range(len(channel_axes)))
    return moved.reshape(-1, *moved.shape[len(channel_axes) :])


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """Which channels of a layer to draw: about `values` values, in this `order` of channels where it is known.

    `other` is true for an activation of the model compared with; `padding` is that of the
    `Sample`, whose values are left out of the statistics of a map.
    """

    values: int
    order: Sequence[int] = ()
    other: bool = False
    padding: Mapping[str, Box] = field(default_factory=dict)


def _figure(activation: Activation, picture: Picture, number: int, maps: NDArray[Any], *, other: bool) -> ReportFigure:
    tiles = picture.tiles
    numbers = channel_statistics.statistics(maps)
    channels = [tile.channel for tile in tiles]
    columns = (numbers.minimum, numbers.maximum, numbers.mean, numbers.zeros, numbers.magnitude)
    whole = len(tiles) * len(maps) // max(1, len(set(channels)))
    return ReportFigure(
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
        other,
    )


def single(values: Any) -> NDArray[np.float32]:
    """Return numbers as float32, clipped to its range."""
    limits = np.finfo(np.float32)
    wide = np.asarray(values, np.float64)
    with np.errstate(invalid="ignore", under="ignore"):
        return np.clip(wide, limits.min, limits.max).astype(np.float32)


def shrink(figure: ReportFigure, count: int, order: Sequence[int]) -> ReportFigure:
    """Return a figure with at most `count` tiles: the first channels of `order`, sorted by number."""
    if len(figure.channels) <= count:
        return figure
    rank = {channel: index for index, channel in enumerate(order)}
    ranked = sorted(range(len(figure.channels)), key=lambda index: rank.get(figure.channels[index], len(rank)))
    indices = sorted(ranked[:count], key=lambda index: (figure.channels[index], index))
    return replace(
        figure,
        mosaic=pictures.keep(figure.mosaic, indices),
        channels=tuple(figure.channels[index] for index in indices),
        indices=tuple(figure.indices[index] for index in indices) if figure.indices else (),
        ends=figure.ends[:, indices],
        numbers=figure.numbers[:, indices],
        states=figure.states[indices],
    )


def order_of(figure: ReportFigure) -> tuple[int, ...]:
    """Return the channels of a figure, the strongest first."""
    return tuple(dict.fromkeys(figure.channels[index] for index in strongest(figure)))


def strongest(figure: ReportFigure) -> list[int]:
    """Return the indices of the tiles, the strongest first: live ones before others, then by mean |value|."""
    means = np.nan_to_num(figure.numbers[4], nan=-np.inf)
    live = figure.states == channel_statistics.LIVE
    order: list[int] = np.lexsort((-means, ~live)).tolist()
    return order


def known_colors(name: str) -> NDArray[np.uint8]:
    """Return the colors of a picture without captions, ``(color, RGB)``: the table, its marks, white."""
    table = colors.table(name)
    return np.concatenate([table.colors, np.array([*table.nonfinite_colors, (255, 255, 255)], np.uint8)])


def histogram_of(values: NDArray[Any], numbers: dict[str, Any]) -> dict[str, Any]:
    """Return a histogram: `counts` of equally wide bins from `first` to `last`.

    Zeros are not in the bins unless all finite values are 0, and counted in `zeros`; `total` is the number of finite
    values, `other` that of NaN and infinities. `numbers` are the statistics of the picture of `values`, from which
    come mean, standard deviation and `cuts`, the percentiles.
    """
    flat = channel_statistics.as_numbers(values).reshape(-1)
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
    counts = [int(rest.size)] if first == last else channel_statistics.counts_between(rest, first, last, BINS)
    return record | {"counts": counts, "first": first, "last": last}


def summary_of(totals: RunningStatistics) -> dict[str, Any]:
    """Return the statistics of a layer over all inputs for its row in the list; `low` and `high` are NaN if it has no finite value."""
    low, high = channel_statistics.extremes_of(totals.minimum, totals.maximum)
    return {
        "low": low,
        "high": high,
        "dead": int(totals.dead.sum()),
        "zeros": totals.zeros / (totals.count or 1.0),
        "channels": totals.channels,
    }
