"""Locate the weights of each layer in an HDF5 file, and read only those.

There are two layouts. Since Keras 2.12, `.keras` archives hold a tree of objects: the *k*-th
layer of a class is at ``layers/<class>_<k>/vars/<i>``, counted in the order of the
configuration. `.h5` files hold a group for each layer, by name, with an ordered list of the
names of its weights.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.errors import ModelError, escape
from actviz.formats.keras.graph import ROOT, LayerGraph, LayerNode, is_model, is_operation, layer_name
from actviz.formats.keras.shapes import weight_counts
from actviz.formats.nonfinite_count import NonfiniteCount
from actviz.gate import CALLS, read_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import h5py
    import numpy as np
    from numpy.typing import NDArray

RANDOM_STATE = "seed_generator"
# Classes that Keras exports under another name than their own.
EXPORTED_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}
OLD_CONTAINER = "_layer_checkpoint_dependencies"


@dataclass(frozen=True, slots=True)
class StateTree:
    """The weights of one object and of the objects in its attributes, not read yet.

    `own` maps ``"0"``, ``"1"`` ... to datasets; `children` maps attribute names to trees.
    """

    own: dict[str, h5py.Dataset]
    children: dict[str, StateTree]

    @property
    def empty(self) -> bool:
        """True if neither the object nor any object inside it has weights, states of random generators aside."""
        children = (child for name, child in self.children.items() if not name.startswith(RANDOM_STATE))
        return not self.own and all(child.empty for child in children)


class HDF5Weights:
    """The weights in an HDF5 file: reads datasets, hashes them and counts non-finite values.

    Parameters
    ----------
    root
        The group that holds the weights.
    graph
        The layers of the model.
    name
        The name of the file in messages.
    check
        Called before the first dataset is read: verifies the checksum of the whole file.
    """

    def __init__(self, root: h5py.Group, graph: LayerGraph, name: str, check: Callable[[], None] | None = None) -> None:
        self._root = root
        self._graph = graph
        self._name = name
        self._check = check
        self._hash = hashlib.sha256()
        self._nonfinite = NonfiniteCount()

    def read(self, dataset: h5py.Dataset) -> NDArray[np.generic]:
        """Read one dataset and add it to the digest."""
        values = self._values(dataset)
        self._nonfinite.count(values)
        self._hash.update(f"{dataset.name}{values.dtype.str}{values.shape}".encode())
        self._hash.update(values.tobytes())
        return values

    def digest(self) -> str:
        """Return the SHA-256 (hexadecimal) of all datasets read so far."""
        return self._hash.hexdigest()

    def nonfinite_message(self) -> str:
        """Return the number of NaN and infinite values read since the last call as text (``""``: none)."""
        return self._nonfinite.message()

    def _values(self, dataset: h5py.Dataset) -> NDArray[np.generic]:
        """Read a dataset without adding it to the digest."""
        if self._check is not None:
            self._check()
            self._check = None
        return read_dataset(dataset, self._name)

    def _statistics(self, datasets: list[h5py.Dataset | None]) -> dict[str, tuple[float, ...]]:
        """Read the mean and variance of a Normalization layer without adding them to the digest."""
        if len(datasets) < 2 or any(dataset is None for dataset in datasets):  # noqa: PLR2004  (mean, variance)
            return {}
        arrays = [self._values(dataset).ravel() for dataset in datasets]
        return {
            name: tuple(float(value) for value in array)
            for name, array in zip(("mean", "variance"), arrays, strict=True)
        }


class TreeWeights(HDF5Weights):
    """The weights of a `.keras` archive: a tree of objects.

    `asset` reads a member of the archive, ``None`` if there is none of that name.
    """

    def __init__(
        self,
        root: h5py.Group,
        graph: LayerGraph,
        name: str,
        asset: Callable[[str], bytes | None] = lambda _: None,
        check: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(root, graph, name, check)
        self._asset = asset
        self._paths: dict[str, list[str | None]] = {}

    def state(self, entry: LayerNode) -> StateTree | None:
        """Return the weights of a layer, ``None`` if the file has none for it."""
        if entry.position == ROOT:
            return _tree(self._root)
        path = self._path(entry.owner, entry.position)
        group = self._root.get(path) if path else None
        return None if group is None else _tree(group)

    def shapes(self, entry: LayerNode) -> list[tuple[int, ...]] | None:
        """Return the shapes of a layer's weights, without the states of random generators."""
        state = self.state(entry)
        return [] if state is None else [tuple(dataset.shape) for dataset in _arrays(state)]

    def arrays(self, entry: LayerNode) -> list[h5py.Dataset]:
        """Return the datasets of a layer and of the objects inside it."""
        state = self.state(entry)
        return [] if state is None else _arrays(state)

    def vocabulary(self, entry: LayerNode) -> list[str] | None:
        """Return the vocabulary of a layer from the assets of the archive, ``None`` if it has none."""
        path = self._path(entry.owner, entry.position)
        content = self._asset(f"assets/{path}/vocabulary.txt")
        return None if content is None else content.decode("utf-8", "replace").split("\n")

    def idf_weights(self, entry: LayerNode) -> NDArray[np.generic] | None:
        """Return the inverse document frequencies of a layer with a vocabulary, ``None`` if it has none."""
        state = self.state(entry)
        states = [] if state is None else [state, *state.children.values()]
        dataset = next((item.own["idf_weights"] for item in states if "idf_weights" in item.own), None)
        return None if dataset is None else self.read(dataset)

    def normalisation(self, entry: LayerNode) -> dict[str, tuple[float, ...]]:
        """Return ``mean`` and ``variance`` of an adapted Normalization layer."""
        state = self.state(entry)
        return {} if state is None else self._statistics([state.own.get("0"), state.own.get("1")])

    def _path(self, owner: str, position: int) -> str | None:
        if owner not in self._paths:
            prefix = ""
            if owner:
                _, outer, outer_position = self._graph.models[owner]
                path = self._path(outer, outer_position)
                prefix = "" if path is None else f"{path}/"
            group = self._root.get(prefix.rstrip("/")) if prefix else self._root
            names = group_names(self._graph.models[owner][0], group)
            self._check_all_named(names, group, prefix)
            self._paths[owner] = [None if name is None else prefix + name for name in names]
        return self._paths[owner][position]

    def _check_all_named(self, names: list[str | None], group: h5py.Group | None, prefix: str) -> None:
        """Raise ModelError if the file has weights of layers that the model does not have: the count of layers by class is then unreliable."""
        stored = None if group is None else group.get("layers")
        if stored is None or not hasattr(stored, "items"):
            return
        unknown = [name for name in stored if f"layers/{name}" not in names and _has_arrays(stored[name])]
        if unknown:
            message = f'{self._name}: the file holds weights "{escape(f"{prefix}layers/{unknown[0]}", 120)}" of a layer that the model does not have; save it again with model.save(...).'
            raise ModelError(message)


