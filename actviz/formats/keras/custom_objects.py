"""Custom layers, models and functions that the user gives: found, imported, and handed to Keras."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from actviz.errors import ModelError, UsageError, escape
from actviz.formats.keras.lambdas import function_of
from actviz.system.user_code import import_code

if TYPE_CHECKING:
    from actviz.gate import TrustPolicy


class CustomObjects:
    """The objects that a model needs beside Keras's own, imported when first asked for."""

    def __init__(self, trust: TrustPolicy, needed: tuple[str, ...], file: str) -> None:
        self._trust = trust
        self._needed = needed
        self._file = file
        self._given: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        """Return True if the model needs any."""
        return bool(self._needed)

    @property
    def allow_code(self) -> bool:
        """True if the file's own Lambda layers may run."""
        return self._trust.allow_code

    def by_name(self) -> dict[str, Any]:
        """Return every object that the file asks for, by the names under which it may.

        Raises
        ------
        UsageError
            When a module or file cannot be imported or lacks the name.
        ModelError
            When the model needs an object that none of them has.
        """
        given = self._all()
        found = {}
        for needed in self._needed:
            bare = needed.rpartition(">")[2]
            value = given.get(needed, given.get(bare, given.get(bare.rpartition(".")[2])))
            if value is None:
                places = ", ".join(escape(Path(source).name, 60) for source, _ in self._trust.sources)
                message = f'{self._file}: the model needs the custom object "{escape(needed, 80)}", which {places} does not define; name where it is with --custom-objects.'
                raise ModelError(message)
            found[needed] = found[bare] = value
        return found

    def function_for(self, layer: str, function: object) -> Any:
        """Return the function of a Lambda: the one given, or the file's own bytecode."""
        given = self._all()
        name = function.get("config") if isinstance(function, dict) else function
        for key in (layer, name):
            if isinstance(key, str) and callable(given.get(key)):
                return given[key]
        if not self.allow_code:
            message = f'{self._file}: layer "{escape(layer, 80)}" is a Lambda whose function is not given; give it with --custom-objects file.py:{escape(layer, 80)}.'
            raise ModelError(message)
        return function_of(function, layer, self._file)

    def _all(self) -> dict[str, Any]:
        if self._given is None:
            self._given = dict(self._trust.objects)
            for source, name in self._trust.sources:
                self._given |= _objects(source, name)
        return self._given


def _objects(source: str, name: str | None) -> dict[str, Any]:
    """Import a source and return the object of that name, or all that it holds."""
    module = import_code(source, "--custom-objects")
    if name is not None:
        if not hasattr(module, name):
            message = f'--custom-objects: {escape(source, 120)} has no "{escape(name, 80)}".'
            raise UsageError(message)
        return {name: getattr(module, name)}
    return {key: value for key, value in vars(module).items() if callable(value)}
