"""``actviz render``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from actviz.cli import completion, options
from actviz.cli.defaults import ConfiguredCommand

if TYPE_CHECKING:
    from pathlib import Path


@click.command("render", cls=ConfiguredCommand)
@click.argument("activations", type=options.PATH, shell_complete=completion.arrays)
@options.layer
@click.option("--index", type=click.IntRange(min=0), metavar="N", help="Only the input of this number, the first is 0.")
@click.option(
    "--axes",
    metavar="NAMES",
    help="What the axes of an array are, such as row,column,channel; an axis more in front is the batch.",
)
@options.output
@options.sheet
@options.styled
@options.overwrite
@options.through_link
@options.quiet
def command(  # noqa: PLR0913  (one parameter an option)
    activations: Path,
    layers: tuple[str, ...],
    index: int | None,
    axes: str | None,
    output: str | None,
    *,
    sheet: bool | None,
    overwrite: bool,
    through_link: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Draw figures from saved ACTIVATIONS, without a model.

    ACTIVATIONS is an .npz of actviz extract, or an .npy or .npz of anything else, whose axes
    are then named with --axes. Figures are those that actviz show draws, with the same
    options. Without --layer, one sheet an input shows every spatial layer. The path of each
    file written is printed, one a line.
    """
    from actviz.commands.render import RenderRequest, render

    request = RenderRequest(
        file=activations,
        layers=layers,
        output=output,
        sheet=sheet,
        style=options.style_of(values),
        axes=axes,
        index=index,
        overwrite=overwrite,
        through_link=through_link,
    )
    options.tell(render(request), quiet=quiet)
