"""`top`: for each channel of some layers, the inputs on which it is strongest."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actviz.batch import requests, strongest_runner
from actviz.batch.batch_sizes import fixed_batch_size
from actviz.batch.events import FileWritten, Note, Progress
from actviz.batch.strongest_runner import StrongestSoFar
from actviz.commands import part_runs, parts, resuming, top_classes, top_files, top_inputs, top_result, verdicts
from actviz.errors import ActvizError, UsageError, escape
from actviz.figures import mosaic
from actviz.inputs import Shard
from actviz.statistics.strongest_inputs import channel_axis
from actviz.system.held_folder import hold_folder
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from actviz.batch.computations import NumberedSample
    from actviz.commands.part_runs import PartRun
    from actviz.commands.top_files import TopTarget
    from actviz.commands.top_request import TopRequest
    from actviz.commands.top_result import LayerResult
    from actviz.records import LayerInfo, ModelFacts


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
    sharded = request.inputs.shard.count > 1
    if sharded or request.keep_crops or request.resume:
        parts.check_folder(request.output, "--shard" if sharded else "--resume" if request.resume else "--keep-crops")
    target = top_files.target_of(request.output, through_link=request.through_link)
    with contextlib.nullcontext() if target is None else hold_folder(target.folder):
        yield from _top(request, target)


def _top(request: TopRequest, target: TopTarget | None) -> Iterator[Note | Progress | FileWritten | verdicts.Verdict]:
    with Worker(request.opening) as worker:
        run = yield from part_runs.open_run(TopParts(), worker, request, None if target is None else target.path)
        request = run.request
        classes = top_classes.read_classes(request.truth, request.inputs.files)
        if target is not None:
            top_files.check(target, request.model.name, run.layers, overwrite=request.overwrite)
        unfinished = target.path / resuming.UNFINISHED if target is not None and request.resume else None
        tally = yield from resuming.compute(run, unfinished)
        record = run.record(tally)
        worker.stop()
    yield from parts.check_inputs(tally.inputs, run.failures, request.inputs.shard)
    for address, dtype in tally.left_out.items():
        yield Note(f'layer "{escape(address, 80)}" is left out: it gives {escape(dtype, 40)}, not real numbers.')
    results = top_result.results_of(tally, request.channels, classes)
    if not results and tally.inputs:
        message = f"{run.facts.file}: none of these layers gives numbers; choose others with --layer."
        raise UsageError(message)
    record["classes"] = top_result.classes_of(results)
    record["files"] = top_inputs.strongest_files(results, request.inputs.files)
    yield from _conclude(run, target, tally, results, record)
    resuming.finish(unfinished)
    if run.failures:
        raise requests.partial(len(run.failures), len(run.failures) + tally.inputs)


class TopParts:
    """The parts of `top`; see `part_runs.PartCommand`."""

    def choose(self, request: TopRequest, facts: ModelFacts) -> Sequence[LayerInfo]:
        """Return the requested layers that have channels."""
        return _choose(request, facts)

    def start(self, request: TopRequest, facts: ModelFacts, layers: Sequence[LayerInfo]) -> StrongestSoFar:
        """Return an empty tally."""
        return StrongestSoFar(layers, request.options, fixed_batch_size(facts))

    def compute(
        self,
        request: TopRequest,
        worker: Worker,
        items: Iterable[NumberedSample | Note | ActvizError],
        tally: StrongestSoFar,
    ) -> Iterator[Note | Progress | ActvizError]:
        """Compute inputs and add them to the tally."""
        return strongest_runner.rank(worker, items, tally, fail_fast=request.fail_fast)

    def record(self, request: TopRequest, facts: ModelFacts) -> dict[str, Any]:
        """Return the command and its options."""
        options = request.options
        return {
            "command": "top",
            "named": list(request.inputs.named),
            "reader": top_inputs.reader_record(facts),
            "options": {"by": options.by, "k": options.count, "extremes": list(options.extremes)},
        }


def _conclude(
    run: PartRun[TopRequest, StrongestSoFar],
    target: TopTarget | None,
    tally: StrongestSoFar,
    results: Sequence[LayerResult],
    record: dict[str, Any],
) -> Iterator[Note | FileWritten | verdicts.Verdict]:
    """Write the files, and yield the verdict; of a part with ``--shard`` only its state is written."""
    request = run.request
    drawing = top_files.Drawing(request.dark, request.channels is not None)
    if target is not None:
        crops = top_files.Crops.of(results, drawing, target.form)
        sharded = request.inputs.shard.count > 1
        if request.keep_crops or not sharded:
            given = replace(request.inputs, shard=Shard())
            yield from top_inputs.read_again(given, run.facts, request.reading, results, crops)
        if sharded:
            yield top_files.write_state(target.path / top_files.RESULT, tally, record)
        else:
            yield from top_files.write(target, results, record, crops, drawing)
        if request.keep_crops:
            yield top_files.write_crops(target.path / top_files.CROPS, crops)
    if request.as_json or target is None:
        yield top_result.verdict(results, record)


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
