"""A SavedModel or a frozen graph without Keras layers as a `Network`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actviz.formats.axes import axes_of, score_axes
from actviz.formats.file_errors import as_model_error
from actviz.formats.keras.graph import quoted
from actviz.formats.keras.step_order import Operation, operation_step_orders, reverses_steps
from actviz.formats.network_protocol import FileNetwork, check_inputs, input_too_small
from actviz.formats.per_sample import concat_batch, random_note, sample_seed, split_batch
from actviz.formats.savedmodel.dtypes import dtype_of, shape_at
from actviz.formats.savedmodel.graph_arithmetic import input_operations
from actviz.formats.savedmodel.graph_input_facts import input_facts
from actviz.formats.savedmodel.graph_minimum_size import minimum_shape, runs, topological_order
from actviz.formats.savedmodel.graph_scores import NoGradientError, ScoreGradient, before_final
from actviz.formats.savedmodel.inline import VARIABLES
from actviz.formats.savedmodel.kernels import kernel_tensors, named_kernel
from actviz.formats.savedmodel.layer_class import PASSED, activation_of, axes_at, bounds_at, infer_layer_class, sign_of
from actviz.formats.savedmodel.lookup_tables import constant
from actviz.formats.savedmodel.lowered_flow import ENTER, EXIT, SEQUENCES, WHILE, WHOLE
from actviz.formats.savedmodel.name_scopes import CONSTANTS, ScopeAddress, ScopeLayers
from actviz.formats.savedmodel.proto import attribute_shape, constant_shape
from actviz.formats.savedmodel.subgraph import Subgraph, check_changes, extract_subgraph
from actviz.formats.score_axes import check_units, mean_scores, no_gradient, score_axis, units_of
from actviz.records import FORWARD, PRE, Activation, LayerInfo, ModelFacts, ScoreBatch, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.formats.per_sample import State
    from actviz.formats.savedmodel.execute import SubgraphRunner
    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor
    from actviz.formats.savedmodel.proto import GraphNode
    from actviz.formats.savedmodel.source import GraphInput, GraphSource
    from actviz.records import Kernel, Shape
SCORES = "@scores"
"""The end of the address of the scores of an attention layer, which are not part of its output."""


class GraphNetwork(FileNetwork):
    """The graph of one signature, with layers recovered from the names of its operations.

    Opening only reads the graph. TensorFlow is imported, and variables are read, when
    activations are requested, and only for the operations that these depend on.
    """

    def __init__(self, source: GraphSource) -> None:
        self._source = source
        self._notes: list[str] = []
        self._name = source.name
        self._flat: InlinedGraph = source.flat
        self._inputs = source.inputs
        self._runners: dict[tuple[str, ...], tuple[Subgraph, SubgraphRunner]] = {}
        self._fed = frozenset(item.number for item in self._inputs)
        self._shapes: dict[str, Shape | None] = {}
        self._complete = False
        self._orders: dict[int, str] | None = None
        try:
            self._numbers = self._flat.ancestors(source.outputs)
            self._layers = ScopeLayers(self._flat, self._numbers, source.outputs)
            self._needs = self._required_inputs()
            self._facts = self._make_facts()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files."""
        self._source.close()

    def check_unchanged(self) -> None:
        """Raise ModelChangedError if a file was modified since it was opened."""
        self._source.check_unchanged()

    @property
    def notes(self) -> list[str]:
        """Notes about the weights and operations read so far, each once."""
        nonfinite = self._source.nonfinite_message()
        if nonfinite:
            self._notes.append(f"{self._source.name}: the variables hold {nonfinite}.")
        return list(self._notes)

    def prepare(self) -> None:
        """Import TensorFlow."""
        import tensorflow as tf

        del tf

    @property
    def facts(self) -> ModelFacts:
        """The facts that are known without running the graph."""
        return self._facts

    def complete(self, shapes: Mapping[str, Shape] | None = None) -> ModelFacts:
        """Infer the shapes that are not in the file with TensorFlow, and return the facts.

        `shapes` gives the shapes of inputs that are not in the file, batch axis first.
        """
        self._set_input_shapes(shapes or {})
        if self._complete or all(layer.shape is not None for layer in self._facts.layers if not layer.inner):
            return self._facts
        if all(item.shape is not None for item in self._inputs):
            chosen = [address for address, scope in self._layers.addresses.items() if not scope.inner]
            _, runner = self._runner_for(tuple(chosen))
            self._shapes |= {address: shape for address, (shape, _) in zip(chosen, runner.shapes, strict=True)}
            self._complete = True
            self._facts = self._make_facts()
        return self._facts

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
        if addresses is None:
            layers = [layer for layer in self.layers if not layer.inner]
            addresses = [layer.address for layer in layers if not layer.address.endswith(SCORES)]
        chosen = tuple(addresses)
        subgraph, runner = self._runner_for(chosen)
        needed = [item.name for item in self._inputs if subgraph.given.get(item.number) == "input"]
        check_inputs(self._name, needed, batch)
        fed = {name: batch[name] for name in needed}
        self._check_minimum_size(fed, subgraph.numbers)
        if separate or state != "file" or runner.alone:
            values = self._run_per_sample(runner, fed, state)
        else:
            values = self._run_batch(runner, fed)
        known = {layer.address: layer for layer in (*self.layers, *self._facts.pre_activations)}
        digest = self._source.weights_digest()
        return {
            address: self._activation(known[address], array, digest)
            for address, array in zip(chosen, values, strict=True)
        }

    @property
    def has_gradients(self) -> bool:
        """Whether `scores` can compute gradients: of the operations that have them."""
        return True

    def scores(
        self, batch: Mapping[str, NDArray[Any]], target: str = "", at: str = "", units: Sequence[int] = ()
    ) -> ScoreBatch:
        """Compute the scores of a layer and their gradients; see `actviz.formats.network_protocol.Network.scores`."""
        import numpy as np

        self._set_input_shapes({name: values.shape for name, values in batch.items()})
        target = target or next(layer.address for layer in reversed(self.layers) if not layer.inner)
        known = {layer.address: layer for layer in self.layers}
        before, name = before_final(self._flat, self._tensor(target))
        tensors = [self._tensor(target), before, *([self._tensor(at)] if at else [])]
        axes = known[target].axes
        gradient = ScoreGradient(score_axis(axes, len(axes) or 2)) if at and units else None
        key = (target, at, "gradient" if gradient else "scores")
        try:
            subgraph, runner = self._runner_for(key, tensors, gradient)
        except NoGradientError as failure:
            raise no_gradient(self._name, target, at, str(failure)) from None
        needed = [item.name for item in self._inputs if subgraph.given.get(item.number) == "input"]
        check_inputs(self._name, needed, batch)
        fed = {name: batch[name] for name in needed}
        self._check_minimum_size(fed, subgraph.numbers)
        if subgraph.draws:
            runner.begin(sample_seed(fed))
        output, values, *rest = self._run_batch(runner, fed, units if gradient else ())
        axis = score_axis(axes, output.ndim)
        scores = mean_scores(values, score_axis(axes, values.ndim))
        if gradient is not None:
            check_units(target, scores.shape[1], units_of(scores, units))
        activation = self._activation(known[at], rest[0], self._source.weights_digest()) if at else None
        gradients = np.asarray(rest[1]) if gradient is not None else None
        return ScoreBatch(target, scores, mean_scores(output, axis), name, activation, gradients)

    def kernels(self, address: str) -> tuple[Kernel, ...]:
        """Return the kernels or tables of a layer; see `actviz.formats.network_protocol.Network.kernels`."""
        scope = self._layers.addresses.get(address)
        if scope is None or scope.model:
            return ()
        with as_model_error(self._name, self.check_unchanged):
            found = kernel_tensors(self._flat, scope.nodes)
            read = [(self._weight(tensor), axes) for tensor, axes in found.items()]
        return tuple(named_kernel(values, axes) for values, axes in read if values is not None)

    def _weight(self, tensor: Tensor) -> NDArray[Any] | None:
        """Return the value of a variable or a constant, ``None`` for a computed tensor."""
        if self._flat.nodes[tensor[0]].op in VARIABLES:
            return self._source.value(tensor[0])
        return constant(self._flat, tensor)

    def _check_minimum_size(self, batch: Mapping[str, NDArray[Any]], numbers: Sequence[int]) -> None:
        """Raise InputError for inputs that are smaller than the windows of the graph."""
        for item, spec in zip(self._inputs, self._facts.inputs, strict=True):
            if not spec.least or item.name not in batch or item.shape is None:
                continue
            given = (None, *batch[item.name].shape[1:])
            if runs(self._flat, {item.number: given}, topological_order(self._flat, numbers)):
                continue
            minimum = minimum_shape(self._flat, item.number, item.shape, numbers)
            for axis, (size, needed) in enumerate(zip(given, minimum, strict=False)):
                if needed is not None and size is not None and size < needed:
                    raise input_too_small(self._name, item.name, size, spec.axes[axis : axis + 1], needed)

    def _run_per_sample(
        self, runner: SubgraphRunner, batch: Mapping[str, NDArray[Any]], state: State
    ) -> list[NDArray[Any]]:
        """Run each sample by itself, as a batch of copies if the graph has a fixed batch size."""
        results: list[list[NDArray[Any]]] = []
        for index, sample in enumerate(split_batch(batch)):
            if state == "file" or (state == "first" and index == 0):
                runner.begin(sample_seed(sample))
            results.append(self._run_batch(runner, sample))
        return [concat_batch(parts) for parts in zip(*results, strict=True)]

    def _run_batch(
        self, runner: SubgraphRunner, batch: Mapping[str, NDArray[Any]], units: Sequence[int] = ()
    ) -> list[NDArray[Any]]:
        """Run a batch, in parts of the batch size of the graph if that is fixed."""
        import numpy as np

        fixed = {item.batch for item in self._inputs if item.batch is not None and item.name in batch}
        counts = {len(array) for array in batch.values()}
        if len(fixed) != 1 or len(counts) != 1 or fixed == counts:
            return runner.run(batch, units)
        size, count = fixed.pop(), counts.pop()
        pieces = []
        for start in range(0, count, size):
            indices = [min(index, count - 1) for index in range(start, start + size)]
            part = {name: array[indices] for name, array in batch.items()}
            pieces.append(runner.run(part, [units[index] for index in indices] if units else ()))
        whole = [
            np.concatenate(parts) if parts[0].ndim and len(parts[0]) == size else parts[0]
            for parts in zip(*pieces, strict=True)
        ]
        return [array[:count] if array.ndim and len(array) >= count else array for array in whole]

    def _activation(self, layer: LayerInfo, values: NDArray[Any], digest: str) -> Activation:
        scope = self._layers.addresses.get(layer.address)
        axes = layer.axes
        if len(axes) != values.ndim:
            axes = axes_at(self._flat, scope.nodes if scope else (), layer.kind, values.shape)
            axes = score_axes(values.ndim) if layer.address.endswith(SCORES) else axes
        signed = sign_of(self._flat, scope.tensor) if scope else None
        order = self._step_orders().get(scope.tensor[0], FORWARD) if scope and "step" in axes else FORWARD
        bounds = bounds_at(self._flat, scope.tensor) if scope else None
        return Activation(layer.address, layer.kind, values, axes, signed, digest, bounds=bounds, step_order=order)

    def _step_orders(self) -> dict[int, str]:
        """Return the step order of the output of every node that depends on an input; see `records.STEP_ORDERS`."""
        if self._orders is None:
            nodes = self._flat.nodes
            operations = {
                number: Operation(nodes[number].op, self._sequences_read(number), self._reverses(number))
                for number in self._numbers
            }
            self._orders = operation_step_orders(operations, self._fed)
        return self._orders

    def _sequences_read(self, number: int) -> list[int]:
        """Return the nodes whose steps a node reads; for a loop those of its tensor lists, because states have no steps."""
        nodes, flow = self._flat.nodes, self._layers.flow
        if number in flow.valueless:
            return []
        sources = [source for source, _ in nodes[number].inputs]
        if nodes[number].op in EXIT:
            sources = flow.sequences_read(number)
        lists = [source for source in sources if nodes[source].op in SEQUENCES]
        return lists or sources

    def _reverses(self, number: int) -> bool:
        node = self._flat.nodes[number]
        if node.op != "ReverseV2" or len(node.inputs) != 2:  # noqa: PLR2004  (values, axes)
            return False
        axes = constant(self._flat, node.inputs[1])
        shape = shape_at(node.node, 0)
        return axes is not None and reverses_steps(axes.ravel().tolist(), None if shape is None else len(shape))

    def _runner_for(
        self, addresses: tuple[str, ...], tensors: Sequence[Tensor] = (), gradient: ScoreGradient | None = None
    ) -> tuple[Subgraph, SubgraphRunner]:
        """Return the subgraph of some layers, or tensors, and its runner; only the last is cached."""
        if addresses not in self._runners:
            wanted = list(tensors) or [self._tensor(address) for address in addresses]
            with as_model_error(self._name, self.check_unchanged):
                subgraph, runner = self._build_runner(wanted, gradient)
            notes = random_note(self._name, subgraph.random(fixed=False), subgraph.random(fixed=True))
            self._notes += [note for note in notes if note not in self._notes]
            self.check_unchanged()
            self._runners = {addresses: (subgraph, runner)}
        return self._runners[addresses]

    def _build_runner(
        self, tensors: Sequence[Tensor], gradient: ScoreGradient | None
    ) -> tuple[Subgraph, SubgraphRunner]:
        from actviz.formats.savedmodel.execute import SubgraphRunner

        subgraph = extract_subgraph(self._flat, tensors, self._fed, self._source.called)
        check_changes(self._flat, self._source.called, subgraph.numbers)
        given = subgraph.given
        inputs = {
            item.name: (item.number, item.dtype, _declared_shape(item))
            for item in self._inputs
            if given.get(item.number) == "input"
        }
        variables = {number: self._source.value(number) for number, kind in given.items() if kind == "variable"}
        tables = {number: self._source.table(number) for number, kind in given.items() if kind == "table"}
        return subgraph, SubgraphRunner(subgraph, tensors, inputs, variables, tables, gradient)

    def _tensor(self, address: str) -> Tensor:
        if address in self._layers.addresses:
            return self._layers.addresses[address].tensor
        return next((item.number, 0) for item in self._inputs if quoted(item.name) == address)

    def _set_input_shapes(self, shapes: Mapping[str, Shape]) -> None:
        """Set the shapes of inputs whose rank is not in the graph."""
        inputs = tuple(
            replace(item, shape=(None, *shapes[item.name][1:])) if item.shape is None and item.name in shapes else item
            for item in self._inputs
        )
        if inputs != self._inputs:
            self._inputs = inputs
            self._runners = {}

    def _required_inputs(self) -> dict[int, frozenset[str]]:
        """Return the names of the inputs that each node depends on; a node that an input replaces needs no other."""
        readers: dict[int, list[int]] = {}
        for number in self._numbers:
            for source in self._flat.sources(number):
                readers.setdefault(source, []).append(number)
        required: dict[int, set[str]] = {}
        for item in self._inputs:
            todo, seen = [item.number], set[int]()
            while todo:
                number = todo.pop()
                if number not in seen and (number == item.number or number not in self._fed):
                    seen.add(number)
                    required.setdefault(number, set()).add(item.name)
                    todo += readers.get(number, ())
        return {number: frozenset(names) for number, names in required.items()}

    def _make_facts(self) -> ModelFacts:
        specs = tuple(self._spec(item) for item in self._inputs)
        starts = {(item.number, 0): spec for item, spec in zip(self._inputs, specs, strict=True)}
        layers = self._every_layer()
        return ModelFacts(
            file=self._name,
            format=self._source.format,
            writer=self._source.writer,
            names=(self._layers.name,) if self._layers.name else (),
            inputs=specs,
            layers=tuple(layer for layer in layers if not layer.address.endswith(PRE)),
            pre_activations=tuple(self._pre_activation(layer) for layer in layers if layer.address.endswith(PRE)),
            operations=tuple(input_operations(self._flat, starts, self._source.small_value)),
            code=(),
            digest=self._source.digest,
            signatures=self._source.signatures,
        )

    def _spec(self, item: GraphInput) -> TensorSpec:
        if item.shape is None:
            return TensorSpec(item.name, (), item.dtype, ())
        described = input_facts(self._flat, item.number, item.shape, self._source.words)
        return TensorSpec(
            item.name,
            item.shape,
            item.dtype,
            described.axes,
            limit=described.limit,
            words=described.words,
            split=described.split,
            least=minimum_shape(self._flat, item.number, item.shape, self._numbers),
        )

    def _every_layer(self) -> list[LayerInfo]:
        layers = []
        for item in self._inputs:
            address, axes = quoted(item.name), axes_of("InputLayer", {}, item.shape, [])
            if address not in self._layers.addresses:
                layers.append(
                    LayerInfo(
                        address, item.name, None, "InputLayer", item.shape, item.dtype, 0, axes, needs=(item.name,)
                    )
                )
        order = {item.name: index for index, item in enumerate(self._inputs)}
        scopes = sorted(self._layers.addresses.values(), key=lambda scope: (scope.inner, scope.tensor[0]))
        if self._inputs:  # a tensor that depends on no input is a constant, without a batch axis
            scopes = [scope for scope in scopes if self._needs.get(scope.tensor[0])]
        return [*layers, *(self._layer(scope, order) for scope in scopes)]

    def _layer(self, scope: ScopeAddress, order: Mapping[str, int]) -> LayerInfo:
        flat, classes = self._flat, self._source.kinds
        node = flat.nodes[scope.tensor[0]]
        shape = self._shapes.get(scope.address, shape_at(node.node, scope.tensor[1]))
        if shape is not None and any(item.batch is not None and shape[:1] == (item.batch,) for item in self._inputs):
            shape = (None, *shape[1:])
        scores = scope.address.endswith(SCORES)
        if scores:
            kind = f"{classes.get(scope.name.removesuffix(SCORES)) or infer_layer_class(flat, scope.nodes, scope.tensor, None)} scores"
        elif scope.model:
            kind = classes.get(scope.name, "Functional")
        elif scope.inner and len(scope.nodes) == 1:
            kind = node.op
        else:
            kind = classes.get(scope.name.removesuffix(PRE)) or infer_layer_class(
                flat, scope.nodes, scope.tensor, shape
            )
            kind = (kind == "RNN" and self._layers.flow.recurrent_class(scope.nodes)) or kind
        return LayerInfo(
            scope.address,
            scope.name,
            None,
            kind,
            shape,
            dtype_of(node.node, scope.tensor[1]),
            0 if scores else self._parameters(scope),
            (score_axes(len(shape)) if shape else ()) if scores else axes_at(flat, scope.nodes, kind, shape),
            None if scores else activation_of(flat, scope.tensor),
            needs=tuple(sorted(self._needs.get(scope.tensor[0], frozenset()), key=order.__getitem__)),
            inner=scope.inner,
        )

    def _pre_activation(self, layer: LayerInfo) -> LayerInfo:
        """Describe a layer before its activation function by that layer."""
        after = self._layers.addresses[layer.address.removesuffix(PRE)]
        function = activation_of(self._flat, self._flat.origin(after.tensor, PASSED))
        return replace(layer, kind=f"{layer.kind} before {function}", parameters=0, activation="linear")

    def _parameters(self, scope: ScopeAddress) -> int:
        """Return the total size of the variables that a layer reads, or of the constants of a frozen graph."""
        flat = self._flat
        sizes: dict[int, int] = {}
        given_to_loops = {
            source
            for number in scope.nodes
            if flat.nodes[number].op in WHILE | ENTER
            for source in flat.nodes[number].inputs
        }
        for source in {tensor for number in scope.nodes for tensor in flat.nodes[number].inputs}:
            origin, _ = flat.origin(source, {"ReadVariableOp", "Identity"})
            node = flat.nodes[origin]
            if node.op in VARIABLES:
                sizes[origin] = math.prod(size or 0 for size in attribute_shape(node.node, "shape") or ())
            # A frozen variable is still read through an Identity, which may lie inside a loop.
            elif node.op in CONSTANTS and (origin != source[0] or (source in given_to_loops and _is_weight(node.node))):
                sizes[origin] = math.prod(constant_shape(node.node))
        return sum(sizes.values())


def _is_weight(constant_node: GraphNode) -> bool:
    """Return True for a constant of floating-point numbers with an axis, False for a counter or a shape."""
    return dtype_of(constant_node, 0) not in WHOLE and constant_shape(constant_node) != ()


def _declared_shape(item: GraphInput) -> Shape | None:
    """Return the shape that an input is declared with, including a fixed batch size."""
    if item.shape is None:
        return None
    return (item.batch, *item.shape[1:]) if item.batch is not None else item.shape
