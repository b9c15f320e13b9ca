"""Read a manifest record by record, so that memory does not grow with its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from actviz.errors import OutputError
from actviz.results.provenance_json import parse_json_strict
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

NAME = "manifest.json"
SCHEMA = 1
MAXIMUM_BYTES = 4 << 30
MAXIMUM_WHOLE = 256 << 20
LISTS = ("failures", "figures")

Section = Literal["about", "failures", "figures"]
Part = tuple[Section, dict[str, Any]]


def opening_of(section: str) -> bytes:
    """Return the line that starts a list of records in files of `Manifest`."""
    return f' "{section}": ['.encode("ascii")


def read(path: Path) -> Iterator[Part]:
    """Yield the description of the run, then the records of failures and of figures.

    Files of `Manifest` have one record per line and are read line by line; files that another program
    reformatted are read as a whole.

    Raises
    ------
    OutputError
        When the file cannot be read, is damaged, is not a manifest of actviz, or has a newer schema.
    """
    with file_system.reading(path, OutputError) as (file, size):
        if size > MAXIMUM_BYTES:
            raise OutputError(f"{path}: {size:,} bytes are no manifest that actviz wrote; move it away.")
        try:
            yield from _by_lines(file, path)
        except _UnexpectedLayoutError:
            if size > MAXIMUM_WHOLE:
                raise _refusal(path) from None
            file.seek(0)
            yield from _whole(file.read(), path)


class _UnexpectedLayoutError(Exception):
    """The file does not have the line layout of `Manifest`."""


def _by_lines(file: BinaryIO, path: Path) -> Iterator[Part]:
    head = []
    for line in file:
        if line.rstrip(b"\n") == opening_of(LISTS[0]):
            break
        head.append(line)
    else:
        raise _UnexpectedLayoutError
    try:
        about = parse_json_strict(b"".join(head).rstrip().rstrip(b",") + b"}")
    except ValueError:
        raise _UnexpectedLayoutError from None
    yield "about", _checked(about, path)
    for section in LISTS:
        if section != LISTS[0] and file.readline().rstrip(b"\n") != opening_of(section):
            raise _refusal(path)
        for line in file:
            if line.startswith(b" ]"):
                break
            yield section, _record(line, path)  # type: ignore[misc]  # one of two literals
        else:
            raise _refusal(path)
    if file.read(2).strip() != b"}":
        raise _refusal(path)


def _record(line: bytes, path: Path) -> dict[str, Any]:
    try:
        record = parse_json_strict(line.rstrip().rstrip(b","))
    except ValueError:
        raise _refusal(path) from None
    if not isinstance(record, dict):
        raise _refusal(path)
    return record


def _whole(content: bytes, path: Path) -> Iterator[Part]:
    try:
        manifest = parse_json_strict(content)
    except ValueError:
        raise _refusal(path) from None
    if not isinstance(manifest, dict):
        raise _refusal(path)
    lists = {section: manifest.pop(section, []) for section in LISTS}
    yield "about", _checked(manifest, path)
    for section, records in lists.items():
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise _refusal(path)
        for record in records:
            yield section, record  # type: ignore[misc]  # one of two literals


def _checked(about: Any, path: Path) -> dict[str, Any]:
    schema = about.get("schema") if isinstance(about, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise _refusal(path)
    if schema > SCHEMA:
        message = f"{path}: written by a later actviz (schema {schema}, this one knows {SCHEMA}); update actviz, or choose another folder with -o."
        raise OutputError(message)
    checked: dict[str, Any] = about
    return checked


def _refusal(path: Path) -> OutputError:
    return OutputError(
        f"{path}: damaged, or no manifest of actviz; pass --overwrite to replace it, or choose another folder with -o."
    )
