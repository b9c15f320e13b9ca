"""Find the scores of an attention layer among the operations of its scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor

PRODUCTS = frozenset({"Einsum", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"})
PASSING = frozenset({"Identity", "Cast", "CheckNumerics", "CheckNumericsV2"})
SCALING = PASSING | {"Mul", "RealDiv", "Add", "AddV2", "Sub", "Select", "SelectV2", "Maximum", "Reshape", "Transpose"}
MAX_STEPS = 16


def scores_of(flat: InlinedGraph, numbers: Sequence[int]) -> Tensor | None:
    """Return the scores of a layer: its only softmax, if it lies between two products, else ``None``.

    The first product, of queries and keys, may be scaled and masked before the softmax; what
    leaves the softmax is read by the product with the values only.
    """
    inside = set(numbers)
    softmaxes = [number for number in numbers if flat.nodes[number].op == "Softmax"]
    if len(softmaxes) != 1:
        return None
    number = softmaxes[0]
    readers = _followed(flat, {number}, inside)
    if not readers or any(flat.nodes[reader].op not in PRODUCTS for reader in readers):
        return None
    source = flat.nodes[number].inputs[0][0] if flat.nodes[number].inputs else number
    for _ in range(MAX_STEPS):
        node = flat.nodes[source]
        if node.op in PRODUCTS and source in inside:
            return number, 0
        if node.op not in SCALING or not node.inputs:
            return None
        source = node.inputs[1][0] if node.op.startswith("Select") and len(node.inputs) > 1 else node.inputs[0][0]
    return None


def _followed(flat: InlinedGraph, numbers: set[int], inside: set[int]) -> list[int]:
    """Return the nodes of a layer that read some nodes, through operations that pass values on."""
    found: list[int] = []
    todo, seen = list(numbers), set(numbers)
    while todo:
        for reader in flat.readers.get(todo.pop(), ()):
            if reader in seen or reader not in inside:
                continue
            seen.add(reader)
            if flat.nodes[reader].op in PASSING:
                todo.append(reader)
            else:
                found.append(reader)
    return found
