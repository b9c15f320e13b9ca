"""Where each layer's weights lie in a file, and reading just those.

Two layouts exist. Since Keras 2.12, `.keras` archives hold a tree of objects: the layer
number *k* of its class at ``layers/<class>_<k>/vars/<i>``, counted in the order of the whole
model's configuration. `.h5` files hold a group for each layer, by name, with the names of
its weights in order.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.errors import ModelError, escape
from actviz.formats.keras.graph import ROOT, LayerGraph, LayerNode, is_model, layer_name
from actviz.formats.keras.shapes import weight_counts
from actviz.formats.nonfinite_count import NonfiniteCount
from actviz.gate import read_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import h5py
    import numpy as np
    from numpy.typing import NDArray

RANDOM_STATE = "seed_generator"
# Classes whose own name is not that under which Keras exports them.
OWN_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}
OLD_CONTAINER = "_layer_checkpoint_dependencies"


@dataclass(frozen=True, slots=True)
class StateTree:
    """The weights of one object and of the objects inside it, not read yet.

    `own` maps ``"0"``, ``"1"`` ... to datasets; `children` maps attribute names to trees.
    """

    own: dict[str, h5py.Dataset]
    children: dict[str, StateTree]

    @property
    def empty(self) -> bool:
        """Tell whether neither the object nor anything inside it has weights, random states aside."""
        inside = (child for name, child in self.children.items() if not name.startswith(RANDOM_STATE))
        return not self.own and all(child.empty for child in inside)


@dataclass(slots=True)
class _WeightReader:
    """Reads datasets, hashes what it reads, and counts what is not finite.

    `check` compares the checksum of the whole file before the first value is read.
    """

    name: str
    check: Callable[[], None] | None = None
    hash: Any = field(default_factory=hashlib.sha256)
    finite: NonfiniteCount = field(default_factory=NonfiniteCount)

    def read(self, dataset: h5py.Dataset) -> NDArray[np.generic]:
        values = self.values(dataset)
        self.finite.count(values)
        self.hash.update(f"{dataset.name}{values.dtype.str}{values.shape}".encode())
        self.hash.update(values.tobytes())
        return values

    def values(self, dataset: h5py.Dataset) -> NDArray[np.generic]:
        """Read a dataset outside the digest."""
        if self.check is not None:
            self.check()
            self.check = None
        return read_dataset(dataset, self.name)


class TreeWeights:
    """The layout of `.keras` archives: a tree of objects."""

    def __init__(
        self,
        root: h5py.Group,
        graph: LayerGraph,
        name: str,
        asset: Callable[[str], bytes | None] = lambda _: None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._root = root
        self._graph = graph
        self._reader = _WeightReader(name, check)
        self._asset = asset
        self._paths: dict[str, list[str | None]] = {}

    def state(self, entry: LayerNode) -> StateTree | None:
        """Return the stored state of a layer, ``None`` when the file has none for it."""
        if entry.position == ROOT:
            return _tree(self._root)
        path = self._path(entry.owner, entry.position)
        group = self._root.get(path) if path else None
        return None if group is None else _tree(group)

    def shapes(self, entry: LayerNode) -> list[tuple[int, ...]] | None:
        """Return the shapes of a layer's weights, random states left out."""
        state = self.state(entry)
        return [] if state is None else _shapes(state)

    def vocabulary(self, entry: LayerNode) -> list[str] | None:
        """Return the vocabulary that the archive keeps beside the weights, if it does."""
        path = self._path(entry.owner, entry.position)
        content = self._asset(f"assets/{path}/vocabulary.txt")
        return None if content is None else content.decode("utf-8", "replace").split("\n")

    def idf_weights(self, entry: LayerNode) -> NDArray[np.generic] | None:
        """Return the weights of the words of a layer that looks them up, where it has some."""
        state = self.state(entry)
        held = [] if state is None else [state, *state.children.values()]
        found = next((item.own["idf_weights"] for item in held if "idf_weights" in item.own), None)
        return None if found is None else self._reader.read(found)

    def normalisation(self, entry: LayerNode) -> dict[str, tuple[float, ...]]:
        """Return ``mean`` and ``variance`` of an adapted Normalization layer."""
        state = self.state(entry)
        return {} if state is None else _normalisation([state.own.get("0"), state.own.get("1")], self._reader)

    def read(self, dataset: h5py.Dataset) -> NDArray[np.generic]:
        """Read one dataset."""
        return self._reader.read(dataset)

    def digest(self) -> str:
        """Return the SHA-256 (hexadecimal) of everything read so far."""
        return str(self._reader.hash.hexdigest())

    def not_finite(self) -> str:
        """Say how many of the numbers read since the last question are NaN or infinite (``""``: none)."""
        return self._reader.finite.said()

    def _path(self, owner: str, position: int) -> str | None:
        if owner not in self._paths:
            prefix = ""
            if owner:
                _, outer, place = self._graph.models[owner]
                found = self._path(outer, place)
                prefix = "" if found is None else f"{found}/"
            group = self._root.get(prefix.rstrip("/")) if prefix else self._root
            names = group_names(self._graph.models[owner][0], group)
            self._check_all_named(names, group, prefix)
            self._paths[owner] = [None if name is None else prefix + name for name in names]
        return self._paths[owner][position]

    def _check_all_named(self, names: list[str | None], group: h5py.Group | None, prefix: str) -> None:
        """Refuse weights of layers that the model does not have: whose the others are is not sure then."""
        stored = None if group is None else group.get("layers")
        if stored is None or not hasattr(stored, "items"):
            return
        unknown = [name for name in stored if f"layers/{name}" not in names and _has_arrays(stored[name])]
        if unknown:
            message = f'{self._reader.name}: the file holds weights "{escape(f"{prefix}layers/{unknown[0]}", 120)}" of a layer that the model does not have; save it again with model.save(...).'
            raise ModelError(message)


