"""Lines for people on standard error, which never decide how a command ends."""

from __future__ import annotations

import sys


def write_note(line: str, end: str = "\n") -> None:
    """Write a line to standard error; one that cannot be written (a full disk, a closed terminal) is dropped."""
    try:
        sys.stderr.write(line + end)
        sys.stderr.flush()
    except (OSError, ValueError):
        return
