"""Read files of labels: names of classes, or the words of an input."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from actviz.errors import InputError
from actviz.system import file_system

if TYPE_CHECKING:
    from pathlib import Path

_LIMIT = 16 << 20


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names in a file with one name per line, a JSON list, or a JSON object by index.

    The keys of an object are ``"0"``, ``"1"`` and so on; if its values are lists, as in the class index
    of ImageNet, the last item is the name.

    Raises
    ------
    InputError
        When the file cannot be read, is not UTF-8, has no names, or an index is missing.
    """
    try:
        content = file_system.read_bytes(path, _LIMIT, InputError).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; give a file with one name per line, or JSON.") from None
    if content.lstrip()[:1] in {"[", "{"}:
        from_json = _from_json(content, path)
        if from_json is not None:
            return from_json
    names = [line.removesuffix("\r") for line in content.removesuffix("\n").split("\n")]
    if not any(names):
        raise InputError(f"{path}: the file has no names; one per line was expected.")
    return tuple(names)


def _from_json(content: str, path: Path) -> tuple[str, ...] | None:
    """Return the names in JSON; ``None`` if it is invalid but may be lines such as ``[PAD]``."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        if content.lstrip()[0] == "[":
            return None
        message = f"{path}: the JSON is malformed; a list of names or an object {{index: name}} was expected."
        raise InputError(message) from None
    if isinstance(value, dict):
        value = _by_index(value, path)
    if isinstance(value, list) and value and all(isinstance(name, (str, int, float)) for name in value):
        return tuple(str(name) for name in value)
    raise InputError(
        f"{path}: the JSON does not contain names; a list of names or an object {{index: name}} was expected."
    )


def _by_index(value: dict[str, Any], path: Path) -> list[Any]:
    missing = next((index for index in range(len(value)) if str(index) not in value), None)
    if missing is not None:
        raise InputError(f"{path}: there is no name for index {missing}; the keys 0 to {len(value) - 1} were expected.")
    names = [value[str(index)] for index in range(len(value))]
    return [name[-1] if isinstance(name, list) and name else name for name in names]
