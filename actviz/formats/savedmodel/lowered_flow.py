"""Loops and conditions of a graph, lowered to ``Enter``, ``Merge``, ``Switch`` and ``Exit``; loops as one ``While`` too.

A lowered loop is a frame: its operations run once for each step, so none of them has a value
of its own; only what an ``Exit`` passes out of the outermost frame has. Operations between the
``Switch`` and the ``Merge`` of a lowered condition have no value where the branch is not taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actviz.formats.savedmodel.dtypes import dtype_of
from actviz.formats.savedmodel.proto import attribute_number, attribute_text, called_functions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor
    from actviz.formats.savedmodel.proto import GraphFunction

WHILE = frozenset({"While", "StatelessWhile"})
ENTER = frozenset({"Enter", "RefEnter"})
EXIT = frozenset({"Exit", "RefExit"})
SWITCH = frozenset({"Switch", "RefSwitch"})
MERGE = frozenset({"Merge", "RefMerge"})
NEXT = frozenset({"NextIteration", "RefNextIteration"})
SEQUENCES = frozenset({"TensorListFromTensor", "TensorArrayScatterV3"})
"""Operations that hand the steps of a sequence to a loop."""
SELECTIONS = frozenset({"Select", "SelectV2"})
WHOLE = frozenset({"bool", "int32", "int64"})
NOT_VALUES = frozenset({"variant", "resource"})
ROOT = 0
DIRECTIONS = ("forward_", "backward_")
GATES = {(4, 2): "LSTM", (3, 1): "GRU"}
"""The class of a recurrent layer by the number of gates and of states."""


@dataclass
class LoweredFlow:
    """The lowered loops and conditions of a flat graph.

    `frames` maps the index of each node inside a loop to the number of its frame; `outermost`
    maps frames to the outermost frame around them. `valueless` are all nodes in loops and branches.
    """

    flat: InlinedGraph
    frames: dict[int, int] = field(default_factory=dict)
    outermost: dict[int, int] = field(default_factory=lambda: {ROOT: ROOT})

    valueless: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        """Find the nodes in loops and in branches."""
        self._find_frames()
        self.valueless = frozenset(self.frames) | self._branches()

    def _find_frames(self) -> None:
        """Assign nodes to frames: those of their inputs, one deeper after ``Enter`` and one less after ``Exit``."""
        nodes = self.flat.nodes
        enters = [number for number, node in enumerate(nodes) if node.op in ENTER]
        if not enters:
            return
        readers = self.flat.followers
        inner = self.flat.descendants(enters)
        parents, named = {ROOT: ROOT}, dict[tuple[int, str], int]()
        todo = [number for number in enters if not any(source in inner for source, _ in nodes[number].inputs)]
        around = dict.fromkeys(todo, ROOT)
        while todo:
            number = todo.pop()
            if number in self.frames:
                continue
            frame, node = around[number], nodes[number]
            if node.op in ENTER:
                key = (frame, attribute_text(node.node, "frame_name"))
                if key not in named:
                    named[key] = new = len(parents)
                    parents[new] = frame
                    self.outermost[new] = self.outermost[frame] or new
                frame = named[key]
            elif node.op in EXIT:
                frame = parents[frame]
            if frame == ROOT:
                continue
            self.frames[number] = frame
            for reader in readers.get(number, ()):
                if reader not in self.frames:
                    around[reader] = frame
                    todo.append(reader)

    def _branches(self) -> set[int]:
        """Return the nodes between the ``Switch`` and the ``Merge`` of conditions outside loops, in topological order."""
        nodes = self.flat.nodes
        starts = {n for n, node in enumerate(nodes) if node.op in SWITCH and n not in self.frames}
        region = starts | (self.flat.descendants(starts) if starts else set())
        before = {
            number: {
                source
                for source in (*(source for source, _ in nodes[number].inputs), *nodes[number].after)
                if source in region and nodes[source].op not in NEXT
            }
            for number in region
        }
        depths: dict[int, int] = {}
        for number in _sorted(before, self.flat.followers):
            depth = max((depths[source] for source in before[number]), default=0)
            if number not in self.frames:
                depth += (nodes[number].op in SWITCH) - (nodes[number].op in MERGE)
            depths[number] = max(depth, 0)
        return {number for number, depth in depths.items() if depth}

    def recurrent_class(self, numbers: Sequence[int]) -> str:
        """Return the Keras class of a recurrent layer by the gates of its cell, ``""`` if they do not tell.

        `numbers` are the nodes of the layer. An LSTM splits one product into four gates and has two
        states, a GRU splits into three and has one.
        """
        nodes = self.flat.nodes
        operations = [number for number in numbers if nodes[number].op in WHILE]
        loops = {self.outermost[self.frames[number]] for number in numbers if number in self.frames}
        if len(operations) + len(loops) == len(DIRECTIONS) and all(
            any(f"/{direction}" in nodes[number].path for number in numbers) for direction in DIRECTIONS
        ):
            return "Bidirectional"
        if len(operations) + len(loops) != 1:
            return ""
        states = while_states(self.flat, operations[0]) if operations else self.states(numbers)
        body = _body(self.flat, operations[0]) if operations else None
        inner = body.nodes if body else [nodes[number].node for number in numbers if number in self.frames]
        if any(node.op.startswith("Conv") for node in inner):
            return ""
        gates = {attribute_number(node, "num_split") for node in inner if node.op == "Split"}
        return GATES.get((max(gates, default=0), len(states)), "")

    def sequences_read(self, number: int) -> list[int]:
        """Return the nodes that the loop of an ``Exit`` reads."""
        nodes = self.flat.nodes
        frame = next((self.frames[source] for source, _ in nodes[number].inputs if source in self.frames), ROOT)
        loop = self.outermost[frame]
        return [
            source
            for enter, inside in self.frames.items()
            if inside == loop != ROOT and nodes[enter].op in ENTER
            for source, _ in nodes[enter].inputs
        ]

    def states(self, numbers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of the only lowered loop in a layer that are states, in the order of its variables.

        Empty if there is no loop, or more than one.
        """
        nodes = self.flat.nodes
        exits = [number for number in numbers if nodes[number].op in EXIT and number not in self.frames]
        inside = [number for number in numbers if number in self.frames]
        if len({self.outermost[self.frames[number]] for number in inside}) != 1:
            return []
        left = {variable: (number, 0) for number in exits for variable in self._merges_of(number)}
        merges = [
            number
            for number in inside
            if nodes[number].op in MERGE and self.frames[number] in self.outermost.values() and self._changes(number)
        ]
        merges.sort(key=lambda number: _last_number(nodes[number].path))
        if any(nodes[number].op in SELECTIONS for number in inside):
            merges = merges[1:]
        return [left.get(number, (-1, 0)) for number in merges]

    def _merges_of(self, number: int) -> Iterator[int]:
        """Yield the ``Merge`` of the variable that an ``Exit`` passes out of a loop."""
        nodes = self.flat.nodes
        for switch, _ in nodes[number].inputs:
            if nodes[switch].op in SWITCH:
                yield from (source for source, _ in nodes[switch].inputs[:1] if nodes[source].op in MERGE)

    def _changes(self, number: int) -> bool:
        """Return True for a variable of floating-point values that a step changes, other than a tensor list."""
        nodes = self.flat.nodes
        kind = dtype_of(nodes[number].node, 0)
        if kind in WHOLE | NOT_VALUES:
            return False
        for source, _ in nodes[number].inputs:
            if nodes[source].op in ENTER:
                given, _ = (
                    self.flat.origin(nodes[source].inputs[0], {"Identity"}) if nodes[source].inputs else (source, 0)
                )
                if nodes[given].op.startswith("TensorArray"):
                    return False  # the flow of a TensorArray is a number of type float32
            if nodes[source].op in NEXT:
                changed, _ = self.flat.origin((source, 0), {"Identity", *NEXT})
                if nodes[changed].op in SWITCH and nodes[changed].inputs[:1] == ((number, 0),):
                    return False
        return True


