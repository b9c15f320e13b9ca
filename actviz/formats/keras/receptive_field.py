"""Where the values of a map lie in the input picture: worked out from configurations alone.

A value of a convolution's map sees a window of the map before, and that, through all the
layers before, a window of the input. Both edges of the window move evenly from value to
value, so that two numbers an axis (the window of the first value) and a step tell where
all of them lie. What mixes places freely (Reshape, attention, code of somebody's own) ends
that: maps behind it have no place.
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

# Operations that compute each value from those at the same row and column.
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
    """What is known of one map: the input that it looks at, that input's size, and both axes."""

    input: str
    size: tuple[int, int]
    spans: tuple[AxisGeometry, AxisGeometry]

    def geometry(self) -> Geometry:
        """Return it as the rest of actviz knows it."""
        rows, columns = self.spans
        return Geometry(
            self.input,
            self.size,
            ((rows.first + rows.last) / 2, (columns.first + columns.last) / 2),
            (rows.stride, columns.stride),
            (rows.last - rows.first + 1, columns.last - columns.first + 1),
        )


def output_geometries(graph: LayerGraph, known: Known, sizes: Mapping[str, Shape]) -> dict[TensorRef, Geometry]:
    """Return where the first output of each call lies in the input, for those of which it is known.

    Parameters
    ----------
    graph
        The calls.
    known
        Shapes and axis names of their outputs, as far as they are known.
    sizes
        The shapes of what is fed, by input name, batch axis first.
    """
    found: dict[int, ReceptiveField] = {}
    for number, node in enumerate(graph.nodes):
        entry = graph.entries[node.entry]
        if entry.kind == "InputLayer":
            place = _input_field(entry, known.get(TensorRef(number, 0), (None, ()))[1], sizes.get(entry.name))
        else:
            place = _call_field(entry, node, known, found)
        if place is not None and min(span.size for span in place.spans) > 0:
            found[number] = place
    return {TensorRef(number, 0): place.geometry() for number, place in found.items()}


def _input_field(entry: LayerNode, axes: Axes, shape: Shape | None) -> ReceptiveField | None:
    if shape is None or len(shape) != len(axes) or not {"row", "column"} <= set(axes) or {"step", "plane"} & set(axes):
        return None
    rows, columns = (shape[axes.index(name)] for name in ("row", "column"))
    if not rows or not columns:
        return None
    return ReceptiveField(entry.name, (rows, columns), (AxisGeometry(rows, 0, 0, 1), AxisGeometry(columns, 0, 0, 1)))


def _call_field(
    entry: LayerNode, node: CallNode, known: Known, found: Mapping[int, ReceptiveField]
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
        place = found.get(sources[0].node) if len(sources) == 1 else None
        return _apply_window(rule, entry.config, place) if rule and place else None
    if any(ref.node not in found and not _is_spatially_constant(known.get(ref)) for ref in sources):
        return None
    return _merge_fields([found[ref.node] for ref in sources if ref.node in found])


def _is_pointwise(entry: LayerNode) -> bool:
    if entry.kind in SAVED_CALLS:
        return named_call(entry.kind, entry.config)[0].lower().rpartition(".")[2] in POINTWISE_CALLS
    return entry.kind in POINTWISE_OPERATIONS or facts_of(entry.kind).keeps_place


def _is_spatially_constant(described: tuple[Shape | None, Axes] | None) -> bool:
    """Tell whether a tensor has one row and column, so that it says the same at every place."""
    if described is None or described[0] is None or len(described[0]) != len(described[1]):
        return False
    sizes = dict(zip(described[1], described[0], strict=True))
    return sizes.get("row") == 1 and sizes.get("column") == 1


def _merge_fields(places: Sequence[ReceptiveField]) -> ReceptiveField | None:
    """Return the place of maps that are computed from several, value by value: they see what all of those see."""
    whole = [place for place in places if max(span.size for span in place.spans) > 1] or list(places)
    if not whole or len({place.input for place in whole}) > 1:
        return None
    rows, columns = (_merge_axis([place.spans[axis] for place in whole]) for axis in (0, 1))
    return replace(whole[0], spans=(rows, columns)) if rows and columns else None


def _merge_axis(spans: Sequence[AxisGeometry]) -> AxisGeometry | None:
    one = spans[0]
    if any(span.size != one.size or abs(span.stride - one.stride) > _STRIDE_TOLERANCE for span in spans):
        return None
    return replace(one, first=min(span.first for span in spans), last=max(span.last for span in spans))


def _apply_window(rule: WindowRule, config: Json, place: ReceptiveField) -> ReceptiveField | None:
    try:
        spans = rule(config, place.spans, 0), rule(config, place.spans, 1)
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
        return None
    if spans[0] is None or spans[1] is None:
        return None
    return replace(place, spans=(spans[0], spans[1]))
