"""Suggestions in messages about names that do not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

CUTOFF = 0.5


def near_names(text: str, names: Iterable[str], most: int = 3, cutoff: float = CUTOFF) -> list[str]:
    """Return the names most similar to `text`: the one that differs in case only, else at most `most`, the best first."""
    import difflib  # takes longer to import than to use, and most commands end without suggestions

    known = list(names)
    same = [name for name in known if name.lower() == text.lower()]
    return same[:1] or difflib.get_close_matches(text, known, most, cutoff)


def did_you_mean(near: Iterable[str]) -> str:
    """Return the question that suggests names, quoted as the shell needs them; empty without names.

    >>> did_you_mean(["conv", "my conv"])
    "did you mean conv, 'my conv'?"
    """
    import shlex

    shown = ", ".join(shlex.quote(escape(name)) for name in near)
    return f"did you mean {shown}?" if shown else ""
