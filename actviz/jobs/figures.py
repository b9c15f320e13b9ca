"""Figures of activations, wherever they come from: drawn and written beside each other, recorded.

A `Painter` takes the activations of one input after another and gives back, in that order,
what was written and what could not be drawn.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from actviz import system
from actviz.errors import ActvizError, LimitError, UsageError
from actviz.jobs.naming import Names, check_fits
from actviz.jobs.targets import SHEET, page_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from actviz.records import Activation, Context, LayerInfo, ModelFacts, Picture, Sample, Style, Tile

SPATIAL = "grid"
MAXIMUM_TILES = 4096
# What a figure's provenance and its record in the manifest both say.
RECORDED = (
    "address", "class", "fed", "file_sha256", "input", "input_sha256", "numbers", "page", "pages", "shape", "size",
    "weights", "work",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
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


def source_of(facts: ModelFacts, *, named: bool) -> Source:
    """Return what figures of an open model are of."""
    return Source(facts.file, facts.digest, facts.layers, named, facts.code)


def check_style(style: Style) -> Style:
    """Refuse a scale, colormap or size that means nothing before anything is computed.

    The style that comes back holds the ranges of the file that its scale names.
    """
    from actviz import colors
    from actviz.jobs import ranges

    if not math.isfinite(style.megapixels):
        message = f"--max-megapixels {style.megapixels}: a finite number was expected, such as 16."
        raise UsageError(message)
    if style.cmap is not None:
        colors.table(style.cmap)
    if style.bare and style.histogram:
        message = "a bare mosaic has no room for a histogram; leave --bare or --histogram out."
        raise UsageError(message)
    return ranges.known(style)


def share_ranges(style: Style, batches: Iterable[Mapping[str, Activation]]) -> Style:
    """Return the style with one range a layer for a whole run, where its scale is ``run``.

    `batches` are the activations of every input; any other scale asks for none of them.
    Where channels become one map, the range is that of these maps.
    """
    from actviz.jobs import ranges
    from actviz.renderers import reduction

    if style.scale != "run":
        return style
    drawn = ({address: reduction.as_drawn(one, style) for address, one in found.items()} for found in batches)
    return replace(style, ranges=ranges.shared(drawn))


def drawable(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return what a sheet shows: every spatial layer, else all that something draws."""
    from actviz.renderers import kind_of

    inner = [
        layer
        for layer in layers
        if layer.kind != "InputLayer" and not layer.address.endswith("@scores") and not layer.inner
    ]
    kinds = [kind_of(layer.axes) for layer in inner]
    spatial = [layer for layer, kind in zip(inner, kinds, strict=True) if kind == SPATIAL]
    return spatial or [layer for layer, kind in zip(inner, kinds, strict=True) if kind is not None]


@dataclass(frozen=True, slots=True)
class Wish:
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
class Made:
    """A figure that was written."""

    path: Path
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NotMade:
    """A figure that could not be drawn, and why."""

    input: str
    address: str
    failure: ActvizError


class EndedError(Exception):
    """The work was given up before this figure was written."""


