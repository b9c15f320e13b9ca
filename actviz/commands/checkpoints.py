"""`show` with several checkpoints: one layer of each for the same input, as rows of a page or frames of an animation."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actviz.addresses import select_layers_of
from actviz.batch import figure_writer, requests
from actviz.batch.events import Event, FileWritten
from actviz.batch.output_paths import FORMATS
from actviz.batch.vector_figure import write_picture
from actviz.errors import UsageError, escape
from actviz.records import Context
from actviz.results.animation import SUFFIXES
from actviz.system.file_system import exists, is_folder
from actviz.system.folders import list_folder
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from actviz.commands.show_request import ShowRequest
    from actviz.figures.checkpoints_figure import Checkpoint, CheckpointFigure
    from actviz.records import Sample

OF_MODEL_FOLDERS = ("saved_model.pb", "saved_model.pbtxt", "config.json", "model.json")
MODELS = (".keras", ".h5", ".hdf5", ".tflite", ".pb")
WEIGHTS = (".keras", ".h5", ".hdf5", ".index")
"""Suffixes of weights in a folder; an index is that of a TensorFlow checkpoint."""
LATEST = "checkpoint"
"""The file of a folder that names its latest TensorFlow checkpoint."""
FRAME, LAST_FRAME = 600, 1800
"""Milliseconds that a frame of an animation is shown."""


def find_checkpoints(model: Path, paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the models of a command line as given, or those of a folder in natural order; none if there is only one."""
    models = [path for path in paths if path.suffix.lower() in MODELS]
    if models:
        return (model, *models)
    if not is_folder(model) or any(exists(model / name) for name in OF_MODEL_FOLDERS):
        return ()
    return _in_folder(model, MODELS)


