"""An array of an open `.npz` or `.npy` file that is read lazily and in parts."""

from __future__ import annotations

import contextlib
import copy
import io
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from actviz.errors import InputError, LimitError
from actviz.gate.archive import DAMAGED, FileWindow, array_info
from actviz.gate.npy import HEAD_BYTES, MAX_BYTES, NpyHeader, array_of, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from actviz.gate.archive import Archive

LARGEST = 1 << 40
CHUNK = 1 << 20


class LazyArray:
    """An array whose header has been read and checked.

    Entries along the first axis can be read in ascending order without reading data twice, after the
    checksum was verified once before the first entry.

    Parameters
    ----------
    label
        Name of the array in messages.
    size
        Its size in bytes, including the header.
    start
        Opens a stream at its first byte.

    Raises
    ------
    ActvizError
        When the header is malformed, declares another size, or Python objects.
    """

    def __init__(self, label: str, size: int, start: Callable[[], BinaryIO]) -> None:
        self._label = label
        self._size = size
        self._start = start
        self._stream: BinaryIO | None = None
        self._next = 0
        self._checked = False
        with self._damage_reported():
            head = self._head()
        self.header: NpyHeader = read_header(head, size, label, LARGEST, with_complex=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its axes."""
        return self.header.shape

    def as_batch(self) -> LazyArray:
        """Return the array with a new batch axis of size 1."""
        batch = copy.copy(self)
        batch.header = replace(self.header, shape=(1, *self.shape))
        return batch

    def entry(self, number: int, order: Sequence[int] | None = None) -> NDArray[Any]:
        """Return one entry along the first axis, which is kept with size 1.

        Parameters
        ----------
        number
            Index of the entry.
        order
            Memory order of the other axes, counted from 0, the slowest first; ``None``: C order. It does
            not change the order of axes of the result.

        Raises
        ------
        InputError
            When the file is damaged.
        LimitError
            When the entry has more than 2 GiB.
        """
        count, *rest = self.shape
        entry = NpyHeader((1, *rest), self.header.fortran, self.header.dtype, 0)
        self._check_limit(self.header.data_bytes if self.header.fortran and count > 1 else entry.data_bytes)
        if self.header.fortran and count > 1:
            return self.whole()[number : number + 1]
        if not entry.data_bytes:
            return array_of(b"", entry, self._label)
        memory_order = tuple(range(len(rest))) if order is None else tuple(order)
        # In Fortran order the last axis is the slowest.
        stored = tuple(reversed(range(len(rest)))) if self.header.fortran else tuple(range(len(rest)))
        memory = np.empty([rest[axis] for axis in memory_order], self.header.dtype.newbyteorder("="))
        values = memory.transpose(np.argsort(memory_order)) if rest else memory
        with self._damage_reported():
            self._fill(self._stream_at(number, entry.data_bytes), values.transpose(stored))
            self._next = number + 1
        return values[None]

    def blocks(self, step: int) -> Iterator[NDArray[Any]]:
        """Yield all entries in order in blocks of `step`.

        Data is read once, so the checksum is verified only after the last block.

        Raises
        ------
        InputError
            When the file is damaged.
        LimitError
            When a block has more than 2 GiB.
        """
        count, *rest = self.shape
        entry = NpyHeader((1, *rest), self.header.fortran, self.header.dtype, 0)
        if not self.header.data_bytes or self.header.fortran:
            yield self.whole()
            return
        self._check_limit(entry.data_bytes * min(step, count))
        with self._damage_reported():
            stream = self._start()
            stream.read(self.header.start)
        with stream:
            for first in range(0, count, step):
                part = replace(entry, shape=(min(step, count - first), *rest))
                with self._damage_reported():
                    content = stream.read(part.data_bytes)
                    if len(content) != part.data_bytes:
                        raise EOFError
                yield array_of(content, part, self._label)

    def whole(self, limit: int = MAX_BYTES) -> NDArray[Any]:
        """Return the whole array, of at most `limit` bytes.

        Raises
        ------
        InputError
            When the file is damaged.
        LimitError
            When it is larger.
        """
        self._check_limit(self.header.data_bytes, limit)
        with self._damage_reported():
            content = self._read_all()
        return array_of(content, self.header, self._label)

    def _check_limit(self, size: int, limit: int = MAX_BYTES) -> None:
        if size > limit:
            message = f"{self._label}: {size:,} bytes at a time, at most {limit:,} are read; give a smaller array."
            raise LimitError(message)

    @contextlib.contextmanager
    def _damage_reported(self) -> Iterator[None]:
        """Convert the exceptions of zipfile and zlib on damaged data to `InputError`."""
        try:
            yield
        except DAMAGED:
            raise InputError(f"{self._label}: the file is truncated or damaged; copy or write it again.") from None

    def _head(self) -> bytes:
        with self._start() as stream:
            return stream.read(HEAD_BYTES)

    def _read_all(self) -> bytes:
        with self._start() as stream:
            content = stream.read(self._size + 1)
        if len(content) != self._size:
            raise EOFError
        return content

    def _fill(self, stream: BinaryIO, target: NDArray[Any]) -> None:
        """Read values in C order into an array of any memory order, in chunks.

        Reading all at once would need the memory of up to 2 GiB twice.
        """
        if target.nbytes > CHUNK and target.ndim:
            step = max(1, CHUNK // (target.nbytes // len(target)))
            for first in range(0, len(target), step):
                self._fill(stream, target[first : first + step] if step > 1 or target.ndim == 1 else target[first])
            return
        size = math.prod(target.shape) * self.header.dtype.itemsize
        content = stream.read(size)
        if len(content) != size:
            raise EOFError
        target[...] = array_of(content, NpyHeader(target.shape, False, self.header.dtype, 0), self._label)  # noqa: FBT003

    def _stream_at(self, number: int, size: int) -> BinaryIO:
        """Return a stream at an entry of `size` bytes; it is opened again only to go backwards."""
        if not self._checked:
            self._checked = True
            self._verify_checksum()
        if self._stream is None or number < self._next:
            self.close()
            self._stream = self._start()
            self._stream.read(self.header.start)
            self._next = 0
        self._stream.seek((number - self._next) * size, io.SEEK_CUR)
        return self._stream

    def _verify_checksum(self) -> None:
        """Read the whole member: zipfile verifies the checksum at the end."""
        with self._start() as stream:
            while stream.read(CHUNK):
                pass

    def close(self) -> None:
        """Close the stream of entries."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def open_member(archive: Archive, key: str, label: str) -> LazyArray:
    """Return the array ``KEY.npy`` of an archive.

    Raises
    ------
    ActvizError
        When the member is missing, its compression is not supported, or it is no supported array.
    """
    info = array_info(archive, key, label)
    return LazyArray(label, info.file_size, lambda: cast("BinaryIO", archive.container.open(info)))


def open_npy(file: BinaryIO, size: int, label: str) -> LazyArray:
    """Return the array in an open `.npy` file of `size` bytes, which the caller must keep open."""

    def start() -> BinaryIO:
        file.seek(0)
        return io.BufferedReader(FileWindow(file, 0, size))

    array = LazyArray(label, size, start)
    array._checked = True  # noqa: SLF001  (a .npy file has no checksum)
    return array
