"""Run the calls of a graph that some outputs depend on, with Keras.

Each variable is created once, from the values in the file, without running the initializer
that the layer's ``build`` requested.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.errors import UnsafeError, escape
from actviz.formats.keras.built_layers import BuiltLayers, fill_arguments
from actviz.formats.keras.compiled_graph import COMPILE_AFTER, CompiledGraph, signature_of
from actviz.formats.keras.graph import InnerRef, TensorRef, refs
from actviz.formats.keras.inner_layers import (
    InnerOutputRecorder,
    children,
    every_step,
    flip_steps,
    output_list,
    runs_backwards,
)
from actviz.formats.keras.keras_state import CodeRandom, draws
from actviz.formats.keras.load_weights import load
from actviz.formats.keras.memory_estimate import check_run
from actviz.formats.keras.shapes import PRE_ACTIVATION, SCORES
from actviz.formats.keras.weight_files import NamedWeights
from actviz.formats.per_sample import MAX_NAMED, concat_batch, list_operations, random_note, sample_seed, split_batch
from actviz.gate.trust import NO_FLAG
from actviz.layer_catalogue import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from actviz.formats.per_sample import State

MASK_RANK = 2  # (batch, step)


@dataclass
class SubModel(BuiltLayers):
    """A feature-extraction sub-model: the calls that some outputs depend on, and nothing else.

    `wanted` maps each address to its tensor; `notes` are about the weights that were read. After a
    run, `masks` holds the masks ``(batch, step)`` by address, True for the steps that Keras
    uses, and `reversed_steps` the (node, path) of the inner layers whose steps are in the reverse
    order of the input of the call.
    """

    wanted: dict[str, TensorRef | InnerRef] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    reversed_steps: set[tuple[int, str]] = field(default_factory=set)
    repeats: tuple[tuple[Any, ...], int] = ((), 0)
    compiled: CompiledGraph | None = None
    compiled_by_key: dict[tuple[Any, ...], CompiledGraph] = field(default_factory=dict)
    patience: int | None = None
    checked: set[tuple[Any, ...]] = field(default_factory=set)
    described: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    variables: dict[str, int] | None = None
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
        self._count_nested_weights()
        for key, layer in self.layers.items():
            note = load(layer, self.graph.entries[key], self.weights, self.file)
            self.notes += [note] if note else []
            if self._runs_code(key):
                self.state.watch(layer)
            dtypes = {getattr(layer, "compute_dtype", None), getattr(layer, "variable_dtype", None)}
            if facts_of(self.graph.entries[key].kind).call == "plain" and dtypes == {"float32"}:
                self.plain.add(key)
        self.variables = self._variables()
        _clear_uninitialized()
        self.notes += self._state_notes()

    def _runs_code(self, key: str) -> bool:
        """Return True if a layer runs code other than Keras's own, which may change variables and draw random numbers."""
        entry = self.graph.entries[key]
        return entry.custom or entry.kind == "Lambda" or draws(entry.kind, entry.config)

    def _state_notes(self) -> list[str]:
        """Return notes about stateful layers, and about calls saved with ``training=True``."""
        notes = []
        if self.state.stateful:
            names = ", ".join(f'"{escape(str(layer.name), 80)}"' for layer in self.state.stateful[:MAX_NAMED])
            notes.append(
                f"{self.file}: saved with stateful=True ({names}): each input begins with zeros, as after loading; --stateful runs the samples of one file in order."
            )
        trained = [
            (self.graph.nodes[number].address, self.graph.layer_of(number).kind)
            for number in self.steps
            if self.graph.nodes[number].kwargs.get("training") is True
            and facts_of(self.graph.layer_of(number).kind).random_in_training
        ]
        if trained:
            notes.append(
                f"{self.file}: saved with training=True in {list_operations(trained)}, which draws no random numbers here, as in model.predict of Keras 3."
            )
        return notes

    def _count_nested_weights(self) -> None:
        """Count the weights of nested models with layers whose number of weights is not in the catalogue.

        An `.h5` file has one list of all weights of a nested model; which weights belong to which
        layer is known once all layers are built.
        """
        if not isinstance(self.weights, NamedWeights):
            return
        for top in self.weights.uncounted(self.graph.entries[key] for key in self.layers):
            keys = {entry.key for entry in self.weights.entries_of(top)} - self.weights.missing
            steps = self.graph.ancestors([number for number, node in enumerate(self.graph.nodes) if node.entry in keys])
            nested = BuiltLayers(self.graph, self.file, steps, self.weights, self.custom)
            nested.prepare()
            self.weights.set_counts({key: _count_weights(nested.layers[key]) for key in keys & set(nested.layers)})

    def _input_shapes(self) -> list[tuple[int | None, ...]]:
        entries = [self.graph.layer_of(number) for number in self.steps]
        return [tuple(entry.config["batch_shape"]) for entry in entries if entry.kind == "InputLayer"]

    def _check_memory(self, batch: Mapping[str, NDArray[Any]]) -> None:
        """Raise LimitError for a batch that does not fit into memory, before it is computed."""
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

        The output of an inner layer that the forward pass does not call is left out. `batch` maps
        input names to arrays ``(batch, ...)``. `separate` and `state` are those of
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
        outputs: dict[str, list[Any]] = {}
        masks: dict[str, list[Any]] = {}
        for sample in split_batch(batch):
            if code and state == "file":
                self.state.reset()
                self.random.seed(sample_seed(sample))
            for address, values in self._compute(sample).items():
                outputs.setdefault(address, []).append(values)
            for address, mask in self.masks.items():
                masks.setdefault(address, []).append(mask)
            if code:
                self.state.look()
        self.masks = {address: concat_batch(parts) for address, parts in masks.items()}
        self.notes += [note for note in random_note(self.file, self.random.drawn) if note not in self.notes]
        return {address: concat_batch(parts) for address, parts in outputs.items()}

    def _compute(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.generic]]:
        """Compute the wanted tensors for a whole batch; each tensor is released after the last call that reads it."""
        import numpy as np

        compiled = self._compiled_for(batch)
        if compiled is not None:
            return compiled.run({name: batch[name] for name in self.input_names()})
        wanted = set(self.wanted.values())
        kept = {ref.node for ref in wanted}
        inside = {ref.node for ref in wanted if isinstance(ref, InnerRef)}
        scored = {ref.node for ref in wanted if ref.output == SCORES}
        before_activation = {ref.node for ref in wanted if ref.output == PRE_ACTIVATION}
        done = self._last_readers(kept)
        values: dict[TensorRef | InnerRef, Any] = {}
        masks: dict[TensorRef | InnerRef, Any] = {}
        for number in self.steps:
            entry = self.graph.layer_of(number)
            if entry.kind == "InputLayer":
                outputs = input_tensor(batch[entry.name], self.graph.shapes[TensorRef(number, 0)][1])
            elif number in inside:
                with self.random.watching(entry, self.graph.nodes[number].address, run=self._runs_code(entry.key)):
                    outputs = self._recorded_call(number, values, masks)
            else:
                read = refs(self._arguments(number)) if number in scored else ()
                before = {ref: _keras_mask(values[ref]) for ref in read}
                with self.random.watching(entry, self.graph.nodes[number].address, run=self._runs_code(entry.key)):
                    outputs = self.call(number, values)
                if number in scored:
                    values[TensorRef(number, SCORES)] = self._scores(number, values, before)
                if number in before_activation:
                    # A second call, because the output must keep its bits.
                    with linear(self.layers[entry.key]):
                        values[TensorRef(number, PRE_ACTIVATION)] = self.call(number, values)
            backwards = runs_backwards(self.layers.get(entry.key))
            for position, output in enumerate(output_list(outputs)):
                values[TensorRef(number, position)] = output
                # Stored now because attention deletes the masks of its inputs. Keras passes on the mask
                # of the input unchanged, even if the steps of the output are reversed.
                mask = _keras_mask(output)
                masks[TensorRef(number, position)] = flip_steps(mask) if backwards and mask is not None else mask
            masks[TensorRef(number, PRE_ACTIVATION)] = masks.get(TensorRef(number, 0))
            for ref in done.get(number, ()):
                values.pop(ref, None)
        self._check_variables()
        step_masks = {address: _step_mask(masks.get(ref)) for address, ref in self.wanted.items()}
        self.masks = {address: mask for address, mask in step_masks.items() if mask is not None}
        # The arrays share memory with the tensors: nothing is copied.
        return {address: np.asarray(values[ref]) for address, ref in self.wanted.items() if ref in values}

    def _variables(self) -> dict[str, int]:
        return {key: len(getattr(layer, "variables", ())) for key, layer in self.layers.items()}

    def _check_variables(self) -> None:
        """Raise UnsafeError for layers that create weights in their first call: these would be random, not from the file."""
        if self.variables is None:
            return
        key = next((key for key, count in self._variables().items() if count > self.variables[key]), None)
        if key is not None:
            message = f'{self.file}: refused: layer "{escape(key, 80)}" makes weights when it is called, which the file does not give, so that it would compute with random ones; {NO_FLAG}.'
            raise UnsafeError(message)
        self.variables = None

    def _compiled_for(self, batch: Mapping[str, NDArray[Any]]) -> CompiledGraph | None:
        """Return the calls as one compiled graph after enough batches of one shape, else ``None``.

        Only plain calls are compiled: their graph computes the same bits as eager calls.
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

    def compiled_scores(
        self,
        given: Mapping[str, NDArray[Any]],
        key: tuple[Any, ...],
        function: Callable[[dict[str, Any]], dict[str, Any]],
        ignored: Sequence[str],
    ) -> CompiledGraph | None:
        """Return a function of the inputs as a compiled graph after enough batches of one shape and `key`, else ``None``.

        `ignored` are names of arrays that are not inputs.
        """
        signature = (*key, *signature_of(given))
        if signature in self.compiled_by_key:
            return self.compiled_by_key[signature]
        seen, count = self.repeats
        self.repeats = (signature, count + 1 if seen == signature else 1)
        read = {name: values for name, values in given.items() if name not in ignored}
        if self.repeats[1] <= COMPILE_AFTER or not self._is_plain(read):
            return None
        self.compiled_by_key = {signature: CompiledGraph(function, given)}
        return self.compiled_by_key[signature]

    def _is_plain(self, batch: Mapping[str, NDArray[Any]]) -> bool:
        called = {self.graph.nodes[number].entry for number in self.steps}
        entries = [self.graph.entries[key] for key in called]
        return (
            all(entry.key in self.plain or facts_of(entry.kind).call == "traced" for entry in entries)
            and all(values.dtype == "float32" for values in batch.values())
            and all(isinstance(ref, TensorRef) and ref.output >= 0 for ref in self.wanted.values())
        )

    def _whole(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the wanted tensors from the input tensors; traced by TensorFlow."""
        values: dict[TensorRef, Any] = {}
        for number in self.steps:
            entry = self.graph.layer_of(number)
            outputs = tensors[entry.name] if entry.kind == "InputLayer" else self.call(number, values)
            values |= {TensorRef(number, position): output for position, output in enumerate(output_list(outputs))}
        return {address: values[ref] for address, ref in self.wanted.items() if isinstance(ref, TensorRef)}

    def _last_readers(self, kept: set[int]) -> dict[int, list[TensorRef]]:
        """Return for each call the tensors that no later call reads, except those of the `kept` nodes."""
        last = {ref: number for number in self.steps for ref in refs(self._arguments(number))}
        done: dict[int, list[TensorRef]] = {}
        for ref, number in last.items():
            if ref.node not in kept:
                done.setdefault(number, []).append(ref)
        return done

    def _recorded_call(
        self, number: int, values: dict[TensorRef | InnerRef, Any], masks: dict[TensorRef | InnerRef, Any]
    ) -> Any:
        """Run one call and store the outputs of the wanted layers inside it."""
        layer = self.layers[self.graph.nodes[number].entry]
        if self.graph.layer_of(number).kind == "TimeDistributed":
            outputs = self.call(number, values)
            given = fill_arguments(self.graph.nodes[number].args, values)
            mask = _keras_mask(given[0])
            inner_outputs = every_step(layer, given[0])
            masks |= {InnerRef(number, path, 0): mask for path in inner_outputs}
        else:
            with InnerOutputRecorder(children(layer)) as record:
                outputs = self.call(number, values)
            inner_outputs = record.outputs
            self.reversed_steps |= {(number, path) for path in record.reversed_steps}
            masks |= {InnerRef(number, path, 0): mask for path, mask in record.masks.items()}
        for ref in self.wanted.values():
            if isinstance(ref, InnerRef) and ref.node == number:
                given = output_list(inner_outputs.get(ref.path, []))
                if ref.output < len(given) and hasattr(given[ref.output], "numpy"):
                    values[ref] = given[ref.output]
        return outputs

    def _arguments(self, number: int) -> tuple[Any, Any]:
        node = self.graph.nodes[number]
        return node.args, node.kwargs

    def _scores(self, number: int, values: Mapping[Any, Any], masks: Mapping[TensorRef, Any]) -> Any:
        """Return the scores of an attention layer from a second call.

        Keras computes the output by another method if it also returns the scores, which changes
        its last bits. `masks` are those of the input tensors before the first call.
        """
        layer = self.layers[self.graph.nodes[number].entry]
        flash = getattr(layer, "_flash_attention", None)
        try:
            layer._flash_attention = False  # noqa: SLF001  (it cannot return scores)
            for ref, mask in masks.items():
                if mask is not None:
                    values[ref]._keras_mask = mask  # noqa: SLF001
            return self.call(number, values, return_attention_scores=True)[1]
        finally:
            layer._flash_attention = flash  # noqa: SLF001


