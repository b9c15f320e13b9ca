"""`show`: from a model and inputs to figures, the main job."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from actviz.errors import PartialError, UsageError, escape
from actviz.jobs.layers import say_code
from actviz.select import select_layers
from actviz.worker import DeadWorkerError, Opening, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from actviz.inputs import InputOptions
    from actviz.records import Activation, Context, LayerInfo, ModelFacts, Picture, Sample, Style

SHEET = "sheet"
SPATIAL = "grid"
WRITERS = 2
OTHER_FORMATS = frozenset({".jpg", ".jpeg", ".svg", ".pdf", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".eps", ".npz"})
MAXIMUM_TILES = 4096
MOST_DEATHS = 3
"""So many inputs in a row that kill the worker, and it is the model that does."""


@dataclass(frozen=True, slots=True)
class ShowRequest:
    """What the command asks for, parsed."""

    opening: Opening
    inputs: tuple[Path, ...]
    layers: tuple[str, ...]
    output: str | None
    style: Style
    reading: InputOptions
    overwrite: bool = False
    fail_fast: bool = False
    named: tuple[str, ...] = ()

    @property
    def model(self) -> Path:
        """Return the path of the model file."""
        return self.opening.model


@dataclass(frozen=True, slots=True)
class Said:
    """A line for people."""

    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """A figure that was written."""

    path: Path


@dataclass(slots=True)
class _Plan:
    """Where each figure goes: decided before anything is computed."""

    targets: dict[tuple[int, str], Path]
    folder: Path | None
    records: list[dict[str, Any]] = field(default_factory=list)


def show(request: ShowRequest) -> Iterator[Said | Written]:
    """Draw the chosen layers for every input; yield what happens as it happens.

    Raises
    ------
    ActvizError
        When nothing could be made; `PartialError` at the end when part of it failed.
    """
    from actviz.inputs import Given, gather

    given = Given(request.inputs, request.named)
    with Worker(request.opening) as worker:
        facts = worker.facts()
        yield from (Said(line) for line in (*say_code(facts, request.opening.trust), *worker.notes()))
        worker.prepare()
        _check_style(request.style)
        unknown = not all(spec.shape for spec in facts.inputs)
        layers = [] if unknown else _choose(request, facts, worker)
        gathered = gather(given, facts, layers or facts.layers, request.reading, fail_fast=request.fail_fast)
        samples, failures = gathered.samples, list(gathered.failures)
        count = len(samples) + len(failures)
        if unknown:
            facts = worker.complete({name: values.shape for name, values in samples[0].values.items()})
            layers = _choose(request, facts, worker)
        for failure in failures:
            yield Said(failure.message)
        yield from _say_inputs(samples)
        plan = _plan(request, facts, layers, samples)
        _warm_up()
        versions: dict[str, str] = {}
        addresses = [layer.address for layer in layers]
        died = 0
        for number, sample in enumerate(samples):
            try:
                found = worker.activations(sample.values, addresses)
            except DeadWorkerError as failure:
                died += 1
                if request.fail_fast or len(samples) == 1 or died == MOST_DEATHS:
                    raise
                failures.append(failure)
                yield Said(f"{escape(sample.name, 120)}: {failure.message}")
                continue
            died = 0
            versions = versions or worker.versions()
            yield from (Said(line) for line in worker.notes())
            if number == len(samples) - 1:
                worker.stop()
            yield from _draw(request, facts, plan, _Work(number, sample, found, versions))
        if not versions:
            raise failures[-1]
        _finish(plan, facts, versions)
        if failures:
            message = f"{len(failures)} of {count} inputs failed, for the reasons above; the rest is written."
            raise PartialError(message)


def _warm_up() -> None:
    """Load and try out everything that draws while the worker still loads TensorFlow."""
    import numpy as np

    from actviz import renderers
    from actviz.records import Activation, Context, Style

    values = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    axes = ("batch", "row", "column", "channel")
    renderers.draw(Activation("warm", "up", values, axes), 0, Context("", "", ""), Style())


def _check_style(style: Style) -> None:
    """Refuse a scale or colormap that means nothing before anything is computed."""
    from actviz import colors

    colors.parse_scale(style.scale)
    if style.cmap is not None:
        colors.table(style.cmap)


def _choose(request: ShowRequest, facts: ModelFacts, worker: Worker) -> list[LayerInfo]:
    """Return the layers to draw: those asked for, else every spatial one, else all drawable."""
    from actviz.renderers import kind_of

    if request.layers:
        return select_layers(facts.layers, request.layers, str(request.model))
    if any(layer.shape is None for layer in facts.layers):
        facts = worker.complete()
    layers = [layer for layer in facts.layers if layer.kind != "InputLayer"]
    kinds = [kind_of(layer.axes) for layer in layers]
    spatial = [layer for layer, kind in zip(layers, kinds, strict=True) if kind == SPATIAL]
    drawable = [layer for layer, kind in zip(layers, kinds, strict=True) if kind is not None]
    if not drawable:
        message = (
            f"{facts.file}: no layer of this model can be drawn yet; list them with: actviz layers {request.model}"
        )
        raise UsageError(message)
    return spatial or drawable


def _say_inputs(samples: Sequence[Sample]) -> Iterator[Said]:
    for note in dict.fromkeys(note for sample in samples for note in sample.notes):
        yield Said(note)
    for said in dict.fromkeys(said for sample in samples for said in sample.ranges):
        yield Said(f"preprocessing: {said}; change it with --preprocess")


def _plan(request: ShowRequest, facts: ModelFacts, layers: Sequence[LayerInfo], samples: Sequence[Sample]) -> _Plan:
    """Name every file and refuse what must not be overwritten, before inference."""
    from actviz import output

    keys = [layer.address for layer in layers] if request.layers else [SHEET]
    single = len(samples) == 1 and len(keys) == 1
    stem = output.slug(Path(facts.file).stem)
    given = request.output
    if given is not None and Path(given).suffix.lower() in OTHER_FORMATS:
        message = f"-o {given}: figures are written as PNG; give a name that ends in .png, or a folder."
        raise UsageError(message)
    if given is not None and given.lower().endswith(".png"):
        if not single:
            message = f"-o {given}: {len(samples) * len(keys)} figures do not fit into one file; give a folder, such as -o {given[:-4]}/"
            raise UsageError(message)
        plan = _Plan({(0, keys[0]): Path(given)}, None)
    elif given is None and single:
        parts = [stem, output.slug(unquote(keys[0]))] + (
            [output.slug(_stem(samples[0]))] if request.inputs or request.named else []
        )
        plan = _Plan({(0, keys[0]): Path("_".join(parts) + ".png")}, None)
    else:
        plan = _foldered(Path(given) if given is not None else Path(f"{stem}-actviz"), facts, keys, samples)
    for folder in sorted({path.parent for path in plan.targets.values()}):
        output.prepare_folder(folder)
    for (number, key), path in plan.targets.items():
        identity = {"model": facts.file, "input": samples[number].name, "address": key}
        output.check_target(path, identity, overwrite=request.overwrite)
    return plan


def _foldered(folder: Path, facts: ModelFacts, keys: Sequence[str], samples: Sequence[Sample]) -> _Plan:
    from actviz import output

    positions = {layer.address: position for position, layer in enumerate(facts.layers)}
    digits = max(3, len(str(len(positions))))
    files, folders = output.Names(), output.Names()
    targets = {}
    for number, sample in enumerate(samples):
        inside = folders.take(folder / output.slug(_stem(sample)), sample.name)
        for key in keys:
            name = (
                f"{positions.get(key, 0):0{digits}d}_{output.slug(unquote(key))}.png" if key != SHEET else "sheet.png"
            )
            targets[number, key] = files.take(inside / name, key)
    return _Plan(targets, folder)


def _stem(sample: Sample) -> str:
    """Return an input's name without its suffix: ``cat.png`` -> ``cat``, ``x.npy[3]`` -> ``x[3]``."""
    file, mark, rest = sample.name.partition("[")
    return sample.stem or Path(file).stem + mark + rest


