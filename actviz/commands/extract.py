"""`extract`: activations of a model for inputs, written to one file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from actviz.batch import requests, streaming
from actviz.batch.batch_sizes import BatchSizes
from actviz.batch.computations import ActivationComputation, Activations, NumberedSample
from actviz.batch.events import FileWritten, Note, Progress
from actviz.batch.heat_map_computation import HeatMapArrays
from actviz.batch.requests import ModelRequest
from actviz.batch.retries import ComputedBatch, FailedItem, survived
from actviz.batch.runner import BatchRunner
from actviz.commands.explain_plan import parse_plan
from actviz.errors import ActvizError, InputError, UsageError, escape, worst
from actviz.records import PRE
from actviz.system.held_folder import hold_folder
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actviz.activations import ActivationWriter
    from actviz.records import LayerInfo, ModelFacts

_ExtractRunner = BatchRunner[NumberedSample, Activations]

SUFFIX = ".npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractRequest(ModelRequest):
    """The arguments of the command; with the names of methods in `explain`, heat maps of the targets `of` are written."""

    compress: bool = False
    explain: str | None = None
    of: str = "top"


def extract(request: ExtractRequest) -> Iterator[Note | Progress | FileWritten]:
    """Write the activations of the chosen layers for every input into one file.

    Raises
    ------
    ActvizError
        If nothing could be computed; `PartialError` at the end if some inputs failed.
    """
    from actviz import activations
    from actviz.inputs import choose_preprocessing
    from actviz.system import file_writing

    yield from streaming.check(request.reading, has_inputs=request.has_inputs)
    with Worker(request.opening) as worker:
        facts = yield from requests.open_model(worker, request)
        yield from requests.prepare(worker, request.model)
        layers = _choose(request, facts)
        path = _target(request, facts)
        failures: list[ActvizError] = []
        # Batches of one: the last bits of activations depend on the batch size.
        computation = _computation(request, facts, worker, layers)
        runner: _ExtractRunner = BatchRunner(computation, stateful=request.reading.stateful)
        with (
            hold_folder(path.parent),
            activations.ActivationWriter(path.parent) as collector,
            runner,
        ):
            yield from requests.collect_failures(
                _collect(request, runner, requests.feed(request, facts, layers), collector), failures
            )
            worker.stop()
            if not collector.count:
                raise worst(failures)
            for address, reason in collector.left_out.items():
                yield Note(f'layer "{escape(address, 80)}" is left out: {reason}.')
            if not collector.addresses:
                message = f"{facts.file}: none of the layers gives an array for each input; choose others with --layer."
                raise UsageError(message)
            preprocessing = choose_preprocessing(
                facts, request.reading.function or request.reading.preprocess
            ).description
            described = replace(
                facts, layers=(*facts.layers, *(layer for layer in layers if layer.address.endswith(PRE)))
            )
            about = activations.model_metadata(described, preprocessing, computation.versions, given=request.has_inputs)
            worker.check_unchanged()
            with file_writing.replace_file(path) as file:
                collector.write(file, about, compress=request.compress)
    yield FileWritten(path)
    if failures:
        raise requests.partial(len(failures), len(failures) + collector.count)


def _computation(
    request: ExtractRequest, facts: ModelFacts, worker: Worker, layers: Sequence[LayerInfo]
) -> ActivationComputation | HeatMapArrays:
    if request.explain is None:
        if request.of != "top":
            message = f"--of {escape(request.of, 60)} is a target of heat maps; give the method with --explain too."
            raise UsageError(message)
        return ActivationComputation(worker, layers, BatchSizes(layers, 1))
    plan = parse_plan(request, facts, facts.labels, request.explain)
    return HeatMapArrays(worker, plan, 1)


def _choose(request: ExtractRequest, facts: ModelFacts) -> Sequence[LayerInfo]:
    """Return the requested layers, else all but attention scores, which need a second call of the layer."""
    layers = requests.requested_layers(request, facts) if request.explain is None else []
    return layers or [layer for layer in facts.layers if not layer.address.endswith("@scores") and not layer.inner]


def _collect(
    request: ExtractRequest,
    runner: _ExtractRunner,
    given: requests.Inputs,
    collector: ActivationWriter,
) -> Iterator[Note | Progress | ActvizError]:
    """Run one sample after another; a failing sample does not end the run."""
    items = requests.numbered(given, stateful=request.reading.stateful)
    for item in runner.run(items, fail_fast=request.fail_fast):
        if not isinstance(item, ComputedBatch):
            yield item
            continue
        for piece in item.pieces:
            try:
                collector.add(piece.sample, item.result)
            except InputError as failure:
                yield survived(FailedItem(piece, failure), alone=piece.alone, fail_fast=request.fail_fast)


def _target(request: ExtractRequest, facts: ModelFacts) -> Path:
    """Return the path of the result after checking that it may be written."""
    from actviz.activations import read_description
    from actviz.results import output_files

    default = f"{output_files.slug(Path(facts.file).stem)}{SUFFIX}"
    path = output_files.resolve_output(request.output, default, [SUFFIX], "activations are written as .npz")
    kind = output_files.ResultKind("model's activations", read_description)
    output_files.check_output(path, {"model": facts.file}, kind, overwrite=request.overwrite)
    return path
