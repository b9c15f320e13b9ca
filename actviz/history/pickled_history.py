"""Interpret the records of `pickles`: a history, and numbers of NumPy in it.

NumPy's scalars and arrays are decoded here from the bytes in the file; NumPy itself is not called.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from actviz.errors import InputError, LimitError, UnsafeError, escape
from actviz.history.history_records import RawColumns
from actviz.history.pickles import Pair, PickledCall, PickledDict, PickledName

if TYPE_CHECKING:
    from actviz.errors import ActvizError

MAXIMUM_NUMBERS = 3_000_000

_MODULES = frozenset({"numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"})
_ORDERS = {"<": "<", ">": ">", "|": "<", "=": "<"}
_FORMATS = {"f2": "e", "f4": "f", "f8": "d", "b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H"}
_FORMATS |= {"i4": "i", "u4": "I", "i8": "q", "u8": "Q"}

_PairList = Sequence[Pair]


def columns_in(top: object, name: str) -> RawColumns:
    """Return the metrics in the result of `pickles.load` for the file `name`.

    The dict may be alone, inside a History object of any version, or inside an
    array of one object (``numpy.save``).

    Raises
    ------
    InputError
        If it contains something else.
    UnsafeError
        If reading it would call a function that has nothing to do with a history.
    LimitError
        If it contains more than `MAXIMUM_NUMBERS`.
    """
    top = _unboxed(top)
    if isinstance(top, PickledCall):
        state = top.state[0] if isinstance(top.state, tuple) and top.state else top.state
        # The state of a History object holds its metrics; an OrderedDict has them as items.
        pairs: _PairList = state.pairs if isinstance(state, PickledDict) else top.pairs or ()
        if not pairs or (isinstance(state, PickledDict) and _inner(pairs) is None):
            raise _no_history(top, name)
    elif isinstance(top, PickledDict):
        pairs = top.pairs
    else:
        message = f"{name}: this pickle holds no history; save it with pickle.dump(history.history, file)."
        raise InputError(message)
    inner = _inner(pairs)
    reader = _PlainValueReader(name)
    metrics: dict[str, object] = {}
    for key, value in pairs if inner is None else inner:
        if isinstance(key, str):
            metrics[key] = reader.plain(value)
    epochs = None if inner is None else reader.plain(_value(pairs, "epoch"))
    return RawColumns(tuple(metrics.items()), epochs)


def _unboxed(top: object) -> object:
    """Return the object in an array of one object, as numpy.save writes a dict."""
    if isinstance(top, PickledCall) and _numpy_name(top) == "_reconstruct":
        match top.state:
            case (_, _, _, _, [element]):
                return element
    return top


def _inner(pairs: _PairList) -> _PairList | None:
    """Return the metrics of ``{"history": {...}, ...}``, or ``None`` if there is no such key."""
    metrics = _value(pairs, "history")
    return metrics.pairs or () if isinstance(metrics, (PickledDict, PickledCall)) else None


def _value(pairs: _PairList, key: str) -> object:
    return next((value for name, value in reversed(pairs) if isinstance(name, str) and name == key), None)


def _no_history(call: PickledCall, name: str) -> ActvizError:
    what = _printable_name(call)
    if call.called:
        return UnsafeError(
            f"{name}: no history: reading this pickle would call {what}; it was not called, and no option allows it."
        )
    return InputError(
        f"{name}: this pickle holds no history but a {what}, which was not created; save it with pickle.dump(history.history, file)."
    )


def _printable_name(call: PickledCall) -> str:
    """Return the name of the function or class, safe to print."""
    name = call.function
    if isinstance(name, PickledCall):  # a method: getattr(class, "name")
        match name.arguments:
            case (PickledName() as owner, str(method)):
                name = PickledName(owner.module, f"{owner.name}.{method}")
    return escape(f"{name.module}.{name.name}", 80) if isinstance(name, PickledName) else "something without a name"


def _numpy_name(call: PickledCall) -> str:
    """Return the name of NumPy's function that would be called, or an empty string for any other."""
    name = call.function
    return name.name if isinstance(name, PickledName) and name.module in _MODULES else ""


