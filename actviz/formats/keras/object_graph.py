"""The weights of a Keras SavedModel: found by walking the checkpoint's graph of objects.

Key names alone do not tell whose a variable is: they are shortest paths, so that those of
nested layers are often ``variables/17``. The object of each layer lists its own in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.errors import ModelError, escape
from actviz.formats.keras.graph import ROOT
from actviz.gate.protobuf import MalformedProtobuf, all_bytes, one_number, one_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from actviz.formats.checkpoint import Checkpoint, CheckpointTensor
    from actviz.formats.keras.graph import LayerGraph, LayerNode

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE, TABLE = "VARIABLE_VALUE", "table"
NOT_LOOKED_INTO = frozenset({"keras_api", "variables", "trainable_variables", "non_trainable_variables", "signatures"})
IDF = "idf_weights"


@dataclass(frozen=True, slots=True)
class CheckpointObject:
    """One object: the objects in its attributes, and the keys of what it saved."""

    children: Mapping[str, int]
    keys: Mapping[str, str]


def read_objects(bundle: Checkpoint, name: str) -> list[CheckpointObject]:
    """Return the graph of objects of a checkpoint, the model itself first.

    Raises
    ------
    ModelError
        When the checkpoint has none or it is damaged.
    """
    content = memoryview(bundle.read(OBJECT_GRAPH, hashed=False).item())
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
    """The weights of layers in a checkpoint, by the places of the layers in their models.

    `words` gives the vocabulary of a layer from the graph, by its path of attributes, where
    the checkpoint does not hold it.
    """

    def __init__(
        self, bundle: Checkpoint, graph: LayerGraph, name: str, words: Callable[[tuple[str, ...]], list[str] | None]
    ) -> None:
        self._bundle = bundle
        self._graph = graph
        self._name = name
        self._words = words
        self._objects = read_objects(bundle, name)

    def arrays(self, entry: LayerNode) -> list[CheckpointTensor]:
        """Return where the weights of a layer lie, in the order in which Keras lists them.

        Raises
        ------
        ModelError
            When the checkpoint has no object for the layer, or not its values.
        """
        place = self._find(self._path(entry))
        if place is None:
            message = f'{self._name}: the checkpoint holds no weights for layer "{escape(entry.key, 80)}"; save it again with model.save(...).'
            raise ModelError(message)
        return self._variables(place)

    def layer_names(self) -> list[str]:
        """Return the places of a subclassed model's layers, as texts, in the order of ``model.layers``."""
        place = self._find(("keras_api", "layers"))
        if place is None:
            return []
        return sorted((name for name in self._objects[place].children if name.isdigit()), key=int)

    def group(self, name: str) -> list[CheckpointTensor]:
        """Return the weights of one layer of a subclassed model."""
        place = self._find(("keras_api", "layers", name))
        return [] if place is None else self._variables(place)

    def shapes(self, entry: LayerNode) -> list[tuple[int, ...]] | None:
        """Return the shapes of a layer's weights."""
        if entry.position == ROOT:
            return [stored.shape for stored in self._variables(0)]
        place = self._find(self._path(entry))
        return [] if place is None else [stored.shape for stored in self._variables(place)]

    def vocabulary(self, entry: LayerNode) -> list[str] | None:
        """Return the vocabulary of a layer that looks words up, from the checkpoint or the graph."""
        path = self._path(entry)
        place = self._find(path)
        key = None if place is None else self._table(place)
        if key is None or f"{key}-keys" not in self._bundle.tensors:
            return self._words(path)
        words = self._bundle.read(f"{key}-keys").ravel().tolist()
        numbers = self._bundle.read(f"{key}-values").ravel().tolist()
        if not words:
            return self._words(path)
        return ordered_words(words, numbers)

    def idf_weights(self, entry: LayerNode) -> NDArray[np.generic] | None:
        """Return the weights of a vocabulary's words, if the checkpoint has some."""
        place = self._find(self._path(entry))
        todo, seen = [] if place is None else [place], set[int]()
        while todo:
            number = todo.pop()
            seen.add(number)
            for name, child in self._objects[number].children.items():
                key = self._objects[child].keys.get(VALUE)
                if name.endswith(IDF) and key is not None:
                    return self._bundle.read(key)
                if name not in NOT_LOOKED_INTO and child not in seen:
                    todo.append(child)
        return None

    def normalisation(self, entry: LayerNode) -> dict[str, tuple[float, ...]]:
        """Return ``mean`` and ``variance`` of an adapted Normalization layer."""
        found = [self._bundle.read(stored.key, hashed=False).ravel() for stored in self.arrays(entry)[:2]]
        if len(found) < 2:  # noqa: PLR2004  (mean, variance)
            return {}
        return {
            name: tuple(float(value) for value in array)
            for name, array in zip(("mean", "variance"), found, strict=True)
        }

    def not_finite(self) -> str:
        """Say how many of the numbers read since the last question are NaN or infinite (``""``: none)."""
        return self._bundle.finite.said()

    def read(self, stored: CheckpointTensor) -> NDArray[np.generic]:
        """Read one weight."""
        return self._bundle.read(stored.key)

    def digest(self) -> str:
        """Return the SHA-256 (hexadecimal) of everything read so far."""
        return self._bundle.digest()

    def _path(self, entry: LayerNode) -> tuple[str, ...]:
        """Return the attributes that lead from the model to a layer: ``layer-3``, ``layer-0``."""
        if entry.position == ROOT:
            return ()
        return (*self._model_path(entry.owner), self._place(entry.owner, entry.position))

    def _model_path(self, key: str) -> tuple[str, ...]:
        if not key:
            return ()
        _, owner, position = self._graph.models[key]
        return (*self._model_path(owner), self._place(owner, position))

    def _place(self, owner: str, position: int) -> str:
        """Return the attribute of a layer in its model; a Sequential does not count its InputLayer."""
        model = self._graph.models[owner][0]
        if model["class_name"] == "Sequential":
            layers = model["config"]["layers"][:position]
            position -= sum(layer["class_name"] == "InputLayer" for layer in layers)
        return f"layer-{position}"

    def _find(self, path: tuple[str, ...]) -> int | None:
        place = 0
        for name in path:
            child = self._objects[place].children.get(name)
            if child is None or not 0 <= child < len(self._objects):
                return None
            place = child
        return place

    def _variables(self, place: int) -> list[CheckpointTensor]:
        found = []
        for number in self._listed(place):
            key = self._objects[number].keys.get(VALUE, "")
            if key not in self._bundle.tensors:
                message = f'{self._name}: the variable "{escape(key, 80)}" is missing from the checkpoint; save the model again.'
                raise ModelError(message)
            found.append(self._bundle.tensors[key])
        return found

    def _listed(self, place: int) -> list[int]:
        """Return the variables that an object lists; of one without a list, those in its attributes."""
        listed = self._objects[place].children.get("variables")
        if listed is not None:
            items = self._objects[listed].children
            return [items[name] for name in sorted((name for name in items if name.isdigit()), key=int)]
        found: list[int] = []
        todo, seen = [place], set[int]()
        while todo:
            number = todo.pop(0)
            if number in seen:
                continue
            seen.add(number)
            if VALUE in self._objects[number].keys:
                found.append(number)
            children = self._objects[number].children
            todo = [child for name, child in children.items() if name not in NOT_LOOKED_INTO] + todo
        return found

    def _table(self, place: int) -> str | None:
        """Return the key of the table of words inside a layer."""
        todo, seen = [place], set[int]()
        while todo:
            number = todo.pop(0)
            seen.add(number)
            if TABLE in self._objects[number].keys:
                return self._objects[number].keys[TABLE]
            todo += [
                child
                for name, child in self._objects[number].children.items()
                if name not in NOT_LOOKED_INTO and child not in seen
            ]
        return None


def ordered_words(words: list[bytes | int], numbers: list[int | bytes]) -> list[str] | None:
    """Return the words of a table in the order of their numbers, whichever way it looks up.

    ``None`` where neither side is numbers.
    """
    if all(isinstance(number, int) for number in numbers):
        pairs = sorted(zip(numbers, words, strict=True), key=lambda pair: int(pair[0]))
    elif all(isinstance(word, int) for word in words):
        pairs = sorted(zip(words, numbers, strict=True), key=lambda pair: int(pair[0]))
    else:
        return None
    return [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for _, word in pairs]
