"""Find attention in a graph: a product of queries and keys, a softmax over it, and a product with values.

A matrix product alone is not attention: spectrograms and Dot layers are computed with one too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.gate.tflite import TFLiteOperator

PRODUCTS = frozenset({"BATCH_MATMUL"})
# Operators that scale, mask and convert scores between the product and the softmax.
_BETWEEN = frozenset({
    "ADD", "SUB", "MUL", "DIV", "SELECT", "SELECT_V2", "CAST", "RESHAPE", "MAXIMUM", "MINIMUM", "QUANTIZE",
    "DEQUANTIZE",
})  # fmt: skip
# Operators that split queries, keys and values into heads, and add their bias.
_BEFORE = frozenset({"ADD", "MUL", "DIV", "TRANSPOSE", "RESHAPE", "CAST", "QUANTIZE", "DEQUANTIZE"})
_MAX_DISTANCE = 12


@dataclass(slots=True)
class AttentionTensors:
    """Indices of tensors: scores before and after the softmax, weighted values, and operands of the products."""

    scores: set[int] = field(default_factory=set)
    weighted: set[int] = field(default_factory=set)
    operands: set[int] = field(default_factory=set)


def find_attention(operators: Sequence[TFLiteOperator], live: frozenset[int]) -> AttentionTensors:
    """Return the tensors of every attention; `live` are the tensors that depend on an input."""
    makers = {number: operator for operator in operators for number in operator.outputs}
    readers: dict[int, list[TFLiteOperator]] = {}
    for operator in operators:
        for number in operator.inputs:
            readers.setdefault(number, []).append(operator)
    found = AttentionTensors()
    for softmax in operators:
        if softmax.kind != "SOFTMAX":
            continue
        path, product = _find_score_product(softmax.inputs[0], makers, live) or ([], None)
        behind, values = _find_value_products(softmax.outputs[0], readers, live)
        if product is None or not values:
            continue
        found.scores |= {*path, *product.outputs, *behind}
        for matmul in (product, *values):
            for number in matmul.inputs:
                if number not in found.scores:
                    found.operands |= _operand_tensors(number, makers)
        found.weighted |= {number for matmul in values for number in matmul.outputs}
    return found


def _find_score_product(
    number: int, makers: dict[int, TFLiteOperator], live: frozenset[int], depth: int = 0
) -> tuple[list[int], TFLiteOperator] | None:
    """Return the tensors from a softmax's input back to a product of two live tensors, and the product."""
    maker = makers.get(number)
    if maker is None or number not in live or depth > _MAX_DISTANCE:
        return None
    if maker.kind in PRODUCTS:
        return ([], maker) if all(operand in live for operand in maker.inputs) else None
    for operand in maker.inputs if maker.kind in _BETWEEN else ():
        result = _find_score_product(operand, makers, live, depth + 1)
        if result is not None:
            return [number, *result[0]], result[1]
    return None


def _find_value_products(
    number: int, readers: dict[int, list[TFLiteOperator]], live: frozenset[int]
) -> tuple[list[int], list[TFLiteOperator]]:
    """Return the scores between a softmax and the products with values, and these products."""
    todo, path = [number], list[int]()
    products: list[TFLiteOperator] = []
    while todo and len(path) < _MAX_DISTANCE:
        tensor = todo.pop()
        path.append(tensor)
        for reader in readers.get(tensor, ()):
            if reader.kind in PRODUCTS and all(operand in live for operand in reader.inputs):
                products.append(reader)
            elif reader.kind in {"RESHAPE", "CAST", "QUANTIZE", "DEQUANTIZE"}:
                todo += reader.outputs
    return path, products


def _operand_tensors(number: int, makers: dict[int, TFLiteOperator]) -> set[int]:
    """Return an operand of a product, and the tensors from which its heads were split."""
    tensors, todo = set[int](), [number]
    while todo and len(tensors) < _MAX_DISTANCE:
        tensor = todo.pop()
        maker = makers.get(tensor)
        tensors.add(tensor)
        if maker is not None and maker.kind in _BEFORE:
            todo += maker.inputs
    return tensors
