"""``actviz check``."""

from __future__ import annotations

import functools
from typing import Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events

_share_option = functools.partial(click.option, metavar="SHARE")


@click.command("check", cls=ConfiguredCommand)
@options.model
@options.input_options
@options.flag("--no-nan", help="No value is NaN.")
@options.flag("--no-inf", "no_infinite", help="No value is infinite.")
@_share_option("--max-dead", "dead", help="Channels (or units) that are 0 everywhere on every input, such as 10%.")
@_share_option("--max-constant", "constant", help="Channels that have one value, not 0, everywhere on every input.")
@_share_option(
    "--max-saturated",
    "saturated",
    help="Values closer than 1% of the range to a bound of sigmoid, tanh, hard_sigmoid, hard_tanh or softsign, or to the upper"
    " bound of relu6 and other clipped ReLUs. Layers with other activation functions are not bounded.",
)
@_share_option("--max-zeros", "zeros", help="Values that are exactly 0.")
@click.option("--min-std", metavar="X", help="Smallest standard deviation of a channel over all inputs and positions.")
@click.option("--range", "within", metavar="LO:HI", help="Range of all values; one end may be left out.")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="figure.png, .svg or .pdf of the layers that break a limit; folder/ with --shard or --resume.",
)
@options.junit
@options.exit_zero
@options.as_json
@options.shard
@options.resume
@options.stateful
@options.run_options
def command(*, as_json: bool, quiet: bool, **values: Any) -> None:
    """Check statistics of layers of MODEL over all INPUTS against limits.

    A limit applies to each layer separately. Without any limit, no value may be NaN or
    infinite. Without --layer, layers that give their input unchanged (Flatten, Dropout) are left
    out, and a limit that is broken in a layer that only pools, pads, crops, resizes or joins
    counts in the layer before. Prints a table; the exit code is 8 if a limit is broken.

    A channel is a filter of a convolution, a unit of a Dense or recurrent layer, or a head of
    attention. It is dead when it is 0 everywhere on every input. Masked steps count in no
    statistic. A share is written 10% or 0.1.
    """
    from actviz.commands.check import CheckRequest, check
    from actviz.statistics import limits

    parsers = {
        "dead": (limits.parse_share, "--max-dead"),
        "constant": (limits.parse_share, "--max-constant"),
        "saturated": (limits.parse_share, "--max-saturated"),
        "zeros": (limits.parse_share, "--max-zeros"),
        "min_std": (limits.parse_number, "--min-std"),
        "within": (limits.parse_range, "--range"),
    }
    for name, (parse, option) in parsers.items():
        if values[name] is not None:
            values[name] = parse(values[name], option)
    request = CheckRequest(
        **options.take_request_of_part(values),
        limits=options.take_record(limits.Limits, values),
        reports=options.report_targets(values),
        **values,
    )
    print_events(check(request), quiet=quiet, as_json=as_json, has_verdict=True)
