"""Write the activations of many inputs to one file, with memory that does not grow with their number.

An archive has one member per layer, but activations arrive input by input. So they are collected in a
scratch file with a record of constant size per input, in which each layer has a fixed offset; at the
end the rows of each layer are copied to the archive. Each value is written twice, but the number of
inputs need not be known in advance, and a failing input leaves no gap.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from numpy.lib import format as numpy_format

from actviz.activations.member_names import DESCRIPTION, PICTURES, MemberNames
from actviz.activations.metadata import ArrayEntry, SavedInput
from actviz.errors import InputError, escape
from actviz.gate.archive import ARRAYS
from actviz.gate.npy import is_supported
from actviz.records import sizes_text
from actviz.system import temporary_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.activations.metadata import ActivationMetadata
    from actviz.records import Activation, Sample

IN_MEMORY = 64 << 20
SMALL_IN_MEMORY = 4 << 20
CHUNK = 4 << 20
EPOCH = (1980, 1, 1, 0, 0, 0)
UNIX, PLAIN_FILE = 3, 0o100644 << 16
_NUMBERS = frozenset("biufc")


@dataclass(slots=True)
class _ArrayLayout:
    """The position of a layer in each record: `shape` of a row and `offset` in bytes.

    Strings have no constant size: `texts` has a line of JSON per input instead, and `width` is the
    length of the longest string so far.
    """

    entry: ArrayEntry
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int = 0
    texts: BinaryIO | None = None
    width: int = 1

    @property
    def row_bytes(self) -> int:
        return 0 if self.texts else int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class ActivationWriter:
    """Collects the activations of one input after another, then writes them to an `.npz` file.

    Parameters
    ----------
    folder
        Folder of the output; intermediate results of more than 64 MiB are kept there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = contextlib.ExitStack()
        self._records = self._scratch(IN_MEMORY)
        self._pictures = self._scratch(SMALL_IN_MEMORY)
        self._columns: dict[str, _ArrayLayout] | None = None
        self._record_bytes = 0
        self._samples: list[SavedInput] = []
        self.left_out: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the intermediate results."""
        self._files.close()

    @property
    def count(self) -> int:
        """The number of inputs collected."""
        return len(self._samples)

    @property
    def addresses(self) -> list[str]:
        """The addresses of the layers in the file."""
        return list(self._columns or ())

    def add(self, sample: Sample, activations: Mapping[str, Activation]) -> None:
        """Add the activations of one input, each with a batch axis of size 1.

        The first input determines which layers are stored (`left_out` has the reasons for the others)
        and their shapes.

        Raises
        ------
        InputError
            When a layer has another shape than for the first input; nothing is added.
        OutputError
            When the disk is full.
        """
        if self._columns is None:
            self._columns = self._layout(activations)
        rows = [(column, _storable(activations[address].values)) for address, column in self._columns.items()]
        for column, values in rows:
            if values.shape != (1, *column.shape) or _dtype(values) != column.dtype:
                raise InputError(self._other_shape(column, values, sample))
        with temporary_files.scratch_errors(self._folder):
            self._records.seek(self.count * self._record_bytes)
            for column, values in rows:
                if column.texts is not None:
                    texts = [_text(item) for item in values.ravel().tolist()]
                    column.width = max(column.width, *map(len, texts), 1)
                    column.texts.write(json.dumps(texts).encode("ascii") + b"\n")
                else:
                    self._records.write(_bytes(values))
            picture = sample.thumbnail
            if picture is not None:
                self._pictures.write(_bytes(picture))
        size = None if picture is None else (int(picture.shape[0]), int(picture.shape[1]))
        self._samples.append(
            SavedInput(sample.name, sample.fed, sample.digest, size, sample.words or (), sample.padding)
        )

    def write(self, file: BinaryIO, about: ActivationMetadata, *, compress: bool = False) -> None:
        """Write the archive to an empty, seekable file.

        `about` describes the model; arrays, inputs and reasons are added to it. Arrays that would be
        compressed so much that readers take them for a zip bomb are stored uncompressed.
        """
        from actviz.activations.metadata_json import to_json

        columns = self._columns or {}
        metadata = replace(
            about,
            entries={address: column.entry for address, column in columns.items()},
            samples=tuple(self._samples),
            left_out=self.left_out,
        )
        suspicious = self._archive(file, to_json(metadata), frozenset() if compress else None)
        if suspicious:
            file.seek(0)
            file.truncate()
            self._archive(file, to_json(metadata), suspicious)

    def _archive(self, file: BinaryIO, metadata: str, stored: frozenset[str] | None) -> frozenset[str]:
        """Write all members, compressed except those in `stored` (``None``: none is compressed).

        Return the members with a suspiciously high compression ratio.
        """
        with zipfile.ZipFile(file, "w") as archive:
            for name, header, size, chunks in self._members(metadata):
                info = zipfile.ZipInfo(name, EPOCH)
                info.create_system, info.external_attr = UNIX, PLAIN_FILE
                info.file_size = len(header) + size
                compress = stored is not None and name not in stored
                info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
                with archive.open(info, "w") as member:
                    member.write(header)
                    for chunk in chunks:
                        member.write(chunk)
            return frozenset(
                info.filename
                for info in archive.infolist()
                if info.file_size > max(ARRAYS.floor, ARRAYS.ratio * info.compress_size)
            )

    def _members(self, metadata: str) -> Iterator[tuple[str, bytes, int, Iterator[bytes]]]:
        """Yield name, header, size in bytes and content of every array."""
        text = np.array(metadata)
        yield _member(DESCRIPTION, text.dtype, (), iter([text.tobytes()]))
        sizes = [sample.picture for sample in self._samples if sample.picture is not None]
        if sizes:
            count = sum(rows * columns * 3 for rows, columns in sizes)
            shape = (len(sizes), *sizes[0], 3) if len(set(sizes)) == 1 else (count,)
            yield _member(PICTURES, np.dtype(np.uint8), shape, _read(self._pictures, 0, count))
        for column in (self._columns or {}).values():
            dtype = np.dtype(f"U{column.width}") if column.texts is not None else column.dtype
            rows = self._texts(column) if column.texts is not None else self._rows(column)
            yield _member(column.entry.key, dtype, (self.count, *column.shape), rows)

    def _rows(self, column: _ArrayLayout) -> Iterator[bytes]:
        for number in range(self.count):
            yield from _read(self._records, number * self._record_bytes + column.offset, column.row_bytes)

    def _texts(self, column: _ArrayLayout) -> Iterator[bytes]:
        lines = column.texts
        if lines is None:
            return
        lines.seek(0)
        for _ in range(self.count):
            yield np.array(json.loads(lines.readline()), f"U{column.width}").tobytes()

    def _layout(self, activations: Mapping[str, Activation]) -> dict[str, _ArrayLayout]:
        """Return the layout of the layers that can be stored, and note why others cannot."""
        columns: dict[str, _ArrayLayout] = {}
        keys = MemberNames()
        for address, activation in activations.items():
            reason = _obstacle(activation)
            if reason is not None:
                self.left_out[address] = reason
                continue
            values = _storable(activation.values)
            entry = ArrayEntry(
                keys.take(address),
                address,
                activation.kind,
                activation.axes,
                activation.signed,
                activation.weights_digest,
                activation.geometry,
                activation.step_order,
                activation.bounds,
            )
            texts = self._scratch(SMALL_IN_MEMORY) if values.dtype.kind in "OU" else None
            column = _ArrayLayout(entry, _dtype(values), values.shape[1:], self._record_bytes, texts)
            self._record_bytes += column.row_bytes
            columns[address] = column
        return columns

    def _other_shape(self, column: _ArrayLayout, values: NDArray[Any], sample: Sample) -> str:
        shape, expected = sizes_text(values.shape), sizes_text((None, *column.shape))
        first = escape(self._samples[0].name, 80)
        return f'{escape(sample.name, 80)}: layer "{escape(column.entry.address, 80)}" gives {shape}, but {expected} for {first}; one file holds inputs of one size, write this one to a file of its own.'

    def _scratch(self, in_memory: int) -> BinaryIO:
        return self._files.enter_context(temporary_files.scratch_file(self._folder, in_memory))


def _obstacle(activation: Activation) -> str | None:
    """Return why the output of a layer for one input cannot be stored, or ``None`` if it can."""
    values = activation.values
    if values.ndim == 0 or values.shape[0] != 1:
        return f"its values ({sizes_text((None, *values.shape))}) have no batch axis"
    if len(activation.axes) != values.ndim:
        return f"{len(activation.axes)} names for its {values.ndim} axes"
    if values.dtype.kind == "O":
        known = all(isinstance(item, (str, bytes)) for item in values.ravel().tolist())
        return None if known else "it gives Python objects"
    if is_supported(values.dtype, with_complex=True) or values.dtype.kind == "S" or _is_small_float(values.dtype):
        return None
    return f"the file format has no dtype {escape(str(values.dtype), 40)}"


def _is_small_float(dtype: np.dtype[Any]) -> bool:
    """Return True for bfloat16 and the float8 types of ml_dtypes, which NumPy cannot write."""
    return dtype.names is None and "float" in dtype.name and dtype.kind not in _NUMBERS


def _storable(values: NDArray[Any]) -> NDArray[Any]:
    """Return values in a dtype that a `.npy` file can have; strings as objects."""
    if values.dtype.kind == "S":
        return values.astype(object)
    if values.dtype.kind not in "OU" and _is_small_float(values.dtype):
        return values.astype(np.float32)
    return values


def _text(item: str | bytes) -> str:
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else item


def _dtype(values: NDArray[Any]) -> np.dtype[Any]:
    """Return the dtype of a column: object for strings of any width."""
    return np.dtype(object) if values.dtype.kind in "OU" else values.dtype.newbyteorder("=")


def _bytes(values: NDArray[Any]) -> memoryview:
    """Return the bytes of numbers, in C order and native byte order."""
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    return native.reshape(-1).view(np.uint8).data if native.size else memoryview(b"")


def _read(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    for position in range(start, start + size, CHUNK):
        file.seek(position)
        yield file.read(min(CHUNK, start + size - position))


def _member(
    key: str, dtype: np.dtype[Any], shape: tuple[int, ...], chunks: Iterator[bytes]
) -> tuple[str, bytes, int, Iterator[bytes]]:
    header = io.BytesIO()
    fields = {"descr": numpy_format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    numpy_format.write_array_header_1_0(header, fields)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return f"{key}.npy", header.getvalue(), size, chunks
