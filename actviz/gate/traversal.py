"""Walks over graphs that a file describes: iterative, since a chain of 30,000 nodes exceeds the recursion limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Node = TypeVar("Node", int, str)


def reachable(starts: Iterable[Node], successors: Callable[[Node], Iterable[Node]]) -> set[Node]:
    """Return `starts` and every node that can be reached from them; the graph may hold cycles.

    >>> sorted(reachable([2], {0: [], 1: [0], 2: [1, 2], 3: [2]}.__getitem__))
    [0, 1, 2]
    """
    reached: set[Node] = set()
    pending = list(starts)
    while pending:
        node = pending.pop()
        if node not in reached:
            reached.add(node)
            pending += successors(node)
    return reached
