"""Load weights into built layers, creating each variable once from the values in the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, ModelError, escape
from actviz.formats.keras.checkpoint_weights import CheckpointWeights
from actviz.formats.keras.graph import ROOT, LayerNode
from actviz.formats.keras.object_graph import ObjectWeights
from actviz.formats.keras.weight_files import (
    OLD_CONTAINER,
    RANDOM_STATE,
    NamedWeights,
    StateTree,
    TreeWeights,
    snake_case,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORT_FLOATS = (1, 2)  # bytes; h5py has no name for bfloat16 and float8 and gives raw bytes
METRICS = ("metrics", "_metrics")  # lists of Keras: after compiling there are more metrics in them than before
FOR_TRAINING = re.compile("optimizer|loss|metric|tracker")
CAUSE = "Exception encountered: "
HEADINGS = ("Graph execution error:", "Detected at node", "<stack traces unavailable>")


def load(layer: Any, entry: LayerNode, weights: TreeWeights | NamedWeights | ObjectWeights, file: str) -> str:
    """Load the weights of a built layer; raise ModelError if they do not fit.

    Return a note about non-finite weights, ``""`` if there are none.
    """
    variables = getattr(layer, "variables", ())
    if not variables:
        return ""
    try:
        if isinstance(weights, CheckpointWeights):
            _load_attributes(layer, weights, entry, file)
        elif isinstance(weights, (NamedWeights, ObjectWeights)):
            _load_named(layer, weights, entry, file)
        else:
            state = weights.state(entry)
            if state is None and layer.weights:
                message = f'{file}: the file holds no weights for layer "{escape(entry.key, 80)}"; save it again with model.save(...).'
                raise ModelError(message)
            if state is not None:
                _load_tree(layer, state, weights, entry, file)
    except (ActvizError, MemoryError):
        raise
    except Exception as failure:
        message = f'{file}: the weights of layer "{escape(entry.key, 80)}" cannot be used: {reason(failure)}'
        raise ModelError(message) from failure
    for variable in layer.variables:
        if variable._value is None:  # noqa: SLF001  (Keras has no public question for it)
            _set_random_state(variable, entry, file)
    nonfinite = weights.nonfinite_message()
    return nonfinite and f'{file}: the weights of layer "{escape(entry.key, 80)}" hold {nonfinite}'


def _set_random_state(variable: Any, entry: LayerNode, file: str) -> None:
    """Initialize the state of a random generator, which inference does not use."""
    import numpy as np

    if "seed" not in variable.path:
        message = f'{file}: weights of layer "{escape(entry.key, 80)}" are missing from the file; save it again with model.save(...).'
        raise ModelError(message)
    variable._initialize(np.zeros(tuple(variable.shape), variable.dtype))  # noqa: SLF001


def _load_named(layer: Any, weights: NamedWeights | ObjectWeights, entry: LayerNode, file: str) -> None:
    if entry.position == ROOT:
        _load_groups(layer, weights, entry, file)
        return
    variables = layer.trainable_weights + layer.non_trainable_weights
    if variables:
        _assign(layer, weights.arrays(entry), weights, entry, file)


def _load_groups(model: Any, weights: NamedWeights | ObjectWeights, entry: LayerNode, file: str) -> None:
    """Load a subclassed model: one group for each of its layers, in order."""
    names = [name for name in weights.layer_names() if weights.group(name)]
    layers = [layer for layer in model.layers if layer.weights]
    if len(names) != len(layers):
        message = f"{file}: the file holds weights of {len(names)} layers, the model has {len(layers)} with weights; give the code that it was saved with."
        raise ModelError(message)
    for name, layer in zip(names, layers, strict=True):
        _assign(layer, weights.group(name), weights, entry, file)


def _assign(
    layer: Any, datasets: list[Any], weights: NamedWeights | ObjectWeights, entry: LayerNode, file: str
) -> None:
    variables = layer.trainable_weights + layer.non_trainable_weights
    if len(datasets) != len(variables):
        message = f'{file}: layer "{escape(entry.key, 80)}" has {len(variables)} weights, the file holds {len(datasets)}; save it again with model.save(...).'
        raise ModelError(message)
    for variable, dataset in zip(variables, datasets, strict=True):
        _check_shape(variable, dataset, entry, file)
        variable._initialize(weights.read(dataset))  # noqa: SLF001  (assign() would allocate twice)
    if hasattr(layer, "finalize_state"):
        layer.finalize_state()


def _load_attributes(layer: Any, weights: CheckpointWeights, entry: LayerNode, file: str) -> None:
    """Load the weights that a checkpoint lists by the attributes of objects, such as ``cell/kernel``."""
    from keras import layers

    todo = [(weights.object_of(entry), layer)]
    assigned, seen, left = set[int](), set[int](), dict[int, str]()
    while todo:
        number, item = todo.pop()
        if number in seen:
            continue
        seen.add(number)
        for name, child in weights.attributes(number):
            stored = weights.variable(child)
            target = _attribute(item, name) if stored is None else _variable(item, name)
            if target is None:
                left |= dict.fromkeys(weights.variables_in(child), name)
            elif stored is None:
                todo.append((child, target))
            elif child not in assigned:
                _check_shape(target, stored, entry, file)
                target._initialize(weights.read(stored))  # noqa: SLF001
                assigned.add(child)
        if isinstance(item, layers.Layer) and hasattr(item, "finalize_state"):
            item.finalize_state()
    for number in left.keys() - assigned:
        raise ModelError(_extra(left[number], entry, file))


def _attribute(item: Any, name: str) -> Any:
    """Return an object in an attribute or a list of `item`, ``None`` if there is none that may hold weights."""
    from keras import Operation

    if isinstance(item, (list, tuple)):
        value = item[int(name)] if name.isdigit() and int(name) < len(item) else None
    elif isinstance(item, dict):
        value = item.get(name)
    else:
        value = None if name.startswith("__") else getattr(item, name, None)
    return value if isinstance(value, (Operation, list, tuple, dict)) else None


def _variable(item: Any, name: str) -> Any:
    """Return the variable of a layer by the name of its attribute in any Keras version, ``None`` if there is none."""
    from keras import layers

    if not isinstance(item, layers.Layer):
        return None
    plain = name.removeprefix("_").removeprefix("adapt_")
    variables = {variable.name: variable for variable in _own_variables(item)}
    # A depthwise layer of Keras 2 had `depthwise_kernel`, that of Keras 3 has `kernel`.
    return next((variables[key] for key in (name, plain, plain.removeprefix("depthwise_")) if key in variables), None)


def _load_tree(layer: Any, state: StateTree, weights: TreeWeights, entry: LayerNode, file: str) -> None:
    """Load an object of the tree layout and the objects inside it."""
    from keras import layers

    own = _own_variables(layer) if isinstance(layer, layers.Layer) else []
    if own:
        if len(state.own) != len(own):
            message = f'{file}: layer "{escape(entry.key, 80)}" has {len(own)} weights, the file holds {len(state.own)}; save it again with model.save(...).'
            raise ModelError(message)
        for number, variable in enumerate(own):
            _check_shape(variable, state.own[str(number)], entry, file)
        if type(layer).load_own_variables is layers.Layer.load_own_variables:
            for number, variable in enumerate(own):
                variable._initialize(weights.read(state.own[str(number)]))  # noqa: SLF001
        else:
            arrays = {number: weights.read(dataset) for number, dataset in state.own.items()}
            for number, variable in enumerate(own):
                variable._initialize(arrays[str(number)])  # noqa: SLF001
            layer.load_own_variables(arrays)
    elif state.own and isinstance(layer, layers.Layer):
        raise ModelError(_extra("vars", entry, file))
    for name, child in state.children.items():
        if name in METRICS:
            continue
        inner = getattr(layer, "layers" if name == OLD_CONTAINER else name, None)
        if isinstance(inner, dict):
            inner = list(inner.values())
        if isinstance(inner, (list, tuple)):
            _load_list(inner, child, weights, entry, file)
        elif inner is not None:
            _load_tree(inner, child, weights, entry, file)
        elif not child.empty and not name.startswith(RANDOM_STATE) and not FOR_TRAINING.search(name):
            raise ModelError(_extra(name, entry, file))


def _extra(name: str, entry: LayerNode, file: str) -> str:
    return f'{file}: the file holds weights "{escape(name, 80)}" that layer "{escape(entry.key, 80)}" does not have; save it again with model.save(...).'


def _own_variables(layer: Any) -> list[Any]:
    """Return the variables of a layer without those of inner layers, in the order of the file."""
    return list(layer._trainable_variables + layer._non_trainable_variables)  # noqa: SLF001  (as load_own_variables)


def _load_list(items: Sequence[Any], state: StateTree, weights: TreeWeights, entry: LayerNode, file: str) -> None:
    """Load the objects of a list attribute, which are numbered by class."""
    used: dict[str, int] = {}
    rest = dict(state.children)
    for item in items:
        base = snake_case(type(item).__name__)
        number = used.get(base, 0)
        used[base] = number + 1
        child = rest.pop(base if number == 0 else f"{base}_{number}", None)
        if child is not None:
            _load_tree(item, child, weights, entry, file)
    extra = [name for name, child in rest.items() if not child.empty]
    if extra:
        raise ModelError(_extra(extra[0], entry, file))


def _check_shape(variable: Any, dataset: Any, entry: LayerNode, file: str) -> None:
    if tuple(variable.shape) != tuple(dataset.shape):
        message = f'{file}: a weight of layer "{escape(entry.key, 80)}" has the shape {tuple(dataset.shape)}, {tuple(variable.shape)} was expected; the file is damaged, save it again.'
        raise ModelError(message)
    if not _holds_numbers(dataset.dtype):
        message = f'{file}: a weight of layer "{escape(entry.key, 80)}" holds no numbers (dtype {escape(str(dataset.dtype), 40)}); the file is damaged, save it again.'
        raise ModelError(message)


def _holds_numbers(dtype: Any) -> bool:
    """Return True for a numeric dtype, or its name in a checkpoint."""
    if isinstance(dtype, str):
        return dtype not in ("", "string", "object")
    return dtype.kind in "fiub" or (dtype.kind == "V" and dtype.itemsize in SHORT_FLOATS)


def reason(failure: BaseException) -> str:
    """Return the line of a library's exception that states the cause, shortened and escaped.

    Keras wraps what went wrong in a description of the whole layer, which repeats the
    file's own text; the cause follows ``Exception encountered:``. TensorFlow puts headings and the
    origin of the operation before it.
    """
    text = str(failure)
    text = text.rpartition(CAUSE)[2] if CAUSE in text else text
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(HEADINGS)]
    return escape(lines[0], 160) if lines else type(failure).__name__
