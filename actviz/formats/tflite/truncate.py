"""A model file made to compute just what is asked for, by changing a few bytes of a copy.

In a FlatBuffer a list of operators is a count and offsets, and offsets lead forward. Leaving
operators out moves the offsets of the others to the front and lowers the count; other
outputs are a new list at the end. Everything else stays as it was checked.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from actviz.gate.flatbuffer import WORD
from actviz.gate.tflite import WITH_MEMORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.gate.tflite import TFLiteGraph, TFLiteModel, TFLiteOperator

# A table of two whole numbers of 64 bits: the list of its fields, the table itself, and in it
# the distance back to that list.
OPTIONS = struct.Struct("<HHHHi4xqq")
OPTIONS_INDEX, OPTIONS_TABLE, SEEDS_AT, ALIGNED = 8, 24, 8, 8


def needed_operators(graph: TFLiteGraph, tensors: Sequence[int]) -> list[int]:
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


def cut_model(content: bytes, model: TFLiteModel, kept: Sequence[int], outputs: Sequence[int]) -> bytes:
    """Return a model whose first graph is that of the operators `kept`, and gives the tensors `outputs`.

    As outputs they keep their memory: an interpreter uses that of any other tensor again.
    What follows the length of `content` is new; everything before has the place it had.
    """
    graph = model.graph
    changes = [(0, b""), *([model.main] if model.main else [])]
    start, count = graph.operators_at, len(graph.operators)
    if 0 < len(kept) < count:
        offsets = struct.unpack_from(f"<{count}I", content, start)
        moved = [offsets[number] + WORD * (number - place) for place, number in enumerate(kept)]
        changes.append((start - WORD, struct.pack(f"<{len(kept) + 1}I", len(kept), *moved)))
    tail = b""
    if graph.outputs_at is not None:
        tail = bytes(-len(content) % WORD)
        changes.append((graph.outputs_at, struct.pack("<I", len(content) + len(tail) - graph.outputs_at)))
        tail += struct.pack(f"<I{len(outputs)}i", len(outputs), *outputs)
    return _changed(content, sorted(changes), tail)


def _changed(content: bytes, changes: Sequence[tuple[int, bytes]], tail: bytes) -> bytes:
    """Return a copy with other bytes at some places, in their order, and more at the end: copied once."""
    whole = memoryview(content)
    pieces: list[bytes | memoryview] = []
    ends = [place for place, _ in changes[1:]] + [len(content)]
    for (place, new), end in zip(changes, ends, strict=True):
        pieces += [new, whole[place + len(new) : end]]
    return b"".join([*pieces, tail])


def with_seeds(content: bytes, operators: Sequence[TFLiteOperator], seed: int) -> bytes:
    """Return a model whose random operators draw from `seed`: each gets options of its own at the end.

    A seed of 0, which is what a file holds that fixes none, is left out of a FlatBuffer, so
    there is no place in the options that are there.
    """
    changes = [(0, b"")]
    tail = bytes(-len(content) % ALIGNED)
    for number, operator in enumerate(operators):
        if operator.options_at is None:
            continue
        index = len(content) + len(tail)
        table = index + OPTIONS.size - OPTIONS_TABLE
        tail += OPTIONS.pack(
            OPTIONS_INDEX, OPTIONS_TABLE, SEEDS_AT, SEEDS_AT + ALIGNED, OPTIONS_INDEX, seed, number + 1
        )
        changes.append((operator.options_at, struct.pack("<I", table - operator.options_at)))
    return _changed(content, sorted(changes), tail)
