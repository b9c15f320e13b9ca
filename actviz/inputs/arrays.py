"""`.npz` files: the directory first, then only the arrays that are needed, and never a pickle."""

from __future__ import annotations

import zipfile
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, InputError, LimitError, UnsafeError, escape
from actviz.gate.archive import check_member_count
from actviz.gate.file_type import model_refusal
from actviz.gate.npy import HEAD_BYTES, MAX_BYTES, array_of, read_header

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Deflate cannot do better than about 1,030: zeros in a small file are honest, many are not.
MAX_RATIO = 200
RATIO_FLOOR = 16 << 20
_ENCRYPTED = 0x1
_MODEL_MEMBERS = frozenset({"config.json", "model.weights.h5", "metadata.json"})
_STORED_OR_DEFLATED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


def read_archive(content: bytes, names: tuple[str, ...], path: str) -> dict[str, NDArray[Any]]:
    """Read the arrays that the inputs `names` need from a `.npz` archive.

    An archive with a single array serves a single input whatever its name; otherwise
    every input must be there by name. Other arrays are left unread.

    Raises
    ------
    ActvizError
        When the archive is malformed, unsafe, beyond a limit or lacks an input.

    """
    check_member_count(BytesIO(content), path)
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


def _members(archive: zipfile.ZipFile, path: str) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays by key, after checking the directory of the archive alone."""
    entries = archive.infolist()
    files = [entry.filename for entry in entries]
    if _MODEL_MEMBERS & set(files):
        raise model_refusal(path)
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
    header = read_header(content[:HEAD_BYTES], len(content), path)
    return array_of(content, header, path)
