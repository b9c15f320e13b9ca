"""Open a SavedModel that contains the Keras configuration of its model by its layers.

This module imports both `formats.keras` and `formats.savedmodel`, which do not import each other.
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
    """Open a SavedModel by its Keras configuration; return ``None`` if it has none.

    If layers need code that is not available, return the error: the graph of the SavedModel contains what
    they compute and may be used instead. The graph is neither read nor run here.

    Raises
    ------
    ModelError, UnsafeError, LimitError
        When the folder is damaged or unsafe.
    """
    name = path.name
    metadata = keras_metadata(path, CONFIGURATION_BYTES)
    if metadata is None:
        return None
    try:
        configuration = read_configuration(metadata.configuration, metadata.version, name, replace(trust, strict=True))
    except (ModelError, UnsafeError) as failure:
        return failure
    file, status = open_regular(metadata.source, ModelError, "model")
    try:
        checkpoint = Checkpoint(path / VARIABLES, name)
        weights = ObjectWeights(checkpoint, configuration.graph, name, metadata.words)
    except BaseException:
        file.close()
        raise
    writer = f"Keras {escape(metadata.version or '2', 40)}"
    return KerasFile(
        path, name, "saved_model", writer, metadata.version, configuration, weights, file, status, checkpoint
    )
