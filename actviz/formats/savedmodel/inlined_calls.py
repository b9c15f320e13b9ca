"""Undo what TensorFlow leaves in a graph where it inlined function calls itself.

`convert_variables_to_constants_v2` inlines every call: the operations of a function called by
``StatefulPartitionedCall`` are named ``StatefulPartitionedCall/model/conv/Conv2D``, and every
argument and result passes through an ``Identity`` (``Func/StatefulPartitionedCall/input/_0``).
Without both, the graph has the names of layers that `inline_functions` gives.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor

PASSED = re.compile(r"Func/.+/(?:input|output)/_\d+")
CALL = re.compile(r"(?:^|(?<=/))(?:Stateful)?PartitionedCall(?:_\d+)?/")


def undo_inlining(flat: InlinedGraph) -> InlinedGraph:
    """Connect readers to what the arguments and results of inlined calls pass on, and drop calls from the paths.

    The graph is changed in place and returned. The nodes that pass arguments on remain, because
    control inputs may name them.
    """
    passed = {number: node.inputs[0] for number, node in enumerate(flat.nodes) if is_passed_on(flat, number)}

    def origin(tensor: Tensor) -> Tensor:
        seen: set[int] = set()
        while tensor[0] in passed and tensor[0] not in seen:
            seen.add(tensor[0])
            tensor = passed[tensor[0]]
        if seen:
            passed.update(dict.fromkeys(seen, tensor))  # a long chain is followed once
        return tensor

    for number, node in enumerate(flat.nodes):
        if number in passed:
            continue
        path = CALL.sub("", node.path)
        inputs = tuple(origin(tensor) for tensor in node.inputs) if passed else node.inputs
        if path != node.path or inputs != node.inputs:
            flat.nodes[number] = replace(node, path=path, inputs=inputs)
    return flat


def is_passed_on(flat: InlinedGraph, number: int) -> bool:
    """Return True for an ``Identity`` that passes on an argument or a result of an inlined call."""
    node = flat.nodes[number]
    return node.op == "Identity" and len(node.inputs) == 1 and PASSED.fullmatch(node.path) is not None
