"""Model files of every format, each seen as a `Network`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actviz.errors import UsageError, escape
from actviz.formats.damage import said_of
from actviz.gate import NO_TRUST, Trust
from actviz.system import first_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actviz.formats.protocol import Network

__all__ = ["FORMATS", "open_network"]


def _keras(path: Path, weights: Path | None, trust: Trust) -> Network:
    from actviz.formats.keras_network import KerasNetwork

    return KerasNetwork(path, weights, trust)


def _tflite(path: Path, weights: Path | None, trust: Trust) -> Network:
    del weights, trust  # it holds its own weights, and no code but the interpreter's
    from actviz.formats.lite.network import LiteNetwork

    return LiteNetwork(path)


FORMATS: dict[str, Callable[[Path, Path | None, Trust], Network]] = {"keras": _keras, "tflite": _tflite}
"""A new format is one module and one line here; `open_network` looks at the content to choose."""

TFLITE_MAGIC = slice(4, 8), b"TFL3"


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
        return FORMATS[_format_of(path) if weights is None else "keras"](path, weights, trust)


def _format_of(path: Path) -> str:
    """Name the format that the first bytes tell; what cannot be read is left to the reader of Keras files."""
    place, magic = TFLITE_MAGIC
    return "tflite" if first_bytes(path, 8)[place] == magic else "keras"
