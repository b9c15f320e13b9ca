"""``actviz report``."""

from __future__ import annotations

import os
from typing import Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events


@click.command("report", cls=ConfiguredCommand)
@options.model
@options.input_options
@click.option("-o", "--output", metavar="FILE", help="The page, .html.  [default: MODEL_report.html]")
@options.file_option(
    "--against",
    help="Another version of the model, or its activations (.npz of actviz extract), to compare with.",
)
@options.file_option(
    "--markdown",
    help="Also write the findings as Markdown, with a sheet next to it; $GITHUB_STEP_SUMMARY is appended to.",
)
@click.option(
    "--max-size",
    "maximum_size",
    type=options.parse_size,
    default="20MB",
    metavar="SIZE",
    help="Largest page; pictures are left out to keep it.",
)
@options.count_option("--pictures", default=5, help="Figures of the first N inputs; statistics are over all inputs.")
@options.labels
@options.run_options
def command(*, quiet: bool, **values: Any) -> None:
    """Write one HTML page with findings about MODEL and the figures of every layer for INPUTS.

    The page is self-contained: findings (NaN, dead, constant or saturated channels, outlying
    layers), every layer with its figures, and statistics over all INPUTS. It opens from a file
    and needs no network. The paths of the files are printed.
    """
    from actviz.commands.report import ReportRequest, report

    markdown, summary = values["markdown"], os.environ.get("GITHUB_STEP_SUMMARY")
    is_summary = bool(markdown and summary) and os.path.abspath(markdown) == os.path.abspath(summary or "")
    request = ReportRequest(**options.take_request(values), summary=is_summary, **values)
    print_events(report(request), quiet=quiet)
