"""A reader of FlatBuffers that trusts no number in them.

A table holds, for each of its fields, where the field lies relative to the table; strings,
vectors and inner tables are further on. Every place is checked against the file before it is
read, and the number of tables is bounded, so that a damaged or hostile file ends in one line.
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
    """The bytes of a FlatBuffer and the name that errors call it by.

    `tables` counts those that were looked at, `read` the bytes of lists and texts: a file that
    refers to the same ones over and over would otherwise cost more than its size allows.
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
        """Return the first table.

        Raises
        ------
        ModelError
            When there is none.
        """
        return self.table(self.follow(0))

    def table(self, place: int) -> FlatBufferTable:
        """Return the table at a place.

        Raises
        ------
        ModelError
            When it does not lie inside the file.
        LimitError
            When more tables were looked at than any model has.
        """
        self.tables += 1
        self.spend(0)
        index = place - int(self.number("<i", place))
        fields, length = int(self.number("<H", index)), int(self.number("<H", index + 2))
        if fields < WORD or fields % 2 or length < WORD:
            raise self.damage(index)
        self.check(index, fields)
        self.check(place, length)
        return FlatBufferTable(self, place, index, fields // 2 - 2, length)

    def number(self, code: str, place: int) -> int | float:
        """Return one number, in the notation of `struct`."""
        self.check(place, struct.calcsize(code))
        found: int | float = struct.unpack_from(code, self.content, place)[0]
        return found

    def follow(self, place: int) -> int:
        """Return the place that an offset leads to; offsets lead forward."""
        offset = int(self.number("<I", place))
        if offset == 0:
            raise self.damage(place)
        self.check(place + offset, 1)
        return place + offset

    def check(self, place: int, length: int) -> None:
        """Refuse what does not lie inside the file."""
        if place < 0 or length < 0 or place + length > self.size:
            raise self.damage(place)

    def spend(self, length: int) -> None:
        """Count what is read.

        Raises
        ------
        LimitError
            When it is more than any model has.
        """
        self.read += length
        if self.tables > MAXIMUM_TABLES or self.read > MAXIMUM_READ:
            message = f"{self.name}: the file refers to more than {MAXIMUM_TABLES:,} tables or {MAXIMUM_READ:,} bytes of lists: a bomb."
            raise LimitError(message)

    def damage(self, place: int) -> ModelError:
        """Return the error for a file that is not what it says at some place."""
        return ModelError(
            f"{self.name}: the TFLite file is damaged or cut off (at byte {max(place, 0):,} of {self.size:,}); get it again."
        )


@dataclass(frozen=True, slots=True)
class FlatBufferTable:
    """One table: fields by number; a field that is not there has its default.

    `place` is where it lies, `index` where its list of fields, `count` how many that lists
    and `length` the bytes that the table itself covers.
    """

    flat: FlatBuffer
    place: int
    index: int
    count: int
    length: int

    def slot(self, number: int) -> int | None:
        """Return where the value of a field, or the offset to it, lies."""
        if number >= self.count:
            return None
        offset = int(self.flat.number("<H", self.index + WORD + 2 * number))
        if offset == 0:
            return None
        if not WORD <= offset < self.length:
            raise self.flat.damage(self.index)
        return self.place + offset

    def integer(self, number: int, code: str = "<i", default: int = 0) -> int:
        """Return a field that is a whole number."""
        slot = self.slot(number)
        return default if slot is None else int(self.flat.number(code, slot))

    def child(self, number: int) -> FlatBufferTable | None:
        """Return a field that is a table."""
        slot = self.slot(number)
        return None if slot is None else self.flat.table(self.flat.follow(slot))

    def children(self, number: int) -> list[FlatBufferTable]:
        """Return a field that is a list of tables."""
        start, count = self.vector(number, WORD)
        return [self.flat.table(self.flat.follow(start + WORD * each)) for each in range(count)]

    def vector(self, number: int, width: int) -> tuple[int, int]:
        """Return where the items of a list begin and how many there are, each `width` bytes."""
        slot = self.slot(number)
        if slot is None:
            return 0, 0
        place = self.flat.follow(slot)
        count = int(self.flat.number("<I", place))
        self.flat.check(place + WORD, count * width)
        return place + WORD, count

    def array(self, number: int, dtype: str) -> NDArray[Any]:
        """Return a field that is a list of numbers, of a numpy dtype in little-endian order."""
        kind = np.dtype(dtype)
        start, count = self.vector(number, kind.itemsize)
        self.flat.spend(count * kind.itemsize)
        return np.frombuffer(self.flat.content, kind, count, start)

    def text(self, number: int) -> str:
        """Return a field that is a string; bytes that are no UTF-8 are replaced."""
        start, count = self.vector(number, 1)
        self.flat.spend(count)
        return self.flat.content[start : start + count].decode("utf-8", "replace")
