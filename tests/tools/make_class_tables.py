"""Write `actviz/gate/allowed_names.py` from the exports of the installed Keras.

Run ``python tests/tools/make_class_tables.py`` after a new Keras release; a test compares
the table with the installed Keras and says when to.
"""

from __future__ import annotations

import importlib
import inspect
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
        "LAYERS": keras.layers.Layer,
        "INITIALIZERS": keras.initializers.Initializer,
        "REGULARIZERS": keras.regularizers.Regularizer,
        "CONSTRAINTS": keras.constraints.Constraint,
        "POLICIES": (keras.DTypePolicy, keras.dtype_policies.DTypePolicyMap),
    }
    found: dict[str, set[str]] = {kind: set() for kind in kinds}
    for name, value in api_export.REGISTERED_NAMES_TO_OBJS.items():
        for kind, base in kinds.items():
            if inspect.isclass(value) and issubclass(value, base):
                found[kind].add(name.rsplit(".", 1)[1])
    found["LAYERS"] -= RUNS_CODE | ABSTRACT
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
    """Return the text of the table module."""
    import keras

    lines = [
        '"""Names that a model file may use: made by tests/tools/make_class_tables.py, not by hand."""',
        "",
        "from __future__ import annotations",
        "",
        f'MADE_FROM_KERAS = "{keras.__version__}"',
        "",
    ]
    for kind, names in exported_classes().items():
        lines += [
            f"{kind} = frozenset(",
            "    {",
            *(f'        "{name}",' for name in sorted(names)),
            "    }",
            ")",
            "",
        ]
    lines += [
        "ACTIVATIONS = frozenset(",
        "    {",
        *(f'        "{n}",' for n in sorted(exported_functions())),
        "    }",
        ")",
        "",
    ]
    lines += ["OPERATIONS = {"]
    for module, names in sorted(operation_classes().items()):
        lines += [
            f'    "{module}": frozenset(',
            "        {",
            *(f'            "{n}",' for n in sorted(names)),
            "        }",
            "    ),",
        ]
    lines += ["}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    target = Path(__file__).parents[2] / "actviz" / "gate" / "tables.py"
    target.write_text(render(), encoding="utf-8")
