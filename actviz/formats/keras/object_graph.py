"""Locate the weights of a Keras SavedModel by walking the object graph of its checkpoint.

The keys of a checkpoint do not identify a layer: they are shortest paths, often
``variables/17`` for the weights of nested layers. The object of each layer lists its own
variables in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.errors import ModelError, escape
from actviz.formats.keras.graph import ROOT
from actviz.gate.protobuf import MalformedProtobuf, all_bytes, one_number, one_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from actviz.formats.checkpoint import Checkpoint, CheckpointTensor
    from actviz.formats.keras.graph import LayerGraph, LayerNode

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE, TABLE = "VARIABLE_VALUE", "table"
SKIPPED_ATTRIBUTES = frozenset(
    {"keras_api", "variables", "trainable_variables", "non_trainable_variables", "signatures"}
)
IDF = "idf_weights"


@dataclass(frozen=True, slots=True)
class CheckpointObject:
    """One object: the indices of the objects in its attributes, and the keys of its saved values."""

    children: Mapping[str, int]
    keys: Mapping[str, str]


def read_objects(checkpoint: Checkpoint, name: str) -> list[CheckpointObject]:
    """Return the object graph of a checkpoint, the model itself first.

    Raises
    ------
    ModelError
        When the checkpoint has no object graph, or a damaged one.
    """
    content = memoryview(checkpoint.read(OBJECT_GRAPH, hashed=False).item())
    try:
        return [
            CheckpointObject(
                {one_text(child, 2): one_number(child, 1) for child in all_bytes(message, 1)},
                {one_text(value, 1): one_text(value, 3) for value in all_bytes(message, 2)},
            )
            for message in all_bytes(content, 1)
        ]
    except MalformedProtobuf:
        message = f"{name}: the graph of objects in the checkpoint is damaged; copy or save the model again."
        raise ModelError(message) from None


class ObjectWeights:
    """The weights of layers in a checkpoint, by the positions of the layers in their models.

    `words` returns the vocabulary of a layer from the graph, by the path of its attributes, if
    the checkpoint does not contain it.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        graph: LayerGraph,
        name: str,
        words: Callable[[tuple[str, ...]], list[str] | None] = lambda _: None,
    ) -> None:
        self._checkpoint = checkpoint
        self._graph = graph
        self._name = name
        self._words = words
        self._objects = read_objects(checkpoint, name)

    def arrays(self, entry: LayerNode) -> list[CheckpointTensor]:
        """Return the weights of a layer, in the order of ``layer.weights``.

        Raises
        ------
        ModelError
            When the checkpoint does not contain the layer, or one of its values.
        """
        index = self._find(self._path(entry))
        if index is None:
            message = f'{self._name}: the checkpoint holds no weights for layer "{escape(entry.key, 80)}"; save it again with model.save(...).'
            raise ModelError(message)
        return self._variables(index)

    def layer_names(self) -> list[str]:
        """Return the positions of a subclassed model's layers as text, in the order of ``model.layers``."""
        index = self._find(("keras_api", "layers"))
        if index is None:
            return []
        return sorted((name for name in self._objects[index].children if name.isdigit()), key=int)

    def group(self, name: str) -> list[CheckpointTensor]:
        """Return the weights of one layer of a subclassed model."""
        index = self._find(("keras_api", "layers", name))
        return [] if index is None else self._variables(index)

    def shapes(self, entry: LayerNode) -> list[tuple[int, ...]] | None:
        """Return the shapes of a layer's weights."""
        if entry.position == ROOT:
            return [stored.shape for stored in self._variables(0)]
        index = self._find(self._path(entry))
        return [] if index is None else [stored.shape for stored in self._variables(index)]

    def vocabulary(self, entry: LayerNode) -> list[str] | None:
        """Return the vocabulary of a layer, from the checkpoint or the graph."""
        path = self._path(entry)
        index = self._find(path)
        key = None if index is None else self._table_key(index)
        if key is None or f"{key}-keys" not in self._checkpoint.tensors:
            return self._words(path)
        words = self._checkpoint.read(f"{key}-keys").ravel().tolist()
        numbers = self._checkpoint.read(f"{key}-values").ravel().tolist()
        if not words:
            return self._words(path)
        return vocabulary_in_order(words, numbers)

    def idf_weights(self, entry: LayerNode) -> NDArray[np.generic] | None:
        """Return the inverse document frequencies of a layer with a vocabulary, ``None`` if it has none."""
        index = self._find(self._path(entry))
        for number in () if index is None else self._walk(index):
            for name, child in self._objects[number].children.items():
                key = self._objects[child].keys.get(VALUE)
                if name.endswith(IDF) and key is not None:
                    return self._checkpoint.read(key)
        return None

    def normalisation(self, entry: LayerNode) -> dict[str, tuple[float, ...]]:
        """Return ``mean`` and ``variance`` of an adapted Normalization layer."""
        arrays = [self._checkpoint.read(stored.key, hashed=False).ravel() for stored in self.arrays(entry)[:2]]
        if len(arrays) < 2:  # noqa: PLR2004  (mean, variance)
            return {}
        return {
            name: tuple(float(value) for value in array)
            for name, array in zip(("mean", "variance"), arrays, strict=True)
        }

    def nonfinite_message(self) -> str:
        """Return the number of NaN and infinite values read since the last call as text (``""``: none)."""
        return self._checkpoint.nonfinite.message()

    def read(self, stored: CheckpointTensor) -> NDArray[np.generic]:
        """Read one weight."""
        return self._checkpoint.read(stored.key)

    def digest(self) -> str:
        """Return the SHA-256 (hexadecimal) of all weights read so far."""
        return self._checkpoint.digest()

    def _path(self, entry: LayerNode) -> tuple[str, ...]:
        """Return the path of attributes from the model to a layer, such as ``("layer-3", "layer-0")``."""
        if entry.position == ROOT:
            return ()
        return (*self._model_path(entry.owner), self._attribute(entry.owner, entry.position))

    def _model_path(self, key: str) -> tuple[str, ...]:
        if not key:
            return ()
        _, owner, position = self._graph.models[key]
        return (*self._model_path(owner), self._attribute(owner, position))

    def _attribute(self, owner: str, position: int) -> str:
        """Return the name of the attribute of a layer in its model; a Sequential does not count its InputLayer."""
        model = self._graph.models[owner][0]
        if model["class_name"] == "Sequential":
            layers = model["config"]["layers"][:position]
            position -= sum(layer["class_name"] == "InputLayer" for layer in layers)
        return f"layer-{position}"

    def _find(self, path: tuple[str, ...]) -> int | None:
        index = 0
        for name in path:
            child = self._objects[index].children.get(name)
            if child is None or not 0 <= child < len(self._objects):
                return None
            index = child
        return index

    def _variables(self, index: int) -> list[CheckpointTensor]:
        keys = (self._objects[variable].keys.get(VALUE, "") for variable in self._variable_objects(index))
        return [self._checkpoint.find(key) for key in keys]

    def _variable_objects(self, index: int) -> list[int]:
        """Return the variables that an object lists; without a list, those in its attributes."""
        variables = self._objects[index].children.get("variables")
        if variables is None:
            return [number for number in self._walk(index) if VALUE in self._objects[number].keys]
        items = self._objects[variables].children
        return [items[name] for name in sorted((name for name in items if name.isdigit()), key=int)]

    def _walk(self, index: int) -> Iterator[int]:
        """Yield an object and all objects in its attributes, depth first."""
        todo, seen = [index], set[int]()
        while todo:
            number = todo.pop(0)
            if number not in seen:
                seen.add(number)
                yield number
                children = self._objects[number].children
                todo = [child for name, child in children.items() if name not in SKIPPED_ATTRIBUTES] + todo

    def _table_key(self, index: int) -> str | None:
        """Return the key of the lookup table inside a layer."""
        objects = (self._objects[number] for number in self._walk(index))
        return next((item.keys[TABLE] for item in objects if TABLE in item.keys), None)


def vocabulary_in_order(words: list[bytes | int], numbers: list[int | bytes]) -> list[str] | None:
    """Return the words of a lookup table, from words to indices or back, in the order of the indices.

    ``None`` if neither `words` nor `numbers` are integers.
    """
    if all(isinstance(number, int) for number in numbers):
        pairs = sorted(zip(numbers, words, strict=True), key=lambda pair: int(pair[0]))
    elif all(isinstance(word, int) for word in words):
        pairs = sorted(zip(words, numbers, strict=True), key=lambda pair: int(pair[0]))
    else:
        return None
    return [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for _, word in pairs]
