"""A model file made to compute just what is asked for, by changing a few bytes of a copy.

In a FlatBuffer a list of operators is a count and offsets, and offsets lead forward. Leaving
operators out moves the offsets of the others to the front and lowers the count; other
outputs are a new list at the end. Everything else stays as it was checked.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from actviz.gate.flatbuffer import WORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.gate.tflite import LiteGraph

# They speak to each other through memory, not through tensors: none can be left out.
WITH_MEMORY = frozenset(
    {
        "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "HASHTABLE", "HASHTABLE_IMPORT",
        "HASHTABLE_FIND", "HASHTABLE_SIZE",
    }
)  # fmt: skip


def needed_operators(graph: LiteGraph, tensors: Sequence[int]) -> list[int]:
    """Return the numbers of the operators that some tensors depend on, in their order."""
    if any(operator.kind in WITH_MEMORY for operator in graph.operators):
        return list(range(len(graph.operators)))
    wanted = set(tensors)
    kept = []
    for place in range(len(graph.operators) - 1, -1, -1):
        operator = graph.operators[place]
        if wanted & set(operator.outputs):
            wanted |= set(operator.inputs)
            kept.append(place)
    return kept[::-1]


def cut_model(content: bytes, graph: LiteGraph, kept: Sequence[int], outputs: Sequence[int]) -> bytes:
    """Return a model of the operators `kept` that gives the tensors `outputs`.

    As outputs they keep their memory: an interpreter uses that of any other tensor again.
    """
    made = bytearray(content)
    start = graph.operators_at
    if kept and len(kept) < len(graph.operators):
        for place, number in enumerate(kept):
            (offset,) = struct.unpack_from("<I", content, start + WORD * number)
            struct.pack_into("<I", made, start + WORD * place, offset + WORD * (number - place))
        struct.pack_into("<I", made, start - WORD, len(kept))
    if graph.outputs_at is not None:
        made += bytes(-len(made) % WORD)
        struct.pack_into("<I", made, graph.outputs_at, len(made) - graph.outputs_at)
        made += struct.pack(f"<I{len(outputs)}i", len(outputs), *outputs)
    return bytes(made)
