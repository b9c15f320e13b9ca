"""Open model files of every format as a `Network`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actviz.errors import ModelError, UsageError, escape
from actviz.formats.file_errors import as_model_error
from actviz.gate import NO_TRUST, TrustPolicy
from actviz.gate.file_type import is_tflite
from actviz.records import NO_CHOICE, GraphSelection
from actviz.system.file_system import first_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actviz.formats.network_protocol import Network

__all__ = ["FORMATS", "open_network"]


def _keras(path: Path, weights: Path | None, trust: TrustPolicy, choice: GraphSelection) -> Network:
    from actviz.formats.keras.keras_network import KerasNetwork

    _refuse_choice(path, choice)
    if weights is None:
        return KerasNetwork(path, trust)
    from actviz.formats.keras.model_parts import open_with_weights

    return KerasNetwork(path, trust, open_with_weights(path, weights, trust))


def _tensorflow_js(path: Path, weights: Path | None, trust: TrustPolicy, choice: GraphSelection) -> Network:
    from actviz.formats.keras.keras_network import KerasNetwork
    from actviz.formats.keras.tensorflow_js import open_tensorflow_js

    del weights
    _refuse_choice(path, choice)
    return KerasNetwork(path, trust, open_tensorflow_js(path, trust))


def _tflite(path: Path, weights: Path | None, trust: TrustPolicy, choice: GraphSelection) -> Network:
    del weights  # a .tflite file contains its own
    from actviz.formats.tflite.tflite_network import TFLiteNetwork

    if choice.tags:
        raise UsageError(f"{path.name}: --tag chooses in a SavedModel; in a .tflite file --signature does.")
    return TFLiteNetwork(path, choice.signature, strict=trust.strict)


def _saved_model(path: Path, weights: Path | None, trust: TrustPolicy, choice: GraphSelection) -> Network:
    """Open a SavedModel by its Keras layers, or by its graph if the file has no layers.

    The graph is also used if layers need code that is not available, as it contains what they compute, and
    if a signature or tags are given, which the layers do not have.
    """
    from actviz.formats.keras.keras_file import KerasFile
    from actviz.formats.keras.keras_network import KerasNetwork
    from actviz.formats.keras_saved_model import open_keras_saved_model
    from actviz.formats.savedmodel.graph_network import GraphNetwork
    from actviz.formats.savedmodel.source import open_saved_model

    del weights
    layers = open_keras_saved_model(path, trust) if choice.signature is None and not choice.tags else None
    if isinstance(layers, KerasFile):
        return KerasNetwork(path, trust, layers)
    try:
        return GraphNetwork(open_saved_model(path, choice.signature, choice.tags))
    except ModelError:
        if layers is not None:
            raise layers from None
        raise


def _frozen_graph(path: Path, weights: Path | None, trust: TrustPolicy, choice: GraphSelection) -> Network:
    from actviz.formats.savedmodel.graph_network import GraphNetwork
    from actviz.formats.savedmodel.source import open_frozen_graph

    del weights, trust
    return GraphNetwork(open_frozen_graph(path, choice.inputs))


def _refuse_choice(path: Path, choice: GraphSelection) -> None:
    if choice.signature is not None or choice.tags:
        message = f"{path.name}: --signature chooses in a SavedModel or a .tflite file, --tag in a SavedModel; this file holds one model."
        raise UsageError(message)


FORMATS: dict[str, Callable[[Path, Path | None, TrustPolicy, GraphSelection], Network]] = {
    "keras": _keras,
    "saved_model": _saved_model,
    "frozen_graph": _frozen_graph,
    "tflite": _tflite,
    "tensorflow_js": _tensorflow_js,
}
"""A new format needs a module, a line here, and one in `_format_of`."""


def open_network(
    path: Path, weights: Path | None = None, trust: TrustPolicy = NO_TRUST, choice: GraphSelection = NO_CHOICE
) -> Network:
    """Open a model file.

    `weights` is a file of weights for a `.keras` or `.h5` file or the JSON of an architecture; `trust` determines which code of the model may
    run; `choice` selects a model or graph of the file.

    Raises
    ------
    UsageError
        When the path is remote.
    ModelError, UnsafeError, LimitError
        When it is not a model, is refused, or is too large.
    """
    text = str(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):  # pathlib replaces // by /
        raise UsageError(f"{escape(text)}: remote paths are not supported; download the model and give its path.")
    with as_model_error(path.name):
        return FORMATS[_format_of(path) if weights is None else "keras"](path, weights, trust, choice)


def _format_of(path: Path) -> str:
    """Return the format of a file or folder by its content, ``keras`` if it has none of the others."""
    from actviz.formats.keras.tensorflow_js import is_tensorflow_js
    from actviz.formats.savedmodel.folder import is_frozen_graph, is_saved_model

    if is_saved_model(path):
        return "saved_model"
    if is_tflite(first_bytes(path, 8)):
        return "tflite"
    if is_tensorflow_js(path):
        return "tensorflow_js"
    return "frozen_graph" if is_frozen_graph(path) else "keras"
