"""Read TensorFlow checkpoints without TensorFlow: an index and shards of raw values.

The index is a sorted string table in LevelDB's format that maps each key to the shard, offset
and size of a tensor. Only the requested tensors are read from the shards.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from actviz.errors import LimitError, ModelChangedError, ModelError, UnsafeError, escape
from actviz.formats.nonfinite_count import NonfiniteCount
from actviz.gate.protobuf import MalformedProtobuf, all_bytes, as_bytes, as_number, fields, one_number, signed, varint
from actviz.gate.trust import NO_FLAG
from actviz.system.file_system import FileStamp, exists, is_link, open_regular, stamp

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

INDEX_BYTES = 256 << 20
TENSOR_BYTES = 8 << 30
FOOTER_BYTES = 48
BLOCK_TRAILER = 5
TABLE_MAGIC = 0xDB4775248B80FB57
VARIABLES = "variables"
"""The folder of a SavedModel's checkpoint, and the name of the checkpoint in it."""
STRING = 7
BIG_ENDIAN = 1
DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64", 9: "int64",
    10: "bool", 14: "bfloat16", 17: "uint16", 18: "complex128", 19: "float16", 20: "resource", 21: "variant",
    22: "uint32", 23: "uint64", 24: "float8_e5m2", 25: "float8_e4m3fn", 29: "int4", 30: "uint4",
}  # fmt: skip
"""Names of TensorFlow's ``DataType`` enum; reference types are higher by 100."""
ML_DTYPES = frozenset({"bfloat16", "float8_e5m2", "float8_e4m3fn"})