def group_names(model: dict[str, Any], stored: h5py.Group | None = None) -> list[str | None]:
    """Return the group of each layer of a model, in the order of its configuration.

    Operations are no layers and have none; a Sequential does not count its InputLayer.
    Keras 2.12 and 2.13 call the container otherwise and count a layer that has weights
    twice (``conv2d``, ``conv2d_2``): `stored` tells which layers have some.
    """
    container = OLD_CONTAINER if stored is not None and OLD_CONTAINER in stored else "layers"
    used: dict[str, int] = {}
    names: list[str | None] = []
    for layer in model["config"]["layers"]:
        kind = str(layer["class_name"])
        operation = str(layer.get("module") or "").startswith("keras.src.ops.")
        if operation or (kind == "InputLayer" and model["class_name"] == "Sequential"):
            names.append(None)
            continue
        kind = "Functional" if is_model(layer) and kind == "Model" else kind
        base = snake_case(OWN_NAMES.get(kind, kind.rsplit(">", 1)[-1]))
        number = used.get(base, 0)
        name = f"{container}/{base}" if number == 0 else f"{container}/{base}_{number}"
        names.append(name)
        twice = container == OLD_CONTAINER and stored is not None and name in stored and _has_arrays(stored[name])
        used[base] = number + (2 if twice else 1)
    return names


def _has_arrays(group: h5py.Group) -> bool:
    if not hasattr(group, "items"):
        return True
    return any(_has_arrays(item) if hasattr(item, "items") else True for item in group.values())


def snake_case(name: str) -> str:
    """Spell a class name as Keras does in weight files: ``MaxPooling2D`` -> ``max_pooling2d``."""
    plain = re.sub(r"\W+", "", name)
    split = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", plain)
    return re.sub("([a-z])([A-Z])", r"\1_\2", split).lower()


def _tree(group: h5py.Group) -> StateTree:
    own: dict[str, h5py.Dataset] = {}
    children = {}
    for name, item in group.items():
        if name == "vars" and hasattr(item, "items"):
            own = {key: value for key, value in item.items() if not hasattr(value, "items")}
        elif hasattr(item, "items"):
            children[name] = _tree(item)
    return StateTree(own, children)


def _shapes(state: StateTree) -> list[tuple[int, ...]]:
    shapes = [tuple(dataset.shape) for dataset in state.own.values()]
    for name, child in state.children.items():
        if not name.startswith(RANDOM_STATE):
            shapes += _shapes(child)
    return shapes


