"""The constant arithmetic that a Keras graph applies to its inputs: layers, operations, saved TensorFlow calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.formats.first_operations import first_operations, role_of
from actviz.formats.graph_operation import apply_tf_operation
from actviz.formats.input_arithmetic import ELEMENTWISE, Affine, OpSettings, apply_operation, input_tensor
from actviz.formats.keras.canonical import CALLS_MODULE
from actviz.formats.keras.graph import LayerNode, TensorRef, is_operation, refs
from actviz.gate.functions import named_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from actviz.formats.first_operations import Tensor
    from actviz.formats.input_arithmetic import Value
    from actviz.formats.keras.graph import Json, LayerGraph
    from actviz.records import InputOperation, TensorSpec

    Statistics = Callable[[LayerNode], dict[str, tuple[float, ...]]]

EPSILON = 1e-7
"""The minimum divisor of Keras's Normalization."""
OPAQUE = {"Lambda"}
MAX_DEPTH = 3
MAX_CONSTANT_SIZE = 1 << 20
DEFAULT_AXIS = {"concatenate": -1, "take": -1, "split": -1, "stack": 0, "unstack": 0}


def input_operations(graph: LayerGraph, specs: Iterable[TensorSpec], statistics: Statistics) -> list[InputOperation]:
    """Return the constant arithmetic that a Keras graph, including nested models, applies to its inputs.

    `statistics` returns ``mean`` and ``variance`` of a Normalization layer from the weights.
    """
    starts: dict[Tensor, Affine] = {
        (number, 0): input_tensor(spec, len(spec.shape)) for number, spec in zip(graph.inputs, specs, strict=True)
    }
    return first_operations(starts, _KerasGraphView(graph, statistics))


class _KerasGraphView:
    """A Keras graph as a `first_operations.Graph`."""

    def __init__(self, graph: LayerGraph, statistics: Statistics) -> None:
        self._graph = graph
        self._statistics = statistics
        self._readers: dict[int, list[int]] = {}
        self._operands: list[list[Tensor]] = []
        for number, node in enumerate(graph.nodes):
            given = [(ref.node, ref.output) for ref in refs((node.args, node.kwargs))]
            self._operands.append(given)
            for source in {source for source, _ in given}:
                self._readers.setdefault(source, []).append(number)

    def readers(self, number: int) -> Sequence[int]:
        return self._readers.get(number, ())

    def operands(self, number: int) -> Sequence[Tensor]:
        return self._operands[number]

    def values(self, number: int, known: Mapping[Tensor, Value]) -> Sequence[Value] | None:
        node = self._graph.nodes[number]
        entry = self._graph.entries[node.entry]
        given = [known[tensor] for tensor in self._operands[number] if tensor in known]
        if entry.custom or entry.kind in OPAQUE:
            return apply_operation("nonlinear", given, OpSettings(f"the code of {entry.kind} {entry.name}"))
        if entry.module == CALLS_MODULE:
            return _saved_call(entry, node.args, node.kwargs, known)
        if is_operation(entry.module):
            operands, named = _arguments(node.args, node.kwargs, known)
            return _function(entry.kind, operands, {**entry.config, **named})
        return self._layer(entry, given, 0)

    def _layer(self, entry: LayerNode, given: Sequence[Value], depth: int) -> Sequence[Value] | None:
        config = entry.config
        if entry.kind == "Rescaling":
            scale, offset = (
                config_numbers(config.get(name, default)) for name, default in (("scale", 1.0), ("offset", 0.0))
            )
            return (
                apply_operation("affine", given, OpSettings(scale=scale, offset=offset)) if scale and offset else None
            )
        if entry.kind == "Normalization":
            settings = self._normalization(entry)
            return apply_operation("affine", given, settings) if settings else None
        if entry.kind == "Pipeline" and depth < MAX_DEPTH:
            values: Sequence[Value] | None = given
            for inner in config.get("layers") or ():
                values = self._layer(_inner_layer(inner, entry), values, depth + 1) if values else None
            return values
        if entry.kind == "TimeDistributed" and isinstance(config.get("layer"), dict) and depth < MAX_DEPTH:
            return self._layer(_inner_layer(config["layer"], entry), given, depth + 1)
        if entry.kind == "Permute":
            order = [0, *(axis for axis in config.get("dims") or () if isinstance(axis, int))]
            return apply_operation("transpose", given, OpSettings(axes=tuple(order)))
        role = role_of(entry.kind)
        if role in {"concatenate", "add", "subtract", "multiply"}:
            return apply_operation(role, given, OpSettings(entry.kind, axes=_axes(config.get("axis", -1), -1)))
        if role in {"keep", "reshape", "nonlinear"} or (role == "reduce" and entry.kind.startswith("Global")):
            return apply_operation(role, given, OpSettings(entry.kind))
        return None

    def _normalization(self, entry: LayerNode) -> OpSettings | None:
        config = entry.config
        statistics = {
            name: config_numbers(config[name]) for name in ("mean", "variance") if config.get(name) is not None
        }
        statistics = statistics or self._statistics(entry)
        mean, variance = (np.array(statistics.get(name, ()), np.float64) for name in ("mean", "variance"))
        if not mean.size or not variance.size or not np.isfinite([*mean, *variance]).all():
            return None
        deviation = np.maximum(np.sqrt(np.maximum(variance, 0)), EPSILON)
        if config.get("invert"):
            return OpSettings(scale=tuple(deviation.tolist()), offset=tuple(mean.tolist()))
        offset = -mean / deviation if mean.size == deviation.size or 1 in {mean.size, deviation.size} else mean * 0
        return OpSettings(scale=tuple((1 / deviation).tolist()), offset=tuple(offset.tolist()))