@dataclass(frozen=True, slots=True)
class CheckpointTensor:
    """The location of one tensor: its shard, and `size` bytes from `offset` on."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    sliced: bool


class Checkpoint:
    """The tensors of a checkpoint, read on request.

    Parameters
    ----------
    folder
        The folder that holds the index and its shards.
    name
        The model's name in messages.
    prefix
        The name of the checkpoint: that of the index without ``.index``.

    Raises
    ------
    ModelError
        When the index is missing or damaged.
    """

    def __init__(self, folder: Path, name: str, prefix: str = VARIABLES) -> None:
        self._folder = folder
        self._name = name
        self.prefix = prefix
        # In messages, files of a SavedModel are named with their folder, which is not the model's.
        self._shown = f"{VARIABLES}/" if prefix == VARIABLES else ""
        self._files: dict[int, tuple[BinaryIO, FileStamp]] = {}
        self._hash = hashlib.sha256()
        self.nonfinite = NonfiniteCount()
        if self._shown:
            refuse_link(folder, name)
        index = folder / f"{prefix}.index"
        if not exists(index):
            raise self._incomplete(index)
        refuse_link(index, name)
        file, status = open_regular(index, ModelError, "index of variables")
        with file:
            if status.size > INDEX_BYTES:
                raise LimitError(f"{name}: the index of variables has {status.size:,} bytes (limit {INDEX_BYTES:,}).")
            content = file.read(INDEX_BYTES)
        try:
            self.tensors, self._shards = _read_index(memoryview(content))
        except (MalformedProtobuf, IndexError, struct.error, UnicodeDecodeError, ValueError):
            shown = escape(self._shown + index.name, 80)
            message = f"{name}: {shown} is truncated or damaged; copy or save the model again."
            raise ModelError(message) from None

    def find(self, key: str) -> CheckpointTensor:
        """Return the location of a tensor.

        Raises
        ------
        ModelError
            When the checkpoint does not contain the key.
        """
        if key not in self.tensors:
            raise ModelError(
                f'{self._name}: the variable "{escape(key, 80)}" is missing from the checkpoint; save the model again.'
            )
        return self.tensors[key]

    def read(self, key: str, *, hashed: bool = True) -> NDArray[np.generic]:
        """Read one tensor; strings are returned as an array of bytes objects.

        Raises
        ------
        ModelError
            When the key is missing, or the shard does not match the index.
        LimitError
            When the tensor is larger than `TENSOR_BYTES`.
        """
        stored = self.find(key)
        content = self._content(stored)
        if hashed:
            self._hash.update(f"{key}{stored.dtype}{stored.shape}".encode("utf-8", "surrogateescape"))
            self._hash.update(content)
        try:
            values = _decode_tensor(stored, content)
        except (MalformedProtobuf, ValueError, IndexError):
            raise self._damaged(stored) from None
        if hashed:
            self.nonfinite.count(values)
        return values

    def digest(self) -> str:
        """Return the SHA-256 (hexadecimal) of everything read so far."""
        return self._hash.hexdigest()

    def check_unchanged(self) -> None:
        """Raise ModelChangedError if a shard was modified since it was opened."""
        for file, before in self._files.values():
            if stamp(file) != before:
                raise ModelChangedError(self._name)

    def close(self) -> None:
        """Close the shards."""
        for file, _ in self._files.values():
            file.close()

    def _content(self, stored: CheckpointTensor) -> bytes:
        if stored.sliced:
            message = f'{self._name}: the variable "{escape(stored.key, 80)}" is saved in slices, which are not read; save the model again without partitioned variables.'
            raise ModelError(message)
        if stored.size > TENSOR_BYTES:
            message = f'{self._name}: the variable "{escape(stored.key, 80)}" has {stored.size:,} bytes (limit {TENSOR_BYTES:,}).'
            raise LimitError(message)
        file, status = self._shard(stored)
        if stored.offset + stored.size > status.size:
            raise self._damaged(stored)
        file.seek(stored.offset)
        content = file.read(stored.size)
        if len(content) != stored.size:
            raise self._damaged(stored)
        return content

    def _shard(self, stored: CheckpointTensor) -> tuple[BinaryIO, FileStamp]:
        if not 0 <= stored.shard < self._shards:
            raise self._damaged(stored)
        if stored.shard not in self._files:
            path = self._folder / f"{self.prefix}.data-{stored.shard:05d}-of-{self._shards:05d}"
            if not exists(path):
                raise self._incomplete(path)
            refuse_link(path, self._name)
            self._files[stored.shard] = open_regular(path, ModelError, "file of variables")
        return self._files[stored.shard]

    def _incomplete(self, path: Path) -> ModelError:
        what = "the SavedModel's variables are missing" if self._shown else "a file of the checkpoint is missing"
        message = f"{self._name}: {what} (no {escape(self._shown + path.name, 80)}); copy the whole folder."
        return ModelError(message)

    def _damaged(self, stored: CheckpointTensor) -> ModelError:
        message = f'{self._name}: the variable "{escape(stored.key, 80)}" is truncated or damaged in the checkpoint; copy or save the model again.'
        return ModelError(message)


def refuse_link(path: Path, name: str) -> None:
    """Raise UnsafeError if a file of the model is a symbolic link, which may point outside its folder."""
    if is_link(path):
        raise UnsafeError(f'{name}: refused: "{escape(path.name, 80)}" in the folder is a link; {NO_FLAG}.')


def _read_index(content: memoryview) -> tuple[dict[str, CheckpointTensor], int]:
    """Return the tensors by key, and the number of shards."""
    footer = content[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != TABLE_MAGIC:
        raise MalformedProtobuf
    position = varint(footer, varint(footer, 0)[1])[1]  # skip the handle of the meta index
    tensors: dict[str, CheckpointTensor] = {}
    shards = 1
    for _, handle in _table_entries(_table_block(content, *_block_handle(footer, position))):
        for key, value in _table_entries(_table_block(content, *_block_handle(handle, 0))):
            if not key:
                shards = one_number(value, 1)
                if one_number(value, 2) == BIG_ENDIAN:
                    raise MalformedProtobuf
            elif key[0]:  # keys of slices start with a zero byte
                stored = _parse_tensor(key.decode("utf-8"), value)
                tensors[stored.key] = stored
    return tensors, shards


def _block_handle(content: memoryview, position: int) -> tuple[int, int]:
    offset, position = varint(content, position)
    return offset, varint(content, position)[0]


def _table_block(content: memoryview, offset: int, size: int) -> memoryview:
    """Return the content of one block; TensorFlow writes the index uncompressed."""
    if offset + size + BLOCK_TRAILER > len(content) or content[offset + size] != 0:
        raise MalformedProtobuf
    return content[offset : offset + size]


def _table_entries(block: memoryview) -> list[tuple[bytes, memoryview]]:
    """Return the (key, value) pairs of a block, whose keys are prefix-compressed."""
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise MalformedProtobuf
    entries = []
    position, key = 0, b""
    while position < end:
        shared, position = varint(block, position)
        suffix_size, position = varint(block, position)
        value_size, position = varint(block, position)
        if shared > len(key) or position + suffix_size + value_size > end:
            raise MalformedProtobuf
        key = key[:shared] + bytes(block[position : position + suffix_size])
        position += suffix_size
        entries.append((key, block[position : position + value_size]))
        position += value_size
    return entries


def _parse_tensor(key: str, message: memoryview) -> CheckpointTensor:
    values = dict(fields(message))
    shape = parse_shape(as_bytes(values[2])) if 2 in values else ()  # noqa: PLR2004  (the number of the field)
    if shape is None or any(size is None for size in shape):
        raise MalformedProtobuf
    return CheckpointTensor(
        key,
        DTYPES.get(as_number(values.get(1, 0)), ""),
        tuple(size or 0 for size in shape),
        as_number(values.get(3, 0)),
        as_number(values.get(4, 0)),
        as_number(values.get(5, 0)),
        7 in values,  # noqa: PLR2004  (the number of the field)
    )


def parse_shape(message: memoryview) -> tuple[int | None, ...] | None:
    """Return a ``TensorShapeProto``: ``None`` for an unknown size, and for a shape of unknown rank."""
    if one_number(message, 3):
        return None
    sizes = [signed(one_number(dimension, 1)) for dimension in all_bytes(message, 2)]
    return tuple(None if size < 0 else size for size in sizes)


def numpy_dtype(name: str) -> np.dtype[np.generic]:
    """Return the NumPy dtype of a name; bfloat16 and float8 come from `ml_dtypes`."""
    import numpy as np

    if name in ML_DTYPES:
        import ml_dtypes

        dtype: np.dtype[np.generic] = np.dtype(getattr(ml_dtypes, name))
        return dtype
    return np.dtype(name)


def _decode_tensor(stored: CheckpointTensor, content: bytes) -> NDArray[np.generic]:
    import numpy as np

    count = math.prod(stored.shape)
    if stored.dtype == "string":
        return np.array(_decode_strings(memoryview(content), count), object).reshape(stored.shape)
    if not stored.dtype or stored.dtype in {"resource", "variant", "int4", "uint4"}:
        raise MalformedProtobuf
    dtype = numpy_dtype(stored.dtype)
    if count * dtype.itemsize != stored.size:
        raise MalformedProtobuf
    return np.frombuffer(content, dtype).reshape(stored.shape)


def _decode_strings(content: memoryview, count: int) -> list[bytes]:
    """Return strings: varint lengths, a checksum of four bytes, then the concatenated bytes."""
    if count > len(content):
        raise MalformedProtobuf
    position, lengths = 0, []
    for _ in range(count):
        length, position = varint(content, position)
        lengths.append(length)
    position += 4
    if position + sum(lengths) != len(content):
        raise MalformedProtobuf
    strings = []
    for length in lengths:
        strings.append(bytes(content[position : position + length]))
        position += length
    return strings
