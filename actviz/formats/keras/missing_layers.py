"""The calls of a graph that cannot be computed, because they are or depend on a layer whose code is not given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.formats.keras.graph import InnerRef, TensorRef, refs
from actviz.gate import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actviz.errors import ActvizError
    from actviz.formats.keras.graph import LayerGraph
    from actviz.gate import ForeignObject

MOST_KEPT = 64
"""Objects that are kept for each call: a hostile chain of Lambdas would otherwise take memory with its square."""


class MissingLayers:
    """The calls that need code which may not run.

    Parameters
    ----------
    graph
        The calls of a model.
    missing
        The objects whose code is not given, by the key of the layer that holds them.
    file
        The name of the model file, for messages.

    Attributes
    ----------
    objects
        All objects of `missing`, each once.
    keys
        The keys of the layers that need code in any of their calls.
    """

    def __init__(self, graph: LayerGraph, missing: Mapping[str, tuple[ForeignObject, ...]], file: str) -> None:
        self._file = file
        self.objects = tuple({_key(item): item for found in missing.values() for item in found}.values())
        self._objects: list[tuple[ForeignObject, ...]] = []
        self._texts: dict[tuple[ForeignObject, ...], ActvizError | None] = {}
        for node in graph.nodes if missing else ():
            given = [item for ref in refs((node.args, node.kwargs)) for item in self._objects[ref.node]]
            kept = list({_key(item): item for item in (*given, *missing.get(node.entry, ()))}.values())[:MOST_KEPT]
            self._objects.append(tuple(sorted(kept, key=lambda item: not item.code.endswith("(Lambda)"))))
        self.keys = frozenset(node.entry for node, found in zip(graph.nodes, self._objects, strict=False) if found)

    def refusal_of(self, ref: TensorRef | InnerRef) -> ActvizError | None:
        """Return the error for computing a tensor, ``None`` if it can be computed."""
        objects = self._objects[ref.node] if self._objects else ()
        if objects not in self._texts:
            self._texts[objects] = refusal(objects, self._file)
        return self._texts[objects]

    def check(self, steps: Iterable[int]) -> None:
        """Raise the error for calls that cannot be computed."""
        for number in steps:
            refused = self.refusal_of(TensorRef(number, 0))
            if refused is not None:
                raise refused


def _key(item: ForeignObject) -> str:
    return item.named or item.code
