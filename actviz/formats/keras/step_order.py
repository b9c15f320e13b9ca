"""Find the step order of each call relative to the model's input: forward, reversed or mixed.

Keras defines the output of a recurrent layer with ``go_backwards=True`` in processing order,
so that its first step belongs to the last step of the input. Layers behind it inherit that
order until something reverses it again.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, NamedTuple

from actviz.formats.keras.graph import refs
from actviz.layer_catalogue import facts_of
from actviz.records import FORWARD, MIXED, REVERSED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from actviz.formats.keras.graph import CallNode, Json, LayerGraph, LayerNode, TensorRef
    from actviz.records import Axes, Shape

STEP_AXIS = 1
# Keras hands masks on in the order of the input whatever runs backwards; states have no steps.
_NOT_STEPS = frozenset({"mask", "initial_state"})
_REVERSING = frozenset({"Flip", "reverse"})
_SIZE_OPERATIONS = frozenset(  # what takes no values from what it reads, only sizes
    {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "Fill", "SHAPE", "RANK", "ZEROS_LIKE", "FILL"}
)
_IMAGE_RANK = 4


def step_orders(graph: LayerGraph, known: Mapping[TensorRef, tuple[Shape | None, Axes]]) -> list[str]:
    """Return one of `records.STEP_ORDERS` for every call, by its number."""
    orders: list[str] = []
    for node in graph.nodes:
        entry = graph.entries[node.entry]
        named = node.kwargs if isinstance(node.kwargs, dict) else {}  # a damaged file may hold anything there
        read = {name: value for name, value in named.items() if name not in _NOT_STEPS}
        given = [ref for ref in refs((node.args, read)) if _may_have_steps(known.get(ref, (None, ()))[1])]
        if facts_of(entry.kind).attention:
            given = given[:1]  # the steps of the output are those of the query
        order = combined_order(orders[ref.node] for ref in given)
        if order == REVERSED and (entry.custom or entry.kind == "Lambda"):
            order = MIXED  # what code does with the steps is not known
        orders.append(reversed_order(order) if reverses(entry, node) else order)
    return orders


class Operation(NamedTuple):
    """An operation of a graph without layers: its kind, the numbers of those that it reads, and whether it reverses steps."""

    kind: str
    inputs: Sequence[int]
    reverses: bool = False


def operation_step_orders(operations: Mapping[int, Operation], inputs: Collection[int]) -> dict[int, str]:
    """Return operation of `records.STEP_ORDERS` for every operation that depends on the values of `inputs`, by its number.

    A loop reads its steps in operation direction and gives them in the order in which it read them.
    Nothing is known of a graph with cycles: TensorFlow 1 wrote loops as such.
    """
    try:
        numbers = list(TopologicalSorter({number: item.inputs for number, item in operations.items()}).static_order())
    except CycleError:
        return {}
    orders = dict.fromkeys(inputs, FORWARD)
    for number in numbers:
        operation = operations.get(number)
        given = [orders[source] for source in operation.inputs if source in orders] if operation is not None else []
        if operation is not None and given and number not in orders and operation.kind not in _SIZE_OPERATIONS:
            order = combined_order(given)
            orders[number] = reversed_order(order) if operation.reverses else order
    return orders


def reverses_steps(axes: Collection[int], rank: int | None) -> bool:
    """Return True if a reversal along some axes is one of steps: the second axis, or the first where loops turned them.

    The second axis of rank 4 is that of rows.
    """
    return 0 in axes or (STEP_AXIS in axes and rank != _IMAGE_RANK)


def combined_order(orders: Iterable[str]) -> str:
    """Return the order of steps that were joined from several tensors."""
    found = set(orders)
    return found.pop() if len(found) == 1 else MIXED if found else FORWARD


def reversed_order(order: str) -> str:
    """Return the order of steps after their reversal."""
    return {FORWARD: REVERSED, REVERSED: FORWARD}.get(order, order)


def reverses(entry: LayerNode, node: CallNode) -> bool:
    """Return True if the call gives its steps in the reverse order of its input."""
    config = entry.config
    if entry.kind == "Bidirectional":
        return _runs_backwards(_config_of(config.get("layer")))
    function = str(config.get("function", "")).rpartition(".")[2]
    if entry.kind in _REVERSING or function in _REVERSING:
        return _names_step_axis(config.get("axis", _argument(node, 1, "axis")))
    if entry.kind == "GetItem" or function == "getitem":
        slices = _argument(node, 1, "slice_spec")
        return isinstance(slices, (list, tuple)) and len(slices) > STEP_AXIS and _step_of(slices[STEP_AXIS]) == -1
    return _runs_backwards(config)


def _may_have_steps(axes: Axes) -> bool:
    return not axes or "step" in axes


def _runs_backwards(config: Json) -> bool:
    return config.get("go_backwards") is True and config.get("return_sequences") is True


def _config_of(layer: object) -> Json:
    config = layer.get("config") if isinstance(layer, dict) else None
    return config if isinstance(config, dict) else {}


def _argument(node: CallNode, position: int, name: str) -> Any:
    if isinstance(node.kwargs, dict) and name in node.kwargs:
        return node.kwargs[name]
    return node.args[position] if isinstance(node.args, (list, tuple)) and len(node.args) > position else None


def _names_step_axis(axis: Any) -> bool:
    return STEP_AXIS in (axis if isinstance(axis, (list, tuple)) else (axis,))


def _step_of(item: Any) -> Any:
    """Return the step of a slice as Keras 3 (``config``) or Keras 2 wrote it."""
    if not isinstance(item, dict):
        return None
    return (_config_of(item) or item).get("step")
