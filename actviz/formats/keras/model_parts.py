"""Open an architecture with weights from another file: `--weights`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from actviz.errors import ModelChangedError, ModelError
from actviz.formats.keras.checkpoint_weights import CheckpointWeights, open_checkpoint
from actviz.formats.keras.graph import ROOT
from actviz.formats.keras.keras_file import (
    CONFIGURATION_BYTES,
    WEIGHTS,
    KerasFile,
    ModelConfiguration,
    asset_reader,
    configuration_of_archive,
    configuration_of_folder,
    configuration_of_hdf5,
    first_bytes_of,
    read_configuration,
    weights_of_archive,
    writer_text,
)
from actviz.formats.keras.not_a_model import is_yaml, yaml_message
from actviz.formats.keras.weight_files import OLD_CONTAINER, NamedWeights, TreeWeights
from actviz.gate import NO_TRUST, TrustPolicy, file_type, open_archive, open_hdf5, parse_json
from actviz.system.file_system import FileStamp, exists, is_folder, open_regular, stamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import h5py

    from actviz.formats.keras.graph import LayerGraph, LayerNode
    from actviz.formats.keras.keras_file import FilesBeside

WEIGHT_FILES = "a .weights.h5, .h5 or .keras file or a TensorFlow checkpoint"


@dataclass(frozen=True)
class WeightsFile:
    """The open file that weights are read from."""

    name: str
    file: BinaryIO
    stamp: FileStamp

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def check_unchanged(self) -> None:
        """Raise ModelChangedError if the file was modified since it was opened."""
        if stamp(self.file) != self.stamp:
            raise ModelChangedError(self.name)


@dataclass(frozen=True)
class Architecture:
    """An architecture, and what its file holds besides: assets by name, and the vocabularies of layers.

    `format` and `version` are those of `KerasFile`; `default_version` is that of a file that names none.
    """

    format: str
    configuration: ModelConfiguration
    version: str
    default_version: str
    asset: Callable[[str], bytes | None] = lambda _: None
    vocabulary: Callable[[LayerNode], list[str] | None] = lambda _: None


def open_with_weights(path: Path, weights: Path, trust: TrustPolicy = NO_TRUST) -> KerasFile:
    """Open a model file with the weights of another file, without Keras or TensorFlow.

    `path` is a `.keras` archive or its unpacked folder, an `.h5` file, or the JSON of an architecture.

    Raises
    ------
    ModelError, UnsafeError, LimitError
        When one of the files is not what it should be, is unsafe or too large, or the weights are
        those of another model.
    """
    name = path.name
    source = path / "config.json" if is_folder(path) and exists(path / "config.json") else path
    file, status = open_regular(source, ModelError, "model")
    beside: FilesBeside | None = None
    try:
        if source is path:
            architecture = _architecture(file, status.size, name, trust)
        else:
            architecture = Architecture("keras", *configuration_of_folder(path, trust), "3")
        stored, beside, shown = _open_weights(weights, architecture)
    except BaseException:
        file.close()
        raise
    writer = writer_text(architecture.version, architecture.default_version)
    configuration = architecture.configuration
    return KerasFile(
        path,
        name,
        architecture.format,
        writer,
        architecture.version,
        configuration,
        stored,
        file,
        status,
        beside,
        shown,
    )


def _architecture(file: BinaryIO, size: int, name: str, trust: TrustPolicy) -> Architecture:
    head = first_bytes_of(file, size, name)
    if head.startswith(file_type.HDF5):
        return Architecture("hdf5", *configuration_of_hdf5(open_hdf5(file, name, size), name, trust), "1")
    if head.startswith(file_type.ZIP):
        archive = open_archive(file, name)
        configuration, version = configuration_of_archive(archive, name, trust)
        vocabulary: Callable[[LayerNode], list[str] | None] = lambda _: None  # noqa: E731
        if WEIGHTS in archive.members:
            vocabulary = weights_of_archive(archive, configuration.graph, name).vocabulary
        return Architecture("keras", configuration, version, "3", asset_reader(archive), vocabulary)
    return _architecture_of_json(file.read(min(size, CONFIGURATION_BYTES) + 1), name, trust)


def _architecture_of_json(raw: bytes, name: str, trust: TrustPolicy) -> Architecture:
    """Read what ``model.to_json()`` returns."""
    if raw.lstrip().startswith(b'"'):  # json.dumps(model.to_json())
        inner = parse_json(raw, name)
        raw = inner.encode("utf-8", "surrogatepass") if isinstance(inner, str) else raw
    if is_yaml(raw):
        raise ModelError(yaml_message(name))
    if not raw.lstrip().startswith(b"{"):
        message = f"{name}: --weights goes with a .keras or .h5 file or the JSON of an architecture (model.to_json()); this file is none."
        raise ModelError(message)
    parsed = parse_json(raw, name)
    version = str(parsed.get("keras_version", "")) if isinstance(parsed, dict) else ""
    if not version and isinstance(parsed, dict) and "module" in parsed:
        version = "3"  # Keras 3 names modules and no version in its JSON
    return Architecture("json", read_configuration(raw, version, name, trust), version, "1")


def _open_weights(
    path: Path, architecture: Architecture
) -> tuple[TreeWeights | NamedWeights | CheckpointWeights, FilesBeside, str]:
    """Return the weights, their open files, and their name; of a folder with that of the checkpoint in it."""
    checkpoint = open_checkpoint(path)
    if checkpoint is not None:
        graph = architecture.configuration.graph
        try:
            shown = f"{path.name}/{checkpoint.prefix}" if is_folder(path) else path.name
            return CheckpointWeights(checkpoint, graph, path.name, architecture.vocabulary), checkpoint, shown
        except BaseException:
            checkpoint.close()
            raise
    file, status = open_regular(path, ModelError, "weights file")
    try:
        head = first_bytes_of(file, status.size, path.name)
        if head.startswith(file_type.ZIP):
            weights = weights_of_archive(open_archive(file, path.name), architecture.configuration.graph, path.name)
            return weights, WeightsFile(path.name, file, status), path.name
        if not head.startswith(file_type.HDF5):
            message = f"{path.name}: this file holds no weights of a Keras model; {WEIGHT_FILES} was expected."
            raise ModelError(message)
        root = open_hdf5(file, path.name, status.size)
        return _weights_of_hdf5(root, path.name, architecture), WeightsFile(path.name, file, status), path.name
    except BaseException:
        file.close()
        raise


def _weights_of_hdf5(root: h5py.File, name: str, architecture: Architecture) -> TreeWeights | NamedWeights:
    """Return the weights of an HDF5 file in either layout."""
    graph = architecture.configuration.graph
    group = root.get("model_weights", root)
    if "layer_names" in group.attrs or "layer_names0" in group.attrs:
        return NamedWeights(group, graph, name, beside=True, vocabulary=architecture.vocabulary)
    if not _is_tree(root, graph):
        message = f"{name}: this HDF5 file holds no weights of a Keras model; {WEIGHT_FILES} was expected."
        raise ModelError(message)
    return TreeWeights(root, graph, name, architecture.asset)


def _is_tree(root: h5py.File, graph: LayerGraph) -> bool:
    """Return True for the layout of Keras 3; a subclassed model has groups named as its attributes."""
    names = {"layers", OLD_CONTAINER, "vars"}
    subclassed = any(entry.position == ROOT for entry in graph.entries.values())
    return bool(names.intersection(root)) or (subclassed and len(root) > 0)
