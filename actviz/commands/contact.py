"""`show --contact`: one channel of a layer for many inputs on one page."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actviz.addresses import select_layers_of
from actviz.batch import figure_writer, output_paths, requests, streaming
from actviz.batch.batch_sizes import BatchSizes
from actviz.batch.computations import ActivationComputation, Activations, NumberedSample
from actviz.batch.events import Event, FileWritten, Note, Progress
from actviz.batch.retries import ComputedBatch
from actviz.batch.runner import BatchRunner
from actviz.batch.vector_figure import write_picture
from actviz.errors import ActvizError, UsageError, escape, worst
from actviz.statistics.channel_statistics import as_numbers
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actviz.commands.show_request import ShowRequest
    from actviz.figures.contact_sheet import ContactEntry
    from actviz.records import Activation, LayerInfo, ModelFacts, Sample

_ContactRunner = BatchRunner[NumberedSample, Activations]

MOST_INPUTS = 256
_CHANNEL = re.compile(r"(.+):(\d{1,9})")
EXAMPLE = "-l conv:17"


def contact(request: ShowRequest) -> Iterator[Event]:
    """Draw a channel of a layer for every input on one page, at most the `MOST_INPUTS` strongest.

    Raises
    ------
    ActvizError
        If nothing could be drawn; `PartialError` at the end if some inputs failed.
    """
    _refuse(request)
    yield from streaming.check(request.reading, request.shard, has_inputs=request.has_inputs)
    style = figure_writer.check_style(request.style)
    with Worker(request.opening) as worker:
        facts = worker.facts()
        layer, channel = _selected(request, facts)
        _check_channel(layer, channel)
        yield from requests.prepare(worker, request.model)
        path = _target(request, facts, layer, channel)
        failures: list[ActvizError] = []
        computation = ActivationComputation(worker, [layer], BatchSizes([layer], request.batch_size_for(facts)))
        runner: _ContactRunner = BatchRunner(computation, stateful=request.reading.stateful)
        collected = _Collected(layer, channel, by_number=style.sort == "index")
        with runner:
            yield from requests.collect_failures(_collect(request, facts, runner, collected), failures)
        worker.check_unchanged()
        if not collected.entries or collected.layer is None:
            raise worst(failures)
        yield _write(request, facts, collected, path)
    if failures:
        raise requests.partial(len(failures), len(failures) + collected.count)


def _collect(
    request: ShowRequest, facts: ModelFacts, runner: _ContactRunner, collected: _Collected
) -> Iterator[Note | Progress | ActvizError]:
    """Add the map of every input to `collected`; yield notes, progress and the errors of inputs."""
    layer = collected.layer_info
    items = requests.numbered(requests.feed(request, facts, [layer]), stateful=request.reading.stateful)
    for item in runner.run(items, fail_fast=request.fail_fast):
        if not isinstance(item, ComputedBatch):
            yield item
            continue
        for index, piece in enumerate(item.pieces):
            collected.add(piece.sample, item.result[layer.address], index)


@dataclass(slots=True)
class _Collected:
    """The maps of a channel so far; `count` is the number of all inputs, of which the strongest are kept."""

    layer_info: LayerInfo
    channel: int
    by_number: bool
    entries: list[ContactEntry] = field(default_factory=list)
    layer: Activation | None = None
    count: int = 0

    def add(self, sample: Sample, activation: Activation, index: int) -> None:
        """Add the map of one input.

        Raises
        ------
        UsageError
            If the layer has no such channel, or its maps differ in size.
        """
        from actviz.figures.contact_sheet import ContactEntry
        from actviz.figures.renderers import renderer_of

        renderer = renderer_of(activation.axes)
        if renderer is None or activation.values.dtype.kind in "OSUTc" or 0 in activation.values.shape:
            raise UsageError(f"layer {activation.address!r} holds no numbers that can be drawn; choose another layer.")
        maps = renderer.sheet_tiles(activation, index).maps
        if self.channel >= len(maps):
            raise _no_channel(activation.address, len(maps), self.channel)
        values = as_numbers(maps[self.channel])
        self.layer = self.layer or activation
        if self.entries and values.shape != self.entries[0].values.shape:
            message = f"{sample.name}: its map is {values.shape[0]} x {values.shape[1]}, that of {self.entries[0].name} {self.entries[0].values.shape[0]} x {self.entries[0].values.shape[1]}; --contact needs inputs of one size."
            raise UsageError(message)
        self.entries.append(ContactEntry(sample.name, sample.thumbnail, values.copy()))
        self.count += 1
        if len(self.entries) >= 2 * MOST_INPUTS:
            self.drop()

    def drop(self) -> None:
        """Keep the strongest inputs by mean |value|, or the first."""
        if not self.by_number:
            strength = np.array(
                [np.nan_to_num(np.abs(entry.values.astype(np.float64))).mean() for entry in self.entries]
            )
            order = sorted(np.argsort(-strength, kind="stable")[:MOST_INPUTS].tolist())
            self.entries = [self.entries[index] for index in order]
        self.entries = self.entries[:MOST_INPUTS]


def _refuse(request: ShowRequest) -> None:
    """Refuse options that a contact sheet cannot honor."""
    style = request.style
    given = {
        "--sheet and --no-sheet": request.sheet is not None,
        "--channels": style.channels is not None,
        "--project": style.project is not None,
        "--overlay": style.overlay,
        "--reduce": style.reduce is not None,
        "--bare": style.bare,
        "--scale run": style.scale == "run",
        "--dry-run": request.dry_run,
        "--shard": request.shard.count > 1,
        "--labels": request.labels is not None,
        "--tokens": request.tokens is not None,
    }
    refused = [option for option, present in given.items() if present]
    if refused:
        raise UsageError(f"--contact draws one channel on one scale; leave out {', '.join(refused)}.")


def _selected(request: ShowRequest, facts: ModelFacts) -> tuple[LayerInfo, int]:
    """Return the layer and the channel that the request names."""
    parsed = _CHANNEL.fullmatch(request.layers[0]) if len(request.layers) == 1 else None
    if parsed is None:
        given = f"-l {escape(request.layers[0], 60)}" if len(request.layers) == 1 else f"{len(request.layers)} layers"
        raise UsageError(f"--contact needs one layer with one channel, such as {EXAMPLE}, not {given}.")
    layers = select_layers_of(facts, [parsed[1]], str(request.model))
    if len(layers) > 1:
        raise UsageError(f"--contact needs one layer; {escape(parsed[1], 60)} selects {len(layers)}.")
    return layers[0], int(parsed[2])


def _check_channel(layer: LayerInfo, channel: int) -> None:
    """Refuse a channel that the layer does not have, if its shape is known before it is computed."""
    from actviz.figures.renderers import kind_of

    # The tiles of a montage are slices.
    known = layer.shape is not None and "channel" in layer.axes and kind_of(layer.axes) != "montage"
    count = layer.shape[layer.axes.index("channel")] if layer.shape is not None and known else None
    if count is not None and channel >= count:
        raise _no_channel(layer.address, count, channel)


def _no_channel(address: str, count: int, channel: int) -> UsageError:
    return UsageError(f"layer {address!r} has {count:,} maps, 0 to {count - 1:,}; there is no {channel}.")


def _target(request: ShowRequest, facts: ModelFacts, layer: LayerInfo, channel: int) -> Path:
    """Return the path of the figure after checking that it may be written."""
    from actviz.results import output_files

    # A number alone would be read as the index of a layer.
    name = f"{layer.address}_channel_{channel}"

    options = output_paths.OutputOptions([name], request.output, facts.file, facts.digest, named=False)
    where = output_paths.choose(options, facts.every_layer, 1)
    path = where.file or (where.folder or Path()) / f"{output_files.slug(name)}.png"
    output_files.check_target(path, _identity(facts, f"{layer.address}:{channel}"), overwrite=request.overwrite)
    return path


def _identity(facts: ModelFacts, key: str) -> dict[str, str]:
    return {"model": facts.file, "input": "contact", "address": key}


def _write(request: ShowRequest, facts: ModelFacts, collected: _Collected, path: Path) -> FileWritten:
    """Draw and write the figure."""
    from actviz.figures import contact_sheet
    from actviz.version import VERSION

    if len(collected.entries) > MOST_INPUTS:
        collected.drop()
    layer = collected.layer
    assert layer is not None  # noqa: S101  (known to the caller)
    picture = contact_sheet.draw(
        layer, collected.channel, collected.entries, (facts.file, collected.count), request.style
    )
    provenance = {
        "actviz": VERSION,
        **_identity(facts, f"{layer.address}:{collected.channel}"),
        "configuration": facts.digest,
        **request.reading.code_record(),
        "weights": layer.weights_digest,
        "class": layer.kind,
        "numbers": picture.numbers,
        "size": list(picture.size),
    }
    write_picture(path, picture, provenance, request.style.dpi)
    return FileWritten(path)
