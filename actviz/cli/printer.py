"""Printing the events of a command: results to standard output, notes to standard error."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from actviz.cli.colors import colored
from actviz.cli.notes import write_note
from actviz.errors import ActvizError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actviz.batch.events import Event, Note
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
    printer = _Printer(ProgressBar(shown=not quiet), quiet, as_json, has_verdict)
    try:
        for event in generator:
            printer.print(event)
    except ActvizError as failure:
        if printer.held is not None and printer.held.text.endswith(failure.message):
            printer.held = None  # the caller prints it
        raise
    except BaseException as failure:
        # A signal that arrives while a line is printed: the command may have more to print while it ends.
        throw = getattr(generator, "throw", None)
        if isinstance(failure, Exception) or throw is None:
            raise
        with contextlib.suppress(StopIteration, OSError, type(failure)):
            printer.print(throw(failure))
            for event in generator:
                printer.print(event)
        raise
    finally:
        printer.release()
        printer.bar.clear()
        close = getattr(generator, "close", None)
        if close is not None:
            close()


@dataclass(slots=True)
class _Printer:
    """Where and how events are printed.

    A reason for a failure is `held` until something else is printed or more inputs follow: if it ends the run, it is
    printed once, as the error.
    """

    bar: ProgressBar
    quiet: bool
    as_json: bool
    has_verdict: bool
    held: Note | None = None

    def print(self, event: Event | Verdict) -> None:
        """Print an event; hold it if it is the reason for a failure."""
        from actviz.batch.events import FileFailed, FileWritten, Note, Output, Progress

        if isinstance(event, Progress):
            if event.done < event.total:
                self.release()
            self.bar.update(event)
            return
        if not isinstance(event, FileFailed):
            self.release()
        if isinstance(event, Note):
            if event.is_failure:
                self.held = event
            elif event.plain or not self.quiet:
                self._note(event.text if event.plain else f"actviz: {event.text}")
        elif isinstance(event, FileWritten) and not (self.as_json or self.has_verdict):
            with self.bar.aside(output=True):
                path = colored(str(event.path), "cyan", sys.stdout, is_data=True)
                click.echo(path, color=True)  # given, so that click does not query the terminal each time
        elif isinstance(event, FileWritten) and event.record is None:
            if not self.quiet:
                self._note(str(event.path))
        elif isinstance(event, FileWritten | FileFailed):
            if self.as_json:
                with self.bar.aside(output=True):
                    printed = {"path": str(event.path)} if isinstance(event, FileWritten) else {}
                    click.echo(json.dumps({**(event.record or {}), **printed}, sort_keys=True, allow_nan=False))
        elif isinstance(event, Output):
            with self.bar.aside(output=True):
                click.echo(event.text)
        elif self.as_json:
            self.bar.clear()
            click.echo(json.dumps(event.record, allow_nan=False))
        else:
            self.bar.clear()
            click.echo(BROKEN.sub(lambda broken: colored(broken[0], "red", sys.stdout), event.table), color=True)

    def release(self) -> None:
        """Print the reason that is held."""
        held, self.held = self.held, None
        if held is not None:
            self._note(f"{colored('actviz:', 'red', sys.stderr)} {held.text}")

    def _note(self, line: str) -> None:
        with self.bar.aside():
            write_note(line)
