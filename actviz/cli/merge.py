"""``actviz merge``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events

if TYPE_CHECKING:
    from pathlib import Path


@click.command("merge", cls=ConfiguredCommand)
@click.argument("parts", type=options.PATH, nargs=-1, required=True)
@click.option(
    "-o", "--output", metavar="PATH", help="figure.png, .svg or .pdf for one layer, page.html or folder/ for several."
)
@click.option(
    "--inputs",
    type=options.PATH,
    metavar="ROOT",
    help="Folder in which the inputs of top are read again for their crops.  [default: where they were]",
)
@options.channels
@options.dark
@options.junit
@options.exit_zero
@options.as_json
@options.overwrite
@options.through_link
@options.quiet
def command(*, parts: tuple[Path, ...], quiet: bool, **values: Any) -> None:
    """Join the PARTS of a run: folders that `actviz top --shard` or `actviz check --shard` wrote.

    The result is that of one run over all inputs: the same bytes, if all parts ran with the same
    versions on the same kind of processor. Crops are those of parts that ran with --keep-crops, or
    are cut from the inputs, if these have not changed. A part that is given twice counts once. Parts of
    different models, options, lists of inputs or batch sizes are refused. The limits of a check
    are judged here; the exit code is 8 if one is broken.
    """
    from actviz.commands.merge import MergeRequest, merge

    request = MergeRequest(parts=parts, reports=options.report_targets(values), **values)
    print_events(merge(request), quiet=quiet, as_json=request.as_json)
