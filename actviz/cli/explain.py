"""``actviz explain``."""

from __future__ import annotations

from typing import Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events


@click.command("explain", cls=ConfiguredCommand)
@options.model
@options.input_options
@options.output
@options.explain_options
@click.option(
    "--box",
    default="",
    metavar="T,L,B,R",
    help="Box of the input as fed, in pixels; the share of the map in it is printed.",
)
@click.option(
    "--check/--no-check",
    default=None,
    help="Measure how faithful each map is to the network, with 40 forward passes. Default: for a single input.",
)
@options.cmap
@options.columns
@options.zoom
@options.font_scale
@options.dpi
@options.dark
@options.through_link
@options.batch_options
@options.labels
@options.tokens
@options.run_options
def command(*, shard: str | None, as_json: bool, quiet: bool, **values: Any) -> None:
    """Draw which part of each of INPUTS makes MODEL give a class its score, as a heat map over it.

    The score is the value before a final softmax or sigmoid. Maps are computed by gradcam, or
    by occlusion where the file has no gradients; --method names others, several with commas.
    With --layer, that layer is looked at instead of the last one with rows and columns.
    INPUTS and folders of figures are as for actviz show. The path of each figure is printed.
    """
    from actviz.commands.explain import ExplainRequest, explain
    from actviz.inputs.input_files import Shard, parse_shard

    request = ExplainRequest(
        **options.take_request(values),
        style=options.take_style(values),
        shard=parse_shard(shard) if shard else Shard(),
        **values,
    )
    print_events(explain(request), quiet=quiet, as_json=as_json)
