"""Layers inside wrappers, as far as the configuration alone tells of them.

A TimeDistributed applies one layer, or a whole model, to every step; a Bidirectional holds
two recurrent layers. Their inner layers have addresses below the wrapper's own:
``td/conv``, ``bi/forward_lstm``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from actviz.formats.axes import axes_of, over_steps
from actviz.formats.keras.activation_sign import activation_of
from actviz.formats.keras.graph import Json, LayerGraph, LayerNode, TensorRef, is_model, layer_name, quoted
from actviz.formats.keras.parse_graph import parse_graph
from actviz.formats.keras.shapes import infer, layer_output_shape, output_count, state_shape
from actviz.records import Axes, Shape

Output = tuple[Shape | None, str, Axes]


@dataclass(frozen=True, slots=True)
class InnerLayer:
    """A layer inside a call: what is known of it before it runs.

    `outputs` holds shape (batch axis first), dtype and axis names of each output;
    `parameters` is ``None`` where only the layer itself can tell, `index` the position in
    ``model.layers`` of a subclassed model.
    """

    name: str
    kind: str
    outputs: tuple[Output, ...]
    parameters: int | None = None
    activation: str | None = None
    index: int | None = None


def wrapped(entry: LayerNode, given: Shape | None, parameters: int | None, file: str) -> dict[str, InnerLayer]:
    """Return the layers inside a wrapper by their paths in it.

    `given` is the shape of the wrapper's input, `parameters` its number of parameters.
    """
    inner = entry.config.get("layer")
    if not isinstance(inner, dict) or not isinstance(inner.get("config"), dict):
        return {}
    if entry.kind == "TimeDistributed":
        return _every_step(inner, given, parameters, file)
    if entry.kind == "Bidirectional":
        return _halves(entry.config, inner, given, parameters)
    if entry.kind == "SpectralNormalization":
        layer = _layer(inner, given)
        return {quoted(layer.name): layer}
    return {}


def _halves(config: Json, inner: Json, given: Shape | None, parameters: int | None) -> dict[str, InnerLayer]:
    """Return the two recurrent layers: each gives its steps in the order in which it reads them."""
    other = config.get("backward_layer")
    backward = layer_name(other) if isinstance(other, dict) else layer_name(inner)
    half = None if parameters is None or isinstance(other, dict) else parameters // 2
    names = (half_name("forward", layer_name(inner)), half_name("backward", backward))
    return {name: replace(_layer(inner, given), name=name, parameters=half) for name in names}


def half_name(direction: str, name: str) -> str:
    """Return how a half of a Bidirectional is addressed: ``forward_lstm`` for ``lstm``.

    Keras gives the halves such names too, but some of its versions save them with the
    prefix and put it before them once more.
    """
    while name.startswith(("forward_", "backward_")):
        name = name.partition("_")[2]
    return f"{direction}_{quoted(name)}"


def _layer(layer: Json, given: Shape | None) -> InnerLayer:
    kind, config = str(layer["class_name"]), layer["config"]
    shape = layer_output_shape(kind, config, [given])
    dtype = config.get("dtype") if isinstance(config.get("dtype"), str) else "float32"
    outputs: list[Output] = [(shape, str(dtype), axes_of(kind, config, shape, []))]
    for _ in range(1, output_count(kind, config)):
        state = state_shape(config, given)
        outputs.append((state, str(dtype), axes_of("", {}, state, [])))
    entry = LayerNode("", layer_name(layer), kind, "", config, None, "", 0)
    return InnerLayer(layer_name(layer), kind, tuple(outputs), None, activation_of(entry))


def _every_step(inner: Json, given: Shape | None, parameters: int | None, file: str) -> dict[str, InnerLayer]:
    """Return the layer that every step goes through or, for a model, its layers too."""
    name = quoted(layer_name(inner))
    steps = given[:2] if given is not None else (None, None)
    each = (given[0], *given[2:]) if given is not None else None
    if not is_model(inner):
        return {name: _unfolded(replace(_layer(inner, each), parameters=parameters), steps)}
    graph = parse_graph(inner, file)
    known = infer(graph)
    found = {}
    for address, layer in _of_graph(graph, known).items():
        found[f"{name}/{address}"] = _unfolded(layer, steps)
    last = tuple((*_described(graph, known, ref),) for ref in graph.outputs)
    whole = InnerLayer(layer_name(inner), str(inner["class_name"]), last, parameters)
    return found | {name: _unfolded(whole, steps)}


def _of_graph(graph: LayerGraph, known: dict[TensorRef, Any]) -> dict[str, InnerLayer]:
    found = {}
    for number, node in enumerate(graph.nodes):
        entry = graph.entries[node.entry]
        if entry.kind != "InputLayer":
            count = graph.output_count(number, output_count(entry.kind, entry.config))
            outputs = tuple(_described(graph, known, TensorRef(number, output)) for output in range(count))
            found[node.address] = InnerLayer(entry.name, entry.kind, outputs, None, activation_of(entry))
    return found


def _described(graph: LayerGraph, known: dict[TensorRef, Any], ref: TensorRef) -> Output:
    dtype = graph.entries[graph.nodes[ref.node].entry].config.get("dtype")
    shape, axes = known.get(ref, (None, ()))
    return shape, dtype if isinstance(dtype, str) else "float32", axes


def _unfolded(layer: InnerLayer, steps: Shape) -> InnerLayer:
    """Put the step axis behind the batch axis of every output."""
    outputs = tuple(
        (None if shape is None else (*steps, *shape[1:]), dtype, over_steps(axes) if axes else ())
        for shape, dtype, axes in layer.outputs
    )
    return replace(layer, outputs=outputs)
