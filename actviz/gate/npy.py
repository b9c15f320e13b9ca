"""The `.npy` format, without pickles.

Everything that a header declares is compared with the size of the file before memory is
allocated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.lib import format as numpy_format

from actviz.errors import InputError, LimitError, UnsafeError, escape
from actviz.system.warning_filters import without_warnings

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 2 << 30
MAX_HEADER = 10_000
HEAD_BYTES = MAX_HEADER + 16
MAX_RANK = 32
MAX_CHARACTER = 0x10FFFF
_PLAIN = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
_COMPLEX = frozenset({"c8", "c16"})


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """The header of a `.npy` file; `start` is the offset of the data."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def data_bytes(self) -> int:
        """Return the size of the declared data (a Python integer, which cannot overflow)."""
        return math.prod(self.shape) * self.dtype.itemsize


def is_supported(dtype: np.dtype[Any], *, with_complex: bool = False) -> bool:
    """Return True for dtypes that are read: text, booleans, integers, floats, and complex numbers if asked for."""
    name = dtype.str[1:]
    return dtype.kind == "U" or name in _PLAIN or (with_complex and name in _COMPLEX)


def read_header(head: bytes, size: int, path: str, limit: int = MAX_BYTES, *, with_complex: bool = False) -> NpyHeader:
    """Read and check the header of a `.npy` file of `size` bytes that begins with `head`.

    At most `limit` bytes of data may be declared.

    Raises
    ------
    UnsafeError
        When the array holds Python objects, which are pickles.
    LimitError
        When it declares more than `limit` bytes.
    InputError
        When it is malformed, or declares another size than the file has.

    """
    header = _parse(head, path)
    if header.dtype.hasobject:
        message = f"{path}: pickled data (an array of Python objects), which can run any code when it is read; actviz never does, and no option allows it. Save plain numbers with numpy.save(file, array)."
        raise UnsafeError(message)
    if not is_supported(header.dtype, with_complex=with_complex):
        raise InputError(_unsupported(path, header.dtype))
    if header.data_bytes > limit:
        message = f"{path}: the header declares {header.data_bytes:,} bytes {header.shape}, at most {limit:,} are read; give a smaller array."
        raise LimitError(message)
    held = size - header.start
    if held < header.data_bytes:
        message = f"{path}: truncated: {header.data_bytes:,} bytes of data declared, {max(held, 0):,} there; copy or save it again."
        raise InputError(message)
    if held > header.data_bytes:
        message = f"{path}: {held - header.data_bytes:,} bytes follow the array, which a .npy file cannot have; save it again with numpy.save."
        raise InputError(message)
    return header


def array_of(content: bytes, header: NpyHeader, path: str) -> NDArray[Any]:
    """Return the array of a checked file in native byte order and C order, not writable.

    Raises
    ------
    InputError
        When its bytes are not valid for the dtype.

    """
    order = "F" if header.fortran else "C"
    try:
        if not header.data_bytes:
            return np.empty(header.shape, header.dtype.newbyteorder("="))
        flat = np.frombuffer(content, header.dtype, offset=header.start)
        shaped = flat.reshape(header.shape, order=cast("Any", order))
        array = np.ascontiguousarray(shaped, header.dtype.newbyteorder("="))
    except ValueError:
        message = f"{path}: malformed data; save it again with numpy.save."
        raise InputError(message) from None
    array = array.reshape(header.shape)
    if array.dtype.kind == "b":
        booleans: NDArray[np.bool_] = array.view(np.uint8) != 0
        return booleans
    if array.dtype.kind == "U" and array.size and array.reshape(-1).view(np.uint32).max() > MAX_CHARACTER:
        message = f"{path}: a text holds numbers that are not characters; save it again with numpy.save."
        raise InputError(message)
    return array


def _parse(head: bytes, path: str) -> NpyHeader:
    malformed = f"{path}: malformed .npy header; save the array again with numpy.save."
    major, width = head[6:7], 2 if head[6:7] == b"\x01" else 4
    declared = int.from_bytes(head[8 : 8 + width], "little")
    if major not in {b"\x01", b"\x02", b"\x03"}:
        raise InputError(malformed)
    if declared > MAX_HEADER:
        message = f"{path}: a .npy header of {declared:,} bytes, at most {MAX_HEADER:,} are read; save the array again with numpy.save."
        raise InputError(message)
    stream = BytesIO(head)
    read = numpy_format.read_array_header_1_0 if width == 2 else numpy_format.read_array_header_2_0  # noqa: PLR2004  (bytes)
    try:
        numpy_format.read_magic(stream)
        with without_warnings():
            shape, fortran, dtype = read(stream, max_header_size=MAX_HEADER)
    except Exception:  # noqa: BLE001  (numpy's parser raises anything on a malformed header, and hints at pickles)
        raise InputError(malformed) from None
    if any(isinstance(size, bool) or size < 0 for size in shape) or len(shape) > MAX_RANK:
        raise InputError(malformed)
    return NpyHeader(shape, bool(fortran), dtype, stream.tell())


def _unsupported(path: str, dtype: np.dtype[Any]) -> str:
    name = dtype.name if dtype.names is None else "of records"
    return f"{path}: dtype {escape(name, 40)} not supported; save it as whole numbers, floats or booleans (array.astype('float32'))."
