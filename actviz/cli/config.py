"""The configuration file: `actviz.toml`, or `[tool.actviz]` in `pyproject.toml`.

The file belongs to the repository and not to the user, so it cannot set options that lower
safety, and its paths stay in its own folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from actviz.errors import UsageError, escape
from actviz.suggestions import did_you_mean, near_names
from actviz.system import file_system, folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE, PROJECT = "actviz.toml", "pyproject.toml"
SECTION = ("tool", "actviz")
LIMIT = 1 << 20
FROM = "from:"
CODE, MARK = "preprocess", ":"
"""An option that names code if its value contains the mark; then it is for the command line only, like `REFUSED`."""
REFUSED = frozenset(
    {
        "allow-code", "custom-objects", "timeout", "open-timeout", "max-pixels", "max-memory", "allow-nonfinite", "overwrite",
        "through-link", "input", "files-from",
    }
)  # fmt: skip
"""Options for the command line only: code that may run, files that may be replaced, and limits."""
WRITTEN = frozenset({"output", "junit", "markdown"})
"""Options whose path is written to; all other paths are only read."""


@dataclass(frozen=True, slots=True)
class ConfigOption:
    """An option of a command: the name of its click parameter and the kind of its value.

    `kind` is ``flag``, ``list``, ``paths`` (a list of paths), ``path`` or ``value``.
    """

    parameter: str
    kind: str


@dataclass(frozen=True, slots=True)
class OptionsFile:
    """A configuration file: values for all commands that have the option, and for single commands."""

    path: Path
    common: Mapping[str, Any] = field(default_factory=dict)
    commands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def find(folder: Path) -> Path | None:
    """Return the nearest configuration file: in a folder, or above it up to the root of its repository.

    Outside a repository only the folder itself is searched. `actviz.toml` has precedence over
    a `pyproject.toml` next to it; one without a section for actviz is ignored.
    """
    folders = [folder, *folder.parents]
    root = next((depth for depth, parent in enumerate(folders) if file_system.exists(parent / ".git")), 0)
    for parent in folders[: root + 1]:
        if file_system.is_file(parent / FILE):
            return parent / FILE
        if file_system.is_file(parent / PROJECT) and _section(parent / PROJECT) is not None:
            return parent / PROJECT
    return None


def read(path: Path, commands: Iterable[str]) -> OptionsFile:
    """Read a configuration file; its names are checked by `defaults`.

    Raises
    ------
    UsageError
        If the file is not TOML.
    """
    section = (_parse(path) if path.name == FILE else _section(path)) or {}
    names = set(commands)
    tables = {name: value for name, value in section.items() if name in names and isinstance(value, dict)}
    common = {name: value for name, value in section.items() if name not in tables}
    return OptionsFile(path, common, tables)


def _section(path: Path) -> dict[str, Any] | None:
    """Return the section of a `pyproject.toml`, if any; a file that does not mention actviz need not be valid."""
    if b"actviz" not in file_system.read_bytes(path, LIMIT, UsageError):
        return None
    table: Any = _parse(path)
    for name in SECTION:
        table = table.get(name) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else None


def _parse(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file_system.read_bytes(path, LIMIT, UsageError).decode("utf-8"))
    except (
        ValueError,
        RecursionError,
    ) as failure:  # ValueError also for a number with more digits than Python converts
        message = (
            f"{path}: not valid TOML ({escape(str(failure), 120)}); correct it, or ignore it with actviz --no-config."
        )
        raise UsageError(message) from None


def defaults(
    configuration: OptionsFile, options: Mapping[str, Mapping[str, ConfigOption]]
) -> dict[str, dict[str, Any]]:
    """Return the configured values of each command, by the names of its click parameters.

    Parameters
    ----------
    configuration
        The contents of the file.
    options
        The options of every command, by long name without leading dashes.

    Raises
    ------
    UsageError
        For an unknown option, with the most similar ones; for an option that a file cannot
        set; for a value of the wrong kind.
    """
    path = configuration.path
    every = {name for known in options.values() for name in known}
    common = _checked(path, configuration.common, every, "")
    values: dict[str, dict[str, Any]] = {}
    for command, known in options.items():
        own = _checked(path, configuration.commands.get(command, {}), set(known), f"[{command}] ")
        merged = {name: value for name, value in common.items() if name in known} | own
        values[command] = {
            known[name].parameter: _value(path, name, value, known[name]) for name, value in merged.items()
        }
    return values


def _checked(path: Path, values: Mapping[str, Any], known: set[str], where: str) -> dict[str, Any]:
    """Return values by option name with dashes, all of which are known."""
    dashed = {name.replace("_", "-"): value for name, value in values.items()}
    for name in dashed:
        _check_name(path, name, known, where)
    return dashed


def _check_name(path: Path, name: str, known: set[str], where: str) -> None:
    shown = f"{path}: {where}{escape(name, 60)}"
    if name in REFUSED:
        message = f"{shown}: a file cannot set this option, because others may have written the file; give --{name} on the command line."
        raise UsageError(message)
    if name not in known:
        hint = did_you_mean(near_names(name, sorted(known - REFUSED))) or "actviz COMMAND --help lists the options."
        message = f"{shown}: no such option; {hint}"
        raise UsageError(message)


def _value(path: Path, name: str, value: object, option: ConfigOption) -> Any:
    """Return a value of the file in the form that click takes."""
    if option.kind == "flag":
        valid, expected = isinstance(value, bool), "true or false"
    elif option.kind in {"list", "paths"}:
        items: Any = [value] if isinstance(value, str) else value
        valid, expected = isinstance(items, list) and all(isinstance(item, str) for item in items), "a list of strings"
        value = items if not valid or option.kind == "list" else [_relative_path(path, name, item) for item in items]
    else:
        valid, expected = isinstance(value, (str, int, float)) and not isinstance(value, bool), "a string or a number"
    if not valid:
        message = f"{path}: {escape(name, 60)} = {escape(repr(value), 60)}: {expected} was expected."
        raise UsageError(message)
    if option.kind == "path":
        return _relative_path(path, name, str(value))
    if name == CODE and MARK in str(value):
        message = f"{path}: {name} = {escape(str(value), 60)}: a file cannot name code, because others may have written it; give --{name} on the command line."
        raise UsageError(message)
    if name == "scale" and str(value).startswith(FROM):
        return FROM + _relative_path(path, name, str(value).removeprefix(FROM))
    return value


def _relative_path(path: Path, name: str, value: str) -> str:
    """Return a path in the folder of the file, relative to the current folder; others are refused, also behind links."""
    pure = PurePath(value)
    outside = pure.is_absolute() or ".." in pure.parts or value.startswith("~")
    if outside or not folders.is_inside(path.parent, path.parent / pure):
        message = f"{path}: {escape(name, 60)} = {escape(value, 100)}: a path in the folder of this file was expected; give other paths on the command line."
        raise UsageError(message)
    if name in WRITTEN and _is_hidden(path.parent, pure):
        message = f"{path}: {escape(name, 60)} = {escape(value, 100)}: a configuration file cannot name an output in or with a name that begins with a dot, such as .git or .github; give it on the command line."
        raise UsageError(message)
    relative = os.path.relpath(path.parent / pure)
    return relative + "/" if value.endswith("/") else relative


def _is_hidden(folder: Path, pure: PurePath) -> bool:
    """Return True if a part of a path in a folder begins with a dot, as written or with links followed."""
    parts = (*pure.parts, *folders.relative_parts(folder, folder / pure))
    return any(part.startswith(".") for part in parts)