class _PlainValueReader:
    """Converts values to plain numbers and lists, and counts them: repeating a value costs a pickle nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.formats: dict[int, struct.Struct | None] = {}

    def plain(self, value: object, depth: int = 0) -> object:
        """Return a number, a string, a list of these (at most two levels), or ``None`` for the rest."""
        self._counted(1)
        if isinstance(value, (int, float, str)):
            return value
        if isinstance(value, (list, tuple)):
            self._counted(len(value))
            if depth > 1:
                return None
            return [item if type(item) is float else self.plain(item, depth + 1) for item in value]
        return self._array(value) if isinstance(value, PickledCall) else None

    def _counted(self, count: int) -> None:
        self.count += count
        if self.count > MAXIMUM_NUMBERS:
            message = f"{self.name}: more than {MAXIMUM_NUMBERS:,} numbers; save history.history alone."
            raise LimitError(message)

    def _array(self, call: PickledCall) -> object:
        """Return the numbers of a NumPy scalar or array; raise UnsafeError for any other call."""
        if not call.called:
            return None  # an instance of some class, not a number
        match _numpy_name(call), call.arguments, call.state:
            case "scalar", (dtype, content), _:
                return self._numbers(dtype, content, ())
            case "_reconstruct", _, (_, tuple(shape), dtype, _, content):
                return self._numbers(dtype, content, shape)
            case "_frombuffer", (content, dtype, tuple(shape), _), _:
                return self._numbers(dtype, content, shape)
        message = f"{self.name}: reading this pickle would call {_printable_name(call)}; it was not called, and no option allows it. Save history.history with json.dump."
        raise UnsafeError(message)

    def _numbers(self, dtype: object, content: object, shape: tuple[object, ...]) -> object:
        if isinstance(content, list):  # an array of objects
            return self.plain(content, depth=1)
        packing = self._struct(dtype)
        raw = _bytes(content)
        if packing is None or raw is None:
            return None
        sizes = [size for size in shape if isinstance(size, int) and size >= 0]
        if len(sizes) != len(shape) or math.prod(sizes) * packing.size != len(raw):
            raise _malformed(self.name)
        self._counted(len(raw) // packing.size)
        if not shape:
            return packing.unpack(raw)[0]
        return [number for (number,) in packing.iter_unpack(raw)] if len(shape) == 1 else None

    def _struct(self, dtype: object) -> struct.Struct | None:
        """Return the struct of a pickled dtype, cached by identity: most pickles repeat one dtype."""
        if id(dtype) not in self.formats:  # loaded values stay alive meanwhile, so identities are unique
            self.formats[id(dtype)] = _struct_of(dtype)
        return self.formats[id(dtype)]


def _struct_of(dtype: object) -> struct.Struct | None:
    if not isinstance(dtype, PickledCall) or dtype.function != PickledName("numpy", "dtype"):
        return None
    match dtype.arguments, dtype.state:
        case (str(code), *_), (_, str(order), *_):
            if code in _FORMATS and order in _ORDERS:
                return struct.Struct(_ORDERS[order] + _FORMATS[code])
    return None


def _bytes(content: object) -> bytes | None:
    """Return bytes, also those that protocols 0 to 2 write as text to be encoded."""
    match content:
        case PickledCall(PickledName("__builtin__", "bytes"), ()):
            return b""
        case PickledCall(PickledName("_codecs", "encode"), (str(text), "latin1" | "latin-1")):
            content = text
    if isinstance(content, str):  # Python 2 had no other bytes
        try:
            return content.encode("latin-1")
        except UnicodeEncodeError:
            return None
    return content if isinstance(content, bytes) else None


def _malformed(name: str) -> InputError:
    return InputError(f"{name}: malformed NumPy data in this pickle; save history.history with json.dump.")
