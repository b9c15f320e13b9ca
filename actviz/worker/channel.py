"""Messages between the command and its worker: JSON and raw arrays over a pipe.

A message is a frame: the length of its JSON header (8 bytes, little-endian), the header,
then the bytes of the arrays that the header describes. Nothing is pickled: a worker that
was taken over by a hostile file can send wrong numbers, not code.
"""

from __future__ import annotations

import json
import math
import select
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

from actviz.system import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

LENGTH = struct.Struct("<Q")
MAXIMUM_HEADER = 256 << 20
PIPE_BYTES = 1 << 20
WATCH_SECONDS = 0.05 if sys.platform.startswith("linux") else 1.0  # elsewhere a look costs a process
SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ, which Python knows only on Linux

Message = dict[str, Any]


class ClosedError(Exception):
    """The other end is gone."""


class SilentError(Exception):
    """Nothing came within the time limit."""


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

    def send(
        self,
        message: Message,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        timeout: float | None = None,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        """Send a message and named arrays of numbers or strings.

        `timeout` and `watch` are those of `receive`; they count where the pipe does not block.

        Raises
        ------
        ClosedError
            When the other end is gone.
        SilentError
            When it took nothing in time.
        """
        described, buffers = [], []
        for name, values in (arrays or {}).items():
            kind, buffer = _packed(values)
            described.append([name, kind, list(values.shape), buffer.nbytes])
            buffers.append(buffer)
        header = json.dumps({"message": message, "arrays": described}).encode("ascii")
        try:
            for buffer in (memoryview(LENGTH.pack(len(header)) + header), *buffers):
                self._write(buffer, timeout, watch)
        except OSError:
            raise ClosedError from None

    def receive(
        self, timeout: float | None = None, watch: Callable[[], None] = lambda: None
    ) -> tuple[Message, dict[str, NDArray[Any]]]:
        """Wait for the next message.

        Parameters
        ----------
        timeout
            Seconds of silence that are allowed; ``None`` waits for ever.
        watch
            Called again and again while nothing comes.

        Raises
        ------
        ClosedError
            When the other end is gone.
        SilentError
            When nothing came in time.
        """
        length = LENGTH.unpack(self._read(LENGTH.size, timeout, watch))[0]
        if length > MAXIMUM_HEADER:
            raise ClosedError
        header = json.loads(bytes(self._read(length, timeout, watch)))
        arrays = {}
        for name, kind, shape, size in header["arrays"]:
            arrays[name] = _unpacked(kind, tuple(shape), self._read(size, timeout, watch))
        return header["message"], arrays

    def close(self) -> None:
        """Close both pipes; closing again does nothing."""
        descriptors, self._descriptors = self._descriptors, frozenset()
        for descriptor in descriptors:
            processes.close(descriptor)

    def _write(self, content: memoryview, timeout: float | None, watch: Callable[[], None]) -> None:
        rest = content
        while rest.nbytes:
            try:
                rest = rest[processes.write_some(self._writer, rest) :]
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
        """Wait until a pipe can be read from or written to."""
        if timeout is None:
            select.select(readers, writers, [])
            return
        until = time.monotonic() + timeout
        while not any(select.select(readers, writers, [], min(WATCH_SECONDS, timeout))):
            watch()
            if time.monotonic() >= until:
                raise SilentError


def _enlarge(descriptor: int) -> None:
    """Let a pipe hold 1 MiB, so that 30 MB need 30 wake-ups and not 460."""
    try:
        import fcntl

        fcntl.fcntl(descriptor, SET_PIPE_SIZE, PIPE_BYTES)
    except (ImportError, OSError, ValueError):
        return


def _packed(values: NDArray[Any]) -> tuple[str, memoryview]:
    import numpy as np

    if values.dtype.kind in "OSU":
        texts = [
            item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
            for item in values.ravel().tolist()
        ]
        return "string", memoryview(json.dumps(texts).encode("ascii"))
    flat = np.ascontiguousarray(values).reshape(-1)
    return values.dtype.name, flat.view(np.uint8).data.cast("B") if flat.size else memoryview(b"")


def _unpacked(kind: str, shape: tuple[int, ...], content: bytearray) -> NDArray[Any]:
    import numpy as np

    if kind == "string":
        texts = np.empty(math.prod(shape), object)
        texts[:] = json.loads(bytes(content))
        return texts.reshape(shape)
    if kind == "bfloat16":
        import ml_dtypes

        return np.frombuffer(content, ml_dtypes.bfloat16).reshape(shape)
    return np.frombuffer(content, np.dtype(kind)).reshape(shape)
