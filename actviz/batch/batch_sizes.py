"""Batch sizes: bounded by memory for figures, fixed for each model for statistics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actviz.records import Activation, LayerInfo, ModelFacts

BUDGET = 256 << 20
"""Bytes of activations that a batch may hold; about three batches are in memory at a time."""

LARGEST_BATCH = 64
"""Larger batches have no advantage: the fixed cost of a batch no longer matters."""

REDUCED_BYTES = 512 << 20
"""Bytes of the outputs of all layers of a batch that the worker reduces: 6 inputs of MobileNetV2. With half of it an
input takes 5% more CPU time; the worker, where all layers are reduced, 1.2 instead of 1.4 GB."""

GROWTH = 4


class BatchSizes:
    """The sizes of the batches of a run.

    A batch has `size` samples, or as many as keep the activations within the budget, by the shapes in the file or, for
    free sizes, by earlier results. The first batches are small, so that drawing starts early. If `filled`, every batch
    is filled up to `size` with copies, since the last bits of activations depend on the batch size.
    """

    def __init__(
        self, layers: Sequence[LayerInfo], size: int | None = None, budget: int = BUDGET, *, filled: bool = False
    ) -> None:
        self._size, self._budget, self._filled = size, budget, filled
        self._bytes = declared_bytes(layers)
        self._batches = 0

    def most(self) -> int:
        """Return the size of the next batch."""
        if self._size is not None:
            return self._size
        ramp = int(GROWTH ** min(self._batches, 8))
        if self._bytes is None:
            return 1
        return min(ramp, self.limit(self._bytes))

    def limit(self, each: int) -> int:
        """Return the size of a batch whose samples have `each` bytes of activations."""
        return self._size or max(1, min(LARGEST_BATCH, self._budget // max(1, each)))

    def filled_size(self) -> int:
        """Return the size that batches are filled up to, 1 if they are not filled."""
        return (self._size or 1) if self._filled else 1

    def begun(self) -> None:
        """Count a batch that was started."""
        self._batches += 1

    def learn(self, samples: int, activations: Iterable[Activation]) -> None:
        """Take the measured size of the activations of some samples into account."""
        each = sum(item.values.nbytes for item in activations) // samples
        self._bytes = max(self._bytes or 0, each)

    def one_by_one(self) -> None:
        """Make batches of one sample from now on, without copies."""
        self._size = 1


def declared_bytes(layers: Sequence[LayerInfo]) -> int | None:
    """Return the bytes of the outputs of layers for one sample, ``None`` if a size is free."""
    total = 0
    for layer in layers:
        if layer.shape is None or None in layer.shape[1:]:
            return None
        total += math.prod(axis or 1 for axis in layer.shape[1:]) * 4
    return total


def fixed_batch_size(facts: ModelFacts, most: int = REDUCED_BYTES) -> int:
    """Return the batch size of a model in commands that compute statistics.

    It depends on the shapes in the file alone, so that results do not depend on the number of inputs: the last bits
    of activations depend on the batch size (1 and 32 differ in 6 of 7 layers of the digits sample, by up to 1.7e-6).
    It is 1 if an input has a fixed batch size, or another size that is free.
    """
    shapes = [spec.shape for spec in facts.inputs]
    if any(not shape or shape[0] is not None or None in shape[1:] for shape in shapes):
        return 1
    sizes = [declared_bytes([layer]) for layer in facts.layers]
    known = [size for size in sizes if size is not None]
    # A layer of unknown shape counts as the largest of the others.
    total = sum(known) + (len(sizes) - len(known)) * max(known, default=most)
    return max(1, min(LARGEST_BATCH, most // max(1, total)))
