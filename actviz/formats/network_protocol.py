"""The interface of a loaded model, the same for every file format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

from actviz.errors import InputError, escape
from actviz.records import ScoreBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.formats.per_sample import State
    from actviz.records import Activation, Kernel, LayerInfo, ModelFacts, Shape, TensorSpec


class Network(Protocol):
    """A loaded model.

    A new file format is a module with a class that implements this protocol, and a line in `FORMATS`.
    """

    @property
    def facts(self) -> ModelFacts:
        """The facts that are known without running the model."""

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every addressable output, in model order."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the model's order."""

    @property
    def notes(self) -> list[str]:
        """Notes about the weights and operations read so far, each once."""

    def complete(self, shapes: Mapping[str, Shape] | None = None) -> ModelFacts:
        """Infer the shapes and parameter counts that are not in the file, and return the facts.

        `shapes` gives the shape, batch axis first, of inputs whose `TensorSpec` has none.
        """

    def prepare(self) -> None:
        """Import the libraries that `activations` needs."""

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
            Arrays ``(batch, ...)`` by input name.
        addresses
            Addresses as in `layers`; ``None`` for all of them except attention scores.
        separate
            Compute each sample by itself, so that the last bits of its values do not depend
            on the batch size.
        state
            The initial state of a network that keeps state between calls. ``"file"``: every
            sample starts with the state in the file. ``"first"``: the first sample does, and
            each later one with the state after the sample before it. ``"next"``: all samples,
            including the first, continue with the state after the sample before them.

        Returns
        -------
        dict
            An `Activation` for each address, with values ``(batch, ...)`` in the dtype of the layer.
        """

    def kernels(self, address: str) -> tuple[Kernel, ...]:
        """Return the kernels or tables of a layer, read from the file without TensorFlow; empty for other layers."""

    @property
    def has_gradients(self) -> bool:
        """Whether `scores` can compute gradients."""

    def scores(
        self, batch: Mapping[str, NDArray[Any]], target: str = "", at: str = "", units: Sequence[int] = ()
    ) -> ScoreBatch:
        """Compute the scores of a layer for a batch, before its final softmax or sigmoid.

        Parameters
        ----------
        batch
            Arrays ``(batch, ...)`` by input name.
        target
            The address of the layer (``""``: the first output of the model).
        at
            The address of a layer or an input whose values are returned too (``""``: none).
        units
            For each input the unit, or channel, of whose score the gradients with respect to `at` are computed;
            empty for no gradients. ``-k`` is the unit with the k-th highest score.

        Raises
        ------
        UsageError
            When there is no such unit, or no gradient.
        """

    def close(self) -> None:
        """Close the file."""

    def check_unchanged(self) -> None:
        """Raise ModelChangedError if the file was modified since it was opened."""


class FileNetwork(Network, Protocol):
    """The part of `Network` that all formats share: a context manager that closes the file, layers and inputs from the facts."""

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

    @property
    def has_gradients(self) -> bool:
        """Whether `scores` can compute gradients."""
        return False

    def scores(
        self, batch: Mapping[str, NDArray[Any]], target: str = "", at: str = "", units: Sequence[int] = ()
    ) -> ScoreBatch:
        """Compute the scores of a layer where the format has no gradients; see `Network.scores`."""
        from actviz.formats.score_axes import mean_scores, no_gradient, score_axis

        target = target or next(layer.address for layer in reversed(self.layers) if not layer.inner)
        if units:
            raise no_gradient(
                self.facts.file, target, at, f"actviz differentiates Keras files, this is a {self.facts.format} file"
            )
        before, name = self.before_final(target)
        found = self.activations(batch, list(dict.fromkeys(filter(None, [target, before, at]))))
        scores, outputs = (
            mean_scores(item.values, score_axis(item.axes, item.values.ndim)) for item in (found[before], found[target])
        )
        return ScoreBatch(target, scores, outputs, name, found.get(at))

    def before_final(self, target: str) -> tuple[str, str]:
        """Return the address of what the softmax or sigmoid that ends a layer reads, and its name; else the layer itself."""
        return target, ""


def check_inputs(file: str, needed: Iterable[str], batch: Mapping[str, NDArray[Any]]) -> None:
    """Raise InputError if a batch lacks an input that the requested layers depend on."""
    missing = ", ".join(f'"{escape(name, 60)}"' for name in needed if name not in batch)
    if missing:
        raise InputError(f"{file}: these layers need the input {missing}; give it by name.")


def input_too_small(file: str, name: str, size: int, axis: Sequence[str], minimum: int) -> InputError:
    """Return the error for an input that is smaller than the window of a layer.

    `axis` has the name of the axis if it is known, `size` and `minimum` are along it.
    """
    unit = (axis[0] if axis else "value") + ("s" if size != 1 else "")
    message = f'{file}: the input "{escape(name, 60)}" has {size:,} {unit}, which is too small for these layers; give at least {minimum:,}.'
    return InputError(message)
