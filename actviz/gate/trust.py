"""The code that a user allows to run with a model: none, unless an option of this run allows it."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  (read at run time by `system.serialization`)
from dataclasses import dataclass, field
from typing import Any

from actviz.errors import UsageError, escape


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """The code that may run with a model.

    `custom_objects` are values of ``--custom-objects`` (``module:Name``, ``file.py:Name``,
    ``file.py`` or ``module`` for all that it defines), `objects` Python objects by name,
    from the Python interface. `allow_code` allows the Lambda layers of the file. `strict` refuses
    a file with layers whose code may not run, instead of leaving these layers out.
    """

    custom_objects: tuple[str, ...] = ()
    objects: Mapping[str, Any] = field(default_factory=dict)
    allow_code: bool = False
    strict: bool = False

    @property
    def sources(self) -> tuple[tuple[str, str | None], ...]:
        """Return the source and the name in it (``None``: all names) for each of `custom_objects`.

        Raises
        ------
        UsageError
            When a value has no source, or a name that is not an identifier.
        """
        sources = []
        for text in self.custom_objects:
            source, mark, name = text.rpartition(":") if ":" in text else (text, "", "")
            if not source or (mark and not name.isidentifier()):
                message = f'--custom-objects "{escape(text, 120)}": expected module:Name, file.py:Name or file.py.'
                raise UsageError(message)
            sources.append((source, name or None))
        return tuple(sources)

    def gives(self, name: object) -> bool:
        """Return True if the user gives an object of a registered name (``package>Name``), or a source that may hold it."""
        if not isinstance(name, str):
            return False
        bare = name.rpartition(">")[2].rpartition(".")[2]
        if name in self.objects or bare in self.objects:
            return True
        return any(given is None or given in (name, bare) for _, given in self.sources)

    def names(self, name: object) -> bool:
        """Return True if the user gives an object of exactly this name."""
        return isinstance(name, str) and (name in self.objects or any(given == name for _, given in self.sources))


NO_TRUST = TrustPolicy()
NO_FLAG = "there is no flag that allows it"
