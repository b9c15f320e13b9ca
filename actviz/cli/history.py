"""``actviz history``."""

from __future__ import annotations

import re
from typing import Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events


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
@click.option("-o", "--output", metavar="PATH", help="figure.png, .svg or .pdf, or folder/.")
@options.repeated(
    "-m",
    "--metric",
    "metrics",
    metavar="NAME",
    help="Only this metric and its validation; patterns such as '*accuracy'. May be repeated.",
)
@options.choice_option(
    "--best", ("min", "max"), help="Which direction is better, for metrics whose name does not tell."
)
@click.option("--log/--no-log", default=None, help="Logarithmic axes, or none.  [default: by the range of a loss]")
@click.option(
    "--smooth",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=False,
    metavar="N",
    help="Draw the moving mean of N epochs, with the original curve faint behind it. Off by default.",
)
@options.count_option("--validation-freq", help="Validation ran every N epochs, if the file does not tell.")
@options.flag("--dark", help="Light curves on a dark page.")
@click.option("--size", type=_Size(), metavar="WxH", help="Size of the figure in pixels, such as 1200x800.")
@options.count_option("--columns", help="Panels in a row.")
@click.option(
    "--zoom",
    type=click.IntRange(1, 4),
    default=1,
    show_default=False,
    metavar="N",
    help="N pixels for each pixel of --size, for print and high-density screens.",
)
@options.overwrite
@options.flag("--fail-fast", help="Stop at the first file that fails.")
@options.flag("--json", "as_json", help="Print one JSON object with the numbers instead of the path.")
@options.quiet
def command(*, as_json: bool, quiet: bool, **values: Any) -> None:
    """Draw the learning curves of a training: one panel for each metric, the best epoch marked.

    FILE is a saved return value of fit(): a History as JSON, the CSV of CSVLogger, a .npy or a
    pickle, which is read without running anything in it. Several files, or a folder of them,
    are compared in one figure. The path of the figure is printed.
    """
    from actviz.commands.history import HistoryRequest, history
    from actviz.history.history_records import CurveStyle

    request = HistoryRequest(style=options.take_record(CurveStyle, values), **values)
    print_events(history(request), quiet=quiet, as_json=as_json)
