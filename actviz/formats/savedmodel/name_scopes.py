"""Recover layers from the name scopes of a graph's operations.

Keras names operations ``model/outer/conv2/Relu``: the model, the layers from the outermost to
the innermost, the operation. The tensor that leaves a scope is the output of the layer of that
name. A scope that several tensors leave has no address; its operations have.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from actviz.errors import LimitError
from actviz.formats.keras.graph import quoted
from actviz.formats.savedmodel.attention_scores import scores_of
from actviz.formats.savedmodel.dtypes import dtype_of, shape_at
from actviz.formats.savedmodel.inline import VARIABLES
from actviz.formats.savedmodel.layer_class import pre_activation
from actviz.formats.savedmodel.lowered_flow import EXIT, WHILE, LoweredFlow, while_states
from actviz.gate.traversal import reachable
from actviz.records import PRE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor

# Operations that supply values or handles to a graph; none is the output of a layer.
NON_COMPUTING = frozenset(
    {
        "Const", "HostConst", "VarHandleOp", "ReadVariableOp", "VariableV2", "Variable", "Placeholder", "PlaceholderV2",
        "PlaceholderWithDefault", "NoOp", "HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2",
        "MutableHashTableOfTensors", "MutableHashTableOfTensorsV2", "VarIsInitializedOp", "Assert", "DisableCopyOnRead",
    }
)  # fmt: skip
CONSTANTS = frozenset({"Const", "HostConst"})
LAST_KERAS2_PRODUCER = 1645
"""The version of graphs that TensorFlow 2.15 writes; a frozen graph has no other."""
MAX_SCOPE_DEPTH = 100
NUMBERED = re.compile(r"(.+)_(\d+)")
# Operations that pass on a value, some after a check; none is shown as a layer.
PASSING = frozenset(
    {
        "Identity",
        "IdentityN",
        "CheckNumerics",
        "CheckNumericsV2",
        "EnsureShape",
        "Snapshot",
        "StopGradient",
        "PreventGradient",
    }
)
VARIABLE_READS = frozenset({"ReadVariableOp", "Identity", "DisableCopyOnRead"})
REVERSALS = frozenset({"ReverseV2", "Reverse"})
NOT_VALUES = frozenset({"resource", "variant", ""})


@dataclass(frozen=True, slots=True)
class ScopeAddress:
    """One address: its tensor, and the nodes of the layer.

    `inner` marks addresses inside a layer: single operations, and scopes that name parts of a
    computation. `name` is the name of the layer; `model` marks a nested model.
    """

    address: str
    name: str
    tensor: Tensor
    nodes: tuple[int, ...]
    inner: bool
    model: bool = False


@dataclass
class NameScope:
    """One name scope: the nodes directly in it and its inner scopes, in the order of the file."""

    name: str
    nodes: list[int] = field(default_factory=list)
    children: dict[str, NameScope] = field(default_factory=dict)

    def all_nodes(self) -> list[int]:
        """Return the nodes at any depth, in the order of the file."""
        return sorted([*self.nodes, *(number for child in self.children.values() for number in child.all_nodes())])

    def first_node(self) -> int:
        """Return the first of the nodes at any depth."""
        return min(self.all_nodes())


@dataclass
class ScopeLayers:
    """The addresses of a graph, by name scope.

    `numbers` are the nodes that the outputs depend on, `outputs` the output tensors of the
    signature.
    """

    flat: InlinedGraph
    numbers: Sequence[int]
    outputs: Sequence[Tensor]
    addresses: dict[str, ScopeAddress] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        """Collect the addresses."""
        self._readers: dict[Tensor, list[int]] = {}
        for number in self.numbers:
            for tensor in self.flat.nodes[number].inputs:
                self._readers.setdefault(tensor, []).append(number)
        self._ends = frozenset(self.outputs)
        self.flow = LoweredFlow(self.flat)
        self._frozen_reads = self._find_frozen_reads()
        self._used: dict[int, set[Tensor]] = {number: set() for number in self.numbers}
        for tensor in [*self._readers, *self._ends]:
            self._used.setdefault(tensor[0], set()).add(tensor)
        root = self._root()
        self.name, top = _model_scope(root)
        self._numbered = self._is_numbered(self.name, top)
        if self._numbered:
            self.name = _strip_number(self.name)
        outside = sorted(number for number in root.nodes if root is not top)
        self._add_layers(top, "", listed=True)
        self._add_operations(outside, "")
        self._add_operations(top.nodes, "", listed=True)
        self._put_backward_layers_in_order()

    def _put_backward_layers_in_order(self) -> None:
        """Replace the output of the backward layer of a Bidirectional by its reversal: in the order of the input."""
        for address, item in self.addresses.items():
            readers = set(self._readers.get(item.tensor, ()))
            if not item.name.startswith("backward_") or len(readers) != 1 or item.tensor in self._ends:
                continue
            reader = readers.pop()
            if self.flat.nodes[reader].op in REVERSALS and reader not in item.nodes:
                self.addresses[address] = replace(item, tensor=(reader, 0))

    def _root(self) -> NameScope:
        """Return the tree of scopes of all computing nodes.

        Every scope is visited together with all scopes inside it (900 levels took 10 s), so the depth is limited.
        """
        nodes = self.flat.nodes
        computing = [number for number in self.numbers if not self._supplies(number)]
        prefixes = {nodes[number].path.rpartition("/")[0] for number in computing}
        root = NameScope("")
        for number in computing:
            path = nodes[number].path
            parts = path.split("/")
            if path not in prefixes:
                parts.pop()  # an operation with the name of a scope is in that scope
            if len(parts) > MAX_SCOPE_DEPTH:
                message = f"{self.flat.file}: the names of the graph are nested more than {MAX_SCOPE_DEPTH} deep; the file is damaged or hostile."
                raise LimitError(message)
            scope = root
            for part in parts:
                scope = scope.children.setdefault(part, NameScope(part))
            scope.nodes.append(number)
        return root

    def _find_frozen_reads(self) -> set[int]:
        """Return every ``Identity`` that passes on a constant."""
        nodes = self.flat.nodes
        constants = {number for number in self.numbers if nodes[number].op in CONSTANTS}

        def reads(number: int) -> list[int]:
            return [reader for reader in self.flat.readers.get(number, ()) if nodes[reader].op == "Identity"]

        return reachable(constants, reads) - constants

    def _supplies(self, number: int) -> bool:
        """Return True for an operation that supplies a value to others, such as the read of a frozen variable."""
        return number in self._frozen_reads or self.flat.nodes[number].op in NON_COMPUTING

    def _reads_variable(self, number: int) -> bool:
        """Return True for the read of a variable; in a frozen graph that is an ``Identity`` of a constant."""
        node = self.flat.nodes[number]
        return node.op == "ReadVariableOp" or number in self._frozen_reads

    def _variables_of(self, scope: NameScope, *, frozen: bool = False) -> frozenset[str]:
        """Return the paths of the variables that a scope reads; with `frozen`, also of the constants they became."""
        nodes = self.flat.nodes
        paths = set()
        for source in (tensor for number in scope.all_nodes() for tensor in nodes[number].inputs):
            origin, _ = self.flat.origin(source, VARIABLE_READS)
            if nodes[origin].op in VARIABLES or (frozen and nodes[origin].op in CONSTANTS and origin != source[0]):
                paths.add(nodes[origin].path)
        return frozenset(paths)

    def _is_numbered(self, name: str, top: NameScope) -> bool:
        """Return True if every scope has a number that its layer does not have, as in exports of Keras 3.

        Variables have the names of their layers, so they decide by majority. Without a majority,
        numbers on all scopes decide, in files of TensorFlow 2.16 or later.
        """
        votes: Counter[bool] = Counter()
        for child, scope in _layer_scopes(top):
            for variable in self._variables_of(scope):
                owners = variable.split("/")[:-1]
                if child in owners:
                    votes[False] += 1
                elif _strip_number(child) != child and _strip_number(child) in owners:
                    votes[True] += 1
                elif name in owners:
                    votes[False] += 1
                elif _strip_number(name) != name and _strip_number(name) in owners:
                    votes[True] += 1
        if votes[True] != votes[False]:
            return votes[True] > votes[False]
        version = re.match(r"(\d+)\.(\d+)", self.flat.meta.version)
        late = self.flat.meta.producer > LAST_KERAS2_PRODUCER
        if version is not None:
            late = (int(version[1]), int(version[2])) >= (2, 16)
        return late and bool(top.children) and all(NUMBERED.fullmatch(child) for child in top.children)

    def _add_layers(self, scope: NameScope, address: str, *, listed: bool) -> None:
        """Add the layers in a scope, and recursively those inside them."""
        for name, calls in self._layers_in(scope, listed=listed):
            for number, call in enumerate(calls):
                layer_address = f"{address}/{quoted(name)}" if address else quoted(name)
                if len(calls) > 1:
                    layer_address += f"#{number}"
                model = _is_nested_model(call)
                nodes = tuple(call.all_nodes())
                leaving = self._leaving(nodes)
                states = self._states(nodes, leaving)
                for output, tensor in states.items():
                    self._add(ScopeAddress(f"{layer_address}@{output}", name, tensor, nodes, inner=not listed))
                if len(leaving) == 1 and not states:
                    self._add(ScopeAddress(layer_address, name, leaving[0], nodes, inner=not listed, model=model))
                    before = None if model else pre_activation(self.flat, nodes, leaving[0])
                    if before is not None:
                        self._add(ScopeAddress(f"{layer_address}{PRE}", f"{name}{PRE}", before, nodes, inner=True))
                    scores = scores_of(self.flat, nodes) if listed and not model else None
                    if scores is not None:
                        self._add(ScopeAddress(f"{layer_address}@scores", f"{name}@scores", scores, nodes, inner=False))
                self._add_layers(call, layer_address, listed=listed and (model or self._wraps(name, call)))
                self._add_operations(call.nodes, layer_address)

    def _wraps(self, name: str, scope: NameScope) -> bool:
        """Return True if a scope is only the first part of the name of one layer, as in ``out/dense``."""
        if scope.nodes or len(scope.children) != 1:
            return False
        inner = next(iter(scope.children))
        return any(f"{name}/{inner}/" in f"/{variable}/" for variable in self._variables_of(scope))

    def _layers_in(self, scope: NameScope, *, listed: bool) -> Iterator[tuple[str, list[NameScope]]]:
        """Yield the layers of a scope by name, each with its calls in the order of the file."""
        groups: dict[str, list[NameScope]] = {}
        for name, child in scope.children.items():
            if self.flow.valueless and all(number in self.flow.valueless for number in child.all_nodes()):
                continue
            groups.setdefault(self._layer_of(name, scope, listed=listed), []).append(child)
        for name, scopes in groups.items():
            calls = sorted(scopes, key=NameScope.first_node)
            yield name, calls if len(calls) > 1 else self._split_calls(calls[0])

    def _layer_of(self, name: str, scope: NameScope, *, listed: bool) -> str:
        """Return the name of the layer that a scope is a call of.

        Inside a layer there are unnumbered scopes too, which name parts of a computation.
        """
        base = _strip_number(name)
        if base == name:
            return name
        if self._numbered:
            return base if listed or base not in scope.children else name
        first = scope.children.get(base)
        if first is None:
            return name
        read = self._variables_of(first, frozen=True)
        return base if read and read == self._variables_of(scope.children[name], frozen=True) else name

    def _split_calls(self, scope: NameScope) -> list[NameScope]:
        """Split a scope that several calls of one layer share: ``MatMul`` and ``MatMul_1``.

        Every call reads the layer's variables once and runs the same operations in the same order.
        """
        nodes = self.flat.nodes
        counts = Counter(
            nodes[number].inputs[0][0]
            for number in self._sources_of(scope)
            if self._reads_variable(number) and nodes[number].inputs
        )
        numbers = scope.all_nodes()
        sizes = set(counts.values())
        count = sizes.pop() if len(sizes) == 1 else 1
        if count < 2 and not counts:  # noqa: PLR2004  (fewer than two calls)
            count = self._repeats(numbers)
        if count < 2 or len(numbers) % count:  # noqa: PLR2004
            return [scope]
        size = len(numbers) // count
        parts = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        if len({tuple(nodes[number].op for number in part) for part in parts}) > 1:
            return [scope]
        return [_restrict_scope(scope, frozenset(part)) for part in parts]

    def _sources_of(self, scope: NameScope) -> set[int]:
        return {source for number in scope.all_nodes() for source, _ in self.flat.nodes[number].inputs}

    def _repeats(self, numbers: Sequence[int]) -> int:
        """Return how many times a scope repeats one operation whose instances do not read each other, else 1."""
        nodes = self.flat.nodes
        names = [nodes[number].path.rpartition("/")[2] for number in numbers]
        inside = set(numbers)
        if len({_strip_number(name) for name in names}) != 1 or len({nodes[number].op for number in numbers}) != 1:
            return 1
        if any(source in inside for number in numbers for source, _ in nodes[number].inputs):
            return 1
        return len(numbers)

    def _leaving(self, numbers: Iterable[int]) -> list[Tensor]:
        """Return the tensors that leave some nodes and may be activations, floating-point ones with a batch axis first."""
        inside = set(numbers)
        single = (number for number in sorted(inside) if number not in self.flow.valueless)
        outputs = (tensor for number in single for tensor in self._outputs_of(number))
        values = [item for item in outputs if self._leaves(item, inside) and self._dtype(item) not in NOT_VALUES]
        for rule in (self._is_value, self._has_batch):
            values = [tensor for tensor in values if rule(tensor)] or values
        return values

    def _states(self, numbers: Sequence[int], leaving: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return the output and the states of a recurrent layer, by their index in Keras.

        Output 0 is followed by the states in the order of the loop variables. With a mask, the
        loop has the last output as a variable before them. Empty if no state leaves the layer,
        or if it is not exactly one loop.
        """
        nodes = self.flat.nodes
        loops = [number for number in numbers if nodes[number].op in WHILE]
        ends = [number for number in numbers if nodes[number].op in EXIT and number not in self.flow.valueless]
        carried = [tensor for tensor in leaving if tensor[0] in {*loops, *ends}]
        others = [tensor for tensor in leaving if tensor not in carried]
        if len(loops) + bool(ends) != 1 or not carried or len(others) > 1:
            return {}
        states = while_states(self.flat, loops[0]) if loops else self.flow.states(numbers)
        if any(tensor not in states for tensor in carried):
            return {}
        return dict(enumerate(others)) | {1 + states.index(tensor): tensor for tensor in carried}

    def _outputs_of(self, number: int) -> list[Tensor]:
        """Return the outputs of a node that are read, or its first output if none is."""
        return sorted(self._used[number]) or [(number, 0)]

    def _leaves(self, tensor: Tensor, inside: set[int]) -> bool:
        return tensor in self._ends or any(reader not in inside for reader in self._readers.get(tensor, ()))

    def _dtype(self, tensor: Tensor) -> str:
        return dtype_of(self.flat.nodes[tensor[0]].node, tensor[1])

    def _is_value(self, tensor: Tensor) -> bool:
        """Return True for floating-point numbers and strings, False for masks, shapes and indices."""
        return self._dtype(tensor) not in {"bool", "int32", "int64"}

    def _has_batch(self, tensor: Tensor) -> bool:
        shape = shape_at(self.flat.nodes[tensor[0]].node, tensor[1])
        return shape is None or (len(shape) > 0 and shape[0] is None)

    def _add_operations(self, numbers: Sequence[int], address: str, *, listed: bool = False) -> None:
        """Add the operations of a scope, which have addresses too."""
        for number in numbers:
            if number in self.flow.valueless:
                continue
            node = self.flat.nodes[number]
            name = node.path.rpartition("/")[2]
            own = f"{address}/{quoted(name)}" if address else quoted(name)
            tensors = sorted(tensor for tensor in self._outputs_of(number) if self._dtype(tensor) not in NOT_VALUES)
            shown = listed and node.op not in PASSING
            for tensor in tensors:
                whole = own if len(tensors) == 1 else f"{own}@{tensor[1]}"
                self._add(ScopeAddress(whole, name, tensor, (number,), inner=not shown))

    def _add(self, item: ScopeAddress) -> None:
        self.addresses.setdefault(item.address, item)


