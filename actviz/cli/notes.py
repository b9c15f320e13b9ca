"""Lines on standard error; failing to write one never changes how a command ends."""

from __future__ import annotations

import sys


def write_note(line: str, end: str = "\n") -> None:
    """Write a line to standard error; drop it if it cannot be written (full disk, closed terminal)."""
    try:
        sys.stderr.write(line + end)
        sys.stderr.flush()
    except (OSError, ValueError):
        return
