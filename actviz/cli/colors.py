"""Colors on the terminal: of errors, broken limits and paths."""

from __future__ import annotations

import os
from typing import TextIO

import click

CHOICES = ("auto", "always", "never")
_RESET, _CODES = "\x1b[0m", {"red": "\x1b[1;31m", "cyan": "\x1b[36m"}
_chosen = {"color": CHOICES[0]}


def _choose(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    del ctx, param
    if value is not None:
        _chosen["color"] = value


def color_option(default: str | None = None) -> click.Option:
    """Return the option `--color`. Its value is kept in this module, not given to the command."""
    return click.Option(
        ["--color"],
        type=click.Choice(CHOICES),
        default=default,
        show_default=False,
        expose_value=False,
        is_eager=True,
        callback=_choose,
        help="Color errors, broken limits and paths.  [default: auto, on a terminal]",
    )


def is_colored(stream: TextIO, *, is_data: bool = False) -> bool:
    """Return whether text for a stream is colored: by `--color`, `NO_COLOR`, `FORCE_COLOR`, or if it is a terminal.

    `FORCE_COLOR` does not apply to data, such as paths on standard output: CI systems set it for the log, and
    scripts that run there read the paths.
    """
    if _chosen["color"] != CHOICES[0]:
        return _chosen["color"] == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR") and not is_data:
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def colored(text: str, color: str, stream: TextIO, *, is_data: bool = False) -> str:
    """Return text in a color (`red`, `cyan`) if the stream shows colors; see `is_colored`."""
    return f"{_CODES[color]}{text}{_RESET}" if is_colored(stream, is_data=is_data) else text
