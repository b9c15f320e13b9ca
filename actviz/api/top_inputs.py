"""The inputs on which each channel is strongest, in the process of the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.errors import InputError, UsageError, escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from actviz.formats.network_protocol import Network
    from actviz.records import Activation, Array
    from actviz.statistics.strength_options import StrengthOptions
    from actviz.statistics.strongest_inputs import StrongestInputs


@dataclass(frozen=True, repr=False)
class TopInputs:
    """The strongest inputs of each channel of a layer; ranks beyond the last input are NaN, or -1.

    Parameters
    ----------
    address, axes
        The layer, and the names of the axes of its output.
    values
        Strengths, float64 ``(rank, channel)``, the strongest first.
    indices
        Indices of the inputs in the batch, ``(rank, channel)``; equal inputs have one rank.
    copies
        How many inputs of the batch are equal to each, ``(rank, channel)``.
    places
        Indices of the strongest value along the other axes of the layer, ``(rank, channel, axis)``.
    boxes
        Receptive field of that value: top, left, bottom and right in pixels of the input, ``(rank, channel, side)``,
        all 0 where it is not known. It may lie partly outside of the input.
    histogram
        Inputs by strength, ``(bin, channel)``: two bins for each power of two from 2**-16 to 2**16, for negative
        values, 0 and positive values.
    fires
        Share of the inputs with a value above 0 (of the lowest: below 0), ``(channel,)``.
    dead
        Whether a channel is 0 everywhere on every input, ``(channel,)``.
    """

    address: str
    axes: tuple[str, ...]
    values: NDArray[np.float64]
    indices: NDArray[np.int64]
    copies: NDArray[np.int64]
    places: NDArray[np.int64]
    boxes: NDArray[np.int64]
    histogram: NDArray[np.int64]
    fires: NDArray[np.float64]
    dead: NDArray[np.bool_]

    def __repr__(self) -> str:
        """Return the layer and the numbers of ranks and channels, on one line."""
        ranks, channels = self.values.shape
        return f"<actviz top {self.address}: {ranks} inputs for each of {channels} channels>"

    @classmethod
    def of(cls, address: str, axes: Sequence[str], numbers: StrongestInputs, *, low: bool) -> TopInputs:
        """Return the only extreme of a state, of which the inputs are numbered as in the batch."""
        import numpy as np

        keys = np.where(numbers.numbers[0] >= 0, numbers.keys[0], np.nan)
        histogram = numbers.histogram[0][::-1] if low else numbers.histogram[0]
        return cls(
            address,
            tuple(axes),
            -keys if low else keys,
            numbers.numbers[0],
            numbers.copies[0],
            numbers.places[0, ..., :-4],
            numbers.places[0, ..., -4:],
            histogram,
            numbers.fires[0] / numbers.inputs,
            numbers.dead,
        )


def strongest(
    network: Network, batch: Mapping[str, Array], addresses: Sequence[str], options: StrengthOptions
) -> dict[str, TopInputs]:
    """Return the strongest inputs of a batch for some layers; see `actviz.top`."""
    import numpy as np

    from actviz.batch.batch_sizes import fixed_batch_size
    from actviz.inputs.samples import digest
    from actviz.statistics.strength_options import LOW, InputIdentity
    from actviz.statistics.strongest_inputs import StrongestReducer

    count = len(next(iter(batch.values()), ()))
    if not count:
        raise InputError("there are no inputs; a batch of at least one was expected.")
    size = fixed_batch_size(network.facts)
    reducer, axes = StrongestReducer(options), dict[str, tuple[str, ...]]()
    for start in range(0, count, size):
        numbers = range(start, min(count, start + size))
        # Filled up with copies: the last bits of activations depend on the size of a batch.
        taken = np.minimum(np.arange(start, start + size), count - 1)
        singles = {number: {name: values[[number]] for name, values in batch.items()} for number in numbers}
        known = {number: InputIdentity(f"{number:09}", digest(single)) for number, single in singles.items()}
        part = StrongestReducer(options, known)
        computed = network.activations({name: values[taken] for name, values in batch.items()}, addresses)
        for address, activation in computed.items():
            _check(address, activation, size)
            part.update(address, [activation], numbers)
            axes[address] = activation.axes
        reducer.merge(part)
    low = options.extremes == (LOW,)
    return {address: TopInputs.of(address, axes[address], reducer.layers[address], low=low) for address in axes}


def _check(address: str, activation: Activation, size: int) -> None:
    """Refuse a layer without channels, without numbers, or without one output for each input."""
    from actviz.statistics.strongest_inputs import channel_axis

    if channel_axis(activation.axes) is None or activation.values.dtype.kind in "OSUTc":
        raise UsageError(f'layer "{escape(address, 80)}" has no channels with numbers; choose another.')
    if len(activation.values) != size:
        raise UsageError(f'layer "{escape(address, 80)}" does not give one output for each input; choose another.')
