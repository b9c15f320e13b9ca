"""Find the minimum sizes of free axes at which a network runs, with the shape rules of its layers.

Convolutions and poolings without padding need at least the combined length of their windows; a
network with skip connections needs a size at which all branches agree. Nothing is run: shapes are
inferred for some twenty sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.formats.keras.graph import LayerGraph, TensorRef, refs
from actviz.formats.keras.shapes import layer_output_shape
from actviz.layer_catalogue import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actviz.records import Shape

MAX_SIZE = 1 << 14


def runs(graph: LayerGraph, inputs: Mapping[int, Shape], steps: Sequence[int] | None = None) -> bool:
    """Return True if no call has an empty output for inputs of these sizes, as far as its shape rule is known.

    `inputs` are shapes, batch axis first, by the index of the input's node; `steps` are the indices
    of the calls, ``None`` for all.
    """
    known: dict[TensorRef, Shape | None] = {}
    for number in range(len(graph.nodes)) if steps is None else steps:
        node = graph.nodes[number]
        entry = graph.entries[node.entry]
        if entry.kind == "InputLayer":
            known[TensorRef(number, 0)] = inputs.get(number)
            continue
        given = [known.get(ref) for ref in refs(node.args)]
        shape = layer_output_shape(entry.kind, entry.config, given)
        settled = all(shape is not None and None not in shape[1:] for shape in given)
        if shape is None and given and settled and facts_of(entry.kind).merge:
            return False
        if shape is not None and any(size is not None and size < 1 for size in shape[1:]):
            return False
        known[TensorRef(number, 0)] = shape
    return True


def minimum_sizes(graph: LayerGraph, steps: Sequence[int] | None = None) -> dict[int, Shape]:
    """Return the minimum sizes at which calls of a graph run, by the index of the input's node.

    The shapes have the batch axis first and ``None`` for an axis that is not free or can have size
    1. Inputs with only such axes are left out; without any suitable size the result is empty.
    """
    shapes = {number: _declared_shape(graph, number) for number in graph.inputs}
    free = [(number, axis) for number, shape in shapes.items() for axis in _free_axes(shape)]
    if not free or runs(graph, _with_sizes(shapes, dict.fromkeys(free, 1)), steps):
        return {}
    # All free axes together first, because a merge may need equal sizes; then each by itself.
    common = smallest_size(lambda size: runs(graph, _with_sizes(shapes, dict.fromkeys(free, size)), steps))
    if common is None:
        return {}
    sizes = dict.fromkeys(free, common)
    for key in free:
        size = smallest_size(lambda size, key=key: runs(graph, _with_sizes(shapes, {**sizes, key: size}), steps))  # type: ignore[misc]
        sizes[key] = common if size is None else size
    minimum = {
        number: tuple(None if size == 1 else size for size in (sizes.get((number, axis)) for axis in range(len(shape))))
        for number, shape in shapes.items()
        if shape is not None
    }
    return {number: shape for number, shape in minimum.items() if any(shape)}


def too_small(graph: LayerGraph, inputs: Mapping[int, Shape], steps: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (node, axis, minimum size) for the inputs that are too small for some calls; empty if the calls run."""
    if runs(graph, inputs, steps):
        return []
    return [
        (number, axis, size)
        for number, shape in minimum_sizes(graph, steps).items()
        for axis, size in enumerate(shape)
        if size is not None and number in inputs and axis < len(inputs[number]) and (inputs[number][axis] or 0) < size
    ]


def smallest_size(works: Callable[[int], bool]) -> int | None:
    """Return a minimum size by bisection between the first power of two that works and the one before it."""
    high = 1
    while not works(high):
        high *= 2
        if high > MAX_SIZE:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


def _declared_shape(graph: LayerGraph, number: int) -> Shape | None:
    declared = graph.shapes.get(TensorRef(number, 0))
    return tuple(declared[0]) if declared else None


def _free_axes(shape: Shape | None) -> list[int]:
    return [] if shape is None else [axis for axis, size in enumerate(shape) if axis and size is None]


def _with_sizes(shapes: Mapping[int, Shape | None], sizes: Mapping[tuple[int, int], int]) -> dict[int, Shape]:
    return {
        number: tuple(sizes.get((number, axis), size) for axis, size in enumerate(shape))
        for number, shape in shapes.items()
        if shape is not None
    }
