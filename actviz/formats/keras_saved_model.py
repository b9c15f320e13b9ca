"""SavedModels that hold the Keras configuration of their model, opened by its layers.

This module stands above the packages `keras` and `savedmodel`: it needs both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from actviz.errors import ActvizError, ModelError, UnsafeError, escape
from actviz.formats.checkpoint import VARIABLES, Checkpoint
from actviz.formats.keras.keras_file import CONFIGURATION_BYTES, KerasFile, read_configuration
from actviz.formats.keras.object_graph import ObjectWeights
from actviz.formats.savedmodel.keras_metadata import keras_metadata
from actviz.gate.trust import NO_TRUST, TrustPolicy
from actviz.system.file_system import open_regular

if TYPE_CHECKING:
    from pathlib import Path


def open_keras_saved_model(path: Path, trust: TrustPolicy = NO_TRUST) -> KerasFile | ActvizError | None:
    """Open a SavedModel by its Keras configuration, ``None`` where it holds none.

    Where layers need code that is not given, return the error that says so: the graph of the
    SavedModel holds what they compute and may be used instead. The graph is neither read nor run here.

    Raises
    ------
    ModelError, UnsafeError, LimitError
        When the folder is damaged or unsafe.
    """
    name = path.name
    found = keras_metadata(path, CONFIGURATION_BYTES)
    if found is None:
        return None
    try:
        configuration = read_configuration(found.configuration, found.version, name, replace(trust, strict=True))
    except (ModelError, UnsafeError) as refused:
        return refused
    file, status = open_regular(found.source, ModelError, "model")
    try:
        checkpoint = Checkpoint(path / VARIABLES, name)
        weights = ObjectWeights(checkpoint, configuration.graph, name, found.words)
    except BaseException:
        file.close()
        raise
    writer = f"Keras {escape(found.version or '2', 40)}"
    return KerasFile(path, name, "saved_model", writer, found.version, configuration, weights, file, status, checkpoint)
