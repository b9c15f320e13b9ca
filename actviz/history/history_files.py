"""Read a training run from a file; the format is detected from the content."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import TYPE_CHECKING, BinaryIO

from actviz.errors import InputError, LimitError
from actviz.gate import file_type
from actviz.history.curves import run_of
from actviz.history.history_records import RawColumns
from actviz.system import file_system

if TYPE_CHECKING:
    from pathlib import Path

    from actviz.history.history_records import TrainingRun

MAXIMUM_TEXT = 64 << 20
HEAD_BYTES = 4096
EXPECTED = "a History as JSON, CSVLogger's CSV, .npy or pickle was expected"

_BLOCK = 1 << 20
_OBJECTS = re.compile(rb"\{'descr': '\|O\d?', 'fortran_order': (False|True), 'shape': \(\d*,?\), \}\s*")
_PICKLE_STARTS = (b"(dp", b"}q\0", b"}q\1", b"ccopy_reg\n", b"ccopyreg\n", b"(i", b"ccollections\n")
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".p")


class NotAHistoryError(InputError):
    """The file seems to be intact, but it is not a history."""


def read_run(path: Path, validation_freq: int | None = None) -> TrainingRun:
    """Read the record of one training.

    Parameters
    ----------
    validation_freq
        Number of epochs between validations, for files that do not contain it.

    Raises
    ------
    InputError
        If it is missing, malformed or not a history.
    UnsafeError
        If its numbers could only be read by executing code in it.
    LimitError
        If it is larger than a history can be.
    """
    with file_system.reading(path, InputError, "history") as (file, size):
        columns = _columns(file, size, path)
        file.seek(0)
        digest = hashlib.sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
    return run_of(columns, path.name, digest.hexdigest(), validation_freq)


def _columns(file: BinaryIO, size: int, path: Path) -> RawColumns:
    name = path.name
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not size:
        message = f"{name}: the file is empty; {EXPECTED}."
        raise InputError(message)
    _refuse_model(head, path)
    if head.startswith(file_type.NPY):
        return _from_npy(file, size, head, name)
    if _is_pickle(head, name):
        return _from_pickle(file, size, name)
    _refuse_foreign(head, path)
    if size > MAXIMUM_TEXT:
        message = f"{name}: {size:,} bytes, at most {MAXIMUM_TEXT:,} of text are read; give a smaller file."
        raise LimitError(message)
    text = _decoded(file.read(size), name)
    start = text.lstrip()[:1]
    if start and start in '{["':
        return _from_json(text, path)
    if start == "(" or "=" in text.split("\n", 1)[0]:
        message = f"{name}: this is a text file, not a history; {EXPECTED}."
        raise NotAHistoryError(message)
    from actviz.history.csv_logger import read_table

    return read_table(text, name)


def _refuse_model(head: bytes, path: Path) -> None:
    """Refuse a model, and name the command for models."""
    zipped = head.startswith(file_type.ZIP)
    if zipped and (b".npy" in head[:200] or path.suffix.lower() == ".npz"):
        message = f"{path.name}: this is an .npz archive of arrays, not a history; save history.history with json.dump."
        raise NotAHistoryError(message)
    if head.startswith(file_type.HDF5) or zipped or file_type.is_tflite(head) or path.suffix.lower() == ".pb":
        message = f"{path.name}: this is a model, not a history of training; draw it with: actviz show {path}"
        raise NotAHistoryError(message)


def _refuse_foreign(head: bytes, path: Path) -> None:
    name = path.name
    if "tfevents" in name or b"brain.Event:" in head:
        message = f"{name}: this is an event file of TensorBoard, which is not read; save history.history with json.dump, or train with CSVLogger."
        raise NotAHistoryError(message)
    if file_type.is_lfs_pointer(head):
        message = f"{name}: this is a Git LFS pointer, not the file; run git lfs pull and try again."
        raise NotAHistoryError(message)
    if file_type.is_image(head):
        message = f"{name}: this is an image, not a history; {EXPECTED}."
        raise NotAHistoryError(message)
    foreign = file_type.foreign_type(head) or ("an XML file" if head.startswith(b"<") else None)
    if foreign is not None:
        message = f"{name}: this is {foreign}, not a history; {EXPECTED}."
        raise NotAHistoryError(message)
    if b"\0" in head and not head.startswith(file_type.UTF_16):
        message = f"{name}: not a known file type (it starts with {head[:8].hex(' ')}); {EXPECTED}."
        raise NotAHistoryError(message)


def _is_pickle(head: bytes, name: str) -> bool:
    """Return True if the first bytes are those of a pickle: the protocol, or a usual start of protocols 0 and 1."""
    if file_type.is_binary_pickle(head):
        return True
    has_suffix = name.lower().endswith(_PICKLE_SUFFIXES) and head[:1] not in {b"{", b"["}
    return has_suffix or head.startswith(_PICKLE_STARTS)


def _from_pickle(file: BinaryIO, size: int, name: str) -> RawColumns:
    from actviz.history.pickled_history import columns_in
    from actviz.history.pickles import load

    return columns_in(load(file, size, name), name)


def _from_npy(file: BinaryIO, size: int, head: bytes, name: str) -> RawColumns:
    """Read the pickle in a `.npy` file of one Python object."""
    width = 2 if head[6:7] == b"\1" else 4
    start = 8 + width
    header = head[start : start + int.from_bytes(head[8:start], "little")]
    if not _OBJECTS.fullmatch(header):
        message = f"{name}: this is an array of numbers without names of metrics; save history.history with json.dump."
        raise NotAHistoryError(message)
    file.seek(start + len(header))
    return _from_pickle(file, size, name)


def _decoded(content: bytes, name: str) -> str:
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        message = f"{name}: not a text in UTF-8; {EXPECTED}."
        raise InputError(message) from None
    if "\0" in text:
        message = f"{name}: text with NUL characters; {EXPECTED}."
        raise InputError(message)
    return text


class _RejectedValueError(Exception):
    """Carries the reason out of the JSON parser's hooks."""


