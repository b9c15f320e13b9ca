"""``actviz diff``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from actviz.cli import completion, options
from actviz.cli.defaults import ConfiguredCommand

if TYPE_CHECKING:
    from pathlib import Path


@click.command("diff", cls=ConfiguredCommand)
@click.argument("ours", type=options.PATH, metavar="A", shell_complete=completion.either)
@click.argument("theirs", type=options.PATH, metavar="B", shell_complete=completion.either)
@options.fed
@click.option(
    "--fail-on",
    "rules",
    multiple=True,
    metavar="RULE",
    help="Fail where this holds for a layer, such as 'cosine<0.98' or 'relative>5%': max, mean, relative, cosine or"
    " correlation. Repeats; replaces the default tolerance.",
)
@click.option(
    "--atol", type=options.Number(min=0), metavar="X", help="Absolute tolerance; 1e-6 where nothing is asked for."
)
@click.option(
    "--rtol",
    type=options.Number(min=0),
    metavar="X",
    help="Tolerance relative to the layer's largest value in A; 1e-3 where nothing is asked for.",
)
@click.option("-o", "--output", metavar="FOLDER", help="Draw A, B and B - A of the layers that differ most.")
@click.option(
    "--figures", type=click.IntRange(min=1), default=6, show_default=True, metavar="K", help="How many layers."
)
@options.junit
@options.as_json
@options.through_link
@options.running
def command(  # noqa: PLR0913  (one parameter an option)
    ours: Path,
    theirs: Path,
    rules: tuple[str, ...],
    atol: float | None,
    rtol: float | None,
    output: str | None,
    figures: int,
    junit: Path | None,
    *,
    as_json: bool,
    through_link: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Compare what the layers of two models compute for the same INPUTS.

    A and B are two models, or two .npz of actviz extract (then TensorFlow is not needed).
    Layers belong together by address, the others by order, class and shape. Prints for each
    pair the largest (max) and the mean absolute difference, the relative error (length of
    B - A over length of A), the cosine similarity and the correlation of the means of the
    channels. Ends with code 8 and the first layer that diverges where one is beyond a
    tolerance: the largest difference at most atol + rtol x the largest absolute value of
    the layer in A, and none of the rules of --fail-on.

    Options that open a model hold for both.
    """
    from actviz.commands.diff import DiffRequest, diff
    from actviz.statistics.tolerances import parse_rule, tolerances

    asked = options.request_of(ours, values)
    opening = asked.pop("opening")
    request = DiffRequest(
        **asked,
        ours=opening,
        theirs=replace(opening, model=theirs),
        tolerances=tolerances(atol, rtol, tuple(parse_rule(text) for text in rules)),
        output=output,
        figures=figures,
        through_link=through_link,
        reports=options.reports_of(junit),
    )
    options.tell_judged(diff(request), quiet=quiet, as_json=as_json)
