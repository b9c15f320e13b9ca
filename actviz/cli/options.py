"""Options that several commands share, and the functions that take their values."""

from __future__ import annotations

import functools
import math
import os
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from actviz.cli import completion
from actviz.errors import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from _typeshed import DataclassInstance

    from actviz.commands.verdicts import ReportTargets
    from actviz.records import Style
    from actviz.worker import ModelOptions

Record = TypeVar("Record", bound="DataclassInstance")

PATH = click.Path(path_type=Path)
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(value: object) -> int:
    """Parse a number of bytes such as ``4G``, ``500M`` or ``1.5 GiB``; 1 K is 1024, in every option."""
    match = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?)(?:I?B)?\s*", str(value).upper())
    size = int(float(match[1]) * UNITS[match[2]]) if match else 0
    if not size:
        message = f'"{escape(str(value), 40)}" is not a size; give one such as 4G or 20MB'
        raise click.BadParameter(message)
    return size


class Number(click.FloatRange):
    """A number within a range; unlike click's own type it refuses NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or fail."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


class Reduction(click.Choice[str]):
    """A reduction of channels, of which nmf takes a number of parts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the reduction, or fail."""
        if re.fullmatch(r"nmf:([2-9]|1[0-2])", str(value)):
            return str(value)
        if str(value).startswith("nmf"):
            self.fail(f"{escape(str(value), 40)}: 2 to 12 parts can be drawn, such as nmf:6.", param, ctx)
        return super().convert(value, param, ctx)


POSITIVE = Number(min=0, min_open=True)

flag = functools.partial(click.option, is_flag=True)
repeated = functools.partial(click.option, multiple=True)
file_option = functools.partial(click.option, type=PATH, metavar="FILE")
count_option = functools.partial(click.option, type=click.IntRange(min=1), metavar="N")
index_option = functools.partial(click.option, type=click.IntRange(min=0), metavar="N")
seconds_option = functools.partial(click.option, type=POSITIVE, metavar="SECONDS")


def choice_option(name: str, choices: Sequence[str], **settings: Any) -> Callable[[Any], Any]:
    """Return an option that takes one of some words."""
    return click.option(name, type=click.Choice(choices), **settings)


model = click.argument("model", type=PATH, shell_complete=completion.models)
layer = repeated(
    "-l",
    "--layer",
    "layers",
    metavar="ADDRESS",
    shell_complete=completion.layers,
    help="Layer by name, index (3, -1), slice (2:5), glob ('block*_conv1') or class ('@Conv2D')."
    " '!@BatchNormalization' leaves out. May be repeated; takes commas.",
)
output = click.option(
    "-o", "--output", metavar="PATH", help="figure.png, .svg or .pdf for one figure, folder/ for several."
)
overwrite = flag("--overwrite", help="Replace any file, not only the same result of an earlier run.")
through_link = flag("--through-link", help="Write to the folder given with -o even if it is a symbolic link.")
labels = file_option("--labels", help="Class names: one per line, a JSON list or {index: name}.")
fail_fast = flag("--fail-fast", help="Stop at the first input that fails.")
dry_run = flag("--dry-run", help="Print what would be drawn: figures, pixels, estimated memory and time.")
tokens = file_option("--tokens", help="Words of the input, one per line, for sequences.")
junit = file_option("--junit", help="Write the result as JUnit XML.")
exit_zero = flag("--exit-zero", help="Exit with code 0 even if a limit is broken or layers differ.")
as_json = flag("--json", "as_json", help="Print one JSON object with everything.")
sheet = click.option(
    "--sheet/--no-sheet",
    default=None,
    help="Draw all layers of an input on one page, or one file each. Default: a page if no --layer is given.",
)
contact = flag(
    "--contact", help="Draw one channel, such as -l conv:17, for all inputs on one page, the strongest first."
)
stateful = flag(
    "--stateful", help="Run the samples of one input in order, each on the state that the previous one left."
)
quiet = flag("-q", "--quiet", help="Print only errors on stderr.")

_WEIGHTS = (
    repeated(
        "--weights",
        type=PATH,
        metavar="FILE",
        help="Weights for MODEL, a .keras or .h5 file or the JSON of an architecture: HDF5, .keras or a TensorFlow"
        " checkpoint. show takes several, or a folder of them, as checkpoints.",
    ),
)
_MODEL = (
    repeated(
        "--custom-objects",
        metavar="CODE",
        help="Run this code for custom layers: module:Name, file.py:Name, or file.py for all in it. May be repeated.",
    ),
    click.option(
        "--signature", metavar="NAME", help="Signature of a SavedModel or .tflite file.  [default: the one for serving]"
    ),
    repeated("--tag", "tags", metavar="TAG", help="Graph of a SavedModel with several. May be repeated."),
    flag("--allow-code", help="Let Lambda layers run the code that is in the model file."),
    seconds_option("--timeout", default=120.0, help="Time without an answer after which the model counts as hung."),
    seconds_option("--open-timeout", default=30.0, help="CPU time that reading the model file may take."),
    click.option(
        "--max-memory",
        "memory",
        type=parse_size,
        metavar="SIZE",
        help="Memory that opening and running the model may take, such as 4G.  [default: 4/5 of the machine's]",
    ),
    flag("--strict", help="Refuse a model with NaN or infinite weights, a misleading name, or layers that need code."),
    flag("-v", "--verbose", help="Show what TensorFlow prints."),
)
channels = click.option("--channels", metavar="LIST", help="Channels to draw, such as 0:16,40 or all.")
zoom = count_option("--zoom", type=click.IntRange(1, 64), help="Pixels for each value.")
of = click.option(
    "--of",
    default="top",
    metavar="TARGET",
    help="What is explained: top (the predicted class), top3, a class by number or name, or a channel of a layer"
    " such as conv:17. Takes commas.",
)
dark = flag("--dark", help="Light text on a dark page.")
cmap = click.option("--cmap", metavar="NAME", help="Any matplotlib colormap.")
columns = count_option("--columns", help="Tiles in a row.")
font_scale = click.option(
    "--font-scale",
    type=Number(0.5, 4),
    default=1.0,
    metavar="FACTOR",
    help="Factor of all text sizes, for pages that are shrunk to a slide or a column.",
)
dpi = count_option("--dpi", type=click.IntRange(10, 2400), help="Pixels per inch that the PNG files record.")
_STYLE = (
    click.option(
        "--scale",
        default="auto",
        metavar="SCALE",
        help="Range of the colors: one for each filter, layer or run, MIN:MAX, percentiles p1:99 (of each tile:"
        " filter:p1:99), or those of an earlier run, from:manifest.json. auto: the bounds of the activation"
        " function if there are any, else filter for maps and layer for the rest.",
    ),
    cmap,
    columns,
    channels,
    choice_option(
        "--sort",
        ("index", "max", "mean", "std", "l2"),
        help="Order of the channels.  [default: mean |value| with --top, else index]",
    ),
    count_option("--top", metavar="K", help="Only the K strongest by --sort."),
    zoom,
    choice_option("--project", ("max",), help="One map of all planes or frames of a channel."),
    flag("--overlay", help="Draw each map over the input image, aligned by receptive fields."),
    click.option(
        "--reduce",
        type=Reduction(("mean", "max", "l2", "nmf:6")),
        help="One map of all chosen channels; nmf:N: N parts of a layer without negative values, over the input.",
    ),
    click.option(
        "--max-megapixels",
        "megapixels",
        type=Number(0.5, 100),
        default=16.0,
        metavar="N",
        help="Largest page of a sheet, which continues on further pages.",
    ),
    flag("--histogram", help="Add the distribution of the layer's values."),
    font_scale,
    dpi,
    dark,
    flag("--bare", help="The mosaic of the tiles only."),
)
_READING = (
    choice_option(
        "--resize",
        ("stretch", "crop", "pad"),
        default="stretch",
        help="How images get the model's size: stretched as by Keras's loaders, cropped, or padded.",
    ),
    click.option(
        "--preprocess",
        default="auto",
        metavar="RANGE",
        help="auto, 0..1, -1..1, 0..255, caffe, torch or MEAN,STD; or file.py:function, code that reads each file.",
    ),
    flag("--invert", help="Exchange dark and light."),
    choice_option(
        "--layout",
        ("auto", "channels_first", "channels_last"),
        default="auto",
        help="Order of the axes of array inputs.",
    ),
    flag("--allow-nonfinite", help="Feed NaN and infinities."),
    count_option("--max-pixels", "maximum_pixels", default=50_000_000, help="Largest image that is read."),
    index_option("--frame", default=0, help="Frame of an animation, or page of a TIFF."),
    click.option(
        "--sample-rate", type=click.IntRange(1, 1_000_000), metavar="HZ", help="Resample sounds (.wav) to this rate."
    ),
    click.option("--background", default="white", metavar="COLOR", help="Color behind transparent pixels."),
    index_option("--seed", default=0, help="Seed of generated inputs."),
)
_INPUTS = (
    click.argument("inputs", type=PATH, nargs=-1),
    repeated(
        "--input",
        "named",
        metavar="NAME=FILE",
        help="File for one input of a model with several. May be repeated; the files together are one sample, or"
        " one for each row.",
    ),
    repeated(
        "--files-from",
        "lists",
        metavar="FILE",
        help="Read the names of inputs from FILE, one per line; - is standard input. May be repeated.",
    ),
    flag("-0", "--null", "separated_by_nul", help="Names in lists end with a NUL byte."),
    layer,
)
_EXPLAIN = (
    of,
    click.option(
        "--method",
        "methods",
        default="",
        metavar="NAME",
        help="gradcam, gradcam++, layercam, saliency, smoothgrad, integrated-gradients, occlusion, rise, scorecam"
        " or eigencam. Takes commas.  [default: gradcam, or occlusion without gradients]",
    ),
)
shard = click.option("--shard", metavar="N/M", help="Process only part N of M of the inputs.")
resume = flag("--resume", help="Keep what is done in the folder of --output, and continue there.")
_BATCH = (
    count_option("--batch-size", type=click.IntRange(1, 4096), help="Inputs in a batch.  [default: by layer sizes]"),
    shard,
    flag("--force", help="Draw figures that are up to date again."),
    flag("--changed", help="Print only figures that are drawn now, not those that are up to date."),
    flag("--json", "as_json", help="Print the record of each figure, one per line, not its path."),
)


def _group(options: Iterable[Callable[..., Any]]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds options so that `--help` lists them in this order."""
    backwards = tuple(options)[::-1]

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in backwards:
            function = option(function)
        return function

    return add


