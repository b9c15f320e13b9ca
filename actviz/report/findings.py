"""Findings about a network, worst first, from the statistics over all inputs.

The statistics are those of `actviz check` (`actviz.statistics.running_statistics`), but judged by the fixed rules of
this module instead of limits that the user sets.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from actviz.errors import escape
from actviz.figures import text
from actviz.layer_catalogue import passes_on
from actviz.report.contents import NOTE, PROBLEM, SEVERITIES, WARNING, Finding
from actviz.statistics.channel_statistics import extremes_of, indices_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actviz.records import LayerInfo
    from actviz.statistics.running_statistics import RunningStatistics

MANY_DEAD, SOME_DEAD = 0.5, 0.1
MUCH_SATURATED = 0.2
FAR_ABOVE, FAR_BELOW, FADING = 100.0, 1000.0, 1e4
_ENOUGH_LAYERS, _AROUND = 4, 4
_NAMED = 4


def find(
    layers: Sequence[LayerInfo], totals: Mapping[str, RunningStatistics], inputs: int, nonfinite: Mapping[str, int]
) -> tuple[Finding, ...]:
    """Return the findings, worst first.

    Parameters
    ----------
    layers
        Layers in the order of the model.
    totals
        Their statistics by address, over `inputs` inputs; layers without are ignored.
    nonfinite
        The number of the first input with NaN or infinities, by address.
    """
    findings: list[Finding] = []
    known = [layer for layer in layers if layer.address in totals]
    findings += _nonfinite(known, totals, nonfinite)
    for index, layer in enumerate(known):
        if not passes_on(layer.kind):
            behind = itertools.takewhile(lambda follower: passes_on(follower.kind), known[index + 1 :])
            own = _of_layer(layer.address, totals[layer.address], inputs)
            findings += _with_followers(own, {follower.address: totals[follower.address] for follower in behind})
    findings += _out_of_line(known, totals)
    order = {layer.address: index for index, layer in enumerate(layers)}
    findings.sort(key=lambda finding: (SEVERITIES.index(finding.severity), -finding.weight, order[finding.address]))
    return tuple(findings)


def _with_followers(findings: Iterable[Finding], followers: Mapping[str, RunningStatistics]) -> Iterator[Finding]:
    """Name the layers that pass dead or constant channels on in the finding of the layer before, not in their own."""
    for finding in findings:
        affected = [
            escape(address, 60)
            for address, totals in followers.items()
            if finding.kind in {"dead", "constant"} and getattr(totals, finding.kind).any()
        ]
        more = f" and {len(affected) - _NAMED} more" if len(affected) > _NAMED else ""
        also = f" Also in {', '.join(affected[:_NAMED])}{more}, which only pass values on." if affected else ""
        yield replace(finding, text=finding.text + also)


def _nonfinite(
    layers: Sequence[LayerInfo], totals: Mapping[str, RunningStatistics], nonfinite: Mapping[str, int]
) -> Iterator[Finding]:
    """Report the first layer with NaN or infinities as a problem, those that compute with them as warnings."""
    affected = [layer for layer in layers if totals[layer.address].nan.any() or totals[layer.address].infinite.any()]
    for index, layer in enumerate(affected):
        if index and passes_on(layer.kind):
            continue
        own = totals[layer.address]
        counts = [
            f"{int(count.sum()):,} {noun}"
            for count, noun in ((own.nan, "NaN"), (own.infinite, "infinite values"))
            if count.any()
        ]
        channels = indices_of((own.nan > 0) | (own.infinite > 0))
        sentence = f"{' and '.join(counts)} in {_share_of_channels(len(channels), own.channels)}"
        sentence += f" ({text.listing(channels)})" if len(channels) < own.channels else ""
        if not index:
            others = (
                f"the first of {len(affected):,} layers that have any"
                if len(affected) > 1
                else "no other layer has any"
            )
            sentence += f"; {others}"
        severity = WARNING if index else PROBLEM
        first_input = nonfinite.get(layer.address)
        yield Finding(severity, "NaN", layer.address, f"{sentence}.", 1e6 - index, channels[0], first_input)


def _of_layer(address: str, totals: RunningStatistics, inputs: int) -> Iterator[Finding]:
    inputs_text = f"on any of the {inputs:,} inputs" if inputs > 1 else "on the one input"
    dead = indices_of(totals.dead)
    if dead:
        share = len(dead) / totals.channels
        severity = PROBLEM if share >= MANY_DEAD and totals.channels > 1 and inputs > 1 else WARNING
        severity = severity if share >= SOME_DEAD else NOTE
        sentence = f"{_share_of_channels(len(dead), totals.channels)} never fire{'s' * (len(dead) == 1)} {inputs_text} ({text.listing(dead)})."
        yield Finding(severity, "dead", address, sentence, share, dead[0])
    constant = indices_of(totals.constant)
    # A single value of a single input is constant by nature.
    if constant and (totals.finite[constant] > inputs).any() | (inputs > 1):
        whole = len(constant) == totals.channels
        sentence = f"{_share_of_channels(len(constant), totals.channels)} give{'s' * (len(constant) == 1)} one value, not 0, {'whatever the input' if inputs > 1 else 'everywhere'} ({text.listing(constant)})."
        yield Finding(
            WARNING if whole else NOTE, "constant", address, sentence, len(constant) / totals.channels, constant[0]
        )
    if totals.count and not math.isnan(totals.saturated):
        share = totals.saturated / totals.count
        if share >= MUCH_SATURATED:
            sentence = (
                f"{text.number(100 * share)}% of its values lie at a bound of the activation function (within 1%)."
            )
            yield Finding(WARNING, "saturated", address, sentence, share)


def _share_of_channels(count: int, total: int) -> str:
    noun = "channel" if total == 1 else "channels"
    return f"all {total:,} {noun}" if count == total and total > 1 else f"{count:,} of {total:,} {noun}"


def strength_of(totals: RunningStatistics) -> float:
    """Return the largest absolute finite value of a layer, NaN if it has none."""
    low, high = extremes_of(totals.minimum, totals.maximum)
    return max(abs(low), abs(high))


def _out_of_line(layers: Sequence[LayerInfo], totals: Mapping[str, RunningStatistics]) -> Iterator[Finding]:
    """Report layers whose values differ by orders of magnitude from those around them.

    A layer is out of line when its largest value is at least 100 times the median of the four layers before and
    after it, or at most a thousandth of it. Where the median of the last quarter of the layers is ten thousand
    times below or above that of the first quarter, one finding reports that values fade or grow.
    """
    strengths = {layer.address: strength_of(totals[layer.address]) for layer in layers if not passes_on(layer.kind)}
    live = [(address, value) for address, value in strengths.items() if value > 0 and math.isfinite(value)]
    for index, (address, value) in enumerate(live):
        around = [neighbour for _, neighbour in live[max(0, index - _AROUND) : index + _AROUND + 1]]
        around.remove(value)
        if len(around) < _ENOUGH_LAYERS - 1:
            continue
        median = float(np.median(around))
        if value < FAR_ABOVE * median and value > median / FAR_BELOW:
            continue
        factor, where = (value / median, "above") if value > median else (median / value, "below")
        sentence = f"values up to {text.number(value)}: {text.number(factor, 2)} times {where} those of the layers around it ({text.number(median)})."
        yield Finding(WARNING, "range", address, sentence, min(0.99, math.log10(factor) / 10))
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
    sentence = f"values {verb} from layer to layer, from about {text.number(first)} in the first quarter of them to {text.number(last)} in the last; here they are at most {text.number(value)}."
    yield Finding(WARNING, "range", address, sentence, 0.995)


def verdict(findings: Sequence[Finding], inputs: int) -> str:
    """Return the result of the report in one sentence."""
    problems, warnings = (sum(finding.severity == level for finding in findings) for level in (PROBLEM, WARNING))
    on = f"on {text.plural(inputs, 'input')}"
    if problems:
        rest = f", and {warnings:,} more to look at" if warnings else ""
        return f"Something is wrong: {text.plural(problems, 'problem')} {on}{rest}."
    if warnings:
        return f"Nothing is broken {on}, but {text.plural(warnings, 'thing')} to look at."
    if findings:
        return f"Nothing looks wrong {on}: no NaN, no layer dead, saturated or out of line; {text.plural(len(findings), 'small note')}."
    return f"Nothing looks wrong {on}: no NaN, nothing dead, constant, saturated or out of line."
