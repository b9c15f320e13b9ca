"""One canonical configuration from what each Keras version wrote: JSON to JSON, no Keras.

The canonical form is that of a Keras 3 `.keras` file: every object with its module, every
call as ``{"args", "kwargs"}``, shapes in an `InputLayer`. Each rule answers one cause.
"""

from __future__ import annotations

import re
from typing import Any

from actviz.errors import ModelError, escape
from actviz.formats.keras.graph import CUSTOM_MODULE, FLAT, FROM_ONE, Json, layer_name
from actviz.gate import CALLS, MODELS, is_custom, is_keras_activation, keras_names
from actviz.layer_catalogue import KERAS_1_NAMES, OLDER_NAMES, REMOVED_ARGUMENTS, facts_of

NOT_FOR_INFERENCE = ("_initializer", "_regularizer", "_constraint")
# hard_sigmoid was clip(0.2 x + 0.5) until Keras 3 made it clip(x / 6 + 0.5).
OLD_HARD_SIGMOID = {
    "module": None,
    "class_name": "function",
    "config": "actviz>hard_sigmoid",
    "registered_name": "actviz>hard_sigmoid",
}
CALLS_MODULE = "actviz.tensorflow_calls"
REPEATS_MASKED = "actviz_repeats_masked_steps"
KERAS_1_ARGUMENT_NAMES = {
    "nb_filter": "filters", "border_mode": "padding", "subsample": "strides", "subsample_length": "strides",
    "bias": "use_bias", "output_dim": "units", "p": "rate", "atrous_rate": "dilation_rate",
    "pool_length": "pool_size", "inner_activation": "recurrent_activation",
}  # fmt: skip
KERAS_1_ARGUMENTS = (frozenset(KERAS_1_ARGUMENT_NAMES) | {"dim_ordering", "nb_row"}) - {"output_dim"} | {
    "W_regularizer",
    "mode",
}
# What Keras 1 wrote for training, and what later versions work out by themselves.
KERAS_1_TRAINING = frozenset(
    {
        "init", "inner_init", "forget_bias_init", "W_regularizer", "b_regularizer", "U_regularizer", "W_constraint",
        "b_constraint", "activity_regularizer", "input_dim", "input_length", "gamma_regularizer", "beta_regularizer",
        "mode", "consume_less", "weights",
    }
)  # fmt: skip
MERGE_MODES = {
    "sum": "Add", "mul": "Multiply", "concat": "Concatenate", "ave": "Average", "max": "Maximum", "dot": "Dot",
}  # fmt: skip
INNER = ("layer", "backward_layer", "cell")
HISTORY = 3
CONSTANT = "_CONSTANT_VALUE"


def canonical(config: Any, version: str, file: str) -> Json:
    """Return the canonical form of a model's configuration.

    `config` is the parsed JSON, `version` the Keras version that wrote it (``""`` where the
    file does not say, as Keras 1 does), `file` the name to use in messages.

    Raises
    ------
    ModelError
        When it is not a configuration of a model, or uses what cannot be kept exactly.
    """
    if isinstance(config, dict) and isinstance(config.get("class_name"), str) and is_custom(config):
        return {**config, **custom(config)}
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        message = f"{file}: the configuration is not that of a model; save it with model.save(...)."
        raise ModelError(message)
    try:
        if is_keras_3(version):
            return _layer_3(config)
        model = _model_2(_untupled(config), file)
    except (KeyError, IndexError, TypeError, AttributeError):
        message = f"{file}: the configuration of the model is malformed; save it again with model.save(...)."
        raise ModelError(message) from None
    if not version.endswith("-tf") and re.match(r"2\.[0-3]\.|1\.|$", version):
        _mark_repeated_steps(model)
    if not re.match(r"2\.0\.|1\.|$", version):
        _nest_leading_models(model)
    return model


def canonical_layer(layer: Json, version: str, file: str) -> Json:
    """Return the canonical form of the layer inside a custom wrapper; see `canonical`."""
    return _layer_3(layer) if is_keras_3(version) else _layer_2(_untupled(layer), file)


def is_keras_3(version: str) -> bool:
    """Return True if a Keras version string is of Keras 3 or later."""
    major = version.split(".", maxsplit=1)[0]
    return major.isdigit() and int(major) >= 3  # noqa: PLR2004  (the number is the name)


