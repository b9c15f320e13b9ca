"""What the strongest inputs of a channel are; apart from the reducer, as messages to workers import it."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  (read at run time by `system.serialization`)
from dataclasses import dataclass, field

HIGH, LOW = EXTREMES = ("high", "low")
MEASURES = ("max", "mean")


@dataclass(frozen=True, slots=True)
class InputIdentity:
    """The name of an input, the SHA-256 of its values, and the box of its image in a padded input, by input name."""

    name: str
    digest: str
    padding: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StrengthOptions:
    """How many inputs are kept for each channel, and how its strength is measured.

    `by` is one of `MEASURES`, over all positions; `extremes` are those of `EXTREMES` that are kept.
    """

    count: int = 9
    by: str = "max"
    extremes: tuple[str, ...] = (HIGH,)
