"""Compute the receptive fields of feature maps from layer configurations.

A value of a feature map depends on a window of the input image. The window moves by a constant
stride from value to value, so the window of the first value and the stride describe all of
them. Layers that mix positions (Reshape, attention, custom code) end that: maps after them have
no receptive field.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actviz.formats.keras.graph import CallNode, Json, LayerGraph, LayerNode, TensorRef, refs
from actviz.gate.functions import named_call
from actviz.layer_catalogue import facts_of
from actviz.layer_catalogue.window_rules import AxisGeometry
from actviz.records import Geometry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actviz.layer_catalogue.window_rules import WindowRule
    from actviz.records import Axes, Shape

Known = dict[TensorRef, tuple["Shape | None", "Axes"]]

# Operations that compute each value from the values at the same row and column.
POINTWISE_OPERATIONS = frozenset(
    {
        "Divide", "TrueDivide", "Power", "Square", "Sqrt", "Rsqrt", "Absolute", "Abs", "Negative", "Exp", "Log", "Clip",
        "Relu", "Relu6", "Sigmoid", "HardSigmoid", "HardSwish", "HardSilu", "Silu", "Swish", "Tanh", "HardTanh", "Gelu", "Selu",
        "Elu", "Celu", "Softplus", "Softsign", "Mish", "LeakyRelu", "LogSoftmax", "Cast", "StopGradient", "GELU",
    }
)  # fmt: skip
SAVED_CALLS = frozenset({"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"})
POINTWISE_CALLS = frozenset(
    {
        "add", "addv2", "sub", "subtract", "mul", "multiply", "div", "realdiv", "divide", "truediv", "relu", "relu6", "sigmoid",
        "tanh", "cast", "identity", "maximum", "minimum", "clip_by_value", "silu", "swish", "biasadd", "bias_add", "neg",
        "square", "sqrt", "rsqrt", "abs", "exp", "softmax", "elu", "selu", "leaky_relu", "gelu", "stop_gradient",
    }
)  # fmt: skip
_STRIDE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The receptive field of a feature map: the input, its size ``(rows, columns)``, and the geometry of both axes."""

    input: str
    size: tuple[int, int]
    spans: tuple[AxisGeometry, AxisGeometry]

    def geometry(self) -> Geometry:
        """Return the field as a `Geometry`."""
        rows, columns = self.spans
        return Geometry(
            self.input,
            self.size,
            ((rows.first + rows.last) / 2, (columns.first + columns.last) / 2),
            (rows.stride, columns.stride),
            (rows.last - rows.first + 1, columns.last - columns.first + 1),
        )


def output_geometries(graph: LayerGraph, known: Known, sizes: Mapping[str, Shape]) -> dict[TensorRef, Geometry]:
    """Return the receptive field of the first output of each call, where it is known.

    Parameters
    ----------
    graph
        The calls.
    known
        Shapes and axis names of the outputs, as far as they are known.
    sizes
        The shapes of the input arrays by name, batch axis first.
    """
    by_node: dict[int, ReceptiveField] = {}
    for number, node in enumerate(graph.nodes):
        entry = graph.entries[node.entry]
        if entry.kind == "InputLayer":
            field = _input_field(entry, known.get(TensorRef(number, 0), (None, ()))[1], sizes.get(entry.name))
        else:
            field = _call_field(entry, node, known, by_node)
        if field is not None and min(span.size for span in field.spans) > 0:
            by_node[number] = field
    return {TensorRef(number, 0): field.geometry() for number, field in by_node.items()}


def _input_field(entry: LayerNode, axes: Axes, shape: Shape | None) -> ReceptiveField | None:
    if shape is None or len(shape) != len(axes) or not {"row", "column"} <= set(axes) or {"step", "plane"} & set(axes):
        return None
    rows, columns = (shape[axes.index(name)] for name in ("row", "column"))
    if not rows or not columns:
        return None
    return ReceptiveField(entry.name, (rows, columns), (AxisGeometry(rows, 0, 0, 1), AxisGeometry(columns, 0, 0, 1)))


def _call_field(
    entry: LayerNode, node: CallNode, known: Known, by_node: Mapping[int, ReceptiveField]
) -> ReceptiveField | None:
    sources = list(refs((node.args, node.kwargs)))
    if entry.custom or not sources or any(ref.output for ref in sources):
        return None
    if entry.kind == "Concatenate":
        axes = known.get(sources[0], (None, ()))[1]
        axis = entry.config.get("axis", -1)
        if not axes or not isinstance(axis, int) or not -len(axes) <= axis < len(axes) or axes[axis] != "channel":
            return None
    elif not _is_pointwise(entry):
        rule = facts_of(entry.kind).window
        field = by_node.get(sources[0].node) if len(sources) == 1 else None
        return _apply_window(rule, entry.config, field) if rule and field else None
    if any(ref.node not in by_node and not _is_spatially_constant(known.get(ref)) for ref in sources):
        return None
    return _merge_fields([by_node[ref.node] for ref in sources if ref.node in by_node])


def _is_pointwise(entry: LayerNode) -> bool:
    if entry.kind in SAVED_CALLS:
        return named_call(entry.kind, entry.config)[0].lower().rpartition(".")[2] in POINTWISE_CALLS
    return entry.kind in POINTWISE_OPERATIONS or facts_of(entry.kind).keeps_place


def _is_spatially_constant(described: tuple[Shape | None, Axes] | None) -> bool:
    """Return True if a tensor has one row and one column, so that it is broadcast over all positions."""
    if described is None or described[0] is None or len(described[0]) != len(described[1]):
        return False
    sizes = dict(zip(described[1], described[0], strict=True))
    return sizes.get("row") == 1 and sizes.get("column") == 1


def _merge_fields(fields: Sequence[ReceptiveField]) -> ReceptiveField | None:
    """Return the receptive field of a pointwise combination of maps: the union of their fields."""
    whole = [field for field in fields if max(span.size for span in field.spans) > 1] or list(fields)
    if not whole or len({field.input for field in whole}) > 1:
        return None
    rows, columns = (_merge_axis([field.spans[axis] for field in whole]) for axis in (0, 1))
    return replace(whole[0], spans=(rows, columns)) if rows and columns else None


def _merge_axis(spans: Sequence[AxisGeometry]) -> AxisGeometry | None:
    first = spans[0]
    if any(span.size != first.size or abs(span.stride - first.stride) > _STRIDE_TOLERANCE for span in spans):
        return None
    return replace(first, first=min(span.first for span in spans), last=max(span.last for span in spans))


def _apply_window(rule: WindowRule, config: Json, field: ReceptiveField) -> ReceptiveField | None:
    try:
        spans = rule(config, field.spans, 0), rule(config, field.spans, 1)
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
        return None
    if spans[0] is None or spans[1] is None:
        return None
    return replace(field, spans=(spans[0], spans[1]))
