"""Pickles read as data, by an interpreter without any operation that imports or calls.

A pickle is a program for a small stack machine. Python's own machine imports what the
program names and calls it. This one keeps the same stack, but pushes a `PickledName` instead
of importing, and a `PickledCall` instead of calling: a record of what would have been called,
with which arguments. Nothing is imported, called, hashed or compared; `pickled_history`
interprets the records.

Memory and time are bounded: the memo is a dict (a large index allocates nothing), dicts are
lists of pairs (a hostile key is never hashed), nothing here recurses, bytes and texts beyond
`_LARGEST_BLOB` are skipped unread, and the number of steps is limited. The arguments of
opcodes are read by the readers of `pickletools`, through a file that applies these limits;
`pickletools.genops` itself is not used, because it decodes byte strings and names as ASCII,
while Python 2 wrote NumPy's bytes into them.
"""

from __future__ import annotations

import codecs
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from actviz.errors import InputError, LimitError
from actviz.system.warning_filters import without_warnings

MAXIMUM_STEPS = 3_000_000
MAXIMUM_TEXT = 64 << 20

_LARGEST_BLOB = 1 << 20
_LARGEST_LINE = 1 << 16
_LARGEST_INTEGER_BITS = 512


Pair = tuple[object, object]


class PickledName(NamedTuple):
    """A name that the pickle would import. It is not imported."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class PickledCall:
    """A function that the pickle would call, or a class that it would instantiate. Neither is done.

    `called` distinguishes the call of a function from the instance of a class. `state` is what the
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
    """A dict as its keys and values in order; no key is hashed."""

    pairs: list[Pair] = field(default_factory=list)


class SkippedBlob(NamedTuple):
    """Bytes or text too large to be part of a history; not read."""

    size: int


class _MalformedPickleError(Exception):
    """The bytes are not a pickle."""


def load(file: BinaryIO, size: int, name: str) -> object:
    """Run the pickle that begins at the position of `file`, without importing or calling anything.

    Parameters
    ----------
    size
        Size of the whole file in bytes.
    name
        Name of the file, for messages.

    Returns
    -------
    object
        Numbers, text, bytes, lists and tuples as they are; `PickledDict`, `PickledName`,
        `PickledCall` and `SkippedBlob` for the rest.

    Raises
    ------
    InputError
        If it is truncated or malformed.
    LimitError
        If it has more steps or more text than a history needs.
    """
    machine = _PickleMachine(_BoundedFile(file, size, name))
    try:
        with without_warnings():  # about invalid escapes in byte strings
            for _ in range(MAXIMUM_STEPS):
                code = file.read(1)
                if code == b".":
                    return machine.stack.pop()
                machine.step(code)
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


class _SkippedBytes(bytes):
    """Empty bytes with the length of skipped ones: the readers of pickletools compare lengths."""

    size = 0

    def __len__(self) -> int:
        return self.size


class _BoundedFile:
    """A file for the readers of pickletools, which allocate what a pickle declares.

    `skipped` is the blob that the last reads skipped, if any.
    """

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self.file = file
        self.size = size
        self.name = name
        self.text_bytes = 0
        self.skipped: SkippedBlob | None = None

    def read(self, count: int) -> bytes:
        """Read `count` bytes, or skip them if they are too many for a history."""
        if count <= _LARGEST_BLOB:
            self._count(count)
            return self.file.read(count)
        if count > self.size - self.file.tell():
            raise _MalformedPickleError
        self.file.seek(count, 1)
        self.skipped = SkippedBlob(count)
        skipped = _SkippedBytes()
        skipped.size = count
        return skipped

    def readline(self) -> bytes:
        """Read a line; a longer one than `_LARGEST_LINE` lacks its end, which the readers refuse."""
        line = self.file.readline(_LARGEST_LINE)
        self._count(len(line))
        return line

    def _count(self, count: int) -> None:
        self.text_bytes += count
        if self.text_bytes > MAXIMUM_TEXT:
            message = (
                f"{self.name}: a pickle with more than {MAXIMUM_TEXT:,} bytes of text; save history.history alone."
            )
            raise LimitError(message)


