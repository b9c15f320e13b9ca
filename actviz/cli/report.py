"""``actviz report``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events

if TYPE_CHECKING:
    from pathlib import Path


@click.command("report", cls=ConfiguredCommand)
@options.model
@options.input_options
@click.option("-o", "--output", metavar="FILE", help="The page, .html.  [default: MODEL_report.html]")
@click.option(
    "--against",
    type=options.PATH,
    metavar="FILE",
    help="Another version of the model, or its activations (.npz of actviz extract), to compare with.",
)
@click.option(
    "--markdown",
    type=options.PATH,
    metavar="FILE",
    help="Also write the findings as Markdown, with a sheet next to it; $GITHUB_STEP_SUMMARY is appended to.",
)
@click.option(
    "--max-size",
    type=options.parse_size,
    default="20MB",
    show_default=True,
    metavar="SIZE",
    help="Largest page; pictures are left out to keep it.",
)
@click.option(
    "--pictures",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Figures of the first N inputs; statistics are over all inputs.",
)
@options.labels
@options.run_options
def command(
    model: Path,
    *,
    markdown: Path | None,
    max_size: int,
    quiet: bool,
    **values: Any,
) -> None:
    """Write one HTML page with findings about MODEL and the figures of every layer for INPUTS.

    The page is self-contained: findings (NaN, dead, constant or saturated channels, outlying
    layers), every layer with its figures, and statistics over all INPUTS. It opens from a file
    and needs no network. The paths of the files are printed.
    """
    from actviz.commands.report import ReportRequest, report

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    request = ReportRequest(
        **options.take_request(model, values),
        markdown=markdown,
        summary=markdown is not None and bool(summary) and os.path.abspath(markdown) == os.path.abspath(summary or ""),
        maximum_size=max_size,
        **values,
    )
    print_events(report(request), quiet=quiet)
