"""Shapes and axis names of every call, worked out without Keras where the rule is plain.

The shapes that a file holds are facts; what it leaves open is derived here for the common
classes by the rules of the layer catalogue. What has no rule there stays unknown (`None`) and
is asked of Keras itself: nothing is guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.formats.axes import SEQUENCE, axes_of, input_axes, score_axes
from actviz.formats.keras.graph import CallNode, Json, LayerGraph, LayerNode, TensorRef, refs
from actviz.layer_catalogue import facts_of
from actviz.layer_catalogue.shape_rules import keep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actviz.records import Axes, Shape

# The number of the output that holds the scores of an attention layer.
SCORES = -1
# The number of the output that holds the values before the activation function of a layer.
PRE_ACTIVATION = -2


def infer(graph: LayerGraph) -> dict[TensorRef, tuple[Shape | None, Axes]]:
    """Return shape (``None``: unknown) and axis names of the first output of every call."""
    known: dict[TensorRef, tuple[Shape | None, Axes]] = {}
    for number, node in enumerate(graph.nodes):
        entry = graph.entries[node.entry]
        given = [known.get(ref, (None, ())) for ref in refs(node.args)]
        ref = TensorRef(number, 0)
        declared = graph.shapes.get(ref)
        shape = (
            tuple(declared[0])
            if declared
            else layer_output_shape(entry.kind, entry.config, [item[0] for item in given])
        )
        axes = axes_of(entry.kind, entry.config, shape, [item[1] for item in given])
        if entry.kind == "InputLayer" and shape is not None:
            readers = [graph.entries[other.entry] for other in graph.nodes if ref in set(refs(other.args))]
            first = any(reader.config.get("data_format") == "channels_first" for reader in readers)
            axes = input_axes(shape, {reader.kind for reader in readers}, first=first)
        known[ref] = (shape, axes)
        for output in range(1, graph.output_count(number, output_count(entry.kind, entry.config))):
            told = graph.shapes.get(TensorRef(number, output))
            if is_scores(entry, output):
                shape = tuple(told[0]) if told else attention_score_shape(node, entry.config, known)
                known[TensorRef(number, output)] = (shape, score_axis_names(entry.config, shape))
                continue
            state = tuple(told[0]) if told else state_shape(entry.config, given[0][0] if given else None)
            known[TensorRef(number, output)] = (state, axes_of("", {}, state, []) if state else ())
    return known


def layer_output_shape(kind: str, config: Json, given: list[Shape | None]) -> Shape | None:
    """Return the shape of a layer's first output, ``None`` where no plain rule gives it."""
    shapes = [shape for shape in given if shape is not None]
    if not given or len(shapes) != len(given):
        return None
    facts = facts_of(kind)
    try:
        if facts.merge is not None:
            return facts.merge(config, shapes)
        if facts.shape is not None and (len(shapes) == 1 or facts.shape is keep):
            return facts.shape(config, shapes[0])
        return _of_wrapper(facts.wraps, config, shapes[0]) if facts.wraps and len(shapes) == 1 else None
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _of_wrapper(wraps: str, config: Json, shape: Shape) -> Shape | None:
    """Return the output shape of a layer that applies the one in its configuration; see `LayerClass.wraps`."""
    inner = config["layer"]
    given = (shape[0], *shape[2:]) if wraps == "step" else shape
    result = layer_output_shape(inner["class_name"], inner["config"], [given])
    if result is None or wraps == "whole":
        return result
    if wraps == "step":
        return (shape[0], shape[1], *result[1:])
    if config.get("merge_mode") is None:
        return None
    width = result[-1]
    return result if config["merge_mode"] != "concat" or width is None else (*result[:-1], width * 2)


def is_scores(entry: LayerNode, output: int) -> bool:
    """Return True for the scores of an attention layer, also where it was called with `return_attention_scores`."""
    return output == SCORES or (output == 1 and facts_of(entry.kind).attention and not entry.custom)


def attention_score_shape(
    node: CallNode, config: Json, known: Mapping[TensorRef, tuple[Shape | None, Axes]]
) -> Shape | None:
    """Return the shape of the scores that a call of an attention layer computes, by what it is given."""
    given = list(refs((node.args, node.kwargs)))
    if not given:
        return None
    query, key = (known.get(ref, (None, ()))[0] for ref in (given[0], given[min(1, len(given) - 1)]))
    return score_shape(config, query, key)


def score_axis_names(config: Json, shape: Shape | None) -> Axes:
    """Name the axes of the scores of an attention layer, whose shape may not be known."""
    rank = 4 if "num_heads" in config or "num_query_heads" in config else 3
    return score_axes(len(shape) if shape else rank)


def score_shape(config: Json, query: Shape | None, key: Shape | None) -> Shape | None:
    """Return the shape of the scores of an attention layer over sequences."""
    if query is None or key is None or {len(query), len(key)} != {len(SEQUENCE)}:
        return None
    heads = config.get("num_heads", config.get("num_query_heads"))
    return (query[0], query[1], key[1]) if heads is None else (query[0], heads, query[1], key[1])


def weight_counts(kind: str, config: Json) -> tuple[int, int] | None:
    """Return how many weights a layer trains and how many it does not; ``None``: unknown."""
    facts, inner = facts_of(kind), config.get("layer")
    if facts.weights is not None:
        return facts.weights(config)
    if facts.wraps in {"directions", "step"} and isinstance(inner, dict):
        found = weight_counts(str(inner["class_name"]), inner["config"])
        times = 2 if facts.wraps == "directions" else 1
        return None if found is None else (found[0] * times, found[1] * times)
    return None


def _split_sections(config: Json) -> int:
    """Return into how many pieces a Split cuts: a number of them, or the places of the cuts."""
    cuts = config.get("indices_or_sections", 1)
    return cuts if isinstance(cuts, int) else len(cuts) + 1


# Operations with several outputs.
OPERATION_OUTPUTS: dict[str, Callable[[Json], int]] = {
    "Split": _split_sections,
    "ArraySplit": _split_sections,
    "Unstack": lambda config: config.get("num") or 1,
    **dict.fromkeys(("Eig", "Eigh", "Qr", "TopK", "Moments", "Modf", "Frexp", "Divmod", "Slogdet"), lambda _: 2),
}


def output_count(kind: str, config: Json) -> int:
    """Return how many outputs a layer has: recurrent layers may give their states too."""
    inner = config.get("layer")
    if facts_of(kind).wraps == "directions" and isinstance(inner, dict):
        states = output_count(str(inner["class_name"]), inner["config"]) - 1
        halves = 2 if config.get("merge_mode", "concat") is None else 1
        return halves + 2 * states
    if kind in OPERATION_OUTPUTS:
        return OPERATION_OUTPUTS[kind](config)
    return 1 + facts_of(kind).states if config.get("return_state") else 1


def state_shape(config: Json, given: Shape | None) -> Shape | None:
    """Return the shape of a state of a recurrent layer over vectors."""
    return (given[0], config["units"]) if given is not None and "units" in config else None
