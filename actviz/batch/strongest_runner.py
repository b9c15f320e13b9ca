"""The strongest inputs of layers: the worker returns states of a reducer for each batch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.batch.computations import stacked
from actviz.batch.retries import ComputedBatch
from actviz.batch.runner import BatchRunner
from actviz.batch.statistics_runner import StatisticsComputation
from actviz.results import part_files
from actviz.statistics.strength_options import InputIdentity, StrengthOptions
from actviz.statistics.strongest_inputs import StrongestReducer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.batch.computations import NumberedSample
    from actviz.batch.events import Note, Progress
    from actviz.errors import ActvizError
    from actviz.records import Activation, LayerInfo, Sample
    from actviz.worker import Worker


@dataclass(slots=True)
class StrongestSoFar:
    """The strongest inputs of `layers` over the inputs so far.

    `left_out` is the dtype of layers without numbers, `described` the activations without their values, by address.
    """

    layers: Sequence[LayerInfo]
    options: StrengthOptions
    size: int = 1
    reducer: StrongestReducer = field(default_factory=StrongestReducer)
    inputs: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    described: dict[str, Activation] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return what is recorded beside the state."""
        return {
            "batch_size": self.size,
            "inputs": self.inputs,
            "left_out": self.left_out,
            "layers": [part_files.layer_record(layer, self.described.get(layer.address)) for layer in self.layers],
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
        self.reducer.merge(StrongestReducer.from_state(state))
        self.inputs += int(record["inputs"])
        self.left_out |= record["left_out"]
        for layer in record["layers"]:
            if layer["address"] in self.reducer.layers:
                self.described.setdefault(layer["address"], part_files.described(layer))


class StrongestComputation(StatisticsComputation):
    """Computes the strongest inputs of layers as the state of a reducer for each batch of `size` inputs."""

    def __init__(self, worker: Worker, layers: Sequence[LayerInfo], size: int, options: StrengthOptions) -> None:
        super().__init__(worker, layers, size)
        self._options = options

    def ask(self, batch: Sequence[NumberedSample], size: int, state: str) -> None:
        """Start computing a batch."""
        del state  # the inputs are not a stream
        identities = {piece.number: identity_of(piece.sample) for piece in batch}
        self._worker.request_strongest(stacked(batch, size), self._addresses, self._options, identities)


def identity_of(sample: Sample) -> InputIdentity:
    """Return the identity of a sample; equal values with different padding are different inputs."""
    digest = sample.digest
    if sample.padding:
        digest = hashlib.sha256(f"{digest} {sorted(sample.padding.items())}".encode()).hexdigest()
    return InputIdentity(sample.name, digest, sample.padding)


def rank(
    worker: Worker, items: Iterable[NumberedSample | Note | ActvizError], tally: StrongestSoFar, *, fail_fast: bool
) -> Iterator[Note | Progress | ActvizError]:
    """Run all inputs and keep the strongest in `tally`; yield notes, progress and the errors of inputs."""
    computation = StrongestComputation(worker, tally.layers, tally.size, tally.options)
    with BatchRunner(computation, depth=2) as runner:
        for item in runner.run(items, fail_fast=fail_fast):
            if isinstance(item, ComputedBatch):
                tally.reducer.merge(StrongestReducer.from_state(item.result.state))
                tally.left_out |= item.result.left_out
                for address, described in item.result.described.items():
                    known = tally.described.get(address)
                    if known is None or known.geometry is None:
                        tally.described[address] = described
                tally.inputs += len(item.pieces)
            else:
                yield item
