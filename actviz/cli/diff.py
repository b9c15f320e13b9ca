"""``actviz diff``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from actviz.cli import completion, options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events


@click.command("diff", cls=ConfiguredCommand)
@click.argument("ours", type=options.PATH, metavar="A", shell_complete=completion.either)
@click.argument("theirs", type=options.PATH, metavar="B", shell_complete=completion.either)
@options.input_options
@options.repeated(
    "--fail-on",
    "rules",
    metavar="RULE",
    help="Fail if this holds for a layer, such as 'cosine<0.98' or 'relative>5%': max, mean, relative, cosine or"
    " correlation. May be repeated; replaces the default tolerance.",
)
@click.option(
    "--atol",
    type=options.Number(min=0),
    metavar="X",
    help="Absolute tolerance.  [default: 1e-6; 0 with --rtol or --fail-on]",
)
@click.option(
    "--rtol",
    type=options.Number(min=0),
    metavar="X",
    help="Tolerance relative to the layer's largest |value| in A.  [default: 1e-3; 0 with --atol or --fail-on]",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="Draw A, B and B - A of the layers that differ most: folder/, or figure.png, .svg or .pdf for one layer.",
)
@options.count_option("--figures", default=6, metavar="K", help="Number of layers to draw.")
@options.junit
@options.exit_zero
@options.as_json
@options.through_link
@options.repeated(
    "--weights",
    type=options.PATH,
    metavar="FILE",
    help="Weights for A and B, as --weights of show; given twice, the first is for A and the second for B.",
)
@options.run_options_for_two
def command(*, as_json: bool, quiet: bool, **values: Any) -> None:
    """Compare the outputs of the layers of two models for the same INPUTS.

    A and B are two models, or two .npz of actviz extract, which need no TensorFlow. Layers are
    paired by address, the others by order, class and shape. Prints for each pair the largest
    (max) and the mean absolute difference, the relative error (norm of B - A over norm of A),
    the cosine similarity and the correlation of the channel means. If the largest difference of
    a layer exceeds atol + rtol x its largest absolute value in A, or a rule of --fail-on holds,
    the first such layer is named and the exit code is 8.

    Options that open a model apply to both.
    """
    from actviz.commands.diff import diff
    from actviz.commands.diff_request import DiffRequest
    from actviz.statistics.tolerances import parse_rule, tolerances

    values["model"], weights = values.pop("ours"), values.pop("weights")
    if len(weights) > 2:  # noqa: PLR2004  (A and B)
        message = "--weights is given at most twice: for A and for B."
        raise click.UsageError(message)
    shared = options.take_request(values)
    opening = shared.pop("opening")
    rules = tuple(parse_rule(text) for text in values.pop("rules"))
    request = DiffRequest(
        **shared,
        ours=replace(opening, weights=weights[0] if weights else None),
        theirs=replace(opening, model=values.pop("theirs"), weights=weights[-1] if weights else None),
        tolerances=tolerances(values.pop("atol"), values.pop("rtol"), rules),
        reports=options.report_targets(values),
        **values,
    )
    print_events(diff(request), quiet=quiet, as_json=as_json, has_verdict=True)
