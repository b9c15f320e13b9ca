"""The Keras configuration that a SavedModel of TensorFlow 2.0 to 2.15 carries.

Since TensorFlow 2.5 it is in `keras_metadata.pb`; before, in the graph of objects inside
`saved_model.pb`. Models that were exported, subclassed or saved by other means have none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, LimitError, ModelError
from actviz.formats.checkpoint import refuse_link
from actviz.formats.savedmodel.folder import SAVED_MODEL, read_saved_model, refuse_text_form
from actviz.formats.savedmodel.vocabulary import words_of_object
from actviz.gate import MODELS, parse_json
from actviz.gate.protobuf import MalformedProtobuf, all_bytes, one_text
from actviz.system.file_system import exists, read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actviz.formats.savedmodel.proto import MetaGraph

METADATA_BYTES = 256 << 20
METADATA = "keras_metadata.pb"
KERAS_OBJECTS = ("_tf_keras_network", "_tf_keras_sequential", "_tf_keras_model")


@dataclass(frozen=True)
class KerasMetadata:
    """A model's configuration as JSON, the Keras version that wrote it, and the file that holds it.

    `words` gives the vocabulary of a layer by its path of attributes.
    """

    configuration: bytes
    version: str
    source: Path
    words: Callable[[tuple[str, ...]], list[str] | None]


def keras_metadata(path: Path, limit: int) -> KerasMetadata | None:
    """Return the configuration of a Functional or Sequential model in a SavedModel folder.

    ``None`` where there is none: layers are then only known to the graph.

    Raises
    ------
    ModelError, LimitError
        When it is damaged or larger than `limit` bytes.
    """
    refuse_text_form(path)
    source = path / METADATA
    if exists(source):
        text = _of_metadata_file(source, limit, path.name)
    else:
        source = path / SAVED_MODEL
        text = _of_object_graph(path)
    if not text:
        return None
    if len(text) > limit:
        message = f"{path.name}: the configuration of the model has {len(text):,} bytes (limit {limit:,})."
        raise LimitError(message)
    metadata: Any = parse_json(text.encode("utf-8", "surrogateescape"), path.name)
    model = metadata.get("model_config") if isinstance(metadata, dict) else None
    if not isinstance(model, dict) or model.get("class_name") not in MODELS:
        return None
    version = str(metadata.get("keras_version") or "2")
    return KerasMetadata(
        json.dumps(model).encode(), version, source, lambda attributes: words_of_object(path, attributes)
    )


def _of_metadata_file(source: Path, limit: int, name: str) -> str:
    refuse_link(source, name)
    content = memoryview(read_bytes(source, limit, ModelError))
    try:
        return next((one_text(node, 5) for node in all_bytes(content, 1) if one_text(node, 3) == "root"), "")
    except MalformedProtobuf:
        message = f"{name}: {METADATA} is truncated or damaged; copy or save the model again."
        raise ModelError(message) from None


def _of_object_graph(path: Path) -> str:
    for meta in read_saved_model(path):
        root = meta.objects[0] if meta.objects else None
        if root is not None and root.identifier in KERAS_OBJECTS and root.metadata:
            return root.metadata
    return ""


def classes_of(path: Path, meta: MetaGraph) -> dict[str, str]:
    """Return the classes of a SavedModel's Keras layers by name, as far as it tells them.

    Names that two layers of different classes have are left out. Code that a class would
    need is not asked for: only the words are read.
    """
    texts = _every_metadata(path) or [item.metadata for item in meta.objects if item.identifier.startswith("_tf_keras")]
    classes: dict[str, str] = {}
    ambiguous = set()
    for text in texts:
        try:
            layer = parse_json(text.encode("utf-8", "surrogateescape"), path.name) if text else None
        except ActvizError:
            continue
        if isinstance(layer, dict) and isinstance(layer.get("name"), str) and isinstance(layer.get("class_name"), str):
            kind = layer["class_name"].rpartition(">")[2]
            if classes.setdefault(layer["name"], kind) != kind:
                ambiguous.add(layer["name"])
    return {name: kind for name, kind in classes.items() if name not in ambiguous}


def _every_metadata(path: Path) -> list[str]:
    source = path / METADATA
    if not exists(source):
        return []
    refuse_link(source, path.name)
    try:
        return [one_text(node, 5) for node in all_bytes(memoryview(read_bytes(source, METADATA_BYTES, ModelError)), 1)]
    except MalformedProtobuf:
        return []
