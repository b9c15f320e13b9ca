"""Inline the function calls of a graph, so that one flat graph computes a signature.

Nodes keep the paths of the graph (``model/conv2d/Relu``); those of a called function are
prefixed with the path of the call. The calling nodes themselves are removed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from actviz.errors import LimitError, ModelError, escape
from actviz.formats.savedmodel.proto import attribute_dtypes, attribute_number, called_functions
from actviz.gate.operations import CHANGING, READS, operation_outputs
from actviz.gate.traversal import reachable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from actviz.formats.savedmodel.proto import GraphFunction, GraphNode, MetaGraph

Tensor = tuple[int, int]
"""A tensor: the index of its node and the index of the output."""

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})
FLOW = frozenset({"If", "While", "Case"})
STARTS = frozenset({"Enter", "RefEnter", "Switch", "RefSwitch", "_SwitchN"})
"""Operations of lowered control flow, behind which nodes run any number of times, or not at all."""
ORDERED = CHANGING | READS | FLOW
"""Operations whose order matters: they read or write variables, or call functions that may do so."""
GENERIC = re.compile(r"(?:^|/)(?:Stateful)?PartitionedCall(?:_\d+)?$")
MAX_NODES = 1_000_000
MAX_CALL_DEPTH = 100


@dataclass(frozen=True, slots=True)
class InlinedNode:
    """One operation of a flat graph, with its path and input tensors.

    `after` holds its control inputs: the indices of the nodes that have to run before it.
    """

    path: str
    node: GraphNode
    inputs: tuple[Tensor, ...]
    after: tuple[int, ...] = ()

    @property
    def op(self) -> str:
        """The operation type, such as ``Conv2D``."""
        return self.node.op


@dataclass
class InlinedGraph:
    """A flat graph; its nodes are in the order of the file.

    `named` maps the name of each node of the main graph, calls included, to its output tensors.
    """

    meta: MetaGraph
    file: str
    nodes: list[InlinedNode] = field(default_factory=list)
    named: dict[str, list[Tensor]] = field(default_factory=dict)

    def tensor(self, name: str) -> Tensor:
        """Return a tensor of the main graph by its name (``node:0``).

        Raises
        ------
        ModelError
            When there is none of that name.
        """
        node, _, output = name.partition(":")
        found = self.named.get(node)
        number = int(output) if output.isdigit() else 0
        if found is None or (len(found) <= number and (not found or self.nodes[found[0][0]].node.name != node)):
            message = f'{self.file}: the graph has no tensor "{escape(name, 80)}"; the file is damaged, save it again.'
            raise ModelError(message)
        return found[number] if number < len(found) else (found[0][0], number)

    @cached_property
    def readers(self) -> dict[int, list[int]]:
        """The indices of the nodes that read any output of a node, by its index."""
        readers: dict[int, list[int]] = {}
        for number, node in enumerate(self.nodes):
            for source in {source for source, _ in node.inputs}:
                readers.setdefault(source, []).append(number)
        return readers

    @cached_property
    def followers(self) -> dict[int, list[int]]:
        """The indices of the nodes that read a node or have it as a control input, by its index."""
        followers: dict[int, list[int]] = {}
        for number, node in enumerate(self.nodes):
            for source in {*(source for source, _ in node.inputs), *node.after}:
                followers.setdefault(source, []).append(number)
        return followers

    def descendants(self, numbers: Iterable[int]) -> set[int]:
        """Return the indices of all nodes that follow some nodes, transitively."""
        followers = self.followers
        first = {follower for number in numbers for follower in followers.get(number, ())}
        return reachable(first, lambda number: followers.get(number, ()))

    @cached_property
    def conditional(self) -> frozenset[int]:
        """The indices of the nodes that need not run exactly once: in loops and branches, and behind them.

        Control inputs between these decide in which step and in which branch a node runs, so they are
        kept; between other nodes they only order side effects.
        """
        starts = [number for number, node in enumerate(self.nodes) if node.op in STARTS]
        return frozenset(starts) | (self.descendants(starts) if starts else frozenset())

    def origin(self, tensor: Tensor, passing: Collection[str]) -> Tensor:
        """Return the tensor that a chain of `passing` operations, such as ``Identity``, starts from."""
        seen: set[int] = set()  # a damaged file may hold a cycle
        while self.nodes[tensor[0]].op in passing and self.nodes[tensor[0]].inputs and tensor[0] not in seen:
            seen.add(tensor[0])
            tensor = self.nodes[tensor[0]].inputs[0]
        return tensor

    def sources(self, number: int) -> tuple[int, ...]:
        """Return the indices of the nodes that a node depends on.

        Reading a variable depends on the writes before it, which are control inputs: no tensor
        connects the two.
        """
        node = self.nodes[number]
        written = node.after if node.op in ORDERED else ()
        return (*(source for source, _ in node.inputs), *written)

    def ancestors(self, tensors: Iterable[Tensor]) -> list[int]:
        """Return the indices of the nodes that some tensors depend on, in the order of the graph."""
        return sorted(reachable((number for number, _ in tensors), self.sources))


def inline_functions(meta: MetaGraph, file: str, calls: Iterable[str] = ()) -> InlinedGraph:
    """Inline the main graph of a file, and the functions that its nodes named in `calls` call.

    Other calls are left out: those that save, restore, or belong to other signatures.

    Raises
    ------
    ModelError
        When a node reads a tensor that does not exist.
    LimitError
        When calls are nested too deeply, or inlining produces too many nodes.
    """
    only = frozenset(calls)
    _check_total(meta, [node for node in meta.nodes if node.name in only], file)
    flat = InlinedGraph(meta, file)
    _FunctionBody(flat, "", meta.nodes, {}, only).expand(flat.named)
    return flat


def _check_total(meta: MetaGraph, calls: Iterable[GraphNode], file: str) -> None:
    """Raise LimitError if inlining would produce too many nodes, before anything is inlined.

    Calls count like nodes: a function that only calls another one twice adds no node and doubles the work.
    """
    totals: dict[str, int] = {}
    depths: dict[str, int] = {}
    opened: set[str] = set()
    named = [function.name for node in calls if (function := call_of(node, meta.functions)) is not None]
    todo = list(named)
    while todo:
        name = todo[-1]
        function = meta.functions[name]
        if name in totals:
            todo.pop()
            continue
        callees = [callee.name for node in function.nodes if (callee := call_of(node, meta.functions)) is not None]
        waiting = [callee for callee in callees if callee not in totals]
        if name not in opened and waiting:
            opened.add(name)
            todo += dict.fromkeys(waiting)
            continue
        todo.pop()
        depths[name] = 1 + max((depths.get(callee, MAX_CALL_DEPTH) for callee in callees), default=0)
        totals[name] = len(function.nodes) + sum(totals.get(callee, 0) for callee in callees)
        if depths[name] > MAX_CALL_DEPTH:
            message = f"{file}: functions of the graph call each other more than {MAX_CALL_DEPTH} deep."
            raise LimitError(message)
    if sum(totals[name] for name in named) > MAX_NODES:
        message = f"{file}: the graph has more than {MAX_NODES:,} operations and calls once its functions are inlined."
        raise LimitError(message)


class _FunctionBody:
    """The body of one function, or the main graph, during inlining."""

    def __init__(  # noqa: PLR0913  (all of them describe one call)
        self,
        flat: InlinedGraph,
        prefix: str,
        nodes: Sequence[GraphNode],
        arguments: Mapping[str, Tensor],
        only: frozenset[str] | None = None,
        after: tuple[int, ...] = (),
    ) -> None:
        self._flat = flat
        self._prefix = prefix
        self._nodes = nodes
        self._arguments = arguments
        self._only = only
        self._after = after
        self._ordered: dict[str, tuple[int, ...]] = {}
        self._tensors: dict[str, list[Tensor]] = {}
        self._calls: dict[str, GraphNode] = {}
        self._own: list[tuple[int, GraphNode]] = []

    def expand(self, named: dict[str, list[Tensor]] | None = None) -> None:
        """Append the nodes of the body to the flat graph."""
        for node in self._nodes:
            if node.op in CALLS or node.op in self._flat.meta.functions:
                if self._only is None or node.name in self._only:
                    self._calls[node.name] = node
                continue
            number = len(self._flat.nodes)
            if number >= MAX_NODES:
                message = f"{self._flat.file}: the graph has more than {MAX_NODES:,} operations."
                raise LimitError(message)
            self._flat.nodes.append(InlinedNode(self._path(node.name), node, ()))
            self._own.append((number, node))
            self._tensors[node.name] = [(number, 0)]
        for name in list(self._calls):
            self._call(name)
        for number, node in self._own:
            inputs = [self._input(text, node) for text in node.inputs if not text.startswith("^")]
            if None not in inputs:
                # Control inputs order reads and writes of variables; those of a call apply to its whole body.
                after = self._controls(node) + (self._after if node.op in ORDERED else ())
                self._flat.nodes[number] = InlinedNode(
                    self._flat.nodes[number].path, node, tuple(tensor for tensor in inputs if tensor is not None), after
                )
        if named is not None:
            named |= self._tensors

    def _controls(self, node: GraphNode) -> tuple[int, ...]:
        """Return the indices of the control inputs of a node."""
        indices: list[int] = []
        for text in node.inputs:
            name = text[1:]
            if not text.startswith("^"):
                continue
            if name in self._calls:
                indices += self._ordered.get(name, ())
            elif name in self._tensors:
                indices += [number for number, _ in self._tensors[name]]
        return tuple(indices)

    def outputs(self, returned: Sequence[str]) -> list[Tensor]:
        """Return the tensors that a function returns, by their names in its body."""
        tensors = []
        for text in returned:
            tensor = self._input(text, None)
            if tensor is None:
                raise self._missing(text)
            tensors.append(tensor)
        return tensors

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _call(self, name: str) -> None:
        """Inline one call after those that it reads; a loop, because chains of 30,000 calls exceed the recursion limit."""
        todo = [name]
        opened: set[str] = set()
        while todo:
            current = todo[-1]
            if current in self._tensors:
                todo.pop()
                continue
            read = (text.removeprefix("^").partition(":")[0] for text in self._calls[current].inputs)
            waiting = [call for call in read if call in self._calls and call not in self._tensors]
            if waiting and current not in opened:
                opened.add(current)
                todo += waiting
            else:
                todo.pop()
                self._inline(current)

    def _inline(self, name: str) -> None:
        """Inline one call."""
        node = self._calls[name]
        function = call_of(node, self._flat.meta.functions)
        if function is None:
            raise self._missing(next(iter(called_functions(node.attribute("f"))), name))
        given = [self._input(text, node) for text in node.inputs if not text.startswith("^")]
        if None in given or len(given) != len(function.arguments):
            raise self._missing(name)
        arguments = {key: tensor for key, tensor in zip(function.arguments, given, strict=True) if tensor is not None}
        prefix = GENERIC.sub("", self._path(name))
        after = self._after + self._controls(node)
        begin = len(self._flat.nodes)
        body = _FunctionBody(self._flat, prefix, function.nodes, arguments, after=after)
        body.expand()
        inside = range(begin, len(self._flat.nodes))
        self._ordered[name] = tuple(number for number in inside if self._flat.nodes[number].op in ORDERED)
        self._tensors[name] = body.outputs(function.outputs)

    def _input(self, text: str, reader: GraphNode | None) -> Tensor | None:
        """Return the tensor that an input refers to, ``None`` for an output of a call that was left out."""
        name, _, rest = text.partition(":")
        output, _, index = rest.rpartition(":")
        if name in self._arguments:
            return self._arguments[name]
        number = int(index) if index.isdigit() else 0
        if name in self._calls:
            outputs = self._tensors.get(name, [])  # empty if calls read each other in a cycle
            if number >= len(outputs):
                raise self._missing(text)
            return outputs[number]
        tensors = self._tensors.get(name, [])
        if not tensors:
            if self._only is not None and reader is not None:
                return None
            raise self._missing(text)
        source = tensors[0][0]
        return source, _position(self._flat.nodes[source].node, output, number)

    def _missing(self, text: str) -> ModelError:
        message = f'{self._flat.file}: the graph reads "{escape(text, 80)}", which is not in it; the file is damaged, save it again.'
        return ModelError(message)


def _position(node: GraphNode, output: str, number: int) -> int:
    """Return the index of an output among all of its operation; functions number outputs within a named group."""
    outputs = operation_outputs().get(node.op, {})
    if output not in outputs:
        return number
    lengths = list(outputs.values())[: list(outputs).index(output)]
    return number + sum(
        (attribute_number(node, name) or len(attribute_dtypes(node, name))) if name else 1 for name in lengths
    )


def call_of(node: GraphNode, functions: Mapping[str, GraphFunction]) -> GraphFunction | None:
    """Return the function that a calling node calls, ``None`` for any other node."""
    if node.op in functions:
        return functions[node.op]
    named = called_functions(node.attribute("f")) if node.op in CALLS else []
    return functions.get(named[0]) if named else None
