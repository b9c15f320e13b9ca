"""The graph of layer calls in a Keras configuration, without Keras.

A graph only holds calls of layers and operations, in an order in which they can be run
(`parse_graph` builds it from a configuration, with nested models inlined). A sub-model is then
a walk over ancestors, and a layer of a nested or shared model is a node like any other.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.errors import LimitError, escape
from actviz.gate import MODELS
from actviz.gate.traversal import reachable

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
CUSTOM_MODULE = "actviz.custom_objects"
STAND_IN_MODULE = "actviz.stand_ins"
ROOT = -1
MAXIMUM_OUTPUTS = 10_000
FROM_ONE = "actviz_calls_from_one"
"""Marks a model of Keras 1 or 2, in which calls of nested models are counted from 1."""
FLAT = "actviz_flat"
"""Marks a Sequential of Keras 1 or 2.0, in which the layers of a leading model count as its own."""


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor: the index of a node and the index of one of its outputs."""

    node: int
    output: int


@dataclass(frozen=True, slots=True)
class InnerRef:
    """A tensor inside a call: the node, the path of an inner layer, and the index of its output."""

    node: int
    path: str
    output: int


@dataclass(frozen=True, slots=True)
class LayerNode:
    """One layer or operation, whatever the number of its calls.

    `key` is its path through nested models (``outer/inner/conv``), `owner` the key of the model
    that contains it and `position` its position in the configuration of that model (`ROOT` for a
    subclassed model). `index` is its position in ``model.layers``, `registered` the name under
    which a custom class is registered.
    """

    key: str
    name: str
    kind: str
    module: str
    config: Json
    index: int | None
    owner: str
    position: int
    registered: str = ""

    @property
    def custom(self) -> bool:
        """True for a custom class, whose code the user gives."""
        return self.module == CUSTOM_MODULE


@dataclass(frozen=True, slots=True)
class CallNode:
    """One call: its address, the key of the layer, and its arguments, with tensors as `TensorRef`."""

    address: str
    entry: str
    args: Any
    kwargs: Json


@dataclass(frozen=True, slots=True)
class ModelCallOutputs:
    """The outputs of one call of a nested model, and the number of nodes before its end."""

    name: str
    entry: str
    kind: str
    index: int | None
    outputs: list[TensorRef]
    after: int


@dataclass(slots=True)
class LayerGraph:
    """All calls of a model, in an order in which they can be run.

    `models` maps the key of every model (``""`` for the root) to its configuration, the key of
    the model that contains it and its position there; `results` maps the address of a call of a
    nested model to its outputs, `arguments` the address of an InputLayer inside it to its values;
    `shapes` holds the shapes and dtypes of tensors that are in the file.
    """

    name: str
    entries: dict[str, LayerNode] = field(default_factory=dict)
    nodes: list[CallNode] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[TensorRef] = field(default_factory=list)
    results: dict[str, ModelCallOutputs] = field(default_factory=dict)
    arguments: dict[str, ModelCallOutputs] = field(default_factory=dict)
    models: dict[str, tuple[Json, str, int]] = field(default_factory=dict)
    shapes: dict[TensorRef, tuple[tuple[int | None, ...], str]] = field(default_factory=dict)
    _used: dict[int, int] = field(default_factory=dict)

    def layer_of(self, number: int) -> LayerNode:
        """Return the layer that a node calls, by the index of the node."""
        return self.entries[self.nodes[number].entry]

    def output_count(self, number: int, declared: int) -> int:
        """Return the number of outputs of a node: as many as its layer class declares, or as are read.

        Raises
        ------
        LimitError
            When there are more than `MAXIMUM_OUTPUTS`.
        """
        if not self._used:
            read = [ref for node in self.nodes for ref in refs((node.args, node.kwargs))]
            for ref in [*read, *self.outputs]:
                self._used[ref.node] = max(self._used.get(ref.node, 1), ref.output + 1)
        count = max(declared, self._used.get(number, 1))
        if count > MAXIMUM_OUTPUTS:
            name = escape(self.nodes[number].address, 80)
            message = f'layer "{name}" of the model has {count:,} outputs (limit {MAXIMUM_OUTPUTS:,}); the file is damaged or hostile.'
            raise LimitError(message)
        return count

    def ancestors(self, targets: list[int]) -> list[int]:
        """Return the indices of the nodes that `targets` depend on, themselves included, in order."""

        def sources(number: int) -> list[int]:
            node = self.nodes[number]
            return [ref.node for ref in refs((node.args, node.kwargs))]

        return sorted(reachable(targets, sources))


def refs(value: object) -> Iterator[TensorRef]:
    """Yield every `TensorRef` in a structure of lists, tuples and dictionaries."""
    if isinstance(value, TensorRef):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from refs(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from refs(item)


def is_model(layer: Json) -> bool:
    """Return True if a serialized layer is a model with layers of its own."""
    config = layer.get("config")
    return layer.get("class_name") in MODELS and isinstance(config, dict) and "layers" in config


def is_operation(module: object) -> bool:
    """Return True for the module of an operation of Keras, as `keras.ops.transpose`: it has neither weights nor an index."""
    return isinstance(module, str) and module.startswith("keras.src.ops.")


def layer_name(layer: Json) -> str:
    """Return the name of a serialized layer."""
    return str(layer.get("name") or layer["config"]["name"])


def join(prefix: str, name: str) -> str:
    """Return the address of `name` inside `prefix`."""
    return f"{prefix}/{quoted(name)}" if prefix else quoted(name)


def quoted(name: str) -> str:
    """Return a layer's name as part of an address, which a shell takes without quotes.

    Letters and digits of any script, ``_``, ``.`` and ``-`` are kept; every other character is
    percent-encoded as in a URL, and so are a leading ``-`` and the first digit of a name of
    digits only, which would be an index. Of a name that is not in Unicode's composed form (NFC)
    every non-ASCII character is encoded: otherwise it would look like the composed one.
    """
    if name.isascii() and name.isidentifier():
        return name
    composed = unicodedata.is_normalized("NFC", name)
    plain = "".join(
        mark if mark in "_.-" or (mark.isalnum() and (composed or mark.isascii())) else _percent(mark) for mark in name
    )
    if plain.isdigit() or plain.startswith("-") or not plain:
        return (_percent(plain[0]) if plain else "%") + plain[1:]
    return plain


def _percent(mark: str) -> str:
    return "".join(f"%{byte:02X}" for byte in mark.encode("utf-8", "surrogatepass"))


def history_list(value: Any) -> list[tuple[str, int, int]]:
    """Flatten `input_layers` or `output_layers` to (layer, call, output) triples.

    Keras writes ``[name, 0, 0]`` for one tensor, a list of them for several, and
    dictionaries for models with named inputs or outputs: those are flattened by sorted
    keys, as everywhere in Keras.
    """
    if isinstance(value, dict):
        return [triple for key in sorted(value) for triple in history_list(value[key])]
    if value and isinstance(value[0], str):
        return [(value[0], int(value[1]), int(value[2]))]
    return [triple for item in value for triple in history_list(item)]


def histories(value: object) -> Iterator[tuple[str, int, int]]:
    """Yield layer, call and output of every tensor inside a value of a configuration."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            name, call, output = value["config"]["keras_history"]
            yield name, call, output
            return
        for item in value.values():
            yield from histories(item)
    elif isinstance(value, list):
        for item in value:
            yield from histories(item)
