"""Custom classes that do nothing at inference: where their code is not given, Identity stands in for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from actviz.errors import ActvizError, escape
from actviz.formats.keras.graph import STAND_IN_MODULE, LayerNode, refs
from actviz.layer_catalogue import STAND_INS

if TYPE_CHECKING:
    from actviz.formats.keras.graph import LayerGraph
    from actviz.formats.keras.keras_file import KerasFile
    from actviz.gate import ForeignObject

MOST_NAMED = 6


def stand_in(file: KerasFile) -> tuple[dict[str, tuple[ForeignObject, ...]], list[str]]:
    """Replace layers of `STAND_INS` in the graph of a file.

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
        if entry is None or entry.kind not in STAND_INS or len(objects) != 1 or not objects[0].of_layer:
            continue
        if _reads_one_tensor(graph, key) and not _has_weights(file, entry):
            graph.entries[key] = replace(entry, module=STAND_IN_MODULE)
            del missing[key]
            replaced.append(entry)
    if not replaced:
        return missing, []
    named = ", ".join(f"{escape(entry.key, 80)} ({escape(entry.kind, 60)})" for entry in replaced[:MOST_NAMED])
    more = " ..." if len(replaced) > MOST_NAMED else ""
    note = f"{escape(file.name, 200)}: {named}{more}: passes its input on, as these classes do at inference; other code is given with --custom-objects."
    return missing, [note]


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
