"""The text of captions and headings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.figures import colors, mosaic, text
from actviz.figures.page_layout import PageHeading
from actviz.records import MIXED, REVERSED
from actviz.statistics import channel_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.figures.color_scale import ColorScale
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Activation, Context, Style

ORDERS = {
    "index": "first by number",
    "max": "strongest by maximum |value|",
    "mean": "strongest by mean |value|",
    "std": "strongest by standard deviation",
    "l2": "strongest by L2 norm",
}
"""How the channels of a figure are ordered, for each measure of `Style.sort`."""

RANGE_NOTE = "its smallest and largest value"
SINGLE_LIMIT_NOTE = ", or only the one further from 0 where both have no room"


def heading(activation: Activation, context: Context) -> PageHeading:
    """Return the heading of the figure of one layer."""
    sizes = text.shape(context.maps_shape or activation.values.shape[1:]) or "one number"
    axes = [name for name in activation.axes[1:] if name in {"row", "column"}]
    if axes == ["column", "row"]:
        rows, columns = (activation.values.shape[activation.axes.index(name)] for name in ("row", "column"))
        sizes += f" ({', '.join(activation.axes[1:])}), drawn with rows down: {text.shape((rows, columns))}"
    if context.reduced:
        sizes += f", reduced: {context.reduced}"
    return PageHeading(activation.address, activation.kind, sizes, context)


def caption(
    prepared: PreparedMaps, style: Style, tile_name: str, state: str, *, are_inputs: bool = False
) -> tuple[str, ...]:
    """Return the parts of a caption: how many channels are drawn, dead, constant, clipped or non-finite.

    `tile_name` is the name of one channel, `state` the name of a channel that is 0 everywhere.
    All counts but the first refer to the whole layer. With `are_inputs`, the tiles are of several inputs, which
    have names and no numbers to list.
    """
    numbers, total = prepared.numbers, prepared.total
    shown = len(prepared.channels)
    first = f"{shown:,} of {text.plural(total, tile_name)}"
    parts = [first + selection_note(shown, total, style)]
    parts += order_notes(prepared.step_order)
    dead = numbers.channels_in(channel_statistics.DEAD)
    word = state if are_inputs else f"{state} on this input"
    parts.append(_counted(dead, word, listed=not are_inputs) if dead else f"none {word}")
    constant = numbers.channels_in(channel_statistics.CONSTANT)
    if constant:
        parts.append(_counted(constant, "constant", listed=not are_inputs))
    parts += _small_channel_notes(numbers, listed=not are_inputs)
    parts += [*_clipped_notes(prepared), _nonfinite_note(numbers, listed=not are_inputs)]
    parts += colormap_notes([prepared])
    if style.histogram and prepared.distribution is None:
        parts.append("no distribution: no finite value")
    return tuple(parts)


def colormap_notes(drawn: Sequence[PreparedMaps]) -> list[str]:
    """Return the notes about colormaps that mislead for the values that they show."""
    kinds = dict.fromkeys((prepared.table.name, prepared.signed) for prepared in drawn if not prepared.levels)
    notes = [colors.misleading(name, signed=signed) for name, signed in kinds]
    return list(dict.fromkeys(filter(None, notes)))


def order_notes(step_order: str) -> list[str]:
    """Return the notes about steps that are not in the order of the input."""
    notes = {
        REVERSED: "reversed: step 0 belongs to the last step of the input",
        MIXED: "order of the steps: not that of the input, or not known",
    }
    return [notes[step_order]] if step_order in notes else []


def _counted(channels: Sequence[int], word: str, *, listed: bool) -> str:
    """Return the number of channels with a property and, if they are listed, their numbers."""
    return f"{len(channels):,} {word}" + (f" ({text.listing(channels)})" if listed else "")


def _small_channel_notes(numbers: channel_statistics.ChannelStatistics, *, listed: bool) -> list[str]:
    """Return the notes about channels that are almost constant or almost 0."""
    parts = []
    if near := numbers.near_constant:
        within = f"ends within {text.number(100 * channel_statistics.NEAR_CONSTANT)}% of the larger"
        parts.append(f"{_counted(near, 'near-constant', listed=listed)}: {within}")
    if faint := numbers.negligible:
        parts.append(f"{_counted(faint, 'next to nothing', listed=listed)}: {negligible_limit('the layer')}")
    return parts


def negligible_limit(layer: str) -> str:
    """Return the description of the limit below which a channel of `layer` counts as negligible."""
    return f"below {text.number(100 * channel_statistics.NEGLIGIBLE)}% of the largest |value| of {layer}"


def selection_note(shown: int, total: int, style: Style, *, ordered: bool = True) -> str:
    """Return how the drawn channels, `shown` of `total`, were selected and ordered, with a leading comma.

    If `ordered` is false, the measure is omitted, for a page that names it once.
    """
    candidates = len(mosaic.parse_channels(style.channels, total))
    words = ""
    if style.measure != "index":
        words = f", {ORDERS[style.measure]}" if ordered else ","
    elif style.top is not None and shown < candidates:
        words = f", {ORDERS['index']}" if style.channels is None else ", first"
    if candidates == total:
        return words.removesuffix(",")
    return f"{words} of the {candidates:,} chosen" if words else ", as chosen"


def _clipped_notes(prepared: PreparedMaps) -> list[str]:
    count = sum(prepared.clipped())
    if not count:
        return []
    share = text.number(100 * count / max(1, prepared.shown().size), 2)
    ends = "the ends of the colors"
    if prepared.requested_range is not None:
        ends = f" {text.DASH} ".join(text.number(end) for end in prepared.requested_range)
    return [f"{text.plural(count, 'value')} ({share}%) clipped to {ends}"]


def scale_note(prepared: PreparedMaps, whole: str) -> str:
    """Return the description of a scale that all tiles share; `whole` names what shares it: ``the whole layer``."""
    scale = prepared.scale
    if scale.kind == "percentile":
        ends = percentiles_note(scale)
        reason = f" ({scale.reason})" if scale.reason else ""
        if prepared.requested_range is None:
            return f"one scale for {whole}: its {ends} are the same{reason}"
        return f"one scale: {ends} of the layer's values" + (", made even around 0" if prepared.signed else "") + reason
    if scale.kind == "bounds":
        return "one scale: the bounds of the activation function"
    if scale.kind == "from":
        return f"one scale, from {text.shown(str(scale).removeprefix('from:'), 60)}"
    known = {"fixed": "one scale, as asked", "run": "one scale for all inputs of the run"}
    return known.get(scale.kind, f"one scale for {whole}" + (f": {scale.reason}" if scale.reason else ""))


def percentiles_note(scale: ColorScale) -> str:
    """Return the description of the two percentiles of a scale."""
    return f"percentiles {text.number(scale.low, 4)} and {text.number(scale.high, 4)}"


def _nonfinite_note(numbers: channel_statistics.ChannelStatistics, *, listed: bool) -> str:
    if numbers.finite:
        return "no NaN"
    totals = {"NaN": numbers.nan.sum(), "infinite": numbers.infinite.sum()}
    counts = [f"{int(count):,} {kind}" for kind, count in totals.items() if count]
    where = f" (in {text.listing(numbers.channels_in(channel_statistics.NONFINITE))})" if listed else ""
    return f"{' and '.join(counts)}{where}"


def masked_notes(masked_steps: Sequence[int], count: int) -> tuple[str, ...]:
    """Return the notes about the masked steps of `count` steps."""
    if not masked_steps:
        return ()
    where = text.listing(masked_steps)
    if masked_steps == list(range(masked_steps[0], masked_steps[-1] + 1)) and len(masked_steps) > 1:
        where = f"{masked_steps[0]} to {masked_steps[-1]}"
    return (f"{len(masked_steps):,} of {count:,} steps masked ({where}): hatched, in no number",)
