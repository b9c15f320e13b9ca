"""`actviz.explain`: heat maps in the process of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.api.arguments import python_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from actviz.api.network import OpenNetwork
    from actviz.explanations.explain import ExplanationMaps


@python_errors()
def explain(  # noqa: PLR0913  (one keyword per option)
    network: OpenNetwork,
    inputs: ArrayLike | Mapping[str, ArrayLike],
    *,
    of: int | str = "top",
    method: str | None = None,
    layer: str | None = None,
    labels: Sequence[str] = (),
) -> ExplanationMaps:
    """Return heat maps: which part of each input a score depends on.

    The score is the value before a final softmax or sigmoid, as in the papers of the methods.

    Parameters
    ----------
    network
        A network of `actviz.open`.
    inputs
        A batch, as for `Network.activations`.
    of
        A class by number, or by its name in `labels`; ``LAYER:CHANNEL`` for a channel of any layer; ``"top"`` for the
        class with the highest score of each input.
    method
        ``gradcam`` (the default), ``gradcam++``, ``layercam``, ``saliency``, ``smoothgrad`` and
        ``integrated-gradients`` need gradients, which Keras files and most graphs have; ``occlusion`` (the default for
        ``.tflite`` files), ``rise``, ``scorecam`` and ``eigencam`` do not.
    layer
        The layer whose activations are weighted; the last one with places by default.
    labels
        The names of the classes.

    Returns
    -------
    ExplanationMaps
        ``np.asarray`` gives the raw maps, float32 ``(batch, row, column)``, at the places of the layer, or of the input
        for methods on the input. `scores`, `outputs`, `units`, `target`, `layer` and `method` are attributes.

    Raises
    ------
    UsageError
        When the class, the layer or the method does not exist, or there is no gradient.
    InputError
        When the inputs do not fit the network.
    """
    return network.explain(inputs, of=of, method=method, layer=layer, labels=labels)