def config_numbers(value: Any) -> tuple[float, ...]:
    """Return the numbers in a value of a configuration, in any of the forms that Keras writes."""
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner.get("value") if isinstance(inner, dict) else value.get("value")
    if isinstance(value, (list, tuple)):
        return tuple(number for item in value for number in config_numbers(item))
    return (float(value),) if isinstance(value, (int, float)) else ()


def _inner_layer(layer: Json, outer: LayerNode) -> LayerNode:
    kind, config = str(layer.get("class_name")), layer.get("config")
    config = config if isinstance(config, dict) else {}
    name = str(config.get("name"))
    return LayerNode(f"{outer.key}/{name}", name, kind, str(layer.get("module") or ""), config, None, outer.owner, -1)


def _arguments(args: Any, kwargs: Json, known: Mapping[Tensor, Value]) -> tuple[list[Any], Json]:
    """Return the operands of a call in order, and its other arguments by name."""
    operands = [_operand(item, known) for item in (args if isinstance(args, (list, tuple)) else [args])]
    named: Json = {}
    for key, item in kwargs.items():
        if key in {"x1", "x2", "x", "y", "xs", "inputs", "bias", "value", "values", "tensor"}:
            operands.append(_operand(item, known))
        elif key != "name":
            named[key] = item
    return operands, named


def _operand(item: Any, known: Mapping[Tensor, Value]) -> Any:
    """Return a tensor's value, a constant as an array, a list as a list, anything else as it is."""
    if isinstance(item, TensorRef):
        return known.get((item.node, item.output))
    if isinstance(item, dict) and item.get("class_name") in {"__tensor__", "__numpy__", "__ndarray__"}:
        inner = item.get("config")
        return _array(inner.get("value") if isinstance(inner, dict) else None)
    if isinstance(item, (list, tuple)) and any(isinstance(part, TensorRef) for part in item):
        return [_operand(part, known) for part in item]
    return _array(item) if isinstance(item, (int, float)) and not isinstance(item, bool) else item


def _array(value: Any) -> Any:
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.size <= MAX_CONSTANT_SIZE else None


def _function(name: str, operands: list[Any], settings: Json) -> Sequence[Value] | None:
    """Return the outputs of one function, called with operands in the order of its signature."""
    role = role_of(name)
    if role in {"rsubtract", "rdivide"}:
        role, operands = role[1:], operands[::-1]
    first, rest = (operands[0] if operands else None), operands[1:]
    if role in ELEMENTWISE:
        pair = [_array(item) if isinstance(item, (list, tuple)) else item for item in operands[:2]]
        return apply_operation(role, pair, OpSettings(name)) if all(item is not None for item in pair) else None
    if role in {"concatenate", "stack"}:
        axis = rest[0] if rest else settings.get("axis", settings.get("concat_dim"))
        parts = first if isinstance(first, list) else operands
        return apply_operation(role, parts, OpSettings(name, axes=_axes(axis, DEFAULT_AXIS[role])))
    if role == "select" or not isinstance(first, Affine):
        return (
            apply_operation(role, [item for item in operands if item is not None], OpSettings(name)) if role else None
        )
    return apply_operation("reduce" if role == "grey" else role, [first], _details(role, name, first, rest, settings))


