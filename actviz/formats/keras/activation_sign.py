"""Which layers can give negative values, and which stay between bounds, by their activation functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actviz.formats.keras.graph import LayerGraph, LayerNode, refs
from actviz.gate.functions import named_call
from actviz.layer_catalogue import facts_of
from actviz.layer_catalogue.activation_functions import BOUNDS

if TYPE_CHECKING:
    from actviz.formats.keras.graph import Json
    from actviz.layer_catalogue.activation_functions import Bounds

NON_NEGATIVE = frozenset({"relu", "relu6", "sigmoid", "softmax", "softplus", "hard_sigmoid", "exponential"})
NAMED_OPERATIONS = {
    "Softmax": "softmax", "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh",
    "HardSigmoid": "hard_sigmoid", "HardTanh": "hard_tanh", "Softsign": "softsign",
}  # fmt: skip
SAVED_CALLS = frozenset({"TFOpLambda", "TensorFlowOpLayer"})
MAX_CLIP = 1e6
CLIPPED = re.compile(r"relu\d[\d.]*")


def output_signs(graph: LayerGraph) -> dict[int, bool | None]:
    """Return for every call whether it can give negative values (``None``: not known)."""
    found: dict[int, bool | None] = {}
    for number, node in enumerate(graph.nodes):
        entry = graph.entries[node.entry]
        activation = activation_of(entry)
        inputs = [found.get(ref.node) for ref in refs(node.args)]
        if (
            activation in NON_NEGATIVE
            or CLIPPED.fullmatch(activation or "")
            or (facts_of(entry.kind).keeps_sign and inputs and all(sign is False for sign in inputs))
        ):
            found[number] = False
        elif activation in {"tanh", "linear", "elu", "selu", "softsign"}:
            found[number] = True
        else:
            found[number] = None
    return found


def output_bounds(graph: LayerGraph) -> dict[int, Bounds]:
    """Return for every call the two values that its output never leaves, where the graph tells.

    Layers that pool, reshape or join what they are given keep its bounds. Code that is not
    Keras's own tells nothing.
    """
    found: dict[int, Bounds] = {}
    for number, node in enumerate(graph.nodes):
        entry = graph.entries[node.entry]
        if entry.custom:
            continue
        own = bounds_of_layer(entry.kind, entry.config)
        given = {found.get(ref.node) for ref in refs((node.args, node.kwargs))}
        if own is None and _keeps_bounds(entry) and len(given) == 1:
            own = given.pop()
        if own is not None:
            found[number] = own
    return found


def _keeps_bounds(entry: LayerNode) -> bool:
    smooth = entry.kind.startswith("UpSampling") and entry.config.get("interpolation") in {
        "bicubic",
        "lanczos3",
        "lanczos5",
    }
    activation = entry.config.get("activation")  # a custom one is an object
    plain = activation is None or activation == "linear"
    return facts_of(entry.kind).keeps_bounds and plain and not smooth


def bounds_of_layer(kind: str, config: Json) -> Bounds | None:
    """Return the bounds of the activation function that a layer's output comes out of, if it has any."""
    inner = config.get("layer")
    if kind in {"TimeDistributed", "SpectralNormalization"} and isinstance(inner, dict):
        return bounds_of_layer(str(inner.get("class_name")), inner.get("config") or {})
    if facts_of(kind).recurrent:
        return None
    if kind in SAVED_CALLS:
        return BOUNDS.get(named_call(kind, config)[0].lower().rpartition(".")[2])
    return BOUNDS.get(activation_of(LayerNode("", "", kind, "", config, None, "", 0)) or "")


def activation_of(entry: LayerNode) -> str | None:
    """Return the name of the activation function of a layer, if it has one by name."""
    if entry.kind == "ReLU" and not entry.config.get("negative_slope"):
        return _clipped(entry.config.get("max_value"))
    if entry.kind in NAMED_OPERATIONS:
        return NAMED_OPERATIONS[entry.kind]
    value = entry.config.get("activation")
    if isinstance(value, dict):
        value = value.get("config")
    if isinstance(value, str):
        return value
    return None


def _clipped(most: object) -> str:
    """Return ``relu``, or ``relu6`` for one that ends at 6."""
    known = isinstance(most, (int, float)) and not isinstance(most, bool) and 0 < most < MAX_CLIP
    return f"relu{most:g}" if known else "relu"
