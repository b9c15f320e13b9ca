"""Options from a file, as click takes them: a flag on the command line always wins."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from actviz.cli.notes import write_note
from actviz.errors import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.cli.config import ConfigOption

# Beside the options whose type is a path.
PLACES = frozenset({"output"})
LONGEST, MOST_VALUES = 100, 8
# Commands whose result is a verdict, and their options that do not change it.
JUDGING = frozenset({"check", "diff", "report"})
NO_PART_OF_THE_VERDICT = frozenset(
    {"quiet", "verbose", "as_json", "output", "junit", "markdown", "figures", "labels", "pictures", "max_size"}
)


class ConfiguredCommand(click.Command):
    """A command that prints what a file of options added to its command line.

    With ``--quiet`` that is only what changes a verdict: whoever wrote the file may have
    narrowed what is checked.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from actviz.system import shortage

        shortage.check_address_space()
        added = added_options(ctx)
        if ctx.params.get("quiet"):
            judged = ctx.command.name in JUDGING
            added = {name: words for name, words in added.items() if judged and name not in NO_PART_OF_THE_VERDICT}
        if added and isinstance(ctx.obj, Path):
            place = escape(os.path.relpath(ctx.obj), 3 * LONGEST)
            text = " ".join(word for words in added.values() for word in words)
            write_note(f"actviz: {place} adds {text}; actviz --no-config leaves it out")
        return super().invoke(ctx)


def added_options(ctx: click.Context) -> dict[str, list[str]]:
    """Return what of a command's options came from a file, as words of a command line by parameter.

    Of an option that repeats, the first eight values are given, each cut to 100 characters.
    """
    added: dict[str, list[str]] = {}
    for param in ctx.command.params:
        if param.name is None or ctx.get_parameter_source(param.name) is not ParameterSource.DEFAULT_MAP:
            continue
        value = ctx.params[param.name]
        if isinstance(param, click.Option) and param.is_flag:
            names = param.opts if value else param.secondary_opts
            if names:
                added[param.name] = [_long(names)]
            continue
        values = value if isinstance(value, tuple) else (value,)
        words = [
            word for one in values[:MOST_VALUES] for word in (_long(param.opts), escape(shlex.quote(str(one)), LONGEST))
        ]
        if words:
            added[param.name] = [*words, "..."] if len(values) > MOST_VALUES else words
    return added


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
    from actviz.cli import config

    path = config.find(here)
    if path is None:
        return None
    names = program.list_commands(ctx)
    known = {name: _options(command) for name in names if (command := program.get_command(ctx, name)) is not None}
    return path, config.defaults(config.read(path, names), known)


def _any_near(folder: Path) -> bool:
    """Tell whether a file of options can be near, before anything is imported to read it."""
    from actviz.system import file_system

    names = ("actviz.toml", "pyproject.toml")
    return any(file_system.exists(one / name) for one in (folder, *folder.parents) for name in names)


def _options(command: click.Command) -> dict[str, ConfigOption]:
    """Return the options of a command by their long names."""
    from actviz.cli.config import ConfigOption

    found = {}
    for param in command.params:
        if not isinstance(param, click.Option) or param.name is None:
            continue
        kind = "list" if param.multiple else "flag" if param.is_flag else "value"
        for name in (*param.opts, *param.secondary_opts):
            if name.startswith("--"):
                long = name.removeprefix("--")
                placed = long in PLACES or isinstance(param.type, click.Path)
                found[long] = ConfigOption(param.name, "path" if placed and kind == "value" else kind)
    return found
