"""Building and running the calls of a graph with Keras: the only user of TensorFlow here.

Layers are built under a scope that allocates nothing, so that shapes and counts are known
and limited before memory is taken; then each variable is created once, from the file's own
values, without the initializer that `build` asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, LimitError, ModelError, escape
from actviz.formats.canonical import CALLS_MODULE, REPEATS_MASKED
from actviz.formats.graph import Entry, Graph, Ref, refs
from actviz.formats.shapes import SCORES
from actviz.formats.weights import NamedWeights, StateTree, TreeWeights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

MAXIMUM_PARAMETERS = 2_000_000_000
MAXIMUM_ACTIVATION_BYTES = 4 << 30
VOCABULARIES = frozenset({"TextVectorization", "StringLookup", "IntegerLookup"})
CAUSE = "Exception encountered: "
MASK_RANK = 2  # (batch, step)


@dataclass
class Cut:
    """A feature-extraction sub-model: the calls that some outputs need, and nothing else.

    `steps` are the numbers of the calls in order; `wanted` maps each address to the tensor
    that it stands for. After a run, `masks` holds the steps ``(batch, step)`` that Keras does
    not leave out, by address, where there is a mask.
    """

    graph: Graph
    file: str
    steps: list[int]
    wanted: dict[str, Ref]
    weights: TreeWeights | NamedWeights
    layers: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def build(self) -> None:
        """Make the layers and give them their weights.

        Raises
        ------
        LimitError
            When they declare more parameters or larger outputs than the limits.
        ModelError
            When a layer cannot be built as the file describes it, or its weights do not fit.
        """
        self.prepare()
        for key, layer in self.layers.items():
            _load(layer, self.graph.entries[key], self.weights, self.file)
        _forget_uninitialised()

    def prepare(self) -> dict[Ref, tuple[tuple[int | None, ...], str]]:
        """Make the layers without allocating weights and describe every tensor."""
        for number in self.steps:
            entry = self.graph.entries[self.graph.nodes[number].entry]
            if entry.kind != "InputLayer" and entry.key not in self.layers:
                self.layers[entry.key] = _make(entry, self.weights, self.file)
        return self.describe({})

    def input_names(self) -> list[str]:
        """Return the names of the inputs that the cut reads."""
        entries = [self.graph.entries[self.graph.nodes[number].entry] for number in self.steps]
        return [entry.name for entry in entries if entry.kind == "InputLayer"]

    def describe(self, sizes: Mapping[str, tuple[int, ...]]) -> dict[Ref, tuple[tuple[int | None, ...], str]]:
        """Return shape and dtype of every tensor of the cut, without computing any.

        `sizes` gives the shape of the inputs, batch axis first, where it is known better
        than the model's own.
        """
        import keras

        values: dict[Ref, Any] = {}
        with keras.StatelessScope(initialize_variables=False):
            for number in self.steps:
                node = self.graph.nodes[number]
                entry = self.graph.entries[node.entry]
                if entry.kind == "InputLayer":
                    shape = sizes.get(entry.name, tuple(entry.config["batch_shape"]))
                    outputs: Any = keras.KerasTensor(shape, self.graph.shapes[Ref(number, 0)][1])
                else:
                    outputs = self._call(number, values)
                for position, output in enumerate(outputs_of(outputs)):
                    values[Ref(number, position)] = output
                self._check_size(entry, outputs_of(outputs))
        return {ref: (tuple(value.shape), str(value.dtype)) for ref, value in values.items() if hasattr(value, "shape")}

    def _check_size(self, entry: Entry, outputs: Sequence[Any]) -> None:
        layer = self.layers.get(entry.key)
        if layer is not None and entry.key not in self.parameters:
            self.parameters[entry.key] = sum(math.prod(variable.shape) for variable in getattr(layer, "weights", ()))
            total = sum(self.parameters.values())
            if total > MAXIMUM_PARAMETERS:
                message = f"{self.file}: declares {total:,} parameters (limit {MAXIMUM_PARAMETERS:,})."
                raise LimitError(message)
        for output in outputs:
            size = math.prod(axis or 1 for axis in getattr(output, "shape", ())) * 4
            if size > MAXIMUM_ACTIVATION_BYTES:
                message = f'{self.file}: the output of layer "{escape(entry.key, 80)}" takes {size:,} bytes (limit {MAXIMUM_ACTIVATION_BYTES:,}).'
                raise LimitError(message)

    def run(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.generic]]:
        """Compute the wanted tensors for a batch and return them by address.

        `batch` maps input names to arrays, batch axis first. A tensor is dropped as soon as
        the last call that reads it is done.
        """
        from keras import ops

        last = {ref.node: number for number in self.steps for ref in refs(self._arguments(number))}
        scored = set(self.wanted.values())
        kept = {ref.node for ref in scored}
        values: dict[Ref, Any] = {}
        masks: dict[Ref, Any] = {}
        for number in self.steps:
            entry = self.graph.entries[self.graph.nodes[number].entry]
            if entry.kind == "InputLayer":
                outputs = _input_tensor(batch[entry.name], self.graph.shapes[Ref(number, 0)][1])
            else:
                before = {ref: _keras_mask(values[ref]) for ref in refs(self._arguments(number))}
                outputs = self._call(number, values)
                if Ref(number, SCORES) in scored:
                    values[Ref(number, SCORES)] = self._scores(number, values, before)
            for position, output in enumerate(outputs_of(outputs)):
                values[Ref(number, position)] = output
                # Noted now: attention deletes the masks of what it reads.
                masks[Ref(number, position)] = _keras_mask(output)
            done = {ref for ref in values if last.get(ref.node, number) <= number and ref.node not in kept}
            for ref in done - {Ref(number, 0)}:
                del values[ref]
        wanted = {address: self._wanted(address, values) for address in self.wanted}
        found = {address: _steps_that_count(masks.get(ref)) for address, ref in self.wanted.items()}
        self.masks = {address: mask for address, mask in found.items() if mask is not None}
        return {address: ops.convert_to_numpy(tensor) for address, tensor in wanted.items()}

    def _wanted(self, address: str, values: dict[Ref, Any]) -> Any:
        ref = self.wanted[address]
        if ref not in values:
            message = f'"{escape(address, 80)}": layer has no output number {ref.output}.'
            raise ModelError(message)
        return values[ref]

    def _arguments(self, number: int) -> tuple[Any, Any]:
        node = self.graph.nodes[number]
        return node.args, node.kwargs

    def _scores(self, number: int, values: dict[Ref, Any], masks: dict[Ref, Any]) -> Any:
        """Return the scores of an attention layer, from a call of their own.

        Keras computes the output in another way when it returns the scores too, so that the
        output itself would not stay what it is, bit for bit. `masks` are those that the
        tensors read had before the first call.
        """
        layer = self.layers[self.graph.nodes[number].entry]
        flash = getattr(layer, "_flash_attention", None)
        try:
            layer._flash_attention = False  # noqa: SLF001  (it cannot return scores)
            for ref, mask in masks.items():
                if mask is not None:
                    values[ref]._keras_mask = mask  # noqa: SLF001
            return self._call(number, values, return_attention_scores=True)[1]
        finally:
            layer._flash_attention = flash  # noqa: SLF001

    def _call(self, number: int, values: dict[Ref, Any], **more: Any) -> Any:
        node = self.graph.nodes[number]
        args, kwargs = _filled(node.args, values), _filled(node.kwargs, values) | more
        try:
            return self.layers[node.entry](*args, **kwargs)
        except ActvizError:
            raise
        except Exception as failure:
            kind = self.graph.entries[node.entry].kind
            message = f'{self.file}: layer "{escape(node.address, 80)}" ({escape(kind, 60)}) cannot be computed: {reason(failure)}'
            raise ModelError(message) from failure


def reason(failure: BaseException) -> str:
    """Return the one line of a library's exception that says why, cut and escaped.

    Keras wraps what went wrong in a description of the whole layer, which repeats the
    file's own text; the cause follows ``Exception encountered:``.
    """
    text = str(failure)
    text = text.rpartition(CAUSE)[2] if CAUSE in text else text
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return escape(lines[0], 160) if lines else type(failure).__name__


def _keras_mask(tensor: Any) -> Any:
    return getattr(tensor, "_keras_mask", None)


def _steps_that_count(mask: Any) -> NDArray[np.bool_] | None:
    """Return the mask that Keras gave a tensor, if it is one of steps: ``(batch, step)``."""
    import numpy as np

    found = None if mask is None else np.asarray(mask)
    return None if found is None or found.ndim != MASK_RANK else found.astype(bool)


def outputs_of(outputs: object) -> list[Any]:
    """Return the outputs of a call as a flat list."""
    if isinstance(outputs, dict):
        return [item for value in outputs.values() for item in outputs_of(value)]
    if isinstance(outputs, (list, tuple)):
        return [item for value in outputs for item in outputs_of(value)]
    return [outputs]


def _filled(value: Any, values: dict[Ref, Any]) -> Any:
    if isinstance(value, Ref):
        return values[value]
    if isinstance(value, dict):
        if "class_name" in value and "config" in value:
            from keras.saving import deserialize_keras_object

            return deserialize_keras_object(dict(value))
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    return value


def _input_tensor(values: NDArray[Any], dtype: str) -> Any:
    import tensorflow as tf

    return tf.convert_to_tensor(values, dtype=tf.as_dtype(dtype))


def _make(entry: Entry, weights: TreeWeights | NamedWeights, file: str) -> Any:
    """Make one layer or operation from its checked configuration."""
    import copy

    from keras.saving import deserialize_keras_object

    _register_old_functions()
    config = copy.deepcopy(entry.config)
    if isinstance(config.get("name"), str):
        # Keras and TensorFlow take few characters as names; the true name is ours to keep.
        config["name"] = (
            "".join(mark if mark.isascii() and (mark.isalnum() or mark == "_") else "_" for mark in config["name"])[
                :200
            ]
            or "_"
        )
    if entry.kind in VOCABULARIES and not config.get("vocabulary"):
        config["vocabulary"] = _vocabulary(entry, weights, file)
    repeats_masked = config.pop(REPEATS_MASKED, False)
    described = {
        "module": entry.module,
        "class_name": entry.kind,
        "config": config,
        "registered_name": entry.kind if entry.module.startswith("keras.src.") else None,
    }
    try:
        if entry.module == CALLS_MODULE:
            from actviz.formats.tensorflow_calls import make

            return make(entry.kind, config)
        layer = deserialize_keras_object(described, safe_mode=True)
    except Exception as failure:
        message = (
            f'{file}: layer "{escape(entry.key, 80)}" ({escape(entry.kind, 60)}) cannot be made: {reason(failure)}'
        )
        raise ModelError(message) from failure
    if repeats_masked:
        layer.forward_layer.zero_output_for_mask = layer.backward_layer.zero_output_for_mask = False
    return layer


def _vocabulary(entry: Entry, weights: TreeWeights | NamedWeights, file: str) -> list[str]:
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


def _load(layer: Any, entry: Entry, weights: TreeWeights | NamedWeights, file: str) -> None:
    """Give a built layer its weights, or refuse them where they do not fit."""
    variables = getattr(layer, "variables", ())
    if not variables:
        return
    try:
        if isinstance(weights, NamedWeights):
            _load_named(layer, weights, entry, file)
        else:
            state = weights.state(entry)
            if state is None and layer.weights:
                message = f'{file}: the file holds no weights for layer "{escape(entry.key, 80)}"; save it again with model.save(...).'
                raise ModelError(message)
            if state is not None:
                _load_tree(layer, state, weights, entry, file)
    except ActvizError:
        raise
    except Exception as failure:
        message = f'{file}: the weights of layer "{escape(entry.key, 80)}" cannot be used: {reason(failure)}'
        raise ModelError(message) from failure
    for variable in layer.variables:
        if variable._value is None:  # noqa: SLF001  (Keras has no public question for it)
            _set_random_state(variable, entry, file)


def _set_random_state(variable: Any, entry: Entry, file: str) -> None:
    """Give a random generator its state: inference never draws from it."""
    import numpy as np

    if "seed" not in variable.path:
        message = f'{file}: weights of layer "{escape(entry.key, 80)}" are missing from the file; save it again with model.save(...).'
        raise ModelError(message)
    variable._initialize(np.zeros(tuple(variable.shape), variable.dtype))  # noqa: SLF001


def _load_named(layer: Any, weights: NamedWeights, entry: Entry, file: str) -> None:
    variables = layer.trainable_weights + layer.non_trainable_weights
    if not variables:
        return
    datasets = weights.arrays(entry)
    if len(datasets) != len(variables):
        message = f'{file}: layer "{escape(entry.key, 80)}" has {len(variables)} weights, the file holds {len(datasets)}; save it again with model.save(...).'
        raise ModelError(message)
    for variable, dataset in zip(variables, datasets, strict=True):
        _check_shape(variable, dataset, entry, file)
        variable._initialize(weights.read(dataset))  # noqa: SLF001  (assign() would allocate twice)
    if hasattr(layer, "finalize_state"):
        layer.finalize_state()


def _load_tree(layer: Any, state: StateTree, weights: TreeWeights, entry: Entry, file: str) -> None:
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
    for name, child in state.children.items():
        inner = getattr(layer, name, None)
        if isinstance(inner, (list, tuple)):
            _load_list(inner, child, weights, entry, file)
        elif inner is not None:
            _load_tree(inner, child, weights, entry, file)


def _own_variables(layer: Any) -> list[Any]:
    """Return a layer's variables, those of layers inside it left out, in the order of files."""
    return list(layer._trainable_variables + layer._non_trainable_variables)  # noqa: SLF001  (as load_own_variables)


def _load_list(
    items: Sequence[Any],
    state: StateTree,
    weights: TreeWeights,
    entry: Entry,
    file: str,
) -> None:
    """Load the objects of a list attribute, which are numbered class by class."""
    from actviz.formats.weights import snake_case

    used: dict[str, int] = {}
    for item in items:
        base = snake_case(type(item).__name__)
        number = used.get(base, 0)
        used[base] = number + 1
        child = state.children.get(base if number == 0 else f"{base}_{number}")
        if child is not None:
            _load_tree(item, child, weights, entry, file)


def _check_shape(variable: Any, dataset: Any, entry: Entry, file: str) -> None:
    if tuple(variable.shape) != tuple(dataset.shape):
        message = f'{file}: a weight of layer "{escape(entry.key, 80)}" has the shape {tuple(dataset.shape)}, {tuple(variable.shape)} was expected; the file is damaged, save it again.'
        raise ModelError(message)


def _forget_uninitialised() -> None:
    """Drop Keras's list of variables that still wait for an initializer: all have values."""
    from keras.src.backend.common import global_state

    global_state.set_global_attribute("uninitialized_variables", [])
