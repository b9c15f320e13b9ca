"""Checks of model files before Keras or TensorFlow reads them.

The gate parses the file itself: strict JSON, classes from a static table, rules for archives
and HDF5 files, limits of sizes. Exactly what it has checked is loaded; no other parser reads
the file again.
"""

from actviz.gate.allowed_names import keras_names
from actviz.gate.archive import Archive, ends_as_archive, open_archive
from actviz.gate.classes import (
    APPLICATIONS,
    LAMBDA_NAME,
    MODELS,
    ForeignObject,
    check_configuration,
    drop_compile_config,
    is_custom,
    is_keras_activation,
    is_lambda_value,
    missing_code,
    refusal,
)
from actviz.gate.functions import CALLS
from actviz.gate.hdf5 import open_hdf5, read_dataset
from actviz.gate.strict_json import MAXIMUM_LAYERS, first_repeated, parse_json, well_formed
from actviz.gate.trust import NO_TRUST, TrustPolicy

__all__ = [
    "APPLICATIONS",
    "CALLS",
    "LAMBDA_NAME",
    "MAXIMUM_LAYERS",
    "MODELS",
    "NO_TRUST",
    "Archive",
    "ForeignObject",
    "TrustPolicy",
    "check_configuration",
    "drop_compile_config",
    "ends_as_archive",
    "first_repeated",
    "is_custom",
    "is_keras_activation",
    "is_lambda_value",
    "keras_names",
    "missing_code",
    "open_archive",
    "open_hdf5",
    "parse_json",
    "read_dataset",
    "refusal",
    "well_formed",
]
