"""Make the layers of some calls with Keras, describe their tensors, and call them.

Layers are built in a scope that allocates nothing, so that shapes and parameter counts are
known and checked against the limits before memory is allocated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, InputError, LimitError, ModelError, escape
from actviz.formats.axes import axes_of
from actviz.formats.keras.graph import ROOT, LayerGraph, LayerNode, TensorRef
from actviz.formats.keras.inner_layers import InnerOutputRecorder, children, output_list, tree
from actviz.formats.keras.keras_state import LayerState
from actviz.formats.keras.load_weights import reason
from actviz.formats.keras.make_layer import check_keras, make_layer
from actviz.formats.keras.memory_estimate import bytes_of, check_output, check_parameters
from actviz.formats.keras.wrappers import InnerLayer
from actviz.layer_catalogue import facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actviz.formats.keras.custom_objects import CustomObjects
    from actviz.formats.keras.object_graph import ObjectWeights
    from actviz.formats.keras.weight_files import NamedWeights, TreeWeights
    from actviz.records import Shape

OUT_OF_MEMORY = "ResourceExhaustedError"  # the name of TensorFlow's exception, which is not imported for it
NO_UNKNOWN = "num_oov_indices=0"


@dataclass
class BuiltLayers:
    """The layers of some calls of a graph, without weights.

    `steps` are the indices of the calls in order, `layers` the Keras layers by key, `symbols` the
    symbolic tensors of the last `describe`, `plain` the keys of the layers whose ``call`` can be
    called directly. `declared` and `weight_bytes` are the total size of all weights.
    """

    graph: LayerGraph
    file: str
    steps: list[int]
    weights: TreeWeights | NamedWeights | ObjectWeights
    custom: CustomObjects
    layers: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    symbols: dict[TensorRef, Any] = field(default_factory=dict)
    plain: set[str] = field(default_factory=set)
    declared: int = 0
    weight_bytes: int = 0
    state: LayerState = field(default_factory=LayerState)

    def prepare(self) -> dict[TensorRef, tuple[Shape, str]]:
        """Make the layers without allocating weights, and return shape and dtype of every tensor."""
        self.make_layers()
        return self.describe({})

    def make_layers(self) -> None:
        """Make the layers without building them."""
        check_keras()
        for number in self.steps:
            entry = self.graph.layer_of(number)
            if entry.kind != "InputLayer" and entry.key not in self.layers:
                self.layers[entry.key] = make_layer(entry, self.weights, self.file, self.custom)
                self.state.take(self.layers[entry.key])

    def input_names(self) -> list[str]:
        """Return the names of the inputs that the calls depend on."""
        entries = [self.graph.layer_of(number) for number in self.steps]
        return [entry.name for entry in entries if entry.kind == "InputLayer"]

    def describe(self, sizes: Mapping[str, tuple[int, ...]]) -> dict[TensorRef, tuple[Shape, str]]:
        """Return shape and dtype of every tensor without computing any.

        `sizes` gives shapes of inputs, batch axis first, that replace those of the model.
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
                    outputs = self.call(number, values)
                for position, output in enumerate(output_list(outputs)):
                    values[TensorRef(number, position)] = output
                self._check_size(entry, output_list(outputs))
        self.symbols = values
        return {ref: (tuple(value.shape), str(value.dtype)) for ref, value in values.items() if hasattr(value, "shape")}

    def _check_size(self, entry: LayerNode, outputs: Sequence[Any]) -> None:
        layer = self.layers.get(entry.key)
        if layer is not None and entry.key not in self.parameters:
            weights = [(tuple(variable.shape), str(variable.dtype)) for variable in getattr(layer, "weights", ())]
            self.parameters[entry.key] = sum(math.prod(shape) for shape, _ in weights)
            self.declared += self.parameters[entry.key]
            self.weight_bytes += sum(bytes_of(shape, dtype) for shape, dtype in weights)
            check_parameters(self.declared, self.weight_bytes, self.file)
        for output in outputs:
            if hasattr(output, "shape"):
                check_output(tuple(output.shape), str(output.dtype), entry.key, self.file)

    def outline(self, number: int) -> dict[str, InnerLayer]:
        """Describe the layers inside one call by their addresses in a forward pass.

        The call is traced symbolically, with the shapes of its inputs; call `prepare` before.
        """
        import keras
        from keras.src import backend

        node, layer = self.graph.nodes[number], self.layers[self.graph.nodes[number].entry]
        layers: dict[str, Any] = {}

        def trace(*args: Any, **kwargs: Any) -> dict[str, list[Any]]:
            with InnerOutputRecorder(children(layer)) as record:
                layer(*args, **kwargs)
            layers.clear()
            layers.update(record.layers)
            return {
                address: [item for item in output_list(outputs) if hasattr(item, "shape")]
                for address, outputs in record.outputs.items()
            }

        args, kwargs = fill_arguments(node.args, self.symbols), fill_arguments(node.kwargs, self.symbols)
        with keras.StatelessScope(initialize_variables=False):
            specs = backend.compute_output_spec(trace, *args, **kwargs)
        indices = self._indices(number)
        return {
            address: describe_inner_layer(
                inner, [(tuple(item.shape), str(item.dtype)) for item in specs[address]], indices.get(id(inner))
            )
            for address, inner in layers.items()
        }

    def inventory(self, number: int) -> dict[str, InnerLayer]:
        """Describe the layers inside one call as far as they are known without calling it."""
        layer = self.layers[self.graph.nodes[number].entry]
        indices = self._indices(number)
        return {path: describe_inner_layer(inner, [], indices.get(id(inner))) for path, inner in tree(layer)}

    def _indices(self, number: int) -> dict[int, int]:
        """Return the position in ``model.layers`` of each layer of a subclassed model."""
        entry = self.graph.layer_of(number)
        own = getattr(self.layers[entry.key], "layers", ()) if entry.position == ROOT else ()
        return {id(layer): index for index, layer in enumerate(own)}

    def call(self, number: int, values: Mapping[Any, Any], **more: Any) -> Any:
        """Run one call on the tensors in `values`; `more` are further keyword arguments."""
        node = self.graph.nodes[number]
        layer, args = self.layers[node.entry], ()
        try:
            args, kwargs = fill_arguments(node.args, values), fill_arguments(node.kwargs, values) | more
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


