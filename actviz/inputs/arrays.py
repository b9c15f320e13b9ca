"""`.npy` and `.npz` to arrays: headers first, never a pickle, sizes before memory."""

from __future__ import annotations

import io
import math
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from actviz.errors import InputError, LimitError, UnsafeError, escape

if TYPE_CHECKING:
    from numpy.typing import NDArray

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"
MAXIMUM_BYTES = 8 << 30
MAXIMUM_RATIO = 100
SMALL = 1 << 20
MAXIMUM_HEADER = 10_000
KINDS = "biufU"


def read_npy(file: BinaryIO, name: str, size: int) -> NDArray[Any]:
    """Read one array from a stream of `size` bytes, in native byte order and C layout.

    Raises
    ------
    InputError
        For a malformed header, missing or trailing bytes, or a dtype that is no number.
    UnsafeError
        For arrays of Python objects, which are pickles.
    LimitError
        For arrays that declare more than the limit.
    """
    shape, fortran, dtype = _header(file, name)
    if dtype.hasobject:
        message = f"{name}: refused: it holds pickled data (Python objects), which can run any code; save plain numbers with numpy.save."
        raise UnsafeError(message)
    if dtype.kind not in KINDS:
        message = f"{name}: dtype {escape(str(dtype), 60)} is not supported; save real numbers, such as float32."
        raise InputError(message)
    if any(axis < 0 for axis in shape):
        message = f"{name}: the header has a negative size; the file is damaged."
        raise InputError(message)
    declared = math.prod(shape) * dtype.itemsize
    stored = size - file.tell()
    if declared > MAXIMUM_BYTES:
        message = f"{name}: the header declares {declared:,} bytes (limit {MAXIMUM_BYTES:,}); split the array."
        raise LimitError(message)
    if declared != stored:
        message = f"{name}: the header declares {declared:,} bytes of values and {stored:,} follow; the file is truncated or damaged."
        raise InputError(message)
    content = file.read(declared)
    if len(content) != declared:
        message = f"{name}: {len(content):,} of {declared:,} bytes could be read; the file is truncated."
        raise InputError(message)
    flat = np.frombuffer(content, dtype)
    values = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return np.ascontiguousarray(values, dtype.newbyteorder("="))


def _header(file: BinaryIO, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(file)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = reader(file, max_header_size=MAXIMUM_HEADER)
        return tuple(int(axis) for axis in shape), bool(fortran), dtype
    except (
        ValueError,
        TypeError,
        SyntaxError,
        EOFError,
        OverflowError,
        MemoryError,
        RecursionError,
        OSError,
    ):
        message = f"{name}: the header of the array is malformed; save it again with numpy.save."
        raise InputError(message) from None


def read_npz(file: BinaryIO, name: str) -> dict[str, NDArray[Any]]:
    """Read every array of an `.npz` archive by name.

    Raises
    ------
    InputError, UnsafeError, LimitError
        As `read_npy`; also for damaged archives, duplicate members and zip bombs.
    """
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError):
        message = f"{name}: this archive is truncated or damaged; save it again with numpy.savez."
        raise InputError(message) from None
    if len({entry.filename for entry in entries}) != len(entries):
        message = f"{name}: refused: the archive holds two arrays of one name; save it again with numpy.savez."
        raise UnsafeError(message)
    if sum(entry.file_size for entry in entries) > MAXIMUM_BYTES:
        message = f"{name}: the archive unpacks to more than {MAXIMUM_BYTES:,} bytes; split it."
        raise LimitError(message)
    return {entry.filename.removesuffix(".npy"): _member(archive, entry, name) for entry in entries}


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    shown = f"{name}[{escape(entry.filename, 60)}]"
    if entry.file_size > SMALL and entry.file_size > MAXIMUM_RATIO * max(entry.compress_size, 1):
        message = f"{shown}: grows {entry.file_size // max(entry.compress_size, 1):,} times when unpacked (limit {MAXIMUM_RATIO}): a zip bomb."
        raise LimitError(message)
    try:
        with archive.open(entry) as stream:
            content = stream.read(entry.file_size + 1)
    except (
        zipfile.BadZipFile,
        OSError,
        ValueError,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ):
        message = f"{shown}: cannot be unpacked; save the archive again with numpy.savez."
        raise InputError(message) from None
    if not content.startswith(NPY_MAGIC):
        message = f"{shown}: is no array; an archive made by numpy.savez was expected."
        raise InputError(message)
    return read_npy(io.BytesIO(content), shown, len(content))
