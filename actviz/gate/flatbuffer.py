"""A reader of FlatBuffers that checks every offset and size before it uses it.

A table refers to a list of offsets of its fields, relative to the table (the vtable of the format); strings, vectors
and inner tables follow later in the file. The number of tables and of bytes read is bounded, so that a damaged or
hostile file ends in a one-line error. Kept instead of the `flatbuffers` package, whose reader checks nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import LimitError, ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAXIMUM_TABLES = 500_000
MAXIMUM_READ = 256 << 20
WORD = 4


@dataclass(slots=True)
class FlatBuffer:
    """The bytes of a FlatBuffer, and the name of the file for error messages.

    `tables` counts the tables and `read` the bytes of vectors and strings that were read: a file that
    refers to the same ones again and again would otherwise cost more time than its size suggests.
    """

    content: bytes
    name: str
    tables: int = field(default=0, init=False)
    read: int = field(default=0, init=False)

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return len(self.content)

    def root(self) -> FlatBufferTable:
        """Return the root table.

        Raises
        ------
        ModelError
            When it does not lie inside the file.
        """
        return self.table(self.follow(0))

    def table(self, offset: int) -> FlatBufferTable:
        """Return the table at an offset.

        Raises
        ------
        ModelError
            When it does not lie inside the file.
        LimitError
            When more tables were read than any model has.
        """
        self.tables += 1
        self.spend(0)
        vtable = offset - int(self.number("<i", offset))
        size, length = int(self.number("<H", vtable)), int(self.number("<H", vtable + 2))
        if size < WORD or size % 2 or length < WORD:
            raise self.damage(vtable)
        self.check(vtable, size)
        self.check(offset, length)
        return FlatBufferTable(self, offset, vtable, size // 2 - 2, length)

    def number(self, code: str, offset: int) -> int | float:
        """Return the number at an offset; `code` is a format of `struct`."""
        self.check(offset, struct.calcsize(code))
        value: int | float = struct.unpack_from(code, self.content, offset)[0]
        return value

    def follow(self, offset: int) -> int:
        """Return the target of the relative offset that is stored at `offset`; it must lie after it."""
        distance = int(self.number("<I", offset))
        if distance == 0:
            raise self.damage(offset)
        self.check(offset + distance, 1)
        return offset + distance

    def check(self, offset: int, length: int) -> None:
        """Raise an error for a range of bytes that does not lie inside the file."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.damage(offset)

    def spend(self, length: int) -> None:
        """Add to the number of bytes read.

        Raises
        ------
        LimitError
            When it is more than any model has.
        """
        self.read += length
        if self.tables > MAXIMUM_TABLES or self.read > MAXIMUM_READ:
            message = f"{self.name}: the file refers to more than {MAXIMUM_TABLES:,} tables or {MAXIMUM_READ:,} bytes of lists: a bomb."
            raise LimitError(message)

    def damage(self, offset: int) -> ModelError:
        """Return the error for a file that is damaged at an offset."""
        return ModelError(
            f"{self.name}: the TFLite file is damaged or cut off (at byte {max(offset, 0):,} of {self.size:,}); get it again."
        )


@dataclass(frozen=True, slots=True)
class FlatBufferTable:
    """A table: fields by number; a missing field has its default value.

    `offset` is that of the table and `vtable` that of its list of fields, which has `count`
    entries; `length` is the size of the table itself in bytes.
    """

    flat: FlatBuffer
    offset: int
    vtable: int
    count: int
    length: int

    def slot(self, number: int) -> int | None:
        """Return the offset of a field's value, or of the reference to it; ``None`` for a missing field."""
        if number >= self.count:
            return None
        distance = int(self.flat.number("<H", self.vtable + WORD + 2 * number))
        if distance == 0:
            return None
        if not WORD <= distance < self.length:
            raise self.flat.damage(self.vtable)
        return self.offset + distance

    def integer(self, number: int, code: str = "<i", default: int = 0) -> int:
        """Return an integer field."""
        slot = self.slot(number)
        return default if slot is None else int(self.flat.number(code, slot))

    def child(self, number: int) -> FlatBufferTable | None:
        """Return a field that is a table."""
        slot = self.slot(number)
        return None if slot is None else self.flat.table(self.flat.follow(slot))

    def children(self, number: int) -> list[FlatBufferTable]:
        """Return a field that is a vector of tables."""
        start, count = self.vector(number, WORD)
        return [self.flat.table(self.flat.follow(start + WORD * each)) for each in range(count)]

    def vector(self, number: int, width: int) -> tuple[int, int]:
        """Return the offset of the items of a vector and their number; each item has `width` bytes."""
        slot = self.slot(number)
        if slot is None:
            return 0, 0
        start = self.flat.follow(slot)
        count = int(self.flat.number("<I", start))
        self.flat.check(start + WORD, count * width)
        return start + WORD, count

    def array(self, number: int, dtype: str) -> NDArray[Any]:
        """Return a field that is a vector of numbers; `dtype` is little-endian, such as ``<i4``."""
        kind = np.dtype(dtype)
        start, count = self.vector(number, kind.itemsize)
        self.flat.spend(count * kind.itemsize)
        return np.frombuffer(self.flat.content, kind, count, start)

    def text(self, number: int) -> str:
        """Return a field that is a string; bytes that are not UTF-8 are replaced."""
        start, count = self.vector(number, 1)
        self.flat.spend(count)
        return self.flat.content[start : start + count].decode("utf-8", "replace")
