"""Options that commands share: one place for names, types and words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actviz.cli import completion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actviz.inputs import InputOptions
    from actviz.jobs.events import Said, Written
    from actviz.jobs.judging import Judged, Reports
    from actviz.records import Style
    from actviz.worker import Opening

SORTS = ("index", "max", "mean", "std", "l2")
RESIZES = ("fit", "crop", "stretch")
PROJECTIONS = ("max",)
LAYOUTS = ("auto", "channels_first", "channels_last")

PATH = click.Path(path_type=Path)

model = click.argument("model", type=PATH, shell_complete=completion.models)
inputs = click.argument("inputs", type=PATH, nargs=-1)
named = click.option(
    "--input",
    "named",
    multiple=True,
    metavar="NAME=FILE",
    help="The file for one input of a model with several. Repeats; together they make one sample, or one for each row.",
)
layer = click.option(
    "-l",
    "--layer",
    "layers",
    multiple=True,
    metavar="ADDRESS",
    shell_complete=completion.layers,
    help="Layer by name, index (3, -1), slice (2:5), glob ('block*_conv1') or class ('@Conv2D'). Repeats, takes commas.",
)
output = click.option("-o", "--output", metavar="PATH", help="figure.png for one figure, folder/ for several.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace files that this command did not make.")
labels = click.option(
    "--labels", type=PATH, metavar="FILE", help="Names of the classes: one a line, a JSON list or {index: name}."
)
fail_fast = click.option("--fail-fast", is_flag=True, help="Stop at the first input that fails.")
tokens = click.option("--tokens", type=PATH, metavar="FILE", help="Words of the input, one a line, for sequences.")
junit = click.option("--junit", type=PATH, metavar="FILE", help="Write the result as JUnit XML.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object with everything.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors on stderr.")

_OPENING = (
    click.option(
        "--weights", type=PATH, metavar="FILE", help="HDF5 weights, where MODEL is the JSON of an architecture."
    ),
    click.option(
        "--custom-objects",
        multiple=True,
        metavar="CODE",
        help="Run this code for custom layers: module:Name, file.py:Name, or file.py for all in it. Repeats.",
    ),
    click.option("--allow-code", is_flag=True, help="Let Lambda layers run the code that is in the model file."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=120.0,
        show_default=True,
        metavar="SECONDS",
        help="Silence after which the model counts as hung.",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Show what TensorFlow prints."),
)
_STYLE = (
    click.option("--scale", default="filter", show_default=True, metavar="SCALE", help="filter, layer or MIN:MAX."),
    click.option("--cmap", metavar="NAME", help="Any matplotlib colormap."),
    click.option("--columns", type=click.IntRange(min=1), metavar="N", help="Tiles in a row."),
    click.option("--channels", metavar="LIST", help="Which channels, such as 0:16,40."),
    click.option("--sort", type=click.Choice(SORTS), default="index", show_default=True, help="Order of the channels."),
    click.option("--top", type=click.IntRange(min=1), metavar="K", help="Only the first K after sorting."),
    click.option("--zoom", type=click.IntRange(1, 64), metavar="N", help="Pixels for each value."),
    click.option("--project", type=click.Choice(PROJECTIONS), help="One map of all planes or frames of a channel."),
    click.option("--bare", is_flag=True, help="The exact mosaic and nothing else."),
)
_READING = (
    click.option(
        "--resize",
        type=click.Choice(RESIZES),
        default="fit",
        show_default=True,
        help="How images get the model's size: whole and padded, cropped, or stretched.",
    ),
    click.option(
        "--preprocess",
        default="auto",
        show_default=True,
        metavar="RANGE",
        help="auto, 0..1, -1..1, 0..255, caffe, torch or MEAN,STD.",
    ),
    click.option("--invert", is_flag=True, help="Exchange dark and light."),
    click.option(
        "--layout",
        type=click.Choice(LAYOUTS),
        default="auto",
        show_default=True,
        help="Order of the axes of array inputs.",
    ),
    click.option("--allow-nonfinite", is_flag=True, help="Feed NaN and infinities."),
    click.option(
        "--max-pixels", type=click.IntRange(min=1), default=50_000_000, show_default=True, help="Largest image read."
    ),
    click.option("--frame", type=click.IntRange(min=0), default=0, show_default=True, help="Of an animation."),
    click.option("--background", default="white", show_default=True, help="Behind transparent pixels."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of made-up inputs."),
)


def styled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that decide how figures look."""
    for option in reversed(_STYLE):
        function = option(function)
    return function


def reading(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that decide how inputs are read."""
    for option in reversed(_READING):
        function = option(function)
    return function


def opened(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that decide how a model is opened."""
    for option in reversed(_OPENING):
        function = option(function)
    return function


def opening_of(model: Path, values: dict[str, Any]) -> Opening:
    """Take the values of `opened` out of a command's keywords."""
    from actviz.gate import Trust
    from actviz.worker import Opening

    trust = Trust(tuple(values.pop("custom_objects")), allow_code=values.pop("allow_code"))
    _ = trust.sources  # refuses what names no code before anything is started
    return Opening(model, values.pop("weights"), trust, values.pop("timeout"), values.pop("verbose"))


def style_of(values: dict[str, Any]) -> Style:
    """Take the values of `styled` out of a command's keywords."""
    from actviz.records import Style

    names = ("scale", "cmap", "columns", "channels", "sort", "top", "zoom", "bare", "project")
    return Style(**{name: values.pop(name) for name in names})


def reading_of(values: dict[str, Any]) -> InputOptions:
    """Take the values of `reading` out of a command's keywords."""
    from actviz.inputs.options import InputOptions

    names = ("resize", "preprocess", "invert", "layout", "allow_nonfinite", "frame", "background", "seed")
    taken = {name: values.pop(name) for name in names}
    return InputOptions(**taken, maximum_pixels=values.pop("max_pixels"))


def reports_of(junit: Path | None) -> Reports:
    """Return where results go beside the terminal; GitHub's environment says whether it reads along."""
    from actviz.jobs.judging import Reports

    github = os.environ.get("GITHUB_ACTIONS") == "true"
    summary = os.environ.get("GITHUB_STEP_SUMMARY") if github else None
    return Reports(junit, github, Path(summary) if summary else None)


def tell_judged(events: Iterable[Said | Written | Judged], *, quiet: bool, as_json: bool) -> None:
    """Print what a job that judges tells: with `as_json` only its numbers go to stdout, else a table and paths."""
    import json

    from actviz.jobs.events import Said, Written

    for event in events:
        if isinstance(event, Said):
            if event.plain:
                click.echo(event.text, err=True)
            elif not quiet:
                click.echo(f"actviz: {event.text}", err=True)
        elif isinstance(event, Written):
            click.echo(str(event.path), err=as_json)
        else:
            click.echo(json.dumps(event.record, allow_nan=False) if as_json else event.table)


def tell(events: Iterable[Said | Written], *, quiet: bool) -> None:
    """Print what a job tells: paths to stdout, lines for people to stderr."""
    from actviz.jobs.events import Said

    for event in events:
        if not isinstance(event, Said):
            click.echo(str(event.path))
        elif not quiet:
            click.echo(f"actviz: {event.text}", err=True)
