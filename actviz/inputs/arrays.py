"""`.npy` and `.npz` files: the header first, then the bytes, and never a pickle.

Everything a header declares is compared with the size of the file before memory is
asked for.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.lib import format as numpy_format

from actviz.errors import ActvizError, InputError, LimitError, UnsafeError, escape
from actviz.inputs.quiet import without_warnings
from actviz.inputs.sniff import model_refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 2 << 30
MAX_HEADER = 10_000
MAX_MEMBERS = 10_000
MAX_RANK = 32
# Deflate cannot do better than about 1,030: zeros in a small file are honest, many are not.
MAX_RATIO = 200
RATIO_FLOOR = 16 << 20
_PLAIN = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
_ENCRYPTED = 0x1
_MODEL_MEMBERS = frozenset({"config.json", "model.weights.h5", "metadata.json"})
_STORED_OR_DEFLATED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a `.npy` file declares, and where its data begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def data_bytes(self) -> int:
        """Size of the declared data (a Python integer: it cannot overflow)."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(head: bytes, size: int, path: str) -> Header:
    """Read and check the header of a `.npy` file of `size` bytes that begins with `head`.

    Raises
    ------
    UnsafeError
        When the array holds Python objects, which are pickles.
    LimitError
        When it declares more than is ever read.
    InputError
        When it is malformed, or declares another size than the file has.

    """
    header = _parse(head, path)
    if header.dtype.hasobject:
        message = f"{path}: pickled data (an array of Python objects), which can run any code when it is read; actviz never does, and no option allows it. Save plain numbers with numpy.save(file, array)."
        raise UnsafeError(message)
    if header.dtype.kind != "U" and header.dtype.str[1:] not in _PLAIN:
        raise InputError(_unsupported(path, header.dtype))
    if header.data_bytes > MAX_BYTES:
        message = f"{path}: the header declares {header.data_bytes:,} bytes {header.shape}, at most {MAX_BYTES:,} are read; give a smaller array."
        raise LimitError(message)
    held = size - header.start
    if held < header.data_bytes:
        message = f"{path}: truncated: {header.data_bytes:,} bytes of data declared, {max(held, 0):,} there; copy or save it again."
        raise InputError(message)
    if held > header.data_bytes:
        message = f"{path}: {held - header.data_bytes:,} bytes follow the array, which a .npy file cannot have; save it again with numpy.save."
        raise InputError(message)
    return header


def array_of(content: bytes, header: Header, path: str) -> NDArray[Any]:
    """Return the array of a checked file: native byte order, C order, not writable.

    Raises
    ------
    InputError
        When its bytes are not what the dtype allows.

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
        truth: NDArray[np.bool_] = array.view(np.uint8) != 0
        return truth
    return array


def read_archive(content: bytes, names: tuple[str, ...], path: str) -> dict[str, NDArray[Any]]:
    """Read the arrays that the inputs `names` need from a `.npz` archive.

    An archive with a single array serves a single input whatever its name; otherwise
    every input must be there by name. Other arrays are left unread.

    Raises
    ------
    ActvizError
        When the archive is malformed, unsafe, beyond a limit or lacks an input.

    """
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            members = _members(archive, path)
            chosen = _chosen(tuple(members), names, path)
            _check_total([members[key] for key in chosen.values()], path)
            return {name: _read_member(archive, members[key], f"{path}[{key}]") for name, key in chosen.items()}
    except ActvizError:
        raise
    except MemoryError:
        message = f"{path}: not enough memory to read it; give a smaller archive."
        raise LimitError(message) from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        RuntimeError,
        EOFError,
        OSError,
        LookupError,
        OverflowError,
    ):
        # All that zipfile and zlib raise on damaged bytes; their text is not repeated.
        message = f"{path}: the archive is truncated or damaged; save it again with numpy.savez."
        raise InputError(message) from None


def _parse(head: bytes, path: str) -> Header:
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
    return Header(shape, bool(fortran), dtype, stream.tell())


def _unsupported(path: str, dtype: np.dtype[Any]) -> str:
    name = dtype.name if dtype.names is None else "of records"
    return f"{path}: dtype {escape(name, 40)} not supported; save it as whole numbers, floats or booleans (array.astype('float32'))."


def _members(archive: zipfile.ZipFile, path: str) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays by key, after checking the directory of the archive alone."""
    entries = archive.infolist()
    files = [entry.filename for entry in entries]
    if _MODEL_MEMBERS & set(files):
        raise model_refusal(path)
    if len(entries) > MAX_MEMBERS:
        message = f"{path}: {len(entries):,} members, at most {MAX_MEMBERS:,} are read; give a smaller archive."
        raise LimitError(message)
    if len(set(files)) != len(files):
        message = f"{path}: two members of the archive have the same name, so what is read would depend on the reader; no option allows it. Save it again with numpy.savez."
        raise UnsafeError(message)
    arrays = {entry.filename.removesuffix(".npy"): entry for entry in entries if entry.filename.endswith(".npy")}
    if not arrays:
        message = f"{path}: a zip archive without a .npy array; an .npz from numpy.savez was expected."
        raise InputError(message)
    return arrays


def _chosen(keys: tuple[str, ...], names: tuple[str, ...], path: str) -> dict[str, str]:
    if len(names) == 1 and len(keys) == 1:
        return {names[0]: keys[0]}
    missing = [name for name in names if name not in keys]
    if missing:
        lacks = ", ".join(escape(name, 40) for name in missing[:5])
        holds = ", ".join(escape(key, 40) for key in keys[:8]) + (
            ", ..." if len(keys) > 8 else ""  # noqa: PLR2004  (eight are shown)
        )
        message = f"{path}: no array for the input {lacks}; it holds {holds}. Save it with numpy.savez(file, NAME=array) by the inputs' names."
        raise InputError(message)
    return {name: name for name in names}


def _check_total(entries: list[zipfile.ZipInfo], path: str) -> None:
    total = sum(entry.file_size for entry in entries)
    for entry in entries:
        packed = max(entry.compress_size, 1)
        if entry.file_size > max(RATIO_FLOOR, MAX_RATIO * packed):
            message = f"{path}: {packed:,} bytes unpack to {entry.file_size:,}, at most {MAX_RATIO} times as many are read; save it again with numpy.savez."
            raise LimitError(message)
    if total > MAX_BYTES:
        message = f"{path}: {total:,} bytes unpacked, at most {MAX_BYTES:,} are read; give smaller arrays."
        raise LimitError(message)


def _read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str) -> NDArray[Any]:
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _STORED_OR_DEFLATED:
        message = f"{path}: encrypted or compressed in an unusual way; save it again with numpy.savez."
        raise InputError(message)
    with archive.open(entry) as member:
        content = member.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        message = f"{path}: {len(content):,} bytes instead of the {entry.file_size:,} declared; save it again with numpy.savez."
        raise InputError(message)
    header = read_header(content[: MAX_HEADER + 16], len(content), path)
    return array_of(content, header, path)
