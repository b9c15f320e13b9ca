"""``actviz render``."""

from __future__ import annotations

from typing import Any

import click

from actviz.cli import completion, options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events


@click.command("render", cls=ConfiguredCommand)
@click.argument("file", metavar="ACTIVATIONS", type=options.PATH, shell_complete=completion.arrays)
@options.layer
@options.index_option("--index", help="Only this input; the first is 0.")
@click.option(
    "--axes",
    metavar="NAMES",
    help="Names of the axes of an array, such as row,column,channel; one more axis in front is the batch.",
)
@options.output
@options.sheet
@options.style_options
@options.overwrite
@options.through_link
@options.quiet
def command(*, quiet: bool, **values: Any) -> None:
    """Draw figures from saved ACTIVATIONS, without a model.

    ACTIVATIONS is an .npz written by actviz extract, or any other .npy or .npz, whose axes are
    then named with --axes. The figures are those of actviz show, with the same options. Without
    --layer, a sheet for each input shows the layers that change what can be seen. The path
    of each file written is printed, one per line.
    """
    from actviz.commands.render import RenderRequest, render

    print_events(render(RenderRequest(style=options.take_style(values), **values)), quiet=quiet)
