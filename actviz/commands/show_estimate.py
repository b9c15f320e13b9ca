"""`show --dry-run`: what would be made, measured on the first input."""

from __future__ import annotations

import contextlib
import functools
import time
from typing import TYPE_CHECKING

from actviz.batch import figure_writer
from actviz.batch.batch_sizes import BatchSizes
from actviz.batch.events import Event, Note, Output, duration
from actviz.batch.work_items import InputBatch
from actviz.errors import ActvizError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actviz.commands.show_run import ShowRun
    from actviz.records import Sample
    from actviz.worker import Worker

# What a run holds beside activations: TensorFlow, and the libraries that draw.
BASE_MEMORY = 600_000_000


def estimate(run: ShowRun, worker: Worker, first: Sequence[Sample]) -> Iterator[Event]:
    """Say what would be made, measured on the first input: nothing is written."""
    from actviz.batch import estimate

    if not first:
        yield Note("none of the inputs can be read.")
        return
    where = run.targets(first)
    keys = run.request.output_options(run.facts, run.layers).keys
    addresses = [layer.address for layer in run.layers]
    worker.activations(first[0].values, addresses)  # waits until everything is loaded, as every run does
    startup = time.perf_counter() - run.started
    fixed = run.request.batch_size_for(run.facts) == 1
    draw = estimate.drawing_of(first[0], keys, run.request.style, run.facts.file)
    compute = functools.partial(worker.activations, addresses=addresses)
    costs = estimate.measure(first[0], compute, draw, functools.partial(_read_again, run), in_batches=not fixed)
    inputs = len(run.samples or ()) or len(InputBatch(run.entries, run.request.shard).own())
    each = sum(item.values.nbytes for item in costs.found.values())
    batch = BatchSizes(run.layers, run.request.batch_size_for(run.facts)).limit(each)
    pixels = sum(picture.size[0] * picture.size[1] for picture in costs.drawn)
    for key, picture in zip(keys, costs.drawn, strict=False):
        rows, columns = picture.size
        yield Output(f"would draw {key}: {columns:,} x {rows:,} pixels")
    count = inputs * len(costs.drawn)
    helpers = figure_writer.pool_size(count) * figure_writer.PROCESS_MEMORY
    memory = (BASE_MEMORY + 3 * batch * each + helpers) / 1e6
    target = where.folder or where.file
    yield Output(
        f"would write {count:,} figures of {inputs:,} inputs to {target}: {inputs * pixels / 1e6:,.1f} megapixels,"
        f" about {inputs * costs.png_bytes / 1e6:,.1f} MB on disk, {memory:,.0f} MB of memory,"
        f" an estimated {duration(startup + costs.seconds(inputs))}; arrays count as one input."
    )


def _read_again(run: ShowRun) -> None:
    """Read the first input once more, for the time that it takes."""
    from actviz.inputs import make_pipeline

    how = make_pipeline(run.facts, run.layers, run.request.reading)
    for entry in run.entries[:1]:
        with contextlib.suppress(ActvizError):
            next(how.samples(how.open(entry.path)), None)
