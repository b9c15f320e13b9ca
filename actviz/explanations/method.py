"""What a method of explanation gets, and its entry in the table of methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

from actviz.errors import UsageError, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, ScoreBatch

Known = TypeVar("Known")


class ScoreFunction(Protocol):
    """`Network.scores`, in this process or in the worker."""

    def __call__(
        self, batch: Mapping[str, NDArray[Any]], target: str = "", at: str = "", units: Sequence[int] = ()
    ) -> ScoreBatch:
        """Compute scores for a batch; see `actviz.formats.network_protocol.Network.scores`."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One question: why the inputs of a batch have a score.

    Attributes
    ----------
    score
        Computes scores and gradients.
    batch
        Arrays ``(batch, ...)`` by input name.
    target
        The address of the layer of the scores (``""``: the first output).
    units
        The unit of each input.
    layer
        The address of the layer whose activations are weighted.
    input
        The name, address and axes of the input that is explained.
    size
        How many inputs are computed at once.
    first
        The scores of the batch, with the activation of the layer and its gradients where the method needs them.
    discrete
        Whether the values of the input are numbers of words, or other integers, between which there is nothing.
    """

    score: ScoreFunction
    batch: Mapping[str, NDArray[Any]]
    target: str
    units: tuple[int, ...]
    layer: str
    input: tuple[str, str, Axes]
    size: int = 32
    first: ScoreBatch | None = None
    discrete: bool = False

    @property
    def values(self) -> NDArray[Any]:
        """The input that is explained, ``(batch, ...)``."""
        return self.batch[self.input[0]]

    @property
    def channel(self) -> int | None:
        """The index of the channel axis of the input, if it has one."""
        axes = self.input[2]
        return next((axes.index(name) for name in ("channel", "unit") if name in axes[1:]), None)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the input along its axes of places."""
        return tuple(size for axis, size in enumerate(self.values.shape) if axis not in {0, self.channel})

    @property
    def activation(self) -> Activation:
        """The activation of the layer."""
        found = self.first.activation if self.first is not None else None
        return found or self._known(self.score(self.batch, self.target, self.layer).activation)

    def at_layer(self) -> tuple[Activation, NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return the activation of the layer, its values and gradients ``(batch, ..., channel)``, and the scores ``(batch,)``."""
        found = self.first
        if found is None or found.activation is None or found.gradients is None:
            found = self.score(self.batch, self.target, self.layer, self.units)
        activation, gradients = self._known(found.activation), self._known(found.gradients)
        own = found.scores[np.arange(len(self.units)), list(self.units)]
        return (
            activation,
            channels_last(activation.values, activation.axes),
            channels_last(gradients, activation.axes),
            own,
        )

    @staticmethod
    def _known(value: Known | None) -> Known:
        """Return what was asked for."""
        if value is None:
            raise AssertionError
        return value

    def input_gradients(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the gradients for other values of the input, in their shape."""
        found = self.score({**self.batch, self.input[0]: values}, self.target, self.input[1], self.units)
        return self._known(found.gradients)

    def scores_of(self, values: NDArray[Any], index: int) -> NDArray[Any]:
        """Return the scores ``(n,)`` of other values of the input, ``(n, ...)``, with the rest of input `index`."""
        return np.concatenate([found.scores[:, self.units[index]] for found in self._batches(values, index)])

    def outputs_of(self, values: NDArray[Any], index: int) -> NDArray[Any]:
        """Return the same as `scores_of`, after a final softmax or sigmoid."""
        return np.concatenate([found.outputs[:, self.units[index]] for found in self._batches(values, index)])

    def _batches(self, values: NDArray[Any], index: int) -> Iterator[ScoreBatch]:
        for start in range(0, len(values), self.size):
            part = values[start : start + self.size]
            batch = {
                name: np.repeat(array[index : index + 1], len(part), axis=0) for name, array in self.batch.items()
            } | {self.input[0]: part}
            found = self.score(batch, self.target)
            if len(found.scores) != len(part):
                message = f'"{escape(found.address, 80)}" mixes the inputs of a batch: {len(part)} inputs give {len(found.scores)} scores, so that no map can be computed for one of them.'
                raise UsageError(message)
            yield found


def channels_last(values: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """Return values with the axis of channels or units last."""
    index = next((axes.index(name) for name in ("channel", "unit") if name in axes[1:]), values.ndim - 1)
    return np.moveaxis(values, index, -1)


class Method(NamedTuple):
    """A method: its function returns raw maps, float32 ``(batch, ...)``, at the places of the layer or of the input.

    `on_layer` says whether these are the places of the layer, `gradients` whether the format must have gradients,
    `patches` whether the values of a patch of the input are equal (see `occlusion.patch_sides`), `complete` whether the
    values sum to the difference of the score from that of zeros.
    """

    compute: Callable[[Explanation], NDArray[Any]]
    on_layer: bool
    gradients: bool
    patches: bool = False
    complete: bool = False
