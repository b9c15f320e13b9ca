"""`top`: for each channel of some layers, the inputs on which it is strongest."""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from actviz.batch import requests, strongest_runner
from actviz.batch.batch_sizes import fixed_batch_size
from actviz.batch.events import FileWritten, Note, Progress
from actviz.batch.requests import ModelRequest
from actviz.batch.strongest_runner import StrongestSoFar, identity_of
from actviz.commands import top_classes, top_result, verdicts
from actviz.errors import ActvizError, OutputError, UsageError, escape
from actviz.figures import mosaic, strongest_page, text
from actviz.inputs import find_input_files, iterate_samples
from actviz.inputs.arrays import read_archive
from actviz.inputs.skipped_files import SkippedFiles
from actviz.results import output_files
from actviz.results.provenance_json import dump_json
from actviz.statistics.strongest_inputs import channel_axis
from actviz.system import file_system, file_writing
from actviz.system.held_folder import hold_folder
from actviz.version import VERSION
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actviz.commands.top_result import LayerResult
    from actviz.figures.strongest_page import StrongestTile
    from actviz.records import LayerInfo, ModelFacts
    from actviz.statistics.strength_options import StrengthOptions

RESULT = "top.npz"
LARGEST_RESULT = 1 << 30

Crops = dict[tuple[str, int, int, int], "StrongestTile"]
"""Tiles by address, extreme (its index), channel and rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopRequest(ModelRequest):
    """The arguments of the command.

    `channels` is a selection (``None``: all), `truth` where the classes of inputs come from (``folders``, a CSV file;
    ``None``: folders, if all inputs are in one folder for each class). Without `output`, a table is the result.
    """

    options: StrengthOptions
    channels: str | None = None
    truth: str | None = None
    through_link: bool = False
    as_json: bool = False
    dark: bool = False


def top(request: TopRequest) -> Iterator[Note | Progress | FileWritten | verdicts.Verdict]:
    """Compute every input once, and draw and record the strongest for each channel.

    Raises
    ------
    ActvizError
        If nothing could be computed; `PartialError` at the end if some inputs failed.
    """
    if not request.layers:
        message = "top needs the layers whose channels are wanted; name them with --layer, as actviz layers lists them."
        raise UsageError(message)
    target = _target(request)
    held = contextlib.nullcontext() if target is None else hold_folder(target.parent if target.suffix else target)
    with held:
        yield from _top(request, target)


def _top(request: TopRequest, target: Path | None) -> Iterator[Note | Progress | FileWritten | verdicts.Verdict]:
    failures: list[ActvizError] = []
    with Worker(request.opening) as worker:
        facts = yield from requests.open_model(worker, request)
        yield from requests.prepare(worker, request.model)
        if not request.inputs.named:
            # Listed once: standard input cannot be read again for the crops.
            skipped = SkippedFiles()
            files = tuple(find_input_files(request.inputs, facts, without=target, skipped=skipped))
            yield from map(Note, skipped.notes())
            request = replace(request, inputs=replace(request.inputs, paths=(), lists=(), files=files))
        classes = top_classes.read_classes(request.truth, request.inputs.files)
        facts, layers, inputs = requests.begin(request, facts, worker, _choose)
        if target is not None:
            _check_targets(request, target, layers)
        tally = StrongestSoFar(layers, request.options, fixed_batch_size(facts))
        events = strongest_runner.rank(worker, requests.numbered(inputs), tally, fail_fast=request.fail_fast)
        yield from requests.collect_failures(events, failures)
        worker.stop()
    if not tally.inputs:
        raise requests.worst(failures)
    for address, dtype in tally.left_out.items():
        yield Note(f'layer "{escape(address, 80)}" is left out: it gives {escape(dtype, 40)}, not real numbers.')
    results = [_result(layer, tally, request, classes) for layer in layers if layer.address in tally.reducer.layers]
    if not results:
        message = f"{facts.file}: none of these layers gives numbers; choose others with --layer."
        raise UsageError(message)
    if target is not None:
        yield from _write(request, target, results, facts)
    if target is None or request.as_json:
        record = _record(facts, tally, failures) | {"layers": [result.record() for result in results]}
        yield verdicts.Verdict("\n\n".join(result.table() for result in results), record)
    if failures:
        raise requests.partial(len(failures), len(failures) + tally.inputs)


def _choose(request: TopRequest, facts: ModelFacts) -> Sequence[LayerInfo]:
    """Return the requested layers that have channels.

    Raises
    ------
    UsageError
        If none has, or a layer does not have the requested channels.
    """
    requested = requests.requested_layers(request, facts)
    layers = [layer for layer in requested if not layer.axes or channel_axis(layer.axes)]
    if not layers:
        first = requested[0]
        message = f'layer "{escape(first.address, 80)}" has no channels, units or heads (its axes are {", ".join(first.axes)}); choose another with --layer.'
        raise UsageError(message)
    for layer in layers:
        name = channel_axis(layer.axes)
        if name is not None and layer.shape is not None and (count := layer.shape[layer.axes.index(name)]) is not None:
            mosaic.parse_channels(request.channels, count)
    return layers


def _result(layer: LayerInfo, tally: StrongestSoFar, request: TopRequest, classes: Mapping[str, str]) -> LayerResult:
    channels = mosaic.parse_channels(request.channels, tally.reducer.layers[layer.address].channels)
    return top_result.LayerResult(
        layer, tally.described[layer.address], tally, channels, lambda name: top_classes.class_of(name, classes)
    )


def _record(facts: ModelFacts, tally: StrongestSoFar, failures: Sequence[ActvizError]) -> dict[str, Any]:
    return {
        "actviz": VERSION,
        "command": "top",
        "model": facts.file,
        "configuration": facts.digest,
        "inputs": tally.inputs,
        "failures": [failure.message for failure in failures],
        "by": tally.options.by,
        "k": tally.options.count,
        "batch_size": tally.size,
        "left_out": tally.left_out,
    }


def _target(request: TopRequest) -> Path | None:
    """Return the figure or the folder that ``-o`` names, ``None`` without it."""
    if request.output is None:
        return None
    path = Path(request.output)
    suffix = "" if request.output.endswith("/") else path.suffix.lower()
    if suffix == ".png":
        output_files.prepare_folder(path.parent)
        return path
    if suffix in {".html", ".htm", ".jpg", ".jpeg", ".svg", ".pdf", ".npz", ".json"}:
        message = f"-o {escape(request.output, 200)}: the strongest inputs are drawn as PNG; give a name that ends in .png, or a folder, such as -o {escape(path.stem, 200)}/"
        raise UsageError(message)
    output_files.check_folder(path, through_link=request.through_link)
    output_files.prepare_folder(path)
    return path


def _figure_path(target: Path, address: str) -> Path:
    """Return the file of the figure of a layer: `target` itself if it is a file."""
    return target if target.suffix.lower() == ".png" else target / f"{output_files.slug(unquote(address))}.png"


def _check_targets(request: TopRequest, target: Path, layers: Sequence[LayerInfo]) -> None:
    """Check before inference that each file may be written."""
    if target.suffix.lower() == ".png" and len(layers) > 1:
        message = f"-o {escape(str(target), 200)}: {len(layers):,} layers do not fit into one figure; give a folder, such as -o {escape(target.stem, 200)}/"
        raise UsageError(message)
    for layer in layers:
        identity = {"command": "top", "model": request.model.name, "address": layer.address}
        output_files.check_target(_figure_path(target, layer.address), identity, overwrite=request.overwrite)
    if target.suffix.lower() != ".png":
        kind = output_files.ResultKind("result of top", _identity_in)
        identity = {"command": "top", "model": request.model.name}
        output_files.check_replaceable(target / RESULT, identity, kind, overwrite=request.overwrite)


def _identity_in(path: Path) -> Mapping[str, Any] | None:
    """Return the record in a result file, ``None`` if this command did not write it."""
    try:
        content = file_system.read_bytes(path, LARGEST_RESULT, OutputError)
        record = json.loads(read_archive(content, ("actviz",), str(path))["actviz"].tobytes())
    except (ActvizError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _write(
    request: TopRequest, target: Path, results: Sequence[LayerResult], facts: ModelFacts
) -> Iterator[Note | FileWritten]:
    """Read the strongest inputs again, and write a figure for each layer, then the result file."""
    tally = results[0].tally
    drawn = {result.layer.address: result.drawn(chosen=request.channels is not None) for result in results}
    wanted: dict[tuple[str, str], list[tuple[LayerResult, int, int, int]]] = defaultdict(list)
    for result in results:
        for channel in drawn[result.layer.address]:
            for extreme in range(len(tally.options.extremes)):
                for rank, winner in enumerate(result.winners(extreme, channel)):
                    wanted[winner.name, winner.digest].append((result, extreme, channel, rank))
    crops: Crops = {}
    yield from _read_again(request, facts, results, wanted, crops)
    for result in results:
        address = result.layer.address
        own = {key[1:]: tile for key, tile in crops.items() if key[0] == address}
        missing = any(where[0] is result for places in wanted.values() for where in places)
        page = top_result.page_of(result, drawn[address], own, facts.file, missing=missing)
        path = _figure_path(target, address)
        about = _record(facts, tally, ()) | {"address": address, "channels": drawn[address]}
        output_files.write_figure(path, strongest_page.draw_strongest(page, dark=request.dark).pixels, about)
        yield FileWritten(path)
    if target.suffix.lower() != ".png":
        yield _write_state(target / RESULT, tally, facts)


def _read_again(
    request: TopRequest,
    facts: ModelFacts,
    results: Sequence[LayerResult],
    wanted: dict[tuple[str, str], list[tuple[LayerResult, int, int, int]]],
    crops: Crops,
) -> Iterator[Note]:
    """Add the tiles of the inputs `wanted` (by name and digest) to `crops`, and take the inputs out of `wanted`.

    Each input is cut when it is decoded, so that no whole pictures are kept.
    """
    names = {name for name, _ in wanted}
    kept = tuple(file for file in request.inputs.files if top_classes.is_named(file.name, names))
    given = replace(request.inputs, files=kept)
    layers = [result.layer for result in results]
    try:
        for samples in iterate_samples(given, facts, layers, request.reading):
            if isinstance(samples, ActvizError):
                continue
            for sample in samples:
                for result, extreme, channel, rank in wanted.pop((sample.name, identity_of(sample).digest), ()):
                    winner = next(item for index, item in enumerate(result.winners(extreme, channel)) if index == rank)
                    tile = top_result.tile_of(winner, sample, result.described)
                    crops[result.layer.address, extreme, channel, rank] = tile
    except ActvizError as failure:
        yield Note(failure.message)
    if wanted:
        name, count = next(iter(wanted))[0], text.plural(len(wanted), "input")
        shown = f"{count} is shown without its picture" if len(wanted) == 1 else f"{count} are shown without pictures"
        yield Note(f"{escape(name, 80)}: changed or removed since it was computed; {shown}.")


def _write_state(path: Path, tally: StrongestSoFar, facts: ModelFacts) -> FileWritten:
    """Write the result file: the state of the reducer, and the record of the run as JSON."""
    about = _record(facts, tally, ()) | {"extremes": list(tally.options.extremes)}
    about["axes"] = {
        layer.address: list(tally.described[layer.address].axes)
        for layer in tally.layers
        if layer.address in tally.reducer.layers
    }
    # The worker's threads return layers in any order.
    arrays: dict[str, Any] = dict(sorted(tally.reducer.state().items()))
    arrays["actviz"] = np.frombuffer(dump_json(about), np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    file_writing.write_file(path, content.getvalue())
    return FileWritten(path)
