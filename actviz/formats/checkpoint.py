"""TensorFlow's checkpoints, read without TensorFlow: an index, and shards of raw numbers.

The index is a sorted table of LevelDB's format whose values say where each tensor lies. Only
what is asked for is read from the shards.
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
"""TensorFlow's numbers of dtypes; those of references to variables are higher by 100."""
NOT_OF_NUMPY = frozenset({"bfloat16", "float8_e5m2", "float8_e4m3fn"})


@dataclass(frozen=True, slots=True)
class CheckpointTensor:
    """Where one tensor lies: its shard, and bytes from `offset` on."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    sliced: bool


class Checkpoint:
    """The tensors of a checkpoint.

    Parameters
    ----------
    folder
        The folder that holds ``variables.index`` and its shards.
    name
        The model's name in messages.

    Raises
    ------
    ModelError
        When the index is missing or damaged.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._files: dict[int, tuple[BinaryIO, FileStamp]] = {}
        self._hash = hashlib.sha256()
        self.finite = NonfiniteCount()
        refuse_link(folder, name)
        index = folder / f"{VARIABLES}.index"
        if not exists(index):
            message = (
                f"{name}: the SavedModel's variables are missing (no variables/variables.index); copy the whole folder."
            )
            raise ModelError(message)
        refuse_link(index, name)
        file, status = open_regular(index, ModelError, "index of variables")
        with file:
            if status.size > INDEX_BYTES:
                message = f"{name}: the index of variables has {status.size:,} bytes (limit {INDEX_BYTES:,})."
                raise LimitError(message)
            content = file.read(INDEX_BYTES)
        try:
            self.tensors, self._shards = _read_index(memoryview(content))
        except (MalformedProtobuf, IndexError, struct.error, UnicodeDecodeError, ValueError):
            message = f"{name}: variables/variables.index is truncated or damaged; copy or save the model again."
            raise ModelError(message) from None

    def read(self, key: str, *, hashed: bool = True) -> NDArray[np.generic]:
        """Read one tensor; texts come as an array of bytes objects.

        Raises
        ------
        ModelError
            When there is none, or the shard does not hold what the index says.
        LimitError
            When it declares more bytes than are read.
        """
        stored = self.tensors.get(key)
        if stored is None:
            message = (
                f'{self._name}: the variable "{escape(key, 80)}" is missing from the checkpoint; save the model again.'
            )
            raise ModelError(message)
        content = self._content(stored)
        if hashed:
            self._hash.update(f"{key}{stored.dtype}{stored.shape}".encode("utf-8", "surrogateescape"))
            self._hash.update(content)
        try:
            values = _array(stored, content)
        except (MalformedProtobuf, ValueError, IndexError):
            raise self._damaged(stored) from None
        if hashed:
            self.finite.count(values)
        return values

    def digest(self) -> str:
        """Return the SHA-256 (hexadecimal) of everything read so far."""
        return self._hash.hexdigest()

    def check_unchanged(self) -> None:
        """Refuse shards that were written to since they were opened."""
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
            path = self._folder / f"{VARIABLES}.data-{stored.shard:05d}-of-{self._shards:05d}"
            if not exists(path):
                message = f"{self._name}: the SavedModel's variables are missing (no variables/{path.name}); copy the whole folder."
                raise ModelError(message)
            refuse_link(path, self._name)
            self._files[stored.shard] = open_regular(path, ModelError, "file of variables")
        return self._files[stored.shard]

    def _damaged(self, stored: CheckpointTensor) -> ModelError:
        message = f'{self._name}: the variable "{escape(stored.key, 80)}" is truncated or damaged in the checkpoint; copy or save the model again.'
        return ModelError(message)


def refuse_link(path: Path, name: str) -> None:
    """Refuse a member of a folder that is a link, and so may lead out of it."""
    if is_link(path):
        message = (
            f'{name}: refused: "{escape(path.name, 80)}" in the folder is a link; there is no flag that allows it.'
        )
        raise UnsafeError(message)


