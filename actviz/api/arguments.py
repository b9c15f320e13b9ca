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
_NUMBERS = "columns|frame|max-megapixels|max-pixels|sample-rate|seed|top|zoom"
_VALUES = r"-?\d+(?:\.\.\d+)?|caffe|torch|mean|max|l2|nmf|run|channels_\w+|module:\w+|[\w./]+\.py(?::\w+)?"
_RENAMED = {"max_pixels": "maximum_pixels", "max_megapixels": "megapixels", "tag": "tags", "input": "inputs", "layer": "addresses"}  # fmt: skip
_OPTION = r"(?<![\w/-])--"
# Parts of messages that are about the command line as a whole, then options with a value, then other options.
_RULES = (
    (r" with -o\b", ""),
    (r"\bwith -l\b", "as layer"),
    (r"\bactviz layers .+$", "network.layers"),
    (r"\bpython -m zipfile -l .+$", "list(actviz.load(path))"),
    ("the model is the first argument and the inputs follow it", "read inputs with actviz.preprocess(files, network)"),
    ("draw what a model computes with: actviz show MODEL INPUT", "compute them with network.activations(inputs)"),
    (r"(?<=; give )(.+) after the model\b", r"\1 as inputs"),
    (r"write its values with: actviz extract --explain .+$", "take its values."),
    ("a run has one model, its first argument; compare two with: actviz diff A B INPUTS", "open it with actviz.open"),
    (r"a channel after a layer is for show --contact; otherwise choose (.+) and --channels (\S+)\.$", r'choose \1, and the channel with actviz.Style(channels="\2").'),
    (r",? or raise --max-memory", ""),
    ("a smaller --batch-size", "smaller batches"),
    (r"\bwith: actviz ", "with, in a shell: actviz "),
    (r"node that takes the input with --input NAME=FILE", 'node that takes the input with inputs=["NAME"]'),
    (rf"{_OPTION}input (\S+)=FILE", r'inputs={"\1": FILE}'),
    (rf"{_OPTION}({_FLAGS})\b", lambda found: f"{_keyword(found[1])}=True"),
    (rf"{_OPTION}({_NUMBERS}) (\d+|N)\b", lambda found: f"{_keyword(found[1])}={found[2]}"),
    (rf"{_OPTION}weights (\S+)(?=\.$)", r'weights="\1"'),
    (rf"{_OPTION}([a-z][a-z-]+) ({_VALUES})\b", lambda found: f'{_keyword(found[1])}="{found[2]}"'),
    (rf"{_OPTION}([a-z][a-z-]+)", lambda found: f"{_keyword(found[1])}="),
)  # fmt: skip


def python_words(message: str) -> str:
    """Return a message of the command with keyword arguments in place of options.

    Examples
    --------
    >>> python_words("x.npz: exists; pass --overwrite to replace it or choose another name with -o.")
    'x.npz: exists; pass overwrite=True to replace it or choose another name.'
    """
    text = re.sub(r"^--(input \S+|[a-z-]+(?: .+?)?)(?=: )", lambda found: _argument(found[1]), message)
    for pattern, words in _RULES:
        text = re.sub(pattern, words, text)
    return text


def library_missing(method: str, library: str) -> ImportError:
    """Return the error of a method that needs an optional library."""
    return ImportError(f"{method} needs {library}, which is not installed; install it with: pip install {library}")


def _argument(text: str) -> str:
    """Return an option and its value, the subject of a message, as a keyword argument."""
    option, _, value = text.partition(" ")
    if option == "input":
        name, _, file = value.partition("=")
        return f"inputs={{{name!r}: {file!r}}}"
    shown = value if option in _NUMBERS.split("|") else repr(value.strip('"'))
    return f"{_keyword(option)}={shown}" if value else _keyword(option)


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
