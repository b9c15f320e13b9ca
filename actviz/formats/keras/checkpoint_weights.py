"""Weights in a TensorFlow checkpoint: what ``save_weights`` of Keras 2 and ``tf.train.Checkpoint`` write."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actviz.errors import ModelError, escape
from actviz.formats.checkpoint import Checkpoint
from actviz.formats.keras.graph import ROOT
from actviz.formats.keras.object_graph import OBJECT_GRAPH, SKIPPED_ATTRIBUTES, VALUE, ObjectWeights
from actviz.system.file_system import exists, is_folder, read_bytes
from actviz.system.folders import list_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from actviz.formats.checkpoint import CheckpointTensor
    from actviz.formats.keras.graph import LayerGraph, LayerNode

LATEST = "checkpoint"
LATEST_BYTES = 1 << 20
SUFFIX = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")
LATEST_NAME = re.compile(rb'^model_checkpoint_path: "((?:[^"\\]|\\.)*)"', re.MULTILINE)
NOT_OF_THE_MODEL = frozenset({"optimizer", "save_counter", "_compiled_trainable_state", "keras_api"})
RANDOM = re.compile("random_generator|seed_generator")


def open_checkpoint(path: Path) -> Checkpoint | None:
    """Open a checkpoint as users name it, ``None`` if `path` is another file.

    `path` is ``ckpt-1``, ``ckpt-1.index``, one of its shards, or the folder, of which the file
    `checkpoint` names the latest one.

    Raises
    ------
    ModelError, UnsafeError, LimitError
        When the checkpoint is missing, damaged, too large, or its files are links.
    """
    if is_folder(path):
        prefix = _latest(path)
        return Checkpoint(path, prefix, prefix)
    prefix = SUFFIX.sub("", path.name)
    if prefix == path.name and (exists(path) or not exists(path.with_name(f"{prefix}.index"))):
        return None
    return Checkpoint(path.parent, prefix, prefix)


def _latest(folder: Path) -> str:
    """Return the name of the latest checkpoint in a folder: only the last part, which cannot lead elsewhere."""
    if exists(folder / LATEST):
        match = LATEST_NAME.search(read_bytes(folder / LATEST, LATEST_BYTES, ModelError))
        text = match[1].decode("latin-1").encode("ascii", "backslashreplace").decode("unicode_escape") if match else ""
        name = text.encode("latin-1", "replace").decode("utf-8", "replace").rpartition("/")[2]
        if name and exists(folder / f"{name}.index"):
            return name
    names = [path.name.removesuffix(".index") for path in list_folder(folder) if path.name.endswith(".index")]
    if len(names) == 1:
        return names[0]
    shown = ", ".join(escape(name, 40) for name in names[:5])
    what = f"several checkpoints ({shown}); name one of them" if names else "no checkpoint (no file *.index)"
    message = f"{folder.name}: the folder holds {what}; weights of a Keras model were expected."
    raise ModelError(message)


class CheckpointWeights(ObjectWeights):
    """The weights of layers in a checkpoint beside the architecture.

    Objects of layers are found by the position of the layer: ``layer-3`` of Keras 2,
    ``_operations/3`` of Keras 3; their weights by the names of attributes, never by shape.
    `vocabulary` returns the vocabulary of a layer from the file of the architecture.
    """

    def __init__(
        self, checkpoint: Checkpoint, graph: LayerGraph, name: str, vocabulary: Callable[[LayerNode], list[str] | None]
    ) -> None:
        if OBJECT_GRAPH not in checkpoint.tensors:
            message = f"{name}: this checkpoint holds variables by name (tf.train.Saver), which tell no layers; save it with model.save_weights(...) or tf.train.Checkpoint."
            raise ModelError(message)
        super().__init__(checkpoint, graph, name)
        self._vocabularies = vocabulary
        if any(not 0 <= child < len(self._objects) for item in self._objects for child in item.children.values()):
            message = f"{name}: the graph of objects in the checkpoint is damaged; copy or save the model again."
            raise ModelError(message)
        self._subclassed = any(entry.position == ROOT for entry in graph.entries.values())
        self._model = 0 if self._subclassed else self._find_model()

    def object_of(self, entry: LayerNode) -> int:
        """Return the number of the object of a layer.

        Raises
        ------
        ModelError
            When the checkpoint does not contain the layer.
        """
        index = self._find(self._path(entry))
        if index is None:
            message = f'{self._name}: the checkpoint holds no weights for layer "{escape(entry.key, 80)}"; give the weights of this model.'
            raise ModelError(message)
        return index

    def attributes(self, index: int) -> Iterator[tuple[str, int]]:
        """Yield the attributes of an object that may hold weights: the name and the number of the object."""
        for name, child in self._objects[index].children.items():
            if name not in SKIPPED_ATTRIBUTES | NOT_OF_THE_MODEL and not RANDOM.search(name):
                yield name, child

    def variable(self, index: int) -> CheckpointTensor | None:
        """Return the value of an object, ``None`` if it is no variable."""
        key = self._objects[index].keys.get(VALUE)
        return None if key is None else self._checkpoint.find(key)

    def variables_in(self, index: int) -> list[int]:
        """Return the numbers of the variables in an object and the objects inside it."""
        todo, seen = [index], set[int]()
        while todo:
            number = todo.pop()
            if number not in seen:
                seen.add(number)
                todo += [child for _, child in self.attributes(number)]
        return [number for number in seen if VALUE in self._objects[number].keys]

    def arrays(self, entry: LayerNode) -> list[CheckpointTensor]:
        """Return the weights of a layer; those of a Normalization layer by name, the mean first."""
        children = dict(self.attributes(self.object_of(entry)))
        named = [children.get(f"adapt_{name}", children.get(name)) for name in ("mean", "variance")]
        found = named if None not in named else self.variables_in(self.object_of(entry))
        return [stored for number in found if number is not None and (stored := self.variable(number)) is not None]

    def shapes(self, entry: LayerNode) -> list[tuple[int, ...]] | None:
        """Return the shapes of a layer's weights."""
        index = self._model if entry.position == ROOT else self._find(self._path(entry))
        numbers = [] if index is None else self.variables_in(index)
        return [stored.shape for number in numbers if (stored := self.variable(number)) is not None]

    def vocabulary(self, entry: LayerNode) -> list[str] | None:
        """Return the vocabulary of a layer from the file of the architecture."""
        return self._vocabularies(entry)

    def _find(self, path: tuple[str, ...]) -> int | None:
        index = self._model
        for name in path:
            layers = self._layers(index)
            if name not in layers:
                return None
            index = layers[name]
        return index

    def _layers(self, index: int) -> dict[str, int]:
        """Return the objects of the layers of a model by ``layer-N``, N counted as in Keras 2."""
        children = self._objects[index].children
        if "_functional" in children:  # a Sequential of Keras 3, whose InputLayer counts
            inner = self._layers_of_keras_3(children["_functional"])
            return {f"layer-{number - 1}": child for number, child in inner.items()}
        if "_operations" in children:
            return {f"layer-{number}": child for number, child in self._layers_of_keras_3(index).items()}
        return {name: child for name, child in children.items() if re.fullmatch(r"layer-\d+", name)}

    def _layers_of_keras_3(self, index: int) -> dict[int, int]:
        operations = self._objects[index].children.get("_operations")
        items = {} if operations is None else self._objects[operations].children
        return {int(name): child for name, child in items.items() if re.fullmatch(r"\d{1,9}", name)}

    def _find_model(self) -> int:
        """Return the object of the model: the root, or the only attribute of it that has as many layers.

        Raises
        ------
        ModelError
            When there is none, or several, or the numbers of layers differ.
        """
        layers = self._graph.models[""][0]["config"]["layers"]
        count = int(self._attribute("", len(layers)).rpartition("-")[2])
        children = {name: child for name, child in self._objects[0].children.items() if self._layers(child)}
        models = {"": 0} if self._layers(0) else children
        fitting = [child for child in dict.fromkeys(models.values()) if self._count(child) == count]
        if len(fitting) == 1:
            return fitting[0]
        shown = ", ".join(f'"{escape(name, 40)}" of {self._count(child)}' for name, child in list(models.items())[:5])
        what = (
            "no Keras model"
            if not models
            else f"models of these numbers of layers: {shown}"
            if "" not in models
            else f"a model of {self._count(0)} layers"
        )
        message = f"{self._name}: the checkpoint holds {what}; one model of {count} layers, as in the architecture, was expected."
        raise ModelError(message)

    def _count(self, model: int) -> int:
        """Return the number of layers of a model as Keras 2 counts them."""
        return max((int(name.rpartition("-")[2]) + 1 for name in self._layers(model)), default=0)
