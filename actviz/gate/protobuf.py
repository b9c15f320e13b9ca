"""The wire format of protocol buffers, read strictly: no schema, no copies, no TensorFlow.

A message is a row of fields, each a number and a value: a whole number, or bytes that are
again a message, a text or packed numbers. Who reads a message knows which fields are which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
LONGEST_VARINT = 10
SIGN, RANGE = 1 << 63, 1 << 64
CONTINUED = 0x80

Value = int | memoryview


class MalformedProtobuf(ModelError):  # noqa: N818  (the word says what the bytes are)
    """Bytes that are no protocol buffer; whoever knows the file's name says so in its own words."""

    def __init__(self) -> None:
        super().__init__("the bytes are no protocol buffer; the file is truncated or damaged.")


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the fields of a message: their numbers, and whole numbers or bytes.

    Raises
    ------
    Damaged
        When a field reaches beyond the end, or its type is unknown.
    """
    place, end = 0, len(message)
    while place < end:
        tag = message[place]
        place += 1
        if tag >= CONTINUED:
            tag, place = _varint(message, place - 1)
        kind = tag & 7
        if kind == BYTES:
            size, place = _varint(message, place)
            if size > end - place:
                raise MalformedProtobuf
            yield tag >> 3, message[place : place + size]
            place += size
        elif kind == VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
        elif kind in {FIXED_64, FIXED_32}:
            size = 8 if kind == FIXED_64 else 4
            if size > end - place:
                raise MalformedProtobuf
            yield tag >> 3, message[place : place + size]
            place += size
        else:
            raise MalformedProtobuf


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return a whole number and the place behind it."""
    try:
        value = message[place]
        if value < CONTINUED:
            return value, place + 1
        value &= 0x7F
        for number in range(1, LONGEST_VARINT):
            part = message[place + number]
            value |= (part & 0x7F) << (7 * number)
            if part < CONTINUED:
                return value, place + number + 1
    except IndexError:
        raise MalformedProtobuf from None
    raise MalformedProtobuf


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return the whole number at a place and the place behind it."""
    return _varint(message, place)


def encode_varint(value: int) -> bytes:
    """Return a whole number, at least 0, as it is written."""
    parts = bytearray()
    while value >= CONTINUED:
        parts.append(value & 0x7F | CONTINUED)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def encode_bytes(number: int, value: bytes | memoryview) -> bytes:
    """Return a field of bytes as it is written."""
    return encode_varint(number << 3 | BYTES) + encode_varint(len(value)) + bytes(value)


def all_bytes(message: memoryview, number: int) -> list[memoryview]:
    """Return the values of a repeated field of bytes."""
    return [as_bytes(value) for found, value in fields(message) if found == number]


def one_bytes(message: memoryview, number: int) -> memoryview:
    """Return the value of a field of bytes, empty where it is missing; the last one counts."""
    found = all_bytes(message, number)
    return found[-1] if found else memoryview(b"")


def one_number(message: memoryview, number: int) -> int:
    """Return the value of a field of a whole number, 0 where it is missing."""
    result = 0
    for found, value in fields(message):
        if found == number:
            result = as_number(value)
    return result


def as_bytes(value: Value) -> memoryview:
    """Return a field's value as bytes, or refuse a number in their place."""
    if isinstance(value, int):
        raise MalformedProtobuf
    return value


def as_number(value: Value) -> int:
    """Return a field's value as a whole number, or refuse bytes in its place."""
    if not isinstance(value, int):
        raise MalformedProtobuf
    return value


def signed(value: int) -> int:
    """Return the meaning of a number that the format writes as unsigned 64 bits."""
    return value - RANGE if value >= SIGN else value


def text(value: Value) -> str:
    """Return bytes as text; what is no UTF-8 keeps its bytes as surrogates."""
    return bytes(as_bytes(value)).decode("utf-8", "surrogateescape")


def one_text(message: memoryview, number: int) -> str:
    """Return the value of a text field, empty where it is missing."""
    return text(one_bytes(message, number))


def numbers(value: Value) -> list[int]:
    """Return a repeated field of whole numbers, packed or one of them alone."""
    if isinstance(value, int):
        return [value]
    found = []
    place = 0
    while place < len(value):
        number, place = _varint(value, place)
        found.append(number)
    return found


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