def _details(role: str, name: str, tensor: Affine, rest: list[Any], settings: Json) -> OpSettings:
    """Return the settings of a function of one tensor, which have several names in Keras and TensorFlow."""
    axis = next(
        (settings[key] for key in ("axis", "axes", "dim", "dims", "perm") if settings.get(key) is not None), None
    )
    if role == "index":
        return OpSettings(name, index=_index(settings.get("slice_spec", rest[0] if rest else None)))
    if role == "grey":
        return OpSettings("mean", axes=(tensor.axis or 0,), keepdims=True)
    if role == "take":
        indices = settings.get("indices", rest[0] if rest else ())
        return OpSettings(name, axes=_axes(axis, -1), index=tuple(map(int, config_numbers(indices))))
    if role in {"split", "unstack"}:
        sections = settings.get("indices_or_sections", settings.get("num_or_size_splits", settings.get("num")))
        if sections is None and rest and isinstance(rest[0], np.ndarray) and rest[0].ndim == 0:
            sections = int(rest[0])
        sections = len(sections) if isinstance(sections, (list, tuple)) and set(sections) == {1} else sections
        sections = tensor.channels if sections is None else sections
        return OpSettings(
            name, axes=_axes(axis, DEFAULT_AXIS[role]), sections=sections if isinstance(sections, int) else 0
        )
    axis = rest[0] if axis is None and rest else axis
    all_axes = tuple(range(tensor.rank))
    default = all_axes[::-1] if role == "transpose" else all_axes
    axes_used = default if axis is None else _axes(axis, 0)
    return OpSettings(name, axes=axes_used, keepdims=bool(settings.get("keepdims") or settings.get("keep_dims")))


def _axes(value: Any, default: int) -> tuple[int, ...]:
    axes = tuple(int(number) for number in (value.ravel() if isinstance(value, np.ndarray) else config_numbers(value)))
    return axes or (default,)


def _index(value: Any) -> tuple[Any, ...]:
    """Return the subscript of a saved ``x[...]``."""
    items = value if isinstance(value, (list, tuple)) else [value]
    index: list[Any] = []
    for item in items:
        inner = item.get("config", item) if isinstance(item, dict) else None
        if isinstance(item, dict) and item.get("class_name") == "__ellipsis__":
            index.append(Ellipsis)
        elif isinstance(inner, dict) and {"start", "stop", "step"} <= set(inner):
            ends = [inner[end] for end in ("start", "stop", "step")]
            plain = all(end is None or isinstance(end, int) for end in ends) and ends[2] != 0
            index.append(slice(*ends) if plain else "?")
        else:
            index.append(int(item) if isinstance(item, np.ndarray) and item.ndim == 0 else item)
    return tuple(index)


def _saved_call(entry: LayerNode, args: Any, kwargs: Json, known: Mapping[Tensor, Value]) -> Sequence[Value] | None:
    """Return the outputs of a TensorFlow call that Keras 2 saved as a layer."""
    name, allowed = named_call(entry.kind, entry.config)
    if not allowed:
        return None
    if entry.kind == "TensorFlowOpLayer":
        return _graph_operation(name, entry.config, args, known)
    operands, named = _arguments(args, kwargs, known)
    return _function(name, operands, named)


def _graph_operation(name: str, config: Json, args: Any, known: Mapping[Tensor, Value]) -> Sequence[Value] | None:
    """Return the outputs of a graph operation whose constant inputs are in the configuration."""
    given = [known.get((ref.node, ref.output)) for ref in refs(args)]
    constants = config.get("constants") or {}
    total = len(given) + len(constants)
    remaining = iter(given)
    operands: list[Value] = []
    for position in range(total):
        operand = _array(constants[str(position)]) if str(position) in constants else next(remaining, None)
        if operand is None:
            return None
        operands.append(operand)
    attributes = config.get("node_def", {}).get("attr", {})
    return apply_tf_operation(name, operands, lambda key: _attribute(attributes.get(key)))


def _attribute(value: Any) -> int:
    """Return an integer or Boolean attribute of a NodeDef in JSON, where integers may be strings."""
    number = value.get("i", value.get("b", 0)) if isinstance(value, dict) else 0
    return int(number) if isinstance(number, int) or (isinstance(number, str) and number.isdecimal()) else 0
