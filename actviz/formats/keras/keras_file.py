"""Open a Keras file: check and parse its configuration, and locate its weights."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Protocol

from actviz.errors import ModelChangedError, ModelError, UnsafeError, escape
from actviz.formats.keras.canonical import canonical, is_keras_3
from actviz.formats.keras.graph import join
from actviz.formats.keras.not_a_model import archive_without_model, not_a_model, only_weights
from actviz.formats.keras.parse_graph import parse_graph
from actviz.formats.keras.weight_files import NamedWeights, TreeWeights
from actviz.gate import (
    NO_TRUST,
    TrustPolicy,
    check_configuration,
    drop_compile_config,
    ends_as_archive,
    file_type,
    missing_code,
    open_archive,
    open_hdf5,
    parse_json,
    refusal,
    well_formed,
)
from actviz.gate.archive import CHECKED_AT_ONCE
from actviz.gate.trust import NO_FLAG
from actviz.system.file_system import FileStamp, exists, is_folder, is_link, open_regular, read_bytes, stamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import h5py

    from actviz.formats.keras.graph import LayerGraph
    from actviz.formats.keras.object_graph import ObjectWeights
    from actviz.gate import ForeignObject
    from actviz.gate.archive import Archive

CONFIGURATION_BYTES = 64 << 20
WEIGHTS = "model.weights.h5"
NAMED = {".keras": "keras", ".h5": "hdf5", ".hdf5": "hdf5"}
METADATA_BYTES = 1 << 20
HEAD_BYTES = 4096
ASSET_BYTES = 256 << 20


@dataclass(frozen=True)
class ModelConfiguration:
    """A checked configuration.

    `digest` is the SHA-256 of its canonical form; `code` lists the layers that need code other
    than Keras's (``lam (Lambda)``), `custom` the registered names of objects that the user gives.
    `missing` has the objects whose code is not given, by the key of the layer that holds them.
    """

    graph: LayerGraph
    digest: str
    code: tuple[str, ...]
    custom: tuple[str, ...]
    missing: dict[str, tuple[ForeignObject, ...]] = field(default_factory=dict)


class FilesBeside(Protocol):
    """Open files of weights beside the file of the architecture."""

    def close(self) -> None:
        """Close the files."""

    def check_unchanged(self) -> None:
        """Raise ModelChangedError if a file was modified since it was opened."""


@dataclass(frozen=True)
class KerasFile:
    """The content of a `.keras` or `.h5` file.

    `writer` is the text for users (``Keras 3.15.1``), `version` the bare version; `beside` are
    the files of weights that are not in `file`, and `weights_name` is the name of those that the user gave.
    """

    path: Path
    name: str
    format: str
    writer: str
    version: str
    configuration: ModelConfiguration
    weights: TreeWeights | NamedWeights | ObjectWeights
    file: BinaryIO
    stamp: FileStamp
    beside: FilesBeside | None = None
    weights_name: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes about the file: a suffix that does not match its format."""
        is_named, kind = NAMED.get(self.path.suffix.lower(), ""), {"keras": "a .keras archive", "hdf5": "HDF5"}
        if not is_named or self.format not in kind or is_named == self.format:
            return ()
        return (f"{self.name}: this is {kind[self.format]}, not what its name says; it is opened as what it is.",)

    def close(self) -> None:
        """Close the file; weights cannot be read afterwards."""
        self.file.close()
        if self.beside is not None:
            self.beside.close()

    def check_unchanged(self) -> None:
        """Raise ModelChangedError if the file was modified since it was opened."""
        if stamp(self.file) != self.stamp:
            raise ModelChangedError(self.name)
        if self.beside is not None:
            self.beside.check_unchanged()


