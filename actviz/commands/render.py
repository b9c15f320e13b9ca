"""`render`: figures of saved activations, without a model and without TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from actviz import activations
from actviz.addresses import select_layers
from actviz.batch import color_ranges, figure_writer, output_paths, sheet_layers
from actviz.batch.events import Event, Note, Progress
from actviz.batch.figure_outcome import FigureOutcome
from actviz.batch.labels import LabelNames
from actviz.errors import InputError, OutputError, UsageError, escape
from actviz.gate.file_type import ARCHIVES
from actviz.results import output_files
from actviz.results.manifest import Manifest
from actviz.system import file_system
from actviz.system.held_folder import MovedFolderError, hold_folder
from actviz.system.run_lock import RunIdentity, RunLock
from actviz.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actviz.activations import SavedActivations
    from actviz.records import LayerInfo, Style

ARRAY = b"\x93NUMPY"
EXAMPLE = "--axes row,column,channel"
# Largest number of figures that wait to be drawn while the next input is read.
WAITING = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """The arguments of the command; `index` is the input to draw (``None``: all).

    `sheet` is ``None`` if it depends on whether `layers` are given.
    """

    file: Path
    layers: tuple[str, ...]
    output: str | None
    style: Style
    axes: str | None = None
    index: int | None = None
    overwrite: bool = False
    sheet: bool | None = None
    through_link: bool = False


def render(request: RenderRequest) -> Iterator[Event]:
    """Draw the chosen layers for the chosen inputs; yield events.

    Raises
    ------
    ActvizError
        If the file holds no activations, or not the requested ones.
    """
    style = figure_writer.check_style(request.style, request.output)
    with file_system.reading(request.file) as (file, size), _open(request, file, size) as saved:
        about = saved.description
        layers = _choose(request, saved)
        missing = [layer for layer in layers if layer.address not in about.entries]
        for layer in missing:
            yield Note(_why_missing(layer, saved))
        addresses = [layer.address for layer in layers if layer not in missing]
        if not addresses:
            raise UsageError(_nothing(request, saved))
        numbers = _numbers(request, saved, addresses)
        color_ranges.check_addresses(style, addresses)
        if style.scale == "run":
            ranges = color_ranges.RunRanges(style)
            for done, number in enumerate(numbers):
                yield Progress(done, len(numbers), color_ranges.STAGE)
                ranges.add({address: saved.activation(address, number) for address in addresses})
            style = ranges.style()
        source = figure_writer.FigureSource(about.model, about.configuration, about.layers, named=about.given)
        yield from _draw(request, saved, _RenderSelection(source, addresses, numbers, style))


@dataclass(frozen=True, slots=True)
class _RenderSelection:
    """The layers and inputs of a file to draw, and the style."""

    source: figure_writer.FigureSource
    addresses: list[str]
    numbers: list[int]
    style: Style


def _draw(request: RenderRequest, saved: SavedActivations, chosen: _RenderSelection) -> Iterator[Event]:
    """Draw the selection, one input after another."""
    outcome = FigureOutcome(0)
    with contextlib.ExitStack() as held:
        try:
            yield from _draw_held(request, saved, chosen, outcome, held)
        except MovedFolderError as failure:
            raise OutputError(outcome.explain_loss(failure.message)) from None
    outcome.summary()


def _identity_of(request: RenderRequest, style: Style, sheet: str) -> str:
    """Return the hash that is equal for runs that may write to one folder at once."""
    stamp = file_system.stamp_of(request.file)
    identity_json = json.dumps(
        [str(request.file.resolve()), str(stamp), request.axes, dataclasses.asdict(style), sheet]
    )
    return hashlib.sha256(identity_json.encode("ascii")).hexdigest()


def _draw_held(
    request: RenderRequest,
    saved: SavedActivations,
    chosen: _RenderSelection,
    outcome: FigureOutcome,
    held: contextlib.ExitStack,
) -> Iterator[Event]:
    source, about = chosen.source, saved.description
    single = bool(request.layers) if request.sheet is None else not request.sheet
    wanted = output_paths.OutputOptions(
        chosen.addresses if single else (), request.output, source.model, source.configuration, source.named
    )
    samples = {number: saved.sample(number) for number in chosen.numbers}
    stems = {number: output_paths.stem_of_sample(sample) for number, sample in samples.items()}
    where = output_paths.choose(wanted, source.layers, len(samples), next(iter(stems.values())))
    marks = output_paths.marks({number: (stems[number], sample.name) for number, sample in samples.items()})
    where = replace(where, marks=marks)
    if where.folder is not None:
        output_files.check_folder(where.folder, through_link=request.through_link)
    place = where.folder or (where.file.parent if where.file else Path())
    output_files.prepare_folder(place)
    folder = held.enter_context(hold_folder(place))
    if where.folder is not None:
        sheet = "" if single else " ".join(chosen.addresses)
        work = _identity_of(request, chosen.style, sheet)
        held.enter_context(RunLock(folder, RunIdentity(source.model, work, sheet)))
    files = {number: {key: where.path(stems[number], key, number) for key in wanted.keys} for number in samples}
    for number, sample in samples.items():
        for key, path in files[number].items():
            if where.folder is not None:
                output_files.check_inside(where.folder, path.parent)
            identity = {"model": source.model, "input": sample.name, "address": key}
            output_files.check_target(path, identity, overwrite=request.overwrite)
    writer = figure_writer.FigureWriter(source, chosen.style, LabelNames(), where.folder, overwrite=request.overwrite)
    writer.versions = about.versions
    manifest = Manifest(where.folder, source.model, overwrite=request.overwrite) if where.folder else None
    outcome.manifest, outcome.inputs, outcome.figures_each = manifest, len(samples), len(wanted.keys)
    with manifest if manifest is not None else contextlib.nullcontext():
        ended = closed = False
        try:
            for done, (number, sample) in enumerate(samples.items()):
                yield Progress(done, len(samples))
                found = {address: saved.activation(address, number) for address in chosen.addresses}
                writer.submit(figure_writer.FigureJob(sample, 0, found, files[number]))
                yield from outcome.record(writer.finished(WAITING))
            yield from outcome.record(writer.finished())
            ended = True
        except GeneratorExit:
            closed = True
            raise
        finally:
            late = outcome.record_late(writer.end())
            _write_manifest(outcome, source, about.versions, ended=ended)
            if not closed:
                yield from late


def _write_manifest(
    outcome: FigureOutcome, source: figure_writer.FigureSource, versions: Mapping[str, str], *, ended: bool
) -> None:
    """Write the manifest, also if the run was interrupted or failed."""
    if outcome.manifest is None or not (ended or outcome.written):
        return
    with contextlib.nullcontext() if ended else contextlib.suppress(OutputError):
        outcome.manifest.about = {
            "actviz": VERSION,
            "configuration": source.configuration,
            "code": list(source.code),
            "versions": dict(versions),
        }
        outcome.lost = outcome.manifest.drop_lost(own=True)
        outcome.manifest.write(interrupted=not ended)


def _open(request: RenderRequest, file: BinaryIO, size: int) -> SavedActivations:
    """Open a file by its first bytes, whatever its name."""
    name = str(request.file)
    start = file.read(len(ARRAY))
    if start == ARRAY:
        if request.axes is None:
            message = f"{name}: which axes has this array? Name them in order, for instance {EXAMPLE}."
            raise UsageError(message)
        return activations.open_array(file, size, name, request.file.stem, activations.parse_axes(request.axes))
    if start.startswith(ARCHIVES):
        return _open_archive(request, file, name)
    raise activations.refusal(file, size, name, "an .npz of actviz extract, or an array (.npy, .npz),")


def _open_archive(request: RenderRequest, file: BinaryIO, name: str) -> SavedActivations:
    saved = activations.open_saved(file, name)
    if saved is None:
        if request.axes is None:
            message = f"{name}: no actviz.json in it says what the axes of its arrays are; name them, for instance {EXAMPLE}, or write the file with actviz extract."
            raise InputError(message)
        return activations.open_arrays(file, name, activations.parse_axes(request.axes))
    if request.axes is not None:
        message = (
            f"--axes {escape(request.axes, 80)}: {name} says itself what the axes of its arrays are; leave --axes out."
        )
        raise UsageError(message)
    return saved


def _choose(request: RenderRequest, saved: SavedActivations) -> list[LayerInfo]:
    """Return the layers to draw: the requested ones, else those that a sheet of the file shows."""
    layers = saved.description.layers
    if request.layers:
        return select_layers(layers, request.layers, str(request.file), "python -m zipfile -l")
    return sheet_layers.drawable([layer for layer in layers if layer.address in saved.description.entries])


def _why_missing(layer: LayerInfo, saved: SavedActivations) -> str:
    reason = saved.description.left_out.get(layer.address, "it was not extracted")
    return f'layer "{escape(layer.address, 80)}" is not in the file: {escape(reason, 200)}.'


def _nothing(request: RenderRequest, saved: SavedActivations) -> str:
    held = list(saved.description.entries)
    names = ", ".join(escape(address, 60) for address in held[:8]) + (", ..." if len(held) > 8 else "")  # noqa: PLR2004  (eight are shown)
    if request.layers:
        return f"{request.file}: none of these layers is in the file; it holds {names}."
    return f"{request.file}: nothing draws the layers in the file ({names}) yet."


def _numbers(request: RenderRequest, saved: SavedActivations, addresses: list[str]) -> list[int]:
    """Return the numbers of the inputs to draw.

    Raises
    ------
    UsageError
        If there is no such input, or the arrays have different lengths.
    """
    counts = sorted({saved.length(address) for address in addresses})
    if len(counts) > 1:
        lengths = ", ".join(str(count) for count in counts)
        message = f"{request.file}: the arrays hold different numbers of samples ({lengths}); choose some of one length with --layer."
        raise UsageError(message)
    count = counts[0]
    if not count:
        message = f"{request.file}: the file holds no sample; at least one was expected."
        raise InputError(message)
    if request.index is not None and request.index >= count:
        message = f"--index {request.index}: the file holds {count} (0 to {count - 1})."
        raise UsageError(message)
    return list(range(count)) if request.index is None else [request.index]
