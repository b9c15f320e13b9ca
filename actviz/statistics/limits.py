"""Limits on the statistics of layers: parse them, and check layers against them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from actviz.errors import UsageError, escape
from actviz.records import RuleResult
from actviz.statistics.channel_statistics import extremes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from actviz.statistics.running_statistics import RunningStatistics

_PERCENT = 100.0
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of `actviz check`, for each layer; ``None`` and False: no limit.

    `dead` and `constant` are the largest shares, 0..1, of its channels, `saturated` and
    `zeros` of its values. `min_std` is the smallest standard deviation of a channel,
    `within` the range of all values. With `no_nan` and `no_infinite` no value may be NaN or infinite.
    """

    no_nan: bool = False
    no_infinite: bool = False
    dead: float | None = None
    constant: float | None = None
    saturated: float | None = None
    zeros: float | None = None
    min_std: float | None = None
    within: tuple[float, float] | None = None

    def record(self) -> dict[str, Any]:
        """Return the limits as values for JSON, an end of the range that is left out as None."""
        ends = None if self.within is None else [end if math.isfinite(end) else None for end in self.within]
        return asdict(self) | {"within": ends}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return the limits that `record` returned."""
        if record["within"] is None:
            return cls(**record)
        low, high = record["within"]
        ends = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
        return cls(**{**record, "within": ends})


def parse_share(text: str, option: str) -> float:
    """Parse ``10%`` or ``0.1``.

    Raises
    ------
    UsageError
        If it is not a share from 0 to 1.
    """
    cleaned = text.strip()
    try:
        value = float(cleaned.removesuffix("%"))
    except ValueError:
        value = math.nan
    share = value / _PERCENT if cleaned.endswith("%") else value
    if not 0 <= share <= 1:
        message = f"{option} {escape(text, 40)}: a share such as 10% or 0.1 was expected."
        raise UsageError(message)
    return share


def parse_number(text: str, option: str) -> float:
    """Parse a finite number of at least 0.

    Raises
    ------
    UsageError
        If it is not.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        message = f"{option} {escape(text, 40)}: a number of at least 0 was expected, for instance 0.001."
        raise UsageError(message)
    return value


def parse_range(text: str, option: str) -> tuple[float, float]:
    """Parse ``-10:10``; an omitted end is infinite.

    Raises
    ------
    UsageError
        If it is not a range.
    """
    low_text, colon, high_text = text.partition(":")
    try:
        low, high = float(low_text or "-inf"), float(high_text or "inf")
    except ValueError:
        low = high = math.nan
    if not (low_text or high_text) or not colon or not low < high:
        message = f"{option} {escape(text, 60)}: a range such as -10:10, 0: or :6 was expected."
        raise UsageError(message)
    return low, high


def judge(address: str, totals: RunningStatistics, limits: Limits, inputs: int) -> list[RuleResult]:
    """Return the result of each limit for a layer, over a number of inputs, in the order of `Limits`."""
    return [RuleResult(address, rule, kept, reason) for rule, kept, reason in _cases(totals, limits, inputs)]


def _cases(totals: RunningStatistics, limits: Limits, inputs: int) -> Iterator[tuple[str, bool, str]]:
    on = f"on {inputs:,} input{'s' if inputs != 1 else ''}"
    count = totals.channels
    if limits.no_nan:
        yield "no NaN", not totals.nan.any(), _where(totals.nan, "NaN", on)
    if limits.no_infinite:
        yield "no infinity", not totals.infinite.any(), _where(totals.infinite, "infinite values", on)
    for name, share, mask, verb in (
        ("dead", limits.dead, totals.dead, ("fires", "fire")),
        ("constant", limits.constant, totals.constant, ("changes", "change")),
    ):
        if share is not None:
            number = int(mask.sum())
            reason = f"{number:,} of {count:,} channel{'s' if count != 1 else ''} never {verb[number != 1]} {on}"
            which = f" ({list_channels(np.flatnonzero(mask))})" if number else ""
            yield (
                f"{name} at most {percent(share)}",
                number <= share * count,
                f"{reason}{which}; limit {percent(share)}",
            )
    if limits.saturated is not None and not math.isnan(totals.saturated):
        yield _share_of("saturated", totals.saturated, totals.count, limits.saturated, on)
    if limits.zeros is not None:
        yield _share_of("zero", totals.zeros, totals.count, limits.zeros, on)
    if limits.min_std is not None:
        yield _least_spread(totals, limits.min_std, on)
    if limits.within is not None:
        yield _outside(totals, limits.within, on)


def _share_of(word: str, number: float, count: float, limit: float, on: str) -> tuple[str, bool, str]:
    share = percent(number / count if count else 0.0)
    reason = f"{share} of {int(count):,} values are {word} {on}; limit {percent(limit)}"
    return f"{word} at most {percent(limit)}", number <= limit * count, reason


def _least_spread(totals: RunningStatistics, limit: float, on: str) -> tuple[str, bool, str]:
    rule, spread = f"standard deviation at least {limit:g}", totals.std
    low = np.flatnonzero(~(spread >= limit))
    if not len(low):
        return rule, True, f"every channel has a standard deviation of at least {limit:g} {on}"
    smallest = spread[low].min()
    reason = f"{len(low):,} of {totals.channels:,} channels vary less than {limit:g} {on} ({list_channels(low)}); smallest standard deviation {smallest:.3g}"
    return rule, False, reason


def _outside(totals: RunningStatistics, within: tuple[float, float], on: str) -> tuple[str, bool, str]:
    low, high = within
    rule = range_text(within)
    wrong = (totals.minimum < low) | (totals.maximum > high) | (totals.infinite > 0)
    smallest, largest = extremes_of(totals.minimum, totals.maximum)
    ends = "no finite value" if math.isnan(smallest) else f"{smallest:.4g} to {largest:.4g}"
    if not wrong.any():
        return rule, True, f"values from {ends} {on}"
    number = int(wrong.sum())
    reason = f"{number:,} of {totals.channels:,} channels leave the {rule} {on} ({list_channels(np.flatnonzero(wrong))}); values from {ends}"
    return rule, False, reason


def range_text(within: tuple[float, float]) -> str:
    """Return a range in words, without infinite ends."""
    low, high = within
    if low == -math.inf:
        return f"range up to {high:g}" if high < math.inf else "range of all numbers"
    return f"range {low:g} to {high:g}" if high < math.inf else f"range from {low:g}"


def _where(counts: NDArray[np.int64], word: str, on: str) -> str:
    total = int(counts.sum())
    if not total:
        return f"no {word} {on}"
    channels = np.flatnonzero(counts)
    return f"{total:,} {word} in {len(channels):,} of {len(counts):,} channels {on} ({list_channels(channels)})"


def list_channels(numbers: NDArray[np.int64]) -> str:
    """Return the numbers of channels as ``3, 17``, of more than 20 with ``and 17 more``."""
    listed = ", ".join(str(number) for number in numbers[:_SHOWN].tolist())
    return listed + (f" and {len(numbers) - _SHOWN:,} more" if len(numbers) > _SHOWN else "")


def percent(share: float) -> str:
    """Return a share as ``57.8%``, with as many digits as distinguish it from 0% and 100%."""
    shown = f"{_PERCENT * share:.1f}".removesuffix(".0")
    return f"{_PERCENT * share:.2g}%" if share and shown in {"0", "100"} and share != 1 else f"{shown}%"
