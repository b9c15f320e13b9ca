"""Layers models of TensorFlow.js: `model.json` with the architecture, and shards of raw values beside it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from actviz.errors import ModelChangedError, ModelError, UnsafeError, escape
from actviz.formats.keras.keras_file import CONFIGURATION_BYTES, KerasFile, read_configuration, writer_text
from actviz.formats.keras.weight_files import NamedWeights
from actviz.gate import NO_TRUST, TrustPolicy, parse_json, well_formed
from actviz.gate.trust import NO_FLAG
from actviz.system.file_system import (
    FileStamp,
    exists,
    first_bytes,
    is_folder,
    is_link,
    open_regular,
    regular_file_stamp,
    stamp_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from actviz.formats.keras.graph import LayerGraph, LayerNode

MODEL = "model.json"
HEAD_BYTES = 4096
DTYPES = {"float32": "<f4", "int32": "<i4", "uint8": "u1", "bool": "?", "float16": "<f2", "uint16": "<u2"}
QUANTIZED = {"uint8", "uint16", "float16"}
MAXIMUM_PARTS = 50
AS_KERAS = "2.15.0"
"""The version of Keras whose configurations the JavaScript library writes."""


def is_tensorflow_js(path: Path) -> bool:
    """Return True for the `model.json` of a TensorFlow.js model, or a folder that holds one."""
    head = first_bytes(path / MODEL if is_folder(path) else path, HEAD_BYTES)
    return head.lstrip().startswith(b"{") and (b'"modelTopology"' in head or b'"weightsManifest"' in head)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the concatenated shards of a group: `size` bytes from `offset` on, quantized if `stored` is not `dtype`."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    stored: str
    scale: float
    minimum: float
    offset: int
    size: int
    shards: tuple[tuple[Path, FileStamp], ...] = field(repr=False)


def open_tensorflow_js(path: Path, trust: TrustPolicy = NO_TRUST) -> KerasFile:
    """Open a layers model of TensorFlow.js without any of its libraries.

    Raises
    ------
    ModelError, UnsafeError, LimitError
        When it is a graph model, damaged, unsafe or too large.
    """
    name, source = path.name, path / MODEL if is_folder(path) else path
    file, status = open_regular(source, ModelError, "model")
    try:
        parsed = parse_json(file.read(CONFIGURATION_BYTES + 1), name)
        with well_formed(name):
            topology = parsed["modelTopology"]
            if parsed.get("format") == "graph-model" or "node" in topology:
                message = f"{name}: this is a graph model of TensorFlow.js, whose layers are gone; give the SavedModel or Keras file that it was converted from."
                raise ModelError(message)
            configuration, written = topology.get("model_config", topology), str(topology.get("keras_version") or "")
            raw = configuration if isinstance(configuration, str) else json.dumps(configuration)
            version = AS_KERAS if written.startswith("tfjs") else written
        checked = read_configuration(raw.encode(), version, name, trust)
        with well_formed(name):
            tensors = _read_manifest(parsed["weightsManifest"], source.parent, name)
        weights = TensorFlowJsWeights(tensors, checked.graph, name)
    except BaseException:
        file.close()
        raise
    return KerasFile(path, name, "tfjs", writer_text(written, "2"), version, checked, weights, file, status, weights)


def _read_manifest(groups: Any, folder: Path, name: str) -> list[StoredTensor]:
    tensors = []
    for group in groups:
        shards = tuple(_shard(folder, text, name) for text in group["paths"])
        offset, total = 0, sum(status.size for _, status in shards)
        for weight in group["weights"]:
            tensor = _tensor(weight, offset, shards, name)
            offset += tensor.size
            if offset > total:
                message = f'{name}: the weight "{escape(tensor.name, 80)}" lies beyond the end of its files ({total:,} bytes); copy or convert the model again.'
                raise ModelError(message)
            tensors.append(tensor)
    return tensors


def _shard(folder: Path, text: str, name: str) -> tuple[Path, FileStamp]:
    """Return a shard inside the folder of the model; it must exist and be no link."""
    parts = PurePosixPath(text).parts
    if not parts or text.startswith("/") or ".." in parts or "\\" in text or ":" in text or "\0" in text:
        message = (
            f'{name}: refused: its weights are at "{escape(text, 80)}", outside the folder of the model; {NO_FLAG}.'
        )
        raise UnsafeError(message)
    path = folder
    for part in parts:
        path /= part
        if is_link(path):
            message = f'{name}: refused: "{escape(text, 80)}" beside the model is a link; {NO_FLAG}.'
            raise UnsafeError(message)
    status = regular_file_stamp(path)
    if status is None:
        what = "is no regular file" if exists(path) else "is missing"
        message = f'{name}: the file of weights "{escape(text, 80)}" {what}; copy the whole folder.'
        raise ModelError(message)
    return path, status


def _tensor(weight: Any, offset: int, shards: tuple[tuple[Path, FileStamp], ...], name: str) -> StoredTensor:
    quantization = weight.get("quantization") or {}
    dtype, shape = str(weight["dtype"]), tuple(weight["shape"])
    stored = str(quantization.get("dtype", dtype))
    if dtype not in DTYPES or stored not in DTYPES or (quantization and stored not in QUANTIZED):
        message = f'{name}: the weight "{escape(str(weight["name"]), 80)}" holds {escape(stored, 40)}, which is not read; convert the model again.'
        raise ModelError(message)
    if any(type(size) is not int or size < 0 for size in shape):
        message = f'{name}: the weight "{escape(str(weight["name"]), 80)}" has no shape of whole numbers; convert the model again.'
        raise ModelError(message)
    affine = quantization and stored != "float16"
    scale, minimum = (float(quantization["scale"]), float(quantization["min"])) if affine else (1.0, 0.0)
    item = {"bool": 1, "uint8": 1, "uint16": 2, "float16": 2}.get(stored, 4)
    return StoredTensor(
        str(weight["name"]), shape, dtype, stored, scale, minimum, offset, math.prod(shape) * item, shards
    )


class TensorFlowJsWeights(NamedWeights):
    """The weights of a TensorFlow.js model, found by their names: ``conv/kernel``, with nested models in front."""

    def __init__(self, tensors: list[StoredTensor], graph: LayerGraph, name: str) -> None:
        super().__init__({}, graph, name)  # there is no HDF5 file
        self._shards = dict(shard for tensor in tensors for shard in tensor.shards)
        self._by_layer = self._match(tensors)

    def arrays(self, entry: LayerNode) -> list[Any]:
        """Return the weights of a layer, in the order in which Keras lists them."""
        return list(self._by_layer.get(entry.key, ()))

    def shapes(self, entry: LayerNode) -> list[tuple[int, ...]] | None:
        """Return the shapes of a layer's weights."""
        return [tensor.shape for tensor in self.arrays(entry)]

    def layer_names(self) -> list[str]:
        """Return the keys of the layers that have weights."""
        return list(self._by_layer)

    def group(self, name: str) -> list[Any]:
        """Return the weights of a layer by its key."""
        return list(self._by_layer[name])

    def uncounted(self, entries: Iterable[LayerNode]) -> set[str]:
        """Return an empty set: the weights of nested models have the names of their layers."""
        del entries
        return set()

    def close(self) -> None:
        """Do nothing: shards are opened for the time of a read."""

    def check_unchanged(self) -> None:
        """Raise ModelChangedError if a shard was modified since the model was opened."""
        if any(stamp_of(path) != status for path, status in self._shards.items()):
            raise ModelChangedError(self._name)

    def _match(self, tensors: list[StoredTensor]) -> dict[str, list[StoredTensor]]:
        """Return the weights of each layer by its key.

        Raises
        ------
        ModelError
            When a name occurs twice, or is that of no layer, or of several.
        """
        keys: dict[str, list[str]] = {}
        for entry in self._graph.entries.values():
            for text in {entry.key, entry.name}:
                keys.setdefault(text, []).append(entry.key)
        matched: dict[str, list[StoredTensor]] = {}
        seen: set[str] = set()
        for tensor in tensors:
            found = self._keys_of(tensor.name, keys)
            if len(found) != 1 or tensor.name in seen:
                what = "of a layer that the model does not have" if not found else "that several layers may mean"
                message = (
                    f'{self._name}: the file holds weights "{escape(tensor.name, 80)}" {what}; convert the model again.'
                )
                raise ModelError(message)
            seen.add(tensor.name)
            matched.setdefault(found[0], []).append(tensor)
        for stored in matched.values():
            if all(tensor.name.rpartition("/")[2].isdecimal() for tensor in stored):  # as converted from Keras 3
                stored.sort(key=lambda tensor: int(tensor.name.rpartition("/")[2][:9]))
        return matched

    def _keys_of(self, name: str, keys: dict[str, list[str]]) -> list[str]:
        """Return the keys of the layers that the front of a weight's name may mean; the longest and foremost match."""
        parts = name.split("/")[:MAXIMUM_PARTS]
        for start in range(len(parts) - 1):
            for end in range(len(parts) - 1, start, -1):
                found = keys.get("/".join(parts[start:end]))
                if found:
                    return found
        return []

    def _values(self, dataset: Any) -> NDArray[np.generic]:
        """Read a weight, dequantized as TensorFlow.js does: ``value * scale + min`` in float64."""
        import numpy as np

        content, skip, left = bytearray(), dataset.offset, dataset.size
        for path, status in dataset.shards:
            if skip >= status.size or not left:
                skip = max(0, skip - status.size)
                continue
            file, now = open_regular(path, ModelError, "file of weights")
            with file:
                if now != status:
                    raise ModelChangedError(self._name)
                file.seek(skip)
                content += file.read(min(left, status.size - skip))
            left, skip = dataset.size - len(content), 0
        if left:
            raise ModelChangedError(self._name)
        values = np.frombuffer(bytes(content), DTYPES[dataset.stored]).reshape(dataset.shape)
        if dataset.stored == dataset.dtype:
            return values
        if dataset.stored != "float16":
            values = values * dataset.scale + dataset.minimum
        return (np.round(values) if dataset.dtype == "int32" else values).astype(DTYPES[dataset.dtype])
