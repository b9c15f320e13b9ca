"""Commands whose options have defaults from a configuration file; the command line has precedence."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from actviz.cli import help_sections
from actviz.cli.colors import color_option
from actviz.cli.notes import write_note
from actviz.errors import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.cli.config import ConfigOption

# Options that name a path without having the type of one.
PATH_OPTIONS = frozenset({"output"})
MAX_LENGTH, MAX_VALUES = 100, 8
# Commands whose result is a verdict, and their parameters that do not change it.
VERDICT_COMMANDS = frozenset({"check", "diff", "report"})
NO_PART_OF_THE_VERDICT = frozenset(
    {
        "quiet",
        "verbose",
        "color",
        "as_json",
        "output",
        "junit",
        "markdown",
        "figures",
        "labels",
        "pictures",
        "maximum_size",
    }
)


class ConfiguredCommand(click.Command):
    """A command with grouped help and `--color`, which prints the options that a configuration file added.

    With ``--quiet`` only those that change a verdict are printed: the author of the file may
    have narrowed what is checked.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params.append(color_option())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under headings."""
        help_sections.write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples."""
        del ctx
        help_sections.write_examples(self.name or "", formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from actviz.system import shortage

        shortage.check_address_space()
        added = added_options(ctx)
        if ctx.params.get("quiet"):
            verdict = ctx.command.name in VERDICT_COMMANDS
            added = {name: words for name, words in added.items() if verdict and name not in NO_PART_OF_THE_VERDICT}
        if added and isinstance(ctx.obj, Path):
            path = escape(os.path.relpath(ctx.obj), 3 * MAX_LENGTH)
            text = " ".join(word for words in added.values() for word in words)
            write_note(f"actviz: {path} adds {text}; actviz --no-config leaves it out")
        return super().invoke(ctx)


def added_options(ctx: click.Context) -> dict[str, list[str]]:
    """Return the options of a command that come from the file, as words of a command line by parameter.

    Of a repeated option the first eight values are given, each cut to 100 characters.
    """
    added: dict[str, list[str]] = {}
    for param in ctx.command.params:
        if param.name not in ctx.params or ctx.get_parameter_source(param.name) is not ParameterSource.DEFAULT_MAP:
            continue
        value = ctx.params[param.name]
        if isinstance(param, click.Option) and param.is_flag:
            names = param.opts if value else param.secondary_opts
            if names:
                added[param.name] = [_longest(names)]
            continue
        values = value if isinstance(value, tuple) else (value,)
        option = _longest(param.opts)
        words = [word for item in values[:MAX_VALUES] for word in (option, escape(shlex.quote(str(item)), MAX_LENGTH))]
        if words:
            added[param.name] = [*words, "..."] if len(values) > MAX_VALUES else words
    return added


def _longest(names: Sequence[str]) -> str:
    return max(names, key=len)


def configured_defaults(program: click.Group, ctx: click.Context) -> tuple[Path, dict[str, dict[str, Any]]] | None:
    """Return the nearest configuration file and the defaults of every command in it, or ``None``.

    Raises
    ------
    UsageError
        If the file is malformed or sets an option that it cannot.
    """
    from actviz.cli import config

    try:
        folder = Path(os.getcwd())
    except OSError:
        return None  # the current folder was deleted, and its files with it
    path = config.find(folder)
    if path is None:
        return None
    names = program.list_commands(ctx)
    known = {name: options_of(command) for name in names if (command := program.get_command(ctx, name)) is not None}
    return path, config.defaults(config.read(path, names), known)


def options_of(command: click.Command) -> dict[str, ConfigOption]:
    """Return the options of a command by long name without leading dashes."""
    from actviz.cli.config import ConfigOption

    options = {}
    for param in command.params:
        if not isinstance(param, click.Option) or param.name is None:
            continue
        kind = "list" if param.multiple else "flag" if param.is_flag else "value"
        for name in (*param.opts, *param.secondary_opts):
            # Layers that a file chooses for other commands are still listed with all others.
            if name.startswith("--") and (command.name, name) != ("layers", "--layer"):
                long = name.removeprefix("--")
                if kind != "flag" and (long in PATH_OPTIONS or isinstance(param.type, click.Path)):
                    options[long] = ConfigOption(param.name, "paths" if param.multiple else "path")
                else:
                    options[long] = ConfigOption(param.name, kind)
    return options
