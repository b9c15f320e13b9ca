"""Numbers of layers over many inputs: batches to the worker, totals back, no maps.

While the worker computes one batch, the next is read. Memory does not grow with the number
of inputs beyond what reading them takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, InputError
from actviz.jobs import feeding
from actviz.totals import bounds_of, cuts_of, join, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from actviz.jobs.events import Said
    from actviz.records import LayerInfo, Sample
    from actviz.totals import Totals
    from actviz.worker import Numbers, Worker

# What the layers of one batch may give, so that a worker stays small, and the most inputs
# in it: beyond that the fixed cost of a batch no longer counts.
BATCH_BYTES = 256 << 20
LARGEST_BATCH = 128

Key = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(slots=True)
class Tally:
    """What is known so far of `layers`.

    `totals` are theirs by address over `inputs` inputs; `left_out` the dtype of layers that
    give no numbers; `nonfinite` the first input with NaN or infinities. `sizes` are the
    bytes that one input's layers take, by the shapes of the input.
    """

    layers: Sequence[LayerInfo]
    totals: dict[str, Totals] = field(default_factory=dict)
    inputs: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    nonfinite: dict[str, str] = field(default_factory=dict)
    sizes: dict[Key, int] = field(default_factory=dict)

    def batch_size(self, key: Key, most: int) -> int:
        """Return how many inputs of some shapes make a batch of `most` bytes: one, until it is known what they take."""
        size = self.sizes.get(key)
        return 1 if size is None else max(1, min(LARGEST_BATCH, most // max(1, size)))

    def add(self, samples: Sequence[Sample], numbers: Numbers) -> None:
        """Take the numbers of a batch."""
        for address, packed in numbers.packed.items():
            found = unpacked(packed)
            known = self.totals.get(address)
            self.totals[address] = found if known is None else join(known, found)
        self.left_out |= numbers.left_out
        for address, place in numbers.nonfinite.items():
            self.nonfinite.setdefault(address, samples[place].name)
        self.sizes[key_of(samples[0])] = numbers.size // len(samples)
        self.inputs += len(samples)


def key_of(sample: Sample) -> Key:
    """Return what inputs of one batch have in common: their shapes, batch axis left out."""
    return tuple((name, values.shape[1:]) for name, values in sample.values.items())


def batched(
    found: Iterable[Sequence[Sample] | ActvizError], tally: Tally, most: int = BATCH_BYTES
) -> Iterator[list[Sample] | ActvizError]:
    """Yield inputs in batches of one shape each, and errors as they come."""
    waiting: dict[Key, list[Sample]] = {}
    for item in found:
        if isinstance(item, ActvizError):
            yield item
            continue
        for sample in item:
            key = key_of(sample)
            batch = waiting.setdefault(key, [])
            batch.append(sample)
            if len(batch) >= tally.batch_size(key, most):
                yield waiting.pop(key)
    yield from waiting.values()


def stacked(samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
    """Return the inputs of a batch as one array for each name, batch axis first."""
    import numpy as np

    if len(samples) == 1:
        return dict(samples[0].values)
    return {name: np.concatenate([sample.values[name] for sample in samples]) for name in samples[0].values}


def count(
    worker: Worker, found: Iterable[Sequence[Sample] | ActvizError], tally: Tally, *, fail_fast: bool
) -> Iterator[Said | ActvizError]:
    """Compute all inputs and add them to `tally`; yield notes, and why inputs were lost."""
    notes = feeding.Notes()
    pending: list[Sample] = []
    for batch in batched(found, tally):
        if isinstance(batch, ActvizError):
            yield batch
            continue
        yield from notes.about(batch)
        if pending:
            yield from _take(worker, pending, tally, fail_fast=fail_fast)
        _ask(worker, batch, tally)
        pending = batch
    if pending:
        yield from _take(worker, pending, tally, fail_fast=fail_fast)


def _ask(worker: Worker, samples: Sequence[Sample], tally: Tally) -> None:
    cuts = {layer.address: cuts_of(bounds_of(layer.activation)) for layer in tally.layers}
    asked = {address: pair for address, pair in cuts.items() if pair is not None}
    worker.ask_numbers(stacked(samples), list(cuts), asked)


def _take(worker: Worker, samples: Sequence[Sample], tally: Tally, *, fail_fast: bool) -> Iterator[ActvizError]:
    """Take the answer for a batch; one bad input of several costs itself only."""
    try:
        tally.add(samples, worker.numbers())
    except InputError as failure:
        if fail_fast:
            raise
        if len(samples) == 1:
            yield failure
            return
        for sample in samples:
            _ask(worker, [sample], tally)
            yield from _take(worker, [sample], tally, fail_fast=False)
