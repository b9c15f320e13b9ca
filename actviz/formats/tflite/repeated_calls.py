"""What the scopes in a file are called in the model: converters and exporters number them.

A scope is the way to a layer, ``("model", "encoder", "conv")``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actviz.formats.tflite.op_names import INNER_SCOPE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Scope = tuple[str, ...]
Renamed = dict[Scope, Scope]

_CALL = re.compile(r"(.+)_(\d+)")
_OF_KERAS = 2  # the model and its layers
_PLAIN_OUTPUT = re.compile(r"output_\d+")


def rename_scopes(
    scopes: Collection[Scope],
    outputs: Collection[str],
    weights: Mapping[Scope, frozenset[int]],
    *,
    numbered: bool = False,
) -> Renamed:
    """Return for scopes of a file how the model calls them, calls after the first with ``#1``...

    Parameters
    ----------
    scopes
        All of the file.
    outputs
        The names of its signature's outputs. Keras 3 calls them ``output_0``, or as the model's
        dictionary of outputs does; Keras 2 by their layers.
    weights
        For each scope the numbers of the constants that its operators read.
    numbered
        Whether the names of the outputs show that Keras 3 exported the model, whatever keys the
        dictionary of its outputs has.
    """
    last = {scope[-1] for scope in scopes if scope}
    plain = bool(outputs) and all(_PLAIN_OUTPUT.fullmatch(name) for name in outputs)
    if plain or numbered or (any(f"{name}_1" in last for name in outputs) and not last & set(outputs)):
        renamed = undo_export_numbers(scopes)
        if renamed is not None:
            return renamed
    return repeated_calls(scopes, weights)


def repeated_calls(scopes: Iterable[Scope], weights: Mapping[Scope, frozenset[int]]) -> Renamed:
    """Find scopes ``encoder_1`` that are the second call of ``encoder``: both read the same constants.

    A layer of that name would have its own.
    """
    found: Renamed = {}
    parents = _children(scopes)
    for parent, names in parents.items():
        count: dict[str, int] = {}
        for name in names:
            match = _CALL.fullmatch(name)
            if match is None or match[1] not in names:
                continue
            first = weights.get((*parent, match[1]), frozenset())
            if first and weights.get((*parent, name)) == first:
                count[match[1]] = count.get(match[1], 0) + 1
                found[*parent, name] = (*parent, f"{match[1]}#{count[match[1]]}")
    return found


def _children(scopes: Iterable[Scope]) -> dict[Scope, list[str]]:
    """Return the names inside each scope, in the order in which they come."""
    parents: dict[Scope, list[str]] = {}
    seen: set[Scope] = set()
    for scope in scopes:
        for depth in range(len(scope)):
            if scope[: depth + 1] not in seen and not INNER_SCOPE.fullmatch(scope[depth]):
                seen.add(scope[: depth + 1])
                parents.setdefault(scope[:depth], []).append(scope[depth])
    return parents


def undo_export_numbers(scopes: Iterable[Scope]) -> Renamed | None:
    """Undo the numbers that Keras 3 appends to every scope when it exports a model.

    It opens each scope twice, and what is in the graph is the second time: ``conv`` is there
    as ``conv_1``, its second call as ``conv_3`` and ``dense_1``, where there is a ``dense``,
    as ``dense_1_2``. The result gives for each scope the names in the model, those of calls
    after the first with ``#1``, ``#2``...; ``None`` where the scopes do not follow the rule.
    """
    found: Renamed = {(): ()}
    parents = _children(scopes)
    for parent in sorted(parents, key=len):
        if parent not in found:
            continue
        numbered = all(_CALL.fullmatch(name) for name in parents[parent])
        if not numbered and len(parent) >= _OF_KERAS:
            continue  # TensorFlow opened them inside a layer, once
        for name in parents[parent]:
            match = _CALL.fullmatch(name)
            use = int(match[2]) if match else 0
            if match is None or use == 0 or (use % 2 == 0 and match[1] not in parents[parent]):
                if len(parent) < _OF_KERAS:
                    return None
                continue
            base = match[1]
            call = (use - 1) // 2
            mark = f"#{call}" if call else ""
            found[*parent, name] = (*found[parent], base + mark)
    return found
