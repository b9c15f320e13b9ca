"""What a worker computes for a batch: the activations of layers, or anything derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from actviz.batch.batch_sizes import BatchSizes
    from actviz.records import Activation, LayerInfo, Sample
    from actviz.worker import Worker


class HasSample(Protocol):
    """An object with one sample to run."""

    @property
    def sample(self) -> Sample:
        """The sample."""


@dataclass(frozen=True, slots=True)
class NumberedSample:
    """A sample and its number, its offset in the list of inputs.

    `alone` is True for the only one; `done` counts those read so far, `total` all if known.
    """

    number: int
    sample: Sample
    alone: bool = False
    done: int = 0
    total: int = 0


Activations = dict[str, "Activation"]

Piece = TypeVar("Piece", bound=HasSample)
Piece_contra = TypeVar("Piece_contra", bound=HasSample, contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class MixedBatchError(Exception):
    """The outputs do not have the batch as their first axis; samples are computed one by one instead."""


class Computation(Protocol[Piece_contra, Result_co]):
    """A kind of request to one or more workers; results are taken in the order of the requests."""

    @property
    def workers(self) -> Sequence[Worker]:
        """The workers that compute."""
        ...

    @property
    def sizes(self) -> BatchSizes:
        """How large batches are."""
        ...

    def ask(self, batch: Sequence[Piece_contra], size: int, state: str) -> None:
        """Start computing a batch, filled up to `size` with copies; `state` as in `Network.activations`."""
        ...

    def take(self) -> Result_co:
        """Wait for the result of the oldest batch.

        Raises
        ------
        MixedBatchError
            If the outputs mix the samples of the batch.
        ActvizError
            If the batch could not be computed.
        """
        ...


def stacked(batch: Sequence[HasSample], size: int = 1) -> dict[str, NDArray[Any]]:
    """Return samples as one array for each name, batch axis first, filled up to `size` with copies of the last."""
    import numpy as np

    filled = [*batch, *[batch[-1]] * (size - len(batch))]
    if len(filled) == 1:
        return dict(batch[0].sample.values)
    return {name: np.concatenate([piece.sample.values[name] for piece in filled]) for name in batch[0].sample.values}


class ActivationComputation:
    """Activations of layers by address; `versions` are those of the libraries, known after the first batch.

    `sizes` learns how large the activations are.
    """

    def __init__(self, worker: Worker, layers: Sequence[LayerInfo], sizes: BatchSizes) -> None:
        self.workers, self.sizes = [worker], sizes
        self._worker, self._addresses = worker, [layer.address for layer in layers]
        self._count = 0
        self.versions: dict[str, str] = {}

    def ask(self, batch: Sequence[HasSample], size: int, state: str) -> None:
        """Start computing a batch."""
        self._count = len(batch)
        # Samples are sent together but run one by one, so that no figure depends on the batch:
        # 2 ms more for a digit, and 4 to 12% more, or 15% less, of CPU time for a photograph (MobileNetV2,
        # VGG16), where filling each batch up would cost as many times the work for a single input.
        self._worker.request_activations(stacked(batch, size), self._addresses, separate=True, state=state)

    def take(self) -> Activations:
        """Wait for the activations, batch axis first."""
        activations = self._worker.receive_activations()
        check_batch(activations.values(), self._count)
        self.versions = self.versions or self._worker.versions()
        self.sizes.learn(self._count, activations.values())
        return activations


def check_batch(activations: Iterable[Activation], count: int) -> None:
    """Check that outputs have `count` entries along their first axis.

    Raises
    ------
    MixedBatchError
        If they mix the samples of a batch.
    """
    if count > 1 and any(not item.values.ndim or len(item.values) != count for item in activations):
        raise MixedBatchError
