"""`show --dry-run`: the figures of a run, and the time and memory that it is likely to take.

Reading, inference and drawing are timed for the first input, each the second time: the first time includes loading and
compiling, with which an estimate was ten times the duration of the run.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from actviz.batch import figure_writer
from actviz.batch.batch_sizes import BatchSizes
from actviz.batch.events import Event, Note, Output, duration
from actviz.batch.work_items import InputBatch
from actviz.errors import ActvizError
from actviz.results import png
from actviz.system import resource_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from actviz.commands.show_run import ShowRun
    from actviz.records import Activation, Picture, Sample
    from actviz.worker import Worker

# Memory of a run besides activations: TensorFlow, and the libraries that draw.
BASE_MEMORY = 600_000_000
# Samples in a batch that is timed, unless a single sample takes longer than `LONG` seconds.
TIMED_BATCH, LONG = 16, 2.0

Result = TypeVar("Result")


def estimate(run: ShowRun, worker: Worker, first: Sequence[Sample]) -> Iterator[Event]:
    """Yield what would be drawn, measured on the first input; no file is written."""
    if not first:
        yield Note("none of the inputs can be read.")
        return
    sample, options = first[0], run.request.output_options(run.facts, run.layers)
    paths = run.targets(first)
    addresses = [layer.address for layer in run.layers]
    activations = worker.activations(sample.values, addresses)  # waits until everything is loaded, as every run does
    startup = time.perf_counter() - run.started
    batch_size = run.request.batch_size_for(run.facts)
    computing = _time_inference(worker, sample, addresses, in_batches=batch_size != 1)
    _draw(run, sample, activations, options.keys)
    (pictures, png_bytes), drawing = _timed(lambda: _draw(run, sample, activations, options.keys))
    _, reading = _timed(lambda: _read_again(run))
    inputs = len(run.samples or ()) or len(InputBatch(run.entries, run.request.shard).own())
    sample_bytes = sum(activation.values.nbytes for activation in activations.values())
    held_bytes = 3 * BatchSizes(run.layers, batch_size).limit(sample_bytes) * sample_bytes
    for key, picture in zip(options.keys, pictures, strict=False):
        rows, columns = picture.size
        yield Output(f"would draw {key}: {columns:,} x {rows:,} pixels")
    count = inputs * len(pictures)
    pixels = sum(picture.size[0] * picture.size[1] for picture in pictures)
    pool_bytes = figure_writer.pool_size(count) * figure_writer.PROCESS_MEMORY
    # Reading and drawing share all cores. They go on during inference, for which TensorFlow has threads of its own:
    # half of the shorter of the two is assumed to be additional.
    parallel = (reading + drawing) / resource_limits.core_count()
    seconds = startup + inputs * (max(computing, parallel) + min(computing, parallel) / 2)
    yield Output(
        f"would write {count:,} figures of {inputs:,} inputs to {paths.folder or paths.file}: {inputs * pixels / 1e6:,.1f} megapixels,"
        f" about {inputs * png_bytes / 1e6:,.1f} MB on disk, {(BASE_MEMORY + held_bytes + pool_bytes) / 1e6:,.0f} MB of memory,"
        f" an estimated {duration(seconds)}; arrays count as one input."
    )


def _time_inference(worker: Worker, sample: Sample, addresses: Sequence[str], *, in_batches: bool) -> float:
    """Return the seconds of inference for one sample, in a batch if that is faster."""
    _, seconds = _timed(lambda: worker.activations(sample.values, addresses))
    if not in_batches or seconds >= LONG:
        return seconds
    batch = {name: np.concatenate([values] * TIMED_BATCH) for name, values in sample.values.items()}
    with contextlib.suppress(ActvizError):  # a model for single inputs
        worker.activations(batch, addresses)
        _, batch_seconds = _timed(lambda: worker.activations(batch, addresses))
        return min(seconds, batch_seconds / TIMED_BATCH)
    return seconds


def _draw(
    run: ShowRun, sample: Sample, activations: Mapping[str, Activation], keys: Sequence[str]
) -> tuple[list[Picture], int]:
    """Return the figures of a sample, and their total size in bytes as PNG files."""
    job = figure_writer.FigureJob(sample, 0, activations, {})
    pictures = figure_writer.draw_all(job, keys, run.request.style, run.facts.file)
    return pictures, sum(len(png.encode_png(picture.drawn, {}, picture.palette)) for picture in pictures)


def _read_again(run: ShowRun) -> None:
    """Read the first input again."""
    from actviz.inputs import make_pipeline

    pipeline = make_pipeline(run.facts, run.layers, run.request.reading)
    for entry in run.entries[:1]:
        with contextlib.suppress(ActvizError):
            next(pipeline.samples(pipeline.open(entry.path)), None)


def _timed(call: Callable[[], Result]) -> tuple[Result, float]:
    """Return the result of a call and its duration in seconds."""
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started