def group_names(model: dict[str, Any], stored: h5py.Group | None = None) -> list[str | None]:
    """Return the name of the group of each layer of a model, in the order of its configuration.

    Operations have none (``None``), nor does the InputLayer of a Sequential. Keras 2.12 and 2.13
    use another name for the container and count a layer with weights twice (``conv2d``,
    ``conv2d_2``): `stored` shows which layers have weights.
    """
    container = OLD_CONTAINER if stored is not None and OLD_CONTAINER in stored else "layers"
    used: dict[str, int] = {}
    names: list[str | None] = []
    for layer in model["config"]["layers"]:
        kind = str(layer["class_name"])
        if is_operation(layer.get("module")) or (kind == "InputLayer" and model["class_name"] == "Sequential"):
            names.append(None)
            continue
        kind = "Functional" if is_model(layer) and kind == "Model" else kind
        base = snake_case(EXPORTED_NAMES.get(kind, kind.rsplit(">", 1)[-1]))
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
    """Return a class name as Keras writes it in weight files: ``max_pooling2d`` for ``MaxPooling2D``."""
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


def _arrays(state: StateTree) -> list[h5py.Dataset]:
    inside = (child for name, child in state.children.items() if not name.startswith(RANDOM_STATE))
    return [*state.own.values(), *(dataset for child in inside for dataset in _arrays(child))]


