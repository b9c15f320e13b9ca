"""Which layers can give negative values, by their activation functions."""

from __future__ import annotations

import re

from actviz.formats.graph import Entry, Graph, refs

NON_NEGATIVE = frozenset({"relu", "relu6", "sigmoid", "softmax", "softplus", "hard_sigmoid", "exponential"})
NAMED_OPERATIONS = {
    "Softmax": "softmax", "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Tanh": "tanh",
    "HardSigmoid": "hard_sigmoid", "HardTanh": "hard_tanh", "Softsign": "softsign",
}  # fmt: skip
LARGEST_CLIP = 1e6
CLIPPED = re.compile(r"relu\d[\d.]*")
# What lies between these and a non-negative activation does not change its sign.
SIGN_KEEPING = frozenset(
    {
        "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D",
        "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalMaxPooling1D",
        "GlobalMaxPooling2D", "GlobalMaxPooling3D", "Flatten", "Reshape", "Permute", "RepeatVector", "Dropout",
        "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D",
        "Cropping1D", "Cropping2D", "Cropping3D", "Concatenate", "Add", "Multiply", "Average", "Maximum", "Minimum",
        "Identity", "ActivityRegularization", "UpSampling1D", "UpSampling2D", "UpSampling3D",
    }
)  # fmt: skip


def signs(graph: Graph) -> dict[int, bool | None]:
    """Return for every call whether it can give negative values (``None``: not known)."""
    found: dict[int, bool | None] = {}
    for number, node in enumerate(graph.nodes):
        entry = graph.entries[node.entry]
        activation = activation_of(entry)
        inputs = [found.get(ref.node) for ref in refs(node.args)]
        if (
            activation in NON_NEGATIVE
            or CLIPPED.fullmatch(activation or "")
            or (entry.kind in SIGN_KEEPING and inputs and all(sign is False for sign in inputs))
        ):
            found[number] = False
        elif activation in {"tanh", "linear", "elu", "selu", "softsign"}:
            found[number] = True
        else:
            found[number] = None
    return found


def activation_of(entry: Entry) -> str | None:
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
    known = isinstance(most, (int, float)) and not isinstance(most, bool) and 0 < most < LARGEST_CLIP
    return f"relu{most:g}" if known else "relu"