def describe_inner_layer(layer: Any, outputs: list[tuple[Shape, str]], index: int | None = None) -> InnerLayer:
    """Describe a layer by its outputs, given as (shape, dtype); `index` is its position in ``model.layers``."""
    built = getattr(layer, "built", True)
    parameters = sum(math.prod(variable.shape) for variable in getattr(layer, "weights", ())) if built else None
    kind, config = type(layer).__name__, {"data_format": getattr(layer, "data_format", None)}
    named = tuple((shape, dtype, axes_of(kind, config, shape, [])) for shape, dtype in outputs)
    return InnerLayer(str(layer.name), kind, named, parameters, index=index)


def _unknown_words(layer: Any, args: Sequence[Any], address: str) -> str:
    """Return the message about the first value that is outside the vocabulary of a layer."""
    known = dict.fromkeys(str(word) for word in layer.get_vocabulary())
    given = args[0].numpy().ravel().tolist() if args else []
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in given]
    unknown = next((text for text in texts if text not in known), "")
    some = ", ".join(escape(word, 40) for word in list(known)[:5]) + (", ..." if len(known) > 5 else "")  # noqa: PLR2004  (five are shown)
    return f'"{escape(unknown, 60)}" is outside the vocabulary of layer "{escape(address, 80)}", which has no entry for unknown words; it knows {some}.'


def fill_arguments(value: Any, values: Mapping[Any, Any]) -> Any:
    """Replace every `TensorRef` in the arguments of a call by its tensor."""
    if isinstance(value, TensorRef):
        return values[value]
    if isinstance(value, dict):
        if "class_name" in value and "config" in value:
            from keras.saving import deserialize_keras_object

            return deserialize_keras_object(dict(value))
        return {key: fill_arguments(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_arguments(item, values) for item in value]
    return value


def _needs_full_call(value: Any) -> bool:
    """Return True if a tensor, or one in a list, is symbolic, has a mask or is not float32: only ``__call__`` handles these."""
    from keras import KerasTensor

    if isinstance(value, (list, tuple)):
        return any(_needs_full_call(item) for item in value)
    if isinstance(value, KerasTensor) or getattr(value, "_keras_mask", None) is not None:
        return True
    return bool(getattr(value, "dtype", None) != "float32")
