"""Options in a file: `actviz.toml`, or `[tool.actviz]` in `pyproject.toml`.

For runs that are repeated. Whoever wrote a repository writes such a file too, so that it
cannot set what lowers safety, and names only places beside it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from actviz.errors import UsageError, escape
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE, PROJECT = "actviz.toml", "pyproject.toml"
SECTION = ("tool", "actviz")
LIMIT = 1 << 20
FROM = "from:"
REFUSED = frozenset(
    {
        "allow-code", "custom-objects", "timeout", "open-timeout", "max-pixels", "max-memory", "allow-nonfinite", "overwrite",
        "through-link", "input", "files-from", "device",
    }
)  # fmt: skip
"""What only a person at the command line decides: what may run or be replaced, and how much may be used."""
WRITTEN = frozenset({"output", "junit", "markdown"})
"""Options that name files to write; those whose value is a path and that are not here are only read."""


@dataclass(frozen=True, slots=True)
class ConfigOption:
    """An option of a command: its name in the program, and what its value is.

    `kind` is ``flag``, ``list``, ``path`` or ``value``.
    """

    parameter: str
    kind: str


@dataclass(frozen=True, slots=True)
class OptionsFile:
    """A file of options: values for all commands that know them, and for single commands."""

    path: Path
    common: Mapping[str, Any] = field(default_factory=dict)
    commands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def find(folder: Path) -> Path | None:
    """Return the nearest file of options: in a folder, or above it up to the root of its repository.

    Outside a repository only the folder itself is looked at. `actviz.toml` wins over
    `pyproject.toml` beside it; one without a section for actviz is passed over.
    """
    above = [folder, *folder.parents]
    root = next((place for place, one in enumerate(above) if file_system.exists(one / ".git")), 0)
    for one in above[: root + 1]:
        if file_system.is_file(one / FILE):
            return one / FILE
        if file_system.is_file(one / PROJECT) and _section(one / PROJECT) is not None:
            return one / PROJECT
    return None


def read(path: Path, commands: Iterable[str]) -> OptionsFile:
    """Read a file of options; names are checked by `defaults`.

    Raises
    ------
    UsageError
        When it is no TOML.
    """
    said = _parsed(path) if path.name == FILE else _section(path)
    names = set(commands)
    tables = {name: value for name, value in (said or {}).items() if name in names and isinstance(value, dict)}
    common = {name: value for name, value in (said or {}).items() if name not in tables}
    return OptionsFile(path, common, tables)


def _section(path: Path) -> dict[str, Any] | None:
    """Return actviz's part of a `pyproject.toml`; one that says nothing of actviz may be anything."""
    if b"actviz" not in file_system.read_bytes(path, LIMIT, UsageError):
        return None
    found: Any = _parsed(path)
    for name in SECTION:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file_system.read_bytes(path, LIMIT, UsageError).decode("utf-8"))
    except (ValueError, RecursionError) as failure:  # a number may also have more digits than Python reads
        message = (
            f"{path}: no valid TOML ({escape(str(failure), 120)}); correct it, or leave it out with actviz --no-config."
        )
        raise UsageError(message) from None


def defaults(
    configuration: OptionsFile, options: Mapping[str, Mapping[str, ConfigOption]]
) -> dict[str, dict[str, Any]]:
    """Return the values for each command by the names of its parameters.

    Parameters
    ----------
    configuration
        What the file says.
    options
        The options of every command, by their long names without dashes in front.

    Raises
    ------
    UsageError
        For a name that no command (or not this one) knows, with the nearest; for an option
        that a file cannot set, and a value of the wrong kind.
    """
    path = configuration.path
    every = {name for known in options.values() for name in known}
    common = {_name(name): value for name, value in configuration.common.items()}
    for name in common:
        _check_name(path, name, every, "")
    found: dict[str, dict[str, Any]] = {}
    for command, known in options.items():
        own = {_name(name): value for name, value in configuration.commands.get(command, {}).items()}
        for name in own:
            _check_name(path, name, set(known), f"[{command}] ")
        values = {name: value for name, value in common.items() if name in known} | own
        found[command] = {
            known[name].parameter: _value(path, name, value, known[name]) for name, value in values.items()
        }
    return found


def _name(name: str) -> str:
    return name.replace("_", "-")


def _check_name(path: Path, name: str, known: set[str], where: str) -> None:
    shown = f"{path}: {where}{escape(name, 60)}"
    if name in REFUSED:
        message = f"{shown}: a file cannot set this, because the file may be somebody else's; give --{name} on the command line."
        raise UsageError(message)
    if name not in known:
        near = difflib.get_close_matches(name, sorted(known - REFUSED), 3, 0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "actviz COMMAND --help lists the options."
        message = f"{shown}: there is no such option; {hint}"
        raise UsageError(message)


def _value(path: Path, name: str, value: object, option: ConfigOption) -> Any:
    """Return a value as click takes it."""
    plain = (str, int, float)
    if option.kind == "flag":
        good, wanted = isinstance(value, bool), "true or false"
    elif option.kind == "list":
        value = [value] if isinstance(value, str) else value
        good, wanted = isinstance(value, list) and all(isinstance(one, str) for one in value), "a list of texts"
    else:
        good, wanted = isinstance(value, plain) and not isinstance(value, bool), "a text or a number"
    if not good:
        message = f"{path}: {escape(name, 60)} = {escape(repr(value), 60)}: {wanted} was expected."
        raise UsageError(message)
    if option.kind == "path":
        return _placed(path, name, str(value))
    if name == "scale" and str(value).startswith(FROM):
        return FROM + _placed(path, name, str(value).removeprefix(FROM))
    return value


def _placed(path: Path, name: str, value: str) -> str:
    """Return a path beside the file; other places, also behind links, are for the command line."""
    pure = PurePath(value)
    outside = pure.is_absolute() or ".." in pure.parts or value.startswith("~")
    if outside or not file_system.leads_inside(path.parent, path.parent / pure):
        message = f"{path}: {escape(name, 60)} = {escape(value, 100)}: a path in the folder of this file was expected; give others on the command line."
        raise UsageError(message)
    if name in WRITTEN and _is_hidden(path.parent, pure):
        message = f"{path}: {escape(name, 60)} = {escape(value, 100)}: nothing is written to a folder or file whose name begins with a dot, such as .git or .github, because a file of options asks for it; give it on the command line."
        raise UsageError(message)
    placed = os.path.relpath(path.parent / pure)
    return placed + "/" if value.endswith("/") else placed


def _is_hidden(folder: Path, pure: PurePath) -> bool:
    """Return True if a path in a folder has a part that begins with a dot, as it is written or with links followed."""
    parts = (*pure.parts, *file_system.way_inside(folder, folder / pure))
    return any(part.startswith(".") for part in parts)
