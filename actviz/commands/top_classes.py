"""The classes of inputs: from the folders that they lie in, or from a CSV file."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from actviz.errors import InputError, escape
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actviz.inputs import InputFile

FOLDERS = "folders"
MAX_BYTES = 256 << 20
_NUMBER = re.compile(r"\[\d+\]$")


def read_classes(truth: str | None, files: Sequence[InputFile]) -> dict[str, str]:
    """Return classes by the names of files; see `TopRequest.truth`.

    Raises
    ------
    InputError
        If the CSV file cannot be read, or a row of it does not hold a name and a class.
    """
    if truth is None or truth == FOLDERS:
        inside = {file.name: PurePosixPath(file.name).parent.name for file in files}
        if truth is None and not (all(inside.values()) and len(set(inside.values())) > 1):
            return {}
        return {file.name: inside[file.name] or file.path.absolute().parent.name for file in files}
    path = Path(truth)
    content = file_system.read_bytes(path, MAX_BYTES).decode("utf-8-sig", "surrogateescape")
    classes: dict[str, str] = {}
    for number, row in enumerate(csv.reader(io.StringIO(content)), 1):
        if len(row) < 2:  # noqa: PLR2004  (a name and a class)
            if not row:
                continue
            message = f"{escape(truth, 200)}: line {number} has no comma; a name of an input and its class were expected, such as: zebra1.png,zebra"
            raise InputError(message)
        classes[row[0].strip()] = row[1].strip()
    return classes


def class_of(name: str, classes: Mapping[str, str]) -> str | None:
    """Return the class of an input: of its name, of its file's, or of its file's name without folders."""
    file = _NUMBER.sub("", name)
    for key in (name, file, PurePosixPath(name).name, PurePosixPath(file).name):
        if key in classes:
            return classes[key]
    return None
