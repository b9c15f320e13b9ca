"""What a job tells while it goes on; the command prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Said:
    """A line for people; `plain` ones are printed as they are, whatever was said of quiet."""

    text: str
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written."""

    path: Path
