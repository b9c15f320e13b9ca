"""Read the files of a SavedModel folder, and recognize frozen graphs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actviz.errors import ModelError, UnsafeError, UsageError, escape
from actviz.formats.checkpoint import refuse_link
from actviz.formats.savedmodel.proto import MetaGraph, parse_meta_graph
from actviz.gate.protobuf import MalformedProtobuf, all_bytes, varint
from actviz.system.file_system import exists, is_folder, read_bytes, reading

if TYPE_CHECKING:
    from pathlib import Path

SAVED_MODEL, AS_TEXT = "saved_model.pb", "saved_model.pbtxt"
HEAD_BYTES = 4096
FIRST_NODE = 0x0A
NODE_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.\\/>-]*")
GRAPH_BYTES = (1 << 31) - 1
"""The maximum size of a protocol buffer."""


def is_saved_model(path: Path) -> bool:
    """Return True if a path is a folder with a SavedModel in it, in either form."""
    return is_folder(path) and (exists(path / SAVED_MODEL) or exists(path / AS_TEXT))


def read_saved_model(path: Path) -> list[MetaGraph]:
    """Read every graph of a SavedModel folder.

    Raises
    ------
    UnsafeError
        When there is a `saved_model.pbtxt`, which other loaders prefer or fall back to, or
        when the file is a symbolic link.
    ModelError
        When it is missing, damaged or holds no graph.
    """
    name = path.name
    refuse_text_form(path)
    refuse_link(path / SAVED_MODEL, name)
    content = memoryview(read_bytes(path / SAVED_MODEL, GRAPH_BYTES, ModelError))
    try:
        graphs = [parse_meta_graph(message) for message in all_bytes(content, 2)]
    except MalformedProtobuf:
        message = (
            f"{name}: {SAVED_MODEL} ({len(content):,} bytes) is truncated or damaged; copy or save the model again."
        )
        raise ModelError(message) from None
    if not graphs:
        message = f"{name}: {SAVED_MODEL} ({len(content):,} bytes) holds no graph; save the model again."
        raise ModelError(message)
    return graphs


def is_frozen_graph(path: Path) -> bool:
    """Return True if a file begins like a graph of operations: with one that has a name and an operation.

    Any bytes may: other formats are asked for first by what they begin with.
    """
    try:
        with reading(path, ModelError) as (file, size):
            head = memoryview(file.read(HEAD_BYTES))
    except ModelError:
        return False
    if len(head) < 2 or head[0] != FIRST_NODE:  # noqa: PLR2004  (the field and its length)
        return False
    try:
        length, offset = varint(head, 1)
        if length > size - offset:
            return False
        names = _first_texts(head[offset : offset + length])
    except MalformedProtobuf:
        return False
    return len(names) == 2 and all(NODE_NAME.fullmatch(name) for name in names)  # noqa: PLR2004  (name and operation)


def _first_texts(message: memoryview) -> list[str]:
    """Return the first two texts of a node, its name and its operation, however long it is."""
    texts = []
    offset = 0
    for tag in (0x0A, 0x12):
        if offset >= len(message) or message[offset] != tag:
            return []
        length, offset = varint(message, offset + 1)
        texts.append(bytes(message[offset : offset + length]).decode("latin-1"))
        offset += length
    return texts


def refuse_text_form(path: Path) -> None:
    """Raise UnsafeError for a SavedModel in text form, which is not parsed and so cannot be checked."""
    if exists(path / AS_TEXT):
        message = f"{path.name}: refused: {AS_TEXT}, the text form of a SavedModel, is never opened; save the model again, or remove it if {SAVED_MODEL} lies beside it. There is no flag that allows it."
        raise UnsafeError(message)


def choose_graph(graphs: list[MetaGraph], tags: tuple[str, ...], name: str) -> MetaGraph:
    """Return the graph of some tags; without any, the only one or the one for serving.

    Raises
    ------
    UsageError
        When none has these tags; those that exist are named.
    ModelError
        When several could be meant.
    """
    wanted = [graph for graph in graphs if set(tags) <= set(graph.tags)] if tags else list(graphs)
    if not tags and len(wanted) > 1:
        wanted = [graph for graph in graphs if graph.tags == ("serve",)] or wanted
    exact = [graph for graph in wanted if set(graph.tags) == set(tags)]
    wanted = exact or wanted
    if len(wanted) == 1:
        return wanted[0]
    known = "; ".join(", ".join(escape(tag, 40) for tag in graph.tags) or "(no tag)" for graph in graphs)
    if not wanted:
        message = f'{name}: no graph has the tag "{escape(", ".join(tags), 80)}"; the file has: {known}.'
        raise UsageError(message)
    message = f"{name}: the file holds {len(graphs)} graphs; choose one with --tag: {known}."
    raise ModelError(message)
