"""The part of a flat graph that some tensors need, written as a graph that TensorFlow can run.

Nothing else of the file reaches TensorFlow: no saver, no initialiser, no other signature.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actviz.errors import ModelError, UnsafeError, escape
from actviz.formats.savedmodel.dtypes import dtype_of
from actviz.formats.savedmodel.inline import FLOW
from actviz.formats.savedmodel.lookup_tables import TABLES
from actviz.formats.savedmodel.proto import attribute_number, functions_named
from actviz.gate.operations import (
    CHANGING,
    RUNNABLE_WRITES,
    SEEDED_BY_ATTRIBUTES,
    SEEDED_BY_INPUTS,
    check_operations,
)
from actviz.gate.protobuf import encode_bytes, encode_varint, one_number
from actviz.gate.trust import NO_FLAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor
    from actviz.formats.savedmodel.proto import GraphNode

VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})
WRITES = CHANGING - {"DestroyResourceOp"}
PASSED_ON = frozenset({"Identity", "Enter", "Switch"})
"""Operations that pass a handle on, as in the loops and conditions of TensorFlow 1."""


@dataclass(frozen=True)
class Subgraph:
    """A graph to run: its definition, and which of its tensors come from outside.

    `given` maps numbers of nodes to what is fed: ``input``, ``variable`` or ``table``. `writes`
    are the numbers of the nodes that change a variable, in functions that they call too; where
    there are any, nodes keep the order that the file gives them.
    """

    flat: InlinedGraph
    numbers: tuple[int, ...]
    given: Mapping[int, str]
    library: frozenset[str] = field(default_factory=frozenset)
    writes: tuple[int, ...] = ()

    def random(self, *, fixed: bool) -> list[tuple[str, str]]:
        """Return path and kind of the operations that draw random numbers, with a seed of the file (`fixed`) or none."""
        nodes = [(self.flat.nodes[number].path, self.flat.nodes[number].node) for number in self.numbers]
        nodes += [
            (f"{name}/{node.name}", node)
            for name in sorted(self.library)
            for node in self.flat.meta.functions[name].nodes
        ]
        return [(path, node.op) for path, node in nodes if _is_random(node) and _has_seed(node) == fixed]

    @property
    def draws(self) -> bool:
        """Whether an operation draws from a generator that goes on from one run to the next."""
        found = {kind for fixed in (False, True) for _, kind in self.random(fixed=fixed)}
        return bool(found & SEEDED_BY_ATTRIBUTES)

    def definition(self) -> bytes:
        """Return the graph as TensorFlow reads it; the node number 7 is called ``n7``."""
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
        if self.writes:
            run = set(self.numbers) - set(self.given)
            parts += [encode_bytes(3, f"^n{before}".encode()) for before in dict.fromkeys(node.after) if before in run]
        for key, value in node.node.attributes.items():
            if not key.startswith("_"):
                entry = encode_bytes(1, key.encode("utf-8", "surrogateescape")) + encode_bytes(2, value)
                parts.append(encode_bytes(5, entry))
        return b"".join(parts)


def extract_subgraph(
    flat: InlinedGraph, tensors: Iterable[Tensor], fed: frozenset[int], called: Iterable[int] = ()
) -> Subgraph:
    """Return what some tensors need; `fed` are the numbers of the nodes that inputs replace.

    `called` are the nodes of the whole call: those of them that change a variable which is read
    here belong to the cut, in their order.

    Raises
    ------
    UnsafeError
        When an operation in it, or in a function that it calls, is not pure.
    ModelError
        When it reads a placeholder that is no input, or changes what cannot be followed.
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
    """Return the nodes of a call that change a variable which some nodes read, and so on for what those read.

    Nothing where one of them cannot be run: `check_changes` decides about those.
    """
    writers: dict[int, list[int]] = {}
    for number in called:
        if _writes(flat, number):
            for source, _ in flat.nodes[number].inputs:
                if flat.nodes[source].op == "VarHandleOp":
                    writers.setdefault(source, []).append(number)
    found: set[int] = set()
    read = set(numbers)
    while True:
        new = {number for handle in read & writers.keys() for number in writers[handle]} - found
        if not new:
            break
        found |= new
        read |= set(_needed(flat, [(number, 0) for number in found], fed, ordered=True))
    runnable = all(flat.nodes[number].op in RUNNABLE_WRITES | FLOW for number in read if _writes(flat, number))
    return sorted(found) if runnable else []


