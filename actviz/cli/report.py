"""``actviz report``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from actviz.cli import options
from actviz.cli.defaults import ConfiguredCommand

if TYPE_CHECKING:
    from pathlib import Path


@click.command("report", cls=ConfiguredCommand)
@options.model
@options.fed
@click.option("-o", "--output", metavar="FILE", help="The page, .html; MODEL_report.html without it.")
@click.option(
    "--against",
    type=options.PATH,
    metavar="FILE",
    help="Another version of the model, or activations of it (.npz of actviz extract): say what changed.",
)
@click.option(
    "--markdown",
    type=options.PATH,
    metavar="FILE",
    help="Write the findings as Markdown too, with a sheet beside it; $GITHUB_STEP_SUMMARY is added to.",
)
@click.option("--max-size", default="20MB", show_default=True, metavar="SIZE", help="Of the page; pictures give way.")
@click.option(
    "--pictures",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Figures of the first N inputs; numbers are over all of them.",
)
@options.labels
@options.running
def command(  # noqa: PLR0913  (one parameter an option)
    model: Path,
    output: str | None,
    *,
    against: Path | None,
    markdown: Path | None,
    max_size: str,
    pictures: int,
    labels: Path | None,
    quiet: bool,
    **values: Any,
) -> None:
    """Write one HTML page that says what MODEL sees in INPUTS, and what is wrong with it.

    The page holds everything it shows: findings (NaN, dead, constant, saturated, out of
    line), every layer with its figures, and numbers over all INPUTS. It opens from a file
    and reaches no network. The paths of the files are printed.
    """
    from actviz.commands.report import ReportRequest, report
    from actviz.report.budget import parse_size

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    request = ReportRequest(
        **options.request_of(model, values),
        output=output,
        against=against,
        markdown=markdown,
        summary=markdown is not None and bool(summary) and os.path.abspath(markdown) == os.path.abspath(summary or ""),
        labels=labels,
        maximum_size=parse_size(max_size),
        pictures=pictures,
    )
    options.tell(report(request), quiet=quiet)
