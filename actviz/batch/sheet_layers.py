"""The layers of a default sheet, and why others are left out.

A sheet of all layers of a deep network is unreadable: ResNet50 has 174 layers with maps, of which 104 show what the
layer before them shows (normalized, padded or rectified). Layers that change what can be seen are shown; of more than
`MOST_LAYERS` the ends of blocks, then evenly spaced ones of these. The class scores are the last row.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from actviz.records import LayerInfo

MOST_LAYERS = 24
SCORES = "@scores"

# With fewer ends of blocks, as in MobileNet, these do not show how the network goes on.
_FEWEST_ENDS = 8
# Scores of longer sequences take more memory than all other layers together.
_MOST_SCORES = 4_000_000
_COPIES = {
    "activation",
    "normalization",
    "pad",
    "crop",
    "resize",
    "reshape",
    "permute",
    "LayerScale",
    "StochasticDepth",
    "Identity",
}
_ENDS = {"add", "concatenate", "max pooling", "average pooling", "recurrent"}
_FOR_ALL = "--layer '**' --sheet for all"


def drawable(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return the layers of a default sheet, in model order.

    These are the layers with positions (maps, sequences, attention) and a last vector, the class scores, or all that
    can be drawn if there are none with maps; without copies, and of more than `MOST_LAYERS` a selection.
    """
    from actviz.figures.renderers import kind_of_layer

    kinds = {layer.address: kind_of_layer(layer) for layer in layers}
    candidates = [layer for layer in layers if kinds[layer.address] is not None and (_counted(layer) or _heads(layer))]
    scores: list[LayerInfo] = []
    if "grid" in {kinds[layer.address] for layer in candidates}:
        scores = [layer for layer in candidates[-1:] if kinds[layer.address] == "vector"]
        candidates = [layer for layer in candidates if kinds[layer.address] != "vector"]
    copies = _copies(layers)
    selected = [layer for layer in candidates if layer.address not in copies] or candidates
    return _selection(selected, MOST_LAYERS - len(scores)) + scores


def _selection(selected: Sequence[LayerInfo], most: int) -> list[LayerInfo]:
    """Return at most `most` of these layers."""
    from actviz.formats.layer_families import family_of

    selected = list(selected)
    if len(selected) > most:
        ends = {layer.address for layer in selected if layer.address.endswith(SCORES) or family_of(layer) in _ENDS}
        if len(ends) >= _FEWEST_ENDS:
            ends |= {selected[0].address, selected[-1].address}
            selected = [layer for layer in selected if layer.address in ends]
    if len(selected) > most:
        step = (len(selected) - 1) / (most - 1)
        selected = [selected[round(number * step)] for number in range(most)]
    return selected


def left_out(
    layers: Sequence[LayerInfo], shown: Collection[str], refused: Collection[str] = ()
) -> tuple[tuple[str, int], ...]:
    """Return the reasons why a sheet of the layers `shown` omits others, with the number of layers for each.

    `refused` are the addresses of layers that are not computed.
    """
    from actviz.figures.renderers import kind_of_layer

    # A layer of which only the attention scores are shown is shown.
    present = {address.removesuffix(SCORES) for address in shown}
    missing = [layer for layer in layers if _counted(layer) and layer.address not in present]
    computed = [layer for layer in layers if layer.address not in refused]
    chosen = any(layer.address not in present for layer in drawable(computed) if _counted(layer))
    kinds = {layer.address: kind_of_layer(layer) for layer in missing}
    vectors = {address for address, kind in kinds.items() if kind == "vector" and address not in refused}
    computed_missing = {address for address, kind in kinds.items() if kind is not None and address not in refused}
    for_all = _why_omitted(len(computed_missing & _copies(layers) - vectors), len(vectors))
    reasons = Counter(
        "that need code"
        if layer.address in refused
        else "not chosen"
        if chosen
        else "that nothing draws"
        if kinds[layer.address] is None
        else for_all
        for layer in missing
    )
    return tuple(sorted(reasons.items(), reverse=True))


def _why_omitted(copies: int, vectors: int) -> str:
    """Return the reason why a default sheet omits layers, with the numbers of copies and of vectors among them."""
    parts = [f"{copies:,} only normalized, padded, rectified or passed on"] if copies else []
    parts += [f"{vectors:,} vectors" if vectors > 1 else "1 vector"] if vectors else []
    return f"left out ({', '.join(parts)}; {_FOR_ALL})" if parts else f"left out ({_FOR_ALL})"


def _counted(layer: LayerInfo) -> bool:
    """Return True for what a sheet counts as a layer: no inputs, no attention scores, no operations inside layers."""
    return layer.kind != "InputLayer" and not layer.address.endswith(SCORES) and not layer.inner


def _heads(layer: LayerInfo) -> bool:
    return layer.address.endswith(SCORES) and math.prod(size or 1 for size in layer.shape or ()) <= _MOST_SCORES


def _copies(layers: Sequence[LayerInfo]) -> set[str]:
    """Return the addresses of layers that show the same as their input, or as the wrapper of the layer."""
    from actviz.layer_catalogue import facts_of

    wrappers = {layer.address for layer in layers if facts_of(layer.kind).wraps in {"step", "whole"}}
    copies = {layer.address for layer in layers if not _changes(layer)}
    for layer in layers:
        wrapper = layer.address.rpartition("/")[0]
        if wrapper in wrappers:
            copies |= {layer.address, wrapper} if layer.address in copies else {layer.address}
    return copies


def _changes(layer: LayerInfo) -> bool:
    """Return True if a layer shows something else than its input does."""
    from actviz.formats.layer_families import family_of
    from actviz.layer_catalogue import facts_of

    facts = facts_of(layer.kind)
    single_valued = facts.keeps_place and facts.merge is None and not facts.family and not facts.wraps
    return not (family_of(layer) in _COPIES or facts.passes_on == "all" or single_valued)
