"""``actviz check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events

if TYPE_CHECKING:
    from pathlib import Path


@click.command("check", cls=ConfiguredCommand)
@options.model
@options.input_options
@click.option("--no-nan", is_flag=True, help="No value is NaN.")
@click.option("--no-inf", "no_infinite", is_flag=True, help="No value is infinite.")
@click.option(
    "--max-dead", "dead", metavar="SHARE", help="Channels (or units) that are 0 everywhere on every input, such as 10%."
)
@click.option(
    "--max-constant",
    "constant",
    metavar="SHARE",
    help="Channels that have one value, not 0, everywhere on every input.",
)
@click.option(
    "--max-saturated",
    "saturated",
    metavar="SHARE",
    help="Values closer than 1% of the range to a bound of sigmoid, tanh, hard_sigmoid, hard_tanh or softsign, or to the upper"
    " bound of relu6 and other clipped ReLUs. Layers with other activation functions are not bounded.",
)
@click.option("--max-zeros", "zeros", metavar="SHARE", help="Values that are exactly 0.")
@click.option("--min-std", metavar="X", help="Smallest standard deviation of a channel over all inputs and positions.")
@click.option("--range", "within", metavar="LO:HI", help="Range of all values; one end may be left out.")
@click.option("-o", "--output", metavar="FIGURE.png", help="Draw the channels of the layers that break a limit.")
@options.junit
@options.as_json
@options.stateful
@options.run_options
def command(model: Path, *, junit: Path | None, as_json: bool, quiet: bool, **values: Any) -> None:
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
    given: dict[str, Any] = {
        name: parse(text, option) for name, (parse, option) in parsers.items() if (text := values.pop(name)) is not None
    }
    given |= {"no_nan": values.pop("no_nan"), "no_infinite": values.pop("no_infinite")}
    request = CheckRequest(
        **options.take_request(model, values),
        limits=limits.Limits(**given),
        reports=options.report_targets(junit),
        **values,
    )
    print_events(check(request), quiet=quiet, as_json=as_json)
