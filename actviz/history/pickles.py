"""Pickles read as data, by an interpreter that has no instruction that calls anything.

A pickle is a program for a small stack machine. Python's own machine imports what the
program names and calls it. This one keeps the same stack, but where Python's would import
something it pushes a `Name`, and where Python's would call something it pushes a `Made`:
an inert note of what would have been called, with which arguments. Nothing is imported,
called, hashed or compared; what the notes mean is the business of `pickled`.

The memory is a dictionary (a far index costs nothing), dictionaries are lists of pairs (a
hostile key is never hashed), nothing here calls itself, blobs beyond `_LARGEST_TAKEN` are
skipped unread, and the number of steps is limited. It is one machine and the table of its
instructions, all of protocols 0 to 5, which is why this module is long.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from actviz.errors import InputError, LimitError

MAXIMUM_STEPS = 3_000_000
MAXIMUM_TAKEN = 64 << 20

_LARGEST_TAKEN = 1 << 20
_LARGEST_LINE = 1 << 16
_LARGEST_NUMBER = 400
_LARGEST_INTEGER = 64

_ESCAPED = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"\n": b""}


Pair = tuple[object, object]


class PickledName(NamedTuple):
    """Something that the pickle asks to import. It is not imported."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class PickledCall:
    """Something that the pickle asks to call or to make. It is neither called nor made.

    `called` tells a call of any function from an instance of a class. `state` is what the
    object would be given afterwards, `items` and `pairs` what would be put into it.
    """

    function: object
    arguments: object
    called: bool
    state: object = None
    items: list[object] | None = None
    pairs: list[Pair] | None = None


@dataclass(slots=True, eq=False)
class PickledDict:
    """A dictionary as its keys and values in order; no key is hashed."""

    pairs: list[Pair] = field(default_factory=list)


class SkippedBlob(NamedTuple):
    """A blob that was too large to be part of a history; it was not read."""

    size: int


class _MalformedPickleError(Exception):
    """The bytes are no pickle; carries the reason."""


def load(file: BinaryIO, size: int, name: str) -> object:
    """Run the pickle that begins at the position of `file`, without doing what it says.

    Parameters
    ----------
    size
        Of the whole file in bytes.
    name
        Of the file, for messages.

    Returns
    -------
    object
        Numbers, text, bytes, lists and tuples as they are; `Pairs`, `Name`, `Made` and
        `Skipped` for the rest.

    Raises
    ------
    InputError
        When it is truncated or malformed.
    LimitError
        When it has more steps or more text than a history needs.
    """
    machine = _PickleMachine(file, size, name)
    steps = _STEPS
    read = file.read
    try:
        for _ in range(MAXIMUM_STEPS):
            code = read(1)
            if code == b".":
                return machine.stack.pop()
            steps[code](machine)
    except KeyError:
        reason = "truncated" if file.tell() >= size else "not a pickle, or a damaged one"
        message = f"{name}: {reason}; save it again with pickle.dump(history.history, file)."
        raise InputError(message) from None
    except (_MalformedPickleError, IndexError, TypeError, ValueError, OverflowError, struct.error):
        message = f"{name}: truncated or malformed pickle; save it again with pickle.dump(history.history, file)."
        raise InputError(message) from None
    except MemoryError:
        message = f"{name}: not enough memory to read it; save history.history alone."
        raise LimitError(message) from None
    message = f"{name}: a pickle of more than {MAXIMUM_STEPS:,} steps; save history.history alone."
    raise LimitError(message)


