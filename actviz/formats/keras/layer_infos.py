"""Describe every addressable output of a Keras model: those of calls, inner layers and nested models."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from actviz.formats.keras.activation_sign import activation_of
from actviz.formats.keras.graph import ROOT, InnerRef, ModelCallOutputs, TensorRef, refs
from actviz.formats.keras.shapes import PRE_ACTIVATION, SCORES, attention_score_shape, output_count, score_axis_names
from actviz.formats.keras.wrappers import InnerLayer, wrapped
from actviz.layer_catalogue import facts_of
from actviz.records import PRE, LayerInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actviz.formats.keras.graph import LayerGraph, LayerNode
    from actviz.formats.keras.keras_file import KerasFile
    from actviz.records import Axes, Shape


class LayerDescriber:
    """Describes the outputs of a model in model order.

    Parameters
    ----------
    file
        The opened model.
    known
        Shapes and axis names of the outputs of calls, as far as they are known.
    needs
        The names of the inputs that each call depends on.

    Attributes
    ----------
    outputs
        The tensor of each address of the last `describe`.
    inner
        The layers inside wrappers and custom layers, by path, for each call.
    pre_activations
        The layers before their activation functions, of the last `describe`.
    """

    def __init__(
        self, file: KerasFile, known: Mapping[TensorRef, tuple[Shape | None, Axes]], needs: list[tuple[str, ...] | None]
    ) -> None:
        self._file = file
        self._graph: LayerGraph = file.configuration.graph
        self._known = known
        self._needs = needs
        self.outputs: dict[str, TensorRef | InnerRef] = {}
        self.inner: dict[int, dict[str, InnerLayer]] = {}
        self.pre_activations: list[LayerInfo] = []
        self._counted: Mapping[str, int] = {}

    def describe(self, counted: Mapping[str, int]) -> tuple[LayerInfo, ...]:
        """Return all outputs; `counted` are numbers of parameters by layer key, where Keras has counted them."""
        self.outputs = {}
        self.pre_activations = []
        self._counted = counted
        return tuple(self._every_layer())

    def _every_layer(self) -> Iterator[LayerInfo]:
        """Yield the outputs of every call, and after the last call of a nested model the outputs of that model."""
        given: dict[int, list[tuple[str, ModelCallOutputs]]] = {}
        ends: dict[int, list[tuple[str, ModelCallOutputs]]] = {}
        for group, calls in ((given, self._graph.arguments), (ends, self._graph.results)):
            for address, result in calls.items():
                group.setdefault(result.after, []).append((address, result))
        for number, node in enumerate(self._graph.nodes):
            for address, result in given.get(number, ()):
                yield from self._model(address, result)
            entry = self._graph.layer_of(number)
            count = self._graph.output_count(number, output_count(entry.kind, entry.config))
            yield from self._inner_layers(number)
            for output in range(count):
                address = node.address if count == 1 else f"{node.address}@{output}"
                layer = self._layer(address, TensorRef(number, output))
                self._add_pre_activation(number, layer)
                yield layer
            if facts_of(entry.kind).attention and not entry.custom:
                yield self._scores(number)
            for address, result in ends.get(number + 1, ()):
                yield from self._model(address, result)

    def _add_pre_activation(self, number: int, layer: LayerInfo) -> None:
        """Describe a layer before its activation function, if it applies one last."""
        entry = self._graph.layer_of(number)
        name = layer.activation
        if entry.custom or not facts_of(entry.kind).activation_last or name in {None, "linear"}:
            return
        pre = replace(
            layer, address=f"{layer.address}{PRE}", name=f"{layer.name}{PRE}", index=None,
            kind=f"{layer.kind} before {name}", parameters=0, activation="linear", inner=True,
        )  # fmt: skip
        self.outputs[pre.address] = TensorRef(number, PRE_ACTIVATION)
        self.pre_activations.append(pre)

    def _scores(self, number: int) -> LayerInfo:
        """Describe the scores of an attention layer, which are not part of its output."""
        node, entry = self._graph.nodes[number], self._graph.layer_of(number)
        address = f"{node.address}@scores"
        self.outputs[address] = TensorRef(number, SCORES)
        shape = attention_score_shape(node, entry.config, self._known)
        return LayerInfo(
            address=address,
            name=f"{entry.name}@scores",
            index=None,
            kind=f"{entry.kind} scores",
            shape=shape,
            dtype=self._dtype(TensorRef(number, 0)),
            parameters=0,
            axes=score_axis_names(entry.config, shape),
            needs=self._needs[number],
        )

    def _model(self, call: str, result: ModelCallOutputs) -> Iterator[LayerInfo]:
        """Yield the outputs of one call of a nested model, or the value of one of its inputs."""
        for output, ref in enumerate(result.outputs):
            address = call if len(result.outputs) == 1 else f"{call}@{output}"
            self.outputs[address] = ref
            shape, axes = self._known.get(ref, (None, ()))
            count = 0 if result.kind == "InputLayer" else self._parameters_of(result.entry)
            yield LayerInfo(
                address,
                result.name,
                result.index,
                result.kind,
                shape,
                self._dtype(ref),
                count,
                axes,
                needs=self._needs[ref.node],
            )

    def _inner_layers(self, number: int) -> Iterator[LayerInfo]:
        """Yield the outputs of the layers inside a wrapper or a custom layer."""
        node, entry = self._graph.nodes[number], self._graph.layer_of(number)
        if not entry.custom and not isinstance(entry.config.get("layer"), dict):
            return
        if number not in self.inner:
            source = next(refs(node.args), None)
            shape = self._known.get(source, (None, ()))[0] if source is not None else None
            self.inner[number] = wrapped(entry, shape, self._parameters(entry), self._file.name)
        prefix = "" if entry.position == ROOT else f"{node.address}/"
        for path, layer in self.inner[number].items():
            outputs = layer.outputs or ((None, "float32", ()),)
            for output, (shape, dtype, axes) in enumerate(outputs):
                address = prefix + (path if len(outputs) == 1 else f"{path}@{output}")
                self.outputs[address] = InnerRef(number, path, output)
                yield LayerInfo(
                    address,
                    layer.name,
                    layer.index,
                    layer.kind,
                    shape,
                    dtype,
                    layer.parameters,
                    axes,
                    layer.activation,
                    needs=self._needs[number],
                )

    def _parameters_of(self, model: str) -> int | None:
        """Return the number of parameters of all layers in a nested model, ``None`` if not known."""
        counts = [
            self._count(entry)
            for entry in self._graph.entries.values()
            if entry.owner == model or entry.owner.startswith(f"{model}/")
        ]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def _layer(self, address: str, ref: TensorRef) -> LayerInfo:
        self.outputs[address] = ref
        entry = self._graph.layer_of(ref.node)
        shape, axes = self._known.get(ref, (None, ()))
        return LayerInfo(
            address=address,
            name=entry.name,
            index=entry.index,
            kind=entry.kind,
            shape=shape,
            dtype=self._dtype(ref),
            parameters=self._parameters(entry),
            axes=axes,
            activation=activation_of(entry),
            needs=self._needs[ref.node],
        )

    def _parameters(self, entry: LayerNode) -> int | None:
        return self._counted[entry.key] if entry.key in self._counted else self._count(entry)

    def _count(self, entry: LayerNode) -> int | None:
        shapes = [] if entry.kind == "InputLayer" else self._file.weights.shapes(entry)
        return None if shapes is None else sum(math.prod(shape) for shape in shapes)

    def _dtype(self, ref: TensorRef) -> str:
        entry = self._graph.layer_of(ref.node)
        declared = self._graph.shapes.get(ref)
        if declared is not None and (entry.kind == "InputLayer" or "dtype" not in entry.config):
            return declared[1]
        dtype = entry.config.get("dtype", "float32")
        name = dtype if isinstance(dtype, str) else "float32"
        return name.removeprefix("mixed_")
