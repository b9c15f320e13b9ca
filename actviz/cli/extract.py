"""``actviz extract``."""

from __future__ import annotations

from typing import Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events


@click.command("extract", cls=ConfiguredCommand)
@options.model
@options.input_options
@click.option("-o", "--output", metavar="PATH", help="The file to write.  [default: MODEL.npz]")
@options.flag("--compress", help="Compress the file, which takes longer.")
@click.option("--explain", metavar="METHOD", help="Write heat maps by this method, such as gradcam, not outputs.")
@options.of
@options.stateful
@options.run_options
def command(*, quiet: bool, **values: Any) -> None:
    """Write the outputs of layers of MODEL for INPUTS to an .npz file.

    The file holds one array for each layer under its address, with the inputs along the first
    axis, and no pickled objects: numpy.load opens it, and so does actviz render. Without
    --layer it holds every layer. INPUTS are as for actviz show; all must have the same size.
    With --explain, it holds for each target of --of the raw heat map, and unit, score and output.
    The path of the file is printed.
    """
    from actviz.commands.extract import ExtractRequest, extract

    print_events(extract(ExtractRequest(**options.take_request(values), **values)), quiet=quiet)
