"""The facts of every Keras layer class, one record each: `table` is where a new class is entered.

It imports neither Keras nor any file, and is below `gate` in the order of imports, as the gate reads it too.
"""

from actviz.layer_catalogue.record import LayerClass
from actviz.layer_catalogue.table import (
    KERAS_1_NAMES,
    LAYERS,
    OLDER_NAMES,
    REMOVED_ARGUMENTS,
    STAND_IN_WRAPPERS,
    STAND_INS,
    UNKNOWN,
    facts_of,
    passes_on,
)

__all__ = [
    "KERAS_1_NAMES",
    "LAYERS",
    "OLDER_NAMES",
    "REMOVED_ARGUMENTS",
    "STAND_INS",
    "STAND_IN_WRAPPERS",
    "UNKNOWN",
    "LayerClass",
    "facts_of",
    "passes_on",
]