def _mark_repeated_steps(model: Json) -> None:
    """Keep what standalone Keras did at masked steps of a Bidirectional.

    Until 2.3 the forward half repeated its last output there; later versions give zeros.
    """
    for layer in model["config"]["layers"]:
        if layer["class_name"] in MODELS:
            _mark_repeated_steps(layer)
        elif layer["class_name"] == "Bidirectional":
            layer["config"][REPEATS_MASKED] = True


def _nest_leading_models(model: Json) -> None:
    """Give a Sequential that starts with a model an input of its own, as Keras 2.1 does.

    Until 2.0 the layers of the leading model were those of the Sequential.
    """
    config = model["config"]
    if config.pop(FLAT, False):
        config["layers"] = _with_model_input(config["layers"])
    for layer in config["layers"]:
        if layer["class_name"] in MODELS:
            _nest_leading_models(layer)


def _layer_3(layer: Json) -> Json:
    """Give the objects of a Keras 3 `.h5` file the module that only `.keras` files name."""
    result = dict(layer)
    config = layer.get("config")
    if isinstance(config, dict):
        config = _dtype(dict(config))
        if layer["class_name"] in MODELS and "layers" in config:
            result["class_name"] = "Sequential" if layer["class_name"] == "Sequential" else "Functional"
            config["layers"] = [_layer_3(inner) for inner in config["layers"]]
            if result["class_name"] == "Sequential":
                config["layers"] = _with_input(config["layers"], config.get("build_input_shape"))
        for name in INNER:
            if isinstance(config.get(name), dict) and "class_name" in config[name]:
                config[name] = _layer_3(config[name])
        result["config"] = config
    if is_custom(layer):
        return result | custom(layer)
    if not result.get("module"):
        result["module"] = _module(layer)
        result["registered_name"] = None
    if result["class_name"] == "GroupedQueryAttention":
        result["class_name"] = "GroupQueryAttention"  # its name in `keras.layers`
    return result


def custom(layer: Json) -> Json:
    """Return the module, class and registered name of a class whose code the user gives.

    Weights are stored by the name of the class, which Keras 2 writes with its package (``shop>Scale``).
    """
    kind = str(layer["class_name"])
    return {
        "module": CUSTOM_MODULE,
        "class_name": kind.rpartition(">")[2],
        "registered_name": str(layer.get("registered_name") or kind),
    }


def _module(layer: Json) -> str:
    """Return the module of a class that a Keras 3 `.h5` file names without one.

    Add, Multiply and others are both a layer and an operation: only layers have the
    argument `trainable`, or `batch_shape` for an InputLayer.
    """
    kind, config = layer["class_name"], layer.get("config")
    if kind in MODELS:
        return "keras" if kind == "Sequential" else "keras.src.models.functional"
    is_layer = isinstance(config, dict) and ("trainable" in config or "batch_shape" in config)
    if not is_layer:
        for module, names in keras_names().operations.items():
            if kind in names:
                return f"keras.src.ops.{module}"
    return facts_of(kind).module


def _dtype(config: Json) -> Json:
    """Replace a serialised dtype policy that is only a name by the name."""
    dtype = config.get("dtype")
    if isinstance(dtype, dict) and set(dtype.get("config") or ()) == {"name"}:
        config["dtype"] = dtype["config"]["name"]
    return config


