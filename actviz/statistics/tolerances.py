"""Tolerances of a comparison: how they are written, and which layers keep them."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.errors import UsageError, escape
from actviz.records import RuleResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from actviz.statistics.differences import LayerDifference

DEFAULT_ATOL, DEFAULT_RTOL = 1e-6, 1e-3
MEASURES = {
    "max": ("largest", "largest absolute difference"),
    "mean": ("mean", "mean absolute difference"),
    "relative": ("relative", "relative error"),
    "cosine": ("cosine", "cosine similarity"),
    "correlation": ("correlation", "correlation of channel means"),
}
"""What ``--fail-on`` names: an attribute of `compare.Drift`, and its words."""

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_RULE = re.compile(r"\s*([a-z]+)\s*(<=|>=|<|>)\s*(\S+?)(%?)\s*")


@dataclass(frozen=True, slots=True)
class Rule:
    """``cosine<0.98``: a layer fails where its measure compares so with the limit."""

    measure: str
    comparison: str
    limit: float

    def __str__(self) -> str:
        """Return what the command line takes."""
        return f"{self.measure}{self.comparison}{self.limit:g}"


@dataclass(frozen=True, slots=True)
class Tolerances:
    """What every pair of layers must keep.

    The largest absolute difference is at most `atol` + `rtol` x the largest absolute value
    of A (both ``None``: not asked for), and none of `rules` holds.
    """

    atol: float | None = DEFAULT_ATOL
    rtol: float | None = DEFAULT_RTOL
    rules: tuple[Rule, ...] = ()


def tolerances(atol: float | None, rtol: float | None, rules: tuple[Rule, ...]) -> Tolerances:
    """Return what was asked for: without anything, the default tolerance; rules replace it."""
    if atol is None and rtol is None:
        return Tolerances(None, None, rules) if rules else Tolerances()
    return Tolerances(atol or 0.0, rtol or 0.0, rules)


def parse_rule(text: str) -> Rule:
    """Read ``cosine<0.98``, ``relative>5%``.

    Raises
    ------
    UsageError
        When it is no such rule, with the measures that there are.
    """
    found = _RULE.fullmatch(text)
    known = ", ".join(MEASURES)
    if found is None:
        message = f"--fail-on {escape(text, 60)}: a rule such as cosine<0.98 or relative>5% was expected: one of {known}, then <, <=, > or >=, then a number."
        raise UsageError(message)
    measure, comparison, number, percent = found.groups()
    if measure not in MEASURES:
        message = f'--fail-on {escape(text, 60)}: there is no measure "{escape(measure, 40)}"; there are {known}.'
        raise UsageError(message)
    try:
        limit = float(number) / (100.0 if percent else 1.0)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        message = f"--fail-on {escape(text, 60)}: {escape(number, 40)} is no number; write for instance {measure}{comparison}0.98."
        raise UsageError(message)
    return Rule(measure, comparison, limit)


def judge(address: str, found: LayerDifference, asked: Tolerances) -> list[RuleResult]:
    """Return what the tolerances say of a pair of layers.

    A value that is NaN or infinite on one side only breaks any of them; a correlation that
    has no value (one channel, or all alike) breaks none.
    """
    cases = []
    if found.apart:
        said = (
            f"{found.apart:,} of {found.count:,} values are NaN or infinite on one side and not the same on the other"
        )
        cases.append(RuleResult(address, "NaN and infinities agree", kept=False, reason=said))
    if asked.atol is not None and asked.rtol is not None:
        limit = asked.atol + asked.rtol * found.reach
        said = f"largest difference {found.largest:.4g} beside values up to {found.reach:.4g}; limit {limit:.4g}"
        bound = f"max at most {asked.atol:g} + {asked.rtol:g} x largest"
        cases.append(RuleResult(address, bound, found.largest <= limit, said))
    for rule in asked.rules:
        attribute, words = MEASURES[rule.measure]
        value = float(getattr(found, attribute))
        unknown = math.isnan(value) and rule.measure != "correlation"
        fails = unknown or _COMPARISONS[rule.comparison](value, rule.limit)
        cases.append(RuleResult(address, f"not {rule}", not fails, f"{words} {value:.6g}; limit {rule.limit:g}"))
    return cases