class Painter:
    """Draws, packs and writes figures on all cores.

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
        self, source: Source, style: Style, names: Names, folder: Path | None, *, overwrite: bool = False
    ) -> None:
        self._source, self._style, self._names, self._folder = source, style, names, folder
        self._overwrite = overwrite
        self._pool = ThreadPoolExecutor(system.core_count() + 1, "draw")
        self._pending: deque[Future[list[Made] | NotMade]] = deque()
        self._ended = threading.Event()
        self.versions: Mapping[str, str] = {}

    def submit(self, wish: Wish) -> None:
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
        context = Context(self._source.model, sample.name, sample.fed, sample.thumbnail, labels, steps, sample.pictures)
        for key in wish.files:
            self._pending.append(self._pool.submit(self._make, wish, key, context))

    def finished(self, most: int = 0) -> Iterator[Made | NotMade]:
        """Yield what is done, in order, until at most `most` figures are still being made."""
        while self._pending and (len(self._pending) > most or self._pending[0].done()):
            done = self._pending[0].result()
            if isinstance(done, NotMade):
                self._pending.popleft()
                yield done
            else:
                # Forgotten only once the caller has taken it: a signal may come at any moment.
                yield from done
                self._pending.popleft()

    def end(self) -> list[Made | NotMade]:
        """Give up what is not begun, wait for the rest, and return what was written."""
        self._ended.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        found: list[Made | NotMade] = []
        while self._pending:
            future = self._pending.popleft()
            if not future.cancelled() and future.exception() is None:
                done = future.result()
                found += [done] if isinstance(done, NotMade) else done
        return found

    def _make(self, wish: Wish, key: str, context: Context) -> list[Made] | NotMade:
        """Draw and write the figure of one layer, or the pages of a sheet, one after another."""
        if self._ended.is_set():
            raise EndedError
        try:
            pages = _pages(key, wish, context, self._style)
            paths = [page_of(wish.files[key], number) for number in range(1, len(pages) + 1)]
            self._check(wish, key, paths[1:])
            return [self._write(wish, key, page(), path) for path, page in zip(paths, pages, strict=True)]
        except (UsageError, LimitError) as failure:
            return NotMade(wish.sample.name, key, failure)

    def _check(self, wish: Wish, key: str, pages: Sequence[Path]) -> None:
        """Refuse to replace what others made at the places of further pages."""
        from actviz import output

        identity = {"model": self._source.model, "input": wish.sample.name, "address": key}
        for path in pages:
            output.check_target(path, identity, overwrite=self._overwrite)

    def _write(self, wish: Wish, key: str, picture: Picture, path: Path) -> Made:
        from actviz import output

        if self._ended.is_set():
            raise EndedError
        if self._folder is not None:
            output.check_inside(self._folder, path.parent)
        system.make_folder(path.parent)
        provenance = self._provenance(wish, key, picture)
        size = output.write_figure(path, picture.drawn, provenance, picture.palette)
        return Made(path, record_of(provenance, path, size, self._folder))

    def _provenance(self, wish: Wish, key: str, picture: Picture) -> dict[str, Any]:
        """Return the provenance of a figure: no date, no path of this machine."""
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
            "numbers": picture.numbers,
            "code": list(source.code),
            "tiles": [_tile(tile) for tile in picture.tiles[:MAXIMUM_TILES]],
            "size": list(picture.size),
            "weights": next(iter(wish.found.values())).weights_digest,
            "versions": dict(self.versions),
        }
        about |= {name: picture.numbers[name] for name in ("page", "pages") if name in picture.numbers}
        activation = wish.found.get(key)
        if activation is not None:
            about |= {"class": activation.kind, "shape": list(activation.values.shape[1:])}
        if wish.file_sha256:
            about["file_sha256"] = wish.file_sha256
        if key in wish.works:
            about["work"] = wish.works[key]
        return about


def record_of(provenance: Mapping[str, Any], path: Path, size: int, folder: Path | None) -> dict[str, Any]:
    """Return the record of a figure in a manifest from what stands in its file."""
    record = {name: provenance[name] for name in RECORDED if name in provenance}
    relative = path.relative_to(folder) if folder is not None else path
    return record | {"file": relative.as_posix(), "bytes": size}


def failure_record(name: str, address: str | None, failure: ActvizError) -> dict[str, Any]:
    """Return what a manifest says of what could not be made: of one layer, or of an input as a whole."""
    return {"input": name, "address": address, "reason": failure.message, "code": failure.exit_code}


def _pages(key: str, wish: Wish, context: Context, style: Style) -> Sequence[Callable[[], Picture]]:
    """Return what draws one figure, or each page of a sheet: all that can be refused has been by then."""
    if key == SHEET:
        from actviz.sheet import plan_pages

        return plan_pages(list(wish.found.values()), wish.index, context, style)
    from actviz import renderers

    picture = renderers.draw(wish.found[key], wish.index, context, style)
    return [lambda: picture]


def draw_all(wish: Wish, keys: Sequence[str], style: Style, model: str) -> list[Picture]:
    """Return the figures of one input that can be drawn, without writing any."""
    from actviz.records import Context

    sample = wish.sample
    context = Context(model, sample.name, sample.fed, sample.thumbnail, (), sample.words or (), sample.pictures)
    found: list[Picture] = []
    for key in keys:
        with contextlib.suppress(UsageError, LimitError):
            found += [page() for page in _pages(key, wish, context, style)]
    return found


def _tile(tile: Tile) -> list[Any]:
    """Return a tile as a list: channel, box, ends of its colours, state; then its place and part, if any."""
    found = [tile.channel, *tile.box, tile.low, tile.high, tile.state]
    return [*found, list(tile.indices), list(tile.part or ())] if tile.indices or tile.part else found
