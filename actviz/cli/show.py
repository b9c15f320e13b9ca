"""``actviz show``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.printer import print_events

if TYPE_CHECKING:
    from actviz.worker import ModelOptions


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

    Several models, several --weights, or a folder of either are checkpoints: with --layer, one
    layer of each is drawn for one input, as rows of a page or, with -o layer.gif or layer.webp,
    as frames.

    Without --layer, a sheet shows the layers that change what can be seen. Figures that are up
    to date are not drawn again. The path of each figure is printed, one per line.
    """
    from actviz.commands.show import ShowRequest, show
    from actviz.inputs.input_files import Shard, parse_shard

    models, weights = _take_checkpoints(values)
    taken = options.take_request(values)
    request = ShowRequest(
        checkpoints=_openings(taken["opening"], models, weights),
        **taken,
        style=options.take_style(values),
        shard=parse_shard(shard) if shard else Shard(),
        **values,
    )
    print_events(show(request), quiet=quiet, as_json=as_json)


def _take_checkpoints(values: dict[str, Any]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Take several models and several weights out of the values, and return them; none of a kind of which there is one.

    Further models are among the inputs; they are checkpoints if a layer and an input are given.
    """
    from actviz.commands.checkpoints import find_checkpoints, find_weights

    weights = find_weights(values["weights"])
    models = find_checkpoints(values["model"], values["inputs"]) if values["layers"] else ()
    files = [Path(text) for text in values["named"] if "=" not in text]
    named = tuple(text for text in values["named"] if "=" in text)
    inputs = (*(path for path in values["inputs"] if path not in models), *files)
    if not (inputs or named or values["lists"]):
        models = ()
    if models or weights:
        values |= {"inputs": inputs, "named": named}
    if models:
        values["model"] = models[0]
    if weights:
        values["weights"] = ()
    return models, weights


def _openings(opening: ModelOptions, models: tuple[Path, ...], weights: tuple[Path, ...]) -> tuple[ModelOptions, ...]:
    """Return how each checkpoint is opened."""
    if models and weights:
        message = f"{len(models)} models and {len(weights)} --weights: give several of one kind."
        raise click.UsageError(message)
    return (*(replace(opening, model=path) for path in models), *(replace(opening, weights=path) for path in weights))
