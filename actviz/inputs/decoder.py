"""Decode images in a process with a limit on CPU time, if the work is not bounded by their pixels.

The process receives the bytes of a file and returns pixels through pipes; it opens no file. One
process is started for the first image that needs it (0.2 s of CPU time) and serves the whole command.
CPU time is limited, not elapsed time, so that the limit does not depend on the load of the machine.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass

import numpy as np

from actviz.errors import ActvizError, LimitError, error_of_code
from actviz.inputs.channels import DecodedImage  # noqa: TC001  (read at run time by `system.serialization`)
from actviz.inputs.pillow_images import DecodeTarget  # noqa: TC001  (read at run time by `system.serialization`)
from actviz.records import Array  # noqa: TC001  (read at run time by `system.serialization`)
from actviz.system import processes, resource_limits
from actviz.system.channel import Channel, ClosedError, SilentError

CPU_SECONDS = 20.0
# Limit on elapsed time, in case the process hangs without using CPU time.
WALL_SECONDS = 600.0
MAX_MEMORY = 6 << 30
PROGRAM = "from actviz.inputs.decoder import main; main()"


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """The first message to the process: seconds of CPU time per image, and bytes of memory."""

    seconds: float
    memory: int


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """The bytes of an image file (uint8), and the other arguments of `Decoder.decode`."""

    content: Array
    kind: str
    path: str
    target: DecodeTarget


@dataclass(frozen=True, slots=True)
class DecodeReply:
    """The image, or the message and exit code of an error."""

    image: DecodedImage | None
    error: str = ""
    code: int = 0


class _Process:
    """The process and the channel to it."""

    def __init__(self) -> None:
        self.seconds = CPU_SECONDS
        self.process, reader, writer = processes.start_python(
            PROGRAM, processes.plain_environment(), noun="the process that decodes images"
        )
        self._channel = Channel(reader, writer)
        self._limits: DecoderLimits | None = DecoderLimits(CPU_SECONDS, min(MAX_MEMORY, resource_limits.memory_limit()))

    def ask(self, request: DecodeRequest) -> DecodeReply:
        """Send a request and return the reply.

        Raises
        ------
        ClosedError, SilentError
            When the process ended, or does not answer.
        """
        if self._limits is not None:
            self._channel.send(self._limits, WALL_SECONDS)
            self._limits = None
        self._channel.send(request, WALL_SECONDS)
        return self._channel.receive(DecodeReply, WALL_SECONDS)

    def end(self) -> int:
        """End and reap the process, and return its exit code as `Popen` does."""
        self._channel.close()
        return processes.reap(self.process)


class Decoder:
    """Decodes images one at a time in a process, which is started for the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def decode(self, content: bytes, kind: str, path: str, target: DecodeTarget) -> DecodedImage:
        """Decode an image; see `images.decode`.

        Raises
        ------
        LimitError
            When it exceeds the limit on CPU time or memory, or the decoder crashes.
        InputError
            When the file is truncated or damaged, or has no such frame.
        """
        request = DecodeRequest(np.frombuffer(content, np.uint8), kind, path, target)
        with self._lock:
            process = self._process = self._process or _Process()
            try:
                reply = process.ask(request)
            except (ClosedError, SilentError) as failure:
                self._process = None
                if isinstance(failure, SilentError):
                    processes.kill(process.process)
                raise _crash_error(path, process.end(), process.seconds) from None
            except BaseException:  # interrupted: the reply would be taken for that of the next request
                self._process = None
                processes.kill(process.process)
                raise
        if reply.image is None:
            raise error_of_code(reply.code, reply.error)
        return reply.image


DECODER = Decoder()
"""The decoder of this process."""


def _crash_error(path: str, code: int, seconds: float) -> LimitError:
    if code == -signal.SIGPROF:
        message = f"{path}: decoding it took more than {seconds:g} s of CPU time; the image is damaged, hostile or too large. Save it again, or give a smaller one."
        return LimitError(message)
    name = signal.Signals(-code).name if -code in {*signal.Signals} else f"code {code}"
    return LimitError(
        f"{path}: the image decoder crashed ({name}); the file is damaged, hostile or too large. Save it again."
    )


def main() -> None:
    """Decode images until the command closes the pipe."""
    reader, writer = map(int, sys.argv[1:])
    resource_limits.protect_child()
    threading.Thread(target=_end_with_command, args=[reader], daemon=True).start()
    channel = Channel(reader, writer)
    try:
        limits = channel.receive(DecoderLimits)
        resource_limits.limit_memory(limits.memory)
        while True:
            channel.send(_reply(channel.receive(DecodeRequest), limits.seconds))
    except ClosedError:
        os._exit(0)


def _end_with_command(reader: int) -> None:
    """End this process when the command ends, even while an image is decoded."""
    import select

    poll = select.poll()
    poll.register(reader, 0)  # a closed pipe is always reported
    poll.poll()
    os._exit(0)


def _reply(request: DecodeRequest, seconds: float) -> DecodeReply:
    """Decode an image under a timer of CPU time that kills this process."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return DecodeReply(decode_here(request.content.tobytes(), request.kind, request.path, request.target))
    except ActvizError as failure:
        return DecodeReply(None, failure.message, failure.exit_code)
    except MemoryError:
        message = f"{request.path}: not enough memory to decode it; give a smaller image."
        return DecodeReply(None, message, LimitError.exit_code)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def decode_here(content: bytes, kind: str, path: str, target: DecodeTarget) -> DecodedImage:
    """Decode an image in this process; see `images.decode`."""
    from actviz.inputs import image_structure, pillow_images

    if kind == "TIFF":
        from actviz.inputs import tiff

        return tiff.decode(content, path, target)
    if kind == "GIF":
        image_structure.check_gif(content, path)
    if kind == "PNG" and image_structure.is_deep_png(content):
        from actviz.inputs import deep_png

        return deep_png.decode(content, path, target)
    return pillow_images.decode(content, kind, path, target)
