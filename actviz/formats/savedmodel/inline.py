"""One flat graph of what a signature computes: every call of a function inlined.

The paths of nodes stay what the graph says: ``model/conv2d/Relu``, with the path of the call
before those of a function that some layer calls. Nodes that only call leave no trace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actviz.errors import LimitError, ModelError, escape
from actviz.formats.savedmodel.proto import attribute_dtypes, attribute_number, functions_named
from actviz.gate.operations import CHANGING, READS, operation_outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actviz.formats.savedmodel.proto import GraphFunction, GraphNode, MetaGraph

Tensor = tuple[int, int]
"""The number of a node and the number of its output."""

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
FLOW = frozenset({"If", "While", "Case"})
ORDERED = CHANGING | READS | FLOW
"""Operations whose order matters: they read or write variables, or call functions that may."""
GENERIC = re.compile(r"(?:^|/)(?:Stateful)?PartitionedCall(?:_\d+)?$")
MOST_NODES = 1_000_000
DEEPEST = 100


@dataclass(frozen=True, slots=True)
class InlinedNode:
    """One operation of a flat graph: its path, what it computes, and from which tensors.

    `after` are the numbers of the nodes that have to run before it, its control inputs.
    """

    path: str
    node: GraphNode
    inputs: tuple[Tensor, ...]
    after: tuple[int, ...] = ()

    @property
    def op(self) -> str:
        """The kind of operation."""
        return self.node.op


@dataclass
class InlinedGraph:
    """A flat graph; nodes are in the order in which the file holds them.

    `named` gives the tensors of each node of the main graph, calls included.
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

    def sources(self, number: int) -> tuple[int, ...]:
        """Return the numbers of the nodes whose values a node depends on.

        A variable that is read after it was written depends on what was written, though no
        tensor leads from one to the other.
        """
        node = self.nodes[number]
        written = node.after if node.op in ORDERED else ()
        return (*(source for source, _ in node.inputs), *written)

    def ancestors(self, tensors: Iterable[Tensor]) -> list[int]:
        """Return the numbers of the nodes that some tensors need, in the order of the graph."""
        needed: set[int] = set()
        todo = [number for number, _ in tensors]
        while todo:
            number = todo.pop()
            if number not in needed:
                needed.add(number)
                todo += self.sources(number)
        return sorted(needed)


def flatten(meta: MetaGraph, file: str, calls: Iterable[str] = ()) -> InlinedGraph:
    """Inline the main graph of a file, and the functions that its nodes `calls` call.

    Other calls are left out: those that save, restore, or belong to other signatures.

    Raises
    ------
    ModelError
        When a node reads what is not there.
    LimitError
        When inlining never ends or gives too many nodes.
    """
    only = frozenset(calls)
    _check_total(meta, [node for node in meta.nodes if node.name in only], file)
    flat = InlinedGraph(meta, file)
    _FunctionBody(flat, "", meta.nodes, {}, only).expand(flat.named)
    return flat


