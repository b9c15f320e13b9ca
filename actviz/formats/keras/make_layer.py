"""Making layers and operations of Keras from their checked configurations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, ModelError, escape
from actviz.formats.keras.canonical import CALLS_MODULE, REPEATS_MASKED
from actviz.formats.keras.graph import FLAT, FROM_ONE, STAND_IN_MODULE
from actviz.formats.keras.load_weights import reason
from actviz.gate import LAMBDA_NAME, is_lambda_value
from actviz.layer_catalogue import facts_of

if TYPE_CHECKING:
    from actviz.formats.keras.custom_objects import CustomObjects
    from actviz.formats.keras.graph import LayerNode
    from actviz.formats.keras.object_graph import ObjectWeights
    from actviz.formats.keras.weight_files import NamedWeights, TreeWeights

OLDEST_KERAS = "3.15.1"


def check_keras() -> None:
    """Refuse to compute with a Keras that has known holes, whatever pip let pass.

    Raises
    ------
    ModelError
        When an older Keras is installed, or none.
    """
    from importlib import metadata

    try:
        found = metadata.version("keras")
    except metadata.PackageNotFoundError:
        raise ModelError(f"Keras is not installed; install keras>={OLDEST_KERAS}.") from None
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:3])
    if numbers < tuple(int(part) for part in OLDEST_KERAS.split(".")):
        message = f"Keras {escape(found, 40)} is installed, which has known holes that run code from model files; install keras>={OLDEST_KERAS}."
        raise ModelError(message)


def make_layer(
    entry: LayerNode, weights: TreeWeights | NamedWeights | ObjectWeights, file: str, custom: CustomObjects
) -> Any:
    """Make one layer or operation, its weights not created yet.

    Raises
    ------
    ModelError
        When Keras, or the code of a custom class, does not take the configuration.
    """
    from keras.saving import custom_object_scope

    _register_old_functions()
    try:
        if not custom:
            return _make(entry, weights, file, custom)
        with custom_object_scope(custom.by_name()):
            return _make(entry, weights, file, custom)
    except (ActvizError, MemoryError):
        raise
    except Exception as failure:
        message = (
            f'{file}: layer "{escape(entry.key, 80)}" ({escape(entry.kind, 60)}) cannot be made: {reason(failure)}'
        )
        raise ModelError(message) from failure


def _make(
    entry: LayerNode, weights: TreeWeights | NamedWeights | ObjectWeights, file: str, custom: CustomObjects
) -> Any:
    from keras.saving import deserialize_keras_object

    config = _with_lambdas(_unmarked(entry.config), custom)
    if isinstance(config.get("name"), str):
        config["name"] = _plain_name(config["name"])
    if entry.module == STAND_IN_MODULE:
        from keras import layers

        return layers.Identity(name=config.get("name"), dtype=config.get("dtype"))
    if entry.module == CALLS_MODULE:
        from actviz.formats.keras.tf_ops import make

        return make(entry.kind, config)
    if entry.kind == "Lambda" and not entry.custom:
        return _make_lambda(entry, config, custom)
    if entry.custom:
        return custom.by_name()[entry.registered].from_config(config)
    if facts_of(entry.kind).vocabulary and not config.get("vocabulary"):
        config["vocabulary"] = _vocabulary(entry, weights, file)
        weighted = weights.idf_weights(entry) if config.get("output_mode") == "tf_idf" else None
        if weighted is not None:
            config["idf_weights"] = weighted.tolist()
    repeats_masked = config.pop(REPEATS_MASKED, False)
    described = {
        "module": entry.module,
        "class_name": entry.kind,
        "config": config,
        "registered_name": entry.kind if entry.module.startswith("keras.src.") else None,
    }
    layer = deserialize_keras_object(described, safe_mode=not custom.allow_code)
    if repeats_masked:
        layer.forward_layer.zero_output_for_mask = layer.backward_layer.zero_output_for_mask = False
    return layer


def _unmarked(value: Any) -> Any:
    """Return a copy of a configuration without the marks that are for the graph alone, and without `build_config`.

    Keras builds an inner layer from it at once, and allocates its weights before any limit is checked.
    """
    if isinstance(value, dict):
        return {key: _unmarked(item) for key, item in value.items() if key not in {FLAT, FROM_ONE, "build_config"}}
    return [_unmarked(item) for item in value] if isinstance(value, list) else value


def _with_lambdas(value: Any, custom: CustomObjects) -> Any:
    """Replace lambdas as activations by the functions given under the names of their layers."""
    if isinstance(value, list):
        return [_with_lambdas(item, custom) for item in value]
    if not isinstance(value, dict):
        return value
    replaced = {key: _with_lambdas(item, custom) for key, item in value.items()}
    for key in ("activation", "recurrent_activation"):
        described = value.get(key)
        name = described.get("config") if isinstance(described, dict) else described
        kind = described.get("class_name") if isinstance(described, dict) else ""
        if is_lambda_value(described):
            replaced[key] = custom.function_for(str(value.get("name")), {"config": described})
        elif name == LAMBDA_NAME or kind == "__lambda__":
            replaced[key] = custom.function_for(str(value.get("name")), described)
    return replaced


def _plain_name(name: str) -> str:
    """Return a name that Keras and TensorFlow take; the true one is ours to keep."""
    plain = "".join(mark if mark.isascii() and (mark.isalnum() or mark == "_") else "_" for mark in name)
    return plain[:200] or "_"


def _make_lambda(entry: LayerNode, config: dict[str, Any], custom: CustomObjects) -> Any:
    """Make a Lambda from the function given for it or, where it is allowed, from its bytecode.

    Shapes that the file declares are left out: Keras works them out, as in all other layers.
    """
    from keras import layers

    function = custom.function_for(entry.name, config.get("function"))
    arguments = config.get("arguments") or {}
    return layers.Lambda(function, arguments=arguments, name=config.get("name"), dtype=config.get("dtype"))


def _vocabulary(entry: LayerNode, weights: TreeWeights | NamedWeights | ObjectWeights, file: str) -> list[str]:
    found = weights.vocabulary(entry)
    if found is None:
        message = f'{file}: the file does not hold the vocabulary of layer "{escape(entry.key, 80)}"; save the model as .keras, which does.'
        raise ModelError(message)
    return found


def _register_old_functions() -> None:
    """Teach Keras the activation functions whose meaning it changed."""
    from keras import ops
    from keras.saving import get_registered_object, register_keras_serializable

    if get_registered_object("actviz>hard_sigmoid") is None:

        @register_keras_serializable("actviz", "hard_sigmoid")  # type: ignore[untyped-decorator]  # Keras has no types
        def hard_sigmoid(x: Any) -> Any:
            return ops.clip(0.2 * x + 0.5, 0.0, 1.0)
