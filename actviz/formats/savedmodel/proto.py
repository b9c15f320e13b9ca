"""What a SavedModel or a frozen graph holds: nodes, functions, signatures, objects.

Read from the bytes of `saved_model.pb` with nothing but the wire format; nothing is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from actviz.formats.checkpoint import DTYPES, shape_of
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

REFERENCE = 100


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One operation: its inputs as the graph spells them, its attributes not read yet."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, memoryview]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output of a signature; `shape` is ``None`` where even the rank is free."""

    tensor: str
    dtype: str
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class GraphSignature:
    """A named way of calling a SavedModel: its inputs and outputs by key."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


@dataclass(frozen=True, slots=True)
class SavedObject:
    """One object of the graph of Python objects that was saved.

    `identifier` and `metadata` say of which kind it is where it is one of Keras's;
    `functions` are the concrete functions of one that can be called.
    """

    children: Mapping[str, int]
    identifier: str = ""
    metadata: str = ""
    functions: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphFunction:
    """A function of a graph's library; `message` is its definition as it is written."""

    name: str
    message: memoryview

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of its arguments."""
        return tuple(one_text(argument, 1) for argument in all_bytes(one_bytes(self.message, 1), 2))

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The tensors that it returns, in order."""
        returns = {key: text(value) for key, value in pairs(self.message, 4)}
        names = [one_text(output, 1) for output in all_bytes(one_bytes(self.message, 1), 3)]
        return tuple(returns.get(name, "") for name in names)

    @cached_property
    def nodes(self) -> tuple[GraphNode, ...]:
        """Its operations."""
        return tuple(node_of(message) for message in all_bytes(self.message, 3))


@dataclass(frozen=True)
class MetaGraph:
    """One graph of a SavedModel, chosen by its tags; a frozen graph is one without tags."""

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
        """The graph of Python objects, the model itself first; empty before TensorFlow 2."""
        return tuple(_object(message) for message in all_bytes(self.objects_message, 1))


def tags_of(message: memoryview) -> tuple[str, ...]:
    """Return the tags of a meta graph without reading the rest."""
    return tuple(text(tag) for tag in all_bytes(one_bytes(message, 1), 4))


def meta_graph(message: memoryview) -> MetaGraph:
    """Read one meta graph of a SavedModel.

    Raises
    ------
    Damaged
        When the bytes are no such message.
    """
    info = one_bytes(message, 1)
    nodes, functions, producer = graph_of(one_bytes(message, 2))
    assets = {one_text(one_bytes(asset, 1), 1): one_text(asset, 2) for asset in all_bytes(message, 6)}
    return MetaGraph(
        tags_of(message),
        one_text(info, 5),
        nodes,
        functions,
        {key: _signature(value) for key, value in pairs(message, 5)},
        {name.partition(":")[0]: file for name, file in assets.items()},
        producer,
        one_text(one_bytes(message, 3), 3),
        one_bytes(message, 7),
    )


def graph_of(message: memoryview) -> tuple[tuple[GraphNode, ...], dict[str, GraphFunction], int]:
    """Return the operations of a graph, its library of functions and its producer's version."""
    nodes: list[GraphNode] = []
    functions: dict[str, GraphFunction] = {}
    producer = 0
    for number, value in fields(message):
        if number == 1:
            nodes.append(node_of(as_bytes(value)))
        elif number == 2:  # noqa: PLR2004  (the number of the field)
            for function in all_bytes(as_bytes(value), 1):
                name = one_text(one_bytes(function, 1), 1)
                functions[name] = GraphFunction(name, function)
        elif number == 4:  # noqa: PLR2004  (the number of the field)
            producer = one_number(as_bytes(value), 1)
    return tuple(nodes), functions, producer


def node_of(message: memoryview) -> GraphNode:
    """Read one operation."""
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


def _signature(message: memoryview) -> GraphSignature:
    return GraphSignature(
        {key: _tensor_info(value) for key, value in pairs(message, 1)},
        {key: _tensor_info(value) for key, value in pairs(message, 2)},
    )


def _tensor_info(message: memoryview) -> TensorInfo:
    shapes = all_bytes(message, 3)
    return TensorInfo(
        one_text(message, 1), dtype_name(one_number(message, 2)), shape_of(shapes[-1]) if shapes else None
    )


def _object(message: memoryview) -> SavedObject:
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
    """Return the name of TensorFlow's number of a dtype, ``""`` for one that is not known."""
    return DTYPES.get(number - REFERENCE if number > REFERENCE else number, "")


# An attribute is a message of which one field is set: 2 a text, 3 a whole number, 5 a truth,
# 6 a dtype, 7 a shape, 8 a tensor, 10 a function, 1 a list of any of these.
def attribute_text(node: GraphNode, name: str) -> str:
    """Return a text attribute of a node."""
    return one_text(node.attributes.get(name, memoryview(b"")), 2)


def attribute_number(node: GraphNode, name: str) -> int:
    """Return a whole number attribute of a node."""
    return signed(one_number(node.attributes.get(name, memoryview(b"")), 3))


def attribute_dtype(node: GraphNode, name: str) -> str:
    """Return a dtype attribute of a node by its name."""
    return dtype_name(one_number(node.attributes.get(name, memoryview(b"")), 6))


def attribute_dtypes(node: GraphNode, name: str) -> list[str]:
    """Return an attribute that lists dtypes."""
    content = one_bytes(node.attributes.get(name, memoryview(b"")), 1)
    found = [number for field_number, value in fields(content) if field_number == 6 for number in numbers(value)]  # noqa: PLR2004  (dtypes)
    return [dtype_name(number) for number in found]


def attribute_numbers(node: GraphNode, name: str) -> list[int]:
    """Return an attribute that lists whole numbers."""
    content = one_bytes(node.attributes.get(name, memoryview(b"")), 1)
    return [signed(number) for place, value in fields(content) if place == 3 for number in numbers(value)]  # noqa: PLR2004  (whole numbers)


def attribute_shape(node: GraphNode, name: str) -> Shape | None:
    """Return a shape attribute, ``None`` where there is none or its rank is free."""
    found = all_bytes(node.attributes.get(name, memoryview(b"")), 7)
    return shape_of(found[-1]) if found else None


def attribute_shapes(node: GraphNode, name: str) -> list[Shape | None]:
    """Return an attribute that lists shapes."""
    content = one_bytes(node.attributes.get(name, memoryview(b"")), 1)
    return [shape_of(shape) for shape in all_bytes(content, 7)]


def attribute_tensor(node: GraphNode, name: str) -> memoryview:
    """Return a tensor attribute as it is written."""
    return one_bytes(node.attributes.get(name, memoryview(b"")), 8)


def constant_shape(node: GraphNode) -> tuple[int, ...]:
    """Return the shape of a constant."""
    found = shape_of(one_bytes(attribute_tensor(node, "value"), 2))
    return tuple(size or 0 for size in found or ())


def functions_named(attribute: memoryview) -> list[str]:
    """Return the functions that an attribute names, alone or in a list."""
    found = []
    for number, value in fields(attribute):
        if number == 10:  # noqa: PLR2004  (a function)
            found.append(one_text(as_bytes(value), 1))
        elif number == 1 and not isinstance(value, int):
            found += [one_text(function, 1) for function in all_bytes(value, 9)]
    return found