class NamedWeights(HDF5Weights):
    """The weights of an `.h5` file: a group for each layer of the outermost model.

    If they are `beside` the architecture, layers of other names are matched by order, as by
    ``load_weights``: names such as ``conv2d_5`` depend on what a process made before. `missing` are
    the keys of layers that cannot be made, because their code is not given.
    """

    def __init__(
        self,
        root: h5py.Group,
        graph: LayerGraph,
        name: str,
        *,
        beside: bool = False,
        vocabulary: Callable[[LayerNode], list[str] | None] = lambda _: None,
    ) -> None:
        super().__init__(root, graph, name)
        self._indices: dict[str, dict[str, list[int]] | None] = {}
        self._groups: dict[str, list[h5py.Dataset]] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self.missing: frozenset[str] = frozenset()
        self._vocabulary = vocabulary
        self._stored_names = self._match_layers() if beside else {}

    def _match_layers(self) -> dict[str, str]:
        """Return the group of each layer of the outermost model that has another name in the file.

        Raises
        ------
        ModelError
            When the numbers of layers with weights differ, or a layer of another name has another number of weights.
        """
        entries = sorted(self._graph.entries.values(), key=self._nested_position)
        if any(entry.position == ROOT for entry in entries):
            return {}
        counts: dict[str, int | None] = {}
        for entry in entries:
            numbers, before = weight_counts(entry.kind, entry.config), counts.get(self._top(entry), 0)
            counts[self._top(entry)] = None if numbers is None or before is None else before + sum(numbers)
        stored = [name for name in self.layer_names() if self.group(name)]
        missing = next((name for name, count in counts.items() if count and name not in stored), None)
        foreign = next((name for name in stored if name not in counts), None)
        if missing is None and foreign is None:
            return {}
        weighted = [name for name, count in counts.items() if count != 0]
        if len(weighted) != len(stored):
            which = (
                f'no weights for layer "{escape(missing, 80)}"'
                if missing
                else f'weights of a layer "{escape(foreign or "", 80)}", which the model does not have'
            )
            message = f"{self._name}: the file holds weights of {len(stored)} layers, the model has {len(weighted)} layers with weights: {which}; give the weights of this model."
            raise ModelError(message)
        for name, group in zip(weighted, stored, strict=True):
            if counts[name] not in {None, len(self.group(group))}:
                message = f'{self._name}: layer "{escape(name, 80)}" has {counts[name]} weights, "{escape(group, 80)}" in the file has {len(self.group(group))}; give the weights of this model.'
                raise ModelError(message)
        return dict(zip(weighted, stored, strict=True))

    def arrays(self, entry: LayerNode) -> list[h5py.Dataset]:
        """Return the datasets of a layer, in the order in which Keras lists its weights.

        Raises
        ------
        ModelError
            When the file has no weights under the layer's name.
        """
        top = self._top(entry)
        group = self._stored_names.get(top, top)
        if group not in self._root:
            message = f'{self._name}: the file holds no weights for layer "{escape(entry.key, 80)}"; save it again with model.save(...).'
            raise ModelError(message)
        datasets = self.group(group)
        if not entry.owner:
            return datasets
        indices = self._weight_indices(top)
        if indices is None or sum(map(len, indices.values())) != len(datasets):
            message = f'{self._name}: the weights of the nested model "{escape(top, 80)}" are not those that its layers have; save it again as .keras.'
            raise ModelError(message)
        return [datasets[index] for index in indices[entry.key]]

    def take_pruned(self, entry: LayerNode) -> bool:
        """Read a layer's weights without what a pruning wrapper stores behind them; return True if they are known.

        Masks with thresholds and a step follow. The wrapper computes with the product of the weights and
        their masks, so the weights must be zero where a mask is, as they are after training.
        """
        datasets, count = self.group(entry.name), sum(weight_counts(entry.kind, entry.config) or (0, 0))
        own, rest = datasets[:count], datasets[count:]
        masks = [dataset for dataset in rest if dataset.ndim]
        weights = iter(own)
        for mask in masks:
            weight = next((dataset for dataset in weights if dataset.shape == mask.shape), None)
            if weight is None or self._values(weight)[self._values(mask) == 0].any():
                return False
        if len(rest) != 2 * len(masks) + 1:
            return False
        self._groups[entry.name] = own
        return True

    def layer_names(self) -> list[str]:
        """Return the names of the groups: one for each layer of the outermost model."""
        return [name for name in _attribute_names(self._root, "layer_names") if name in self._root]

    def group(self, name: str) -> list[h5py.Dataset]:
        """Return the datasets of one group in the order of its weights."""
        if name in self._groups:
            return self._groups[name]
        group = self._root[name]
        datasets = [group.get(weight) for weight in _attribute_names(group, "weight_names")]
        if any(dataset is None or hasattr(dataset, "items") for dataset in datasets):
            message = f'{self._name}: weights of layer "{escape(name, 80)}" are missing from the file; save it again with model.save(...).'
            raise ModelError(message)
        self._groups[name] = datasets
        return datasets

    def _top(self, entry: LayerNode) -> str:
        """Return the name of the layer of the outermost model that contains an entry."""
        owner = entry.owner
        if not owner:
            return entry.name
        while self._graph.models[owner][1]:
            owner = self._graph.models[owner][1]
        return layer_name(self._graph.models[owner][0])

    def _weight_indices(self, top: str) -> dict[str, list[int]] | None:
        """Return the indices of each layer's weights among those of a nested model, ``None`` if not known.

        All trainable weights come first, layer by layer, then all non-trainable ones; a frozen
        layer has all of its weights in the second part.
        """
        if top not in self._indices:
            entries = sorted(self.entries_of(top), key=self._nested_position)
            counts = [self._count(entry) for entry in entries]
            if None in counts:
                unknown = {entry.key for entry, count in zip(entries, counts, strict=True) if count is None}
                self._indices[top] = self._indices_by_name(top, entries) if unknown <= self.missing else None
                return self._indices[top]
            indices: dict[str, list[int]] = {entry.key: [] for entry in entries}
            start = 0
            for part in (0, 1):
                for entry, count in zip(entries, counts, strict=True):
                    trainable, non_trainable = count or (0, 0)
                    if entry.config.get("trainable") is False:
                        trainable, non_trainable = 0, trainable + non_trainable
                    size = (trainable, non_trainable)[part]
                    indices[entry.key] += range(start, start + size)
                    start += size
            self._indices[top] = indices
        return self._indices[top]

    def _indices_by_name(self, top: str, entries: Sequence[LayerNode]) -> dict[str, list[int]] | None:
        """Return the indices of each layer's weights by their names, ``None`` if a number is not that of its class.

        It is used where layers cannot be made, so that the number of their weights is not known.
        Weights are called ``layer/kernel:0``, with nested models in front.
        """
        names = _attribute_names(self._root[self._stored_names.get(top, top)], "weight_names")
        by_layer: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            by_layer.setdefault(name.rpartition("/")[0].rpartition("/")[2], []).append(index)
        indices = {entry.key: by_layer.get(entry.name, []) for entry in entries}
        for entry in entries:
            count = self._count(entry)
            if count is not None and len(indices[entry.key]) != sum(count):
                return None
        return indices

    def set_missing(self, keys: frozenset[str]) -> None:
        """Set the keys of the layers that cannot be made, because their code is not given."""
        self.missing = keys
        self._indices.clear()

    def _count(self, entry: LayerNode) -> tuple[int, int] | None:
        """Return the numbers of trainable and non-trainable weights of a layer, ``None`` if they are not known."""
        if is_operation(entry.module) or entry.kind in CALLS:
            return 0, 0
        return self._counts.get(entry.key) or weight_counts(entry.kind, entry.config)

    def uncounted(self, entries: Iterable[LayerNode]) -> set[str]:
        """Return the nested models that contain these entries and a layer whose number of weights is not known."""
        return {self._top(entry) for entry in entries if entry.owner and self._weight_indices(self._top(entry)) is None}

    def entries_of(self, top: str) -> list[LayerNode]:
        """Return the layers inside a nested model."""
        return [entry for entry in self._graph.entries.values() if entry.owner and self._top(entry) == top]

    def set_counts(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Set the numbers of trainable and non-trainable weights of layers, by key."""
        self._counts |= counts
        self._indices.clear()

    def _nested_position(self, entry: LayerNode) -> tuple[int, ...]:
        """Return the positions of an entry and of the models around it, outermost first: a sort key in model order."""
        positions = [entry.position]
        owner = entry.owner
        while owner:
            _, owner, position = self._graph.models[owner]
            positions.insert(0, position)
        return tuple(positions)

    def shapes(self, entry: LayerNode) -> list[tuple[int, ...]] | None:
        """Return the shapes of a layer's weights, ``None`` if they are not known."""
        if entry.position == ROOT:
            groups = [self.group(name) for name in self.layer_names()]
            return [tuple(dataset.shape) for group in groups for dataset in group]
        top = self._top(entry)
        if self._stored_names.get(top, top) not in self._root:
            return []
        if entry.owner and self._weight_indices(top) is None:
            return None
        return [tuple(dataset.shape) for dataset in self.arrays(entry)]

    def vocabulary(self, entry: LayerNode) -> list[str] | None:
        """Return the vocabulary of a layer from the file of the architecture; `.h5` files of weights hold none."""
        return self._vocabulary(entry)

    def idf_weights(self, entry: LayerNode) -> NDArray[np.generic] | None:
        """Return ``None``: `.h5` files hold none."""
        del entry
        return None

    def normalisation(self, entry: LayerNode) -> dict[str, tuple[float, ...]]:
        """Return ``mean`` and ``variance`` of an adapted Normalization layer."""
        return self._statistics(self.arrays(entry)[:2])


def _attribute_names(group: h5py.Group, name: str) -> list[str]:
    """Read a list of names, which Keras splits into numbered attributes if it is long."""
    values = list(group.attrs.get(name, ()))
    number = 0
    while name not in group.attrs and f"{name}{number}" in group.attrs:
        values += list(group.attrs[f"{name}{number}"])
        number += 1
    return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