def _read_index(content: memoryview) -> tuple[dict[str, CheckpointTensor], int]:
    """Return every tensor by key and the number of shards."""
    footer = content[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != TABLE_MAGIC:
        raise MalformedProtobuf
    place = varint(footer, varint(footer, 0)[1])[1]  # behind the handle of the meta index
    tensors: dict[str, CheckpointTensor] = {}
    shards = 1
    for _, handle in _entries(_block(content, *_handle(footer, place))):
        for key, value in _entries(_block(content, *_handle(handle, 0))):
            if not key:
                shards = one_number(value, 1)
                if one_number(value, 2) == BIG_ENDIAN:
                    raise MalformedProtobuf
            elif key[0]:  # keys of slices begin with 0
                stored = _stored(key.decode("utf-8"), value)
                tensors[stored.key] = stored
    return tensors, shards


def _handle(content: memoryview, place: int) -> tuple[int, int]:
    offset, place = varint(content, place)
    return offset, varint(content, place)[0]


def _block(content: memoryview, offset: int, size: int) -> memoryview:
    """Return one block; TensorFlow writes the index of a checkpoint uncompressed."""
    if offset + size + BLOCK_TRAILER > len(content) or content[offset + size] != 0:
        raise MalformedProtobuf
    return content[offset : offset + size]


def _entries(block: memoryview) -> list[tuple[bytes, memoryview]]:
    """Return the entries of a block: a key shares its beginning with the one before."""
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise MalformedProtobuf
    found = []
    place, key = 0, b""
    while place < end:
        shared, place = varint(block, place)
        own, place = varint(block, place)
        size, place = varint(block, place)
        if shared > len(key) or place + own + size > end:
            raise MalformedProtobuf
        key = key[:shared] + bytes(block[place : place + own])
        place += own
        found.append((key, block[place : place + size]))
        place += size
    return found


def _stored(key: str, message: memoryview) -> CheckpointTensor:
    values = dict(fields(message))
    shape = shape_of(as_bytes(values[2])) if 2 in values else ()  # noqa: PLR2004  (the number of the field)
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


def shape_of(message: memoryview) -> tuple[int | None, ...] | None:
    """Return a shape: ``None`` for a free size, and for a shape of which not even the rank is known."""
    if one_number(message, 3):
        return None
    sizes = [signed(one_number(dimension, 1)) for dimension in all_bytes(message, 2)]
    return tuple(None if size < 0 else size for size in sizes)


def numpy_dtype(name: str) -> np.dtype[np.generic]:
    """Return the numpy dtype of a name, those of machine learning included."""
    import numpy as np

    if name in NOT_OF_NUMPY:
        import ml_dtypes

        found: np.dtype[np.generic] = np.dtype(getattr(ml_dtypes, name))
        return found
    return np.dtype(name)


def _array(stored: CheckpointTensor, content: bytes) -> NDArray[np.generic]:
    import numpy as np

    count = math.prod(stored.shape)
    if stored.dtype == "string":
        return np.array(_texts(memoryview(content), count), object).reshape(stored.shape)
    if not stored.dtype or stored.dtype in {"resource", "variant", "int4", "uint4"}:
        raise MalformedProtobuf
    dtype = numpy_dtype(stored.dtype)
    if count * dtype.itemsize != stored.size:
        raise MalformedProtobuf
    return np.frombuffer(content, dtype).reshape(stored.shape)


def _texts(content: memoryview, count: int) -> list[bytes]:
    """Return texts: the lengths of all, a checksum of four bytes, then one behind the other."""
    if count > len(content):
        raise MalformedProtobuf
    place, lengths = 0, []
    for _ in range(count):
        length, place = varint(content, place)
        lengths.append(length)
    place += 4
    if place + sum(lengths) != len(content):
        raise MalformedProtobuf
    found = []
    for length in lengths:
        found.append(bytes(content[place : place + length]))
        place += length
    return found
