"""The classes of inputs: from the folders that they lie in, or from a CSV file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from actviz.errors import InputError, escape
from actviz.inputs.sources import OFFSET_BITS
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actviz.inputs import InputFile

FOLDERS = "folders"
Labels = Callable[[str, int], str | None]
MAX_BYTES = 256 << 20
_NUMBER = re.compile(r"\[\d+\]$")


def read_classes(truth: str | None, files: Sequence[InputFile]) -> Labels:
    """Return the function that gives the class of an input by its name and its number; see `TopRequest.truth`.

    Raises
    ------
    InputError
        If the CSV file cannot be read, or a row of it does not hold a name and a class.
    """
    if truth is None or truth == FOLDERS:
        if truth is None and not _in_folders(files):
            return lambda *_: None
        return lambda name, number: _folder_of(name, number, files)
    classes = _read_table(truth)
    return lambda name, _: class_of(name, classes)


def _in_folders(files: Sequence[InputFile]) -> bool:
    """Return True if every file is in a folder, and not all are in one of the same name."""
    several, first = False, None
    for file in files:
        folder = PurePosixPath(file.name).parent.name
        if not folder:
            return False
        first = folder if first is None else first
        several = several or folder != first
    return several


def _folder_of(name: str, number: int, files: Sequence[InputFile]) -> str | None:
    index = number >> OFFSET_BITS
    folder = PurePosixPath(name).parent.name
    return folder or (files[index].path.absolute().parent.name if index < len(files) else None)


def _read_table(truth: str) -> dict[str, str]:
    """Return the classes in a CSV file by the names of inputs."""
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
