"""Tolerances of `actviz diff`: parse them, and check layers against them."""

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
"""Measures of ``--fail-on``: an attribute of `LayerDifference`, and its description."""

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_RULE = re.compile(r"\s*([a-z]+)\s*(<=|>=|<|>)\s*(\S+?)(%?)\s*")


@dataclass(frozen=True, slots=True)
class Rule:
    """``cosine<0.98``: a layer fails if the comparison of its measure with the limit is true."""

    measure: str
    comparison: str
    limit: float

    def __str__(self) -> str:
        """Return the rule as it is written on the command line."""
        return f"{self.measure}{self.comparison}{self.limit:g}"


@dataclass(frozen=True, slots=True)
class Tolerances:
    """The tolerances for every pair of layers.

    The largest absolute difference is at most `atol` + `rtol` x the largest absolute value
    of A (both ``None``: not checked), and none of `rules` holds.
    """

    atol: float | None = DEFAULT_ATOL
    rtol: float | None = DEFAULT_RTOL
    rules: tuple[Rule, ...] = ()


def tolerances(atol: float | None, rtol: float | None, rules: tuple[Rule, ...]) -> Tolerances:
    """Return the tolerances: the default ones if neither limits nor rules are given."""
    if atol is None and rtol is None:
        return Tolerances(None, None, rules) if rules else Tolerances()
    return Tolerances(atol or 0.0, rtol or 0.0, rules)


def parse_rule(text: str) -> Rule:
    """Parse ``cosine<0.98`` or ``relative>5%``.

    Raises
    ------
    UsageError
        If it is not a rule; the message lists the measures.
    """
    match = _RULE.fullmatch(text)
    known = ", ".join(MEASURES)
    if match is None:
        message = f"--fail-on {escape(text, 60)}: a rule such as cosine<0.98 or relative>5% was expected: one of {known}, then <, <=, > or >=, then a number."
        raise UsageError(message)
    measure, comparison, number, percent = match.groups()
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


def judge(address: str, difference: LayerDifference, allowed: Tolerances) -> list[RuleResult]:
    """Return the result of each tolerance for a pair of layers.

    A value that is NaN or infinite in only one of the layers breaks all of them; an undefined correlation (of one
    channel, or of equal ones) breaks none.
    """
    cases = []
    if difference.apart:
        reason = f"{difference.apart:,} of {difference.count:,} values are NaN or infinite on one side and not the same on the other"
        cases.append(RuleResult(address, "NaN and infinities agree", kept=False, reason=reason))
    if allowed.atol is not None and allowed.rtol is not None:
        limit = allowed.atol + allowed.rtol * difference.reach
        reason = (
            f"largest difference {difference.largest:.4g} beside values up to {difference.reach:.4g}; limit {limit:.4g}"
        )
        bound = f"max at most {allowed.atol:g} + {allowed.rtol:g} x largest"
        cases.append(RuleResult(address, bound, difference.largest <= limit, reason))
    for rule in allowed.rules:
        attribute, words = MEASURES[rule.measure]
        value = float(getattr(difference, attribute))
        unknown = math.isnan(value) and rule.measure != "correlation"
        fails = unknown or _COMPARISONS[rule.comparison](value, rule.limit)
        cases.append(RuleResult(address, f"not {rule}", not fails, f"{words} {value:.6g}; limit {rule.limit:g}"))
    return cases