class _PickleMachine:
    """Stack, marks and memo of one pickle."""

    def __init__(self, file: _BoundedFile) -> None:
        self.file = file
        self.stack: list[object] = []
        self.outer_stacks: list[list[object]] = []
        self.memo: dict[int, object] = {}

    def step(self, code: bytes) -> None:
        """Execute one opcode; KeyError for an unknown one."""
        read, execute = _OPCODES[code]
        if read is None:
            execute(self, None)
            return
        argument = read(self.file)
        if self.file.skipped is not None:
            argument, self.file.skipped = self.file.skipped, None
        execute(self, argument)

    def push(self, value: object) -> None:
        """Push a value; an integer that no history has is malformed."""
        if isinstance(value, int) and value.bit_length() > _LARGEST_INTEGER_BITS:
            raise _MalformedPickleError
        self.stack.append(value)

    def mark(self) -> None:
        """Begin a group of values."""
        self.outer_stacks.append(self.stack)
        self.stack = []

    def pop_group(self) -> list[object]:
        """End the innermost group and return its values."""
        values, self.stack = self.stack, self.outer_stacks.pop()
        return values

    def pop(self) -> None:
        """Remove the last value, or the mark if the group is empty."""
        if self.stack:
            self.stack.pop()
        else:
            self.pop_group()

    def pop_values(self, count: int) -> tuple[object, ...]:
        """Remove and return the last `count` values."""
        if len(self.stack) < count:
            raise _MalformedPickleError
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def extend(self, values: list[object]) -> None:
        """Append values to the list, set or object on the top of the stack."""
        target = self.stack[-1]
        if isinstance(target, PickledCall):
            target.items = target.items or []
            target.items += values
        elif isinstance(target, list):
            target.extend(values)
        else:
            raise _MalformedPickleError

    def insert(self, values: list[object]) -> None:
        """Put keys and values, alternating, into the dict or object on the top of the stack."""
        target = self.stack[-1]
        if len(values) % 2 or not isinstance(target, (PickledCall, PickledDict)):
            raise _MalformedPickleError
        target.pairs = target.pairs or []
        target.pairs += list(zip(values[::2], values[1::2], strict=True))

    def push_dict(self) -> None:
        """Turn the innermost group into a dict."""
        values = self.pop_group()
        self.stack.append(PickledDict())
        self.insert(values)

    def put(self, index: int) -> None:
        """Remember the top of the stack."""
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        """Push a remembered value."""
        if index not in self.memo:
            raise _MalformedPickleError
        self.stack.append(self.memo[index])

    def push_name(self) -> None:
        """Turn two texts into a name."""
        module, name = self.pop_values(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise _MalformedPickleError
        self.stack.append(PickledName(module, name))

    def push_call(self, function: object, arguments: object, *, called: bool = True) -> None:
        """Push the record of a call or of an instance."""
        self.stack.append(PickledCall(function, arguments, called))

    def push_object(self) -> None:
        """Turn a group of a class and its arguments into a call."""
        function, *arguments = self.pop_group()
        self.push_call(function, tuple(arguments))

    def build(self) -> None:
        """Set the state of the object below the top of the stack."""
        (state,) = self.pop_values(1)
        target = self.stack[-1]
        if not isinstance(target, PickledCall):
            raise _MalformedPickleError
        target.state = state


def _read_line(file: _BoundedFile) -> bytes:
    line = file.readline()
    if not line.endswith(b"\n"):
        raise _MalformedPickleError
    return line[:-1]


def _read_string(file: _BoundedFile) -> str:
    """Read a quoted byte string of protocol 0 as Latin-1."""
    line = _read_line(file)
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in {b"'", b'"'}:  # noqa: PLR2004  (two quotes)
        raise _MalformedPickleError
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")


def _read_name(file: _BoundedFile) -> PickledName:
    return PickledName(_read_line(file).decode("utf-8"), _read_line(file).decode("utf-8"))


_PERSISTENT_LOAD = PickledName("pickle", "persistent_load")
_Read = Callable[[Any], Any]  # of a _BoundedFile, which the readers of pickletools take for a file
_Execute = Callable[[_PickleMachine, Any], object]

_EXECUTE: dict[str, _Execute] = {
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(value=True),
    "NEWFALSE": lambda machine, _: machine.push(value=False),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push(PickledDict()),
    "TUPLE1": lambda machine, _: machine.push(machine.pop_values(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.pop_values(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.pop_values(3)),
    "MARK": lambda machine, _: machine.mark(),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_group())),
    "LIST": lambda machine, _: machine.push(machine.pop_group()),
    "FROZENSET": lambda machine, _: machine.push(machine.pop_group()),
    "DICT": lambda machine, _: machine.push_dict(),
    "APPEND": lambda machine, _: machine.extend(list(machine.pop_values(1))),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_group()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.pop_group()),
    "SETITEM": lambda machine, _: machine.insert(list(machine.pop_values(2))),
    "SETITEMS": lambda machine, _: machine.insert(machine.pop_group()),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.pop_group(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _PickleMachine.put),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _PickleMachine.get),
    "STACK_GLOBAL": lambda machine, _: machine.push_name(),
    # Python would look up the code in a registry and import the name registered for it.
    **dict.fromkeys(
        ("EXT1", "EXT2", "EXT4"),
        lambda machine, code: machine.push(PickledName("copyreg", f"extension {code}")),
    ),
    # Python would ask the reading program for an object of that name.
    "PERSID": lambda machine, name: machine.push_call(_PERSISTENT_LOAD, (name,)),
    "BINPERSID": lambda machine, _: machine.push_call(_PERSISTENT_LOAD, machine.pop_values(1)),
    "REDUCE": lambda machine, _: machine.push_call(*machine.pop_values(2)),
    "NEWOBJ": lambda machine, _: machine.push_call(*machine.pop_values(2), called=False),
    "NEWOBJ_EX": lambda machine, _: machine.push_call(*machine.pop_values(3)[:2], called=False),
    "INST": lambda machine, name: machine.push_call(name, tuple(machine.pop_group())),
    "OBJ": lambda machine, _: machine.push_object(),
    "BUILD": lambda machine, _: machine.build(),
}
_READ: dict[str, _Read] = {
    "STRING": _read_string,
    "GLOBAL": _read_name,
    "INST": _read_name,
    "PERSID": _read_line,
    "BYTEARRAY8": pickletools.read_bytes8,
}
# Buffers from outside the pickle do not exist; STOP is handled by `load`.
_UNSUPPORTED = frozenset({"NEXT_BUFFER", "READONLY_BUFFER", "STOP"})


def _implementation(opcode: pickletools.OpcodeInfo) -> tuple[_Read | None, _Execute]:
    """Return how to read the argument of an opcode, None if it has none, and how to execute it."""
    reader: Any = opcode.arg and opcode.arg.reader
    if opcode.name in {"PROTO", "FRAME"}:
        return reader, lambda _, __: None
    # Opcodes with an argument push it, unless they are in the table.
    return _READ.get(opcode.name, reader), _EXECUTE.get(opcode.name, _PickleMachine.push)


_OPCODES = {
    opcode.code.encode("latin-1"): _implementation(opcode)
    for opcode in pickletools.opcodes
    if opcode.name not in _UNSUPPORTED
}