style_options = _group(_STYLE)
"""How figures look; `take_style` takes their values."""
input_options = _group(_INPUTS)
"""Inputs and layers; `take_request` takes their values."""
model_options = _group((*_WEIGHTS, *_MODEL))
"""How a model is opened; `take_model_options` takes their values."""
explain_options = _group(_EXPLAIN)
"""What is explained, and how."""
batch_options = _group(_BATCH)
"""Options for many inputs."""
run_options = _group((*_READING, overwrite, fail_fast, *_WEIGHTS, *_MODEL, quiet))
"""Options of every command that runs a model, beside `input_options`; `take_request` takes their values."""
run_options_for_two = _group((*_READING, overwrite, fail_fast, *_MODEL, quiet))
"""`run_options` of a command with two models, which has a `--weights` of its own."""


def take_request(values: dict[str, Any]) -> dict[str, Any]:
    """Pop the values of `input_options` and `run_options`; return them as the fields of a `ModelRequest`."""
    from actviz.inputs import InputArguments, InputOptions, preprocess_option

    opening = take_model_options(values)
    paths = values.pop("inputs")
    inputs = InputArguments(paths, *(values.pop(name) for name in ("named", "lists", "separated_by_nul")))
    common = {name: values.pop(name) for name in ("layers", "overwrite", "fail_fast")}
    values |= preprocess_option(values.pop("preprocess"))
    return common | {"opening": opening, "inputs": inputs, "reading": take_record(InputOptions, values)}


