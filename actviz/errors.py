"""Exceptions for errors that a user can cause and fix, one class per exit code; escaping of untrusted text.

Every message is one line that says what happened, what was expected and how to fix it.
Anything that is not an `ActvizError` is a bug of actviz and keeps its traceback.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "EXIT_BUG",
    "EXIT_INTERRUPTED",
    "EXIT_PIPE_CLOSED",
    "EXIT_TERMINATED",
    "ActvizError",
    "InputError",
    "LimitError",
    "ModelChangedError",
    "ModelError",
    "OutputError",
    "PartialError",
    "RunLimitError",
    "ToleranceError",
    "UnsafeError",
    "UsageError",
    "error_of_code",
    "escape",
    "escape_character",
    "escape_markdown",
    "worst",
]

EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141
EXIT_TERMINATED = 143


class ActvizError(Exception):
    """Base class of all errors that a user can cause and fix.

    Parameters
    ----------
    message
        One line: what happened, what was expected, how to fix it. The caller passes text
        that comes from a file through `escape`.
    """

    exit_code = EXIT_BUG

    def __init__(self, message: str) -> None:
        super().__init__(escape(message, limit=2000))

    @property
    def message(self) -> str:
        """The message on one line, without control characters."""
        return str(self.args[0])


class PartialError(ActvizError):
    """Some inputs failed; the results of the others are written."""

    exit_code = 1


class UsageError(ActvizError):
    """An invalid option, argument or layer address."""

    exit_code = 2


class InputError(ActvizError):
    """An input that is missing, unreadable, malformed or of the wrong shape."""

    exit_code = 3


class ModelError(ActvizError):
    """A model that is missing, malformed, unsupported or too new."""

    exit_code = 4


class ModelChangedError(ModelError):
    """A file of the model changed during the run. The run ends: no result may mix old and new weights.

    Parameters
    ----------
    name
        The name of the model.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name}: the model changed while it was read; wait until it is completely written, then run again."
        )


class UnsafeError(ActvizError):
    """A file was refused because loading it could run code or read other files."""

    exit_code = 5


class LimitError(ActvizError):
    """A limit of size, memory or time was reached, or a parser crashed."""

    exit_code = 6


class RunLimitError(LimitError):
    """A limit that every input of the run would reach, so that the remaining inputs are not tried."""


class OutputError(ActvizError):
    """A result cannot be written, or would overwrite a file."""

    exit_code = 7


class ToleranceError(ActvizError):
    """A check failed, or a difference exceeds its tolerance."""

    exit_code = 8


_BY_CODE: dict[int, type[ActvizError]] = {
    error.exit_code: error
    for error in (
        PartialError,
        UsageError,
        InputError,
        ModelError,
        UnsafeError,
        LimitError,
        OutputError,
        ToleranceError,
    )
}


def error_of_code(code: int, message: str) -> ActvizError:
    """Return the exception for an exit code and message reported by another process."""
    return _BY_CODE.get(code, ActvizError)(message)


def worst(failures: Sequence[ActvizError]) -> ActvizError:
    """Return the failure with the highest exit code, which ends a run without any result."""
    return max(failures, key=lambda failure: failure.exit_code)


LAST_OF_BYTE, LAST_OF_PLANE = 0xFF, 0xFFFF
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~@:])")


def escape(text: str, limit: int = 200) -> str:
    r"""Return `text` safe to print on one line of a terminal or CI log.

    Control, format, surrogate and separator characters become ``\xNN`` or ``\uNNNN``;
    a text longer than `limit` characters is cut and ends with ``...``. The first colon of a
    leading ``::`` is escaped, since GitHub reads such a line as a workflow command.

    Examples
    --------
    >>> escape("a\nb")
    'a\\x0ab'
    """
    if text.isascii() and text.isprintable() and len(text) <= limit:
        safe = text
    else:
        cut = text if len(text) <= limit else text[: limit - 3] + "..."
        safe = "".join(character if character.isprintable() else escape_character(character) for character in cut)
    return safe if not safe.startswith("::") else "\\x3a" + safe[1:]


def escape_markdown(text: str, limit: int = 200) -> str:
    r"""Escape untrusted text so that Markdown shows it literally: no link, mention, image, tag or new cell.

    Examples
    --------
    >>> escape_markdown("a|<b>")
    'a\\|&lt;b&gt;'
    """
    safe = escape(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", safe)


def escape_character(character: str) -> str:
    r"""Return the escape sequence of a character, as used in messages and figures: ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``."""
    code = ord(character)
    if code <= LAST_OF_BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= LAST_OF_PLANE else f"\\U{code:08x}"
