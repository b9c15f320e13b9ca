"""``actviz diff``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from actviz.cli import completion, options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events

if TYPE_CHECKING:
    from pathlib import Path


@click.command("diff", cls=ConfiguredCommand)
@click.argument("ours", type=options.PATH, metavar="A", shell_complete=completion.either)
@click.argument("theirs", type=options.PATH, metavar="B", shell_complete=completion.either)
@options.input_options
@click.option(
    "--fail-on",
    "rules",
    multiple=True,
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
@click.option("-o", "--output", metavar="FOLDER", help="Draw A, B and B - A of the layers that differ most.")
@click.option(
    "--figures", type=click.IntRange(min=1), default=6, show_default=True, metavar="K", help="Number of layers to draw."
)
@options.junit
@options.as_json
@options.through_link
@click.option(
    "--weights",
    type=options.PATH,
    multiple=True,
    metavar="FILE",
    help="Weights for A and B, as --weights of show; given twice, the first is for A and the second for B.",
)
@options.run_options_for_two
def command(  # noqa: PLR0913  (one parameter per option)
    ours: Path,
    theirs: Path,
    *,
    rules: tuple[str, ...],
    atol: float | None,
    rtol: float | None,
    junit: Path | None,
    weights: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Compare the outputs of the layers of two models for the same INPUTS.

    A and B are two models, or two .npz of actviz extract, which need no TensorFlow. Layers are
    paired by address, the others by order, class and shape. Prints for each pair the largest
    (max) and the mean absolute difference, the relative error (norm of B - A over norm of A),
    the cosine similarity and the correlation of the channel means. If the largest difference of
    a layer exceeds atol + rtol x its largest absolute value in A, or a rule of --fail-on holds,
    the first such layer is named and the exit code is 8.

    Options that open a model apply to both.
    """
    if len(weights) > 2:  # noqa: PLR2004  (A and B)
        message = "--weights is given at most twice: for A and for B."
        raise click.UsageError(message)
    from actviz.commands.diff import diff
    from actviz.commands.diff_request import DiffRequest
    from actviz.statistics.tolerances import parse_rule, tolerances

    shared = options.take_request(ours, values)
    opening = shared.pop("opening")
    request = DiffRequest(
        **shared,
        ours=replace(opening, weights=weights[0] if weights else None),
        theirs=replace(opening, model=theirs, weights=weights[-1] if weights else None),
        tolerances=tolerances(atol, rtol, tuple(parse_rule(text) for text in rules)),
        reports=options.report_targets(junit),
        **values,
    )
    print_events(diff(request), quiet=quiet, as_json=as_json)