def take_request_of_part(values: dict[str, Any]) -> dict[str, Any]:
    """Return `take_request` for a command with `shard`, whose value is in the inputs."""
    from actviz.inputs import parse_shard

    shard, taken = values.pop("shard"), take_request(values)
    if shard:
        taken["inputs"] = replace(taken["inputs"], shard=parse_shard(shard))
    return taken


def take_model_options(values: dict[str, Any]) -> ModelOptions:
    """Pop the values of `model` and `model_options`."""
    from actviz.gate import TrustPolicy
    from actviz.records import GraphSelection
    from actviz.worker import ModelOptions

    trust = TrustPolicy(
        tuple(values.pop("custom_objects")), allow_code=values.pop("allow_code"), strict=values["strict"]
    )
    _ = trust.sources  # refuses malformed --custom-objects before anything is started
    named = tuple(text.partition("=")[0] for text in values.get("named", ()) if "=" in text)
    choice = GraphSelection(values.pop("signature"), tuple(values.pop("tags")), named)
    weights = values.pop("weights", ())
    if len(weights) > 1:
        message = f"--weights is given {len(weights)} times; one file was expected. Compare two with actviz diff, or draw a layer of several with actviz show."
        raise click.UsageError(message)
    return take_record(ModelOptions, values, weights=next(iter(weights), None), trust=trust, choice=choice)


def take_style(values: dict[str, Any]) -> Style:
    """Pop the values of `style_options`."""
    from actviz.records import Style

    return take_record(Style, values)


def take_record(record: type[Record], values: dict[str, Any], **more: Any) -> Record:
    """Pop the values that are named as the fields of a dataclass, and return an instance with these and `more`."""
    return record(**{field.name: values.pop(field.name) for field in fields(record) if field.name in values}, **more)


def report_targets(values: dict[str, Any]) -> ReportTargets:
    """Pop the values of `junit` and `exit_zero`; add the job summary of GitHub Actions."""
    from actviz.commands.verdicts import ReportTargets

    github = os.environ.get("GITHUB_ACTIONS") == "true"
    summary = os.environ.get("GITHUB_STEP_SUMMARY") if github else None
    return ReportTargets(values.pop("junit"), github, Path(summary) if summary else None, values.pop("exit_zero"))
