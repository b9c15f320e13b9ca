"""The wire format of protocol buffers, read strictly: no schema, no copies, no TensorFlow.

A message is a sequence of fields, each a number and a value: an integer, or bytes that are
again a message, a text or packed integers. The caller knows which field is which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, BYTES = 0, 2
FIXED_SIZES = {1: 8, 5: 4}
LONGEST_VARINT = 10
SIGN, RANGE = 1 << 63, 1 << 64
CONTINUED = 0x80

Value = int | memoryview


class MalformedProtobuf(ModelError):  # noqa: N818  (describes the bytes)
    """Bytes that are not a protocol buffer; callers that know the file's name replace the message."""

    def __init__(self) -> None:
        super().__init__("the bytes are not a protocol buffer; the file is truncated or damaged.")


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the number and the value of each field of a message.

    Raises
    ------
    MalformedProtobuf
        When a field reaches beyond the end, or its wire type is unknown.
    """
    offset, end = 0, len(message)
    while offset < end:
        tag = message[offset]
        offset += 1
        if tag >= CONTINUED:
            tag, offset = varint(message, offset - 1)
        kind = tag & 7
        if kind == VARINT:
            value, offset = varint(message, offset)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            size, offset = varint(message, offset)
        elif kind in FIXED_SIZES:
            size = FIXED_SIZES[kind]
        else:
            raise MalformedProtobuf
        if size > end - offset:
            raise MalformedProtobuf
        yield tag >> 3, message[offset : offset + size]
        offset += size


def varint(message: memoryview, offset: int) -> tuple[int, int]:
    """Return the integer at an offset and the offset after it."""
    try:
        value = message[offset]
        if value < CONTINUED:
            return value, offset + 1
        value &= 0x7F
        for number in range(1, LONGEST_VARINT):
            part = message[offset + number]
            value |= (part & 0x7F) << (7 * number)
            if part < CONTINUED:
                return value, offset + number + 1
    except IndexError:
        raise MalformedProtobuf from None
    raise MalformedProtobuf


def encode_varint(value: int) -> bytes:
    """Return the encoding of a non-negative integer."""
    parts = bytearray()
    while value >= CONTINUED:
        parts.append(value & 0x7F | CONTINUED)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def encode_bytes(number: int, value: bytes | memoryview) -> bytes:
    """Return the encoding of a field of bytes."""
    return encode_varint(number << 3 | BYTES) + encode_varint(len(value)) + bytes(value)


def all_bytes(message: memoryview, number: int) -> list[memoryview]:
    """Return the values of a repeated field of bytes."""
    return [as_bytes(value) for field, value in fields(message) if field == number]


def one_bytes(message: memoryview, number: int) -> memoryview:
    """Return the last value of a field of bytes, empty where the field is missing."""
    values = all_bytes(message, number)
    return values[-1] if values else memoryview(b"")


def one_number(message: memoryview, number: int) -> int:
    """Return the last value of an integer field, 0 where the field is missing."""
    result = 0
    for field, value in fields(message):
        if field == number:
            result = as_number(value)
    return result


def as_bytes(value: Value) -> memoryview:
    """Return a field's value, which must be bytes."""
    if isinstance(value, int):
        raise MalformedProtobuf
    return value


def as_number(value: Value) -> int:
    """Return a field's value, which must be an integer."""
    if not isinstance(value, int):
        raise MalformedProtobuf
    return value


def signed(value: int) -> int:
    """Return a signed integer that the format writes as unsigned 64 bits."""
    return value - RANGE if value >= SIGN else value


def text(value: Value) -> str:
    """Return bytes as text; bytes that are not UTF-8 become surrogates."""
    return bytes(as_bytes(value)).decode("utf-8", "surrogateescape")


def one_text(message: memoryview, number: int) -> str:
    """Return the value of a text field, empty where it is missing."""
    return text(one_bytes(message, number))


def numbers(value: Value) -> list[int]:
    """Return the integers of one value of a repeated field, packed or single."""
    if isinstance(value, int):
        return [value]
    integers, offset = [], 0
    while offset < len(value):
        number, offset = varint(value, offset)
        integers.append(number)
    return integers


def pairs(message: memoryview, number: int) -> Iterator[tuple[str, memoryview]]:
    """Yield the keys and values of a map field whose values are messages or texts."""
    for entry in all_bytes(message, number):
        key, value = "", memoryview(b"")
        for part, content in fields(entry):
            if part == 1:
                key = text(content)
            elif part == 2:  # noqa: PLR2004  (1 is the key, 2 the value)
                value = as_bytes(content)
        yield key, value
