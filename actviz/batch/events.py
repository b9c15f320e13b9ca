"""Events that commands yield while they run; `cli` prints them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MINUTE, HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class Note:
    """A line for stderr.

    A `plain` one is printed without a prefix; `is_failure` is true for the reason why something failed. Both are
    printed with ``--quiet``, too.
    """

    text: str
    plain: bool = False
    is_failure: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """A line of the result, for stdout."""

    text: str


@dataclass(frozen=True, slots=True)
class FileWritten:
    """A file that was written, and its record in the manifest, if any."""

    path: Path
    record: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FileFailed:
    """A figure or input that failed, as its record in the manifest."""

    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """Number of inputs done, and of all inputs as far as known.

    `stage` is what is done before the first or after the last; it has a `total` where it goes over the inputs, too.
    """

    done: int
    total: int
    stage: str = ""


Event = Note | Output | FileWritten | FileFailed | Progress


def duration(seconds: float) -> str:
    """Return a duration in its two largest units.

    >>> duration(3725)
    '1 h 2 min'
    """
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
