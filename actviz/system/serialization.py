"""Serialize records to msgpack, with their arrays apart, and back.

Decoding checks types: bytes from a process that a hostile file has taken over give a record of the
expected class or an error, and are never executed.
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
# msgpack has neither lone surrogates, as in file names that are not UTF-8, nor integers of more than 64 bits.
# JSON as Python writes it has both, and also NaN and infinities.
MSGPACK, JSON = b"m", b"j"


def encode(record: object) -> tuple[bytes, list[Array]]:
    """Return a dataclass, or plain objects, as bytes that refer to its arrays by index, and the arrays.

    Raises
    ------
    TypeError
        When it contains an object of an unsupported type.
    """
    import msgspec

    arrays: list[Array] = []

    def encode_object(value: Any) -> Any:
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
        return MSGPACK + msgspec.msgpack.encode(record, enc_hook=encode_object), arrays
    except (UnicodeEncodeError, OverflowError):
        arrays.clear()
        return JSON + json.dumps(msgspec.to_builtins(record, enc_hook=encode_object)).encode("ascii"), arrays


def decode(content: bytes, kind: type[T], arrays: Sequence[Array] = ()) -> T:
    """Return the record of type `kind` that `encode` serialized.

    Raises
    ------
    ValueError, TypeError, IndexError, RecursionError
        When the bytes are no such record.
    """
    import msgspec

    def decode_object(cls: Any, value: Any) -> Any:
        return cls(value) if issubclass(cls, os.PathLike) else arrays[value]

    if content[:1] == MSGPACK:
        return msgspec.msgpack.decode(memoryview(content)[1:], type=kind, dec_hook=decode_object)
    return msgspec.convert(json.loads(content[1:]), kind, dec_hook=decode_object)


def to_plain(record: object) -> Any:
    """Return a dataclass without arrays as dictionaries, lists, strings and numbers, for `from_plain`."""
    import msgspec

    return msgspec.to_builtins(record)


def from_plain(value: Any, kind: type[T]) -> T:
    """Return the record of type `kind` that `to_plain` returned.

    Raises
    ------
    ValueError, TypeError
        When it is no such record.
    """
    import msgspec

    return msgspec.convert(value, kind)


def encode_array(values: Array) -> tuple[str, memoryview]:
    """Return the dtype name of an array (``string`` for strings) and its bytes in C order."""
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
    """Return the array that `encode_array` serialized; strings are Python objects.

    Raises
    ------
    ValueError, TypeError
        When dtype, shape and bytes do not match.
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
