"""Functions of the user that read and prepare inputs: ``--preprocess file.py:function``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from inspect import unwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError, UsageError, escape
from actviz.system import file_system, user_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

OPTION = "--preprocess"
MARK = ":"
"""No range of values contains it, so that an option with it names code."""


class InputFunction:
    """A function that returns the values of an input file as an array, or as arrays by input name.

    Parameters
    ----------
    text
        Its name as given: ``prep.py:load``.
    function
        The function; it gets the path of a file.
    sha256
        The hash of its file, ``""`` for a function of the Python interface.
    """

    def __init__(self, text: str, function: Callable[[Path], Any], sha256: str = "") -> None:
        self.text, self.sha256 = text, sha256
        self._function = function
        self._lock = threading.Lock()

    @classmethod
    def of(cls, function: Callable[[Path], Any]) -> InputFunction:
        """Return a function of the Python interface, with its own name."""
        return cls(str(getattr(function, "__name__", type(function).__name__)), function)

    @property
    def name(self) -> str:
        """The name for messages."""
        return escape(self.text, 120)

    @property
    def label(self) -> str:
        """The name in figures: ``load of prep.py``."""
        source, _, name = self.text.rpartition(MARK)
        return escape(f"{name} of {Path(source).name}" if source else name, 60)

    @property
    def note(self) -> str:
        """The line that says that code runs."""
        return f"code runs for each input: {self.name} (--preprocess)"

    @property
    def description(self) -> str:
        """The name and the hash."""
        return f"{self.label} (SHA-256 {self.sha256})" if self.sha256 else self.label

    def record(self) -> dict[str, str]:
        """Return the name, without folders, and the hash, as they are recorded with results."""
        source, mark, name = self.text.rpartition(MARK)
        return {"preprocess": f"{Path(source).name}{mark}{name}", "preprocess_sha256": self.sha256}

    def read(self, path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
        """Call the function for a file, one call at a time, and copy the arrays, since a function may use them again.

        Raises
        ------
        InputError
            When it raises an exception, or returns nothing.
        """
        with self._lock:
            try:
                result = self._function(path)
                if isinstance(result, Mapping):
                    return {str(name): np.array(values) for name, values in result.items()}
                if result is not None:
                    return np.array(result)
            except (Exception, SystemExit) as failure:
                message = f"{path}: {OPTION} {self.name}: {self._place(failure)}{user_code.describe_failure(failure)}; correct the function, or leave the file out."
                raise InputError(message) from failure
        raise InputError(f"{path}: {self.name} returned None; an array was expected.")

    def _place(self, failure: BaseException) -> str:
        """Return file and line of an exception in the file of the function: ``prep.py, line 3: ``."""
        code = getattr(unwrap(self._function), "__code__", None)
        if code is None:
            return ""
        line = user_code.failing_line(failure, code.co_filename) or code.co_firstlineno
        return f"{escape(Path(code.co_filename).name, 60)}, line {line}: "


def preprocess_option(value: str) -> dict[str, Any]:
    """Return the value of ``--preprocess`` as the fields `preprocess` or `function` of `InputOptions`.

    Only for what the user gave for this run: the code of a file that it names runs.
    """
    return {"function": load_function(value)} if MARK in value else {"preprocess": value}


def load_function(text: str) -> InputFunction:
    """Import the file of ``file.py:function`` and return the function.

    What the file prints goes to standard error, since standard output has the results of the command.

    Raises
    ------
    UsageError
        When the file is missing or cannot be imported, or has no such function.
    """
    source, _, name = text.rpartition(MARK)
    if not source.endswith(".py") or not name.isidentifier():
        raise UsageError(f'{OPTION} "{escape(text, 120)}": expected file.py:function.')
    sha256 = file_system.hash_file(Path(source), UsageError) if file_system.is_file(Path(source)) else ""
    module = user_code.import_code(source, OPTION, print=_print_to_stderr)
    if name not in vars(module):
        raise UsageError(f'{OPTION}: {escape(source, 120)} has no "{escape(name, 80)}".')
    function = getattr(module, name)
    if not callable(function):
        message = f'{OPTION}: "{escape(name, 80)}" of {escape(source, 120)} is a {type(function).__name__}; a function was expected.'
        raise UsageError(message)
    return InputFunction(text, function, sha256)


def _print_to_stderr(*values: object, **options: Any) -> None:
    print(*values, **{"file": sys.stderr, **options})  # noqa: T201  (the user's own, see `load_function`)


def input_code_in(reading: Mapping[str, Any]) -> dict[str, str]:
    """Return what `InputFunction.record` gave, from recorded options of reading; without a function, no key."""
    return {key: str(reading[key]) for key in ("preprocess", "preprocess_sha256") if "preprocess_sha256" in reading}
