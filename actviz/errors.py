"""What a user can cause and fix: one class per exit code, and the escaping of untrusted text.

Every message is one line that says what happened, what was expected and how to fix it.
Anything that is not an `ActvizError` is a bug of actviz and keeps its traceback.
"""

from __future__ import annotations

import re

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
]

EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141
EXIT_TERMINATED = 143


class ActvizError(Exception):
    """Base of everything that a user can cause and fix.

    Parameters
    ----------
    message
        One line: what happened, what was expected, how to fix it. Text that comes
        from a file is passed through `escape` by whoever builds the message.
    """

    exit_code = EXIT_BUG

    def __init__(self, message: str) -> None:
        super().__init__(escape(message, limit=2000))

    @property
    def message(self) -> str:
        """The line to print, without control characters."""
        return str(self.args[0])


class PartialError(ActvizError):
    """Part of a batch failed; the rest is written."""

    exit_code = 1


class UsageError(ActvizError):
    """An option or address that means nothing here."""

    exit_code = 2


class InputError(ActvizError):
    """An input that is missing, unreadable, malformed or of the wrong shape."""

    exit_code = 3


class ModelError(ActvizError):
    """A model that is missing, malformed, unsupported or too new."""

    exit_code = 4


class ModelChangedError(ModelError):
    """A file of the model changed during the run, which ends: no result may mix old and new weights.

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
    """A file that was refused because it could run code or reach other files."""

    exit_code = 5


class LimitError(ActvizError):
    """A limit of size, memory or time was reached, or a parser crashed."""

    exit_code = 6


class RunLimitError(LimitError):
    """A limit that every input of the run would reach alike, so that trying the next one is of no use."""


class OutputError(ActvizError):
    """A result that cannot be written, or that would overwrite something."""

    exit_code = 7


class ToleranceError(ActvizError):
    """A check or a comparison is beyond its limits."""

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
    """Rebuild the error that another process reported as an exit code and a line."""
    return _BY_CODE.get(code, ActvizError)(message)


LAST_OF_BYTE, LAST_OF_PLANE = 0xFF, 0xFFFF
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~@:])")


def escape(text: str, limit: int = 200) -> str:
    r"""Return `text` safe to print on one line of a terminal or CI log.

    Control, format, surrogate and separator characters become ``\xNN`` or ``\uNNNN``;
    a text longer than `limit` characters is cut in the middle of its tail with ``...``.
    A leading ``::`` (a command in some CI logs) is broken by a zero-effect escape.

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
    r"""Return untrusted text that Markdown shows as it is: no link, mention, image, tag or new cell.

    Examples
    --------
    >>> escape_markdown("a|<b>")
    'a\\|&lt;b&gt;'
    """
    safe = escape(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", safe)


def escape_character(character: str) -> str:
    r"""Return the code of a character as it is written in messages and figures: ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``."""
    code = ord(character)
    if code <= LAST_OF_BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= LAST_OF_PLANE else f"\\U{code:08x}"
