"""Tensors that a graph holds as constants, as numpy arrays."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

from actviz.formats.checkpoint import numpy_dtype, parse_shape
from actviz.formats.savedmodel.proto import dtype_name
from actviz.gate.protobuf import MalformedProtobuf, as_bytes, fields, numbers, one_bytes, one_number, signed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONTENT, STRINGS = 4, 8
FLOATS, DOUBLES = 5, 6
WHOLE = frozenset({7, 10, 11, 16, 17})
HALVES = 13
LARGEST = 1 << 28


def tensor_of(message: memoryview) -> NDArray[np.generic]:
    """Return a constant: numbers of its dtype, or bytes objects for texts.

    Fewer values than the shape asks for repeat the last one.

    Raises
    ------
    Damaged
        When the values do not fit the shape and dtype.
    """
    import numpy as np

    name = dtype_name(one_number(message, 1))
    shape = parse_shape(one_bytes(message, 2))
    if not name or name in {"resource", "variant"} or shape is None or None in shape:
        raise MalformedProtobuf
    sizes = tuple(size or 0 for size in shape)
    if math.prod(sizes) > LARGEST:
        raise MalformedProtobuf
    dtype = np.dtype(object) if name == "string" else numpy_dtype(name)
    content = one_bytes(message, CONTENT)
    if len(content) and name != "string":
        if len(content) != math.prod(sizes) * dtype.itemsize:
            raise MalformedProtobuf
        return np.frombuffer(bytes(content), dtype).reshape(sizes)
    values = _values(message, name)
    count = math.prod(sizes)
    if len(values) > count:
        raise MalformedProtobuf
    if len(values) < count:
        filler = values[-1] if values else (b"" if name == "string" else 0)
        values = [*values, *[filler] * (count - len(values))]
    array = np.empty(count, dtype)
    array[:] = values
    return array.reshape(sizes)


def _values(message: memoryview, name: str) -> list[Any]:
    import numpy as np

    found: list[Any] = []
    for number, value in fields(message):
        if number == STRINGS:
            found.append(bytes(as_bytes(value)))
        elif number in {FLOATS, DOUBLES}:
            kind = "f" if number == FLOATS else "d"
            content = as_bytes(value)
            size = struct.calcsize(kind)
            if len(content) % size:
                raise MalformedProtobuf
            found += struct.unpack(f"<{len(content) // size}{kind}", content)
        elif number in WHOLE:
            found += [signed(item) for item in numbers(value)]
        elif number == HALVES:
            halves = np.array(numbers(value), np.uint16).view(numpy_dtype(name))
            found += list(halves)
    return found
