"""What the strongest inputs of a channel are; apart from the reducer, as messages to workers import it."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  (read at run time by `system.serialization`)
from dataclasses import dataclass, field

from actviz.errors import UsageError, escape

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

    def __post_init__(self) -> None:
        """Check the values, which Python users give.

        Raises
        ------
        UsageError
            When one is not among those named above, or no input is to be kept.
        """
        if self.count < 1:
            raise UsageError(f"k of {self.count}: at least 1 input for each channel was expected.")
        for name, value, known in (("by", self.by, MEASURES), *(("extreme", end, EXTREMES) for end in self.extremes)):
            if value not in known:
                raise UsageError(f"{name} {escape(str(value), 40)}: {' or '.join(known)} was expected.")
