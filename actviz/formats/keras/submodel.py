"""Building and running the calls of a graph with Keras: the only user of TensorFlow here.

Layers are built under a scope that allocates nothing, so that shapes and counts are known
and limited before memory is taken; then each variable is created once, from the file's own
values, without the initializer that `build` asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, InputError, LimitError, ModelError, UnsafeError, escape
from actviz.formats.axes import axes_of
from actviz.formats.keras.compiled_graph import COMPILE_AFTER, CompiledGraph, signature_of
from actviz.formats.keras.graph import ROOT, InnerRef, LayerGraph, LayerNode, TensorRef, refs
from actviz.formats.keras.inner_layers import (
    InnerOutputRecorder,
    children,
    every_step,
    flip_steps,
    output_list,
    runs_backwards,
    tree,
)
from actviz.formats.keras.keras_state import CodeRandom, LayerState, draws
from actviz.formats.keras.load_weights import load, reason
from actviz.formats.keras.make_layer import check_keras, make_layer
from actviz.formats.keras.memory_estimate import bytes_of, check_output, check_parameters, check_run
from actviz.formats.keras.shapes import SCORES
from actviz.formats.keras.weight_files import NamedWeights
from actviz.formats.keras.wrappers import InnerLayer
from actviz.formats.per_sample import MAX_NAMED, concat_batch, list_operations, random_note, sample_seed, split_batch
from actviz.layer_catalogue import facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from actviz.formats.keras.custom_objects import CustomObjects
    from actviz.formats.keras.object_graph import ObjectWeights
    from actviz.formats.keras.weight_files import TreeWeights
    from actviz.formats.per_sample import State

OUT_OF_MEMORY = "ResourceExhaustedError"  # TensorFlow's, which is not imported for its name
NO_UNKNOWN = "num_oov_indices=0"
MASK_RANK = 2  # (batch, step)


@dataclass
class SubModel:
    """A feature-extraction sub-model: the calls that some outputs need, and nothing else.

    `steps` are the numbers of the calls in order; `wanted` maps each address to the tensor
    that it stands for. `notes` are lines worth saying about the weights that were read. After a
    run, `masks` holds the steps ``(batch, step)`` that Keras does not leave out, by address,
    where there is a mask, and `reversed_steps` the calls with the paths in them of inner layers
    whose steps are in the reverse order of the call's input.
    """

    graph: LayerGraph
    file: str
    steps: list[int]
    wanted: dict[str, TensorRef | InnerRef]
    weights: TreeWeights | NamedWeights | ObjectWeights
    custom: CustomObjects
    layers: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    symbols: dict[TensorRef, Any] = field(default_factory=dict)
    plain: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    reversed_steps: set[tuple[int, str]] = field(default_factory=set)
    repeats: tuple[tuple[Any, ...], int] = ((), 0)
    compiled: CompiledGraph | None = None
    patience: int | None = None
    declared: int = 0
    weight_bytes: int = 0
    checked: set[tuple[Any, ...]] = field(default_factory=set)
    described: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    variables: dict[str, int] | None = None
    state: LayerState = field(default_factory=LayerState)
    random: CodeRandom = field(default_factory=CodeRandom)

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
        self._measure()
        for key, layer in self.layers.items():
            said = load(layer, self.graph.entries[key], self.weights, self.file)
            self.notes += [said] if said else []
            if self._runs_code(key):
                self.state.watch(layer)
            dtypes = {getattr(layer, "compute_dtype", None), getattr(layer, "variable_dtype", None)}
            if facts_of(self.graph.entries[key].kind).call == "plain" and dtypes == {"float32"}:
                self.plain.add(key)
        self.variables = self._variables()
        _clear_uninitialized()
        self.notes += self._state_notes()

    def _runs_code(self, key: str) -> bool:
        """Tell whether a layer runs code that is not Keras's own, which may change variables and draw random numbers."""
        entry = self.graph.entries[key]
        return entry.custom or entry.kind == "Lambda" or draws(entry.kind, entry.config)

    def _state_notes(self) -> list[str]:
        """Return what is worth saying about layers that keep a state, or were called as in training."""
        notes = []
        if self.state.stateful:
            names = ", ".join(f'"{escape(str(layer.name), 80)}"' for layer in self.state.stateful[:MAX_NAMED])
            notes.append(
                f"{self.file}: saved with stateful=True ({names}): each input begins with zeros, as after loading; --stateful runs the samples of one file in order."
            )
        trained = [
            (self.graph.nodes[number].address, self.graph.entries[self.graph.nodes[number].entry].kind)
            for number in self.steps
            if self.graph.nodes[number].kwargs.get("training") is True
            and facts_of(self.graph.entries[self.graph.nodes[number].entry].kind).random_in_training
        ]
        if trained:
            notes.append(
                f"{self.file}: saved with training=True in {list_operations(trained)}, which draws no random numbers here, as in model.predict of Keras 3."
            )
        return notes

    def _measure(self) -> None:
        """Count the weights of nested models whose layers' rules are not known.

        An `.h5` file holds them in one row; whose they are is known once all are built.
        """
        if not isinstance(self.weights, NamedWeights):
            return
        for top in self.weights.uncounted(self.graph.entries[key] for key in self.layers):
            inside = {entry.key for entry in self.weights.entries_of(top)}
            numbers = [number for number, node in enumerate(self.graph.nodes) if node.entry in inside]
            steps = self.graph.ancestors(numbers)
            whole = SubModel(self.graph, self.file, steps, {}, self.weights, self.custom)
            whole.prepare()
            self.weights.set_counts({key: _count_weights(whole.layers[key]) for key in inside & set(whole.layers)})

    def prepare(self) -> dict[TensorRef, tuple[tuple[int | None, ...], str]]:
        """Make the layers without allocating weights and describe every tensor."""
        self.make_layers()
        return self.describe({})

    def input_names(self) -> list[str]:
        """Return the names of the inputs that the cut reads."""
        entries = [self.graph.entries[self.graph.nodes[number].entry] for number in self.steps]
        return [entry.name for entry in entries if entry.kind == "InputLayer"]

    def describe(self, sizes: Mapping[str, tuple[int, ...]]) -> dict[TensorRef, tuple[tuple[int | None, ...], str]]:
        """Return shape and dtype of every tensor of the cut, without computing any.

        `sizes` gives the shape of the inputs, batch axis first, where it is known better
        than the model's own.
        """
        import keras

        values: dict[TensorRef, Any] = {}
        with keras.StatelessScope(initialize_variables=False):
            for number in self.steps:
                node = self.graph.nodes[number]
                entry = self.graph.entries[node.entry]
                if entry.kind == "InputLayer":
                    shape = sizes.get(entry.name, tuple(entry.config["batch_shape"]))
                    outputs: Any = keras.KerasTensor(shape, self.graph.shapes[TensorRef(number, 0)][1])
                else:
                    outputs = self._call(number, values)
                for position, output in enumerate(output_list(outputs)):
                    values[TensorRef(number, position)] = output
                self._check_size(entry, output_list(outputs))
        self.symbols = values
        return {ref: (tuple(value.shape), str(value.dtype)) for ref, value in values.items() if hasattr(value, "shape")}

    def outline(self, number: int) -> dict[str, InnerLayer]:
        """Describe the layers inside one call by the addresses that a forward pass gives them.

        The call is traced with the shapes of its inputs alone; `prepare` comes first.
        """
        import keras
        from keras.src import backend

        node, layer = self.graph.nodes[number], self.layers[self.graph.nodes[number].entry]
        found: dict[str, Any] = {}

        def trace(*args: Any, **kwargs: Any) -> dict[str, list[Any]]:
            with InnerOutputRecorder(children(layer)) as record:
                layer(*args, **kwargs)
            found.clear()
            found.update(record.layers)
            return {
                address: [item for item in output_list(outputs) if hasattr(item, "shape")]
                for address, outputs in record.outputs.items()
            }

        args, kwargs = _fill_arguments(node.args, self.symbols), _fill_arguments(node.kwargs, self.symbols)
        with keras.StatelessScope(initialize_variables=False):
            specs = backend.compute_output_spec(trace, *args, **kwargs)
        indices = self._indices(number)
        return {
            address: describe_inner_layer(
                inner, [(tuple(item.shape), str(item.dtype)) for item in specs[address]], indices.get(id(inner))
            )
            for address, inner in found.items()
        }

    def inventory(self, number: int) -> dict[str, InnerLayer]:
        """Describe the layers inside one call as far as they are known before any call."""
        layer = self.layers[self.graph.nodes[number].entry]
        indices = self._indices(number)
        return {path: describe_inner_layer(inner, [], indices.get(id(inner))) for path, inner in tree(layer)}

    def _indices(self, number: int) -> dict[int, int]:
        """Return the position in ``model.layers`` of each layer of a subclassed model."""
        entry = self.graph.entries[self.graph.nodes[number].entry]
        held = getattr(self.layers[entry.key], "layers", ()) if entry.position == ROOT else ()
        return {id(layer): index for index, layer in enumerate(held)}

    def make_layers(self) -> None:
        """Make the layers without building them."""
        check_keras()
        for number in self.steps:
            entry = self.graph.entries[self.graph.nodes[number].entry]
            if entry.kind != "InputLayer" and entry.key not in self.layers:
                self.layers[entry.key] = make_layer(entry, self.weights, self.file, self.custom)
                self.state.take(self.layers[entry.key])

    def _check_size(self, entry: LayerNode, outputs: Sequence[Any]) -> None:
        layer = self.layers.get(entry.key)
        if layer is not None and entry.key not in self.parameters:
            held = [(tuple(variable.shape), str(variable.dtype)) for variable in getattr(layer, "weights", ())]
            self.parameters[entry.key] = sum(math.prod(shape) for shape, _ in held)
            self.declared += self.parameters[entry.key]
            self.weight_bytes += sum(bytes_of(shape, dtype) for shape, dtype in held)
            check_parameters(self.declared, self.weight_bytes, self.file)
        for output in outputs:
            if hasattr(output, "shape"):
                check_output(tuple(output.shape), str(output.dtype), entry.key, self.file)

    def _input_shapes(self) -> list[tuple[int | None, ...]]:
        entries = [self.graph.entries[self.graph.nodes[number].entry] for number in self.steps]
        return [tuple(entry.config["batch_shape"]) for entry in entries if entry.kind == "InputLayer"]

    def _check_memory(self, batch: Mapping[str, NDArray[Any]]) -> None:
        """Refuse a batch that does not fit into memory, before any of it is computed."""
        sizes = {name: (None, *batch[name].shape[1:]) for name in self.input_names()}
        samples = max((len(batch[name]) for name in sizes), default=1)
        key = (samples, tuple(sizes.items()))
        if key in self.checked:
            return
        if self.described != sizes and any(None in shape[1:] for shape in self._input_shapes()):
            self.describe(sizes)
            self.described = sizes
        tensors = {
            ref: (tuple(item.shape), str(item.dtype)) for ref, item in self.symbols.items() if hasattr(item, "shape")
        }
        done = self._last_readers({ref.node for ref in self.wanted.values()})
        check_run(self.steps, tensors, done, (samples, self.weight_bytes), self.file)
        self.checked.add(key)

    def run(
        self, batch: Mapping[str, NDArray[Any]], *, separate: bool = False, state: State = "file"
    ) -> dict[str, NDArray[np.generic]]:
        """Compute the wanted tensors for a batch and return them by address.

        What a layer inside another gave is left out where its forward pass did not show it.
        `batch` maps input names to arrays, batch axis first. `separate` and `state` are those of
        `actviz.formats.network_protocol.Network.activations`.
        """
        self._check_memory(batch)
        if state == "first":
            self.state.begin_stream()
        elif state == "file":
            self.state.end_stream()
        code = any(self._runs_code(key) for key in self.layers)
        if not (separate or code or state != "file"):
            return self._compute(batch)
        found: dict[str, list[Any]] = {}
        masks: dict[str, list[Any]] = {}
        for sample in split_batch(batch):
            if code and state == "file":
                self.state.reset()
                self.random.seed(sample_seed(sample))
            for address, values in self._compute(sample).items():
                found.setdefault(address, []).append(values)
            for address, mask in self.masks.items():
                masks.setdefault(address, []).append(mask)
            if code:
                self.state.look()
        self.masks = {address: concat_batch(parts) for address, parts in masks.items()}
        self.notes += [note for note in random_note(self.file, self.random.drawn) if note not in self.notes]
        return {address: concat_batch(parts) for address, parts in found.items()}

    def _compute(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.generic]]:
        """Compute the wanted tensors for samples together; a tensor is dropped once the last call that reads it is done."""
        import numpy as np

        compiled = self._compiled_for(batch)
        if compiled is not None:
            return compiled.run({name: batch[name] for name in self.input_names()})
        wanted = set(self.wanted.values())
        kept = {ref.node for ref in wanted}
        inside = {ref.node for ref in wanted if isinstance(ref, InnerRef)}
        scored = {ref.node for ref in wanted if ref.output == SCORES}
        done = self._last_readers(kept)
        values: dict[TensorRef | InnerRef, Any] = {}
        masks: dict[TensorRef | InnerRef, Any] = {}
        for number in self.steps:
            entry = self.graph.entries[self.graph.nodes[number].entry]
            if entry.kind == "InputLayer":
                outputs = _input_tensor(batch[entry.name], self.graph.shapes[TensorRef(number, 0)][1])
            elif number in inside:
                with self.random.watching(entry, self.graph.nodes[number].address, run=self._runs_code(entry.key)):
                    outputs = self._recorded_call(number, values, masks)
            else:
                read = refs(self._arguments(number)) if number in scored else ()
                before = {ref: _keras_mask(values[ref]) for ref in read}
                with self.random.watching(entry, self.graph.nodes[number].address, run=self._runs_code(entry.key)):
                    outputs = self._call(number, values)
                if number in scored:
                    values[TensorRef(number, SCORES)] = self._scores(number, values, before)
            backwards = runs_backwards(self.layers.get(entry.key))
            for position, output in enumerate(output_list(outputs)):
                values[TensorRef(number, position)] = output
                # Noted now: attention deletes the masks of what it reads. Keras hands on the mask
                # of the input unchanged, also where the steps of the output are reversed.
                mask = _keras_mask(output)
                masks[TensorRef(number, position)] = flip_steps(mask) if backwards and mask is not None else mask
            for ref in done.get(number, ()):
                values.pop(ref, None)
        self._check_variables()
        found = {address: _step_mask(masks.get(ref)) for address, ref in self.wanted.items()}
        self.masks = {address: mask for address, mask in found.items() if mask is not None}
        # The arrays share memory with the tensors: nothing is copied on the way out.
        return {address: np.asarray(values[ref]) for address, ref in self.wanted.items() if ref in values}

    def _variables(self) -> dict[str, int]:
        return {key: len(getattr(layer, "variables", ())) for key, layer in self.layers.items()}

    def _check_variables(self) -> None:
        """Refuse layers that made weights at their first call: the file's were given before, so these are random."""
        if self.variables is None:
            return
        key = next((key for key, count in self._variables().items() if count > self.variables[key]), None)
        if key is not None:
            message = f'{self.file}: refused: layer "{escape(key, 80)}" makes weights when it is called, which the file does not give, so that it would compute with random ones; there is no flag that allows it.'
            raise UnsafeError(message)
        self.variables = None

    def _compiled_for(self, batch: Mapping[str, NDArray[Any]]) -> CompiledGraph | None:
        """Return the calls as one graph once batches of one shape have come often enough.

        Only where every call is a plain one: such a graph does what eager calls do.
        """
        read = {name: batch[name] for name in self.input_names()}
        signature = signature_of(read)
        if self.compiled is not None and self.compiled.signature == signature:
            return self.compiled
        seen, count = self.repeats
        self.repeats = (signature, count + 1 if seen == signature else 1)
        most = COMPILE_AFTER if self.patience is None else self.patience
        if self.repeats[1] <= most or not self._is_plain(read):
            return None
        self.compiled = CompiledGraph(self._whole, read)
        return self.compiled

    def _is_plain(self, batch: Mapping[str, NDArray[Any]]) -> bool:
        called = {self.graph.nodes[number].entry for number in self.steps}
        entries = [self.graph.entries[key] for key in called]
        return (
            all(entry.key in self.plain or facts_of(entry.kind).call == "traced" for entry in entries)
            and all(values.dtype == "float32" for values in batch.values())
            and all(isinstance(ref, TensorRef) and ref.output != SCORES for ref in self.wanted.values())
        )

    def _whole(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the wanted tensors from the inputs, to be traced."""
        values: dict[TensorRef, Any] = {}
        for number in self.steps:
            entry = self.graph.entries[self.graph.nodes[number].entry]
            outputs = tensors[entry.name] if entry.kind == "InputLayer" else self._call(number, values)
            values |= {TensorRef(number, position): output for position, output in enumerate(output_list(outputs))}
        return {address: values[ref] for address, ref in self.wanted.items() if isinstance(ref, TensorRef)}

    def _last_readers(self, kept: set[int]) -> dict[int, list[TensorRef]]:
        """Return for each call the tensors that no later call reads and nobody asked for."""
        last = {ref: number for number in self.steps for ref in refs(self._arguments(number))}
        done: dict[int, list[TensorRef]] = {}
        for ref, number in last.items():
            if ref.node not in kept:
                done.setdefault(number, []).append(ref)
        return done

    def _recorded_call(
        self, number: int, values: dict[TensorRef | InnerRef, Any], masks: dict[TensorRef | InnerRef, Any]
    ) -> Any:
        """Call a layer and keep what the wanted layers inside it gave."""
        layer = self.layers[self.graph.nodes[number].entry]
        if self.graph.entries[self.graph.nodes[number].entry].kind == "TimeDistributed":
            outputs = self._call(number, values)
            given = _fill_arguments(self.graph.nodes[number].args, values)
            mask = _keras_mask(given[0])
            found = every_step(layer, given[0])
            masks |= {InnerRef(number, path, 0): mask for path in found}
        else:
            with InnerOutputRecorder(children(layer)) as record:
                outputs = self._call(number, values)
            found = record.outputs
            self.reversed_steps |= {(number, path) for path in record.reversed_steps}
            masks |= {InnerRef(number, path, 0): mask for path, mask in record.masks.items()}
        for ref in self.wanted.values():
            if isinstance(ref, InnerRef) and ref.node == number:
                given = output_list(found.get(ref.path, []))
                if ref.output < len(given) and hasattr(given[ref.output], "numpy"):
                    values[ref] = given[ref.output]
        return outputs

    def _arguments(self, number: int) -> tuple[Any, Any]:
        node = self.graph.nodes[number]
        return node.args, node.kwargs

    def _scores(self, number: int, values: Mapping[Any, Any], masks: Mapping[TensorRef, Any]) -> Any:
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

    def _call(self, number: int, values: Mapping[Any, Any], **more: Any) -> Any:
        node = self.graph.nodes[number]
        layer, args = self.layers[node.entry], ()
        try:
            args, kwargs = _fill_arguments(node.args, values), _fill_arguments(node.kwargs, values) | more
            if (
                node.entry in self.plain
                and all(value is None for value in kwargs.values())
                and not _needs_full_call(args)
            ):
                return layer.call(*args)
            if getattr(layer, "_call_has_training_arg", False):
                kwargs["training"] = False  # as `predict` does, whatever the graph recorded
            return layer(*args, **kwargs)
        except ActvizError:
            raise
        except Exception as failure:
            if isinstance(failure, MemoryError) or type(failure).__name__ == OUT_OF_MEMORY:
                message = f'{self.file}: not enough memory for layer "{escape(node.address, 80)}"; choose fewer layers or smaller inputs, or raise --max-memory.'
                raise LimitError(message) from failure
            kind = self.graph.entries[node.entry].kind
            if facts_of(kind).vocabulary and NO_UNKNOWN in str(failure):
                raise InputError(_unknown_words(layer, args, node.address)) from None
            message = f'{self.file}: layer "{escape(node.address, 80)}" ({escape(kind, 60)}) cannot be computed: {reason(failure)}'
            raise ModelError(message) from failure


def describe_inner_layer(
    layer: Any, outputs: list[tuple[tuple[int | None, ...], str]], index: int | None = None
) -> InnerLayer:
    """Return what is known of a made layer that gives tensors of these shapes and dtypes."""
    built = getattr(layer, "built", True)
    parameters = sum(math.prod(variable.shape) for variable in getattr(layer, "weights", ())) if built else None
    kind, config = type(layer).__name__, {"data_format": getattr(layer, "data_format", None)}
    named = tuple((shape, dtype, axes_of(kind, config, shape, [])) for shape, dtype in outputs)
    return InnerLayer(str(layer.name), kind, named, parameters, index=index)


def _unknown_words(layer: Any, args: Sequence[Any], address: str) -> str:
    """Name the first value that a layer without an entry for unknown words cannot look up."""
    known = dict.fromkeys(str(word) for word in layer.get_vocabulary())
    given = args[0].numpy().ravel().tolist() if args else []
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in given]
    unknown = next((text for text in texts if text not in known), "")
    some = ", ".join(escape(word, 40) for word in list(known)[:5]) + (", ..." if len(known) > 5 else "")  # noqa: PLR2004  (five are shown)
    return f'"{escape(unknown, 60)}" is outside the vocabulary of layer "{escape(address, 80)}", which has no entry for unknown words; it knows {some}.'


def _keras_mask(tensor: Any) -> Any:
    return getattr(tensor, "_keras_mask", None)


def _step_mask(mask: Any) -> NDArray[np.bool_] | None:
    """Return the mask that Keras gave a tensor, if it is one of steps: ``(batch, step)``."""
    import numpy as np

    found = None if mask is None else np.asarray(mask)
    return None if found is None or found.ndim != MASK_RANK else found.astype(bool)


def _count_weights(layer: Any) -> tuple[int, int]:
    """Return how many weights a layer could train and how many not, whether frozen or not."""
    trained = len(getattr(layer, "trainable_variables", ()))
    every = len(getattr(layer, "weights", ()))
    if every and not layer.trainable:
        return every, 0
    return trained, every - trained


def _fill_arguments(value: Any, values: Mapping[Any, Any]) -> Any:
    if isinstance(value, TensorRef):
        return values[value]
    if isinstance(value, dict):
        if "class_name" in value and "config" in value:
            from keras.saving import deserialize_keras_object

            return deserialize_keras_object(dict(value))
        return {key: _fill_arguments(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill_arguments(item, values) for item in value]
    return value


def _needs_full_call(value: Any) -> bool:
    """Tell whether a tensor, or one in a list, carries a mask or is not of float32."""
    if isinstance(value, (list, tuple)):
        return any(_needs_full_call(item) for item in value)
    return getattr(value, "_keras_mask", None) is not None or getattr(value, "dtype", None) != "float32"


def _input_tensor(values: NDArray[Any], dtype: str) -> Any:
    import tensorflow as tf

    return tf.convert_to_tensor(values, dtype=tf.as_dtype(dtype))


def _clear_uninitialized() -> None:
    """Drop Keras's list of variables that still wait for an initializer: all have values."""
    from keras.src.backend.common import global_state

    global_state.set_global_attribute("uninitialized_variables", [])
