"""Messages between two processes: records and raw arrays over a pair of pipes.

A message is a frame: the length of its header (8 bytes, little-endian), the header in
msgpack, then the bytes of the arrays that the header describes. Nothing is pickled: a
process that a hostile file has taken over can send wrong numbers, but no code.
"""

from __future__ import annotations

import select
import struct
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from actviz.system import descriptors, processes, serialization

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LENGTH = struct.Struct("<Q")
MAXIMUM_HEADER = 256 << 20
PIPE_BYTES = 1 << 20
WATCH_SECONDS = 0.05 if sys.platform.startswith("linux") else 1.0  # elsewhere reading the memory starts a process
SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ, which Python defines only on Linux

ArrayHeader = tuple[str, tuple[int, ...], int]
"""Dtype, shape and size in bytes of an array."""


class ClosedError(Exception):
    """The other end closed the pipe."""


class MalformedError(ClosedError):
    """The other end sent an invalid message, after which no other can be read."""


class SilentError(Exception):
    """The other end did nothing within the time limit."""


class Channel:
    """One end of a pair of pipes.

    Parameters
    ----------
    reader, writer
        File descriptors, owned by the channel.
    """

    def __init__(self, reader: int, writer: int) -> None:
        self._reader = reader
        self._writer = writer
        self._descriptors = frozenset({reader, writer})
        for descriptor in (reader, writer):
            _enlarge(descriptor)

    def send(self, message: object, timeout: float | None = None, watch: Callable[[], None] = lambda: None) -> None:
        """Send a dataclass that may contain arrays of numbers or strings.

        `timeout` and `watch` are those of `receive`; they apply if the pipe does not block.

        Raises
        ------
        ClosedError
            When the other end closed the pipe.
        SilentError
            When it read nothing in time.
        """
        import msgspec

        content, arrays = serialization.encode(message)
        headers: list[ArrayHeader] = []
        buffers = []
        for values in arrays:
            dtype, buffer = serialization.encode_array(values)
            headers.append((dtype, values.shape, buffer.nbytes))
            buffers.append(buffer)
        header = msgspec.msgpack.encode((headers, content))
        try:
            for buffer in (memoryview(LENGTH.pack(len(header)) + header), *buffers):
                self._write(buffer, timeout, watch)
        except OSError:
            raise ClosedError from None

    def receive(self, kind: type[T], timeout: float | None = None, watch: Callable[[], None] = lambda: None) -> T:
        """Wait for the next message and return it.

        Parameters
        ----------
        kind
            The dataclass that is expected.
        timeout
            Seconds to wait for data; ``None`` waits forever.
        watch
            Called repeatedly while waiting.

        Raises
        ------
        ClosedError
            When the other end closed the pipe.
        MalformedError
            When it sent something else.
        SilentError
            When it sent nothing in time.
        """
        import msgspec

        length = LENGTH.unpack(self._read(LENGTH.size, timeout, watch))[0]
        if length > MAXIMUM_HEADER:
            raise MalformedError
        header = self._read(length, timeout, watch)
        try:
            headers, content = msgspec.msgpack.decode(header, type=tuple[list[ArrayHeader], bytes])
            arrays = [
                serialization.decode_array(dtype, shape, self._read(size, timeout, watch))
                for dtype, shape, size in headers
            ]
            return serialization.decode(content, kind, arrays)
        except (ValueError, TypeError, IndexError, OverflowError, RecursionError) as failure:
            raise MalformedError from failure

    def close(self) -> None:
        """Close both pipes; further calls do nothing."""
        still_open, self._descriptors = self._descriptors, frozenset()
        for descriptor in still_open:
            descriptors.close(descriptor)

    def _write(self, content: memoryview, timeout: float | None, watch: Callable[[], None]) -> None:
        while content.nbytes:
            try:
                content = content[processes.write_some(self._writer, content) :]
            except BlockingIOError:
                self._wait([], [self._writer], timeout, watch)

    def _read(self, size: int, timeout: float | None, watch: Callable[[], None]) -> bytearray:
        content = bytearray(size)
        view = memoryview(content)
        while view.nbytes:
            self._wait([self._reader], [], timeout, watch)
            try:
                count = processes.read_into(self._reader, view)
            except OSError:
                count = 0
            if not count:
                raise ClosedError
            view = view[count:]
        return content

    @staticmethod
    def _wait(readers: list[int], writers: list[int], timeout: float | None, watch: Callable[[], None]) -> None:
        """Wait until a pipe is readable or writable."""
        if timeout is None:
            select.select(readers, writers, [])
            return
        deadline = time.monotonic() + timeout
        while not any(select.select(readers, writers, [], min(WATCH_SECONDS, timeout))):
            watch()
            if time.monotonic() >= deadline:
                raise SilentError


def _enlarge(descriptor: int) -> None:
    """Enlarge the buffer of a pipe to 1 MiB, so that 30 MB take 30 wake-ups instead of 460."""
    try:
        import fcntl

        fcntl.fcntl(descriptor, SET_PIPE_SIZE, PIPE_BYTES)
    except (ImportError, OSError, ValueError):
        return
