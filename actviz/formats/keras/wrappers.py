"""Describe the layers inside wrappers from the configuration.

A TimeDistributed applies a layer or a model to every step; a Bidirectional has two recurrent
layers. The addresses of inner layers start with that of the wrapper: ``td/conv``,
``bi/forward_lstm``.
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
    """The known facts about a layer inside a call.

    `outputs` holds shape (batch axis first), dtype and axis names of each output; `parameters`
    is ``None`` if it is not known, `index` the position in ``model.layers`` of a subclassed model.
    """

    name: str
    kind: str
    outputs: tuple[Output, ...]
    parameters: int | None = None
    activation: str | None = None
    index: int | None = None


def wrapped(entry: LayerNode, given: Shape | None, parameters: int | None, file: str) -> dict[str, InnerLayer]:
    """Return the layers inside a wrapper by their paths.

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
    """Return the two recurrent layers of a Bidirectional, each with its steps in processing order."""
    backward_config = config.get("backward_layer")
    backward = layer_name(backward_config) if isinstance(backward_config, dict) else layer_name(inner)
    half = None if parameters is None or isinstance(backward_config, dict) else parameters // 2
    names = (half_name("forward", layer_name(inner)), half_name("backward", backward))
    return {name: replace(_layer(inner, given), name=name, parameters=half) for name in names}


def half_name(direction: str, name: str) -> str:
    """Return the name of a layer of a Bidirectional: ``forward_lstm`` for ``lstm``.

    Keras uses the same names, but some versions save them with the prefix and add it again.
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
    """Return the layer that is applied to every step, for a model with its inner layers."""
    name = quoted(layer_name(inner))
    steps = given[:2] if given is not None else (None, None)
    step_shape = (given[0], *given[2:]) if given is not None else None
    if not is_model(inner):
        return {name: _unfolded(replace(_layer(inner, step_shape), parameters=parameters), steps)}
    graph = parse_graph(inner, file)
    known = infer(graph)
    layers = {}
    for address, layer in _of_graph(graph, known).items():
        layers[f"{name}/{address}"] = _unfolded(layer, steps)
    last = tuple((*_described(graph, known, ref),) for ref in graph.outputs)
    whole = InnerLayer(layer_name(inner), str(inner["class_name"]), last, parameters)
    return layers | {name: _unfolded(whole, steps)}


def _of_graph(graph: LayerGraph, known: dict[TensorRef, Any]) -> dict[str, InnerLayer]:
    layers = {}
    for number, node in enumerate(graph.nodes):
        entry = graph.entries[node.entry]
        if entry.kind != "InputLayer":
            count = graph.output_count(number, output_count(entry.kind, entry.config))
            outputs = tuple(_described(graph, known, TensorRef(number, output)) for output in range(count))
            layers[node.address] = InnerLayer(entry.name, entry.kind, outputs, None, activation_of(entry))
    return layers


def _described(graph: LayerGraph, known: dict[TensorRef, Any], ref: TensorRef) -> Output:
    dtype = graph.entries[graph.nodes[ref.node].entry].config.get("dtype")
    shape, axes = known.get(ref, (None, ()))
    return shape, dtype if isinstance(dtype, str) else "float32", axes


def _unfolded(layer: InnerLayer, steps: Shape) -> InnerLayer:
    """Insert the step axis after the batch axis of every output."""
    outputs = tuple(
        (None if shape is None else (*steps, *shape[1:]), dtype, over_steps(axes) if axes else ())
        for shape, dtype, axes in layer.outputs
    )
    return replace(layer, outputs=outputs)