def open_keras_file(path: Path, trust: TrustPolicy = NO_TRUST) -> KerasFile:
    """Open, check and parse a model file without Keras or TensorFlow.

    `path` is a `.keras` archive, the folder that one was unpacked to, or an `.h5` file.

    Raises
    ------
    ModelError, UnsafeError, LimitError
        When it is not a model, is unsafe, or is too large.
    """
    if is_folder(path) and exists(path / "config.json"):
        return _from_folder(path, trust)
    if is_folder(path) and exists(path / "checkpoint"):
        raise ModelError(only_weights(path.name, "is a folder of TensorFlow checkpoints, which "))
    if is_folder(path):
        message = f"{path.name}: this is a folder without a model: it holds neither saved_model.pb nor config.json; give the folder that model.save(...) or model.export(...) made."
        raise ModelError(message)
    file, status = open_regular(path, ModelError, "model")
    try:
        return _from_file(path, file, status, trust)
    except BaseException:
        file.close()
        raise


def _from_file(path: Path, file: BinaryIO, status: FileStamp, trust: TrustPolicy) -> KerasFile:
    name = path.name
    head = first_bytes_of(file, status.size, name)
    if head.startswith(file_type.HDF5):
        return _from_hdf5(path, file, status, trust)
    if head.startswith(file_type.ZIP):
        return _from_archive(path, file, status, trust)
    raise ModelError(not_a_model(name, head, status.size))


def first_bytes_of(file: BinaryIO, size: int, name: str) -> bytes:
    """Return the first bytes of a file, which show its type; refuse one that is of two types at once."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head.startswith(file_type.HDF5) and ends_as_archive(file, size):
        message = f"{name}: refused: this file is an HDF5 file and a zip archive at once, so readers disagree on what is in it; {NO_FLAG}."
        raise UnsafeError(message)
    if any(head.startswith(file_type.HDF5, offset) for offset in (512, 1024, 2048)):
        message = f"{name}: refused: HDF5 data follow other data in this file, so readers disagree on what is in it; {NO_FLAG}."
        raise UnsafeError(message)
    return head


def _from_folder(path: Path, trust: TrustPolicy) -> KerasFile:
    """Open the folder of an unpacked `.keras` archive; symbolic links in it are refused."""
    name = path.name
    configuration, version = configuration_of_folder(path, trust)
    if is_link(path / WEIGHTS):
        message = f'{name}: refused: "{WEIGHTS}" in the folder is a link; {NO_FLAG}.'
        raise UnsafeError(message)
    file, status = open_regular(path / WEIGHTS, ModelError, "weights file")
    try:
        weights = TreeWeights(open_hdf5(file, name, status.size), configuration.graph, name)
    except BaseException:
        file.close()
        raise
    return KerasFile(path, name, "keras", writer_text(version, "3"), version, configuration, weights, file, status)


def configuration_of_folder(path: Path, trust: TrustPolicy) -> tuple[ModelConfiguration, str]:
    """Return the configuration in the folder of an unpacked `.keras` archive, and the Keras version."""
    name = path.name
    for member in ("config.json", "metadata.json"):
        if is_link(path / member):
            message = f'{name}: refused: "{member}" in the folder is a link; {NO_FLAG}.'
            raise UnsafeError(message)
    raw = read_bytes(path / "config.json", CONFIGURATION_BYTES, ModelError)
    metadata = path / "metadata.json"
    version = _version(read_bytes(metadata, METADATA_BYTES, ModelError), name) if exists(metadata) else ""
    return read_configuration(raw, version, name, trust), version


def writer_text(version: str, default: str) -> str:
    """Return the library and version that wrote a file as text for users; `default` is the version of files without one."""
    return f"Keras {escape(version or default, 40)}"


def _version(metadata: bytes, name: str) -> str:
    """Return the Keras version in the JSON of an archive's metadata, ``""`` if there is none."""
    parsed = parse_json(metadata, name)
    return str(parsed.get("keras_version", "")) if isinstance(parsed, dict) else ""


def _from_hdf5(path: Path, file: BinaryIO, status: FileStamp, trust: TrustPolicy) -> KerasFile:
    name = path.name
    root = open_hdf5(file, name, status.size)
    configuration, version = configuration_of_hdf5(root, name, trust)
    group = root.get("model_weights")
    if group is None:
        message = f"{name}: the file holds an architecture but no weights; give them with --weights, or save the whole model with model.save(...)."
        raise ModelError(message)
    weights = NamedWeights(group, configuration.graph, name)
    return KerasFile(path, name, "hdf5", writer_text(version, "1"), version, configuration, weights, file, status)


