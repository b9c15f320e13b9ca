"""Statistics of layers over many inputs: the worker returns states of reducers instead of activations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.batch.batch_sizes import BatchSizes
from actviz.batch.computations import MixedBatchError, stacked
from actviz.batch.retries import ComputedBatch
from actviz.batch.runner import BatchRunner
from actviz.results import part_files
from actviz.statistics.running_statistics import StatisticsReducer, bounds_of, cuts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.batch.computations import NumberedSample
    from actviz.batch.events import Note, Progress
    from actviz.errors import ActvizError
    from actviz.records import LayerInfo
    from actviz.statistics.running_statistics import RunningStatistics
    from actviz.worker import BatchStatistics, Worker


@dataclass(slots=True)
class StatisticsSoFar:
    """Statistics of `layers` over the inputs so far.

    `size` is the batch size. `left_out` is the dtype of layers whose values are not real numbers, `nonfinite` the name of the first input with NaN or infinities, both by address.
    """

    layers: Sequence[LayerInfo]
    size: int = 1
    reducer: StatisticsReducer = field(default_factory=StatisticsReducer)
    inputs: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    nonfinite: dict[str, str] = field(default_factory=dict)

    @property
    def totals(self) -> Mapping[str, RunningStatistics]:
        """The statistics by address."""
        return self.reducer.layers

    def add(self, names: Mapping[int, str], reducer: StatisticsReducer, left_out: Mapping[str, str]) -> None:
        """Merge the statistics of a batch of inputs; `names` are their names by number."""
        self.reducer.merge(reducer)
        self.left_out |= left_out
        for address in reducer.layers:
            first = self.totals[address].first_nonfinite
            if first in names:
                self.nonfinite[address] = names[first]
        self.inputs += len(names)

    def record(self) -> dict[str, Any]:
        """Return what is recorded beside the state."""
        return {
            "batch_size": self.size,
            "inputs": self.inputs,
            "left_out": self.left_out,
            "layers": [part_files.layer_record(layer) for layer in self.layers],
            "nonfinite": self.nonfinite,
        }

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state of the reducer."""
        return self.reducer.state()

    def add_part(self, record: Mapping[str, Any], state: Mapping[str, NDArray[Any]]) -> None:
        """Merge a part.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is damaged.
        """
        reducer = StatisticsReducer.from_state(state)
        names = {
            numbers.first_nonfinite: str(record["nonfinite"].get(address, ""))
            for address, numbers in reducer.layers.items()
            if numbers.first_nonfinite >= 0
        }
        inputs = self.inputs + int(record["inputs"])
        self.add(names, reducer, record["left_out"])
        self.inputs = inputs


class StatisticsComputation:
    """Computes statistics of layers as the state of a reducer for each batch of `size` inputs."""

    def __init__(self, worker: Worker, layers: Sequence[LayerInfo], size: int) -> None:
        self._worker, self.workers = worker, [worker]
        self.sizes = BatchSizes(layers, size, filled=True)
        self._addresses = [layer.address for layer in layers]
        cuts = {layer.address: cuts_of(bounds_of(layer.activation)) for layer in layers}
        self._cuts = {address: pair for address, pair in cuts.items() if pair is not None}

    def ask(self, batch: Sequence[NumberedSample], size: int, state: str) -> None:
        """Start computing a batch."""
        numbers = [piece.number for piece in batch]
        self._worker.request_statistics(stacked(batch, size), self._addresses, self._cuts, numbers, state)

    def take(self) -> BatchStatistics:
        """Wait for the statistics of the oldest batch."""
        statistics = self._worker.receive_statistics()
        if statistics.mixed:
            raise MixedBatchError
        return statistics


def count(
    worker: Worker,
    items: Iterable[NumberedSample | Note | ActvizError],
    tally: StatisticsSoFar,
    *,
    fail_fast: bool,
    stateful: bool = False,
) -> Iterator[Note | Progress | ActvizError]:
    """Run all inputs and add their statistics to `tally`; yield notes, progress and the errors of inputs."""
    computation = StatisticsComputation(worker, tally.layers, 1 if stateful else tally.size)
    with BatchRunner(computation, stateful=stateful, depth=1 if stateful else 2) as runner:
        for item in runner.run(items, fail_fast=fail_fast):
            if isinstance(item, ComputedBatch):
                names = {piece.number: piece.sample.name for piece in item.pieces}
                tally.add(names, StatisticsReducer.from_state(item.result.state), item.result.left_out)
            else:
                yield item
