"""The signatures of a `.tflite` file: each names one of its graphs, with the inputs and outputs of that graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.errors import ModelError, UsageError, escape
from actviz.gate.flatbuffer import WORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.gate.flatbuffer import FlatBufferTable

SERVING = "serving_default"
# Operators that run other graphs of the file, with how many graphs their options name first.
CALLS = {"IF": 2, "WHILE": 2, "CALL": 1, "CALL_ONCE": 1}


@dataclass(frozen=True, slots=True)
class TFLiteSignature:
    """A signature: the index of its graph, and the names of inputs and outputs by index of the tensor."""

    name: str
    graph: int
    inputs: dict[int, str]
    outputs: dict[int, str]


def read_signatures(root: FlatBufferTable, counts: Sequence[int], name: str) -> tuple[TFLiteSignature, ...]:
    """Return the signatures of a file in its order; `counts` are the numbers of tensors of its graphs.

    Raises
    ------
    ModelError
        When one names a graph that does not exist, or two have the same name.
    """
    signatures = []
    for table in root.children(7):
        graph = table.integer(4, "<I")
        if graph >= len(counts):
            message = f"{name}: a signature names graph {graph:,} of {len(counts):,}; the file is damaged."
            raise ModelError(message)
        inputs, outputs = (_names(table, field, counts[graph]) for field in (0, 1))
        signatures.append(TFLiteSignature(table.text(2), graph, inputs, outputs))
    if len({signature.name for signature in signatures}) < len(signatures):
        message = (
            f"{name}: two signatures have the same name, so that it is not sure which is meant; the file is damaged."
        )
        raise ModelError(message)
    return tuple(signatures)


def _names(table: FlatBufferTable, field: int, count: int) -> dict[int, str]:
    names = {entry.integer(1, "<I"): entry.text(0) for entry in table.children(field)}
    return {index: text for index, text in names.items() if index < count and text}


def choose_signature(signatures: Sequence[TFLiteSignature], wanted: str | None, name: str) -> TFLiteSignature | None:
    """Return the signature that is wanted, else the one for serving, else the first of the first graph.

    ``None`` means that no signature describes the first graph, which an interpreter runs by default.

    Raises
    ------
    UsageError
        When there is none of the name that is wanted; the message lists the existing ones.
    """
    if wanted is None:
        first = [signature for signature in signatures if signature.graph == 0]
        return next((item for item in first if item.name == SERVING), first[0] if first else None)
    found = next((signature for signature in signatures if signature.name == wanted), None)
    if found is None:
        listed = ", ".join(escape(signature.name, 60) for signature in signatures)
        known = f"the file has: {listed}" if listed else "the file has none; leave out --signature"
        raise UsageError(f'{name}: there is no signature "{escape(wanted, 80)}"; {known}.')
    return found


def called_graphs(table: FlatBufferTable, kind: str) -> tuple[int, ...]:
    """Return the indices of the graphs that an operator runs; `table` is that of the operator."""
    options = table.child(4) if kind in CALLS else None
    return () if options is None else tuple(options.integer(number) for number in range(CALLS[kind]))


def with_main_graph(root: FlatBufferTable, index: int) -> tuple[int, bytes] | None:
    """Return the offset and the new bytes by which a graph also stands in the place of the first graph.

    An interpreter runs the first graph of a file. The place of its own stays, because control flow refers to graphs
    by their index. ``None`` means that nothing has to change.
    """
    if index == 0:
        return None
    start, _ = root.vector(2, WORD)
    target = root.flat.follow(start + WORD * index)
    return start, (target - start).to_bytes(WORD, "little")
