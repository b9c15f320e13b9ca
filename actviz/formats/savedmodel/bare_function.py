"""SavedModels without signatures whose root is one function, as onnx2tf writes them.

``tf.saved_model.save(concrete_function, path)`` stores the function in the library and names it in
the root object; nothing in the graph calls it. It becomes a signature here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from actviz.formats.savedmodel.proto import (
    GraphNode,
    GraphSignature,
    TensorInfo,
    attribute_shapes,
    dtype_name,
)
from actviz.gate.protobuf import all_bytes, encode_varint, fields, numbers, one_bytes, one_number, pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actviz.formats.savedmodel.proto import GraphFunction, MetaGraph

BARE = "serving_default"
CALL = "StatefulPartitionedCall"
"""A name of this form is left out of the paths of the function's operations."""


def with_signature(meta: MetaGraph) -> MetaGraph:
    """Return a graph in which the function that is the root object is called by a signature.

    The graph is returned as it is if its root is not exactly one function, or one that reads
    variables: these are objects beside it, to which its arguments are bound.
    """
    named = meta.objects[0].functions if meta.objects else ()
    function = meta.functions.get(named[0]) if len(named) == 1 else None
    if function is None or not function.arguments or _bound_inputs(meta, function.name):
        return meta
    taken = {node.name for node in meta.nodes}
    arguments = dict(zip(function.arguments, _arguments(function), strict=False))
    if len(arguments) < len(function.arguments):
        return meta
    names = {key: next(name for name in _numbered(f"{BARE}_{key}") if name not in taken) for key in arguments}
    call = next(name for name in _numbered(CALL) if name not in taken)
    nodes = [
        GraphNode(names[key], "Placeholder", (), {"dtype": memoryview(encode_varint(6 << 3) + encode_varint(number))})
        for key, (number, _) in arguments.items()
    ]
    nodes.append(GraphNode(call, function.name, tuple(names.values()), {}))
    inputs = {
        key: TensorInfo(f"{names[key]}:0", dtype_name(number), shape) for key, (number, shape) in arguments.items()
    }
    outputs = {f"output_{index}": TensorInfo(f"{call}:{index}", "", None) for index in range(len(function.outputs))}
    signatures = {**meta.signatures, BARE: GraphSignature(inputs, outputs)}
    return replace(meta, nodes=(*meta.nodes, *nodes), signatures=signatures)


def _arguments(function: GraphFunction) -> Iterator[tuple[int, tuple[int | None, ...] | None]]:
    """Yield the number of the dtype and the shape of each argument."""
    attributes = dict(pairs(function.message, 5))
    shapes = attribute_shapes(GraphNode("", "", (), attributes), "_input_shapes")
    for index, argument in enumerate(all_bytes(one_bytes(function.message, 1), 2)):
        yield one_number(argument, 3), shapes[index] if index < len(shapes) else None


def _bound_inputs(meta: MetaGraph, name: str) -> list[int]:
    """Return the objects that TensorFlow passes to a function beside its arguments."""
    concrete = dict(pairs(meta.objects_message, 2)).get(name, memoryview(b""))
    return [item for number, value in fields(concrete) if number == 2 for item in numbers(value)]  # noqa: PLR2004  (the number of the field)


def _numbered(name: str) -> Iterator[str]:
    """Yield a name, and then that name with the numbers 1, 2, ..."""
    yield name
    number = 0
    while True:
        number += 1
        yield f"{name}_{number}"