class NamedWeights:
    """The layout of `.h5` files: a group for each layer of the outermost model."""

    def __init__(self, root: h5py.Group, graph: LayerGraph, name: str) -> None:
        self._root = root
        self._graph = graph
        self._name = name
        self._reader = _WeightReader(name)
        self._numbered: dict[str, dict[str, list[int]] | None] = {}
        self._groups: dict[str, list[h5py.Dataset]] = {}
        self._measured: dict[str, tuple[int, int]] = {}

    def arrays(self, entry: LayerNode) -> list[h5py.Dataset]:
        """Return the datasets of a layer, in the order in which Keras lists its weights.

        Raises
        ------
        ModelError
            When the file has no weights under the layer's name.
        """
        top = self._top(entry)
        group = self._root.get(top)
        if group is None:
            message = f'{self._name}: the file holds no weights for layer "{escape(entry.key, 80)}"; save it again with model.save(...).'
            raise ModelError(message)
        found = self.group(top)
        if not entry.owner:
            return found
        places = self._places(top)
        if places is None or sum(map(len, places.values())) != len(found):
            message = f'{self._name}: the weights of the nested model "{escape(top, 80)}" are not those that its layers have; save it again as .keras.'
            raise ModelError(message)
        return [found[place] for place in places[entry.key]]

    def layer_names(self) -> list[str]:
        """Return the names of the groups, one for each layer of the outermost model."""
        return [name for name in _attribute_names(self._root, "layer_names") if name in self._root]

    def group(self, name: str) -> list[h5py.Dataset]:
        """Return the datasets of one group in the order of its weights."""
        if name in self._groups:
            return self._groups[name]
        group = self._root[name]
        found = [group.get(weight) for weight in _attribute_names(group, "weight_names")]
        if any(dataset is None or hasattr(dataset, "items") for dataset in found):
            message = f'{self._name}: weights of layer "{escape(name, 80)}" are missing from the file; save it again with model.save(...).'
            raise ModelError(message)
        self._groups[name] = found
        return found

    def _top(self, entry: LayerNode) -> str:
        """Return the name of the outermost model's layer that an entry lies in."""
        owner = entry.owner
        if not owner:
            return entry.name
        while self._graph.models[owner][1]:
            owner = self._graph.models[owner][1]
        return layer_name(self._graph.models[owner][0])

    def _places(self, top: str) -> dict[str, list[int]] | None:
        """Say which weights of a nested model are whose: all that are trained come first.

        Layer by layer in both parts; a frozen layer has all its weights in the second.
        """
        if top not in self._numbered:
            inside = sorted(self.entries_of(top), key=self._order)
            counts = [self._measured.get(entry.key) or weight_counts(entry.kind, entry.config) for entry in inside]
            if None in counts:
                self._numbered[top] = None
                return None
            places: dict[str, list[int]] = {entry.key: [] for entry in inside}
            number = 0
            for part in (0, 1):
                for entry, count in zip(inside, counts, strict=True):
                    trained, other = count or (0, 0)
                    if entry.config.get("trainable") is False:
                        trained, other = 0, trained + other
                    more = (trained, other)[part]
                    places[entry.key] += range(number, number + more)
                    number += more
            self._numbered[top] = places
        return self._numbered[top]

    def unmeasured(self, entries: Iterable[LayerNode]) -> set[str]:
        """Return the nested models of these entries in which some layer's weights are not counted."""
        return {self._top(entry) for entry in entries if entry.owner and self._places(self._top(entry)) is None}

    def entries_of(self, top: str) -> list[LayerNode]:
        """Return the layers inside the nested model of that name."""
        return [entry for entry in self._graph.entries.values() if entry.owner and self._top(entry) == top]

    def measure(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Take how many weights layers train and how many they do not, by key."""
        self._measured |= counts
        self._numbered.clear()

    def _order(self, entry: LayerNode) -> tuple[int, ...]:
        """Return the position of an entry in the nesting, for sorting in model order."""
        places = [entry.position]
        owner = entry.owner
        while owner:
            _, owner, place = self._graph.models[owner]
            places.insert(0, place)
        return tuple(places)

    def shapes(self, entry: LayerNode) -> list[tuple[int, ...]] | None:
        """Return the shapes of a layer's weights, ``None`` where they cannot be told."""
        if entry.position == ROOT:
            groups = [self.group(name) for name in self.layer_names()]
            return [tuple(dataset.shape) for group in groups for dataset in group]
        top = self._top(entry)
        if top not in self._root:
            return []
        if entry.owner and self._places(top) is None:
            return None
        return [tuple(dataset.shape) for dataset in self.arrays(entry)]

    def vocabulary(self, entry: LayerNode) -> list[str] | None:
        """Return ``None``: `.h5` files keep vocabularies in the configuration or not at all."""
        del entry
        return None

    def idf_weights(self, entry: LayerNode) -> NDArray[np.generic] | None:
        """Return ``None``, as for the vocabulary."""
        del entry
        return None

    def normalisation(self, entry: LayerNode) -> dict[str, tuple[float, ...]]:
        """Return ``mean`` and ``variance`` of an adapted Normalization layer."""
        return _normalisation(self.arrays(entry)[:2], self._reader)

    def read(self, dataset: h5py.Dataset) -> NDArray[np.generic]:
        """Read one dataset."""
        return self._reader.read(dataset)

    def digest(self) -> str:
        """Return the SHA-256 (hexadecimal) of everything read so far."""
        return str(self._reader.hash.hexdigest())

    def not_finite(self) -> str:
        """Say how many of the numbers read since the last question are NaN or infinite (``""``: none)."""
        return self._reader.finite.said()


def _normalisation(datasets: list[h5py.Dataset | None], reader: _WeightReader) -> dict[str, tuple[float, ...]]:
    """Read the mean and variance of a Normalization layer, outside the digest."""
    if len(datasets) < 2 or any(dataset is None for dataset in datasets):  # noqa: PLR2004  (mean, variance)
        return {}
    arrays = [reader.values(dataset).ravel() for dataset in datasets]
    return dict(
        zip(
            ("mean", "variance"),
            (tuple(float(value) for value in array) for array in arrays),
            strict=True,
        )
    )


def _attribute_names(group: h5py.Group, name: str) -> list[str]:
    """Read a list of names that Keras splits over numbered attributes when it is long."""
    attributes = group.attrs
    if name in attributes:
        values = list(attributes[name])
    else:
        values = []
        number = 0
        while f"{name}{number}" in attributes:
            values += list(attributes[f"{name}{number}"])
            number += 1
    return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
