"""``actviz show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from actviz.cli import options
from actviz.cli.defaults import ConfiguredCommand

if TYPE_CHECKING:
    from pathlib import Path


@click.command("show", cls=ConfiguredCommand)
@options.model
@options.fed
@options.output
@options.sheet
@options.styled
@options.through_link
@options.batched
@options.dry_run
@options.labels
@options.tokens
@options.stateful
@options.running
def command(  # noqa: PLR0913  (one parameter an option)
    model: Path,
    output: str | None,
    *,
    sheet: bool | None,
    through_link: bool,
    labels: Path | None,
    tokens: Path | None,
    batch_size: int | None,
    shard: str | None,
    force: bool,
    as_json: bool,
    dry_run: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Draw what layers of MODEL compute for INPUTS, as labelled PNG figures.

    MODEL is a .keras, .h5 or .tflite file, a SavedModel folder or a frozen .pb graph. INPUTS are images,
    arrays as .npy or .npz, or text files,
    folders of them, quoted patterns such as 'images/**/*.png', or @LIST, a file that names them;
    without any, a sample photograph, words of the vocabulary or seeded noise are fed. Each line
    of a text file is one sample: a text, or its words or numbers where the model takes several.
    A model with several inputs takes --input NAME=FILE for each that the layers need.

    Figures that an earlier run made of the same model and inputs with the same options are left
    as they are. Without --layer, one sheet shows every spatial layer. The path of each file written is
    printed, one a line.
    """
    from actviz.commands.show import ShowRequest, show
    from actviz.inputs.input_files import Shard, parse_shard

    request = ShowRequest(
        **options.request_of(model, values),
        output=output,
        sheet=sheet,
        style=options.style_of(values),
        through_link=through_link,
        labels=labels,
        tokens=tokens,
        batch_size=batch_size,
        shard=parse_shard(shard) if shard else Shard(),
        force=force,
        dry_run=dry_run,
    )
    options.tell(show(request), quiet=quiet, as_json=as_json)
