"""``actviz top``."""

from __future__ import annotations

from typing import Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events

EXTREMES = {"high": ("high",), "low": ("low",), "both": ("high", "low")}


@click.command("top", cls=ConfiguredCommand)
@options.model
@options.input_options
@options.count_option(
    "-k", "--count", metavar="K", type=click.IntRange(1, 100), default=9, help="Inputs for each channel."
)
@options.choice_option(
    "--by", ("max", "mean"), default="max", help="Strength of a channel: its largest value, or the mean of its values."
)
@options.choice_option(
    "--extreme", tuple(EXTREMES), default="high", help="Inputs with the highest values, the lowest, or both."
)
@options.channels
@click.option(
    "--truth",
    metavar="folders|FILE",
    help="Classes of the inputs: their folders, or a CSV file with names and classes.  [default: folders, if all"
    " inputs are in one for each class]",
)
@click.option(
    "-o", "--output", metavar="PATH", help="figure.png, .svg or .pdf for one layer, page.html or folder/ for several."
)
@options.dark
@options.shard
@options.resume
@options.flag("--keep-crops", help="Also write the crops of a part, so that merging needs no inputs.")
@options.as_json
@options.through_link
@options.run_options
def command(*, quiet: bool, **values: Any) -> None:
    """Find the INPUTS on which each channel of the layers of MODEL is strongest.

    Every input is run once. A figure has a row for each channel: its strongest inputs, cut to the
    receptive field of the strongest value, the distribution of its strength over all inputs, and
    the share of inputs on which it fires (has a value above 0). Equal inputs are shown once, with
    their number. Places in padding do not count. Channels that are 0 everywhere are named, not
    drawn. Without --output, a table is printed.
    """
    from actviz.commands.top import top
    from actviz.commands.top_request import TopRequest
    from actviz.statistics.strength_options import StrengthOptions

    strength = StrengthOptions(values.pop("count"), values.pop("by"), EXTREMES[values.pop("extreme")])
    request = TopRequest(**options.take_request_of_part(values), options=strength, **values)
    print_events(top(request), quiet=quiet, as_json=request.as_json)
