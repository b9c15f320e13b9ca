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
@click.option("--no-inf", is_flag=True, help="No value is infinite.")
@click.option(
    "--max-dead", metavar="SHARE", help="Channels (or units) that are 0 everywhere on every input, such as 10%."
)
@click.option("--max-constant", metavar="SHARE", help="Channels that have one value, not 0, everywhere on every input.")
@click.option(
    "--max-saturated",
    metavar="SHARE",
    help="Values closer than 1% of the range to a bound of sigmoid, tanh, hard_sigmoid, hard_tanh or softsign, or of the upper"
    " bound of relu6 and other clipped ReLUs. Layers with other activation functions are not bounded.",
)
@click.option("--max-zeros", metavar="SHARE", help="Values that are exactly 0.")
@click.option("--min-std", metavar="X", help="Smallest standard deviation of a channel over all inputs and positions.")
@click.option("--range", "within", metavar="LO:HI", help="Range of all values; one end may be left out.")
@click.option("-o", "--output", metavar="FIGURE.png", help="Draw the channels of the layers that break a limit.")
@options.junit
@options.as_json
@options.stateful
@options.run_options
def command(  # noqa: PLR0913  (one parameter an option)
    model: Path,
    *,
    no_nan: bool,
    no_inf: bool,
    max_dead: str | None,
    max_constant: str | None,
    max_saturated: str | None,
    max_zeros: str | None,
    min_std: str | None,
    within: str | None,
    junit: Path | None,
    as_json: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Check statistics of layers of MODEL over all INPUTS against limits.

    A limit applies to each layer separately. Without any limit, no value may be NaN or
    infinite. Without --layer, layers that only pass their input on (Flatten, Dropout) are left
    out. Prints a table; the exit code is 8 if a limit is broken.

    A channel is a filter of a convolution, a unit of a Dense or recurrent layer, or a head of
    attention. It is dead when it is 0 everywhere on every input. Masked steps count in no
    statistic. A share is written 10% or 0.1.
    """
    from actviz.commands.check import CheckRequest, check
    from actviz.statistics import limits

    shares = {
        "dead": (max_dead, "--max-dead"),
        "constant": (max_constant, "--max-constant"),
        "saturated": (max_saturated, "--max-saturated"),
        "zeros": (max_zeros, "--max-zeros"),
    }
    asked = limits.Limits(
        no_nan=no_nan,
        no_infinite=no_inf,
        min_std=None if min_std is None else limits.parse_number(min_std, "--min-std"),
        within=None if within is None else limits.parse_range(within, "--range"),
        **{name: limits.parse_share(text, option) for name, (text, option) in shares.items() if text is not None},
    )
    request = CheckRequest(
        **options.take_request(model, values), limits=asked, reports=options.report_targets(junit), **values
    )
    print_events(check(request), quiet=quiet, as_json=as_json)