def _check_total(meta: MetaGraph, calls: Iterable[GraphNode], file: str) -> None:
    """Refuse calls that inlining turns into too much, counted function by function before anything is inlined.

    A function that does nothing but call another twice adds no node and doubles the work: calls count too.
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
        depths[name] = 1 + max((depths.get(callee, DEEPEST) for callee in callees), default=0)
        totals[name] = len(function.nodes) + sum(totals.get(callee, 0) for callee in callees)
        if depths[name] > DEEPEST:
            message = f"{file}: functions of the graph call each other more than {DEEPEST} deep."
            raise LimitError(message)
    if sum(totals[name] for name in named) > MOST_NODES:
        message = f"{file}: the graph has more than {MOST_NODES:,} operations and calls once its functions are inlined."
        raise LimitError(message)


class _FunctionBody:
    """One function's body, or the main graph, being inlined."""

    def __init__(  # noqa: PLR0913  (each is one fact of one call)
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
        """Add the body's nodes to the flat graph."""
        for node in self._nodes:
            if node.op in CALLS or node.op in self._flat.meta.functions:
                if self._only is None or node.name in self._only:
                    self._calls[node.name] = node
                continue
            number = len(self._flat.nodes)
            if number >= MOST_NODES:
                message = f"{self._flat.file}: the graph has more than {MOST_NODES:,} operations."
                raise LimitError(message)
            self._flat.nodes.append(InlinedNode(self._path(node.name), node, ()))
            self._own.append((number, node))
            self._tensors[node.name] = [(number, 0)]
        for name in list(self._calls):
            self._call(name)
        for number, node in self._own:
            inputs = [self._input(text, node) for text in node.inputs if not text.startswith("^")]
            if None not in inputs:
                # Control inputs order what reads and writes variables; a call orders all that it does.
                after = self._controls(node) + (self._after if node.op in ORDERED else ())
                self._flat.nodes[number] = InlinedNode(
                    self._flat.nodes[number].path, node, tuple(one for one in inputs if one is not None), after
                )
        if named is not None:
            named |= self._tensors

    def _controls(self, node: GraphNode) -> tuple[int, ...]:
        """Return the numbers of the nodes that a node waits for without reading them."""
        found: list[int] = []
        for text in node.inputs:
            name = text[1:]
            if not text.startswith("^"):
                continue
            if name in self._calls:
                found += self._ordered.get(name, ())
            elif name in self._tensors:
                found += [number for number, _ in self._tensors[name]]
        return tuple(found)

    def outputs(self, returned: Sequence[str]) -> list[Tensor]:
        """Return the tensors of a function's outputs."""
        found = []
        for text in returned:
            tensor = self._input(text, None)
            if tensor is None:
                raise self._lost(text)
            found.append(tensor)
        return found

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _call(self, name: str) -> None:
        """Inline one call, and before it those that it reads: not by recursion, 30,000 may stand in a row."""
        todo = [name]
        opened: set[str] = set()
        while todo:
            current = todo[-1]
            if current in self._tensors:
                todo.pop()
                continue
            read = (text.removeprefix("^").partition(":")[0] for text in self._calls[current].inputs)
            waiting = [one for one in read if one in self._calls and one not in self._tensors]
            if waiting and current not in opened:
                opened.add(current)
                todo += waiting
            else:
                todo.pop()
                self._inline(current)

    def _inline(self, name: str) -> None:
        """Inline one call."""
        node = self._calls[name]
        named = (
            [node.op]
            if node.op in self._flat.meta.functions
            else functions_named(node.attributes.get("f", memoryview(b"")))
        )
        function = self._flat.meta.functions.get(named[0]) if named else None
        if function is None:
            raise self._lost(named[0] if named else name)
        given = [self._input(text, node) for text in node.inputs if not text.startswith("^")]
        if None in given or len(given) != len(function.arguments):
            raise self._lost(name)
        arguments = {key: one for key, one in zip(function.arguments, given, strict=True) if one is not None}
        prefix = GENERIC.sub("", self._path(name))
        after = self._after + self._controls(node)
        begin = len(self._flat.nodes)
        body = _FunctionBody(self._flat, prefix, function.nodes, arguments, after=after)
        body.expand()
        inside = range(begin, len(self._flat.nodes))
        self._ordered[name] = tuple(number for number in inside if self._flat.nodes[number].op in ORDERED)
        self._tensors[name] = body.outputs(function.outputs)

    def _input(self, text: str, reader: GraphNode | None) -> Tensor | None:
        """Return the tensor that an input means, ``None`` for one of a call that was left out."""
        name, _, rest = text.partition(":")
        output, _, place = rest.rpartition(":")
        if name in self._arguments:
            return self._arguments[name]
        number = int(place) if place.isdigit() else 0
        if name in self._calls:
            outputs = self._tensors.get(name, [])  # nothing where calls read each other in a loop
            if number >= len(outputs):
                raise self._lost(text)
            return outputs[number]
        found = self._tensors.get(name, [])
        if not found:
            if self._only is not None and reader is not None:
                return None
            raise self._lost(text)
        source = found[0][0]
        return source, _position(self._flat.nodes[source].node, output, number)

    def _lost(self, text: str) -> ModelError:
        message = f'{self._flat.file}: the graph reads "{escape(text, 80)}", which is not in it; the file is damaged, save it again.'
        return ModelError(message)


def _position(node: GraphNode, output: str, number: int) -> int:
    """Return the place of an output among all of its operation: functions name the group."""
    outputs = operation_outputs().get(node.op, {})
    if output not in outputs:
        return number
    lengths = list(outputs.values())[: list(outputs).index(output)]
    return number + sum(
        (attribute_number(node, name) or len(attribute_dtypes(node, name))) if name else 1 for name in lengths
    )


def call_of(node: GraphNode, functions: Mapping[str, GraphFunction]) -> GraphFunction | None:
    """Return the function that a node calls, if it only does that."""
    if node.op in functions:
        return functions[node.op]
    named = functions_named(node.attributes.get("f", memoryview(b""))) if node.op in CALLS else []
    return functions.get(named[0]) if named else None
