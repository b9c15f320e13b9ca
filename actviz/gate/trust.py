"""What a user allows a model to bring along: nothing, unless it is said for one run."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  (read at run time by `system.serialization`)
from dataclasses import dataclass, field
from typing import Any

from actviz.errors import UsageError, escape


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """The code that may run beside a model.

    `custom_objects` are texts as on the command line (``module:Name``, ``file.py:Name``,
    ``file.py`` or ``module`` for all that it defines), `objects` Python objects by name,
    for callers that have them. `allow_code` lets the file's own Lambda layers run.
    """

    custom_objects: tuple[str, ...] = ()
    objects: Mapping[str, Any] = field(default_factory=dict)
    allow_code: bool = False

    @property
    def sources(self) -> tuple[tuple[str, str | None], ...]:
        """Return each text of `custom_objects` as a source and the name in it (``None``: all).

        Raises
        ------
        UsageError
            When a text names no source or no name.
        """
        found = []
        for text in self.custom_objects:
            source, mark, name = text.rpartition(":") if ":" in text else (text, "", "")
            if not source or (mark and not name.isidentifier()):
                message = f'--custom-objects "{escape(text, 120)}": expected module:Name, file.py:Name or file.py.'
                raise UsageError(message)
            found.append((source, name or None))
        return tuple(found)

    def gives(self, name: object) -> bool:
        """Tell whether this may hold an object of that registered name (``package>Name``)."""
        if not isinstance(name, str):
            return False
        bare = name.rpartition(">")[2].rpartition(".")[2]
        if name in self.objects or bare in self.objects:
            return True
        return any(given is None or given in (name, bare) for _, given in self.sources)

    def names(self, name: object) -> bool:
        """Tell whether an object is given under exactly this name."""
        return isinstance(name, str) and (name in self.objects or any(given == name for _, given in self.sources))


NO_TRUST = TrustPolicy()
