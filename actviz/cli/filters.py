"""``actviz filters``."""

from __future__ import annotations

from typing import Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events


@click.command("filters", cls=ConfiguredCommand)
@options.model
@options.layer
@options.output
@options.channels
@options.count_option("--top", metavar="K", help="Only the K filters of the largest L2 norm, strongest first.")
@options.zoom
@options.dark
@options.as_json
@options.overwrite
@options.through_link
@options.model_options
@options.quiet
def command(*, as_json: bool, quiet: bool, **values: Any) -> None:
    """Draw the weights of layers of MODEL: convolutions, dense layers and embeddings.

    The weights are read from the file and nothing is run. Kernels that read red, green and
    blue are drawn in color, all others with one row for each filter and one column for each
    input, on a scale that is symmetric around zero. Without --layer, the first layer that has
    such weights is drawn.
    """
    from actviz.commands.filters import FiltersRequest, filters

    request = FiltersRequest(opening=options.take_model_options(values), **values)
    print_events(filters(request), quiet=quiet, as_json=as_json)
