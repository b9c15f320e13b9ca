"""A Keras file as a `Network`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, ModelError, UnsafeError, UsageError, error_of_code, escape
from actviz.formats.axes import axes_of, score_axes
from actviz.formats.file_errors import as_model_error
from actviz.formats.keras.activation_sign import output_bounds, output_signs
from actviz.formats.keras.compiled_graph import patience
from actviz.formats.keras.custom_objects import CustomObjects
from actviz.formats.keras.graph import InnerRef, LayerNode, TensorRef, layer_name, refs
from actviz.formats.keras.input_facts import index_limit, input_readers, known_words, required_inputs, text_split
from actviz.formats.keras.keras_arithmetic import input_operations
from actviz.formats.keras.keras_file import KerasFile, open_keras_file
from actviz.formats.keras.layer_infos import LayerDescriber
from actviz.formats.keras.minimum_size import minimum_sizes, too_small
from actviz.formats.keras.missing_layers import MissingLayers
from actviz.formats.keras.receptive_field import output_geometries
from actviz.formats.keras.shapes import PRE_ACTIVATION, SCORES, infer, is_scores
from actviz.formats.keras.stand_ins import stand_in
from actviz.formats.keras.step_order import combined_order, reversed_order, reverses, step_orders
from actviz.formats.keras.weight_files import NamedWeights
from actviz.formats.left_out import left_out_note, without_refused
from actviz.formats.network_protocol import FileNetwork, check_inputs, input_too_small
from actviz.gate import NO_TRUST, TrustPolicy, well_formed
from actviz.layer_catalogue import facts_of
from actviz.layer_catalogue.activation_functions import BOUNDS
from actviz.records import FORWARD, Activation, Kernel, LayerInfo, ModelFacts, ScoreBatch, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.formats.keras.submodel import SubModel
    from actviz.formats.per_sample import State
    from actviz.records import Shape


class KerasNetwork(FileNetwork):
    """A Functional, Sequential or subclassed model of a `.keras` or `.h5` file, or of a file that is `opened` already.

    Opening only reads the configuration. Keras is imported, and weights are read, when
    activations are requested, and only the calls that these depend on are built.
    """

    def __init__(self, path: Path, trust: TrustPolicy = NO_TRUST, opened: KerasFile | None = None) -> None:
        self._file: KerasFile = opened or open_keras_file(path, trust)
        self._custom = CustomObjects(trust, self._file.configuration.custom, self._file.name)
        self._submodels: dict[tuple[str, ...], SubModel] = {}
        self._many = False
        self._orders: list[str] = []
        self._notes = dict.fromkeys(self._file.notes)
        try:
            self._graph = self._file.configuration.graph
            with well_formed(self._file.name):
                missing, notes = stand_in(self._file)
            self._notes |= dict.fromkeys(notes)
            self._missing = MissingLayers(self._graph, missing, self._file.name)
            if isinstance(self._file.weights, NamedWeights):
                self._file.weights.set_missing(self._missing.keys)
            with well_formed(self._file.name):
                self._known = infer(self._graph)
                self._signs = output_signs(self._graph)
                self._bounds = output_bounds(self._graph)
                self._describer = LayerDescriber(self._file, self._known, required_inputs(self._graph))
                self._minimum = minimum_sizes(self._graph)
                self._readers = input_readers(self._graph)
                self._facts = self._make_facts()
            self._notes |= dict.fromkeys(self._left_out_note())
            self._complete = False
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def facts(self) -> ModelFacts:
        """The facts that are known without running the model.

        Only the code of a custom class knows its inner layers, so it is run here if it is given.
        """
        if any(entry.custom and entry.key not in self._missing.keys for entry in self._graph.entries.values()):
            return self.complete()
        return self._facts

    @property
    def notes(self) -> list[str]:
        """Notes about the file and the weights read so far, each once."""
        return list(self._notes)

    def check_unchanged(self) -> None:
        """Raise ModelChangedError if the file was modified since it was opened."""
        self._file.check_unchanged()

    def complete(self, shapes: Mapping[str, Shape] | None = None) -> ModelFacts:
        """Infer what is not in the file with Keras, without allocating weights, and return the facts.

        These are shapes, parameter counts, and the layers inside custom classes. `shapes` gives
        the shapes of inputs that are not in the file, batch axis first.
        """
        self._set_input_shapes(shapes or {})
        known = all(layer.shape is not None and layer.parameters is not None for layer in self._facts.layers)
        opaque = [
            number
            for number, node in enumerate(self._graph.nodes)
            if self._graph.layer_of(number).custom and self._missing.refusal_of(TensorRef(number, 0)) is None
        ]
        if self._complete or (known and not opaque):
            return self._facts
        with as_model_error(self._file.name):
            return self._infer(opaque)

    def _infer(self, opaque: Sequence[int]) -> ModelFacts:
        inner = self._describer.inner
        submodel = self._submodel(tuple(layer.address for layer in self._facts.layers))
        if any(number not in self._known_inputs() for number in self._graph.inputs):
            submodel.make_layers()
            inner |= {number: submodel.inventory(number) for number in opaque}
            self._facts = self._make_facts()
            return self._facts
        self._add_shapes(submodel.prepare())
        for number, layers in inner.items():
            for path, layer in submodel.inventory(number).items() if layers else ():
                if path in layers and layers[path].parameters is None:
                    layers[path] = replace(layers[path], parameters=layer.parameters)
        inner |= {number: submodel.outline(number) for number in opaque}
        self._complete = True
        self._facts = self._make_facts(submodel.parameters)
        return self._facts

    def _known_inputs(self) -> set[int]:
        return {number for number in self._graph.inputs if TensorRef(number, 0) in self._graph.shapes}

    def _add_shapes(self, inferred: Mapping[TensorRef, tuple[Shape, str]]) -> None:
        """Add the shapes that Keras inferred for tensors without a shape in the file."""
        for ref in self._describer.outputs.values():
            if isinstance(ref, TensorRef) and self._known.get(ref, (None, ()))[0] is None and ref in inferred:
                node, entry = self._graph.nodes[ref.node], self._graph.layer_of(ref.node)
                shape = inferred[ref][0]
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
        self._set_input_shapes({name: values.shape for name, values in batch.items()})
        if addresses is None or not self._describer.outputs.keys() >= set(addresses):
            _ = self.facts  # finds the layers inside custom classes
        # Attention scores need a separate call, so they are only computed on request.
        outputs = [layer.address for layer in self.layers if self._describer.outputs[layer.address].output != SCORES]
        chosen = tuple(outputs if addresses is None else addresses)
        submodel = self._built_submodel(chosen)
        check_inputs(self._file.name, submodel.input_names(), batch)
        self._check_minimum_size(batch, submodel.steps)
        if self._many:
            submodel.patience = patience(len(submodel.steps))
        values = submodel.run(batch, separate=separate, state=state)
        self._notes |= dict.fromkeys(submodel.notes)
        digest = self._file.weights.digest()
        fields = output_geometries(self._graph, self._known, {name: values.shape for name, values in batch.items()})
        layers = {layer.address: layer for layer in (*self.layers, *self._facts.pre_activations)}
        not_called = [address for address in chosen if address not in values]
        if not_called and addresses is not None:
            message = f'{self._file.name}: "{escape(not_called[0], 80)}" gave no value of its own in this forward pass; choose the layer around it.'
            raise ModelError(message)
        return {
            address: replace(
                self._activation(layers[address], submodel.wanted[address], values[address], digest),
                mask=submodel.masks.get(address),
                step_order=self._step_order(submodel, address, layers[address]),
                geometry=fields.get(TensorRef(ref.node, max(ref.output, 0)))
                if isinstance(ref := submodel.wanted[address], TensorRef) and ref.output != SCORES
                else None,
            )
            for address in chosen
            if address in values
        }

    @property
    def has_gradients(self) -> bool:
        """Whether `scores` can compute gradients."""
        return True

    def scores(
        self, batch: Mapping[str, NDArray[Any]], target: str = "", at: str = "", units: Sequence[int] = ()
    ) -> ScoreBatch:
        """Compute the scores of a layer and their gradients; see `actviz.formats.network_protocol.Network.scores`."""
        from actviz.formats.keras.scores import ScoreQuery, compute_scores

        self._set_input_shapes({name: values.shape for name, values in batch.items()})
        target = target or self._output_address()
        addresses = (target, at) if at else (target,)
        # A sub-model that computes more serves, too: the scores of masked inputs are asked for after those with gradients.
        fits = (key for key in self._submodels if target == key[0] and {*addresses} <= {*key})
        known = next((self._submodels[key] for key in fits if {*self._submodels[key].input_names()} <= {*batch}), None)
        submodel = known or self._built_submodel(addresses)
        check_inputs(self._file.name, submodel.input_names(), batch)
        self._check_minimum_size(batch, submodel.steps)
        layers = {layer.address: layer for layer in self.layers}
        of, with_respect_to = submodel.wanted[target], submodel.wanted.get(at)
        if not isinstance(of, TensorRef) or not isinstance(with_respect_to, TensorRef | None):
            message = f'{self._file.name}: "{escape(at if isinstance(of, TensorRef) else target, 80)}" lies inside a custom layer or a wrapper, where no score is differentiated; choose the layer around it.'
            raise UsageError(message)
        with as_model_error(self._file.name, self.check_unchanged):
            query = ScoreQuery(of, target, layers[target].axes, with_respect_to, at, units)
            result = compute_scores(submodel, query, batch)
        activation = None
        if result.values is not None and with_respect_to is not None:
            fields = output_geometries(self._graph, self._known, {name: values.shape for name, values in batch.items()})
            found = self._activation(layers[at], with_respect_to, result.values, self._file.weights.digest())
            activation = replace(found, geometry=fields.get(with_respect_to))
        return ScoreBatch(target, result.scores, result.outputs, result.stripped, activation, result.gradients)

    def _output_address(self) -> str:
        """Return the address of the first output of the model."""
        first = self._graph.outputs[0]
        return next(address for address, ref in self._describer.outputs.items() if ref == first)

    def kernels(self, address: str) -> tuple[Kernel, ...]:
        """Return the kernels or tables of a layer; see `actviz.formats.network_protocol.Network.kernels`."""
        layer = next(layer for layer in self.layers if layer.address == address)
        ref = self._describer.outputs[address]
        entry = self._graph.layer_of(ref.node)
        kind, config = entry.kind, entry.config
        if isinstance(ref, InnerRef) or layer.kind != kind:  # inside a custom layer, or a whole model
            return ()
        while facts_of(kind).wraps in {"step", "whole"}:
            kind, config = config["layer"]["class_name"], config["layer"]["config"]
        axes = facts_of(kind).kernels
        if not axes:
            return ()
        with as_model_error(self._file.name, self.check_unchanged):
            # A checkpoint does not list weights in the order of the layer: biases are known by their rank.
            arrays = [item for item in self._file.weights.arrays(entry) if len(item.shape) == len(axes[0])]
            return tuple(
                Kernel(self._file.weights.read(item), names) for item, names in zip(arrays, axes, strict=False)
            )

    def _built_submodel(self, addresses: tuple[str, ...]) -> SubModel:
        """Return the sub-model of some layers with its weights; only the last is cached."""
        if addresses not in self._submodels:
            submodel = self._submodel(addresses)
            self._orders = step_orders(self._graph, self._known)
            with as_model_error(self._file.name, self.check_unchanged):
                submodel.build()
            self._submodels = {addresses: submodel}
            self._notes |= dict.fromkeys(submodel.notes)
            self.check_unchanged()
        return self._submodels[addresses]

    def _check_minimum_size(self, batch: Mapping[str, NDArray[Any]], steps: Sequence[int]) -> None:
        """Raise InputError for inputs that are smaller than the windows of the requested layers."""
        if not self._minimum:
            return
        names = {number: self._graph.layer_of(number).name for number in self._graph.inputs}
        given = {number: (None, *batch[name].shape[1:]) for number, name in names.items() if name in batch}
        for number, axis, minimum in too_small(self._graph, given, steps)[:1]:
            unit = self._known[TensorRef(number, 0)][1][axis : axis + 1]
            raise input_too_small(self._file.name, names[number], given[number][axis], unit, minimum)

    def expect_many(self) -> None:
        """Compile the model after fewer batches, because many will follow."""
        self._many = True

    def _set_input_shapes(self, shapes: Mapping[str, Shape]) -> None:
        """Set the shapes of inputs that are not in the file, batch axis first."""
        for number in set(self._graph.inputs) - self._known_inputs():
            entry = self._graph.layer_of(number)
            if entry.name in shapes:
                shape = (None, *shapes[entry.name][1:])
                entry.config["batch_shape"] = list(shape)
                self._graph.shapes[TensorRef(number, 0)] = (shape, "float32")
                self._known[TensorRef(number, 0)] = (shape, axes_of("InputLayer", {}, shape, []))

    def _activation(self, layer: LayerInfo, ref: TensorRef | InnerRef, values: NDArray[Any], digest: str) -> Activation:
        axes = layer.axes
        if self._is_scores(ref):
            scores = score_axes(values.ndim)
            return Activation(layer.address, layer.kind, values, scores, None, digest, bounds=BOUNDS["softmax"])
        if len(axes) != values.ndim:
            axes = axes_of(layer.kind, {}, values.shape, [])
        if ref.output == PRE_ACTIVATION:
            return Activation(layer.address, layer.kind, values, axes, True, digest)  # noqa: FBT003  (signed)
        if isinstance(ref, TensorRef):
            limits = self._bounds.get(ref.node)
        else:
            limits = None if facts_of(layer.kind).recurrent else BOUNDS.get(layer.activation or "")
        return Activation(layer.address, layer.kind, values, axes, self._signs.get(ref.node), digest, bounds=limits)

    def _is_scores(self, ref: TensorRef | InnerRef) -> bool:
        return isinstance(ref, TensorRef) and is_scores(self._graph.layer_of(ref.node), ref.output)

    def _step_order(self, submodel: SubModel, address: str, layer: LayerInfo) -> str:
        """Return the step order of an output; see `records.STEP_ORDERS`."""
        ref = submodel.wanted[address]
        if self._is_scores(ref):
            return combined_order(self._orders[source.node] for source in refs(self._graph.nodes[ref.node].args))
        if "step" not in layer.axes:
            return FORWARD
        order = self._orders[ref.node]
        if not isinstance(ref, InnerRef):
            return order
        node = self._graph.nodes[ref.node]
        before = reversed_order(order) if reverses(self._graph.layer_of(ref.node), node) else order
        return reversed_order(before) if (ref.node, ref.path) in submodel.reversed_steps else before

    def _submodel(self, addresses: tuple[str, ...]) -> SubModel:
        from actviz.formats.keras.submodel import SubModel

        wanted = {address: self._describer.outputs[address] for address in addresses}
        if not wanted and self._facts.refusals:
            raise error_of_code(*next(iter(self._facts.refusals.values())))
        steps = self._graph.ancestors([ref.node for ref in wanted.values()])
        self._missing.check(steps)
        return SubModel(self._graph, self._file.name, steps, self._file.weights, self._custom, wanted=wanted)

    def _make_facts(self, parameters: Mapping[str, int] | None = None) -> ModelFacts:
        layers = self._describer.describe(parameters or {})
        specs = tuple(self._input(number) for number in self._graph.inputs)
        facts = ModelFacts(
            file=self._file.name,
            format=self._file.format,
            writer=self._file.writer,
            names=self._names(),
            inputs=specs,
            layers=layers,
            pre_activations=tuple(
                item
                for item in self._describer.pre_activations
                if not self._missing.refusal_of(self._describer.outputs[item.address])
            ),
            operations=tuple(input_operations(self._graph, specs, self._statistics)),
            code=self._file.configuration.code,
            digest=self._file.configuration.digest,
            weights=self._file.weights_name,
            missing=tuple(dict.fromkeys(item.code for item in self._missing.objects)),
        )
        outputs = self._describer.outputs
        refused = {layer.address: self._missing.refusal_of(outputs[layer.address]) for layer in layers}
        return without_refused(facts, {address: error for address, error in refused.items() if error is not None})

    def _left_out_note(self) -> list[str]:
        """Return the note about layers whose code is not given, if there are any."""
        lambdas = any(item.error is UnsafeError for item in self._missing.objects)
        others = any(item.named for item in self._missing.objects)
        remedies = ["give it with --custom-objects"] * others + ["--allow-code runs that of a Lambda"] * lambdas
        note = left_out_note(self._facts, self._facts.missing, ", or ".join(remedies) or "update actviz")
        return [note] if note else []

    def _input(self, number: int) -> TensorSpec:
        entry = self._graph.layer_of(number)
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
            limit=None if text else index_limit(self._readers[number]),
            words=known_words(self._readers[number], self._vocabulary),
            split=text_split(self._readers[number]) if text else "",
            least=self._minimum.get(number, ()),
        )

    def _vocabulary(self, entry: LayerNode) -> list[str] | None:
        """Return the vocabulary of a layer; errors are reported when the layer is built."""
        try:
            return self._file.weights.vocabulary(entry)
        except ActvizError:
            return None

    def _statistics(self, entry: LayerNode) -> dict[str, tuple[float, ...]]:
        """Return ``mean`` and ``variance`` of a Normalization; errors are reported when the layer is built."""
        try:
            return self._file.weights.normalisation(entry)
        except ModelError:
            return {}

    def _names(self) -> tuple[str, ...]:
        names = [self._graph.name]
        names += [layer_name(model) for key, (model, owner, _) in self._graph.models.items() if key and not owner]
        return tuple(names)
