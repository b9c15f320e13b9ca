"""Read `.npz` files as inputs: the directory is checked first, then the required arrays are read; pickles never are."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from actviz.errors import InputError, LimitError, escape
from actviz.gate.archive import ARRAYS, Archive, array_info, array_keys, open_archive
from actviz.gate.file_type import MODEL_MEMBERS, model_refusal
from actviz.gate.npy import HEAD_BYTES, MAX_BYTES, array_of, read_header

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_archive(content: bytes, names: tuple[str, ...] | None, path: str) -> dict[str, NDArray[Any]]:
    """Return the arrays for the inputs `names` from a `.npz` archive, all arrays for ``None``.

    A single array is used for a single input whatever its name; otherwise each input needs an array of
    its name. Other arrays are not read.

    Raises
    ------
    ActvizError
        When the archive is malformed, unsafe or too large, or lacks an input.
    """
    try:
        archive = open_archive(BytesIO(content), path, ARRAYS)
        if MODEL_MEMBERS & set(archive.members):
            raise model_refusal(path)
        keys = array_keys(archive, path)
        chosen = {key: key for key in keys} if names is None else _chosen(keys, names, path)
        total = sum(archive.info(f"{key}.npy").file_size for key in chosen.values())
        if total > MAX_BYTES:
            raise LimitError(f"{path}: {total:,} bytes unpacked, at most {MAX_BYTES:,} are read; give smaller arrays.")
        return {name: _read_member(archive, key, f"{path}[{key}]") for name, key in chosen.items()}
    except MemoryError:
        raise LimitError(f"{path}: not enough memory to read it; give a smaller archive.") from None


def _chosen(keys: tuple[str, ...], names: tuple[str, ...], path: str) -> dict[str, str]:
    if len(names) == 1 and len(keys) == 1:
        return {names[0]: keys[0]}
    missing = [name for name in names if name not in keys]
    if missing:
        lacking = ", ".join(escape(name, 40) for name in missing[:5])
        available = ", ".join(escape(key, 40) for key in keys[:8]) + (
            ", ..." if len(keys) > 8 else ""  # noqa: PLR2004  (eight are shown)
        )
        message = f"{path}: no array for the input {lacking}; it holds {available}. Save it with numpy.savez(file, NAME=array) by the inputs' names."
        raise InputError(message)
    return {name: name for name in names}


def _read_member(archive: Archive, key: str, label: str) -> NDArray[Any]:
    array_info(archive, key, label)
    content = archive.read(f"{key}.npy", MAX_BYTES)
    return array_of(content, read_header(content[:HEAD_BYTES], len(content), label), label)
