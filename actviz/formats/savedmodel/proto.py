"""Parse a SavedModel or a frozen graph: nodes, functions, signatures and objects.

The protocol buffers are read field by field, without TensorFlow; nothing is loaded or run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from actviz.formats.checkpoint import DTYPES, parse_shape
from actviz.gate.protobuf import (
    all_bytes,
    as_bytes,
    fields,
    numbers,
    one_bytes,
    one_number,
    one_text,
    pairs,
    signed,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actviz.records import Shape

REFERENCE_DTYPE_OFFSET = 100


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One ``NodeDef``: its inputs as written (``name:0``, ``^name``), its attributes not parsed yet."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, memoryview]

    def attribute(self, name: str) -> memoryview:
        """Return an ``AttrValue`` message, empty if the node does not have the attribute."""
        return self.attributes.get(name, memoryview(b""))


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output of a signature; `shape` is ``None`` if the rank is unknown."""

    tensor: str
    dtype: str
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class GraphSignature:
    """A signature of a SavedModel: its inputs and outputs by key."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


@dataclass(frozen=True, slots=True)
class SavedObject:
    """One object of the saved object graph.

    `identifier` and `metadata` describe a Keras object; `functions` are the names of the
    concrete functions of a callable one.
    """

    children: Mapping[str, int]
    identifier: str = ""
    metadata: str = ""
    functions: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphFunction:
    """A function of a graph's library; `message` is its ``FunctionDef``."""

    name: str
    message: memoryview

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of its arguments."""
        return tuple(one_text(argument, 1) for argument in all_bytes(one_bytes(self.message, 1), 2))

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The names of the tensors that it returns, in order."""
        returns = {key: text(value) for key, value in pairs(self.message, 4)}
        names = [one_text(output, 1) for output in all_bytes(one_bytes(self.message, 1), 3)]
        return tuple(returns.get(name, "") for name in names)

    @cached_property
    def nodes(self) -> tuple[GraphNode, ...]:
        """The operations of its body."""
        return tuple(parse_node(message) for message in all_bytes(self.message, 3))


@dataclass(frozen=True)
class MetaGraph:
    """One graph of a SavedModel, identified by its tags; a frozen graph has none."""

    tags: tuple[str, ...]
    version: str
    nodes: tuple[GraphNode, ...]
    functions: Mapping[str, GraphFunction]
    signatures: Mapping[str, GraphSignature]
    assets: Mapping[str, str]
    producer: int
    restore: str
    objects_message: memoryview = field(default_factory=lambda: memoryview(b""))

    @cached_property
    def objects(self) -> tuple[SavedObject, ...]:
        """The object graph, the model itself first; empty before TensorFlow 2."""
        return tuple(_parse_object(message) for message in all_bytes(self.objects_message, 1))


def parse_tags(message: memoryview) -> tuple[str, ...]:
    """Return the tags of a ``MetaGraphDef`` without parsing the rest."""
    return tuple(text(tag) for tag in all_bytes(one_bytes(message, 1), 4))


def parse_meta_graph(message: memoryview) -> MetaGraph:
    """Parse one ``MetaGraphDef``.

    Raises
    ------
    MalformedProtobuf
        When the bytes are not a valid message.
    """
    info = one_bytes(message, 1)
    nodes, functions, producer = parse_graph_def(one_bytes(message, 2))
    assets = {one_text(one_bytes(asset, 1), 1): one_text(asset, 2) for asset in all_bytes(message, 6)}
    return MetaGraph(
        parse_tags(message),
        one_text(info, 5),
        nodes,
        functions,
        {key: _parse_signature(value) for key, value in pairs(message, 5)},
        {name.partition(":")[0]: file for name, file in assets.items()},
        producer,
        one_text(one_bytes(message, 3), 3),
        one_bytes(message, 7),
    )


def parse_graph_def(message: memoryview) -> tuple[tuple[GraphNode, ...], dict[str, GraphFunction], int]:
    """Return the operations of a ``GraphDef``, its function library and the version of its producer."""
    nodes: list[GraphNode] = []
    functions: dict[str, GraphFunction] = {}
    producer = 0
    for number, value in fields(message):
        if number == 1:
            nodes.append(parse_node(as_bytes(value)))
        elif number == 2:  # noqa: PLR2004  (the number of the field)
            for function in all_bytes(as_bytes(value), 1):
                name = one_text(one_bytes(function, 1), 1)
                functions[name] = GraphFunction(name, function)
        elif number == 4:  # noqa: PLR2004  (the number of the field)
            producer = one_number(as_bytes(value), 1)
    return tuple(nodes), functions, producer