def _from_json(text: str, path: Path) -> RawColumns:
    """Read ``{metric: [numbers]}``, alone or under ``history``, or a data frame's JSON."""
    name = path.name
    fix = "save it again with json.dump(history.history, file)"
    try:
        parsed = json.loads(text, object_pairs_hook=_unique)
    except _RejectedValueError as rejected:
        message = f"{name}: {rejected}; {fix}."
        raise InputError(message) from None
    except RecursionError:
        message = f"{name}: JSON that is nested too deeply for a history; {fix}."
        raise InputError(message) from None
    except ValueError:
        reason = "a Python dictionary as text, not JSON" if re.match(r"\s*\{\s*'", text) else "not valid JSON"
        message = f"{name}: {reason}; {fix}."
        raise InputError(message) from None
    if isinstance(parsed, dict) and {"class_name", "config"} <= parsed.keys():
        message = f"{name}: this is the architecture of a model, not a history; draw it with: actviz show {path} --weights FILE"
        raise NotAHistoryError(message)
    epochs = None
    if isinstance(parsed, dict) and isinstance(parsed.get("history"), dict):
        parsed, epochs = parsed["history"], parsed.get("epoch")
    if not isinstance(parsed, dict) or not any(isinstance(value, (list, dict)) for value in parsed.values()):
        message = f'{name}: no history: {{"loss": [0.9, 0.5, ...], ...}} was expected; {fix}.'
        raise InputError(message)
    return RawColumns(tuple((metric, _listed(value)) for metric, value in parsed.items()), epochs)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        message = "JSON that repeats a key, so the result would depend on the reader"
        raise _RejectedValueError(message)
    return result


def _listed(value: object) -> object:
    """Return the list of a metric, with NaN in place of ``null``, which many writers of JSON use for it.

    The column of a data frame, ``{"0": 0.9, "1": 0.5}``, becomes such a list.
    """
    if isinstance(value, dict) and list(value) == [str(index) for index in range(len(value))]:
        value = list(value.values())
    if isinstance(value, list):
        return [math.nan if item is None else _listed(item) if isinstance(item, list) else item for item in value]
    return value


def is_model_folder(path: Path) -> bool:
    """Return True for a SavedModel or an unpacked `.keras`, False for a folder of histories."""
    return any(file_system.exists(path / name) for name in ("saved_model.pb", "model.weights.h5"))