@contextlib.contextmanager
def linear(layer: Any) -> Iterator[None]:
    """Let a layer leave its activation function out."""
    from keras import activations

    before = layer.activation
    layer.activation = activations.linear
    try:
        yield
    finally:
        layer.activation = before


def _keras_mask(tensor: Any) -> Any:
    return getattr(tensor, "_keras_mask", None)


def _step_mask(mask: Any) -> NDArray[np.bool_] | None:
    """Return a Keras mask as an array if it is a mask of steps, ``(batch, step)``, else ``None``."""
    import numpy as np

    array = None if mask is None else np.asarray(mask)
    return None if array is None or array.ndim != MASK_RANK else array.astype(bool)


def input_tensor(values: NDArray[Any], dtype: str) -> Any:
    """Return an input as a tensor of its dtype."""
    import tensorflow as tf

    return tf.convert_to_tensor(values, dtype=tf.as_dtype(dtype))


def _clear_uninitialized() -> None:
    """Clear Keras's list of variables that wait for their initializer: all have values."""
    from keras.src.backend.common import global_state

    global_state.set_global_attribute("uninitialized_variables", [])


def _count_weights(layer: Any) -> tuple[int, int]:
    """Return the numbers of trainable and non-trainable weights of a layer, as if it were not frozen."""
    trainable = len(getattr(layer, "trainable_variables", ()))
    total = len(getattr(layer, "weights", ()))
    if total and not layer.trainable:
        return total, 0
    return trainable, total - trainable