def parse_node(message: memoryview) -> GraphNode:
    """Parse one ``NodeDef``."""
    name = op = ""
    inputs: list[str] = []
    attributes: dict[str, memoryview] = {}
    for number, value in fields(message):
        if number == 1:
            name = text(value)
        elif number == 2:  # noqa: PLR2004  (the number of the field, as below)
            op = text(value)
        elif number == 3:  # noqa: PLR2004
            inputs.append(text(value))
        elif number == 5:  # noqa: PLR2004
            key, content = "", memoryview(b"")
            for part, item in fields(as_bytes(value)):
                if part == 1:
                    key = text(item)
                else:
                    content = as_bytes(item)
            attributes[key] = content
    return GraphNode(name, op, tuple(inputs), attributes)


def _parse_signature(message: memoryview) -> GraphSignature:
    return GraphSignature(
        {key: _parse_tensor_info(value) for key, value in pairs(message, 1)},
        {key: _parse_tensor_info(value) for key, value in pairs(message, 2)},
    )


def _parse_tensor_info(message: memoryview) -> TensorInfo:
    shapes = all_bytes(message, 3)
    return TensorInfo(
        one_text(message, 1), dtype_name(one_number(message, 2)), parse_shape(shapes[-1]) if shapes else None
    )


def _parse_object(message: memoryview) -> SavedObject:
    children: dict[str, int] = {}
    identifier = metadata = ""
    functions: list[str] = []
    for number, value in fields(message):
        if number == 1:
            child = as_bytes(value)
            children[one_text(child, 2)] = one_number(child, 1)
        elif number == 4:  # noqa: PLR2004  (the number of the field: a user's object)
            identifier, metadata = one_text(as_bytes(value), 1), one_text(as_bytes(value), 3)
        elif number == 6:  # noqa: PLR2004  (a function)
            functions += [text(name) for name in all_bytes(as_bytes(value), 1)]
        elif number == 8:  # noqa: PLR2004  (a concrete function alone)
            functions.append(one_text(as_bytes(value), 1))
    return SavedObject(children, identifier, metadata, tuple(functions))


def dtype_name(number: int) -> str:
    """Return the name of a value of TensorFlow's ``DataType`` enum, ``""`` for an unknown one."""
    return DTYPES.get(number - REFERENCE_DTYPE_OFFSET if number > REFERENCE_DTYPE_OFFSET else number, "")


# An AttrValue is a oneof: 2 bytes, 3 int, 5 bool, 6 dtype, 7 shape, 8 tensor, 10 function, 1 a
# list of these, whose fields have the same numbers (functions: 9).
def attribute_text(node: GraphNode, name: str) -> str:
    """Return a string attribute of a node."""
    return one_text(node.attribute(name), 2)


def attribute_number(node: GraphNode, name: str) -> int:
    """Return an integer attribute of a node, 0 if it is missing."""
    return signed(one_number(node.attribute(name), 3))


def attribute_bool(node: GraphNode, name: str) -> bool:
    """Return a Boolean attribute of a node, False if it is missing."""
    return bool(one_number(node.attribute(name), 5))


def attribute_dtype(node: GraphNode, name: str) -> str:
    """Return the name of a dtype attribute of a node."""
    return dtype_name(one_number(node.attribute(name), 6))


def attribute_dtypes(node: GraphNode, name: str) -> list[str]:
    """Return the names in a list of dtypes."""
    return [dtype_name(item) for item in _listed_numbers(node, name, 6)]


def attribute_numbers(node: GraphNode, name: str) -> list[int]:
    """Return a list of integers."""
    return [signed(item) for item in _listed_numbers(node, name, 3)]


def _listed_numbers(node: GraphNode, name: str, field_number: int) -> list[int]:
    content = one_bytes(node.attribute(name), 1)
    return [item for number, value in fields(content) if number == field_number for item in numbers(value)]


def attribute_shape(node: GraphNode, name: str) -> Shape | None:
    """Return a shape attribute, ``None`` if it is missing or of unknown rank."""
    shapes = all_bytes(node.attribute(name), 7)
    return parse_shape(shapes[-1]) if shapes else None


def attribute_shapes(node: GraphNode, name: str) -> list[Shape | None]:
    """Return a list of shapes."""
    return [parse_shape(shape) for shape in all_bytes(one_bytes(node.attribute(name), 1), 7)]


def attribute_tensor(node: GraphNode, name: str) -> memoryview:
    """Return the ``TensorProto`` of a tensor attribute."""
    return one_bytes(node.attribute(name), 8)


def constant_shape(node: GraphNode) -> tuple[int, ...]:
    """Return the shape of a ``Const`` node."""
    shape = parse_shape(one_bytes(attribute_tensor(node, "value"), 2))
    return tuple(size or 0 for size in shape or ())


def called_functions(attribute: memoryview) -> list[str]:
    """Return the names of the functions in an attribute."""
    names = []
    for number, value in fields(attribute):
        if number == 10:  # noqa: PLR2004  (a function)
            names.append(one_text(as_bytes(value), 1))
        elif number == 1 and not isinstance(value, int):
            names += [one_text(function, 1) for function in all_bytes(value, 9)]
    return names