def configuration_of_hdf5(root: h5py.File, name: str, trust: TrustPolicy) -> tuple[ModelConfiguration, str]:
    """Return the configuration in an `.h5` file, and the Keras version."""
    raw = _attribute(root, "model_config")
    if raw is None:
        raise ModelError(_without_architecture(name, root))
    version = _attribute(root, "keras_version")
    if version is None and "model_weights" in root:
        version = _attribute(root["model_weights"], "keras_version")
    text = version.decode("utf-8", "replace") if version else ""
    return read_configuration(raw, text, name, trust), text


def _without_architecture(name: str, root: h5py.File) -> str:
    if "layer_names" in root.attrs or "layers" in root or "_layer_checkpoint_dependencies" in root:
        return only_weights(name, "")
    return f"{name}: this HDF5 file holds no Keras model; save it with model.save(...)."


def _attribute(group: h5py.Group, name: str) -> bytes | None:
    try:
        value = group.attrs.get(name)
    except (OSError, RuntimeError, ValueError, TypeError):
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return value if isinstance(value, bytes) else None


def _from_archive(path: Path, file: BinaryIO, status: FileStamp, trust: TrustPolicy) -> KerasFile:
    name = path.name
    archive = open_archive(file, name)
    configuration, version = configuration_of_archive(archive, name, trust)
    weights = weights_of_archive(archive, configuration.graph, name)
    return KerasFile(path, name, "keras", writer_text(version, "3"), version, configuration, weights, file, status)


def configuration_of_archive(archive: Archive, name: str, trust: TrustPolicy) -> tuple[ModelConfiguration, str]:
    """Return the configuration in a `.keras` archive, and the Keras version."""
    if "config.json" not in archive.members:
        raise ModelError(archive_without_model(name, archive.members))
    raw = archive.read("config.json", CONFIGURATION_BYTES)
    has_metadata = "metadata.json" in archive.members
    version = _version(archive.read("metadata.json", METADATA_BYTES), name) if has_metadata else ""
    return read_configuration(raw, version, name, trust), version


def weights_of_archive(archive: Archive, graph: LayerGraph, name: str) -> TreeWeights:
    """Return the weights in a `.keras` archive."""
    size = archive.info(WEIGHTS).file_size
    check = functools.partial(archive.check, WEIGHTS)
    if size <= CHECKED_AT_ONCE:
        check()
    root = open_hdf5(archive.open(WEIGHTS), name, size)
    return TreeWeights(root, graph, name, asset_reader(archive), check if size > CHECKED_AT_ONCE else None)


def asset_reader(archive: Archive) -> Callable[[str], bytes | None]:
    """Return a function that reads a member of an archive, ``None`` if there is none of that name."""
    return lambda path: archive.read(path, ASSET_BYTES) if path in archive.members else None


def read_configuration(raw: bytes, version: str, name: str, trust: TrustPolicy) -> ModelConfiguration:
    """Parse and check a configuration."""
    config = drop_compile_config(parse_json(raw, name))
    with well_formed(name):
        findings = check_configuration(config, name, trust)
    refused = refusal(findings, name)
    missing = missing_code(config, findings, name, trust) if refused is not None and not trust.strict else {}
    if refused is not None and not missing:
        raise refused
    with well_formed(name):
        form = canonical(config, version, name)
    text = json.dumps(form, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if not is_keras_3(version) and version.split(".", maxsplit=1)[0] not in {"", "1", "2"}:
        message = f'{name}: written by Keras "{escape(version, 40)}", which is not known; update actviz.'
        raise ModelError(message)
    code = tuple(dict.fromkeys(finding.code for finding in findings if finding.code))
    custom = tuple(dict.fromkeys(finding.named for finding in findings if finding.named and finding.allowed))
    keys = {functools.reduce(join, path, ""): found for path, found in missing.items()}
    with well_formed(name):
        return ModelConfiguration(parse_graph(form, name), digest, code, custom, keys)
