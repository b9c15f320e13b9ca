"""What the first layers of a graph say about the inputs that they read.

Which whole numbers an input can look up, which words it knows, how it takes a text apart,
and which inputs each call depends on: all told from the configuration, without Keras.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from actviz.formats.keras.graph import Json, LayerGraph, LayerNode, TensorRef, refs
from actviz.gate.functions import named_call
from actviz.layer_catalogue import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# After these operations every value of the input is still there and still the same: what a lookup
# behind them refuses would have been refused in the input. GetItem keeps only some values.
KEEPING = frozenset({"Cast", "StopGradient", "Transpose", "ExpandDims", "Squeeze"})
KEEPING_FUNCTIONS = frozenset({"cast", "identity", "expand_dims", "squeeze", "reshape", "transpose", "concat"})
SAVED_CALLS = frozenset({"TFOpLambda", "TensorFlowOpLayer"})
STRIPPING = frozenset({"strip_punctuation", "lower_and_strip_punctuation"})
PLAIN = frozenset({"lower", "", "none"})
UNKNOWN_WORD = "[UNK]"
# Nobody feeds more by hand; following them through every call would take memory by the square.
MAX_INPUTS = 256
SHOWN_WORDS = 64
MAX_WORD_LENGTH = 60
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")


def required_inputs(graph: LayerGraph) -> list[tuple[str, ...] | None]:
    """Return for every call the names of the graph's inputs that it depends on, in their order.

    ``None`` (not known) for all calls of a graph with more inputs than are followed.
    """
    if len(graph.inputs) > MAX_INPUTS:
        return [None] * len(graph.nodes)
    order = {number: place for place, number in enumerate(graph.inputs)}
    found: list[frozenset[int]] = []
    for number, node in enumerate(graph.nodes):
        own = frozenset({number}) if number in order else frozenset()
        found.append(own.union(*(found[ref.node] for ref in refs((node.args, node.kwargs)))))
    names = {number: graph.entries[graph.nodes[number].entry].name for number in order}
    return [tuple(names[number] for number in sorted(group, key=order.__getitem__)) for group in found]


def input_readers(graph: LayerGraph) -> dict[int, tuple[LayerNode, ...]]:
    """Return for every input the layers that read its values as they are, in the order of the calls."""
    found: dict[int, list[LayerNode]] = {number: [] for number in graph.inputs}
    if len(graph.inputs) > MAX_INPUTS:
        return dict.fromkeys(graph.inputs, ())
    same: dict[TensorRef, frozenset[int]] = {TensorRef(number, 0): frozenset({number}) for number in graph.inputs}
    for place, node in enumerate(graph.nodes):
        given = frozenset[int]().union(*(same.get(ref, ()) for ref in refs(node.args)))
        if not given:
            continue
        entry = graph.entries[node.entry]
        if _keeps(entry):
            same[TensorRef(place, 0)] = given
        else:
            for number in given:
                found[number].append(entry)
    return {number: tuple(entries) for number, entries in found.items()}


def index_limit(entries: Sequence[LayerNode]) -> int | None:
    """Return the number of entries of the smallest table among an input's readers.

    ``None`` where no Embedding or CategoryEncoding is among them.
    """
    sizes = [_table_size(entry) for entry in entries]
    known = [size for size in sizes if size is not None]
    return min(known) if known else None


def known_words(entries: Sequence[LayerNode], vocabulary: Callable[[LayerNode], list[str] | None]) -> tuple[str, ...]:
    """Return some plain words, or whole numbers as text, of the first vocabulary among an input's readers.

    `vocabulary` gives the words of a layer whose configuration does not hold them.
    """
    for entry in entries:
        if facts_of(entry.kind).vocabulary:
            held = entry.config.get("vocabulary")
            if not isinstance(held, (list, tuple)):
                held = vocabulary(entry) or ()
            special = (UNKNOWN_WORD, entry.config.get("oov_token"), entry.config.get("mask_token"))
            words = (str(word) for word in held if isinstance(word, (str, int)) and word not in special)
            plain = (word for word in words if _is_plain(word) and _fits_kind(word, entry.kind))
            return tuple(itertools.islice(plain, SHOWN_WORDS))
    return ()


def text_split(entries: Sequence[LayerNode]) -> str:
    """Say how a text input is taken apart into steps; see `actviz.records.TensorSpec`.

    ``""`` where it is not, where the rule is not one of Keras's own, or where two layers
    read it by different rules.
    """
    rules = {_split_rule(entry.config) for entry in entries if entry.kind == "TextVectorization"}
    return rules.pop() if len(rules) == 1 else ""


def _keeps(entry: LayerNode) -> bool:
    if entry.kind in SAVED_CALLS:
        return named_call(entry.kind, entry.config)[0].lower() in KEEPING_FUNCTIONS
    return entry.kind in KEEPING or facts_of(entry.kind).keeps_integers


def _table_size(entry: LayerNode) -> int | None:
    inner = entry.config.get("layer")
    if facts_of(entry.kind).wraps == "step" and isinstance(inner, dict):
        return _declared_size(str(inner.get("class_name")), inner.get("config"))
    return _declared_size(entry.kind, entry.config)


def _declared_size(kind: str, config: object) -> int | None:
    size = config.get(facts_of(kind).lookup_size) if isinstance(config, dict) else None
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None


def _is_plain(word: str) -> bool:
    return word.isprintable() and not any(mark.isspace() for mark in word) and 0 < len(word) <= MAX_WORD_LENGTH


def _fits_kind(word: str, kind: str) -> bool:
    return kind != "IntegerLookup" or WHOLE_NUMBER.fullmatch(word) is not None


def _split_rule(config: Json) -> str:
    """Return how a TextVectorization makes steps, where its steps are the words of the text."""
    standardize = config.get("standardize") or ""
    split = config.get("split")
    if config.get("output_mode", "int") != "int" or config.get("ngrams") is not None:
        return ""
    if not isinstance(standardize, str) or not isinstance(split, str):
        return ""
    if standardize in STRIPPING:
        return {"whitespace": "punctuation"}.get(split, "")
    return split if standardize in PLAIN and split in {"whitespace", "character"} else ""
