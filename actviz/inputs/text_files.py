"""Read text files as inputs: each nonempty line is one sample.

For an input of strings, a line is one string, or its words are the steps if the input has several.
For an input of numbers, a line has the numbers of one vector, separated by spaces or commas.
Nothing is guessed, padded or skipped: an invalid number is reported with line and column.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError, LimitError, escape
from actviz.inputs.array_checks import allowed_text, is_token, to_dtype
from actviz.inputs.image_resize import shape_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from actviz.records import TensorSpec

MAX_BYTES = 64 << 20
MAX_CELLS = 10_000_000
MAX_SAMPLES = 1_000_000
MAX_WORD_BYTES = 1 << 30
LONGEST_NUMBER = 64
UTF_8_MARK = b"\xef\xbb\xbf"
VECTOR_RANK = 2
# White space as TensorFlow defines it; other spaces, such as no-break spaces, are part of a word.
SPACES = re.compile(r"[ \t\n\v\f\r]+")
WHOLE = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|nan|inf(?:inity)?)", re.IGNORECASE)
LARGEST = 1 << 63


def takes_lines(spec: TensorSpec) -> bool:
    """Return True if lines of text can be samples of an input: strings, or vectors of numbers."""
    return len(spec.shape) <= VECTOR_RANK


def parse_rows(content: bytes, spec: TensorSpec, path: str) -> list[NDArray[Any]]:
    """Return the samples of a text file: arrays with a batch axis of size 1, in the dtype of the input.

    Each is a stripped line for inputs of strings of shape ``(batch,)`` or ``(batch, 1)``, the words of
    a line for ``(batch, step)``, and the numbers of a line for inputs of numbers, ``(batch, unit)``.

    Raises
    ------
    InputError
        When the file is not UTF-8, or a line does not fit the input; with the number of the line.
    LimitError
        When it exceeds a limit of this module.
    """
    rows: list[NDArray[Any]] = []
    cells = 0
    wrong: dict[int, int] = {}
    for line, text in _lines(content, path):
        row = _row(text, spec, f"{path}: line {line}")
        cells += row.size
        _check_count(cells, len(rows) + 1, path)
        if _width(spec) not in {None, row.size}:
            wrong.setdefault(row.size, line)
        rows.append(row[0] if len(spec.shape) < VECTOR_RANK else row)
    if wrong:
        raise InputError(_ragged(wrong, spec, path))
    if not rows:
        raise InputError(f"{path}: all lines are empty; each line that is not is one sample.")
    return rows


def split_into_steps(text: str, split: str) -> tuple[str, ...] | None:
    """Split a text into words as the network does, one per step.

    `split` is that of a `TensorSpec`. If the network strips punctuation, words of punctuation only are
    dropped. Return ``None`` if the rule is unknown.
    """
    if split == "character":
        return tuple(text)
    words = tuple(word for word in SPACES.split(text) if word)
    if split == "punctuation":
        return tuple(word for word in words if any(character not in PUNCTUATION for character in word))
    return words if split == "whitespace" else None


PUNCTUATION = frozenset("!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'")


def _lines(content: bytes, path: str) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and text of every nonempty line."""
    try:
        text = content.removeprefix(UTF_8_MARK).decode("utf-8")
    except UnicodeDecodeError as failure:
        start = failure.start + len(content) - len(content.removeprefix(UTF_8_MARK))
        line = content[:start].count(b"\n") + 1
        message = f"{path}: line {line}: the byte 0x{content[start]:02X} is not UTF-8; save the file as UTF-8."
        raise InputError(message) from None
    for number, line_text in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        stripped = line_text.strip()
        if stripped:
            yield number, stripped


def _width(spec: TensorSpec) -> int | None:
    return 1 if len(spec.shape) < VECTOR_RANK else spec.shape[1]


def _check_count(cells: int, samples: int, where: str) -> None:
    if cells > MAX_CELLS or samples > MAX_SAMPLES:
        count = f"{MAX_CELLS:,} values" if cells > MAX_CELLS else f"{MAX_SAMPLES:,} samples"
        raise LimitError(f"{where}: more than {count}; give a smaller file.")


def _row(line: str, spec: TensorSpec, where: str) -> NDArray[Any]:
    """Return the values of a line, ``(1, unit)``, in the dtype of the input."""
    if spec.dtype != "string":
        return _numbers(line, spec, where)
    return np.array([[line]]) if spec.shape[1:] in {(), (1,)} else _words(line, where)


def _words(line: str, where: str) -> NDArray[Any]:
    words = [word for word in SPACES.split(line) if word]
    longest = max(map(len, words))
    if len(words) * longest * 4 > MAX_WORD_BYTES:
        message = f"{where}: {len(words):,} words of up to {longest:,} characters are too many; give a smaller file."
        raise LimitError(message)
    return np.array([words])


def _numbers(line: str, spec: TensorSpec, where: str) -> NDArray[Any]:
    cells = [cell.strip() for cell in line.split(",")] if "," in line else line.split()
    _check_count(len(cells), 1, where)
    parse = _whole if is_token(spec) else _number
    values = []
    for column, cell in enumerate(cells, start=1):
        value = parse(cell)
        if value is None:
            kind = "whole numbers" if is_token(spec) else "numbers such as 1.5"
            message = f'{where} column {column}: "{escape(cell, 40)}"; {kind} with spaces or commas between them were expected, without a header.'
            raise InputError(message)
        if spec.limit is not None and not 0 <= value < spec.limit:
            raise InputError(f"{where} column {column}: {value} is outside the vocabulary; {allowed_text(spec.limit)}.")
        values.append(value)
    return to_dtype(np.array([values]), spec.dtype, where)


def _whole(cell: str) -> int | None:
    """Parse an integer of at most 64 bits (``7``, ``7.0`` or ``7e0``); return ``None`` for anything else."""
    if len(cell) > LONGEST_NUMBER or not NUMBER.fullmatch(cell):
        return None
    if not WHOLE.fullmatch(cell) and not float(cell).is_integer():
        return None
    value = int(cell) if WHOLE.fullmatch(cell) else int(float(cell))
    return value if -LARGEST <= value < LARGEST else None


def _number(cell: str) -> float | None:
    """Parse a number, ``nan`` or ``inf``; return ``None`` for anything else."""
    if len(cell) > LONGEST_NUMBER or not NUMBER.fullmatch(cell):
        return None
    value = float(cell)
    return None if math.isinf(value) and "inf" not in cell.lower() else value


def _ragged(wrong: dict[int, int], spec: TensorSpec, path: str) -> str:
    """Return the message on lines of a wrong length: the first one, and the other lengths."""
    length, line = next(iter(wrong.items()))
    noun = ("word" if spec.dtype == "string" else "number") + ("s" if length != 1 else "")
    others = sorted(set(wrong) - {length})
    more = f" (other lines: {', '.join(map(str, others[:5]))}{', ...' if len(others) > 5 else ''})" if others else ""  # noqa: PLR2004  (five are shown)
    return f"{path}: line {line} holds {length} {noun}{more}; each line is one sample and the input {shape_text((None, *spec.shape[1:]))} takes {_width(spec)}."
