"""``actviz history``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.notes import write_note

if TYPE_CHECKING:
    from pathlib import Path


class _Size(click.ParamType[tuple[int, int]]):
    """``WIDTHxHEIGHT`` in pixels."""

    name = "size"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{2,5})x(\d{2,5})", value)
        if match is None:
            self.fail(f"{value!r} is not a size in pixels such as 1200x800", param, ctx)
        return int(match[1]), int(match[2])


@click.command("history", cls=ConfiguredCommand)
@click.argument("files", type=options.PATH, nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", metavar="PATH", help="figure.png or figure.svg, or folder/.")
@click.option(
    "-m",
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Only this metric and its validation; patterns such as '*accuracy'. May be repeated.",
)
@click.option(
    "--best", type=click.Choice(("min", "max")), help="Which direction is better, for metrics whose name does not tell."
)
@click.option("--log/--no-log", default=None, help="Logarithmic axes, or none.  [default: by the range of a loss]")
@click.option(
    "--smooth",
    type=click.IntRange(1, 10_000),
    default=1,
    metavar="N",
    help="Draw the moving mean of N epochs, with the original curve faint behind it. Off by default.",
)
@click.option(
    "--validation-freq",
    type=click.IntRange(min=1),
    metavar="N",
    help="Validation ran every N epochs, if the file does not tell.",
)
@click.option("--dark", is_flag=True, help="Light curves on a dark page.")
@click.option("--size", type=_Size(), metavar="WxH", help="Size of the figure in pixels, such as 1200x800.")
@click.option("--columns", type=click.IntRange(min=1), metavar="N", help="Panels in a row.")
@click.option(
    "--zoom",
    type=click.IntRange(1, 4),
    default=1,
    metavar="N",
    help="N pixels for each pixel of --size, for print and high-density screens.",
)
@options.overwrite
@click.option("--fail-fast", is_flag=True, help="Stop at the first file that fails.")
@click.option("--json", "as_text", is_flag=True, help="Print one JSON object with the numbers instead of the path.")
@options.quiet
def command(  # noqa: PLR0913  (one parameter per option)
    files: tuple[Path, ...],
    output: str | None,
    *,
    overwrite: bool,
    validation_freq: int | None,
    fail_fast: bool,
    as_text: bool,
    quiet: bool,
    metrics: tuple[str, ...],
    best: str | None,
    log: bool | None,
    smooth: int,
    dark: bool,
    size: tuple[int, int] | None,
    columns: int | None,
    zoom: int,
) -> None:
    """Draw the learning curves of a training: one panel for each metric, the best epoch marked.

    FILE is a saved return value of fit(): a History as JSON, the CSV of CSVLogger, a .npy or a
    pickle, which is read without running anything in it. Several files, or a folder of them,
    are compared in one figure. The path of the figure is printed.
    """
    from actviz.batch.events import Note
    from actviz.commands.history import HistoryRequest, history
    from actviz.history.history_records import CurveStyle

    style = CurveStyle(metrics, best, log, smooth, dark, size, columns, zoom)
    for event in history(HistoryRequest(files, output, style, overwrite, validation_freq, fail_fast)):
        if not isinstance(event, Note):
            click.echo(json.dumps(event.record, allow_nan=False) if as_text else str(event.path))
        elif not quiet:
            write_note(f"actviz: {event.text}")
