"""See what a saved neural network computes, from a shell or from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actviz.version import VERSION

if TYPE_CHECKING:
    from actviz.api import draw, load, open, save  # noqa: A004  (actviz.open reads as what it does)

__version__ = VERSION

__all__ = ["__version__", "draw", "load", "open", "save"]


def __getattr__(name: str) -> Any:
    """Import the Python interface on first use, so that the command line starts without it."""
    if name not in {"draw", "load", "open", "save"}:
        message = f"module 'actviz' has no attribute {name!r}"
        raise AttributeError(message)
    from actviz import api

    return getattr(api, name)
