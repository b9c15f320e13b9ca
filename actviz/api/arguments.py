"""Arguments and errors of the Python interface: a TypeError for what is no argument, keywords in place of options."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FLAGS = "allow-code|allow-nonfinite|bare|dark|histogram|invert|overlay|overwrite"
_VALUES = r"-?\d+(?:\.\.\d+)?|caffe|torch|mean|max|l2|channels_\w+|module:\w+|[\w./]+\.py(?::\w+)?"
_RENAMED = {"max_pixels": "maximum_pixels", "max_megapixels": "megapixels", "tag": "tags", "input": "inputs", "layer": "addresses"}  # fmt: skip


def python_words(message: str) -> str:
    """Return a message of the command with keyword arguments in place of options.

    Examples
    --------
    >>> python_words("x.npz: exists; pass --overwrite to replace it or choose another name with -o.")
    'x.npz: exists; pass overwrite=True to replace it or choose another name.'
    """
    text = re.sub(r"^--(input \S+|[a-z-]+(?: .+?)?)(?=: )", lambda found: _argument(found[1]), message)
    text = re.sub(r" with -o\b", "", text)
    text = re.sub(r"\bactviz layers .+$", "network.layers", text)
    text = re.sub(rf"(?<![\w/-])--({_FLAGS})\b", lambda found: f"{_keyword(found[1])}=True", text)
    text = re.sub(r"(?<![\w/-])--input (\S+)=FILE", r'inputs={"\1": FILE}', text)
    text = re.sub(r"(?<![\w/-])--weights (\S+)(?=\.$)", r'weights="\1"', text)
    text = re.sub(
        rf"(?<![\w/-])--([a-z][a-z-]+) ({_VALUES})\b", lambda found: f'{_keyword(found[1])}="{found[2]}"', text
    )
    return re.sub(r"(?<![\w/-])--([a-z][a-z-]+)", lambda found: f"{_keyword(found[1])}=", text)


def library_missing(method: str, library: str) -> ImportError:
    """Return the error of a method that needs an optional library."""
    return ImportError(f"{method} needs {library}, which is not installed; install it with: pip install {library}")


def _argument(text: str) -> str:
    """Return an option and its value, the subject of a message, as a keyword argument."""
    option, _, value = text.partition(" ")
    return f"{_keyword(option)}={value!r}" if value else _keyword(option)


def _keyword(option: str) -> str:
    name = option.replace("-", "_")
    return _RENAMED.get(name, name)


@contextlib.contextmanager
def python_errors() -> Iterator[None]:
    """Let errors of a block, or of a decorated function, speak of keyword arguments; see `python_words`."""
    try:
        yield
    except ActvizError as error:
        error.args = (python_words(error.message),)
        raise


def path_of(value: Any, name: str, hint: str = "") -> Path:
    """Return an argument as a path.

    Raises
    ------
    TypeError
        When it is none; `hint` is the end of the message.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise _unexpected(name, "a path (str or os.PathLike)", value, hint)
    return Path(value)


def names_of(values: str | Sequence[str], name: str, expected: str, hint: str = "") -> tuple[str, ...]:
    """Return an argument that is a text or several as a tuple; otherwise raise TypeError, see `path_of`."""
    if isinstance(values, str):
        return (values,)
    if not isinstance(values, Iterable) or isinstance(values, (bytes, dict)):
        raise _unexpected(name, f"{expected} or a list of them", values, hint)
    items = tuple(values)
    for item in items:
        if not isinstance(item, str):
            raise _unexpected(name, f"{expected} (str)", item, hint)
    return items


def check_type(value: Any, kind: type, name: str, expected: str, hint: str = "") -> None:
    """Raise TypeError for an argument that is not of a type, see `path_of`."""
    if not isinstance(value, kind):
        raise _unexpected(name, expected, value, hint)


def check_array(value: Any, name: str) -> None:
    """Raise TypeError for what holds no numbers, such as the path of a file, see `path_of`."""
    if value is None or isinstance(value, (str, bytes, os.PathLike)):
        raise _unexpected(name, "an array", value, "read files with actviz.preprocess(files, network)")


def _unexpected(name: str, expected: str, value: Any, hint: str) -> TypeError:
    return TypeError(f"{name}: {expected} was expected, got {type(value).__name__}{f'; {hint}' if hint else ''}.")