def _strip_number(name: str) -> str:
    """Return a name without the suffix that makes it unique: ``conv`` for ``conv_1``."""
    match = NUMBERED.fullmatch(name)
    return match[1] if match else name


def _model_scope(root: NameScope) -> tuple[str, NameScope]:
    """Return the name and scope of the model; beside it there may be operations that pass on its outputs."""
    if len(root.children) == 1:
        name, child = next(iter(root.children.items()))
        if child.children:
            return name, child
    return "", root


def _is_nested_model(scope: NameScope) -> bool:
    """Return True for a nested model: no operations directly in it, and more than one inner scope."""
    return not scope.nodes and len(scope.children) > 1


def _layer_scopes(scope: NameScope) -> Iterator[tuple[str, NameScope]]:
    """Yield the names and scopes of layers, including those of nested models."""
    for name, child in scope.children.items():
        yield name, child
        if _is_nested_model(child):
            yield from _layer_scopes(child)


def _restrict_scope(scope: NameScope, numbers: frozenset[int]) -> NameScope:
    """Return a copy of a scope with only some of its nodes."""
    children = {name: _restrict_scope(child, numbers) for name, child in scope.children.items()}
    kept = {name: child for name, child in children.items() if child.nodes or child.children}
    return NameScope(scope.name, [number for number in scope.nodes if number in numbers], kept)