def _writes(flat: InlinedGraph, number: int) -> bool:
    """Tell whether a node, or a function that it calls, changes a variable."""
    op = flat.nodes[number].op
    if op in WRITES:
        return True
    return op in FLOW and any(
        node.op in WRITES for name in _library(flat, [number]) for node in flat.meta.functions[name].nodes
    )


def _is_random(node: GraphNode) -> bool:
    if node.op.startswith("Fractional") and one_number(node.attributes.get("deterministic", memoryview(b"")), 5):
        return False
    return node.op in SEEDED_BY_ATTRIBUTES or node.op in SEEDED_BY_INPUTS


def _has_seed(node: GraphNode) -> bool:
    """Tell whether the file fixes the seed of a random operation."""
    return node.op in SEEDED_BY_INPUTS or any(attribute_number(node, name) for name in ("seed", "seed2"))


def _needed(flat: InlinedGraph, tensors: Iterable[Tensor], fed: frozenset[int], *, ordered: bool = False) -> list[int]:
    """Return the numbers of the nodes that some tensors need; `ordered`: and of those that run before them."""
    needed: set[int] = set()
    todo = [number for number, _ in tensors]
    while todo:
        number = todo.pop()
        if number not in needed:
            needed.add(number)
            if number not in fed:
                todo += [source for source, _ in flat.nodes[number].inputs]
                todo += flat.nodes[number].after if ordered else ()
    return sorted(needed)


def _library(flat: InlinedGraph, numbers: Iterable[int]) -> frozenset[str]:
    """Return the functions that loops and conditions among some nodes call, at any depth."""
    functions = flat.meta.functions
    found: set[str] = set()
    todo: list[GraphNode] = [flat.nodes[number].node for number in numbers]
    while todo:
        node = todo.pop()
        named = [name for value in node.attributes.values() for name in functions_named(value)]
        for name in [node.op, *named]:
            if name in functions and name not in found:
                found.add(name)
                todo += functions[name].nodes
    return frozenset(found)


def _check(flat: InlinedGraph, numbers: list[int], library: frozenset[str]) -> None:
    """Check every operation that is to be run, and that no variable is read after a change."""
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
    """Refuse a change of a variable that is not a copy of one of the file.

    A handle that is made inside a function names a variable of the whole process, whose value
    stays from one sample, and one model, to the next; honest files give handles as arguments.
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
    """Return the node that makes the handle which a change of a variable is given, -1 where none does."""
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
    """Refuse layers that read a variable which the same call may have changed before.

    A change that is computed from what was read came after the read; any other may have come
    before. `called` are the nodes of the call, `numbers` those that are run; changes among
    those come in the order of the file.
    """
    run = set(numbers)
    read = {source for number in run for source, _ in flat.nodes[number].inputs if flat.nodes[source].op in VARIABLES}
    for number in called:
        node = flat.nodes[number]
        if number in run or node.op not in WRITES or not node.inputs or node.inputs[0][0] not in read:
            continue
        handle = node.inputs[0][0]
        behind = flat.ancestors(node.inputs[1:])
        if not any(flat.nodes[one].op == "ReadVariableOp" and flat.nodes[one].inputs[0][0] == handle for one in behind):
            message = f'{flat.file}: the variable "{escape(flat.nodes[handle].path, 80)}" is changed by "{escape(node.path, 80)}" in the same call, maybe before it is read, which is not followed; choose other layers.'
            raise ModelError(message)
