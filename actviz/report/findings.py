"""What is wrong with a network, in words: from numbers over all inputs, worst first.

The numbers are those that `actviz check` judges by (`actviz.statistics.running_statistics`); here they are put in
order without limits that anybody set, by rules that are written beside each finding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from actviz.figures import text
from actviz.report.contents import NOTE, PROBLEM, SEVERITIES, WARNING, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actviz.records import LayerInfo
    from actviz.statistics.running_statistics import RunningStatistics

MANY_DEAD, SOME_DEAD = 0.5, 0.1
MUCH_SATURATED = 0.2
FAR_ABOVE, FAR_BELOW, FADING = 100.0, 1000.0, 1e4
_ENOUGH_LAYERS, _AROUND = 4, 4
# They hand on the numbers of the layer before, so that a fault would be told twice.
_HANDING_ON = frozenset(
    {
        "InputLayer", "Flatten", "Reshape", "Permute", "RepeatVector", "Dropout", "Identity", "ActivityRegularization",
        "GaussianNoise", "GaussianDropout", "AlphaDropout", "Masking", "Functional", "Sequential", "Model",
    }
)  # fmt: skip
_HANDING_ON_PARTS = ("Pool", "Padding", "Cropping", "UpSampling", "SpatialDropout")


def hands_on(kind: str) -> bool:
    """Tell whether layers of a class only pass on, move or thin out what they are given."""
    return kind in _HANDING_ON or any(part in kind for part in _HANDING_ON_PARTS)


def find(
    layers: Sequence[LayerInfo], totals: Mapping[str, RunningStatistics], inputs: int, nonfinite: Mapping[str, int]
) -> tuple[Finding, ...]:
    """Return what is out of the ordinary, worst first.

    Parameters
    ----------
    layers
        All that have numbers, in the order of the model.
    totals
        Theirs, by address, over `inputs` inputs.
    nonfinite
        The number of the first input with NaN or infinities, by address.
    """
    found: list[Finding] = []
    known = [layer for layer in layers if layer.address in totals]
    found += _nonfinite(known, totals, nonfinite)
    for layer in known:
        if not hands_on(layer.kind):
            found += _of_layer(layer.address, totals[layer.address], inputs)
    found += _out_of_line(known, totals)
    places = {layer.address: place for place, layer in enumerate(layers)}
    return tuple(
        sorted(found, key=lambda one: (SEVERITIES.index(one.severity), -one.weight, places.get(one.address, 0)))
    )


def _nonfinite(
    layers: Sequence[LayerInfo], totals: Mapping[str, RunningStatistics], nonfinite: Mapping[str, int]
) -> Iterator[Finding]:
    """Tell the first layer with NaN or infinities at length, those after it in a note each."""
    hit = [layer for layer in layers if totals[layer.address].nan.any() or totals[layer.address].infinite.any()]
    for place, layer in enumerate(hit):
        one = totals[layer.address]
        counts = [
            f"{int(count.sum()):,} {word}"
            for count, word in ((one.nan, "NaN"), (one.infinite, "infinite values"))
            if count.any()
        ]
        channels = np.flatnonzero((one.nan > 0) | (one.infinite > 0)).tolist()
        said = f"{' and '.join(counts)} in {_of(len(channels), one.channels)}"
        said += f" ({text.listing(channels)})" if len(channels) < one.channels else ""
        if not place:
            said += f"; the first of {len(hit):,} layers that have any" if len(hit) > 1 else "; no other layer has any"
        yield Finding(
            PROBLEM if not place else WARNING,
            "NaN",
            layer.address,
            f"{said}.",
            1e6 - place,
            channels[0],
            nonfinite.get(layer.address),
        )


def _of_layer(address: str, totals: RunningStatistics, inputs: int) -> Iterator[Finding]:
    on = f"on any of the {inputs:,} inputs" if inputs > 1 else "on the one input"
    dead = np.flatnonzero(totals.dead).tolist()
    if dead:
        share = len(dead) / totals.channels
        severity = PROBLEM if share >= MANY_DEAD and totals.channels > 1 and inputs > 1 else WARNING
        severity = severity if share >= SOME_DEAD else NOTE
        said = f"{_of(len(dead), totals.channels)} never fire{'s' * (len(dead) == 1)} {on} ({text.listing(dead)})."
        yield Finding(severity, "dead", address, said, share, dead[0])
    constant = np.flatnonzero(totals.constant).tolist()
    # One number for one input has nothing to differ from.
    if constant and (totals.finite[constant] > inputs).any() | (inputs > 1):
        whole = len(constant) == totals.channels
        said = f"{_of(len(constant), totals.channels)} give{'s' * (len(constant) == 1)} one value, not 0, {'whatever the input' if inputs > 1 else 'everywhere'} ({text.listing(constant)})."
        yield Finding(
            WARNING if whole else NOTE, "constant", address, said, len(constant) / totals.channels, constant[0]
        )
    if totals.count and not math.isnan(totals.saturated):
        share = totals.saturated / totals.count
        if share >= MUCH_SATURATED:
            said = f"{text.number(100 * share)}% of its values lie at a bound of the activation function (within 1%)."
            yield Finding(WARNING, "saturated", address, said, share)


def _of(count: int, total: int) -> str:
    noun = "channel" if total == 1 else "channels"
    return f"all {total:,} {noun}" if count == total and total > 1 else f"{count:,} of {total:,} {noun}"


def strength_of(totals: RunningStatistics) -> float:
    """Return the largest absolute finite value of a layer, NaN where it has none."""
    has = totals.finite > 0
    if not has.any():
        return math.nan
    return float(max(np.abs(totals.minimum[has]).max(), np.abs(totals.maximum[has]).max()))


def _out_of_line(layers: Sequence[LayerInfo], totals: Mapping[str, RunningStatistics]) -> Iterator[Finding]:
    """Tell layers far beyond those around them, and values that fade or grow from layer to layer.

    A layer is out of line when its largest value is 100 times the middle one of the four
    layers before and the four after it, or a thousandth of it. Where the middle layer of the
    last quarter is ten thousand times below or above that of the first, that is said once.
    """
    strengths = {layer.address: strength_of(totals[layer.address]) for layer in layers if not hands_on(layer.kind)}
    live = [(address, value) for address, value in strengths.items() if value > 0 and math.isfinite(value)]
    for place, (address, value) in enumerate(live):
        around = [near for _, near in live[max(0, place - _AROUND) : place + _AROUND + 1]]
        around.remove(value)
        if len(around) < _ENOUGH_LAYERS - 1:
            continue
        middle = float(np.median(around))
        if value < FAR_ABOVE * middle and value > middle / FAR_BELOW:
            continue
        factor, where = (value / middle, "above") if value > middle else (middle / value, "below")
        said = f"values up to {text.number(value)}: {text.number(factor, 2)} times {where} those of the layers around it ({text.number(middle)})."
        yield Finding(WARNING, "range", address, said, min(0.99, math.log10(factor) / 10))
    if len(live) >= _ENOUGH_LAYERS * 2:
        yield from _fading(live)


def _fading(live: Sequence[tuple[str, float]]) -> Iterator[Finding]:
    quarter = max(2, len(live) // 4)
    first, last = (float(np.median([value for _, value in part])) for part in (live[:quarter], live[-quarter:]))
    factor = max(first / last, last / first)
    if factor < FADING:
        return
    fades = last < first
    address, value = (min if fades else max)(live, key=lambda pair: pair[1])
    verb = "fade" if fades else "grow"
    said = f"values {verb} from layer to layer, from about {text.number(first)} in the first quarter of them to {text.number(last)} in the last; here they are at most {text.number(value)}."
    yield Finding(WARNING, "range", address, said, 0.995)


def verdict(findings: Sequence[Finding], inputs: int) -> str:
    """Return the answer in one sentence."""
    problems, warnings = (sum(one.severity == level for one in findings) for level in (PROBLEM, WARNING))
    on = f"on {inputs:,} input{'s' if inputs != 1 else ''}"
    if problems:
        rest = f", and {warnings:,} more to look at" if warnings else ""
        return f"Something is wrong: {problems:,} problem{'s' if problems > 1 else ''} {on}{rest}."
    if warnings:
        return f"Nothing is broken {on}, but {warnings:,} thing{'s' if warnings > 1 else ''} to look at."
    if findings:
        return f"Nothing looks wrong {on}: no NaN, no layer dead, saturated or out of line; {len(findings):,} small note{'s' if len(findings) > 1 else ''}."
    return f"Nothing looks wrong {on}: no NaN, nothing dead, constant, saturated or out of line."
