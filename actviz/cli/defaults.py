"""Options from a file, as click takes them: a flag on the command line always wins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from actviz.config import Option

# Beside the options whose type is a path.
PLACES = frozenset({"output"})


def defaults_here(program: click.Group, ctx: click.Context) -> dict[str, dict[str, Any]] | None:
    """Return the defaults of every command from the nearest file of options, ``None`` where there is none.

    Raises
    ------
    UsageError
        When the file says something that means nothing or that it cannot set.
    """
    try:
        here = Path(os.getcwd())
    except OSError:
        return None  # the folder is gone, and what lay in it
    if not _any_near(here):
        return None
    from actviz import config

    path = config.find(here)
    if path is None:
        return None
    names = program.list_commands(ctx)
    known = {name: _options(command) for name in names if (command := program.get_command(ctx, name)) is not None}
    return config.defaults(config.read(path, names), known)


def _any_near(folder: Path) -> bool:
    """Tell whether a file of options can be near, before anything is imported to read it."""
    from actviz import system

    names = ("actviz.toml", "pyproject.toml")
    return any(system.exists(one / name) for one in (folder, *folder.parents) for name in names)


def _options(command: click.Command) -> dict[str, Option]:
    """Return the options of a command by their long names."""
    from actviz.config import Option

    found = {}
    for param in command.params:
        if not isinstance(param, click.Option) or param.name is None:
            continue
        kind = "list" if param.multiple else "flag" if param.is_flag else "value"
        for name in (*param.opts, *param.secondary_opts):
            if name.startswith("--"):
                long = name.removeprefix("--")
                placed = long in PLACES or isinstance(param.type, click.Path)
                found[long] = Option(param.name, "path" if placed and kind == "value" else kind)
    return found