def find_weights(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return several weights as given, or those of a folder in natural order; none if there is one at most.

    A folder whose file `checkpoint` names the latest TensorFlow checkpoint is one.
    """
    if len(paths) == 1 and is_folder(paths[0]) and not exists(paths[0] / LATEST):
        found = _in_folder(paths[0], WEIGHTS)
        paths = [path.with_suffix("") if path.suffix == ".index" else path for path in found]
    return tuple(paths) if len(paths) > 1 else ()


def _in_folder(folder: Path, suffixes: Sequence[str]) -> tuple[Path, ...]:
    return tuple(sorted((path for path in list_folder(folder) if path.suffix.lower() in suffixes), key=_natural))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key in which ``epoch_10`` follows ``epoch_9``."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def checkpoints(request: ShowRequest) -> Iterator[Event]:
    """Draw one layer of every checkpoint for the same input.

    Raises
    ------
    ActvizError
        If a checkpoint cannot be opened or run, or an option does not apply.
    """
    from actviz.commands.history import distinct_names
    from actviz.figures.checkpoints_figure import CheckpointFigure

    _refuse(request)
    style = figure_writer.check_style(request.style)
    collected: list[Checkpoint] = []
    sample: Sample | None = None
    path: Path | None = None
    names = distinct_names([opening.weights or opening.model for opening in request.checkpoints])
    for opening, name in zip(request.checkpoints, names, strict=True):
        own = replace(request, opening=opening)
        with Worker(opening) as worker:
            checkpoint, sample = yield from _of_model(own, worker, name)
            worker.check_unchanged()
        collected.append(checkpoint)
        if path is None:
            path = _target(request, checkpoint.activation.address)
    assert path is not None  # noqa: S101  (there is at least one checkpoint)
    assert sample is not None  # noqa: S101
    title = f"{len(collected)} checkpoints, {names[0]} to {names[-1]}"
    if request.checkpoints[0].weights is not None:
        title = f"{request.model.name} with {title}"
    context = Context(title, sample.name, sample.fed, sample.thumbnail)
    figure = CheckpointFigure.of(collected, context, style)
    provenance = {**_identity(request, collected[0].activation.address), **_about(figure, sample)}
    _write(path, figure, provenance, request)
    yield FileWritten(path, {**provenance, "file": str(path)})


def _of_model(request: ShowRequest, worker: Worker, name: str) -> Generator[Event, None, tuple[Checkpoint, Sample]]:
    """Return the activation of the layer of one checkpoint, and the input."""
    from actviz.figures.checkpoints_figure import Checkpoint
    from actviz.inputs import load_samples

    facts = yield from requests.open_model(worker, request)
    layers = select_layers_of(facts, request.layers, str(request.model))
    if len(layers) != 1:
        message = f"{escape(str(request.model), 80)}: -l {escape(' '.join(request.layers), 60)} selects {len(layers)} layers; several checkpoints are drawn for one."
        raise UsageError(message)
    yield from requests.prepare(worker, request.model)
    samples = load_samples(request.inputs, facts, layers, request.reading, fail_fast=True).samples
    if len(samples) != 1:
        message = f"{len(samples):,} inputs: several checkpoints are drawn for one input; give one file."
        raise UsageError(message)
    found = worker.activations(samples[0].values, [layers[0].address], separate=True)
    return Checkpoint(name, found[layers[0].address]), samples[0]


def _refuse(request: ShowRequest) -> None:
    """Refuse options that a figure of checkpoints cannot honor."""
    style = request.style
    given = {
        "--sheet and --no-sheet": request.sheet is not None,
        "--contact": request.contact,
        "--project": style.project is not None,
        "--overlay": style.overlay,
        "--reduce": style.reduce is not None,
        "--histogram": style.histogram,
        "--bare": style.bare,
        "--scale run": style.scale == "run",
        "--dry-run": request.dry_run,
        "--stateful": request.reading.stateful,
        "--shard": request.shard.count > 1,
        "--labels": request.labels is not None,
        "--tokens": request.tokens is not None,
        "--weights": request.opening.weights is not None,  # of several models
    }
    refused = [option for option, present in given.items() if present]
    if refused:
        message = f"several checkpoints are drawn as rows of channels on one scale; leave out {', '.join(refused)}."
        raise UsageError(message)
    if not request.layers:
        raise UsageError("several checkpoints are drawn for one layer; give it with -l.")


def _identity(request: ShowRequest, address: str) -> dict[str, str]:
    first = request.checkpoints[0]
    return {"model": (first.weights or first.model).name, "input": "checkpoints", "address": address}


def _target(request: ShowRequest, address: str) -> Path:
    """Return the path of the figure after checking that it may be written."""
    from actviz.results import animation, output_files

    default = f"{output_files.slug(address)}_checkpoints.png"
    contents = "checkpoints are drawn as PNG, SVG, PDF, GIF or WebP"
    path = output_files.resolve_output(request.output, default, [*FORMATS, *SUFFIXES], contents)
    kind = output_files.ResultKind("figure", animation.read_provenance) if path.suffix.lower() in SUFFIXES else None
    output_files.check_output(path, _identity(request, address), kind, overwrite=request.overwrite)
    return path


def _about(figure: CheckpointFigure, sample: Sample) -> dict[str, Any]:
    from actviz.version import VERSION

    return {
        "actviz": VERSION,
        "inputs": [sample.name],
        "input_sha256": sample.digest,
        "weights": [item.activation.weights_digest for item in figure.checkpoints],
        "numbers": figure.record(),
    }


def _write(path: Path, figure: CheckpointFigure, provenance: dict[str, Any], request: ShowRequest) -> None:
    """Draw and write the figure."""
    from actviz.results import animation
    from actviz.system.file_writing import write_file

    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        frames = [picture.pixels for picture in figure.frames()]
        durations = [FRAME] * (len(frames) - 1) + [LAST_FRAME]
        write_file(path, animation.encode_animation(frames, durations, suffix, provenance))
    else:
        picture = figure.draw()
        write_picture(path, picture, provenance | {"size": list(picture.size)}, request.style.dpi)
