"""A SavedModel or a frozen graph without Keras layers as a `Network`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actviz.errors import InputError, escape
from actviz.formats.axes import axes_of
from actviz.formats.keras.graph import quoted
from actviz.formats.keras.step_order import Operation, orders_of, reverses_steps
from actviz.formats.malformed import error_message
from actviz.formats.network_protocol import FileNetwork
from actviz.formats.one_by_one import each_of, joined, random_note, seed_of
from actviz.formats.savedmodel.dtypes import dtype_of, shape_at
from actviz.formats.savedmodel.graph_arithmetic import operations_of
from actviz.formats.savedmodel.graph_input_facts import input_facts
from actviz.formats.savedmodel.graph_least_size import in_order, least_shape, runs
from actviz.formats.savedmodel.layer_class import activation_of, axes_at, bounds_at, kind_of, sign_of
from actviz.formats.savedmodel.lookup_tables import constant
from actviz.formats.savedmodel.name_scopes import ScopeAddress, ScopeLayers
from actviz.formats.savedmodel.proto import attribute_shape, constant_shape
from actviz.formats.savedmodel.subgraph import VARIABLES, Subgraph, check_changes, extract_subgraph
from actviz.records import FORWARD, Activation, LayerInfo, ModelFacts, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.formats.one_by_one import State
    from actviz.formats.savedmodel.execute import SubgraphRunner
    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor
    from actviz.formats.savedmodel.source import GraphInput, GraphSource
    from actviz.records import Shape

CONSTANTS = frozenset({"Const", "HostConst"})


class GraphNetwork(FileNetwork):
    """The graph of one signature, its layers recovered from the names of operations.

    Opening reads the graph only. TensorFlow is imported, and variables are read, when
    activations are asked for: then it gets just the operations that they need.
    """

    def __init__(self, source: GraphSource) -> None:
        self._source = source
        self._notes: list[str] = []
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        """Find the layers of the graph."""
        source = self._source
        self._name = source.name
        self._flat: InlinedGraph = source.flat
        self._inputs = source.inputs
        self._runs: dict[tuple[str, ...], tuple[Subgraph, SubgraphRunner]] = {}
        fed = frozenset(one.number for one in self._inputs)
        self._fed = fed
        whole = self._flat.ancestors(source.outputs)
        self._layers = ScopeLayers(self._flat, whole, source.outputs)
        self._needs = self._reach(whole)
        self._shapes: dict[str, Shape | None] = {}
        self._complete = False
        self._orders: dict[int, str] | None = None
        self._facts = self._make_facts()

    def close(self) -> None:
        """Close the files."""
        self._source.close()

    def check_unchanged(self) -> None:
        """Refuse files that were written to since they were opened."""
        self._source.check_unchanged()

    @property
    def notes(self) -> list[str]:
        """Lines worth saying about what was read so far, each once."""
        found = self._source.not_finite()
        if found:
            self._notes.append(f"{self._source.name}: the variables hold {found}.")
        return list(self._notes)

    def prepare(self) -> None:
        """Import TensorFlow."""
        import tensorflow as tf

        del tf

    @property
    def facts(self) -> ModelFacts:
        """What the file says, as far as it is known without running the graph."""
        return self._facts

    def complete(self, shapes: Mapping[str, Shape] | None = None) -> ModelFacts:
        """Work out the shapes that the file leaves open, by TensorFlow's rules.

        `shapes` gives the shapes of inputs that the file does not tell, batch axis first.
        """
        self._settle(shapes or {})
        if self._complete or all(layer.shape is not None for layer in self._facts.layers if not layer.inner):
            return self._facts
        if all(one.shape is not None for one in self._inputs):
            chosen = [address for address, place in self._layers.places.items() if not place.inner]
            _, running = self._run_of(tuple(chosen))
            found = zip(chosen, running.shapes, strict=True)
            self._shapes |= {address: shape for address, (shape, _) in found}
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
        self._settle({name: values.shape for name, values in batch.items()})
        every = [layer.address for layer in self.layers if not layer.inner]
        chosen = tuple(every if addresses is None else addresses)
        cut, running = self._run_of(chosen)
        needed = {number for number, what in cut.given.items() if what == "input"}
        missing = [one.name for one in self._inputs if one.number in needed and one.name not in batch]
        if missing:
            names = ", ".join(f'"{escape(name, 60)}"' for name in missing)
            message = f"{self._name}: these layers need the input {names}; give it by name."
            raise InputError(message)
        fed = {one.name: batch[one.name] for one in self._inputs if one.number in needed}
        self._check_least(fed, cut.numbers)
        if separate or state != "file" or running.alone:
            values = self._one_by_one(running, fed, state)
        else:
            values = self._values(running, fed)
        known = {layer.address: layer for layer in self.layers}
        digest = self._source.weights_digest()
        return {
            address: self._activation(known[address], array, digest)
            for address, array in zip(chosen, values, strict=True)
        }

    def _check_least(self, batch: Mapping[str, NDArray[Any]], numbers: Sequence[int]) -> None:
        """Refuse inputs into which the windows of the graph do not fit, and say how many steps are needed."""
        for one, spec in zip(self._inputs, self._facts.inputs, strict=True):
            if not spec.least or one.name not in batch or one.shape is None:
                continue
            given = (None, *batch[one.name].shape[1:])
            if runs(self._flat, {one.number: given}, in_order(self._flat, numbers)):
                continue
            least = least_shape(self._flat, one.number, one.shape, numbers)
            for axis, size in enumerate(given):
                needed = least[axis] if axis < len(least) else None
                if needed is not None and size is not None and size < needed:
                    noun = spec.axes[axis] if axis < len(spec.axes) else "value"
                    message = f'{self._name}: the input "{escape(one.name, 60)}" has {size:,} {noun}{"s" if size != 1 else ""}, of which these layers leave nothing; give at least {needed:,}.'
                    raise InputError(message)

    def _one_by_one(
        self, running: SubgraphRunner, batch: Mapping[str, NDArray[Any]], state: State
    ) -> list[NDArray[Any]]:
        """Run each sample by itself, first in a batch of copies of it where the graph was saved for a fixed number."""
        found: list[list[NDArray[Any]]] = []
        for number, sample in enumerate(each_of(batch)):
            if state == "file" or (state == "first" and number == 0):
                running.begin(seed_of(sample))
            found.append(self._values(running, sample))
        return [joined(parts) for parts in zip(*found, strict=True)]

    def _values(self, running: SubgraphRunner, batch: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run a batch, in pieces of the size that the graph was saved for where it is fixed."""
        import numpy as np

        fixed = {one.batch for one in self._inputs if one.batch is not None and one.name in batch}
        counts = {len(array) for array in batch.values()}
        if len(fixed) != 1 or len(counts) != 1 or fixed == counts:
            return running.run(batch)
        size, count = fixed.pop(), counts.pop()
        pieces = []
        for start in range(0, count, size):
            places = [min(place, count - 1) for place in range(start, start + size)]
            pieces.append(running.run({name: array[places] for name, array in batch.items()}))
        whole = [
            np.concatenate(parts) if parts[0].ndim and len(parts[0]) == size else parts[0]
            for parts in zip(*pieces, strict=True)
        ]
        return [array[:count] if array.ndim and len(array) >= count else array for array in whole]

    def _activation(self, layer: LayerInfo, values: NDArray[Any], digest: str) -> Activation:
        place = self._layers.places.get(layer.address)
        axes = layer.axes
        if len(axes) != values.ndim:
            numbers = place.nodes if place else ()
            axes = axes_at(self._flat, numbers, layer.kind, values.shape)
        signed = sign_of(self._flat, place.tensor) if place else None
        order = self._step_orders().get(place.tensor[0], FORWARD) if place and "step" in axes else FORWARD
        bounds = bounds_at(self._flat, place.tensor) if place else None
        return Activation(layer.address, layer.kind, values, axes, signed, digest, bounds=bounds, step_order=order)

    def _step_orders(self) -> dict[int, str]:
        """Return the order of steps behind every node that depends on an input."""
        if self._orders is None:
            nodes = self._flat.nodes
            operations = {
                number: Operation(nodes[number].op, self._sequences_read(number), self._reverses(number))
                for number in self._flat.ancestors(self._source.outputs)
            }
            self._orders = orders_of(operations, self._fed)
        return self._orders

    def _sequences_read(self, number: int) -> list[int]:
        """Return the nodes whose steps a node reads: of a loop those of its lists, as states have none."""
        nodes = self._flat.nodes
        sources = [source for source, _ in nodes[number].inputs]
        lists = [source for source in sources if nodes[source].op == "TensorListFromTensor"]
        return lists or sources

    def _reverses(self, number: int) -> bool:
        node = self._flat.nodes[number]
        if node.op != "ReverseV2" or len(node.inputs) != 2:  # noqa: PLR2004  (values, axes)
            return False
        axes = constant(self._flat, node.inputs[1])
        shape = shape_at(node.node, 0)
        return axes is not None and reverses_steps(axes.ravel().tolist(), None if shape is None else len(shape))

    def _run_of(self, addresses: tuple[str, ...]) -> tuple[Subgraph, SubgraphRunner]:
        """Return the cut of some layers, built once; only the last is kept."""
        if addresses not in self._runs:
            with error_message(self._name, self.check_unchanged):
                built = self._built(addresses)
            found = random_note(self._name, built[0].random(fixed=False), built[0].random(fixed=True))
            self._notes += [note for note in found if note not in self._notes]
            self.check_unchanged()
            self._runs = {addresses: built}
        return self._runs[addresses]

    def _built(self, addresses: tuple[str, ...]) -> tuple[Subgraph, SubgraphRunner]:
        from actviz.formats.savedmodel.execute import SubgraphRunner

        tensors = [self._tensor(address) for address in addresses]
        cut = extract_subgraph(self._flat, tensors, self._fed, self._source.called)
        check_changes(self._flat, self._source.called, cut.numbers)
        inputs = {
            one.name: (one.number, one.dtype, _free(one))
            for one in self._inputs
            if cut.given.get(one.number) == "input"
        }
        variables = {number: self._source.value(number) for number, what in cut.given.items() if what == "variable"}
        tables = {number: self._source.table(number) for number, what in cut.given.items() if what == "table"}
        return cut, SubgraphRunner(cut, tensors, inputs, variables, tables)

    def _tensor(self, address: str) -> Tensor:
        place = self._layers.places.get(address)
        if place is not None:
            return place.tensor
        return next((one.number, 0) for one in self._inputs if quoted(one.name) == address)

    def _settle(self, shapes: Mapping[str, Shape]) -> None:
        """Take the shapes of inputs whose rank the graph leaves open."""
        settled = tuple(
            replace(one, shape=(None, *shapes[one.name][1:])) if one.shape is None and one.name in shapes else one
            for one in self._inputs
        )
        if settled != self._inputs:
            self._inputs = settled
            self._runs = {}

    def _reach(self, numbers: Sequence[int]) -> dict[int, frozenset[str]]:
        """Return for each node the inputs that it depends on; what one replaces needs nothing before it."""
        readers: dict[int, list[int]] = {}
        for number in numbers:
            for source in self._flat.sources(number):
                readers.setdefault(source, []).append(number)
        found: dict[int, set[str]] = {}
        for one in self._inputs:
            todo, seen = [one.number], set[int]()
            while todo:
                number = todo.pop()
                if number not in seen and (number == one.number or number not in self._fed):
                    seen.add(number)
                    found.setdefault(number, set()).add(one.name)
                    todo += readers.get(number, ())
        return {number: frozenset(names) for number, names in found.items()}

    def _make_facts(self) -> ModelFacts:
        specs = tuple(self._spec(one) for one in self._inputs)
        starts = {(one.number, 0): spec for one, spec in zip(self._inputs, specs, strict=True)}
        return ModelFacts(
            file=self._name,
            format=self._source.format,
            writer=self._source.writer,
            names=(self._layers.name,) if self._layers.name else (),
            inputs=specs,
            layers=tuple(self._every_layer()),
            operations=tuple(operations_of(self._flat, starts, self._source.small_value)),
            code=(),
            digest=self._source.digest,
        )

    def _spec(self, one: GraphInput) -> TensorSpec:
        if one.shape is None:
            return TensorSpec(one.name, (), one.dtype, ())
        found = input_facts(self._flat, one.number, one.shape, self._source.words)
        return TensorSpec(
            one.name,
            one.shape,
            one.dtype,
            found.axes,
            limit=found.limit,
            words=found.words,
            split=found.split,
            least=least_shape(self._flat, one.number, one.shape, self._flat.ancestors(self._source.outputs)),
        )

    def _every_layer(self) -> list[LayerInfo]:
        layers = []
        for one in self._inputs:
            shape = one.shape
            axes = axes_of("InputLayer", {}, shape, [])
            address = quoted(one.name)
            if address not in self._layers.places:
                layers.append(
                    LayerInfo(address, one.name, None, "InputLayer", shape, one.dtype, 0, axes, needs=(one.name,))
                )
        order = {one.name: place for place, one in enumerate(self._inputs)}
        places = sorted(self._layers.places.values(), key=lambda place: (place.inner, place.tensor[0]))
        if self._inputs:  # what depends on no input is a constant, whose first axis is not that of the samples
            places = [place for place in places if self._needs.get(place.tensor[0])]
        layers += [self._layer(place, order) for place in places]
        return layers

    def _layer(self, place: ScopeAddress, order: Mapping[str, int]) -> LayerInfo:
        flat = self._flat
        node = flat.nodes[place.tensor[0]]
        shape = self._shapes.get(place.address, shape_at(node.node, place.tensor[1]))
        if shape is not None and any(one.batch is not None and shape[:1] == (one.batch,) for one in self._inputs):
            shape = (None, *shape[1:])
        single = len(place.nodes) == 1 and place.inner
        kind = (
            node.op if single else self._source.kinds.get(place.name) or kind_of(flat, place.nodes, place.tensor, shape)
        )
        if place.model:
            kind = self._source.kinds.get(place.name, "Functional")
        axes = axes_at(flat, place.nodes, kind, shape)
        needs = self._needs.get(place.tensor[0], frozenset())
        return LayerInfo(
            place.address,
            place.name,
            None,
            kind,
            shape,
            dtype_of(node.node, place.tensor[1]),
            self._parameters(place),
            axes,
            activation_of(flat, place.tensor),
            needs=tuple(sorted(needs, key=order.__getitem__)),
            inner=place.inner,
        )

    def _parameters(self, place: ScopeAddress) -> int:
        """Count the numbers in the variables, or constants in their place, that a layer reads."""
        flat = self._flat
        found: dict[int, int] = {}
        for number in place.nodes:
            for source, _ in flat.nodes[number].inputs:
                behind = source
                while flat.nodes[behind].op in {"ReadVariableOp", "Identity"} and flat.nodes[behind].inputs:
                    behind = flat.nodes[behind].inputs[0][0]
                node = flat.nodes[behind]
                if node.op in VARIABLES:
                    found[behind] = math.prod(size or 0 for size in attribute_shape(node.node, "shape") or ())
                elif node.op in CONSTANTS and behind != source:  # a variable that was frozen is still read by name
                    found[behind] = math.prod(constant_shape(node.node))
        return sum(found.values())


def _free(one: GraphInput) -> Shape | None:
    """Return the shape that an input is declared with: as the graph fixes it."""
    if one.shape is None:
        return None
    return (one.batch, *one.shape[1:]) if one.batch is not None else one.shape
