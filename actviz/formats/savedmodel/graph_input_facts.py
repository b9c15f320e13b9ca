"""Describe the inputs of a graph by the first operations that read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.formats.axes import input_axes
from actviz.formats.savedmodel.dtypes import first_channels, shape_at
from actviz.formats.savedmodel.inline import VARIABLES
from actviz.formats.savedmodel.lookup_tables import TABLES, source_of
from actviz.formats.savedmodel.proto import attribute_shape, attribute_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from actviz.formats.savedmodel.inline import InlinedGraph
    from actviz.records import Axes, Shape

GATHERS = frozenset({"ResourceGather", "GatherV2", "Gather"})
SAME = frozenset({"Identity", "Cast", "Squeeze", "ExpandDims", "Reshape", "SelectV2", "Snapshot", "StopGradient"})
TEXTS = frozenset({"StringLower", "StringUpper", "StaticRegexReplace", "StringSplitV2", "StringStrip", "AddV2"})
LOOKUPS = frozenset({"LookupTableFindV2", "LookupTableFind"})
SHOWN_WORDS = 64
PUNCTUATION = '[!"#$%&()'


@dataclass(frozen=True, slots=True)
class InputFacts:
    """The axes of an input, the size of its lookup table, and the words that the table knows.

    `split` is that of `TensorSpec`.
    """

    axes: Axes
    limit: int | None
    words: tuple[str, ...]
    split: str = ""


def input_facts(flat: InlinedGraph, number: int, shape: Shape, words: Callable[[int], list[str]]) -> InputFacts:
    """Describe an input by the operations that read it; `words` returns the keys of a table by the index of its node."""
    limit: int | None = None
    kinds: set[str] = set()
    known_words: tuple[str, ...] = ()
    first = False
    splits = False
    punctuation: bool | None = False
    todo, seen = [number], set[int]()
    while todo:
        source = todo.pop()
        for reader in flat.readers.get(source, ()):
            node = flat.nodes[reader]
            first = first or first_channels(node.node)
            if node.op in GATHERS and source in {index for index, _ in node.inputs[1:2]}:
                kinds.add("Embedding")
                size = _rows(flat, node.inputs[0])
                limit = size if limit is None else min(limit, size or limit)
            elif node.op in LOOKUPS and flat.nodes[source_of(flat, node.inputs[0])[0]].op in TABLES:
                known_words = known_words or tuple(words(source_of(flat, node.inputs[0])[0])[:SHOWN_WORDS])
            elif node.op in SAME | TEXTS and reader not in seen:
                splits = splits or node.op == "StringSplitV2"
                if node.op == "StaticRegexReplace":
                    punctuation = True if attribute_text(node.node, "pattern").startswith(PUNCTUATION) else None
                seen.add(reader)
                todo.append(reader)
    split = "" if not splits or punctuation is None else "punctuation" if punctuation else "whitespace"
    return InputFacts(input_axes(shape, kinds, first=first), limit, known_words, split)


def _rows(flat: InlinedGraph, table: tuple[int, int]) -> int | None:
    """Return the number of rows of an embedding table."""
    number, output = flat.origin(table, {"ReadVariableOp", "Identity"})
    node = flat.nodes[number]
    shape = attribute_shape(node.node, "shape") if node.op in VARIABLES else shape_at(node.node, output)
    return shape[0] if shape else None
