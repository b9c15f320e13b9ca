"""What a job tells while it goes on; the command prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MINUTE, HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class Note:
    """A line for people; `plain` ones are printed as they are, whatever was said of quiet."""

    text: str
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """A line that was asked for."""

    text: str


@dataclass(frozen=True, slots=True)
class FileWritten:
    """A file that was written, and what a manifest records about it, where there is such a record."""

    path: Path
    record: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FileFailed:
    """What could not be made: the record of it in a manifest."""

    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: inputs done of all of them."""

    done: int
    total: int


Event = Note | Output | FileWritten | FileFailed | Progress


def duration(seconds: float) -> str:
    """Return a time in the two largest units that say something.

    >>> duration(3725)
    '1 h 2 min'
    """
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
