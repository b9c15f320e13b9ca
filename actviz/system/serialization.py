"""Records as the bytes of a message, and back: msgpack, with the arrays beside it.

Types are checked on the way back: bytes from a process that a hostile file has taken over
become the record that was asked for, or an error, and never code.
"""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.records import Array

T = TypeVar("T")
# msgpack holds neither lone surrogates, as in names of files that are not UTF-8, nor integers of more than 64 bits.
# JSON as Python writes it does, and NaN and infinities too.
MSGPACK, JSON = b"m", b"j"


def encode(record: object) -> tuple[bytes, list[Array]]:
    """Return a dataclass, or plain objects, as bytes, and the arrays in it, which the bytes name by index.

    Raises
    ------
    TypeError
        When it holds an object of another kind.
    """
    import msgspec

    arrays: list[Array] = []

    def replaced(value: Any) -> Any:
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        import numpy as np

        if isinstance(value, np.generic):
            return value.item()
        if not isinstance(value, np.ndarray):
            raise TypeError(type(value))
        arrays.append(value)
        return len(arrays) - 1

    try:
        return MSGPACK + msgspec.msgpack.encode(record, enc_hook=replaced), arrays
    except (UnicodeEncodeError, OverflowError):
        arrays.clear()
        return JSON + json.dumps(msgspec.to_builtins(record, enc_hook=replaced)).encode("ascii"), arrays


def decode(content: bytes, kind: type[T], arrays: Sequence[Array] = ()) -> T:
    """Return the record of type `kind` that `encode` made the bytes and arrays of.

    Raises
    ------
    ValueError, TypeError, IndexError, RecursionError
        When the bytes hold no such record.
    """
    import msgspec

    def restored(wanted: Any, value: Any) -> Any:
        return wanted(value) if issubclass(wanted, os.PathLike) else arrays[value]

    if content[:1] == MSGPACK:
        return msgspec.msgpack.decode(memoryview(content)[1:], type=kind, dec_hook=restored)
    return msgspec.convert(json.loads(content[1:]), kind, dec_hook=restored)


def encode_array(values: Array) -> tuple[str, memoryview]:
    """Return the name of an array's dtype (``string`` for texts), and its bytes in C order."""
    import numpy as np

    if values.dtype.kind in "OSU":
        texts = [
            item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
            for item in values.ravel().tolist()
        ]
        return "string", memoryview(encode(texts)[0])
    flat = np.ascontiguousarray(values).reshape(-1)
    return values.dtype.name, flat.view(np.uint8).data.cast("B") if flat.size else memoryview(b"")


def decode_array(dtype: str, shape: tuple[int, ...], content: bytearray) -> Array:
    """Return the array that `encode_array` made the bytes of; texts are Python objects.

    Raises
    ------
    ValueError, TypeError
        When dtype, shape and bytes do not fit each other.
    """
    import numpy as np

    if dtype == "string":
        texts = np.empty(math.prod(shape), object)
        texts[:] = decode(bytes(content), list[str])
        return texts.reshape(shape)
    if dtype == "bfloat16":
        import ml_dtypes

        return np.frombuffer(content, ml_dtypes.bfloat16).reshape(shape)
    return np.frombuffer(content, np.dtype(dtype)).reshape(shape)