@dataclass(frozen=True, slots=True)
class _Work:
    """One input's activations, ready to be drawn."""

    number: int
    sample: Sample
    found: Mapping[str, Activation]
    versions: dict[str, str]


def _draw(request: ShowRequest, facts: ModelFacts, plan: _Plan, work: _Work) -> Iterator[Written]:
    """Draw and write the figures of one input; one is packed while the next is drawn."""
    from collections import deque
    from concurrent.futures import ThreadPoolExecutor

    from actviz.records import Context

    context = Context(facts.file, work.sample.name, work.sample.fed, work.sample.thumbnail)
    weights = next(iter(work.found.values())).weights_digest
    with ThreadPoolExecutor(WRITERS) as pool:
        pending: deque[Future[Written]] = deque()
        for (number, key), path in plan.targets.items():
            if number == work.number:
                picture = _picture(key, work.found, context, request.style)
                more = {"weights": weights, "versions": work.versions}
                pending.append(
                    pool.submit(_write, plan, path, picture, _record(picture, facts, work.sample, key) | more)
                )
            while len(pending) > WRITERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _picture(key: str, found: Mapping[str, Activation], context: Context, style: Style) -> Picture:
    if key == SHEET:
        from actviz.sheet import draw_sheet

        return draw_sheet(list(found.values()), 0, context, style)
    from actviz import renderers

    return renderers.draw(found[key], 0, context, style)


def _write(plan: _Plan, path: Path, picture: Picture, record: dict[str, Any]) -> Written:
    """Write one figure; runs beside the drawing of the next (packing releases the lock)."""
    from actviz import output

    size = output.write_figure(path, picture.pixels, record)
    relative = str(path.relative_to(plan.folder)) if plan.folder else str(path)
    plan.records.append(record | {"file": relative, "bytes": size})
    return Written(path)


def _record(picture: Picture, facts: ModelFacts, sample: Sample, address: str) -> dict[str, Any]:
    """Return the provenance of a figure: no date, no path of this machine."""
    from actviz.version import VERSION

    return {
        "actviz": VERSION,
        "model": facts.file,
        "configuration": facts.digest,
        "address": address,
        "input": sample.name,
        "input_sha256": sample.digest,
        "fed": sample.fed,
        "numbers": picture.numbers,
        "code": list(facts.code),
        "tiles": [[tile.channel, *tile.box, tile.low, tile.high, tile.state] for tile in picture.tiles[:MAXIMUM_TILES]],
    }


def _finish(plan: _Plan, facts: ModelFacts, versions: dict[str, str]) -> None:
    if plan.folder is None:
        return
    from actviz import output
    from actviz.version import VERSION

    about = {
        "actviz": VERSION,
        "model": facts.file,
        "configuration": facts.digest,
        "code": list(facts.code),
        "versions": versions,
    }
    records = sorted(plan.records, key=lambda record: str(record["file"]))
    output.write_manifest(plan.folder, records, about)
