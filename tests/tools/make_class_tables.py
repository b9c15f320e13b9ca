"""Write `actviz/gate/allowed_names.json` from the exports of the installed Keras.

Run ``python tests/tools/make_class_tables.py`` after a new Keras release; a test compares
the table with the installed Keras and says when to.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from pathlib import Path

RUNS_CODE = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
ABSTRACT = frozenset({"Layer", "Wrapper", "Model", "Pipeline", "Distiller", "FeatureSpace"})
NOT_ACTIVATIONS = frozenset({"deserialize", "serialize", "get"})
CALLS_FUNCTIONS = frozenset(
    {
        "AssociativeScan",
        "Cond",
        "ForiLoop",
        "Map",
        "Scan",
        "Switch",
        "VectorizedMap",
        "WhileLoop",
    }
)


def exported_classes() -> dict[str, set[str]]:
    """Return the names of Keras's exported classes by kind."""
    import keras
    from keras.src import api_export

    kinds = {
        "layers": keras.layers.Layer,
        "initializers": keras.initializers.Initializer,
        "regularizers": keras.regularizers.Regularizer,
        "constraints": keras.constraints.Constraint,
        "policies": (keras.DTypePolicy, keras.dtype_policies.DTypePolicyMap),
    }
    found: dict[str, set[str]] = {kind: set() for kind in kinds}
    for name, value in api_export.REGISTERED_NAMES_TO_OBJS.items():
        for kind, base in kinds.items():
            if inspect.isclass(value) and issubclass(value, base):
                found[kind].add(name.rsplit(".", 1)[1])
    found["layers"] -= RUNS_CODE | ABSTRACT
    return found


def operation_classes() -> dict[str, set[str]]:
    """Return the names of Keras's operation classes by module under ``keras.src.ops``."""
    from keras.src import ops
    from keras.src.layers.layer import Layer
    from keras.src.ops.operation import Operation

    found: dict[str, set[str]] = {}
    for module in pkgutil.iter_modules(ops.__path__):
        if module.name.endswith("_test"):
            continue
        loaded = importlib.import_module(f"keras.src.ops.{module.name}")
        names = {
            name
            for name, value in vars(loaded).items()
            if inspect.isclass(value)
            and issubclass(value, Operation)
            and value.__module__ == loaded.__name__
            and value is not Operation
            and not issubclass(value, Layer)
        }
        if names:
            found[module.name] = names - CALLS_FUNCTIONS
    return found


def exported_functions() -> set[str]:
    """Return the names of pure functions that a configuration may name."""
    from keras.src import api_export

    return {
        name.rsplit(".", 1)[1]
        for name, value in api_export.REGISTERED_NAMES_TO_OBJS.items()
        if inspect.isfunction(value) and name.split(".")[1] == "activations"
    } - NOT_ACTIVATIONS


def render() -> str:
    """Return the table as JSON, sorted, with one name per line."""
    import keras

    table = {
        "keras_version": keras.__version__,
        **exported_classes(),
        "activations": exported_functions(),
        "operations": operation_classes(),
    }
    return json.dumps(table, indent=1, default=sorted) + "\n"


if __name__ == "__main__":
    target = Path(__file__).parents[2] / "actviz" / "gate" / "allowed_names.json"
    target.write_text(render(), encoding="utf-8")
