"""The table of `check`: layers that break a limit first, one line for each cause, below it the layers that inherit it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from actviz.commands.verdicts import number
from actviz.statistics.channel_statistics import extremes_of, least_of
from actviz.statistics.limits import list_channels, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.records import LayerInfo, RuleResult
    from actviz.statistics.running_statistics import RunningStatistics

HEADINGS = (
    "layer", "channels", "min", "max", "mean", "least std", "dead", "constant", "zeros", "saturated", "NaN", "inf",
    "result", "dead channels",
)  # fmt: skip
RIGHT = frozenset(range(1, HEADINGS.index("result")))
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckedLayer:
    """A layer, its statistics, the results of its limits, and those that an earlier layer broke (`passed`)."""

    layer: LayerInfo
    totals: RunningStatistics
    cases: Sequence[RuleResult]
    passed: Sequence[RuleResult] = ()


def rows(checked: Sequence[CheckedLayer], *, grouped: bool) -> tuple[Row, ...]:
    """Return the rows of a table.

    Layers that break a limit come first, in model order. With `grouped`, a layer that only inherits broken limits
    stands below the nearest earlier layer that broke them: one that passes values on, or that has NaN or infinities
    after the first layer with any.
    """
    broken: dict[str, list[Row]] = {}
    kept: list[Row] = []
    causes: dict[str, str] = {}
    for one in checked:
        own: list[str] = []
        inherited = [(causes.get(case.rule), f"passed on: {case.rule}") for case in one.passed]
        for rule in [case.rule for case in one.cases if not case.kept]:
            if grouped and rule.startswith("no ") and rule in causes:
                inherited.append((causes[rule], f"after {causes[rule]}: {rule}"))
            else:
                own.append(f"BROKEN: {rule}")
                causes[rule] = one.layer.address
        results = own + [text for _, text in inherited]
        above = [cause for cause, _ in inherited if cause is not None]
        if own:
            broken[one.layer.address] = _rows(one, results)
        elif above:
            broken[above[0]] += _rows(one, results, indent="  ")
        else:
            kept += _rows(one, results or ["ok"])
    return (*itertools.chain.from_iterable(broken.values()), *kept)


def _rows(one: CheckedLayer, results: Sequence[str], indent: str = "") -> list[Row]:
    """Return the row of a layer, and one for each result after the first."""
    totals = one.totals
    count = totals.count or 1.0
    low, high = extremes_of(totals.minimum, totals.maximum)
    numbers = (
        f"{totals.channels:,}",
        *(number(value) for value in (low, high, mean_of(totals), least_of(totals.std))),
        f"{int(totals.dead.sum()):,}",
        f"{int(totals.constant.sum()):,}",
        percent(totals.zeros / count),
        "not bounded" if np.isnan(totals.saturated) else percent(totals.saturated / count),
        f"{int(totals.nan.sum()):,}",
        f"{int(totals.infinite.sum()):,}",
    )
    first = (indent + one.layer.address, *numbers, results[0], list_channels(np.flatnonzero(totals.dead)))
    return [first, *(("",) * (len(numbers) + 1) + (result, "") for result in results[1:])]


def mean_of(totals: RunningStatistics) -> float:
    """Return the mean of the finite values of a layer, NaN if it has none."""
    has = totals.finite > 0
    if not has.any():
        return np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        return float((totals.mean[has] * (totals.finite[has] / totals.finite.sum())).sum())
