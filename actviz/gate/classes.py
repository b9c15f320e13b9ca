"""Which classes and functions a configuration may name.

An allow-list: a class that is not in the table of Keras's own pure classes is never made,
whatever its name. `compile_config` (losses, metrics, optimizers), which inference does not
need, is removed at every depth beforehand.
"""

from __future__ import annotations

import builtins
import functools
import re
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, LimitError, ModelError, UnsafeError, escape
from actviz.gate.allowed_names import keras_names
from actviz.gate.functions import CALLS, named_call
from actviz.gate.strict_json import MAXIMUM_LAYERS
from actviz.gate.trust import NO_FLAG, NO_TRUST, TrustPolicy
from actviz.layer_catalogue import KERAS_1_NAMES, LAYERS, OLDER_NAMES, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

LAMBDAS = frozenset({"Lambda", "__lambda__"})
# The JSON hooks of Keras 2 turn these into objects of TensorFlow of a class that the file names.
TYPE_SPECS = frozenset({"TypeSpec", "CompositeTensor", "__typespec__"})
RUNS_CODE = LAMBDAS | {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
MODELS = frozenset({"Functional", "Model", "Sequential"})
STRUCTURES = frozenset(
    {
        "__keras_tensor__",
        "__tensor__",
        "__numpy__",
        "__tuple__",
        "__ellipsis__",
        "__slice__",
        "TensorShape",
        "bytes",
        "slice",
        "dtype",
    }
)
# Names in files of Keras 1 and 2 of classes that Keras 3 has under another name.
OLDER = frozenset({"OrthogonalInitializer", "Policy", "PolicyV1"}).union(KERAS_1_NAMES, OLDER_NAMES)
# Layers that keras.applications defines for its own networks, with their modules.
APPLICATIONS = {name: facts.module for name, facts in LAYERS.items() if facts.module != UNKNOWN.module}
# Names that `keras.activations.get` accepts besides the exported ones.
ALIASES = frozenset({"swish", "hard_swish", "softmax_v2", "relu_v2"})
KERAS_MODULES = ("keras", "tf_keras")
# Keras imports the module that a file names (a module of tests runs them), so only modules that Keras writes are allowed.
MODEL_MODULES = frozenset(
    {
        "keras", "keras.models", "keras.src.models.functional", "keras.src.models.sequential", "keras.src.engine.functional",
        "keras.src.engine.sequential", "keras.src.engine.training", "keras.engine.functional", "keras.engine.sequential",
        "keras.engine.training",
    }
)  # fmt: skip
FUNCTION_MODULES = frozenset({None, "builtins", "keras.activations"})
HOLDERS = frozenset({"", "config", "layers", "layer", "forward_layer", "backward_layer", "cell", "cells"})
ACTIVATION_LAYERS = frozenset(
    name
    for name, facts in LAYERS.items()
    if facts.activation is not None and facts.weights and not any(facts.weights({}))
)
LAMBDA_NAME = "<lambda>"
LITERALS = frozenset({"__tensor__", "__numpy__", "__ndarray__", "ndarray"})
LITERAL_DTYPE = re.compile(r"bool|string|(u?int|float|complex)\d{1,3}|bfloat16|float8_e\w{3,6}")
MAXIMUM_NAME = 2000
SHOWN = 8


@functools.cache
def _modules_of_classes() -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """Return sets of classes, each with the set of modules that Keras writes for them."""
    names = keras_names()
    return (
        (MODELS, MODEL_MODULES),
        (names.layers | OLDER, frozenset({"keras.layers"})),
        (names.initializers | OLDER, frozenset({"keras.initializers"})),
        (names.regularizers, frozenset({"keras.regularizers"})),
        (names.constraints, frozenset({"keras.constraints"})),
        (names.policies | OLDER, frozenset({"keras", "keras.dtype_policies", "keras.mixed_precision"})),
    )


@functools.cache
def _known_classes() -> frozenset[str]:
    """Return all class names that are not custom."""
    classes = (kinds for kinds, _ in _modules_of_classes())
    return STRUCTURES.union(APPLICATIONS, RUNS_CODE, CALLS, *classes, *keras_names().operations.values())


@functools.cache
def _weighted_classes() -> frozenset[str]:
    """Return layer classes: they are only allowed under keys where `formats.keras.load_weights` finds their weights."""
    names = keras_names()
    other = names.initializers | names.regularizers | names.constraints | names.policies
    return (names.layers | MODELS | frozenset(APPLICATIONS)) - other


@dataclass(frozen=True, slots=True)
class ForeignObject:
    """An object in a configuration that is not one of Keras's own, and the error for it.

    `code` is a short form for lists (``lam (Lambda)``), `named` the registered name of a
    custom class or function, and `allowed` is true if the user gave its code or allowed it.
    `missing` is true if it only lacks its code, as in honest files: a layer that holds it can
    be left out. Any other object is refused wherever it is. `of_layer` is true for the class of
    a layer, not an object in its configuration.
    """

    error: type[UnsafeError | ModelError | LimitError]
    message: str
    code: str = ""
    named: str = ""
    allowed: bool = False
    missing: bool = False
    of_layer: bool = False


def drop_compile_config(value: Any) -> Any:
    """Return a copy of a configuration without `compile_config` at any depth."""
    if isinstance(value, dict):
        return {key: drop_compile_config(item) for key, item in value.items() if key != "compile_config"}
    if isinstance(value, list):
        return [drop_compile_config(item) for item in value]
    return value


def check_configuration(value: object, name: str, trust: TrustPolicy = NO_TRUST) -> tuple[ForeignObject, ...]:
    """Return the objects in a configuration that are not Keras's own, unsafe ones before unknown ones.

    `value` is the parsed JSON without `compile_config`, `name` the model's file name. Objects that
    `trust` covers are marked as allowed.

    Raises
    ------
    LimitError
        When it has more objects than any model that is opened.
    """
    findings: list[ForeignObject] = []
    todo: list[tuple[object, str, str | None]] = [(value, "", "")]
    objects = 0
    while todo:
        item, layer, slot = todo.pop()
        if isinstance(item, dict):
            layer = _layer_name(item, layer)
            if "class_name" in item:
                objects += 1
                findings += _check_object(item, layer, name, trust)
                findings += _check_slot(item, slot, layer, name)
            findings += _check_literal(item, layer, name)
            free = _holds_anything(item, slot)
            findings += _check_activation(item, layer, name, trust)
            if isinstance(item.get("vocabulary"), str):
                file = escape(item["vocabulary"], 80)
                findings += _refused(name, f'layer "{layer}" reads its vocabulary from the file "{file}"')
            todo.extend(
                (child, layer, None if free else key)
                for key, child in reversed(item.items())
                if isinstance(child, (dict, list))
            )
        elif isinstance(item, list):
            todo.extend((child, layer, slot) for child in reversed(item) if isinstance(child, (dict, list)))
        if objects > MAXIMUM_LAYERS * 10:
            message = f"{name}: the configuration holds more than {MAXIMUM_LAYERS * 10:,} objects."
            raise LimitError(message)
    return tuple(sorted(findings, key=lambda finding: finding.error is not UnsafeError))


def refusal(findings: tuple[ForeignObject, ...], name: str) -> ActvizError | None:
    """Return the error for the first object that is not allowed; one error names all missing custom objects."""
    refused = [finding for finding in findings if not finding.allowed]
    if not refused:
        return None
    missing = list(dict.fromkeys(finding.named for finding in refused if finding.named))
    if refused[0].named and len(missing) > 1:
        shown = ", ".join(f'"{escape(text, 60)}"' for text in missing[:SHOWN]) + (
            " ..." if len(missing) > SHOWN else ""
        )
        message = f"{name}: needs {len(missing)} custom objects whose code is not in the file ({shown}); give it with --custom-objects file.py, or module:Name for each, or export the model to a SavedModel."
        return ModelError(message)
    return refused[0].error(refused[0].message)


def missing_code(
    config: object, findings: tuple[ForeignObject, ...], name: str, trust: TrustPolicy
) -> dict[tuple[str, ...], tuple[ForeignObject, ...]]:
    """Return the layers that cannot be made because they hold objects whose code is not given.

    Parameters
    ----------
    config
        The configuration that `check_configuration` took.
    findings
        What it found.
    name
        The model's file name.
    trust
        The code that may run.

    Returns
    -------
    dict
        Their objects by the names of the nested models around a layer and of the layer; empty
        if the file as a whole is refused: for an object that no honest file holds, or for one
        outside its layers, such as the class of the model.
    """
    refused = [finding for finding in findings if not finding.allowed]
    if not all(finding.missing for finding in refused):
        return {}
    by_layer = {}
    for path, layer in _layers_of(config, ()):
        found = tuple(item for item in check_configuration(layer, name, trust) if not item.allowed)
        found = tuple(replace(item, of_layer=item.named == _registered(layer)) for item in found)
        if found:
            by_layer[path] = found
    return by_layer if sum(map(len, by_layer.values())) == len(refused) else {}


def _layers_of(model: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the path and the configuration of each layer of a model that is not a model itself."""
    config = model.get("config") if isinstance(model, dict) and model.get("class_name") in MODELS else None
    layers = config.get("layers") if isinstance(config, dict) else config
    for layer in layers if isinstance(layers, list) else ():
        inner = layer.get("config") if isinstance(layer, dict) else None
        if isinstance(layer, dict) and isinstance(inner, (dict, list)):
            own = inner.get("name") if isinstance(inner, dict) else None
            whole = (*path, str(layer.get("name") or own))
            if layer.get("class_name") in MODELS and (isinstance(inner, list) or "layers" in inner):
                yield from _layers_of(layer, whole)
            else:
                yield whole, layer


def _registered(layer: dict[str, Any]) -> object:
    return layer.get("registered_name") or layer.get("class_name")


def _refused(name: str, reason: str) -> list[ForeignObject]:
    return [ForeignObject(UnsafeError, f"{name}: refused: {reason}; {NO_FLAG}.")]


def _layer_name(item: dict[str, Any], outer: str) -> str:
    config = item.get("config")
    own = (config.get("name") if isinstance(config, dict) else None) or item.get("name")
    return escape(own, 80) if isinstance(own, str) else outer


def _check_object(item: dict[str, Any], layer: str, name: str, trust: TrustPolicy) -> list[ForeignObject]:
    kind = item["class_name"]
    if isinstance(kind, dict):
        return []  # a plain dictionary that happens to have the key
    if not isinstance(kind, str) or len(kind) > MAXIMUM_NAME:
        text = f'{name}: layer "{layer}" has a class name that is not a short text; the file is damaged.'
        return [ForeignObject(ModelError, text)]
    shown = escape(kind, 80)
    module = item.get("module")
    if kind in LAMBDAS:
        text = f'{name}: layer "{layer}" is a Lambda: it can run any code. Use --allow-code if you trust this file.'
        allowed = trust.allow_code or trust.names(layer) or _is_named_function(item, trust)
        return [ForeignObject(UnsafeError, text, f"{layer} (Lambda)", "", allowed, missing=True)]
    if kind in RUNS_CODE:
        text = f'{name}: layer "{layer}" is a {shown}: it can run any code; {NO_FLAG}.'
        return [ForeignObject(UnsafeError, text)]
    if kind in TYPE_SPECS:
        return _refused(name, f'layer "{layer}" holds a {shown}, which names a class of TensorFlow to be made')
    if kind == "function":
        return _check_function(item, layer, name, trust)
    if kind in CALLS:
        return _check_call(kind, item.get("config"), layer, name)
    if isinstance(module, str) and module.startswith("keras.src.ops."):
        if kind in keras_names().operations.get(module.removeprefix("keras.src.ops."), ()):
            return []
        return _refused(name, f'the operation "{shown}" of layer "{layer}" is not on the list of pure functions')
    if module not in (None, "builtins") and not _is_keras(module):
        return [_foreign(item, layer, name, trust)]
    registered = item.get("registered_name")
    if isinstance(module, str) and not is_custom(item) and module != "builtins" and not _is_canonical(kind, module):
        return _refused(
            name,
            f'the class "{shown}" of layer "{layer}" is not in the module "{escape(module, 80)}", which Keras would import',
        )
    if is_custom(item):
        if _is_keras(module):
            return [_newer(kind, layer, name)]
        return [_unknown(registered or kind, layer, name, trust)]
    if registered not in (None, kind):
        return _refused(
            name, f'"{shown}" of layer "{layer}" is registered under another name ("{escape(str(registered), 80)}")'
        )
    return []


def _is_canonical(kind: str, module: str) -> bool:
    """Return True if Keras writes this module for this class of its own."""
    module = module.removeprefix("tf_")
    return module == APPLICATIONS.get(kind) or any(
        kind in kinds and module in modules for kinds, modules in _modules_of_classes()
    )


def _holds_anything(item: dict[str, Any], slot: str | None) -> bool:
    """Return True inside the configuration of a custom class, whose code decides what its keys mean."""
    if isinstance(item.get("class_name"), str):
        return is_custom(item)
    return slot is None


def _check_slot(item: dict[str, Any], slot: str | None, layer: str, name: str) -> list[ForeignObject]:
    """Refuse layers where Keras loads no weights into them, so that they would compute with random ones.

    A Dense as an `activation`, for example, is built at its first call. `slot` is the key that holds
    the object, ``None`` inside a custom class.
    """
    kind = item["class_name"]
    if slot is None or not isinstance(kind, str) or is_custom(item) or kind in LAMBDAS | RUNS_CODE | {"function"}:
        return []
    shown = escape(kind, 80)
    if slot.endswith("activation") and kind not in ACTIVATION_LAYERS | LITERALS:
        return _refused(
            name,
            f'layer "{layer}" has a {shown} as its {escape(slot, 40)}, where a function or a layer without weights was expected ({", ".join(sorted(ACTIVATION_LAYERS))})',
        )
    if kind in _weighted_classes() and slot not in HOLDERS and not slot.endswith("activation"):
        return _refused(
            name,
            f'layer "{layer}" holds a {shown} as "{escape(slot, 40)}", where Keras keeps no layer, so that it would compute with random weights',
        )
    return []


def _check_literal(item: dict[str, Any], layer: str, name: str) -> list[ForeignObject]:
    """Refuse an array in JSON whose dtype is not numeric: one value of ``<U500000000`` takes 2 GB."""
    kind, config = item.get("class_name", item.get("type")), item.get("config")
    if not isinstance(kind, str) or kind not in LITERALS:
        return []
    dtype = (config if isinstance(config, dict) else item).get("dtype", "float32")
    if isinstance(dtype, str) and (dtype == "object" or LITERAL_DTYPE.fullmatch(dtype)):
        return []
    sized = isinstance(dtype, str) and any(mark.isdigit() for mark in dtype)
    text = f'{name}: layer "{layer}" holds an array of the dtype "{escape(str(dtype), 40)}"; a numeric one was expected, save the model again.'
    return [ForeignObject(LimitError if sized else ModelError, text)]


def is_custom(item: dict[str, Any]) -> bool:
    """Return True if a serialized object is of a class that Keras does not have."""
    return item["class_name"] not in _known_classes()


def is_keras_activation(name: str) -> bool:
    """Return True if a string is the name of an activation function of Keras."""
    return name in keras_names().activations | ALIASES


def _is_named_function(item: dict[str, Any], trust: TrustPolicy) -> bool:
    """Return True if a Lambda names a function whose code the user gives."""
    config = item.get("config")
    function = config.get("function") if isinstance(config, dict) else None
    if isinstance(function, dict) and function.get("class_name") == "function":
        function = function.get("config")
    return isinstance(function, str) and trust.gives(function)


def _check_activation(item: dict[str, Any], layer: str, name: str, trust: TrustPolicy) -> list[ForeignObject]:
    """Return unknown activations: Keras 2 writes custom ones as strings, like its own."""
    named = [item.get(key) for key in ("activation", "recurrent_activation")]
    own = item.get("name")
    text = f'{name}: layer "{layer}" has a lambda as its activation: it can run any code. Use --allow-code if you trust this file.'
    allowed = trust.allow_code or trust.names(own)
    return [
        ForeignObject(UnsafeError, text, f"{layer} (Lambda)", "", allowed, missing=True)
        for value in named
        if is_lambda_value(value)
    ] + [
        _nameless(item, layer, name, trust) if text == LAMBDA_NAME else _unknown(text, layer, name, trust)
        for text in named
        if isinstance(text, str) and not is_keras_activation(text)
    ]


def is_lambda_value(value: object) -> bool:
    """Return True for the bytecode of an activation as Keras 3 writes it, without a class."""
    return isinstance(value, dict) and "class_name" not in value and isinstance(value.get("value"), list)


def _nameless(item: dict[str, Any], layer: str, name: str, trust: TrustPolicy) -> ForeignObject:
    """Return the finding for a lambda as an activation, whose function the user gives under the layer's name."""
    own = item.get("name")
    message = f'{name}: layer "{layer}" has a lambda as its activation, whose code is not in the file; give it as a function with --custom-objects file.py:{layer}, or export the model to a SavedModel.'
    return ForeignObject(ModelError, message, f"{layer} (lambda)", str(own), trust.names(own), missing=True)


def _check_call(kind: str, config: object, layer: str, name: str) -> list[ForeignObject]:
    called, allowed = named_call(kind, config) if isinstance(config, dict) else ("", False)
    if allowed:
        return []
    return _refused(
        name, f'layer "{layer}" calls TensorFlow\'s "{escape(called, 80)}", which is not on the list of pure functions'
    )


def _is_keras(module: object) -> bool:
    return isinstance(module, str) and module.split(".")[0] in KERAS_MODULES


def _check_function(item: dict[str, Any], layer: str, name: str, trust: TrustPolicy) -> list[ForeignObject]:
    """Allow functions only as activations; others could be called with any argument."""
    called, module = item.get("config"), item.get("module")
    shown = escape(str(called), 80)
    if isinstance(called, str) and called in keras_names().activations and module in FUNCTION_MODULES:
        return []
    if module in (None, "builtins") and called not in vars(builtins):
        return [_unknown(called, layer, name, trust)]
    if isinstance(module, str) and not _is_keras(module) and module.split(".")[0] not in sys.stdlib_module_names:
        return [_unknown(called, layer, name, trust)]
    text = f'{name}: refused: layer "{layer}" names the function "{escape(str(module), 80)}.{shown}"; only activation functions of Keras are allowed and {NO_FLAG}.'
    return [ForeignObject(UnsafeError, text)]


def _foreign(item: dict[str, Any], layer: str, name: str, trust: TrustPolicy) -> ForeignObject:
    """Return the finding for an object of a module outside Keras; those of Python's standard library are unsafe."""
    module, kind = item["module"], item["class_name"]
    if not isinstance(module, str) or module.split(".")[0] in sys.stdlib_module_names - {"__main__"}:
        text = f'{name}: refused: layer "{layer}" names "{escape(str(module), 80)}.{escape(kind, 80)}", which is outside Keras; {NO_FLAG}.'
        return ForeignObject(UnsafeError, text)
    return _unknown(item.get("registered_name") or kind, layer, name, trust)


def _newer(kind: str, layer: str, name: str) -> ForeignObject:
    text = f'{name}: layer "{layer}" is of the class keras "{escape(kind, 80)}", which this actviz does not know (it knows Keras {keras_names().keras_version}); update actviz.'
    return ForeignObject(ModelError, text, f"{layer} ({escape(kind, 80)})", missing=True)


def _unknown(registered: object, layer: str, name: str, trust: TrustPolicy) -> ForeignObject:
    """Return the finding for a class or function whose code is not in the file."""
    text = registered if isinstance(registered, str) else str(registered)
    shown, bare = escape(text, 80), escape(text.rpartition(">")[2].rpartition(".")[2], 80)
    message = f'{name}: layer "{layer}" needs the custom object "{shown}", whose code is not in the file; give it with --custom-objects module:{bare} or file.py:{bare}, or export the model to a SavedModel.'
    return ForeignObject(ModelError, message, f"{layer} ({shown})", text, trust.gives(text), missing=True)
