"""Drawing and writing of figures in parallel.

A `FigureWriter` accepts the activations of one input after another and yields the written and the failed
figures in that order.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from actviz.batch import figure_task
from actviz.batch.figure_task import FigureTask, pictures, record_of
from actviz.batch.labels import LabelNames, check_classes, check_fits
from actviz.batch.output_paths import SHEET, pages_of
from actviz.batch.sheet_layers import left_out
from actviz.batch.vector_figure import suffix_of
from actviz.errors import ActvizError, LimitError, RunLimitError, UsageError
from actviz.system import file_writing, folders, resource_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.batch.draw_pool import DrawPool
    from actviz.batch.figure_task import FigureFile
    from actviz.records import Activation, Context, HeatMap, LayerInfo, ModelFacts, Picture, Sample, Style

# The pool of processes starts after this number of figures, since starting it takes time.
MIN_FIGURES_FOR_POOL = 128
MAX_PROCESSES, PROCESS_MEMORY = 8, 60_000_000


@dataclass(frozen=True, slots=True)
class FigureSource:
    """The model of figures: its file name and the hash of its configuration.

    `layers` are all layers, whose numbers are part of file names; `named` says whether the name of an input is
    part of the name of a single file. For an array without a model, `model` is the name of its file and
    `refused` are the addresses of layers that are not computed, `input_code`
    is `InputOptions.code_record`.
    """

    model: str
    configuration: str
    layers: Sequence[LayerInfo]
    named: bool
    code: tuple[str, ...] = ()
    refused: Collection[str] = ()
    input_code: Mapping[str, str] = field(default_factory=dict)


def source_of(facts: ModelFacts, input_code: Mapping[str, str], *, named: bool) -> FigureSource:
    """Return the source of figures of an open model."""
    refused = tuple(facts.refusals)
    return FigureSource(facts.file, facts.digest, facts.every_layer, named, facts.code, refused, input_code)


def check_style(style: Style, output: str | None = None) -> Style:
    """Refuse an invalid scale, colormap or size before inference.

    The returned style has the ranges in the file of its scale, and the format of the `output`.
    """
    from actviz.batch import color_ranges
    from actviz.figures import colors

    if not math.isfinite(style.megapixels):
        message = f"--max-megapixels {style.megapixels}: a finite number was expected, such as 16."
        raise UsageError(message)
    if style.cmap is not None:
        colors.table(style.cmap)
    if style.bare and style.histogram:
        message = "a bare mosaic has no room for a histogram; leave --bare or --histogram out."
        raise UsageError(message)
    return replace(color_ranges.with_known_ranges(style), vector=suffix_of(output))


@dataclass(frozen=True, slots=True)
class FigureJob:
    """The figures of one input: entry `index` of the batch of `activations`.

    `files` maps each key (an address or `SHEET`) to the path of its figure, `fingerprints` to the hash of
    everything that determines it, which a later run compares. `file_sha256` is the hash of the input file if it
    is an image. With `heat_maps` the figure is theirs, and there are no activations.
    """

    sample: Sample
    index: int
    activations: Mapping[str, Activation]
    files: Mapping[str, Path]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    file_sha256: str = ""
    heat_maps: tuple[HeatMap, ...] = ()


@dataclass(frozen=True, slots=True)
class DrawnFigure:
    """A written figure, or a page of one; `figure` is its first page."""

    path: Path
    record: dict[str, Any]
    figure: Path


@dataclass(frozen=True, slots=True)
class FailedFigure:
    """A figure that could not be drawn, and the error; `figure` would be its first page."""

    input: str
    address: str
    failure: ActvizError
    figure: Path


def pool_size(count: int) -> int:
    """Return the number of processes to draw `count` figures with; 0 if all are drawn in this process."""
    cores = resource_limits.core_count()
    return min(cores, MAX_PROCESSES) if count > MIN_FIGURES_FOR_POOL and cores > 1 else 0


class CancelledError(Exception):
    """The writer was ended before this figure was written."""


class FigureWriter:
    """Draws, encodes and writes figures on all cores, many figures with a pool of processes.

    Parameters
    ----------
    source
        The model of the figures.
    style
        The style of the figures.
    names
        The names of classes and steps.
    folder
        The folder that paths in records are relative to, if there is one.
    overwrite
        Whether further pages of a sheet may replace files that are not of the same figure.
    """

    def __init__(
        self, source: FigureSource, style: Style, names: LabelNames, folder: Path | None, *, overwrite: bool = False
    ) -> None:
        self._source, self._style, self._names, self._folder = source, style, names, folder
        self._overwrite = overwrite
        self._pool = ThreadPoolExecutor(resource_limits.core_count() + 1, "draw")
        self._processes: DrawPool | None = None
        self._submitted = 0
        self._pending: deque[Future[list[DrawnFigure] | FailedFigure]] = deque()
        self._ended = threading.Event()
        self.versions: Mapping[str, str] = {}

    def submit(self, job: FigureJob) -> None:
        """Start to draw the figures of one input.

        Raises
        ------
        UsageError
            If the names of classes or steps fit none of its layers.
        """
        if job.heat_maps:
            check_classes(self._names, job.heat_maps)
        else:
            check_fits(self._names, job.activations.values())
        context = _context(self._source.model, job.sample, self._names)
        if SHEET in job.files:
            omitted = left_out(self._source.layers, job.activations, self._source.refused)
            context = replace(context, left_out=omitted)
        self._submitted += len(job.files)
        count = pool_size(self._submitted)
        if self._processes is None and count:
            from actviz.batch.draw_pool import DrawPool

            self._processes = DrawPool(count, self._style)
        for key in job.files:
            self._pending.append(self._pool.submit(self._make, job, key, context))

    def finished(self, most: int = 0) -> Iterator[DrawnFigure | FailedFigure]:
        """Yield finished figures in order until at most `most` are pending."""
        while self._pending and (len(self._pending) > most or self._pending[0].done()):
            done = self._pending[0].result()
            if isinstance(done, FailedFigure):
                self._pending.popleft()
                yield done
            else:
                # Removed only after the caller has received it, since a signal may arrive at any time.
                yield from done
                self._pending.popleft()

    def end(self) -> list[DrawnFigure | FailedFigure]:
        """Cancel figures that have not started, wait for the others, and return the results."""
        self._ended.set()
        if self._processes is not None:
            self._processes.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._processes is not None:
            self._processes.close()
        results: list[DrawnFigure | FailedFigure] = []
        while self._pending:
            future = self._pending.popleft()
            if not future.cancelled() and future.exception() is None:
                done = future.result()
                results += [done] if isinstance(done, FailedFigure) else done
        return results

    def _make(self, job: FigureJob, key: str, context: Context) -> list[DrawnFigure] | FailedFigure:
        """Draw and write a figure, the pages of a sheet one after another."""
        if self._ended.is_set():
            raise CancelledError
        try:
            pages = self._pages(
                FigureTask(key, job.activations, job.index, context, self._about(job, key), job.heat_maps)
            )
            paths = pages_of(job.files[key], len(pages))
            self._check(job, key, paths[1:])
            written = [self._write(page(), path) for path, page in zip(paths, pages, strict=True)]
            return [replace(page, figure=paths[0]) for page in written]
        except RunLimitError:  # the next figure would reach it too
            raise
        except (UsageError, LimitError) as failure:
            return FailedFigure(job.sample.name, key, failure, job.files[key])

    def _pages(self, task: FigureTask) -> Sequence[Callable[[], FigureFile]]:
        """Return a function for each page of a figure; if there is a pool, one of its processes has drawn them."""
        done = self._processes.draw(task) if self._processes is not None else None
        if self._ended.is_set():
            raise CancelledError
        return (
            figure_task.plan(task, self._style)
            if done is None
            else [functools.partial(type(page), page.content, page.record) for page in done]
        )

    def _check(self, job: FigureJob, key: str, pages: Sequence[Path]) -> None:
        """Refuse to replace files that are not of the same figure at the paths of further pages."""
        from actviz.results import output_files

        identity = {"model": self._source.model, "input": job.sample.name, "address": key}
        for path in pages:
            output_files.check_target(path, identity, overwrite=self._overwrite)

    def _write(self, page: FigureFile, path: Path) -> DrawnFigure:
        from actviz.results import output_files

        if self._ended.is_set():
            raise CancelledError
        if self._folder is not None:
            output_files.check_inside(self._folder, path.parent)
        folders.make_folder(path.parent)
        file_writing.write_file(path, page.content)
        return DrawnFigure(path, record_of(page.record, path, len(page.content), self._folder), path)

    def _about(self, job: FigureJob, key: str) -> dict[str, Any]:
        """Return the fields of the provenance of a figure that do not depend on the picture."""
        from actviz.version import VERSION

        source, sample = self._source, job.sample
        drawn: Sequence[HeatMap | Activation] = job.heat_maps or tuple(job.activations.values())
        about: dict[str, Any] = {
            "actviz": VERSION,
            "model": source.model,
            "configuration": source.configuration,
            "address": key,
            "input": sample.name,
            "input_sha256": sample.digest,
            "fed": sample.fed,
            "code": list(source.code),
            **source.input_code,
            "weights": drawn[0].weights_digest,
            "versions": dict(self.versions),
        }
        activation = job.activations.get(key)
        if activation is not None:
            about |= {"class": activation.kind, "shape": list(activation.values.shape[1:])}
        if job.file_sha256:
            about["file_sha256"] = job.file_sha256
        if key in job.fingerprints:
            about["work"] = job.fingerprints[key]
        return about


def _context(model: str, sample: Sample, names: LabelNames) -> Context:
    """Return the context of the figures of one input."""
    from actviz.records import Context

    steps = names.steps or sample.words or ()
    return Context(
        model,
        sample.name,
        sample.fed,
        sample.thumbnail,
        names.labels,
        steps,
        sample.pictures,
        signal=_signal(sample),
        padding=sample.padding,
    )


def _signal(sample: Sample) -> NDArray[Any] | None:
    """Return the input ``(step,)`` of a network with one input of real numbers, one for each step."""
    if len(sample.values) != 1:
        return None
    values = next(iter(sample.values.values()))[0]
    single = values.dtype.kind == "f" and values.shape == (values.size, 1)
    return values[:, 0] if single and values.size > 1 else None


def failure_record(name: str, address: str | None, failure: ActvizError) -> dict[str, Any]:
    """Return the record of a failure in the manifest, for one layer or a whole input."""
    return {"input": name, "address": address, "reason": failure.message, "code": failure.exit_code}


def draw_all(job: FigureJob, keys: Sequence[str], style: Style, model: str) -> list[Picture]:
    """Return the figures of one input that can be drawn, without writing any."""
    context = _context(model, job.sample, LabelNames())
    drawn: list[Picture] = []
    for key in keys:
        with contextlib.suppress(UsageError, LimitError):
            drawn += [draw() for draw in pictures(FigureTask(key, job.activations, job.index, context, {}), style)]
    return drawn


def warm_up() -> None:
    """Load and try out everything that draws while the worker still loads TensorFlow."""
    import numpy as np

    from actviz.figures import renderers
    from actviz.records import Activation, Context, Style

    values = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    axes = ("batch", "row", "column", "channel")
    renderers.draw(Activation("warm", "up", values, axes), 0, Context("", "", ""), Style())
