"""A Keras file as a `Network`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, InputError, ModelError, escape
from actviz.formats.axes import axes_of, score_axes
from actviz.formats.keras.activation_sign import BOUNDS, activation_of, bounds, signs
from actviz.formats.keras.compiled_graph import patience
from actviz.formats.keras.custom_objects import CustomObjects
from actviz.formats.keras.graph import ROOT, InnerRef, LayerNode, ModelCallOutputs, TensorRef, layer_name, refs
from actviz.formats.keras.input_facts import limit_of, needs, readers, split_of, words_of
from actviz.formats.keras.keras_arithmetic import operations_of
from actviz.formats.keras.keras_file import KerasFile, open_keras_file
from actviz.formats.keras.least_size import least_sizes, too_small
from actviz.formats.keras.receptive_field import geometries
from actviz.formats.keras.shapes import SCORES, infer, is_scores, output_count, scores_named, shape_of_scores
from actviz.formats.keras.step_order import joined, reverses, step_orders, turned
from actviz.formats.keras.wrappers import InnerLayer, wrapped
from actviz.formats.malformed import error_message
from actviz.formats.network_protocol import FileNetwork
from actviz.gate import NO_TRUST, TrustPolicy, well_formed
from actviz.layer_catalogue import facts_of
from actviz.records import FORWARD, Activation, LayerInfo, ModelFacts, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.formats.keras.submodel import SubModel
    from actviz.formats.one_by_one import State
    from actviz.records import Shape


class KerasNetwork(FileNetwork):
    """A Functional or Sequential model of a `.keras` or `.h5` file, or of a SavedModel that is `opened`.

    Opening reads the configuration only. Keras is imported, and weights are read, when
    activations are asked for: then just the calls that they need are built.
    """

    def __init__(
        self, path: Path, weights: Path | None = None, trust: TrustPolicy = NO_TRUST, opened: KerasFile | None = None
    ) -> None:
        self._file: KerasFile = opened or open_keras_file(path, weights, trust)
        self._custom = CustomObjects(trust, self._file.configuration.custom, self._file.name)
        self._cuts: dict[tuple[str, ...], SubModel] = {}
        self._many = False
        self._inside: dict[int, dict[str, InnerLayer]] = {}
        self._orders: list[str] = []
        self._notes = dict.fromkeys(self._file.notes)
        try:
            self._graph = self._file.configuration.graph
            with well_formed(self._file.name):
                self._known = infer(self._graph)
                self._signs = signs(self._graph)
                self._bounds = bounds(self._graph)
                self._needs = needs(self._graph)
                self._least = least_sizes(self._graph)
                self._readers = readers(self._graph)
                self._facts = self._make_facts()
            self._complete = False
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def facts(self) -> ModelFacts:
        """What the file says, as far as it is known without running the model.

        Layers inside custom classes are known to their code alone: it is asked here.
        """
        if any(entry.custom for entry in self._graph.entries.values()):
            return self.complete()
        return self._facts

    @property
    def notes(self) -> list[str]:
        """Lines worth saying about what was read so far, each once."""
        return list(self._notes)

    def check_unchanged(self) -> None:
        """Refuse a file that was written to since it was opened."""
        self._file.check_unchanged()

    def complete(self, shapes: Mapping[str, Shape] | None = None) -> ModelFacts:
        """Work out what the file leaves open, without allocating weights.

        Those are shapes and counts, and the layers inside custom classes. `shapes` gives
        the shapes of inputs that the file does not tell.
        """
        self._settle(shapes or {})
        known = all(layer.shape is not None and layer.parameters is not None for layer in self._facts.layers)
        opaque = [number for number, node in enumerate(self._graph.nodes) if self._graph.entries[node.entry].custom]
        if self._complete or (known and not opaque):
            return self._facts
        with error_message(self._file.name):
            return self._worked_out(opaque)

    def _worked_out(self, opaque: Sequence[int]) -> ModelFacts:
        cut = self._plan(tuple(layer.address for layer in self._facts.layers))
        if any(number not in self._known_inputs() for number in self._graph.inputs):
            cut.make_layers()
            self._inside |= {number: cut.inventory(number) for number in opaque}
            self._facts = self._make_facts()
            return self._facts
        self._add_shapes(cut.prepare())
        for number, found in self._inside.items():
            for path, layer in cut.inventory(number).items() if found else ():
                if path in found and found[path].parameters is None:
                    found[path] = replace(found[path], parameters=layer.parameters)
        self._inside |= {number: cut.outline(number) for number in opaque}
        self._complete = True
        self._facts = self._make_facts(cut.parameters)
        return self._facts

    def _known_inputs(self) -> set[int]:
        return {number for number in self._graph.inputs if TensorRef(number, 0) in self._graph.shapes}

    def _add_shapes(self, described: Mapping[TensorRef, tuple[Shape, str]]) -> None:
        """Take the shapes that Keras worked out where the file gives none."""
        for ref in self._outputs.values():
            if isinstance(ref, TensorRef) and self._known.get(ref, (None, ()))[0] is None and ref in described:
                node = self._graph.nodes[ref.node]
                entry = self._graph.entries[node.entry]
                shape = described[ref][0]
                given = [self._known[source][1] for source in refs(node.args) if source in self._known]
                scores = is_scores(entry, ref.output)
                axes = score_axes(len(shape)) if scores else axes_of(entry.kind, entry.config, shape, given)
                self._known[ref] = (shape, axes)

    def prepare(self) -> None:
        """Import Keras and its TensorFlow backend."""
        from actviz.formats.keras.make_layer import check_keras

        check_keras()
        import keras

        keras.config.disable_traceback_filtering()

    def activations(
        self,
        batch: Mapping[str, NDArray[Any]],
        addresses: Sequence[str] | None = None,
        *,
        separate: bool = False,
        state: State = "file",
    ) -> dict[str, Activation]:
        """Compute the outputs of some layers for a batch.

        See `actviz.formats.network_protocol.Network.activations`.
        """
        self._settle({name: values.shape for name, values in batch.items()})
        if addresses is None or not self._outputs.keys() >= set(addresses):
            _ = self.facts  # the layers inside custom classes are known once they are asked for
        # Scores of attention are computed by a call of their own, and only when asked for.
        own = [address for address, ref in self._outputs.items() if ref.output != SCORES]
        chosen = tuple(own if addresses is None else addresses)
        cut = self._cuts.get(chosen)
        if cut is None:
            cut = self._plan(chosen)
            self._orders = step_orders(self._graph, self._known)
            with error_message(self._file.name, self.check_unchanged):
                cut.build()
            self._cuts = {chosen: cut}
            self._notes |= dict.fromkeys(cut.notes)
            self.check_unchanged()
        missing = [name for name in cut.input_names() if name not in batch]
        if missing:
            names = ", ".join(f'"{escape(name, 60)}"' for name in missing)
            message = f"{self._file.name}: these layers need the input {names}; give it by name."
            raise InputError(message)
        self._check_least(batch, cut.steps)
        if self._many:
            cut.patience = patience(len(cut.steps))
        values = cut.run(batch, separate=separate, state=state)
        self._notes |= dict.fromkeys(cut.notes)
        digest = self._file.weights.digest()
        places = geometries(self._graph, self._known, {name: values.shape for name, values in batch.items()})
        kinds = {layer.address: layer for layer in self.layers}
        lost = [address for address in chosen if address not in values]
        if lost and addresses is not None:
            message = f'{self._file.name}: "{escape(lost[0], 80)}" gave no value of its own in this forward pass; choose the layer around it.'
            raise ModelError(message)
        return {
            address: replace(
                self._activation(kinds[address], cut.wanted[address], values[address], digest),
                mask=cut.masks.get(address),
                step_order=self._step_order(cut, address, kinds[address]),
                geometry=places.get(place) if isinstance(place := cut.wanted[address], TensorRef) else None,
            )
            for address in chosen
            if address in values
        }

    def _check_least(self, batch: Mapping[str, NDArray[Any]], steps: Sequence[int]) -> None:
        """Refuse inputs of which the layers asked for leave nothing, and say how many steps are needed."""
        if not self._least:
            return
        names = {number: self._graph.entries[self._graph.nodes[number].entry].name for number in self._graph.inputs}
        given = {number: (None, *batch[name].shape[1:]) for number, name in names.items() if name in batch}
        for number, axis, least in too_small(self._graph, given, steps)[:1]:
            words = self._known[TensorRef(number, 0)][1]
            noun = words[axis] if axis < len(words) else "value"
            size = given[number][axis]
            message = f'{self._file.name}: the input "{escape(names[number], 60)}" has {size:,} {noun}{"s" if size != 1 else ""}, of which these layers leave nothing; give at least {least:,}.'
            raise InputError(message)

    def expect_many(self) -> None:
        """Prepare for many batches: what saves time over them is begun at once."""
        self._many = True

    def _settle(self, shapes: Mapping[str, Shape]) -> None:
        """Take the shapes of inputs that the file does not tell, batch axis first."""
        for number in set(self._graph.inputs) - self._known_inputs():
            entry = self._graph.entries[self._graph.nodes[number].entry]
            if entry.name in shapes:
                shape = (None, *shapes[entry.name][1:])
                entry.config["batch_shape"] = list(shape)
                self._graph.shapes[TensorRef(number, 0)] = (shape, "float32")
                self._known[TensorRef(number, 0)] = (shape, axes_of("InputLayer", {}, shape, []))

    def _activation(self, layer: LayerInfo, ref: TensorRef | InnerRef, values: NDArray[Any], digest: str) -> Activation:
        axes = layer.axes
        if self._is_scores(ref):
            axes, of_softmax = score_axes(values.ndim), BOUNDS["softmax"]
            return Activation(layer.address, layer.kind, values, axes, None, digest, bounds=of_softmax)
        if len(axes) != values.ndim:
            axes = axes_of(layer.kind, {}, values.shape, [])
        if isinstance(ref, TensorRef):
            return Activation(
                layer.address,
                layer.kind,
                values,
                axes,
                self._signs.get(ref.node),
                digest,
                bounds=self._bounds.get(ref.node),
            )
        limits = None if facts_of(layer.kind).recurrent else BOUNDS.get(layer.activation or "")
        return Activation(layer.address, layer.kind, values, axes, self._signs.get(ref.node), digest, bounds=limits)

    def _is_scores(self, ref: TensorRef | InnerRef) -> bool:
        return isinstance(ref, TensorRef) and is_scores(
            self._graph.entries[self._graph.nodes[ref.node].entry], ref.output
        )

    def _step_order(self, cut: SubModel, address: str, layer: LayerInfo) -> str:
        """Return how the steps of an output follow those of the input; see `records.STEP_ORDERS`."""
        ref = cut.wanted[address]
        if self._is_scores(ref):
            return joined(self._orders[source.node] for source in refs(self._graph.nodes[ref.node].args))
        if "step" not in layer.axes:
            return FORWARD
        order = self._orders[ref.node]
        if not isinstance(ref, InnerRef):
            return order
        node = self._graph.nodes[ref.node]
        before = turned(order) if reverses(self._graph.entries[node.entry], node) else order
        return turned(before) if (ref.node, ref.path) in cut.reversed_steps else before

    def _plan(self, addresses: tuple[str, ...]) -> SubModel:
        from actviz.formats.keras.submodel import SubModel

        wanted = {address: self._ref(address) for address in addresses}
        steps = self._graph.ancestors([ref.node for ref in wanted.values()])
        return SubModel(self._graph, self._file.name, steps, wanted, self._file.weights, self._custom)

    def _ref(self, address: str) -> TensorRef | InnerRef:
        return self._outputs[address]

    def _make_facts(self, parameters: Mapping[str, int] | None = None) -> ModelFacts:
        self._outputs: dict[str, TensorRef | InnerRef] = {}
        layers = tuple(self._every_layer(parameters or {}))
        specs = tuple(self._input(number) for number in self._graph.inputs)
        return ModelFacts(
            file=self._file.name,
            format=self._file.format,
            writer=self._file.writer,
            names=self._names(),
            inputs=specs,
            layers=layers,
            operations=tuple(operations_of(self._graph, specs, self._statistics)),
            code=self._file.configuration.code,
            digest=self._file.configuration.digest,
        )

    def _every_layer(self, parameters: Mapping[str, int]) -> Iterator[LayerInfo]:
        """Yield every addressable output: those of calls, and of nested models after them."""
        given: dict[int, list[tuple[str, ModelCallOutputs]]] = {}
        ends: dict[int, list[tuple[str, ModelCallOutputs]]] = {}
        for address, result in self._graph.arguments.items():
            given.setdefault(result.after, []).append((address, result))
        for address, result in self._graph.results.items():
            ends.setdefault(result.after, []).append((address, result))
        for number, node in enumerate(self._graph.nodes):
            for address, result in given.get(number, ()):
                yield from self._model(address, result)
            entry = self._graph.entries[node.entry]
            count = self._graph.output_count(number, output_count(entry.kind, entry.config))
            yield from self._layers_inside(number, parameters)
            for output in range(count):
                address = node.address if count == 1 else f"{node.address}@{output}"
                self._outputs[address] = TensorRef(number, output)
                yield self._layer(address, TensorRef(number, output), parameters)
            if facts_of(entry.kind).attention and not entry.custom:
                yield self._scores(number)
            for address, result in ends.get(number + 1, ()):
                yield from self._model(address, result)

    def _scores(self, number: int) -> LayerInfo:
        """Describe the scores of an attention layer, which its output does not hold."""
        node = self._graph.nodes[number]
        entry = self._graph.entries[node.entry]
        address = f"{node.address}@scores"
        self._outputs[address] = TensorRef(number, SCORES)
        shape = shape_of_scores(node, entry.config, self._known)
        axes = scores_named(entry.config, shape)
        kind = f"{entry.kind} scores"
        return LayerInfo(
            address,
            f"{entry.name}@scores",
            None,
            kind,
            shape,
            self._dtype(TensorRef(number, 0)),
            0,
            axes,
            needs=self._needs[number],
        )

    def _model(self, call: str, result: ModelCallOutputs) -> Iterator[LayerInfo]:
        """Yield the outputs of one call of a nested model, or what one of its inputs is given."""
        for output, ref in enumerate(result.outputs):
            address = call if len(result.outputs) == 1 else f"{call}@{output}"
            self._outputs[address] = ref
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

    def _layers_inside(self, number: int, parameters: Mapping[str, int]) -> Iterator[LayerInfo]:
        """Yield the outputs of the layers inside a wrapper or a custom layer."""
        node = self._graph.nodes[number]
        entry = self._graph.entries[node.entry]
        if not entry.custom and not isinstance(entry.config.get("layer"), dict):
            return
        if number not in self._inside:
            source = next(refs(node.args), None)
            shape = self._known[source][0] if source in self._known else None
            self._inside[number] = wrapped(entry, shape, self._parameters(entry, parameters), self._file.name)
        prefix = "" if entry.position == ROOT else f"{node.address}/"
        for path, layer in self._inside[number].items():
            outputs = layer.outputs or ((None, "float32", ()),)
            for output, (shape, dtype, axes) in enumerate(outputs):
                address = prefix + (path if len(outputs) == 1 else f"{path}@{output}")
                self._outputs[address] = InnerRef(number, path, output)
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
        """Return the number of parameters of all layers in a nested model."""
        counts = [
            self._count(entry)
            for entry in self._graph.entries.values()
            if entry.owner == model or entry.owner.startswith(f"{model}/")
        ]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def _layer(self, address: str, ref: TensorRef, parameters: Mapping[str, int]) -> LayerInfo:
        entry = self._graph.entries[self._graph.nodes[ref.node].entry]
        shape, axes = self._known.get(ref, (None, ()))
        return LayerInfo(
            address=address,
            name=entry.name,
            index=entry.index,
            kind=entry.kind,
            shape=shape,
            dtype=self._dtype(ref),
            parameters=self._parameters(entry, parameters),
            axes=axes,
            activation=activation_of(entry),
            needs=self._needs[ref.node],
        )

    def _parameters(self, entry: LayerNode, counted: Mapping[str, int]) -> int | None:
        return counted[entry.key] if entry.key in counted else self._count(entry)

    def _count(self, entry: LayerNode) -> int | None:
        if entry.kind == "InputLayer":
            return 0
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

    def _dtype(self, ref: TensorRef) -> str:
        entry = self._graph.entries[self._graph.nodes[ref.node].entry]
        declared = self._graph.shapes.get(ref)
        if declared is not None and (entry.kind == "InputLayer" or "dtype" not in entry.config):
            return declared[1]
        dtype = entry.config.get("dtype", "float32")
        name = dtype if isinstance(dtype, str) else "float32"
        return name.removeprefix("mixed_")

    def _input(self, number: int) -> TensorSpec:
        entry = self._graph.entries[self._graph.nodes[number].entry]
        if TensorRef(number, 0) not in self._graph.shapes:
            return TensorSpec(entry.name, (), "float32", ())
        shape, dtype = self._graph.shapes[TensorRef(number, 0)]
        axes = self._known[TensorRef(number, 0)][1]
        text = dtype == "string"
        return TensorSpec(
            entry.name,
            tuple(shape),
            dtype,
            axes,
            limit=None if text else limit_of(self._readers[number]),
            words=words_of(self._readers[number], self._vocabulary),
            split=split_of(self._readers[number]) if text else "",
            least=self._least.get(number, ()),
        )

    def _vocabulary(self, entry: LayerNode) -> list[str] | None:
        """Return a layer's vocabulary; a damaged one is refused when the layer is built."""
        try:
            return self._file.weights.vocabulary(entry)
        except ActvizError:
            return None

    def _statistics(self, entry: LayerNode) -> dict[str, tuple[float, ...]]:
        """Return ``mean`` and ``variance`` of a Normalization; a damaged file is refused when the layer is built."""
        try:
            return self._file.weights.normalisation(entry)
        except ModelError:
            return {}

    def _names(self) -> tuple[str, ...]:
        names = [self._graph.name]
        names += [layer_name(model) for key, (model, owner, _) in self._graph.models.items() if key and not owner]
        return tuple(names)

    def _entry(self, number: int) -> LayerNode:
        return self._graph.entries[self._graph.nodes[number].entry]
