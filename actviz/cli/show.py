"""``actviz show``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events


@click.command("show", cls=ConfiguredCommand)
@options.model
@options.input_options
@options.output
@options.sheet
@options.contact
@options.style_options
@options.through_link
@options.batch_options
@options.dry_run
@options.labels
@options.tokens
@options.stateful
@options.run_options
def command(*, shard: str | None, as_json: bool, quiet: bool, **values: Any) -> None:
    """Draw the outputs of layers of MODEL for INPUTS, as labelled PNG figures.

    MODEL is a .keras, .h5 or .tflite file, a SavedModel folder or a frozen .pb graph. INPUTS
    are images, sounds (.wav), arrays (.npy, .npz), text files with one sample per line, folders,
    quoted patterns such as 'images/**/*.png', or @LIST, a file that names inputs. Without any,
    a sample photograph, words of the vocabulary or random numbers are fed. A model with several
    inputs takes --input NAME=FILE for each that the layers need.

    Several models, or a folder of them, are checkpoints: with --layer, one layer of each is
    drawn for one input, as rows of a page or, with -o layer.gif or layer.webp, as frames.

    Without --layer, a sheet shows the layers that change what can be seen. Figures that are up
    to date are not drawn again. The path of each figure is printed, one per line.
    """
    from actviz.commands.show import ShowRequest, show
    from actviz.inputs.input_files import Shard, parse_shard

    checkpoints = _take_checkpoints(values)
    request = ShowRequest(
        checkpoints=checkpoints,
        **options.take_request(values),
        style=options.take_style(values),
        shard=parse_shard(shard) if shard else Shard(),
        **values,
    )
    print_events(show(request), quiet=quiet, as_json=as_json)


def _take_checkpoints(values: dict[str, Any]) -> tuple[Path, ...]:
    """Take further models out of the inputs, if a layer and an input are given; return all models, none if there is one."""
    from actviz.commands.checkpoints import find_checkpoints

    found = find_checkpoints(values["model"], values["inputs"]) if values["layers"] else ()
    files = [Path(text) for text in values["named"] if "=" not in text]
    named = tuple(text for text in values["named"] if "=" in text)
    inputs = (*(path for path in values["inputs"] if path not in found), *files)
    if not found or not (inputs or named or values["lists"]):
        return ()
    values |= {"model": found[0], "inputs": inputs, "named": named}
    return found
