"""Extract the part of a flat graph that some tensors depend on, as a ``GraphDef`` for TensorFlow.

Nothing else of the file reaches TensorFlow: no saver, no initializer, no other signature.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from actviz.errors import ModelError, UnsafeError, escape
from actviz.formats.savedmodel.dtypes import dtype_of
from actviz.formats.savedmodel.inline import FLOW, VARIABLES
from actviz.formats.savedmodel.lookup_tables import TABLES
from actviz.formats.savedmodel.proto import attribute_bool, attribute_number, called_functions
from actviz.gate.operations import CHANGING, RUNNABLE_WRITES, SEEDED_BY_ATTRIBUTES, SEEDED_BY_INPUTS, check_operations
from actviz.gate.protobuf import encode_bytes, encode_varint
from actviz.gate.traversal import reachable
from actviz.gate.trust import NO_FLAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor
    from actviz.formats.savedmodel.proto import GraphNode

WRITES = CHANGING - {"DestroyResourceOp"}
PASSED_ON = frozenset({"Identity", "Enter", "Switch"})
"""Operations that forward a handle, as in the loops and conditions of TensorFlow 1."""


@dataclass(frozen=True)
class Subgraph:
    """A graph to run.

    `given` maps indices of nodes to what replaces them: ``input``, ``variable`` or ``table``.
    `writes` holds the indices of the nodes that change a variable, directly or in a function
    that they call; if there are any, all control inputs of the file are kept, otherwise those
    between nodes of loops and branches.
    """

    flat: InlinedGraph
    numbers: tuple[int, ...]
    given: Mapping[int, str]
    library: frozenset[str] = field(default_factory=frozenset)
    writes: tuple[int, ...] = ()

    def random(self, *, fixed: bool) -> list[tuple[str, str]]:
        """Return path and type of the operations that draw random numbers, with a seed in the file (`fixed`) or without."""
        nodes = [(self.flat.nodes[number].path, self.flat.nodes[number].node) for number in self.numbers]
        nodes += [
            (f"{name}/{node.name}", node)
            for name in sorted(self.library)
            for node in self.flat.meta.functions[name].nodes
        ]
        return [(path, node.op) for path, node in nodes if _is_random(node) and _has_seed(node) == fixed]

    @property
    def draws(self) -> bool:
        """True if an operation draws from a generator whose state is kept from one run to the next."""
        found = {kind for fixed in (False, True) for _, kind in self.random(fixed=fixed)}
        return bool(found & SEEDED_BY_ATTRIBUTES)

    @cached_property
    def _run(self) -> frozenset[int]:
        """The indices of the nodes that are run."""
        return frozenset(self.numbers) - self.given.keys()

    @cached_property
    def _conditional(self) -> frozenset[int]:
        """The indices of the nodes that are run and may run any number of times."""
        return self._run & self.flat.conditional

    def definition(self) -> bytes:
        """Return the serialized ``GraphDef``; the node with index 7 is named ``n7``."""
        meta = self.flat.meta
        parts = [encode_bytes(1, self._node(number)) for number in self.numbers if number not in self.given]
        functions = b"".join(encode_bytes(1, meta.functions[name].message) for name in sorted(self.library))
        if functions:
            parts.append(encode_bytes(2, functions))
        if meta.producer:
            parts.append(encode_bytes(4, encode_varint(1 << 3) + encode_varint(meta.producer)))
        return b"".join(parts)

    def _node(self, number: int) -> bytes:
        node = self.flat.nodes[number]
        parts = [encode_bytes(1, f"n{number}".encode()), encode_bytes(2, node.op.encode("utf-8", "surrogateescape"))]
        parts += [encode_bytes(3, f"n{source}:{output}".encode()) for source, output in node.inputs]
        kept = self._run if self.writes else self._conditional
        parts += [encode_bytes(3, f"^n{before}".encode()) for before in dict.fromkeys(node.after) if before in kept]
        for key, value in node.node.attributes.items():
            if not key.startswith("_"):
                entry = encode_bytes(1, key.encode("utf-8", "surrogateescape")) + encode_bytes(2, value)
                parts.append(encode_bytes(5, entry))
        return b"".join(parts)


def extract_subgraph(
    flat: InlinedGraph, tensors: Iterable[Tensor], fed: frozenset[int], called: Iterable[int] = ()
) -> Subgraph:
    """Return the subgraph that some tensors depend on; `fed` are the indices of the nodes that inputs replace.

    `called` are the nodes of the whole call: those that change a variable which the subgraph
    reads are part of it, in their order.

    Raises
    ------
    UnsafeError
        When an operation in it, or in a function that it calls, is not pure.
    ModelError
        When it reads a placeholder that is not an input, or a change of a variable that is not supported.
    """
    wanted = list(tensors)
    numbers = _needed(flat, wanted, fed)
    changes = _changes(flat, numbers, fed, list(called))
    if changes:
        numbers = _needed(flat, [*wanted, *((number, 0) for number in changes)], fed, ordered=True)
    given = {}
    for number in numbers:
        op = flat.nodes[number].op
        if op.startswith("Placeholder") and dtype_of(flat.nodes[number].node, 0) in {"resource", "variant"}:
            message = f'{flat.file}: these layers need "{escape(flat.nodes[number].path, 80)}", the handle of a variable or table, which no input can give; freeze the graph first (convert_variables_to_constants), or give the SavedModel.'
            raise ModelError(message)
        if number in fed:
            given[number] = "input"
        elif op in VARIABLES:
            given[number] = "variable"
        elif op in TABLES:
            given[number] = "table"
        elif op in {"Placeholder", "PlaceholderV2"}:
            message = f'{flat.file}: these layers need "{escape(flat.nodes[number].path, 80)}", which is no input of the signature; give it with --input {escape(flat.nodes[number].node.name, 80)}=FILE.'
            raise ModelError(message)
    library = _library(flat, numbers)
    _check(flat, numbers, library)
    _check_handles(flat, numbers, given, library)
    writes = tuple(number for number in numbers if number not in given and _writes(flat, number))
    return Subgraph(flat, tuple(numbers), given, library, writes)


def _changes(flat: InlinedGraph, numbers: Iterable[int], fed: frozenset[int], called: Sequence[int]) -> list[int]:
    """Return the nodes of a call that change a variable which some nodes read, transitively.

    Empty if one of them cannot be run: `check_changes` decides about those.
    """
    writers: dict[int, list[int]] = {}
    for number in called:
        if _writes(flat, number):
            for source, _ in flat.nodes[number].inputs:
                if flat.nodes[source].op == "VarHandleOp":
                    writers.setdefault(source, []).append(number)
    changes: set[int] = set()
    read = set(numbers)
    while True:
        new = {number for handle in read & writers.keys() for number in writers[handle]} - changes
        if not new:
            break
        changes |= new
        read |= set(_needed(flat, [(number, 0) for number in changes], fed, ordered=True))
    runnable = all(flat.nodes[number].op in RUNNABLE_WRITES | FLOW for number in read if _writes(flat, number))
    return sorted(changes) if runnable else []


def _writes(flat: InlinedGraph, number: int) -> bool:
    """Return True if a node, or a function that it calls, changes a variable."""
    op = flat.nodes[number].op
    if op in WRITES:
        return True
    return op in FLOW and any(
        node.op in WRITES for name in _library(flat, [number]) for node in flat.meta.functions[name].nodes
    )


def _is_random(node: GraphNode) -> bool:
    if node.op.startswith("Fractional") and attribute_bool(node, "deterministic"):
        return False
    return node.op in SEEDED_BY_ATTRIBUTES or node.op in SEEDED_BY_INPUTS


def _has_seed(node: GraphNode) -> bool:
    """Return True if the file fixes the seed of a random operation."""
    return node.op in SEEDED_BY_INPUTS or any(attribute_number(node, name) for name in ("seed", "seed2"))


def _needed(flat: InlinedGraph, tensors: Iterable[Tensor], fed: frozenset[int], *, ordered: bool = False) -> list[int]:
    """Return the indices of the nodes that some tensors depend on; with `ordered`, through all control inputs too."""

    def sources(number: int) -> list[int]:
        if number in fed:
            return []
        node = flat.nodes[number]
        after = node.after if ordered else (before for before in node.after if before in flat.conditional)
        return [*(source for source, _ in node.inputs), *after]

    return sorted(reachable((number for number, _ in tensors), sources))


def _library(flat: InlinedGraph, numbers: Iterable[int]) -> frozenset[str]:
    """Return the names of the functions that some nodes call, transitively."""
    functions = flat.meta.functions
    library: set[str] = set()
    todo: list[GraphNode] = [flat.nodes[number].node for number in numbers]
    while todo:
        node = todo.pop()
        named = [name for value in node.attributes.values() for name in called_functions(value)]
        for name in [node.op, *named]:
            if name in functions and name not in library:
                library.add(name)
                todo += functions[name].nodes
    return frozenset(library)


def _check(flat: InlinedGraph, numbers: list[int], library: frozenset[str]) -> None:
    """Check every operation of the subgraph against the allowlist, and refuse changes of variables that cannot be run."""
    functions = frozenset(flat.meta.functions)
    check_operations(
        ((flat.nodes[number].path, flat.nodes[number].op) for number in numbers), functions, flat.file, run=True
    )
    for name in sorted(library):
        nodes = flat.meta.functions[name].nodes
        check_operations(((f"{name}/{node.name}", node.op) for node in nodes), functions, flat.file, run=True)
    refused = WRITES - RUNNABLE_WRITES
    changed = next((flat.nodes[number] for number in numbers if flat.nodes[number].op in refused), None)
    for name in sorted(library):
        inner = next((node for node in flat.meta.functions[name].nodes if node.op in refused), None)
        if inner is not None:
            message = f'{flat.file}: the function "{escape(name, 80)}" changes a variable ("{escape(inner.name, 80)}") while it computes, which is not followed; export the model without it.'
            raise ModelError(message)
    if changed is not None:
        message = f'{flat.file}: "{escape(changed.path, 80)}" changes a variable, and these layers read what it gives, which is not followed; choose a layer before it.'
        raise ModelError(message)


def _check_handles(
    flat: InlinedGraph, numbers: Iterable[int], given: Mapping[int, str], library: Iterable[str]
) -> None:
    """Raise UnsafeError for a change of a variable that is not one of the file's own.

    A handle created inside a function refers to a variable of the whole process, whose value
    persists from one sample, and one model, to the next; TensorFlow passes handles as arguments.
    """
    made = writer = ""
    for name in sorted(library):
        nodes = flat.meta.functions[name].nodes
        made = made or next((f"{name}/{node.name}" for node in nodes if node.op in VARIABLES), "")
        writer = writer or next((f"{name}/{node.name}" for node in nodes if node.op in WRITES), "")
    refused = writer if made else ""
    for number in numbers:
        node = flat.nodes[number]
        if node.op in RUNNABLE_WRITES and given.get(_handle(flat, number)) != "variable":
            refused = refused or node.path
    if refused:
        message = f'{flat.file}: refused: "{escape(refused, 100)}" may change a variable that is none of the file\'s own; {NO_FLAG}.'
        raise UnsafeError(message)


def _handle(flat: InlinedGraph, number: int) -> int:
    """Return the index of the node that creates the handle of the changed variable, -1 if there is none."""
    seen: set[int] = set()
    while number not in seen:
        seen.add(number)
        inputs = flat.nodes[number].inputs
        if len(seen) > 1 and (flat.nodes[number].op not in PASSED_ON or not inputs):
            return number
        if not inputs:
            break
        number = inputs[0][0]
    return -1


def check_changes(flat: InlinedGraph, called: Iterable[int], numbers: Iterable[int]) -> None:
    """Raise ModelError for layers that read a variable which the same call may have changed before.

    A change that is computed from the value that was read comes after the read; any other may
    come before it. `called` are the nodes of the call, `numbers` those that are run; changes
    among those run in the order of the file.
    """
    run = set(numbers)
    read = {source for number in run for source, _ in flat.nodes[number].inputs if flat.nodes[source].op in VARIABLES}
    for number in called:
        node = flat.nodes[number]
        if number in run or node.op not in WRITES or not node.inputs or node.inputs[0][0] not in read:
            continue
        handle = node.inputs[0][0]
        behind = flat.ancestors(node.inputs[1:])
        if not any(
            flat.nodes[item].op == "ReadVariableOp" and flat.nodes[item].inputs[0][0] == handle for item in behind
        ):
            message = f'{flat.file}: the variable "{escape(flat.nodes[handle].path, 80)}" is changed by "{escape(node.path, 80)}" in the same call, maybe before it is read, which is not followed; choose other layers.'
            raise ModelError(message)
