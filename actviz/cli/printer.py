"""Printing the events of a command: results to standard output, notes to standard error."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import click

from actviz.cli.notes import write_note
from actviz.cli.progress import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actviz.batch.events import Event
    from actviz.commands.verdicts import Verdict


def print_events(events: Iterable[Event | Verdict], *, quiet: bool, as_json: bool = False) -> None:
    """Print events as they come, until the command ends.

    Where that is cut short, by a signal or because stdout is closed, the generator behind
    `events` is ended in an orderly way.
    """
    generator = iter(events)
    bar = ProgressBar(shown=not quiet)
    try:
        for event in generator:
            _print(event, bar, quiet=quiet, as_json=as_json)
    except BaseException as failure:
        # A signal that arrives while a line is printed: the command may have more to print while it ends.
        throw = getattr(generator, "throw", None)
        if isinstance(failure, Exception) or throw is None:
            raise
        with contextlib.suppress(StopIteration, OSError, type(failure)):
            _print(throw(failure), bar, quiet=quiet, as_json=as_json)
            for event in generator:
                _print(event, bar, quiet=quiet, as_json=as_json)
        raise
    finally:
        bar.clear()
        close = getattr(generator, "close", None)
        if close is not None:
            close()


def _print(event: Event | Verdict, bar: ProgressBar, *, quiet: bool, as_json: bool) -> None:
    from actviz.batch.events import FileFailed, FileWritten, Note, Output, Progress

    if isinstance(event, Progress):
        bar.update(event.done, event.total)
    elif isinstance(event, Note):
        if event.plain or not quiet:
            with bar.aside():
                write_note(event.text if event.plain else f"actviz: {event.text}")
    elif isinstance(event, FileWritten) and not as_json:
        with bar.aside(output=True):
            click.echo(str(event.path), color=True)  # given, so that click does not query the terminal each time
    elif isinstance(event, FileWritten) and event.record is None:
        if not quiet:  # stdout is for JSON
            write_note(str(event.path))
    elif isinstance(event, FileWritten | FileFailed):
        if as_json:
            with bar.aside(output=True):
                click.echo(json.dumps(dict(event.record or {}), sort_keys=True, allow_nan=False))
    elif isinstance(event, Output):
        with bar.aside(output=True):
            click.echo(event.text)
    else:
        click.echo(json.dumps(event.record, allow_nan=False) if as_json else event.table)
