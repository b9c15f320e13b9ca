"""`actviz.top`: the inputs on which each channel is strongest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.api.arguments import python_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from actviz.api.network import OpenNetwork
    from actviz.api.top_inputs import TopInputs


@python_errors()
def top(  # noqa: PLR0913  (one keyword per option)
    network: OpenNetwork,
    inputs: ArrayLike | Mapping[str, ArrayLike],
    layers: str | Sequence[str],
    *,
    k: int = 9,
    by: str = "max",
    extreme: str = "high",
) -> dict[str, TopInputs]:
    """Return for each channel of some layers the inputs on which it is strongest, as ``actviz top`` finds them.

    Parameters
    ----------
    network
        A network of `actviz.open`.
    inputs
        A batch of any size, as for `Network.activations`; it is computed in parts.
    layers
        Layer addresses as on the command line.
    k
        How many inputs for each channel.
    by
        What the strength of a channel is: its ``"max"`` over all positions, or their ``"mean"``.
    extreme
        ``"high"`` for the inputs with the highest values, ``"low"`` for the lowest.

    Returns
    -------
    dict
        Address to `TopInputs`.

    Raises
    ------
    UsageError
        When an address matches no layer, a layer has no channels or no numbers, or an option has no such value.
    InputError
        When the inputs do not fit the network, or there are none.
    """
    return network.top(inputs, layers, k=k, by=by, extreme=extreme)
