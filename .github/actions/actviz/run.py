"""Run `actviz check` or `actviz report` with the inputs of the action, which come as JSON in $ACTVIZ_INPUTS."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

OWN = frozenset({"command", "model", "inputs"})
YES = frozenset({"true", "yes", "1"})


def arguments(given: dict[str, str], command: click.Command) -> list[str]:
    """Return the command line; an option that may be repeated has one value a line, a flag is true or false.

    Raises
    ------
    SystemExit
        When an option is not one of this command.
    """
    options = {
        name.removeprefix("--"): param
        for param in command.params
        if isinstance(param, click.Option)
        for name in param.opts
        if name.startswith("--")
    }
    words = []
    for name, value in given.items():
        if name in OWN or not value.strip():
            continue
        if name not in options:
            sys.exit(f"actviz {command.name} has no option --{name}; leave this input out.")
        if options[name].is_flag:
            words += [f"--{name}"] if value.strip().lower() in YES else []
        else:
            words += [f"--{name}={line}" for line in lines(value, several=options[name].multiple)]
    return [*words, "--", given["model"], *lines(given.get("inputs", ""), several=True)]


def lines(text: str, *, several: bool) -> list[str]:
    """Return the lines of a text that are not blank, or all of it as one value."""
    return [line.strip() for line in text.splitlines() if line.strip()] if several else [text.strip()]


def main() -> None:
    """Replace this process by the command."""
    from actviz.cli.program import program

    given: dict[str, Any] = json.loads(os.environ["ACTVIZ_INPUTS"])
    name = given["command"]
    command = program.get_command(click.Context(program), name) if name in {"check", "report"} else None
    if command is None:
        sys.exit(f'command: check or report was expected, not "{name}".')
    os.execv(sys.executable, [sys.executable, "-P", "-m", "actviz", name, *arguments(given, command)])


if __name__ == "__main__":
    main()
