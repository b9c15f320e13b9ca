"""Metadata of a `.tflite` file: normalization of inputs, names of classes.

Metadata are a second FlatBuffer in a buffer of the model, by the schema of TensorFlow Lite
Support; the files that they name lie in a zip archive after the model. Both are read with the
bounded readers. Metadata do not change what a model computes, so damaged ones are ignored, and
`Metadata.damaged` is set.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.errors import ActvizError, ModelError
from actviz.gate.archive import ArchiveRules, ends_as_archive, open_archive
from actviz.gate.flatbuffer import FlatBuffer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.gate.flatbuffer import FlatBufferTable

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
NORMALIZATION = 1
LABELS = frozenset({2, 3})
"""Types of files with the names of the indices along an axis, or of the values, of a tensor."""
MOST_BYTES = 16 << 20
MOST_LABELS = 100_000
LABEL_BYTES = 1 << 20
APPENDED = ArchiveRules(
    ModelError,
    "get the file again",
    "a file that the metadata name was expected",
    100,
    LABEL_BYTES,
    MOST_BYTES,
    after=True,
)


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """Metadata of an input or output.

    `mean` and `std` are those of ``(x - mean) / std``, one number or one per channel; `labels`
    is the name of the file with the names of its classes (``""``: there is none).
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labels: str = ""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata of the inputs and outputs of a model, in the order of its graph."""

    inputs: tuple[TensorMetadata, ...] = ()
    outputs: tuple[TensorMetadata, ...] = ()
    damaged: bool = False


NO_METADATA = Metadata()


def read_metadata(root: FlatBufferTable, buffers: Sequence[tuple[int, int]]) -> Metadata:
    """Return the metadata of a model; `buffers` are the offset and length of each buffer."""
    try:
        for entry in root.children(6):
            if entry.text(0) == NAME:
                index = entry.integer(1, "<I")
                start, length = buffers[index] if index < len(buffers) else (0, 0)
                return _metadata(root.flat.content[start : start + min(length, MOST_BYTES)], root.flat.name)
    except ActvizError:
        return Metadata(damaged=True)
    return NO_METADATA


def read_labels(content: bytes, name: str, file: str) -> tuple[str, ...] | None:
    """Return the lines of a file in the archive after a model, ``None`` where it cannot be read.

    `content` is the whole model file and `name` its name for messages. The result is empty where the
    file is empty or has more than `MOST_LABELS` lines.
    """
    stream = io.BytesIO(content)
    if not ends_as_archive(stream, len(content)):
        return None
    try:
        archive = open_archive(stream, name, APPENDED)
        text = archive.read(file, LABEL_BYTES).decode("utf-8")
    except (ActvizError, UnicodeDecodeError):
        return None
    lines = tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
    return lines if len(lines) <= MOST_LABELS and any(lines) else ()


def _metadata(content: bytes, name: str) -> Metadata:
    if content[4:8] != IDENTIFIER:
        return Metadata(damaged=True)
    graphs = FlatBuffer(content, name).root().children(3)
    if not graphs:
        return Metadata()
    inputs, outputs = (tuple(_tensor(table) for table in graphs[0].children(number)) for number in (2, 3))
    return Metadata(inputs, outputs)


def _tensor(table: FlatBufferTable) -> TensorMetadata:
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    for unit in table.children(4):
        options = unit.child(1) if unit.integer(0, "<B") == NORMALIZATION else None
        if options is not None:
            mean, std = (tuple(float(value) for value in options.array(number, "<f4")[:64]) for number in (0, 1))
    files = [file.text(0) for file in table.children(6) if file.integer(2, "<b") in LABELS]
    return TensorMetadata(mean, std, files[0] if files else "")
