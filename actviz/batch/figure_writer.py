"""Figures of activations, wherever they come from: drawn and written beside each other, recorded.

A `FigureWriter` takes the activations of one input after another and gives back, in that order,
what was written and what could not be drawn.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from actviz.batch import figure_task
from actviz.batch.figure_task import FigureTask, pictures, record_of
from actviz.batch.labels import LabelNames, check_fits
from actviz.batch.output_paths import page_of
from actviz.errors import ActvizError, LimitError, UsageError
from actviz.system import file_writing, folders, resource_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from actviz.batch.draw_pool import DrawPool
    from actviz.batch.figure_task import FigureFile
    from actviz.records import Activation, Context, LayerInfo, ModelFacts, Picture, Sample, Style

GRID = "grid"
# So many figures are drawn in this process before others are worth their start.
MIN_FIGURES_FOR_POOL = 128
MAX_PROCESSES, PROCESS_MEMORY = 8, 60_000_000


@dataclass(frozen=True, slots=True)
class FigureSource:
    """What figures are of: a model's name (a path's last part) and the hash of its configuration.

    `layers` are all of them, whose numbers stand in file names; `named` says whether inputs
    have names worth a place in the name of a single file. An array that no model is known
    of has a file's name for `model` and no `configuration`.
    """

    model: str
    configuration: str
    layers: Sequence[LayerInfo]
    named: bool
    code: tuple[str, ...] = ()


def source_of(facts: ModelFacts, *, named: bool) -> FigureSource:
    """Return what figures of an open model are of."""
    return FigureSource(facts.file, facts.digest, facts.layers, named, facts.code)


def check_style(style: Style) -> Style:
    """Refuse a scale, colormap or size that means nothing before anything is computed.

    The style that comes back holds the ranges of the file that its scale names.
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
    return color_ranges.with_known_ranges(style)


def share_ranges(style: Style, batches: Iterable[Mapping[str, Activation]]) -> Style:
    """Return the style with one range a layer for a whole run, where its scale is ``run``.

    `batches` are the activations of every input; any other scale asks for none of them.
    Where channels become one map, the range is that of these maps.
    """
    from actviz.batch import color_ranges
    from actviz.figures.renderers import reduction

    if style.scale != "run":
        return style
    drawn = ({address: reduction.as_drawn(one, style) for address, one in found.items()} for found in batches)
    return replace(style, ranges=color_ranges.run_ranges(drawn))


