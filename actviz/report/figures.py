"""From an activation to a figure of a report: the picture that `--bare` draws, and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz import renderers, stats
from actviz.errors import LimitError
from actviz.records import Context, Style
from actviz.report import pictures
from actviz.report.contents import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation, Picture
    from actviz.totals import Totals

LARGEST = 4_000_000
BINS = 48
_CHANNEL_AXES = ("channel", "unit", "head")
_CONTEXT = Context("", "", "")


def figure_of(activation: Activation, number: int, most: int, *, other: bool = False) -> Figure:
    """Draw the one entry of an activation's batch, its strongest channels where all are too many.

    Parameters
    ----------
    activation
        What a layer gave for input `number`; `other` says that it is of the model compared with.
    most
        Values to draw, about; one channel is drawn whatever its size, up to 4 million.

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
    top = max(1, min(LARGEST, most) // max(1, each))
    style = Style(bare=True) if top >= count else Style(bare=True, sort="mean", top=top)
    picture = renderers.draw(activation, 0, _CONTEXT, style)
    return _figure(activation, picture, number, _Kept(axis, count, other=other))


class _Kept:
    """Which axis numbers run over, how many there are, and whose they are."""

    def __init__(self, axis: str | None, count: int, *, other: bool) -> None:
        self.axis, self.count, self.other = axis, count, other


def _figure(activation: Activation, picture: Picture, number: int, kept: _Kept) -> Figure:
    tiles = picture.tiles
    values = activation.values[0]
    if kept.axis is None:
        numbers = stats.statistics(values[None])
    else:
        numbers = stats.statistics(values, activation.axes.index(kept.axis) - 1)
    channels = [tile.channel if kept.axis else 0 for tile in tiles]
    columns = (numbers.minimum, numbers.maximum, numbers.mean, numbers.zeros)
    whole = len(tiles) * kept.count // max(1, len(set(channels)))
    return Figure(
        number,
        pictures.mosaic_of(picture.pixels, tiles),
        tuple(tile.channel for tile in tiles),
        tuple(tile.index for tile in tiles if len(tile.index) > 1),
        single([[tile.low for tile in tiles], [tile.high for tile in tiles]]),
        single([column[channels] for column in columns]),
        numbers.state[channels],
        str(picture.numbers["colormap"]),
        bool(picture.numbers["signed"]),
        whole,
        histogram_of(activation.values),
        kept.other,
    )


def single(values: Any) -> NDArray[np.float32]:
    """Return numbers as float32, those beyond its range at its ends."""
    ends = np.finfo(np.float32)
    wide = np.asarray(values, np.float64)
    with np.errstate(invalid="ignore", under="ignore"):
        return np.clip(wide, ends.min, ends.max).astype(np.float32)


def shrink(figure: Figure, most: int) -> Figure:
    """Return a figure with at most `most` tiles, the strongest by their mean, in order of their number.

    Tiles that run over several axes are kept channel by channel.
    """
    if len(figure.channels) <= most:
        return figure
    means = np.nan_to_num(figure.numbers[2], nan=-np.inf)
    order = np.argsort(-means, kind="stable")
    if figure.indices:
        order = np.lexsort((np.arange(len(means)), np.array(figure.channels), -means))
    places = sorted(order[:most].tolist())
    return Figure(
        figure.input,
        pictures.keep(figure.mosaic, places),
        tuple(figure.channels[place] for place in places),
        tuple(figure.indices[place] for place in places) if figure.indices else (),
        figure.ends[:, places],
        figure.numbers[:, places],
        figure.states[places],
        figure.table,
        figure.signed,
        figure.total,
        figure.histogram,
        figure.other,
    )


def strongest(figure: Figure) -> list[int]:
    """Return the places of the tiles by strength: those that live first, of them the largest mean."""
    means = np.nan_to_num(figure.numbers[2], nan=-np.inf)
    live = figure.states == stats.LIVE
    order: list[int] = np.lexsort((-means, ~live)).tolist()
    return order


def histogram_of(values: NDArray[Any]) -> dict[str, Any]:
    """Return how many values lie where: `counts` of bins of one width from `first` to `last`.

    `zeros` are counted apart where other values are; `total` is the number of finite values,
    `other` of those that are not. `cuts` are percentiles 1, 5, 25, 50, 75, 95 and 99, values
    that occur.
    """
    flat = stats.as_numbers(values).reshape(-1)
    finite = flat[np.isfinite(flat)]
    record: dict[str, Any] = {"total": int(finite.size), "other": int(flat.size - finite.size), "zeros": 0}
    if not finite.size:
        return record | {"counts": [], "first": 0.0, "last": 0.0, "cuts": [], "mean": None, "std": None}
    record["zeros"] = int(finite.size - np.count_nonzero(finite))
    rest = finite[finite != 0] if 0 < record["zeros"] < finite.size else finite
    first, last = float(rest.min()), float(rest.max())
    record["counts"] = _counts(rest, first, last)
    record["first"], record["last"] = first, last
    places = [(finite.size - 1) * share // 100 for share in (1, 5, 25, 50, 75, 95, 99)]
    record["cuts"] = [float(cut) for cut in np.partition(finite, places)[places]]
    with np.errstate(over="ignore", invalid="ignore"):
        wide = finite.astype(np.float64)
        spread, middle = float(wide.std()), float(wide.mean())
    record["mean"] = middle if np.isfinite(middle) else None
    record["std"] = spread if np.isfinite(spread) else None
    return record


def _counts(values: NDArray[Any], first: float, last: float) -> list[int]:
    if first == last:
        return [int(values.size)]
    # Halved, the widest ranges stay finite.
    factor = 0.5 if max(-first, last) > np.finfo(np.float64).max / 4 else 1.0
    with np.errstate(under="ignore"):
        share = (values.astype(np.float64) * factor - first * factor) / (last * factor - first * factor)
    places = np.minimum((share * BINS).astype(np.int64), BINS - 1)
    counts: list[int] = np.bincount(places, minlength=BINS).tolist()
    return counts


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


def kept_channels(figures: Sequence[Figure]) -> int:
    """Return the largest number of tiles that any figure of a layer shows."""
    return max((len(figure.channels) for figure in figures), default=0)
