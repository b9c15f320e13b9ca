"""``actviz extract``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from actviz.cli import options
from actviz.cli.defaults import ConfiguredCommand

if TYPE_CHECKING:
    from pathlib import Path


@click.command("extract", cls=ConfiguredCommand)
@options.model
@options.fed
@click.option("-o", "--output", metavar="PATH", help="The file to write; MODEL.npz without it.")
@click.option("--compress", is_flag=True, help="Smaller and slower.")
@options.stateful
@options.running
def command(
    model: Path,
    output: str | None,
    *,
    compress: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Write what layers of MODEL compute for INPUTS into an .npz file.

    The file holds one array a layer under its address, the inputs along the first axis,
    and no pickle: numpy.load opens it, and so does actviz render. Without --layer it holds
    every layer. INPUTS are as for actviz show; all must have one size. The path of the
    file is printed.
    """
    from actviz.commands.extract import ExtractRequest, extract

    request = ExtractRequest(
        **options.request_of(model, values),
        output=output,
        compress=compress,
    )
    options.tell(extract(request), quiet=quiet)
