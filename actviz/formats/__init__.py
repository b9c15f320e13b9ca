"""Model files of every format, each seen as a `Network`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actviz.errors import UsageError, escape
from actviz.formats.damage import said_of
from actviz.gate import NO_TRUST, Trust

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actviz.formats.protocol import Network

__all__ = ["FORMATS", "open_network"]


def _keras(path: Path, weights: Path | None, trust: Trust) -> Network:
    from actviz.formats.keras_network import KerasNetwork

    return KerasNetwork(path, weights, trust)


FORMATS: dict[str, Callable[[Path, Path | None, Trust], Network]] = {"keras": _keras}
"""A new format is one module and one line here; `open_network` asks them in turn."""


def open_network(path: Path, weights: Path | None = None, trust: Trust = NO_TRUST) -> Network:
    """Open a model file.

    `weights` is the HDF5 file that goes with the JSON of an architecture; `trust` names the
    code that the model may bring along.

    Raises
    ------
    UsageError
        When the path is remote.
    ModelError, UnsafeError, LimitError
        When it is no model, must not be loaded, or is too large.
    """
    text = str(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):  # pathlib makes one stroke of two
        message = f"{escape(text)}: remote paths are not supported; download the model and give its path."
        raise UsageError(message)
    with said_of(path.name):
        return FORMATS["keras"](path, weights, trust)
