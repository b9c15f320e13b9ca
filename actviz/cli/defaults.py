"""Options from a file, as click takes them: a flag on the command line always wins."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from actviz.errors import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.config import Option

# Beside the options whose type is a path.
PLACES = frozenset({"output"})


LONGEST = 300


class Command(click.Command):
    """A command that says what a file of options added to its command line, unless it is to be quiet."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        added = added_options(ctx)
        if added and isinstance(ctx.obj, Path) and not ctx.params.get("quiet"):
            place = escape(os.path.relpath(ctx.obj), LONGEST)
            said = escape(shlex.join(added), LONGEST)
            click.echo(f"actviz: {place} adds {said}; actviz --no-config leaves it out", err=True)
        return super().invoke(ctx)


def added_options(ctx: click.Context) -> list[str]:
    """Return what of a command's options came from a file, as words of a command line."""
    words = []
    for param in ctx.command.params:
        if param.name is None or ctx.get_parameter_source(param.name) is not ParameterSource.DEFAULT_MAP:
            continue
        value = ctx.params[param.name]
        if isinstance(param, click.Option) and param.is_flag:
            names = param.opts if value else param.secondary_opts
            words += [_long(names)] if names else []
            continue
        for one in value if isinstance(value, tuple) else (value,):
            words += [_long(param.opts), str(one)]
    return words


def _long(names: Sequence[str]) -> str:
    return max(names, key=len)


def defaults_here(program: click.Group, ctx: click.Context) -> tuple[Path, dict[str, dict[str, Any]]] | None:
    """Return the nearest file of options and the defaults of every command in it, ``None`` where there is none.

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
    return path, config.defaults(config.read(path, names), known)


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
