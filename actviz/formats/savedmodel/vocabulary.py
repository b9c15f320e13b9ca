"""Vocabularies of Keras layers that only the graph of a SavedModel holds.

Since TensorFlow 2.6 the words of a StringLookup inside a SavedModel are constants of a
function that fills its table. The function is read here, never run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.formats.keras.object_graph import SKIPPED_ATTRIBUTES, vocabulary_in_order
from actviz.formats.savedmodel.folder import read_saved_model
from actviz.formats.savedmodel.inline import call_of, inline_functions
from actviz.formats.savedmodel.lookup_tables import contents_in

if TYPE_CHECKING:
    from pathlib import Path

    from actviz.formats.savedmodel.proto import MetaGraph

INITIALIZE = "_initialize"


def words_of_object(path: Path, place: tuple[str, ...]) -> list[str] | None:
    """Return the words of the layer at a path of attributes, ``None`` where it has no table.

    Words are in the order of their numbers, as the table maps them.
    """
    for meta in read_saved_model(path):
        words = _words(meta, place, path)
        if words is not None:
            return words
    return None


def _words(meta: MetaGraph, place: tuple[str, ...], path: Path) -> list[str] | None:
    objects = meta.objects
    number = 0
    for name in place:
        if not 0 <= number < len(objects) or name not in objects[number].children:
            return None
        number = objects[number].children[name]
    todo, seen = [number], set[int]()
    while todo:
        number = todo.pop(0)
        if number in seen or not 0 <= number < len(objects):
            continue
        seen.add(number)
        children = objects[number].children
        if INITIALIZE in children and 0 <= children[INITIALIZE] < len(objects):
            words = _filled_by(meta, objects[children[INITIALIZE]].functions, path)
            if words:
                return words
        todo += [child for name, child in children.items() if name not in SKIPPED_ATTRIBUTES]
    return None


def _filled_by(meta: MetaGraph, functions: tuple[str, ...], path: Path) -> list[str] | None:
    for node in meta.nodes:
        called = call_of(node, meta.functions)
        if called is not None and called.name in functions:
            flat = inline_functions(meta, path.name, (node.name,))
            for content in contents_in(flat, path, None).values():
                return vocabulary_in_order(content.keys.tolist(), content.values.ravel().tolist())
    return None
