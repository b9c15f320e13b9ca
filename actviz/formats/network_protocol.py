"""What the rest of actviz knows of a model, whatever file it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.formats.one_by_one import State
    from actviz.records import Activation, LayerInfo, ModelFacts, Shape, TensorSpec


class Network(Protocol):
    """A loaded model.

    A new file format is one module with a class that fits this, and one line in `FORMATS`.
    """

    @property
    def facts(self) -> ModelFacts:
        """What the file says, as far as it is known without running the model."""

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every addressable output, in model order."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the model's order."""

    @property
    def notes(self) -> list[str]:
        """Lines worth saying about what was read so far, each once."""

    def complete(self, shapes: Mapping[str, Shape] | None = None) -> ModelFacts:
        """Work out what the file leaves open and return the facts again.

        `shapes` gives the shape, batch axis first, of inputs whose `TensorSpec` has none.
        """

    def prepare(self) -> None:
        """Import what computing needs, ahead of `activations`."""

    def activations(
        self,
        batch: Mapping[str, NDArray[Any]],
        addresses: Sequence[str] | None = None,
        *,
        separate: bool = False,
        state: State = "file",
    ) -> dict[str, Activation]:
        """Compute the outputs of some layers for a batch.

        Parameters
        ----------
        batch
            Arrays by input name, batch axis first.
        addresses
            Addresses as in `layers`; ``None`` for all of them but the scores of attention.
        separate
            Compute each sample by itself, so that its numbers do not depend, in their last
            bits, on how many others are in the batch.
        state
            What a network that keeps a state between calls begins with. ``"file"``: every
            sample begins with the state that the file holds. ``"first"``: the first sample
            does, and each later one with what the one before it left. ``"next"``: so does
            the first.

        Returns
        -------
        dict
            An `Activation` for each address: values batch first, in the layer's own dtype.
        """

    def close(self) -> None:
        """Close the file."""

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened."""


class FileNetwork(Network, Protocol):
    """What networks of every format do alike: a with block closes the file, the facts tell layers and inputs."""

    def __enter__(self) -> Self:
        """Return the network itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every addressable output, in the order of the file."""
        return self.facts.layers

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the order of the file."""
        return self.facts.inputs
