"""Run a part of the inputs of `top` or `check`: a pure function of model, options and part, on any machine.

A part gives a record and a state, those of a result file (`results.part_files`), which are merged once, by its number.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from actviz.batch import requests
from actviz.commands import parts
from actviz.results.part_files import Part

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.batch.computations import NumberedSample
    from actviz.batch.events import Note, Progress
    from actviz.batch.requests import ModelRequest
    from actviz.errors import ActvizError
    from actviz.inputs.input_files import InputPart
    from actviz.inputs.skipped_files import SkippedFiles
    from actviz.records import LayerInfo, ModelFacts
    from actviz.worker import Worker

    Failures = list[ActvizError]


class Tally(Protocol):
    """What was found so far: the state of a reducer, and what is recorded with it."""

    inputs: int

    def record(self) -> dict[str, Any]:
        """Return what is recorded beside the state."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state of the reducer."""
        ...

    def add_part(self, record: Mapping[str, Any], state: Mapping[str, NDArray[Any]]) -> None:
        """Merge a part."""
        ...


RequestType = TypeVar("RequestType", bound="ModelRequest")
TallyType = TypeVar("TallyType", bound=Tally)


RequestOf_contra = TypeVar("RequestOf_contra", bound="ModelRequest", contravariant=True)


class PartCommand(Protocol[RequestOf_contra, TallyType]):
    """What differs between the commands whose inputs are computed in parts."""

    def choose(self, request: RequestOf_contra, facts: ModelFacts) -> Sequence[LayerInfo]:
        """Return the layers to compute."""
        ...

    def start(self, request: RequestOf_contra, facts: ModelFacts, layers: Sequence[LayerInfo]) -> TallyType:
        """Return an empty tally."""
        ...

    def compute(
        self,
        request: RequestOf_contra,
        worker: Worker,
        items: Iterable[NumberedSample | Note | ActvizError],
        tally: TallyType,
    ) -> Iterator[Note | Progress | ActvizError]:
        """Compute inputs and add them to the tally; yield notes, progress and the errors of inputs."""
        ...

    def record(self, request: RequestOf_contra, facts: ModelFacts) -> dict[str, Any]:
        """Return the command and its options."""
        ...


@dataclass(slots=True)
class PartRun(Generic[RequestType, TallyType]):
    """A command with an open model, of which parts are run; `failures` are the errors of the inputs of all of them."""

    command: PartCommand[RequestType, TallyType]
    worker: Worker
    request: RequestType
    facts: ModelFacts
    layers: Sequence[LayerInfo]
    skipped: SkippedFiles
    weights: Future[list[str]]
    failures: Failures = field(default_factory=list)
    notes: requests.InputNotes = field(default_factory=requests.InputNotes)
    versions: dict[str, str] = field(default_factory=dict)

    def compute(self, part: InputPart | None, tally: TallyType) -> Generator[Note | Progress, None, None]:
        """Compute a part of the inputs (``None``: all) into a tally."""
        request = (
            self.request if part is None else replace(self.request, inputs=replace(self.request.inputs, part=part))
        )
        inputs = requests.feed(request, self.facts, self.layers)
        items = requests.numbered(
            inputs, stateful=request.reading.stateful, notes=self.notes, several=part is not None and not part.alone
        )
        events = self.command.compute(request, self.worker, items, tally)
        yield from requests.collect_failures(events, self.failures)
        if tally.inputs and not self.versions:
            self.versions = self.worker.versions()

    def start(self) -> TallyType:
        """Return an empty tally."""
        return self.command.start(self.request, self.facts, self.layers)

    def record(self, tally: TallyType, failures: Failures | None = None) -> dict[str, Any]:
        """Return the record of what a tally holds."""
        failures = self.failures if failures is None else failures
        common = parts.part_record(self.request, self.facts, failures, self.versions if tally.inputs else {})
        model = {"weights": self.weights.result(), "addresses": [layer.address for layer in self.layers]}
        return common | self.command.record(self.request, self.facts) | model | tally.record()


def open_run(
    command: PartCommand[RequestType, TallyType], worker: Worker, request: RequestType, without: Path | None = None
) -> Generator[Note | Progress, None, PartRun[RequestType, TallyType]]:
    """Open the model and list the inputs; inputs of a request with a part are listed already."""
    # In a thread: it takes as long as reading the file.
    pool = ThreadPoolExecutor(1, "hash")
    weights = pool.submit(parts.hash_model, request.opening)
    pool.shutdown(wait=False)
    facts = yield from requests.open_model(worker, request)
    yield from requests.prepare(worker, request.model)
    request, skipped = yield from parts.list_inputs(request, facts, without)
    facts, layers, _ = requests.begin(request, facts, worker, command.choose)
    return PartRun(command, worker, request, facts, layers, skipped, weights)


def run_part(run: PartRun[RequestType, TallyType], part: InputPart) -> Generator[Note | Progress, None, Part]:
    """Compute one part of the inputs; return its record and state, which depend on nothing else."""
    before, tally = len(run.failures), run.start()
    yield from run.compute(part, tally)
    record = run.record(tally, run.failures[before:])
    return Part(run.request.model, record | {"shards": [part.number], "of": 0}, tally.state())
