"""A Keras file as a `Network`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from actviz.errors import InputError, escape
from actviz.formats.graph import Entry, Ref, layer_name, refs
from actviz.formats.keras_file import KerasFile, open_keras_file
from actviz.formats.shapes import (
    ATTENTION,
    SCORES,
    activation_of,
    axes_of,
    infer,
    output_count,
    score_axes,
    score_shape,
    signs,
)
from actviz.records import Activation, InputOperation, LayerInfo, ModelFacts, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.formats.keras_runtime import Cut

LOOKED_THROUGH = frozenset({"InputLayer", "Resizing", "CenterCrop", "Identity"})
FIRST_OPERATIONS = frozenset({"Rescaling", "Normalization"})


class KerasNetwork:
    """A Functional or Sequential model of a `.keras` or `.h5` file.

    Opening reads the configuration only. Keras is imported, and weights are read, when
    activations are asked for: then just the calls that they need are built.
    """

    def __init__(self, path: Path, weights: Path | None = None) -> None:
        self._file: KerasFile = open_keras_file(path, weights)
        self._cuts: dict[tuple[str, ...], Cut] = {}
        try:
            self._graph = self._file.graph
            self._known = infer(self._graph)
            self._signs = signs(self._graph)
            self._facts = self._make_facts()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the network itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def facts(self) -> ModelFacts:
        """What the file says, as far as it is known without running the model."""
        return self._facts

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every addressable output, in model order."""
        return self._facts.layers

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the model's order."""
        return self._facts.inputs

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened."""
        self._file.check_unchanged()

    def complete(self) -> ModelFacts:
        """Work out the shapes that the file leaves open, without allocating weights."""
        if all(layer.shape is not None and layer.parameters is not None for layer in self.layers):
            return self._facts
        cut = self._plan(tuple(layer.address for layer in self.layers))
        described = cut.prepare()
        for ref in self._outputs.values():
            if self._known.get(ref, (None, ()))[0] is None and ref in described:
                node = self._graph.nodes[ref.node]
                entry = self._graph.entries[node.entry]
                shape = described[ref][0]
                given = [self._known[source][1] for source in refs(node.args) if source in self._known]
                self._known[ref] = (
                    shape,
                    axes_of(entry.kind, entry.config, shape, given),
                )
        self._facts = self._make_facts(cut.parameters)
        return self._facts

    def activations(
        self, batch: Mapping[str, NDArray[Any]], addresses: Sequence[str] | None = None
    ) -> dict[str, Activation]:
        """Compute the outputs of some layers for a batch.

        See `actviz.formats.protocol.Network.activations`.
        """
        # Scores of attention are computed by a call of their own, and only when asked for.
        own = [address for address, ref in self._outputs.items() if ref.output != SCORES]
        chosen = tuple(own if addresses is None else addresses)
        cut = self._cuts.get(chosen)
        if cut is None:
            cut = self._plan(chosen)
            cut.build()
            self._cuts = {chosen: cut}
            self.check_unchanged()
        missing = [name for name in cut.input_names() if name not in batch]
        if missing:
            names = ", ".join(f'"{escape(name, 60)}"' for name in missing)
            message = f"{self._file.name}: these layers need the input {names}; give it by name."
            raise InputError(message)
        values = cut.run(batch)
        digest = self._file.weights.digest()
        kinds = {layer.address: layer for layer in self.layers}
        return {
            address: replace(
                self._activation(kinds[address], cut.wanted[address], values[address], digest),
                mask=cut.masks.get(address),
            )
            for address in chosen
        }

    def _activation(self, layer: LayerInfo, ref: Ref, values: NDArray[Any], digest: str) -> Activation:
        axes = layer.axes
        if ref.output == SCORES:
            return Activation(layer.address, layer.kind, values, score_axes(values.ndim), None, digest)
        if len(axes) != values.ndim:
            axes = axes_of(layer.kind, {}, values.shape, [])
        return Activation(layer.address, layer.kind, values, axes, self._signs.get(ref.node), digest)

    def _plan(self, addresses: tuple[str, ...]) -> Cut:
        from actviz.formats.keras_runtime import Cut

        wanted = {address: self._ref(address) for address in addresses}
        steps = self._graph.ancestors([ref.node for ref in wanted.values()])
        return Cut(self._graph, self._file.name, steps, wanted, self._file.weights)

    def _ref(self, address: str) -> Ref:
        return self._outputs[address]

    def _make_facts(self, parameters: Mapping[str, int] | None = None) -> ModelFacts:
        self._outputs: dict[str, Ref] = {}
        layers = tuple(self._every_layer(parameters or {}))
        return ModelFacts(
            file=self._file.name,
            format=self._file.format,
            writer=self._file.writer,
            names=self._names(),
            inputs=tuple(self._input(number) for number in self._graph.inputs),
            layers=layers,
            operations=self._operations(),
            code=self._file.code,
            digest=self._file.digest,
        )

    def _every_layer(self, parameters: Mapping[str, int]) -> Iterator[LayerInfo]:
        """Yield every addressable output: those of calls, and of nested models after them."""
        ends: dict[int, list[str]] = {}
        for address, result in self._graph.results.items():
            ends.setdefault(result.after, []).append(address)
        for number, node in enumerate(self._graph.nodes):
            entry = self._graph.entries[node.entry]
            count = output_count(entry.kind, entry.config)
            for output in range(count):
                address = node.address if count == 1 else f"{node.address}@{output}"
                self._outputs[address] = Ref(number, output)
                yield self._layer(address, Ref(number, output), parameters)
            if entry.kind in ATTENTION:
                yield self._scores(number)
            for address in ends.get(number + 1, ()):
                yield from self._model(address)

    def _scores(self, number: int) -> LayerInfo:
        """Describe the scores of an attention layer, which its output does not hold."""
        node = self._graph.nodes[number]
        entry = self._graph.entries[node.entry]
        address = f"{node.address}@scores"
        self._outputs[address] = Ref(number, SCORES)
        given = list(refs((node.args, node.kwargs)))
        query, key = (self._known.get(ref, (None, ()))[0] for ref in (given[0], given[min(1, len(given) - 1)]))
        shape = score_shape(entry.config, query, key)
        rank = 4 if "num_heads" in entry.config or "num_query_heads" in entry.config else 3
        axes = score_axes(len(shape) if shape else rank)
        kind = f"{entry.kind} scores"
        return LayerInfo(address, f"{entry.name}@scores", None, kind, shape, self._dtype(Ref(number, 0)), 0, axes)

    def _model(self, call: str) -> Iterator[LayerInfo]:
        """Yield the outputs of one call of a nested model."""
        result = self._graph.results[call]
        for output, ref in enumerate(result.outputs):
            address = call if len(result.outputs) == 1 else f"{call}@{output}"
            self._outputs[address] = ref
            shape, axes = self._known.get(ref, (None, ()))
            yield LayerInfo(
                address,
                result.name,
                result.index,
                result.kind,
                shape,
                self._dtype(ref),
                self._inside(result.entry),
                axes,
            )

    def _inside(self, model: str) -> int | None:
        """Return the number of parameters of all layers in a nested model."""
        counts = [
            self._count(entry)
            for entry in self._graph.entries.values()
            if entry.owner == model or entry.owner.startswith(f"{model}/")
        ]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def _layer(self, address: str, ref: Ref, parameters: Mapping[str, int]) -> LayerInfo:
        entry = self._graph.entries[self._graph.nodes[ref.node].entry]
        shape, axes = self._known.get(ref, (None, ()))
        count = self._count(entry) if entry.key not in parameters else parameters[entry.key]
        return LayerInfo(
            address=address,
            name=entry.name,
            index=entry.index,
            kind=entry.kind,
            shape=shape,
            dtype=self._dtype(ref),
            parameters=count,
            axes=axes,
            activation=activation_of(entry),
        )

    def _count(self, entry: Entry) -> int | None:
        shapes = self._file.weights.shapes(entry)
        if shapes is None:
            return None
        total = 0
        for shape in shapes:
            size = 1
            for axis in shape:
                size *= axis
            total += size
        return total

    def _dtype(self, ref: Ref) -> str:
        entry = self._graph.entries[self._graph.nodes[ref.node].entry]
        declared = self._graph.shapes.get(ref)
        if declared is not None and entry.kind == "InputLayer":
            return declared[1]
        dtype = entry.config.get("dtype", "float32")
        name = dtype if isinstance(dtype, str) else "float32"
        return name.removeprefix("mixed_")

    def _input(self, number: int) -> TensorSpec:
        entry = self._graph.entries[self._graph.nodes[number].entry]
        shape, dtype = self._graph.shapes[Ref(number, 0)]
        axes = self._known[Ref(number, 0)][1]
        return TensorSpec(entry.name, tuple(shape), dtype, axes)

    def _names(self) -> tuple[str, ...]:
        names = [self._graph.name]
        names += [layer_name(model) for key, (model, owner, _) in self._graph.models.items() if key and not owner]
        return tuple(names)

    def _operations(self) -> tuple[InputOperation, ...]:
        """Follow the first input through what keeps its meaning and collect its numbers."""
        found: list[InputOperation] = []
        if not self._graph.inputs:
            return ()
        current = self._graph.inputs[0]
        while True:
            users = [
                number
                for number, node in enumerate(self._graph.nodes)
                if any(ref.node == current for ref in refs((node.args, node.kwargs)))
            ]
            if len(users) != 1:
                return tuple(found)
            current = users[0]
            entry = self._graph.entries[self._graph.nodes[current].entry]
            if entry.kind in FIRST_OPERATIONS:
                found.append(InputOperation(entry.kind, self._operation_numbers(entry)))
            elif entry.kind not in LOOKED_THROUGH and not entry.kind.startswith("Random"):
                return tuple(found)

    def _operation_numbers(self, entry: Entry) -> dict[str, tuple[float, ...]]:
        if entry.kind == "Rescaling":
            return {
                name: _numbers(entry.config.get(name, default)) for name, default in (("scale", 1.0), ("offset", 0.0))
            }
        given = {
            name: _numbers(entry.config[name]) for name in ("mean", "variance") if entry.config.get(name) is not None
        }
        return given or self._file.weights.normalisation(entry)


def _numbers(value: Any) -> tuple[float, ...]:
    if isinstance(value, dict):
        value = value.get("config", {}).get("value", value.get("value"))
    if isinstance(value, list):
        return tuple(number for item in value for number in _numbers(item))
    return (float(value),) if isinstance(value, (int, float)) else ()
