"""What a command line wants explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from actviz.errors import UsageError, escape
from actviz.explanations.plan import ExplainPlan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from actviz.records import ModelFacts


class _Request(Protocol):
    """A request with targets and addresses of layers."""

    @property
    def of(self) -> str: ...
    @property
    def layers(self) -> tuple[str, ...]: ...
    @property
    def model(self) -> Path: ...


def parse_plan(  # noqa: PLR0913  (one for each option)
    request: _Request, facts: ModelFacts, labels: Sequence[str], methods: str, box: str = "", *, check: bool = False
) -> ExplainPlan:
    """Return what is explained of a request, by `methods` with commas between them; `box` is ``TOP,LEFT,BOTTOM,RIGHT``.

    Raises
    ------
    UsageError
        If a target, a method or the layer does not exist, or the box is malformed.
    """
    from actviz.explanations.explain import layer_to_explain, method_of, parse_targets

    names = tuple(dict.fromkeys(filter(None, map(str.strip, methods.split(",")))))
    for name in names:
        method_of(name)
    layer = layer_to_explain(facts, request.layers, str(request.model)) if request.layers else ""
    targets = parse_targets(request.of, facts, str(request.model), labels)
    return ExplainPlan(tuple(targets), names, layer, _parse_box(box), check)


def _parse_box(text: str) -> tuple[int, ...]:
    """Parse ``TOP,LEFT,BOTTOM,RIGHT``."""
    if not text:
        return ()
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() and len(part) < 7 for part in parts):  # noqa: PLR2004
        message = f"--box {escape(text, 60)} is not valid; give TOP,LEFT,BOTTOM,RIGHT in pixels of the input as fed, such as 10,20,100,140."
        raise UsageError(message)
    return tuple(map(int, parts))
