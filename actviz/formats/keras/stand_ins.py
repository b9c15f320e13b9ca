"""Custom classes that do nothing at inference: where their code is not given, Identity or the layer inside stands in for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from actviz.errors import ActvizError, escape
from actviz.formats.keras.canonical import canonical_layer
from actviz.formats.keras.graph import STAND_IN_MODULE, LayerNode, refs
from actviz.formats.keras.shapes import weight_counts
from actviz.formats.keras.weight_files import NamedWeights
from actviz.gate import MODELS, check_configuration
from actviz.layer_catalogue import LAYERS, STAND_IN_WRAPPERS, STAND_INS

if TYPE_CHECKING:
    from actviz.formats.keras.graph import LayerGraph
    from actviz.formats.keras.keras_file import KerasFile
    from actviz.gate import ForeignObject

MOST_NAMED = 6


def stand_in(file: KerasFile) -> tuple[dict[str, tuple[ForeignObject, ...]], list[str]]:
    """Replace layers of `STAND_INS` and `STAND_IN_WRAPPERS` in the graph of a file.

    A layer is replaced if nothing but its own class is missing, each of its calls has one tensor
    (a `StochasticDepth` that adds two computes something), and the file has no weights for it.

    Returns
    -------
    dict
        The objects that are still missing, by the key of the layer that holds them.
    list
        A note about the layers that were replaced, if there are any.
    """
    graph = file.configuration.graph
    missing = dict(file.configuration.missing)
    replaced: list[LayerNode] = []
    for key, objects in file.configuration.missing.items():
        entry = graph.entries.get(key)
        if entry is None or not _reads_one_tensor(graph, key):
            continue
        stands_in = None
        if entry.kind in STAND_IN_WRAPPERS and any(item.of_layer for item in objects):
            stands_in = _layer_inside(file, entry)
        elif entry.kind in STAND_INS and len(objects) == 1 and objects[0].of_layer and not _has_weights(file, entry):
            stands_in = replace(entry, module=STAND_IN_MODULE)
        if stands_in is not None:
            graph.entries[key] = stands_in
            del missing[key]
            replaced.append(entry)
    if not replaced:
        return missing, []
    named = ", ".join(f"{escape(entry.key, 80)} ({escape(entry.kind, 60)})" for entry in replaced[:MOST_NAMED])
    more = " ..." if len(replaced) > MOST_NAMED else ""
    note = f"{escape(file.name, 200)}: {named}{more}: computed as if it were not there, because its class does nothing at inference; other code is given with --custom-objects."
    return missing, [note]


def _layer_inside(file: KerasFile, entry: LayerNode) -> LayerNode | None:
    """Return the layer inside a wrapper under the name of the wrapper, ``None`` if it needs code or its weights are not known."""
    inner = entry.config.get("layer")
    if not isinstance(file.weights, NamedWeights) or entry.owner or not isinstance(inner, dict):
        return None
    if inner.get("class_name") in MODELS or not isinstance(inner.get("config"), dict):
        return None
    if check_configuration(inner, file.name):
        return None
    layer = canonical_layer(inner, file.version, file.name)
    kind, config = str(layer["class_name"]), {**layer["config"], "name": entry.name}
    if kind not in LAYERS or weight_counts(kind, config) is None:
        return None
    stands_in = replace(entry, kind=kind, module=str(layer["module"]), config=config, registered="")
    return stands_in if file.weights.take_pruned(stands_in) else None


def _reads_one_tensor(graph: LayerGraph, key: str) -> bool:
    calls = [node for node in graph.nodes if node.entry == key]
    return all(len(list(refs((node.args, node.kwargs)))) == 1 for node in calls)


def _has_weights(file: KerasFile, entry: LayerNode) -> bool:
    """Return True if the file may hold weights for a layer; the state of a random generator is none."""
    if entry.owner and file.format == "hdf5":
        return False  # the list of a nested model would not fit the number of its weights
    try:
        return bool(file.weights.shapes(entry))
    except ActvizError:
        return True
