"""Options that commands share: one place for names, types and words."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actviz.cli import completion
from actviz.cli.notes import write_note
from actviz.errors import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actviz.batch.events import Event, FileWritten, Note
    from actviz.cli.progress import Bar
    from actviz.commands.verdicts import ReportTargets, Verdict
    from actviz.inputs import InputOptions
    from actviz.records import Style
    from actviz.worker import ModelOptions

SORTS = ("index", "max", "mean", "std", "l2")
RESIZES = ("stretch", "crop", "pad")
PROJECTIONS = ("max",)
REDUCTIONS = ("mean", "max", "l2")
LAYOUTS = ("auto", "channels_first", "channels_last")

PATH = click.Path(path_type=Path)
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _size(text: str) -> int:
    """Take a number of bytes as people write it: ``4G``, ``500M``, ``1.5 GiB``."""
    found = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?)(?:I?B)?\s*", text.upper())
    size = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if not size:
        message = f'"{escape(text, 40)}" is no size; give one such as 4G or 500M'
        raise click.BadParameter(message)
    return size


class Number(click.FloatRange):
    """A number within a range; click takes one that is not a number for any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or say what is wrong with it."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


model = click.argument("model", type=PATH, shell_complete=completion.models)
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
through_link = click.option(
    "--through-link", is_flag=True, help="Write to the folder that -o names though it is a symbolic link."
)
labels = click.option(
    "--labels", type=PATH, metavar="FILE", help="Names of the classes: one a line, a JSON list or {index: name}."
)
fail_fast = click.option("--fail-fast", is_flag=True, help="Stop at the first input that fails.")
dry_run = click.option(
    "--dry-run", is_flag=True, help="Say what would be made: figures, pixels, estimated memory and time."
)
tokens = click.option("--tokens", type=PATH, metavar="FILE", help="Words of the input, one a line, for sequences.")
junit = click.option("--junit", type=PATH, metavar="FILE", help="Write the result as JUnit XML.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object with everything.")
sheet = click.option(
    "--sheet/--no-sheet",
    "sheet",
    default=None,
    help="All layers of an input on one page, or one file each. Default: a page where no --layer is given.",
)
stateful = click.option(
    "--stateful",
    is_flag=True,
    help="Run the samples of one input in order, each on the state that the one before left.",
)
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
    click.option("--signature", metavar="NAME", help="Which signature of a SavedModel; the one for serving otherwise."),
    click.option(
        "--tag", "tags", multiple=True, metavar="TAG", help="Which graph of a SavedModel that holds several. Repeats."
    ),
    click.option("--allow-code", is_flag=True, help="Let Lambda layers run the code that is in the model file."),
    click.option(
        "--timeout",
        type=Number(min=0, min_open=True),
        default=120.0,
        show_default=True,
        metavar="SECONDS",
        help="Silence after which the model counts as hung.",
    ),
    click.option(
        "--open-timeout",
        type=Number(min=0, min_open=True),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="Processor time that reading the model file may take.",
    ),
    click.option(
        "--max-memory",
        type=_size,
        metavar="SIZE",
        help="Most that opening and running the model may take, such as 4G.  [default: 4/5 of the machine's]",
    ),
    click.option("--strict", is_flag=True, help="Refuse a model with NaN or infinite weights, or a misleading name."),
    click.option("-v", "--verbose", is_flag=True, help="Show what TensorFlow prints."),
)
_STYLE = (
    click.option(
        "--scale",
        default="auto",
        show_default=True,
        metavar="SCALE",
        help="What colours stand for: a range for each filter, layer or run, MIN:MAX, percentiles p1:99 (of each tile: filter:p1:99), or those of an earlier run, from:manifest.json. auto: the bounds of the activation function, else filter for maps, layer for the rest.",
    ),
    click.option("--cmap", metavar="NAME", help="Any matplotlib colormap."),
    click.option("--columns", type=click.IntRange(min=1), metavar="N", help="Tiles in a row."),
    click.option("--channels", metavar="LIST", help="Which channels, such as 0:16,40 or all."),
    click.option(
        "--sort",
        type=click.Choice(SORTS),
        help="Order of the channels.  [default: mean |value| with --top, else index]",
    ),
    click.option("--top", type=click.IntRange(min=1), metavar="K", help="Only the K strongest by --sort."),
    click.option("--zoom", type=click.IntRange(1, 64), metavar="N", help="Pixels for each value."),
    click.option("--project", type=click.Choice(PROJECTIONS), help="One map of all planes or frames of a channel."),
    click.option("--overlay", is_flag=True, help="Lay each map over the input's picture, where its values look."),
    click.option("--reduce", type=click.Choice(REDUCTIONS), help="One map of all chosen channels of a layer."),
    click.option(
        "--max-megapixels",
        "megapixels",
        type=Number(0.5, 100),
        default=16.0,
        show_default=True,
        metavar="N",
        help="Largest page of a sheet: it is shrunk to that, or with --channels or --top goes on on further pages.",
    ),
    click.option("--histogram", is_flag=True, help="Add the distribution of the layer's values."),
    click.option("--dark", is_flag=True, help="Light text on a dark page."),
    click.option("--bare", is_flag=True, help="The exact mosaic and nothing else."),
)
_READING = (
    click.option(
        "--resize",
        type=click.Choice(RESIZES),
        default="stretch",
        show_default=True,
        help="How images get the model's size: stretched as by Keras's loaders, cropped, or whole and padded.",
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
    click.option(
        "--sample-rate", type=click.IntRange(1, 1_000_000), metavar="HZ", help="Resample sounds (.wav) to this rate."
    ),
    click.option("--background", default="white", show_default=True, help="Behind transparent pixels."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of made-up inputs."),
)
_FED = (
    click.argument("inputs", type=PATH, nargs=-1),
    click.option(
        "--input",
        "named",
        multiple=True,
        metavar="NAME=FILE",
        help="The file for one input of a model with several. Repeats; together they make one sample, or one for each row.",
    ),
    click.option(
        "--files-from",
        "lists",
        multiple=True,
        metavar="FILE",
        help="Read the names of inputs from FILE, one a line; - is standard input. Repeats.",
    ),
    click.option("-0", "--null", "separated_by_nul", is_flag=True, help="Names in lists end with a NUL byte."),
    layer,
)
_BATCH = (
    click.option(
        "--batch-size", type=click.IntRange(1, 4096), metavar="N", help="Inputs computed at a time; chosen otherwise."
    ),
    click.option("--shard", metavar="N/M", help="Do only part N of M of the inputs."),
    click.option("--force", is_flag=True, help="Make figures again that are up to date."),
    click.option("--json", "as_json", is_flag=True, help="Print the record of each figure, one a line, not its path."),
)


def _adding(options: Iterable[Callable[..., Any]]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds options in the order of their help."""
    backwards = tuple(options)[::-1]

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in backwards:
            function = option(function)
        return function

    return add


styled = _adding(_STYLE)
"""Options that decide how figures look."""
fed = _adding(_FED)
"""Inputs and layers; their values are taken by `request_of`."""
opened = _adding(_OPENING)
"""Options that decide how a model is opened."""
batched = _adding(_BATCH)
"""Options of work on many inputs."""
running = _adding((*_READING, overwrite, fail_fast, *_OPENING, quiet))
"""What goes with `fed` in every command that runs a model; its values are taken by `request_of`."""


def request_of(model: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Take the values of `fed` and `running` out of a command's keywords, as a `ModelRequest` names them."""
    opening = opening_of(model, values)
    names = ("inputs", "named", "layers", "lists", "separated_by_nul", "overwrite", "fail_fast")
    return {name: values.pop(name) for name in names} | {"opening": opening, "reading": reading_of(values)}


def opening_of(model: Path, values: dict[str, Any]) -> ModelOptions:
    """Take the values of `opened` out of a command's keywords."""
    from actviz.gate import TrustPolicy
    from actviz.records import GraphSelection
    from actviz.worker import ModelOptions

    trust = TrustPolicy(tuple(values.pop("custom_objects")), allow_code=values.pop("allow_code"))
    _ = trust.sources  # refuses what names no code before anything is started
    weights, timeout, memory = (values.pop(name) for name in ("weights", "timeout", "max_memory"))
    named = tuple(text.partition("=")[0] for text in values.get("named", ()) if "=" in text)
    choice = GraphSelection(values.pop("signature"), tuple(values.pop("tags")), named)
    verbose, strict, reading = (values.pop(name) for name in ("verbose", "strict", "open_timeout"))
    return ModelOptions(model, weights, trust, timeout, verbose, memory, strict, choice, reading)


def style_of(values: dict[str, Any]) -> Style:
    """Take the values of `styled` out of a command's keywords."""
    from actviz.records import Style

    names = (
        "scale",
        "cmap",
        "columns",
        "channels",
        "sort",
        "top",
        "zoom",
        "bare",
        "project",
        "overlay",
        "reduce",
        "megapixels",
        "histogram",
        "dark",
    )
    return Style(**{name: values.pop(name) for name in names})


def reading_of(values: dict[str, Any]) -> InputOptions:
    """Take the values of the options that decide how inputs are read out of a command's keywords."""
    from actviz.inputs.input_options import InputOptions

    names = (
        "resize",
        "preprocess",
        "invert",
        "layout",
        "allow_nonfinite",
        "frame",
        "background",
        "seed",
        "sample_rate",
    )
    taken = {name: values.pop(name) for name in names}
    return InputOptions(**taken, maximum_pixels=values.pop("max_pixels"), stateful=values.pop("stateful", False))


def reports_of(junit: Path | None) -> ReportTargets:
    """Return where results go beside the terminal; GitHub's environment says whether it reads along."""
    from actviz.commands.verdicts import ReportTargets

    github = os.environ.get("GITHUB_ACTIONS") == "true"
    summary = os.environ.get("GITHUB_STEP_SUMMARY") if github else None
    return ReportTargets(junit, github, Path(summary) if summary else None)


def tell_judged(events: Iterable[Note | FileWritten | Verdict], *, quiet: bool, as_json: bool) -> None:
    """Print what a job that judges tells: with `as_json` only its numbers go to stdout, else a table and paths."""
    from actviz.batch.events import FileWritten, Note

    for event in events:
        if isinstance(event, Note):
            if event.plain:
                write_note(event.text)
            elif not quiet:
                write_note(f"actviz: {event.text}")
        elif isinstance(event, FileWritten):
            if not as_json:
                click.echo(str(event.path))
            elif not quiet:
                write_note(str(event.path))
        else:
            click.echo(json.dumps(event.record, allow_nan=False) if as_json else event.table)


def tell(events: Iterable[Event], *, quiet: bool, as_json: bool = False) -> None:
    """Print what a job tells: paths to stdout (records with `as_json`), lines for people to stderr.

    A job that is left before its end, because stdout is closed, ends in good order.
    """
    from actviz.cli.progress import Bar

    generator = iter(events)
    bar = Bar(shown=not quiet)
    try:
        for event in generator:
            _print(event, bar, quiet=quiet, as_json=as_json)
    except BaseException as failure:
        # A signal that came while a line was printed: the job ends in good order and has more to print.
        throw = getattr(generator, "throw", None)
        if isinstance(failure, Exception) or throw is None:
            raise
        with contextlib.suppress(StopIteration, OSError, type(failure)):
            _print(throw(failure), bar, quiet=quiet, as_json=as_json)
            for event in generator:
                _print(event, bar, quiet=quiet, as_json=as_json)
        raise
    finally:
        bar.clear()
        close = getattr(generator, "close", None)
        if close is not None:
            close()


def _print(event: Event, bar: Bar, *, quiet: bool, as_json: bool) -> None:
    from actviz.batch.events import FileFailed, FileWritten, Note, Output, Progress

    if isinstance(event, Progress):
        bar.update(event.done, event.total)
    elif isinstance(event, Note):
        if not quiet:
            with bar.aside():
                write_note(f"actviz: {event.text}")
    elif isinstance(event, Output):
        with bar.aside(output=True):
            click.echo(event.text)
    elif as_json and isinstance(event, FileWritten | FileFailed):
        with bar.aside(output=True):
            click.echo(json.dumps(dict(event.record or {}), sort_keys=True, allow_nan=False))
    elif isinstance(event, FileWritten):
        with bar.aside(output=True):
            click.echo(str(event.path), color=True)  # said, so that click does not ask the terminal each time
