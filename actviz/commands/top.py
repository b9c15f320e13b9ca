"""`top`: for each channel of some layers, the inputs on which it is strongest."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actviz.batch import requests, strongest_runner
from actviz.batch.batch_sizes import fixed_batch_size
from actviz.batch.events import FileWritten, Note, Progress
from actviz.batch.strongest_runner import StrongestSoFar
from actviz.commands import top_classes, top_files, top_result, verdicts
from actviz.errors import ActvizError, UsageError, escape
from actviz.figures import mosaic
from actviz.inputs import find_input_files
from actviz.inputs.skipped_files import SkippedFiles
from actviz.statistics.strongest_inputs import channel_axis
from actviz.system.held_folder import hold_folder
from actviz.version import VERSION
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
    target = top_files.target_of(request)
    with contextlib.nullcontext() if target is None else hold_folder(target.folder):
        yield from _top(request, target)


def _top(request: TopRequest, target: TopTarget | None) -> Iterator[Note | Progress | FileWritten | verdicts.Verdict]:
    failures: list[ActvizError] = []
    with Worker(request.opening) as worker:
        facts = yield from requests.open_model(worker, request)
        yield from requests.prepare(worker, request.model)
        if not request.inputs.named:
            # Listed once: standard input cannot be read again for the crops.
            skipped = SkippedFiles()
            files = tuple(
                find_input_files(
                    request.inputs, facts, without=None if target is None else target.path, skipped=skipped
                )
            )
            yield from map(Note, skipped.notes())
            request = replace(request, inputs=replace(request.inputs, paths=(), lists=(), files=files))
        classes = top_classes.read_classes(request.truth, request.inputs.files)
        facts, layers, inputs = requests.begin(request, facts, worker, _choose)
        if target is not None:
            top_files.check(request, target, layers)
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
        yield from top_files.write(request, target, results, facts, _record(facts, tally, ()))
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