class _PickleMachine:
    """The stack, the marks and the memory of one pickle."""

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self.file = file
        self.size = size
        self.name = name
        self.stack: list[object] = []
        self.below: list[list[object]] = []
        self.memory: dict[int, object] = {}
        self.taken = 0

    def take(self, count: int) -> bytes:
        """Read exactly `count` bytes."""
        content = self.file.read(count)
        if len(content) != count:
            raise _MalformedPickleError
        return content

    def number(self, count: int) -> int:
        """Read an unsigned number of `count` bytes, little-endian."""
        if count == 1:
            return self.file.read(1)[0]  # most are, and an IndexError says truncated
        return int.from_bytes(self.take(count), "little")

    def line(self, limit: int = _LARGEST_LINE) -> bytes:
        """Read up to the end of the line, which is not returned."""
        content = self.file.readline(limit)
        if not content.endswith(b"\n"):
            raise _MalformedPickleError
        return content[:-1]

    def blob(self, count: int) -> bytes | SkippedBlob:
        """Read `count` bytes, or step over them where no history has so many."""
        if count > _LARGEST_TAKEN:
            if count > self.size - self.file.tell():
                raise _MalformedPickleError
            self.file.seek(count, 1)
            return SkippedBlob(count)
        self.taken += count
        if self.taken > MAXIMUM_TAKEN:
            message = (
                f"{self.name}: a pickle with more than {MAXIMUM_TAKEN:,} bytes of text; save history.history alone."
            )
            raise LimitError(message)
        return self.take(count)

    def text(self, count: int, encoding: str = "utf-8") -> None:
        """Push a text of `count` bytes."""
        content = self.blob(count)
        if isinstance(content, bytes):
            self.stack.append(content.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict"))
        else:
            self.stack.append(content)

    def mark(self) -> None:
        """Begin a group of values."""
        self.below.append(self.stack)
        self.stack = []

    def group(self) -> list[object]:
        """End the group that began last and return its values."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def last(self, count: int) -> tuple[object, ...]:
        """Take the last `count` values from the stack."""
        if len(self.stack) < count:
            raise _MalformedPickleError
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def extend(self, values: list[object]) -> None:
        """Put values into the list, set or object on the top of the stack."""
        target = self.stack[-1]
        if isinstance(target, PickledCall):
            target.items = target.items or []
            target.items += values
        elif isinstance(target, list):
            target.extend(values)
        else:
            raise _MalformedPickleError

    def insert(self, values: list[object]) -> None:
        """Put keys and values, in turn, into the dictionary or object on the top of the stack."""
        target = self.stack[-1]
        if len(values) % 2 or not isinstance(target, (PickledCall, PickledDict)):
            raise _MalformedPickleError
        target.pairs = target.pairs or []
        target.pairs += list(zip(values[::2], values[1::2], strict=True))

    def make(self, function: object, arguments: object, *, called: bool) -> None:
        """Note what would be called or made."""
        self.stack.append(PickledCall(function, arguments, called))


_Step = Callable[[_PickleMachine], object]


def _constant(value: object) -> _Step:
    return lambda machine: machine.stack.append(value)


def _fresh(make: Callable[[], object]) -> _Step:
    return lambda machine: machine.stack.append(make())


def _unsigned(width: int) -> _Step:
    return lambda machine: machine.stack.append(machine.number(width))


def _packed(form: str) -> _Step:
    shape = struct.Struct(form)
    return lambda machine: machine.stack.append(shape.unpack(machine.take(shape.size))[0])


def _text(width: int, encoding: str) -> _Step:
    return lambda machine: machine.text(machine.number(width), encoding)


def _blob(width: int) -> _Step:
    return lambda machine: machine.stack.append(machine.blob(machine.number(width)))


def _integer(width: int) -> _Step:
    def step(machine: _PickleMachine) -> None:
        count = machine.number(width)
        if count > _LARGEST_INTEGER:
            raise _MalformedPickleError
        machine.stack.append(int.from_bytes(machine.take(count), "little", signed=True))

    return step


def _written(kind: str) -> _Step:
    """Return the step of a number or text that is written out, up to the end of the line."""

    def step(machine: _PickleMachine) -> None:
        value: object
        if kind == "unicode":
            value = machine.line().decode("raw-unicode-escape")
        elif kind == "string":
            value = _unquoted(machine.line())
        elif kind == "float":
            value = float(machine.line(_LARGEST_NUMBER))
        else:
            line = machine.line(_LARGEST_NUMBER)
            value = {b"00": False, b"01": True}.get(line) if line in {b"00", b"01"} else int(line.rstrip(b"L"))
        machine.stack.append(value)

    return step


def _unquoted(line: bytes) -> str:
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in {b"'", b'"'}:  # noqa: PLR2004  (two quotes)
        raise _MalformedPickleError

    def letter(found: re.Match[bytes]) -> bytes:
        word = found[1]
        if word[:1] == b"x":
            return bytes([int(word[1:], 16)])
        if word.isdigit():
            return bytes([int(word, 8) & 0xFF])
        return _LETTERS.get(word, word)

    return _ESCAPED.sub(letter, line[1:-1]).decode("latin-1")


def _sequence(count: int) -> _Step:
    return lambda machine: machine.stack.append(machine.last(count))


def _mark(machine: _PickleMachine) -> None:
    machine.mark()


def _tuple(machine: _PickleMachine) -> None:
    values = tuple(machine.group())
    machine.stack.append(values)


def _list(machine: _PickleMachine) -> None:
    values = machine.group()
    machine.stack.append(values)


def _dictionary(machine: _PickleMachine) -> None:
    values = machine.group()
    machine.stack.append(PickledDict())
    machine.insert(values)


def _append(machine: _PickleMachine) -> None:
    machine.extend(list(machine.last(1)))


def _appends(machine: _PickleMachine) -> None:
    machine.extend(machine.group())


def _set_item(machine: _PickleMachine) -> None:
    machine.insert(list(machine.last(2)))


def _set_items(machine: _PickleMachine) -> None:
    machine.insert(machine.group())


def _pop(machine: _PickleMachine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.group()


def _pop_mark(machine: _PickleMachine) -> None:
    machine.group()


def _duplicate(machine: _PickleMachine) -> None:
    machine.stack.append(machine.stack[-1])


def _put(width: int) -> _Step:
    def step(machine: _PickleMachine) -> None:
        place = machine.number(width) if width else int(machine.line(_LARGEST_NUMBER))
        machine.memory[place] = machine.stack[-1]

    return step


def _get(width: int) -> _Step:
    def step(machine: _PickleMachine) -> None:
        place = machine.number(width) if width else int(machine.line(_LARGEST_NUMBER))
        if place not in machine.memory:
            raise _MalformedPickleError
        machine.stack.append(machine.memory[place])

    return step


def _memoise(machine: _PickleMachine) -> None:
    machine.memory[len(machine.memory)] = machine.stack[-1]


def _name(machine: _PickleMachine) -> None:
    machine.stack.append(PickledName(machine.line().decode("utf-8"), machine.line().decode("utf-8")))


def _stacked_name(machine: _PickleMachine) -> None:
    module, name = machine.last(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise _MalformedPickleError
    machine.stack.append(PickledName(module, name))


def _extension(width: int) -> _Step:
    # Python would look the number up in a registry and import what stands there.
    return lambda machine: machine.stack.append(PickledName("copyreg", f"extension {machine.number(width)}"))


def _persistent(machine: _PickleMachine) -> None:
    # Python would ask the program that reads for an object of that name.
    machine.make(PickledName("pickle", "persistent_load"), machine.last(1), called=True)


def _persistent_line(machine: _PickleMachine) -> None:
    machine.make(PickledName("pickle", "persistent_load"), (machine.line(),), called=True)


def _reduce(machine: _PickleMachine) -> None:
    machine.make(*machine.last(2), called=True)


def _new(machine: _PickleMachine) -> None:
    machine.make(*machine.last(2), called=False)


def _new_with_keywords(machine: _PickleMachine) -> None:
    kind, arguments, _ = machine.last(3)
    machine.make(kind, arguments, called=False)


def _instance(machine: _PickleMachine) -> None:
    name = PickledName(machine.line().decode("utf-8"), machine.line().decode("utf-8"))
    machine.make(name, tuple(machine.group()), called=True)


def _object(machine: _PickleMachine) -> None:
    kind, *arguments = machine.group()
    machine.make(kind, tuple(arguments), called=True)


def _build(machine: _PickleMachine) -> None:
    (state,) = machine.last(1)
    target = machine.stack[-1]
    if not isinstance(target, PickledCall):
        raise _MalformedPickleError
    target.state = state


_STEPS: dict[bytes, _Step] = {
    b"N": _constant(None),
    b"\x88": _constant(value=True),
    b"\x89": _constant(value=False),
    b")": _constant(()),
    b"]": _fresh(list),
    b"\x8f": _fresh(list),  # a set, which is not needed as one
    b"}": _fresh(PickledDict),
    b"K": _unsigned(1),
    b"M": _unsigned(2),
    b"J": _packed("<i"),
    b"G": _packed(">d"),
    b"\x8a": _integer(1),
    b"\x8b": _integer(4),
    b"I": _written("integer"),
    b"L": _written("integer"),
    b"F": _written("float"),
    b"S": _written("string"),
    b"V": _written("unicode"),
    b"U": _text(1, "latin-1"),
    b"T": _text(4, "latin-1"),
    b"\x8c": _text(1, "utf-8"),
    b"X": _text(4, "utf-8"),
    b"\x8d": _text(8, "utf-8"),
    b"C": _blob(1),
    b"B": _blob(4),
    b"\x8e": _blob(8),
    b"\x96": _blob(8),
    b"\x85": _sequence(1),
    b"\x86": _sequence(2),
    b"\x87": _sequence(3),
    b"(": _mark,
    b"t": _tuple,
    b"l": _list,
    b"\x91": _list,  # a frozen set
    b"d": _dictionary,
    b"a": _append,
    b"e": _appends,
    b"\x90": _appends,
    b"s": _set_item,
    b"u": _set_items,
    b"0": _pop,
    b"1": _pop_mark,
    b"2": _duplicate,
    b"p": _put(0),
    b"q": _put(1),
    b"r": _put(4),
    b"\x94": _memoise,
    b"g": _get(0),
    b"h": _get(1),
    b"j": _get(4),
    b"c": _name,
    b"\x93": _stacked_name,
    b"\x82": _extension(1),
    b"\x83": _extension(2),
    b"\x84": _extension(4),
    b"P": _persistent_line,
    b"Q": _persistent,
    b"R": _reduce,
    b"\x81": _new,
    b"\x92": _new_with_keywords,
    b"i": _instance,
    b"o": _object,
    b"b": _build,
    b"\x80": lambda machine: machine.take(1),  # the protocol
    b"\x95": lambda machine: machine.take(8),  # a frame, which says how far to read ahead
}
