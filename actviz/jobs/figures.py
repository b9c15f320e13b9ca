"""Figures of activations, wherever they come from: planned, drawn, written, recorded.

What is drawn is decided first: every file has its name, and none that must not be
overwritten is touched. Then each input's activations are drawn when they arrive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from actviz.errors import ActvizError, LimitError, PartialError, UsageError
from actviz.jobs.events import Said, Written
from actviz.jobs.naming import Names, check_fits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from actviz.records import Activation, Context, LayerInfo, ModelFacts, Picture, Sample, Style, Tile

SHEET = "sheet"
SPATIAL = "grid"
WRITERS = 2
OTHER_FORMATS = frozenset({".jpg", ".jpeg", ".svg", ".pdf", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".eps", ".npz"})
MAXIMUM_TILES = 4096


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


@dataclass(slots=True)
class Plan:
    """Where each figure goes, by number of the input and address: decided before anything is computed.

    `names` are what classes and steps are called; `failures` and `missing` say which
    figures could not be drawn, and why.
    """

    source: Source
    style: Style
    targets: dict[tuple[int, str], Path]
    folder: Path | None
    names: Names = field(default_factory=Names)
    fail_fast: bool = False
    overwrite: bool = False
    records: list[dict[str, Any]] = field(default_factory=list)
    failures: list[ActvizError] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Work:
    """One input's activations, ready to be drawn."""

    number: int
    sample: Sample
    found: Mapping[str, Activation]
    versions: Mapping[str, str]


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

    inner = [layer for layer in layers if layer.kind != "InputLayer" and not layer.address.endswith("@scores")]
    kinds = [kind_of(layer.axes) for layer in inner]
    spatial = [layer for layer, kind in zip(inner, kinds, strict=True) if kind == SPATIAL]
    return spatial or [layer for layer, kind in zip(inner, kinds, strict=True) if kind is not None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says of figures; `addresses` is empty for a sheet."""

    addresses: Sequence[str]
    output: str | None
    style: Style
    overwrite: bool


def plan(wish: Wish, source: Source, inputs: Mapping[int, Sample]) -> Plan:
    """Name every file and refuse what must not be overwritten.

    Parameters
    ----------
    wish
        Which layers, and where to.
    source
        What the figures are of.
    inputs
        The inputs by number.

    Raises
    ------
    UsageError
        When several figures would go into one file, or the file's name asks for another format.
    OutputError
        When something else stands there.
    """
    from actviz import output

    keys = list(wish.addresses) or [SHEET]
    single = len(inputs) == 1 and len(keys) == 1
    stem = output.slug(Path(source.model).stem)
    given = wish.output
    if given is not None and Path(given).suffix.lower() in OTHER_FORMATS:
        message = f"-o {given}: figures are written as PNG; give a name that ends in .png, or a folder."
        raise UsageError(message)
    folder = None
    if given is not None and given.lower().endswith(".png"):
        if not single:
            message = f"-o {given}: {len(inputs) * len(keys)} figures do not fit into one file; give a folder, such as -o {given[:-4]}/"
            raise UsageError(message)
        targets = {(next(iter(inputs)), keys[0]): Path(given)}
    elif given is None and single:
        layer = output.slug(unquote(keys[0]))
        parts = [stem, layer] if source.configuration or layer != stem else [stem]
        parts += [output.slug(_stem(sample)) for sample in inputs.values()] if source.named else []
        targets = {(next(iter(inputs)), keys[0]): Path("_".join(parts) + ".png")}
    else:
        folder = Path(given) if given is not None else Path(f"{stem}-actviz")
        targets = _foldered(folder, source, keys, inputs)
    for parent in sorted({path.parent for path in targets.values()}):
        output.prepare_folder(parent)
    for (number, key), path in targets.items():
        identity = {"model": source.model, "input": inputs[number].name, "address": key}
        output.check_target(path, identity, overwrite=wish.overwrite)
    return Plan(source, wish.style, targets, folder, overwrite=wish.overwrite)


def _foldered(
    folder: Path, source: Source, keys: Sequence[str], inputs: Mapping[int, Sample]
) -> dict[tuple[int, str], Path]:
    from actviz import output

    positions = {layer.address: position for position, layer in enumerate(source.layers)}
    digits = max(3, len(str(len(positions))))
    files, folders = output.Names(), output.Names()
    targets = {}
    for number, sample in inputs.items():
        name = sample.name
        inside = folders.take(folder / output.slug(_stem(sample)), name) if name else folder
        for key in keys:
            file = (
                f"{positions.get(key, 0):0{digits}d}_{output.slug(unquote(key))}.png" if key != SHEET else "sheet.png"
            )
            targets[number, key] = files.take(inside / file, key)
    return targets


def _stem(sample: Sample) -> str:
    """Return an input's name without its suffix: ``cat.png`` -> ``cat``, ``x.npy[3]`` -> ``x[3]``."""
    file, mark, rest = sample.name.partition("[")
    return sample.stem or Path(file).stem + mark + rest


def draw(planned: Plan, work: Work) -> Iterator[Said | Written]:
    """Draw and write the figures of one input; one is packed while the next is drawn."""
    from collections import deque
    from concurrent.futures import ThreadPoolExecutor

    from actviz.records import Context

    sample, names = work.sample, planned.names
    check_fits(names, work.found.values())
    steps = names.steps or sample.words or ()
    context = Context(
        planned.source.model, sample.name, sample.fed, sample.thumbnail, names.labels, steps, sample.pictures
    )
    with ThreadPoolExecutor(WRITERS) as pool:
        pending: deque[Future[Written]] = deque()
        for (number, key), path in planned.targets.items():
            if number == work.number:
                try:
                    pages = _pages(key, work.found, context, planned.style)
                    paths = _paths(planned, path, len(pages), work.sample)
                except (UsageError, LimitError) as failure:
                    if planned.fail_fast or len(planned.targets) == 1:
                        raise
                    yield _left_out(planned, failure, key, sample.name)
                    continue
                for page, make in zip(paths, pages, strict=True):
                    picture = make()
                    record = _record(picture, planned.source, work, key)
                    pending.append(pool.submit(_write, planned, page, picture, record))
                    while len(pending) > WRITERS:
                        yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _left_out(planned: Plan, failure: ActvizError, address: str, sample: str) -> Said:
    """Note why a layer has no figure; the others go on."""
    planned.failures.append(failure)
    planned.missing.append({"address": address, "input": sample, "no_figure": failure.message})
    return Said(f"no figure: {failure.message}")


def _pages(
    key: str, found: Mapping[str, Activation], context: Context, style: Style
) -> Sequence[Callable[[], Picture]]:
    """Return what draws one figure, or each page of a sheet: all that can be refused has been by then."""
    if key == SHEET:
        from actviz.sheet import plan_pages

        return plan_pages(list(found.values()), 0, context, style)
    from actviz import renderers

    picture = renderers.draw(found[key], 0, context, style)
    return [lambda: picture]


def _paths(planned: Plan, path: Path, pages: int, sample: Sample) -> list[Path]:
    """Return where pages go: to ``name_1.png``, ``name_2.png`` ... where there are several.

    Raises
    ------
    OutputError
        When something else stands at one of them.
    """
    from actviz import output

    if pages == 1:
        return [path]
    paths = [path.with_name(f"{path.stem}_{number}{path.suffix}") for number in range(1, pages + 1)]
    identity = {"model": planned.source.model, "input": sample.name, "address": SHEET}
    for page in paths:
        output.check_target(page, identity, overwrite=planned.overwrite)
    return paths


def _write(planned: Plan, path: Path, picture: Picture, record: dict[str, Any]) -> Written:
    """Write one figure; runs beside the drawing of the next (packing releases the lock)."""
    from actviz import output

    size = output.write_figure(path, picture.pixels, record)
    relative = str(path.relative_to(planned.folder)) if planned.folder else str(path)
    planned.records.append(record | {"file": relative, "bytes": size})
    return Written(path)


def _record(picture: Picture, source: Source, work: Work, address: str) -> dict[str, Any]:
    """Return the provenance of a figure: no date, no path of this machine."""
    from actviz.version import VERSION

    return {
        "actviz": VERSION,
        "model": source.model,
        "configuration": source.configuration,
        "address": address,
        "input": work.sample.name,
        "input_sha256": work.sample.digest,
        "fed": work.sample.fed,
        "numbers": picture.numbers,
        "code": list(source.code),
        "tiles": [_tile(tile) for tile in picture.tiles[:MAXIMUM_TILES]],
        "weights": next(iter(work.found.values())).weights_digest,
        "versions": dict(work.versions),
    }


def _tile(tile: Tile) -> list[Any]:
    """Return a tile as a list: channel, box, ends of its colours, state; then its place and part, if any."""
    more = [[list(tile.index), list(tile.part or ())]] if tile.index or tile.part else []
    return [tile.channel, *tile.box, tile.low, tile.high, tile.state, *(item for pair in more for item in pair)]


def finish(planned: Plan, versions: Mapping[str, str]) -> None:
    """Write the manifest of a folder of figures.

    Raises
    ------
    ActvizError
        When figures could not be drawn: the worst reason where there is none at all, with
        a summary where there are some.
    """
    if planned.folder is not None:
        _write_manifest(planned, planned.folder, versions)
    if len(planned.failures) == len(planned.targets):
        raise max(planned.failures, key=lambda failure: failure.exit_code)
    if planned.failures:
        message = f"{len(planned.failures)} of {len(planned.targets)} figures could not be drawn, for the reasons above; the rest is written."
        raise PartialError(message)


def _write_manifest(planned: Plan, folder: Path, versions: Mapping[str, str]) -> None:
    from actviz import output
    from actviz.version import VERSION

    source = planned.source
    about: dict[str, Any] = {
        "actviz": VERSION,
        "model": source.model,
        "configuration": source.configuration,
        "code": list(source.code),
        "versions": dict(versions),
    }
    if planned.missing:
        about["missing"] = planned.missing
    output.write_manifest(folder, sorted(planned.records, key=lambda record: str(record["file"])), about)