def _untupled(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("class_name") == "__tuple__" and "items" in value:
            return [_untupled(item) for item in value["items"]]
        return {key: _untupled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_untupled(item) for item in value]
    return value


def _model_2(model: Json, file: str) -> Json:
    """Translate a model of Keras 1 or 2."""
    config = model["config"]
    if model["class_name"] == "Sequential":
        raw = config if isinstance(config, list) else config["layers"]
        shape = None if isinstance(config, list) else config.get("build_input_shape")
        layers = [_layer_2(layer, file) for layer in raw]
        if isinstance(config, list):
            return _keras(
                "Sequential", {"name": "sequential", "layers": _with_input(layers, None), FLAT: True}, "keras"
            )
        layers = _with_input(_with_model_input(layers), shape)
        return _keras("Sequential", {"name": config.get("name", "sequential"), "layers": layers}, "keras")
    if not isinstance(config, dict) or "layers" not in config:
        kind = escape(str(model["class_name"]), 80)
        message = f'{file}: the file holds a "{kind}", whose layers are only known to its own Python code; a Functional or Sequential model was expected.'
        raise ModelError(message)
    layers = []
    for layer in config["layers"]:
        call_arguments = _take_call_arguments(layer)
        translated = _layer_2(layer, file)
        translated["name"] = layer_name(layer)
        nodes = [_node_2(node, str(layer["class_name"])) for node in layer.get("inbound_nodes") or []]
        translated["inbound_nodes"] = [{**node, "kwargs": node["kwargs"] | call_arguments} for node in nodes]
        layers.append(translated)
    return _keras("Functional", {**config, "layers": layers, FROM_ONE: True}, "keras.src.models.functional")


def _take_call_arguments(layer: Json) -> Json:
    """Remove the arguments of a layer that are arguments of its call in Keras 3, and return those that are set."""
    config = layer["config"]
    if is_custom(layer):
        return {}
    return {new: config.pop(old) for old, new in facts_of(str(layer["class_name"])).to_call if config.get(old)}


def _keras(kind: str, config: Json, module: str = "keras.layers") -> Json:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def _layer_2(layer: Json, file: str) -> Json:
    kind, config = layer["class_name"], layer["config"]
    if kind in MODELS and (isinstance(config, list) or "layers" in config):
        return _model_2(layer, file)
    if set(config) & KERAS_1_ARGUMENTS or kind in KERAS_1_NAMES:
        kind, config = _from_keras_1(kind, config, file)
    config = _dtype(dict(config))
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    if kind == "InputLayer":
        dtype = config.get("dtype") or "float32"
        return _keras(kind, {"name": config["name"], "dtype": dtype, "batch_shape": shape})
    if config.get("dtype", 0) is None:
        del config["dtype"]
    if kind in CALLS:
        return _keras(str(kind), config, CALLS_MODULE)
    if is_custom(layer):
        config.pop("batch_input_shape", None)
        return {"config": config, **custom(layer), "input_shape": shape}
    for name in list(config):
        if name.endswith(NOT_FOR_INFERENCE) or _is_removed(kind, name, config[name], file):
            del config[name]
    for name in ("activation", "recurrent_activation"):
        if config.get(name) == "hard_sigmoid":
            config[name] = dict(OLD_HARD_SIGMOID)
        elif isinstance(config.get(name), str) and not is_keras_activation(config[name]):
            config[name] = {"module": "builtins", "class_name": "function", "config": config[name]}
    config = {name: _plain_number(value) for name, value in config.items()}
    axis = config.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
    for name in INNER:
        if isinstance(config.get(name), dict) and "class_name" in config[name]:
            config[name] = _layer_2(config[name], file)
    if isinstance(config.get("cells"), list):
        _check_cells(config, file)
        config["cells"] = [_layer_2(cell, file) for cell in config["cells"]]
    for old, new in facts_of(OLDER_NAMES.get(str(kind), str(kind))).renamed:
        if old in config:
            config[new] = config.pop(old)
    translated = _keras(OLDER_NAMES.get(str(kind), str(kind)), config, facts_of(str(kind)).module)
    if shape:
        translated["input_shape"] = shape
    return translated


def _check_cells(config: Json, file: str) -> None:
    """Refuse cells that were saved without their sizes, as Keras 2.0 did."""
    for cell in config["cells"]:
        if not cell["config"].get("units"):
            message = f'{file}: layer "{escape(str(config.get("name")), 80)}" was saved without the configuration of its {escape(str(cell["class_name"]), 60)}; save it again with a later Keras.'
            raise ModelError(message)


def _from_keras_1(kind: str, config: Json, file: str) -> tuple[str, Json]:
    """Translate the names of Keras 1: classes, arguments and the orders of axes."""
    if kind == "Merge":
        return _merge(config, file)
    if kind == "Embedding":
        return kind, config
    kind = KERAS_1_NAMES.get(kind, kind)
    result = {KERAS_1_ARGUMENT_NAMES.get(name, name): value for name, value in config.items()}
    if "nb_row" in result:
        result["kernel_size"] = [result.pop("nb_row"), result.pop("nb_col")]
    if "filter_length" in result:
        result["kernel_size"] = [result.pop("filter_length")]
    if "dim_ordering" in result:
        result["data_format"] = {"tf": "channels_last", "th": "channels_first"}[result.pop("dim_ordering")]
    known = {name: value for name, value in result.items() if name not in KERAS_1_TRAINING}
    return kind, known


def _merge(config: Json, file: str) -> tuple[str, Json]:
    mode = config.get("mode")
    kind = MERGE_MODES.get(mode) if isinstance(mode, str) else None
    if kind is None:
        message = f'{file}: layer "{escape(str(config.get("name")), 80)}" merges by "{escape(str(mode), 40)}", which is no layer of Keras 3.'
        raise ModelError(message)
    return kind, {"name": config["name"]} | ({"axis": config["concat_axis"]} if kind == "Concatenate" else {})


def _plain_number(value: Any) -> Any:
    """Replace a serialised NumPy number by the number."""
    if isinstance(value, dict) and value.get("class_name") in {"__numpy__", "__ndarray__"}:
        inner = value.get("config", value)
        return inner.get("value") if isinstance(inner, dict) else value
    if isinstance(value, dict) and value.get("type") == "ndarray":
        return value.get("value")
    return value


def _is_removed(kind: str, name: str, value: object, file: str) -> bool:
    """Return True if an argument no longer exists; refuse where it meant something."""
    if name not in REMOVED_ARGUMENTS or (name == "groups" and facts_of(OLDER_NAMES.get(kind, kind)).groups):
        return False
    if REMOVED_ARGUMENTS[name] and value not in REMOVED_ARGUMENTS[name]:
        message = (
            f"{file}: a {escape(kind, 60)} layer has {name}={escape(str(value), 40)}, which Keras 3 cannot compute."
        )
        raise ModelError(message)
    return True


def _with_input(layers: list[Json], build_shape: Any) -> list[Json]:
    """Put the input shape that the first layer or the model carries into an InputLayer."""
    if not layers or layers[0]["class_name"] == "InputLayer" or layers[0]["class_name"] in MODELS:
        return layers
    first = layers[0]
    built = first.get("build_config")
    shape = first.pop("input_shape", None) or build_shape
    if not shape and isinstance(built, dict):
        shape = built.get("input_shape")
    if not shape or not isinstance(shape, list) or isinstance(shape[0], list):
        return layers
    dtype = "float32"
    config = {"name": f"{layer_name(first)}_input", "dtype": dtype, "batch_shape": shape}
    return [_keras("InputLayer", config), *layers]


def _with_model_input(layers: list[Json]) -> list[Json]:
    """Put the InputLayer that Keras 2.1 and later adds before a leading model."""
    if not layers or layers[0]["class_name"] not in MODELS:
        return layers
    inside = [layer for layer in layers[0]["config"]["layers"] if layer["class_name"] == "InputLayer"]
    if len(inside) != 1:
        return layers
    config = {**inside[0]["config"], "name": f"{layer_name(layers[0])}_input"}
    return [_keras("InputLayer", config), *layers]


def _node_2(node: Any, kind: str) -> Json:
    """Translate one call: ``[[name, call, output, kwargs], ...]`` or one such entry."""
    if isinstance(node, dict) and set(node) == {"args", "kwargs"}:
        return node
    if isinstance(node, dict):
        return {"args": [{key: _tensor_2(item) for key, item in node.items()}], "kwargs": {}}
    entries = [node] if node and isinstance(node[0], str) else node
    if kind in CALLS and entries and entries[0][0] == CONSTANT:
        return {"args": [entries[0][2]], "kwargs": {key: _tensor_2(item) for key, item in entries[0][HISTORY].items()}}
    kwargs: Json = {}
    for entry in entries:
        if len(entry) > HISTORY and entry[HISTORY]:
            kwargs = {key: _tensor_2(item) for key, item in entry[HISTORY].items()}
    tensors = [_tensor_2(entry[:HISTORY]) for entry in entries]
    if len(tensors) > 1 and facts_of(OLDER_NAMES.get(kind, kind)).recurrent:
        return {"args": tensors[:1], "kwargs": {**kwargs, "initial_state": tensors[1:]}}
    return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": kwargs}


def _tensor_2(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) == HISTORY and isinstance(value[0], str) and isinstance(value[1], int):
            history = {"keras_history": list(value), "shape": None, "dtype": "float32"}
            return {"class_name": "__keras_tensor__", "config": history}
        return [_tensor_2(item) for item in value]
    return value