def drawable(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return what a sheet shows: every spatial layer, else all that something draws."""
    from actviz.figures.renderers import kind_of

    counted = _counted(layers)
    kinds = [kind_of(layer.axes) for layer in counted]
    spatial = [layer for layer, kind in zip(counted, kinds, strict=True) if kind == GRID]
    return spatial or [layer for layer, kind in zip(counted, kinds, strict=True) if kind is not None]


def left_out(layers: Sequence[LayerInfo], shown: Collection[str]) -> tuple[tuple[str, int], ...]:
    """Return why a sheet of the layers with the addresses `shown` leaves out others, with the number of each reason."""
    from actviz.figures.renderers import kind_of

    missing = [layer for layer in _counted(layers) if layer.address not in shown]
    chosen = any(layer.address not in shown for layer in drawable(layers))
    reasons = Counter(
        "not chosen"
        if chosen
        else "that nothing draws"
        if kind_of(layer.axes) is None
        else "without rows and columns: --layer for them"
        for layer in missing
    )
    return tuple(sorted(reasons.items(), reverse=True))


def _counted(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return what counts as a layer on a sheet: no input, no scores, no single operation inside a layer."""
    return [
        layer
        for layer in layers
        if layer.kind != "InputLayer" and not layer.address.endswith("@scores") and not layer.inner
    ]


@dataclass(frozen=True, slots=True)
class FigureJob:
    """Figures of one input to make: entry `index` of the batch of `found`.

    `files` maps each key (an address, or the word for a sheet) to where its figure goes;
    `works` to the hash of all that makes it what it is, where a later run may ask for that.
    `file_sha256` is the hash of the input's file, where it is one image.
    """

    sample: Sample
    index: int
    found: Mapping[str, Activation]
    files: Mapping[str, Path]
    works: Mapping[str, str] = field(default_factory=dict)
    file_sha256: str = ""


@dataclass(frozen=True, slots=True)
class DrawnFigure:
    """A figure that was written."""

    path: Path
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FailedFigure:
    """A figure that could not be drawn, and why."""

    input: str
    address: str
    failure: ActvizError


def pool_size(count: int) -> int:
    """Return how many processes are worth their start for so many figures."""
    cores = resource_limits.core_count()
    return min(cores, MAX_PROCESSES) if count > MIN_FIGURES_FOR_POOL and cores > 1 else 0


class CancelledError(Exception):
    """The work was given up before this figure was written."""


class FigureWriter:
    """Draws, packs and writes figures on all cores: many of them with the help of other processes.

    Parameters
    ----------
    source
        What the figures are of.
    style
        How they look.
    names
        What classes and steps are called.
    folder
        What paths in records are relative to, if anything.
    overwrite
        Whether further pages of a sheet may replace what others made.
    """

    def __init__(
        self, source: FigureSource, style: Style, names: LabelNames, folder: Path | None, *, overwrite: bool = False
    ) -> None:
        self._source, self._style, self._names, self._folder = source, style, names, folder
        self._overwrite = overwrite
        self._pool = ThreadPoolExecutor(resource_limits.core_count() + 1, "draw")
        self._helpers: DrawPool | None = None
        self._begun = 0
        self._pending: deque[Future[list[DrawnFigure] | FailedFigure]] = deque()
        self._ended = threading.Event()
        self.versions: Mapping[str, str] = {}

    def submit(self, wish: FigureJob) -> None:
        """Begin to make the figures of one input.

        Raises
        ------
        UsageError
            When the names of classes or steps fit none of its layers.
        """
        from actviz.records import Context

        sample = wish.sample
        check_fits(self._names, wish.found.values())
        steps = self._names.steps or sample.words or ()
        labels = self._names.labels
        context = Context(
            self._source.model,
            sample.name,
            sample.fed,
            sample.thumbnail,
            labels,
            steps,
            sample.pictures,
            padding=sample.padding,
        )
        context = replace(context, left_out=left_out(self._source.layers, wish.found))
        self._begun += len(wish.files)
        count = pool_size(self._begun)
        if self._helpers is None and count:
            from actviz.batch.draw_pool import DrawPool

            self._helpers = DrawPool(count, self._style)
        for key in wish.files:
            self._pending.append(self._pool.submit(self._make, wish, key, context))

    def finished(self, most: int = 0) -> Iterator[DrawnFigure | FailedFigure]:
        """Yield what is done, in order, until at most `most` figures are still being made."""
        while self._pending and (len(self._pending) > most or self._pending[0].done()):
            done = self._pending[0].result()
            if isinstance(done, FailedFigure):
                self._pending.popleft()
                yield done
            else:
                # Forgotten only once the caller has taken it: a signal may come at any moment.
                yield from done
                self._pending.popleft()

    def end(self) -> list[DrawnFigure | FailedFigure]:
        """Give up what is not begun, wait for the rest, and return what was written."""
        self._ended.set()
        if self._helpers is not None:
            self._helpers.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._helpers is not None:
            self._helpers.close()
        found: list[DrawnFigure | FailedFigure] = []
        while self._pending:
            future = self._pending.popleft()
            if not future.cancelled() and future.exception() is None:
                done = future.result()
                found += [done] if isinstance(done, FailedFigure) else done
        return found

    def _make(self, wish: FigureJob, key: str, context: Context) -> list[DrawnFigure] | FailedFigure:
        """Draw and write the figure of one layer, or the pages of a sheet, one after another."""
        if self._ended.is_set():
            raise CancelledError
        try:
            pages = self._pages(FigureTask(key, wish.found, wish.index, context, self._about(wish, key)))
            paths = [page_of(wish.files[key], number) for number in range(1, len(pages) + 1)]
            self._check(wish, key, paths[1:])
            return [self._write(page(), path) for path, page in zip(paths, pages, strict=True)]
        except (UsageError, LimitError) as failure:
            return FailedFigure(wish.sample.name, key, failure)

    def _pages(self, task: FigureTask) -> Sequence[Callable[[], FigureFile]]:
        """Return what makes the pages of a figure; where helpers are, one of them has drawn it."""
        done = self._helpers.draw(task) if self._helpers is not None else None
        if self._ended.is_set():
            raise CancelledError
        return (
            figure_task.plan(task, self._style) if done is None else [functools.partial(_same, page) for page in done]
        )

    def _check(self, wish: FigureJob, key: str, pages: Sequence[Path]) -> None:
        """Refuse to replace what others made at the places of further pages."""
        from actviz.results import output_files

        identity = {"model": self._source.model, "input": wish.sample.name, "address": key}
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
        return DrawnFigure(path, record_of(page.record, path, len(page.content), self._folder))

    def _about(self, wish: FigureJob, key: str) -> dict[str, Any]:
        """Return what the provenance of a figure says whatever is drawn."""
        from actviz.version import VERSION

        source, sample = self._source, wish.sample
        about: dict[str, Any] = {
            "actviz": VERSION,
            "model": source.model,
            "configuration": source.configuration,
            "address": key,
            "input": sample.name,
            "input_sha256": sample.digest,
            "fed": sample.fed,
            "code": list(source.code),
            "weights": next(iter(wish.found.values())).weights_digest,
            "versions": dict(self.versions),
        }
        activation = wish.found.get(key)
        if activation is not None:
            about |= {"class": activation.kind, "shape": list(activation.values.shape[1:])}
        if wish.file_sha256:
            about["file_sha256"] = wish.file_sha256
        if key in wish.works:
            about["work"] = wish.works[key]
        return about


def _same(page: FigureFile) -> FigureFile:
    return page


def failure_record(name: str, address: str | None, failure: ActvizError) -> dict[str, Any]:
    """Return what a manifest says of what could not be made: of one layer, or of an input as a whole."""
    return {"input": name, "address": address, "reason": failure.message, "code": failure.exit_code}


def draw_all(wish: FigureJob, keys: Sequence[str], style: Style, model: str) -> list[Picture]:
    """Return the figures of one input that can be drawn, without writing any."""
    from actviz.records import Context

    sample = wish.sample
    words = sample.words or ()
    context = Context(
        model, sample.name, sample.fed, sample.thumbnail, (), words, sample.pictures, padding=sample.padding
    )
    found: list[Picture] = []
    for key in keys:
        with contextlib.suppress(UsageError, LimitError):
            found += [draw() for draw in pictures(FigureTask(key, wish.found, wish.index, context, {}), style)]
    return found


def warm_up() -> None:
    """Load and try out everything that draws while the worker still loads TensorFlow."""
    import numpy as np

    from actviz.figures import renderers
    from actviz.records import Activation, Context, Style

    values = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    axes = ("batch", "row", "column", "channel")
    renderers.draw(Activation("warm", "up", values, axes), 0, Context("", "", ""), Style())
