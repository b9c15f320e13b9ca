"""Layers recovered from the names of a graph's operations.

Keras writes ``model/outer/conv2/Relu``: the model, the layers from the outside in, the
operation. What leaves a scope is the output of the layer of that name. Nothing is guessed
from values: a scope that several tensors leave has no address of its own, its operations have.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from actviz.errors import LimitError
from actviz.formats.keras.graph import quoted
from actviz.formats.savedmodel.dtypes import dtype_of, shape_at
from actviz.formats.savedmodel.proto import functions_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor

# What brings values into a graph or only passes on where they are: no layer's output.
PLUMBING = frozenset(
    {
        "Const", "HostConst", "VarHandleOp", "ReadVariableOp", "VariableV2", "Variable", "Placeholder", "PlaceholderV2",
        "PlaceholderWithDefault", "NoOp", "HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2",
        "MutableHashTableOfTensors", "MutableHashTableOfTensorsV2", "VarIsInitializedOp", "Assert", "DisableCopyOnRead",
    }
)  # fmt: skip
VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})
DEEPEST = 100
NUMBERED = re.compile(r"(.+)_(\d+)")
LOOPS = frozenset({"While", "StatelessWhile"})
REVERSALS = frozenset({"ReverseV2", "Reverse"})
NOT_VALUES = frozenset({"resource", "variant", ""})


@dataclass(frozen=True, slots=True)
class ScopeAddress:
    """One address: the tensor that it means, and the nodes of the layer.

    `inner` marks what lies inside a layer: single operations, and scopes that only name
    parts of a computation. `name` is the layer's own, `model` says that layers lie in it.
    """

    address: str
    name: str
    tensor: Tensor
    nodes: tuple[int, ...]
    inner: bool
    model: bool = False


@dataclass
class NameScope:
    """One scope of names: the nodes right in it, and the scopes inside, in the order of the file."""

    name: str
    nodes: list[int] = field(default_factory=list)
    children: dict[str, NameScope] = field(default_factory=dict)

    def every(self) -> list[int]:
        """Return the nodes in it at any depth, in the order of the file."""
        found = list(self.nodes)
        for child in self.children.values():
            found += child.every()
        return sorted(found)

    def first(self) -> int:
        """Return the first node in it."""
        return min(self.every())


@dataclass
class ScopeLayers:
    """The addresses of a graph, being found.

    `numbers` are the nodes that the outputs need, `outputs` the tensors that a signature gives.
    """

    flat: InlinedGraph
    numbers: Sequence[int]
    outputs: Sequence[Tensor]
    places: dict[str, ScopeAddress] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        """Find every address."""
        self._readers: dict[Tensor, list[int]] = {}
        for number in self.numbers:
            for tensor in self.flat.nodes[number].inputs:
                self._readers.setdefault(tensor, []).append(number)
        self._ends = frozenset(self.outputs)
        self._used: dict[int, set[Tensor]] = {number: set() for number in self.numbers}
        for tensor in [*self._readers, *self._ends]:
            self._used.setdefault(tensor[0], set()).add(tensor)
        root = self._root()
        self.name, top = _model_of(root)
        self._stripped = self._counts_from_one(self.name, top)
        if self._stripped:
            self.name = _base(self.name)
        loose = sorted(number for number in root.nodes if root is not top)
        self._visit(top, "", listed=True)
        self._operations(loose, "")
        self._operations(top.nodes, "", listed=True)
        self._put_backward_layers_in_order()

    def _put_backward_layers_in_order(self) -> None:
        """Give the backward layer of a Bidirectional its output as the Bidirectional reverses it: in reading order."""
        for address, place in self.places.items():
            readers = set(self._readers.get(place.tensor, ()))
            if not place.name.startswith("backward_") or len(readers) != 1 or place.tensor in self._ends:
                continue
            reader = readers.pop()
            if self.flat.nodes[reader].op in REVERSALS and reader not in place.nodes:
                self.places[address] = replace(place, tensor=(reader, 0))

    def _root(self) -> NameScope:
        """Return the tree of scopes of the nodes that compute something.

        Every scope is gone through with all that is in it (900 deep: 10 s), so their depth is bounded.
        """
        nodes = self.flat.nodes
        computing = [number for number in self.numbers if nodes[number].op not in PLUMBING]
        prefixes = {nodes[number].path.rpartition("/")[0] for number in computing}
        root = NameScope("")
        for number in computing:
            path = nodes[number].path
            parts = path.split("/")
            if path not in prefixes:
                parts.pop()  # an operation may have the name of its scope: it is in it then
            if len(parts) > DEEPEST:
                message = f"{self.flat.file}: the names of the graph are nested more than {DEEPEST} deep; the file is damaged or hostile."
                raise LimitError(message)
            scope = root
            for part in parts:
                scope = scope.children.setdefault(part, NameScope(part))
            scope.nodes.append(number)
        return root

    def _read_by(self, scope: NameScope) -> frozenset[str]:
        """Return the paths of the variables that the nodes of a scope read."""
        nodes = self.flat.nodes
        found: set[str] = set()
        for number in scope.every():
            for source, _ in nodes[number].inputs:
                behind = source
                while nodes[behind].op in {"ReadVariableOp", "Identity", "DisableCopyOnRead"} and nodes[behind].inputs:
                    behind = nodes[behind].inputs[0][0]
                if nodes[behind].op in VARIABLES:
                    found.add(nodes[behind].path)
        return frozenset(found)

    def _counts_from_one(self, name: str, top: NameScope) -> bool:
        """Tell whether every scope carries a number that is not its layer's, as Keras 3 exports.

        The names of variables are the layers' own: they decide, by majority. Where none
        does, scopes that all have numbers do, in files of TensorFlow 2.16 and later.
        """
        votes: Counter[bool] = Counter()
        for child, scope in _all_scopes(top):
            for variable in self._read_by(scope):
                owners = variable.split("/")[:-1]
                if child in owners:
                    votes[False] += 1
                elif _base(child) != child and _base(child) in owners:
                    votes[True] += 1
                elif name in owners:
                    votes[False] += 1
                elif _base(name) != name and _base(name) in owners:
                    votes[True] += 1
        if votes[True] != votes[False]:
            return votes[True] > votes[False]
        version = re.match(r"(\d+)\.(\d+)", self.flat.meta.version)
        late = version is not None and (int(version[1]), int(version[2])) >= (2, 16)
        return late and bool(top.children) and all(NUMBERED.fullmatch(child) for child in top.children)

    def _visit(self, scope: NameScope, address: str, *, listed: bool) -> None:
        """Add the layers in a scope, then what lies in them."""
        for name, calls in self._layers_in(scope, listed=listed):
            for number, call in enumerate(calls):
                one = f"{address}/{quoted(name)}" if address else quoted(name)
                if len(calls) > 1:
                    one += f"#{number}"
                model = _holds_layers(call)
                nodes = tuple(call.every())
                leaving = self._leaving(nodes)
                states = self._states(nodes, leaving)
                for output, tensor in states.items():
                    self._add(ScopeAddress(f"{one}@{output}", name, tensor, nodes, inner=not listed))
                if len(leaving) == 1 and not states:
                    self._add(ScopeAddress(one, name, leaving[0], nodes, inner=not listed, model=model))
                self._visit(call, one, listed=listed and (model or self._wraps(name, call)))
                self._operations(call.nodes, one)

    def _wraps(self, name: str, scope: NameScope) -> bool:
        """Tell whether a scope is only the first part of the name of one layer: ``out/dense``."""
        if scope.nodes or len(scope.children) != 1:
            return False
        inner = next(iter(scope.children))
        return any(f"{name}/{inner}/" in f"/{variable}/" for variable in self._read_by(scope))

    def _layers_in(self, scope: NameScope, *, listed: bool) -> Iterator[tuple[str, list[NameScope]]]:
        """Yield the layers of a scope by name, each with its calls in the order of the file."""
        groups: dict[str, list[NameScope]] = {}
        for name, child in scope.children.items():
            groups.setdefault(self._layer_of(name, scope, listed=listed), []).append(child)
        for name, found in groups.items():
            calls = sorted(found, key=NameScope.first)
            yield name, calls if len(calls) > 1 else self._parts(calls[0])

    def _layer_of(self, name: str, scope: NameScope, *, listed: bool) -> str:
        """Return the name of the layer that a scope is a call of.

        Inside a layer there are scopes without a number too, of parts of a computation.
        """
        base = _base(name)
        if base == name:
            return name
        if self._stripped:
            return base if listed or base not in scope.children else name
        first = scope.children.get(base)
        if first is None:
            return name
        read = self._read_by(first)
        return base if read and read == self._read_by(scope.children[name]) else name

    def _parts(self, scope: NameScope) -> list[NameScope]:
        """Take the calls of a layer apart that share one scope: ``MatMul`` and ``MatMul_1``.

        Every call reads the layer's variables once, and does the same in the same order.
        """
        nodes = self.flat.nodes
        counts = Counter(
            nodes[number].inputs[0][0]
            for number in self._plumbing_of(scope)
            if nodes[number].op == "ReadVariableOp" and nodes[number].inputs
        )
        numbers = scope.every()
        sizes = set(counts.values())
        count = sizes.pop() if len(sizes) == 1 else 1
        if count < 2 and not counts:  # noqa: PLR2004  (one call is no row of calls)
            count = self._repeats(numbers)
        if count < 2 or len(numbers) % count:  # noqa: PLR2004
            return [scope]
        size = len(numbers) // count
        parts = [numbers[place : place + size] for place in range(0, len(numbers), size)]
        if len({tuple(nodes[number].op for number in part) for part in parts}) > 1:
            return [scope]
        return [_only(scope, frozenset(part)) for part in parts]

    def _plumbing_of(self, scope: NameScope) -> set[int]:
        return {source for number in scope.every() for source, _ in self.flat.nodes[number].inputs}

    def _repeats(self, numbers: Sequence[int]) -> int:
        """Return how often the same single operation stands in a scope, each apart from the others."""
        nodes = self.flat.nodes
        names = [nodes[number].path.rpartition("/")[2] for number in numbers]
        inside = set(numbers)
        if len({_base(name) for name in names}) != 1 or len({nodes[number].op for number in numbers}) != 1:
            return 1
        if any(source in inside for number in numbers for source, _ in nodes[number].inputs):
            return 1
        return len(numbers)

    def _leaving(self, numbers: Iterable[int]) -> list[Tensor]:
        """Return the tensors that leave some nodes, less those that are not a layer's values."""
        inside = set(numbers)
        found: list[Tensor] = []
        for number in sorted(inside):
            found += [tensor for tensor in self._outputs_of(number) if self._leaves(tensor, inside)]
        values = [tensor for tensor in found if self._dtype(tensor) not in NOT_VALUES]
        for rule in (self._is_value, self._has_batch):
            better = [tensor for tensor in values if rule(tensor)]
            if better:
                values = better
        return values

    def _states(self, numbers: Sequence[int], leaving: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return the tensors that leave a recurrent layer with its states, numbered as Keras does.

        Its output is 0, the states follow in the order in which its loop carries them. A
        loop that knows a mask carries the last output before them. Empty where no state
        leaves, or the layer is not one loop.
        """
        nodes = self.flat.nodes
        loops = [number for number in numbers if nodes[number].op in LOOPS]
        carried = [tensor for tensor in leaving if tensor[0] in loops]
        others = [tensor for tensor in leaving if tensor[0] not in loops]
        if len(loops) != 1 or not carried or len(others) > 1:
            return {}
        named = functions_named(nodes[loops[0]].node.attributes.get("body", memoryview(b"")))
        body = self.flat.meta.functions.get(named[0]) if named else None
        if body is None:
            return {}
        changing = [
            place
            for place, output in enumerate(body.outputs)
            if output not in body.arguments
            and self._is_value((loops[0], place))
            and self._dtype((loops[0], place)) != "variant"
        ]
        if any(node.op in {"Select", "SelectV2"} for node in body.nodes):
            changing = changing[1:]
        if any(place not in changing for _, place in carried):
            return {}
        found = dict(enumerate(others))
        return found | {1 + changing.index(place): (number, place) for number, place in carried}

    def _outputs_of(self, number: int) -> list[Tensor]:
        """Return the outputs of a node that something reads; the first of one that nothing does."""
        return sorted(self._used[number]) or [(number, 0)]

    def _leaves(self, tensor: Tensor, inside: set[int]) -> bool:
        return tensor in self._ends or any(reader not in inside for reader in self._readers.get(tensor, ()))

    def _dtype(self, tensor: Tensor) -> str:
        return dtype_of(self.flat.nodes[tensor[0]].node, tensor[1])

    def _is_value(self, tensor: Tensor) -> bool:
        """Tell numbers with a fraction, or text, from masks, shapes and places."""
        return self._dtype(tensor) not in {"bool", "int32", "int64"}

    def _has_batch(self, tensor: Tensor) -> bool:
        shape = shape_at(self.flat.nodes[tensor[0]].node, tensor[1])
        return shape is None or (len(shape) > 0 and shape[0] is None)

    def _operations(self, numbers: Sequence[int], address: str, *, listed: bool = False) -> None:
        """Add the single operations of a scope: those are addresses as well."""
        for number in numbers:
            node = self.flat.nodes[number]
            name = node.path.rpartition("/")[2]
            one = f"{address}/{quoted(name)}" if address else quoted(name)
            tensors = sorted(tensor for tensor in self._outputs_of(number) if self._dtype(tensor) not in NOT_VALUES)
            shown = listed and node.op not in {"Identity", "IdentityN"}
            for tensor in tensors:
                place = one if len(tensors) == 1 else f"{one}@{tensor[1]}"
                self._add(ScopeAddress(place, name, tensor, (number,), inner=not shown))

    def _add(self, place: ScopeAddress) -> None:
        self.places.setdefault(place.address, place)


def _base(name: str) -> str:
    """Return a name without the number that makes it unique."""
    found = NUMBERED.fullmatch(name)
    return found[1] if found else name


def _model_of(root: NameScope) -> tuple[str, NameScope]:
    """Return the model's own name and scope; what only passes on outputs may lie beside it."""
    if len(root.children) == 1:
        name, child = next(iter(root.children.items()))
        if child.children:
            return name, child
    return "", root


def _holds_layers(scope: NameScope) -> bool:
    """Tell a nested model from a layer: nothing is computed right in it, and there are several in it."""
    return not scope.nodes and len(scope.children) > 1


def _all_scopes(scope: NameScope) -> Iterator[tuple[str, NameScope]]:
    """Yield the scopes of layers, those of nested models too."""
    for name, child in scope.children.items():
        yield name, child
        if _holds_layers(child):
            yield from _all_scopes(child)


def _only(scope: NameScope, numbers: frozenset[int]) -> NameScope:
    """Return a scope with some of its nodes only."""
    children = {name: _only(child, numbers) for name, child in scope.children.items()}
    kept = {name: child for name, child in children.items() if child.nodes or child.children}
    return NameScope(scope.name, [number for number in scope.nodes if number in numbers], kept)