def while_states(flat: InlinedGraph, number: int) -> list[Tensor]:
    """Return the outputs of a ``While`` operation that are states: variables of floating-point values that a step changes."""
    node = flat.nodes[number].node
    body = _body(flat, number)
    if body is None:
        return []
    changing = [
        (number, index)
        for index, output in enumerate(body.outputs)
        if output not in body.arguments and dtype_of(node, index) not in WHOLE | NOT_VALUES
    ]
    # With a mask, the last output is a variable before the states.
    return changing[1:] if any(inner.op in SELECTIONS for inner in body.nodes) else changing


def _body(flat: InlinedGraph, number: int) -> GraphFunction | None:
    """Return the function that a ``While`` operation calls for each step."""
    named = called_functions(flat.nodes[number].node.attribute("body"))
    return flat.meta.functions.get(named[0]) if named else None


def _sorted(before: dict[int, set[int]], followers: Mapping[int, list[int]]) -> Iterator[int]:
    """Yield nodes in topological order; those of a cycle are left out."""
    missing = {number: len(sources) for number, sources in before.items()}
    todo = [number for number, count in missing.items() if not count]
    while todo:
        number = todo.pop()
        yield number
        for reader in followers.get(number, ()):
            if reader in before and number in before[reader]:
                missing[reader] -= 1
                if not missing[reader]:
                    todo.append(reader)


def _last_number(path: str) -> int:
    """Return the number at the end of a path, by which TensorFlow counts the variables of a loop."""
    match = re.search(r"_(\d+)$", path)
    return int(match[1]) if match else 0
