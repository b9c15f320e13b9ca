"""The smallest sizes of free axes at which a network can run, from the rules of its layers' shapes.

Convolutions and poolings without padding need as many steps as their windows reach over, one
behind the other; a network that halves and doubles needs a size that both ways agree on. Nothing
is run: shapes are worked out for one size after another, some twenty times.
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
    """Return True if every call gives something for inputs of these sizes, as far as its rule is known.

    `inputs` are shapes, batch axis first, by the number of the input's node; `steps` the numbers
    of the calls, ``None``: all.
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
        settled = all(one is not None and None not in one[1:] for one in given)
        if shape is None and given and settled and facts_of(entry.kind).merge:
            return False
        if shape is not None and any(size is not None and size < 1 for size in shape[1:]):
            return False
        known[TensorRef(number, 0)] = shape
    return True


def minimum_sizes(graph: LayerGraph, steps: Sequence[int] | None = None) -> dict[int, Shape]:
    """Return the smallest sizes at which calls of a graph run, by the number of the input's node.

    The shapes have the batch axis first and ``None`` where a size is not free or 1 is enough;
    inputs where that holds everywhere are left out, and so are all where no size is found.
    """
    shapes = {number: _declared_shape(graph, number) for number in graph.inputs}
    free = [(number, axis) for number, shape in shapes.items() for axis in _free_axes(shape)]
    if not free or runs(graph, _with_sizes(shapes, dict.fromkeys(free, 1)), steps):
        return {}
    # All free axes together first, since a merge may want them equal; then each by itself.
    common = smallest_size(lambda size: runs(graph, _with_sizes(shapes, dict.fromkeys(free, size)), steps))
    if common is None:
        return {}
    found = dict.fromkeys(free, common)
    for place in free:
        size = smallest_size(lambda size, place=place: runs(graph, _with_sizes(shapes, {**found, place: size}), steps))  # type: ignore[misc]
        found[place] = common if size is None else size
    least = {
        number: tuple(found.get((number, axis)) for axis in range(len(shape)))
        for number, shape in shapes.items()
        if shape is not None
    }
    least = {number: tuple(None if size == 1 else size for size in shape) for number, shape in least.items()}
    return {number: shape for number, shape in least.items() if any(shape)}


def too_small(graph: LayerGraph, inputs: Mapping[int, Shape], steps: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (node, axis, smallest size) of the inputs that are too small for some calls; nothing where those run."""
    if runs(graph, inputs, steps):
        return []
    return [
        (number, axis, size)
        for number, shape in minimum_sizes(graph, steps).items()
        for axis, size in enumerate(shape)
        if size is not None and number in inputs and axis < len(inputs[number]) and (inputs[number][axis] or 0) < size
    ]


def smallest_size(works: Callable[[int], bool]) -> int | None:
    """Return the smallest size that works between the first power of two that does and the one before."""
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
