"""Printing the events of a command: results to standard output, notes to standard error."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from typing import TYPE_CHECKING

import click

from actviz.cli.colors import colored
from actviz.cli.notes import write_note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actviz.batch.events import Event
    from actviz.cli.progress import ProgressBar
    from actviz.commands.verdicts import Verdict

BROKEN = re.compile(r"(?<=  )(?:BROKEN:|differs \().*?(?=  |$)", re.MULTILINE)


def print_events(
    events: Iterable[Event | Verdict], *, quiet: bool, as_json: bool = False, has_verdict: bool = False
) -> None:
    """Print events as they come, until the command ends.

    With `has_verdict` stdout is for the table, and paths are notes.

    Where that is cut short, by a signal or because stdout is closed, the generator behind
    `events` is ended in an orderly way.
    """
    from actviz.cli.progress import ProgressBar  # 5 of the 90 ms of `show --help`, which needs none

    generator = iter(events)
    bar = ProgressBar(shown=not quiet)
    try:
        for event in generator:
            _print(event, bar, quiet=quiet, as_json=as_json, has_verdict=has_verdict)
    except BaseException as failure:
        # A signal that arrives while a line is printed: the command may have more to print while it ends.
        throw = getattr(generator, "throw", None)
        if isinstance(failure, Exception) or throw is None:
            raise
        with contextlib.suppress(StopIteration, OSError, type(failure)):
            _print(throw(failure), bar, quiet=quiet, as_json=as_json, has_verdict=has_verdict)
            for event in generator:
                _print(event, bar, quiet=quiet, as_json=as_json, has_verdict=has_verdict)
        raise
    finally:
        bar.clear()
        close = getattr(generator, "close", None)
        if close is not None:
            close()


def _print(event: Event | Verdict, bar: ProgressBar, *, quiet: bool, as_json: bool, has_verdict: bool) -> None:
    from actviz.batch.events import FileFailed, FileWritten, Note, Output, Progress

    if isinstance(event, Progress):
        bar.update(event)
    elif isinstance(event, Note):
        if event.plain or event.is_failure or not quiet:
            prefix = colored("actviz:", "red", sys.stderr) if event.is_failure else "actviz:"
            with bar.aside():
                write_note(event.text if event.plain else f"{prefix} {event.text}")
    elif isinstance(event, FileWritten) and not (as_json or has_verdict):
        with bar.aside(output=True):
            path = colored(str(event.path), "cyan", sys.stdout, is_data=True)
            click.echo(path, color=True)  # given, so that click does not query the terminal each time
    elif isinstance(event, FileWritten) and event.record is None:
        if not quiet:
            with bar.aside():
                write_note(str(event.path))
    elif isinstance(event, FileWritten | FileFailed):
        if as_json:
            with bar.aside(output=True):
                printed = {"path": str(event.path)} if isinstance(event, FileWritten) else {}
                click.echo(json.dumps({**(event.record or {}), **printed}, sort_keys=True, allow_nan=False))
    elif isinstance(event, Output):
        with bar.aside(output=True):
            click.echo(event.text)
    elif as_json:
        bar.clear()
        click.echo(json.dumps(event.record, allow_nan=False))
    else:
        bar.clear()
        click.echo(BROKEN.sub(lambda broken: colored(broken[0], "red", sys.stdout), event.table), color=True)
