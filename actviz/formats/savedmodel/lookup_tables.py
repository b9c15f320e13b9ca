"""Read the content of a graph's lookup tables from its initializers, without running them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.errors import ModelError, UnsafeError, escape
from actviz.formats.checkpoint import refuse_link
from actviz.formats.savedmodel.inline import InlinedGraph, Tensor, call_of, inline_functions
from actviz.formats.savedmodel.proto import attribute_number, attribute_tensor, attribute_text
from actviz.formats.savedmodel.tensor_proto import tensor_of
from actviz.gate.protobuf import MalformedProtobuf
from actviz.gate.trust import NO_FLAG
from actviz.system.file_system import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from actviz.formats.checkpoint import Checkpoint
    from actviz.formats.savedmodel.proto import MetaGraph

TABLES = frozenset(
    {
        "HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2", "MutableHashTableOfTensors",
        "MutableHashTableOfTensorsV2",
    }
)  # fmt: skip
GIVEN = frozenset({"LookupTableImport", "LookupTableImportV2", "InitializeTable", "InitializeTableV2"})
FROM_FILE = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
WHOLE_LINE, LINE_NUMBER = -2, -1
ASSET_BYTES = 256 << 20
PASSING = frozenset({"Identity", "Snapshot", "StopGradient"})


@dataclass(frozen=True, slots=True)
class TableContent:
    """The content of a table: keys and values as arrays of equal length."""

    keys: Any
    values: Any


def table_contents(
    meta: MetaGraph, folder: Path | None, checkpoint: Checkpoint | None, name: str
) -> dict[str, TableContent]:
    """Return the content of every table of the main graph, by the name of its node.

    Raises
    ------
    ModelError, UnsafeError
        When a table is damaged, or is read from a file outside the folder.
    """
    tables = {node.name for node in meta.nodes if node.op in TABLES}
    if not tables:
        return {}
    calls = [
        node.name
        for node in meta.nodes
        if call_of(node, meta.functions) is not None and any(text.partition(":")[0] in tables for text in node.inputs)
    ]
    contents: dict[str, TableContent] = {}
    for call in [None, *calls]:
        flat = inline_functions(meta, name, () if call is None else (call,))
        contents |= contents_in(flat, folder, checkpoint)
    return contents


def contents_in(flat: InlinedGraph, folder: Path | None, checkpoint: Checkpoint | None) -> dict[str, TableContent]:
    """Return the content of the tables that a flat graph initializes, by the names of their nodes."""
    contents: dict[str, TableContent] = {}
    for node in flat.nodes:
        if node.op in GIVEN | FROM_FILE and node.inputs:
            table = source_of(flat, node.inputs[0])
            handle = flat.nodes[table[0]]
            if handle.op not in TABLES:
                continue
            content: TableContent | None
            if node.op in FROM_FILE:
                content = _from_file(flat, node.inputs[1], node.node, folder)
            else:
                keys, values = (_value(flat, tensor, checkpoint) for tensor in node.inputs[1:3])
                content = None if keys is None or values is None else TableContent(keys.ravel(), values)
            if content is not None:
                contents.setdefault(handle.node.name, content)
    return contents


def source_of(flat: InlinedGraph, tensor: Tensor) -> Tensor:
    """Return the tensor behind operations that only pass it on."""
    return flat.origin(tensor, PASSING)


def constant(flat: InlinedGraph, tensor: Tensor) -> Any | None:
    """Return the value of a tensor that is a constant of the graph, ``None`` for any other."""
    number, _ = source_of(flat, tensor)
    if flat.nodes[number].op not in {"Const", "HostConst"}:
        return None
    try:
        return tensor_of(attribute_tensor(flat.nodes[number].node, "value"))
    except MalformedProtobuf:
        message = f'{flat.file}: the constant "{escape(flat.nodes[number].path, 80)}" is damaged; save the model again.'
        raise ModelError(message) from None


def restored_key(flat: InlinedGraph, tensor: Tensor) -> str | None:
    """Return the checkpoint key of a restored tensor, ``None`` for any other."""
    number, output = source_of(flat, tensor)
    node = flat.nodes[number]
    if node.op != "RestoreV2" or len(node.inputs) < 3:  # noqa: PLR2004  (prefix, names, slices)
        return None
    names = constant(flat, node.inputs[1])
    if names is None or output >= names.size:
        return None
    return bytes(names.ravel()[output]).decode("utf-8", "surrogateescape")


def _value(flat: InlinedGraph, tensor: Tensor, checkpoint: Checkpoint | None) -> Any | None:
    key = restored_key(flat, tensor)
    if key is not None and checkpoint is not None:
        return checkpoint.read(key)
    return constant(flat, tensor)


def _behind_variable(flat: InlinedGraph, tensor: Tensor) -> Tensor:
    """Return the tensor assigned to a variable that is assigned exactly once, as paths of assets are."""
    number, output = source_of(flat, tensor)
    if flat.nodes[number].op != "ReadVariableOp" or not flat.nodes[number].inputs:
        return number, output
    handle = flat.nodes[number].inputs[0]
    given = [node.inputs[1] for node in flat.nodes if node.op == "AssignVariableOp" and node.inputs[:1] == (handle,)]
    return source_of(flat, given[0]) if len(given) == 1 else (number, output)


def _from_file(flat: InlinedGraph, tensor: Tensor, node: Any, folder: Path | None) -> TableContent:
    """Read the words of a table from an asset of the SavedModel."""
    import numpy as np

    number, _ = _behind_variable(flat, tensor)
    named = constant(flat, (number, 0))
    file = flat.meta.assets.get(flat.nodes[number].node.name)
    if file is None and named is not None and named.size == 1:
        file = bytes(named.ravel()[0]).decode("utf-8", "surrogateescape").rpartition("/")[2]
    if folder is None or file is None or not file or file.startswith(".") or "/" in file or "\0" in file:
        message = f'{flat.file}: refused: a table reads the file "{escape(str(file), 80)}", which is not one of the model\'s own assets; {NO_FLAG}.'
        raise UnsafeError(message)
    path = folder / "assets" / file
    refuse_link(path.parent, flat.file)
    refuse_link(path, flat.file)
    lines = read_bytes(path, ASSET_BYTES, ModelError).split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    offset = attribute_number(node, "offset")
    delimiter = attribute_text(node, "delimiter").encode() or b"\t"
    columns = []
    for attribute in ("key_index", "value_index"):
        index = attribute_number(node, attribute)
        if index == LINE_NUMBER:
            columns.append(np.arange(len(lines), dtype=np.int64) + offset)
        elif index == WHOLE_LINE:
            columns.append(np.array(lines, object))
        else:
            parts = [line.split(delimiter) for line in lines]
            if any(len(part) <= index for part in parts):
                message = f'{flat.file}: the asset "{escape(file, 80)}" has lines without column {index}; copy the model again.'
                raise ModelError(message)
            columns.append(np.array([part[index] for part in parts], object))
    return TableContent(columns[0], columns[1])
