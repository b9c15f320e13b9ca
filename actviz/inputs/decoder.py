"""A process that decodes images whose work is not bounded by their pixels, with a limit on its CPU time.

It gets the bytes of a file and gives pixels back, through pipes; it opens no file. One process
serves the whole command, and starts with the first image that needs it (0.2 s of CPU). A limit
of CPU time, not of time, keeps its promise on a machine that does other things.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import struct
import sys
import threading
from typing import Any, BinaryIO

from actviz.errors import ActvizError, LimitError, error_of_code
from actviz.inputs.channels import DecodedImage
from actviz.inputs.input_options import InputOptions
from actviz.inputs.pillow_images import Wanted
from actviz.system import file_system, processes

CPU_SECONDS = 20.0
# What an image waits for at most, should the process stand still without computing anything.
WALL_SECONDS = 600.0
MAX_MEMORY = 6 << 30
PROGRAM = "from actviz.inputs.decoder import main; main()"
_LENGTH = struct.Struct("<QQ")


class _Process:
    """The process and the pipes to it."""

    def __init__(self) -> None:
        told = json.dumps({"seconds": CPU_SECONDS, "memory": min(MAX_MEMORY, file_system.memory_allowed())})
        self.seconds = CPU_SECONDS
        self.process, reader, writer = processes.start_python(
            PROGRAM, told, processes.plain_environment(), noun="the process that decodes images"
        )
        self._reader, self._writer = processes.as_files(reader, writer)

    def ask(self, header: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytearray]:
        """Send a request and return the answer.

        Raises
        ------
        OSError, EOFError
            When the process is gone.
        """
        timer = threading.Timer(WALL_SECONDS, processes.kill, [self.process])
        timer.daemon = True
        timer.start()
        try:
            _send(self._writer, header, content)
            return _receive(self._reader)
        finally:
            timer.cancel()

    def end(self) -> int:
        """Kill and reap the process, and return its exit code as `Popen` tells it."""
        for file in (self._writer, self._reader):
            processes.close_file(file)
        return processes.reap(self.process)


class Decoder:
    """Decodes images in a process that is started for the first, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def decode(self, content: bytes, kind: str, path: str, wanted: Wanted) -> DecodedImage:
        """Decode an image; see `images.decode`.

        Raises
        ------
        LimitError
            When it takes more CPU time or memory than is allowed, or the decoder crashes.
        InputError
            When the file is truncated or damaged, or has no such frame.
        """
        header = {"kind": kind, "path": path, "wanted": dataclasses.asdict(wanted)}
        with self._lock:
            process = self._process = self._process or _Process()
            try:
                answer, values = process.ask(header, content)
            except (OSError, EOFError):
                self._process = None
                raise _death(path, process.end(), process.seconds) from None
            except BaseException:  # interrupted between question and answer: the next answer would be this one's
                self._process = None
                processes.kill(process.process)
                raise
        if "error" in answer:
            raise error_of_code(int(answer["code"]), str(answer["error"]))
        import numpy as np

        array = np.frombuffer(values, np.dtype(answer["dtype"])).reshape(answer["shape"])
        return DecodedImage(array, tuple(answer["notes"]), bool(answer["alpha"]))


DECODER = Decoder()
"""The decoder of this process."""


def _death(path: str, code: int, seconds: float) -> LimitError:
    if code == -signal.SIGPROF:
        message = f"{path}: decoding it took more than {seconds:g} s of CPU time; the image is damaged, hostile or too large. Save it again, or give a smaller one."
        return LimitError(message)
    name = signal.Signals(-code).name if -code in {*signal.Signals} else f"code {code}"
    return LimitError(
        f"{path}: the image decoder crashed ({name}); the file is damaged, hostile or too large. Save it again."
    )


def _send(file: BinaryIO, header: dict[str, Any], content: bytes | memoryview) -> None:
    head = json.dumps(header).encode("ascii")
    file.write(_LENGTH.pack(len(head), len(content)) + head)
    file.write(content)
    file.flush()


def _receive(file: BinaryIO) -> tuple[dict[str, Any], bytearray]:
    size, length = _LENGTH.unpack(_read(file, _LENGTH.size))
    header = json.loads(bytes(_read(file, size)))
    return header, _read(file, length)


def _read(file: BinaryIO, size: int) -> bytearray:
    content = bytearray(size)
    if file.readinto(content) != size:  # type: ignore[attr-defined]  # of a buffered reader
        raise EOFError
    return content


def main() -> None:
    """Decode what the command asks for until it closes the pipe."""
    import resource

    reader, writer, told = sys.argv[1:]
    limits = json.loads(told)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    file_system.limit_memory(limits["memory"])
    file_system.be_first_to_go()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_command, args=[int(reader)], daemon=True).start()
    incoming, outgoing = processes.as_files(int(reader), int(writer))
    while True:
        try:
            header, content = _receive(incoming)
            answer, values = _answer(header, bytes(content), limits["seconds"])
            _send(outgoing, answer, values)
        except (OSError, EOFError):
            os._exit(0)


def _end_with_command(reader: int) -> None:
    """End when the command does, also in the middle of an image."""
    import select

    poll = select.poll()
    poll.register(reader, 0)  # that the other end is closed is told always
    poll.poll()
    os._exit(0)


def _answer(header: dict[str, Any], content: bytes, seconds: float) -> tuple[dict[str, Any], memoryview | bytes]:
    """Decode an image while a timer of CPU time runs, which kills this process."""
    wanted = Wanted(**header["wanted"] | {"options": _options(header["wanted"]["options"])})
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        found = decode_here(content, header["kind"], header["path"], wanted)
    except ActvizError as failure:
        return {"error": failure.message, "code": failure.exit_code}, b""
    except MemoryError:
        message = f"{header['path']}: not enough memory to decode it; give a smaller image."
        return {"error": message, "code": LimitError.exit_code}, b""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    import numpy as np

    values = np.ascontiguousarray(found.values)
    told = {"dtype": values.dtype.str, "shape": values.shape, "notes": found.notes, "alpha": found.alpha}
    return told, values.reshape(-1).view(np.uint8).data if values.size else b""


def _options(told: dict[str, Any]) -> InputOptions:
    background = told["background"]
    return InputOptions(**told | {"background": background if isinstance(background, str) else tuple(background)})


def decode_here(content: bytes, kind: str, path: str, wanted: Wanted) -> DecodedImage:
    """Decode an image in this process; see `images.decode`."""
    from actviz.inputs import image_structure, pillow_images

    if kind == "TIFF":
        from actviz.inputs import tiff

        return tiff.decode(content, path, wanted)
    if kind == "GIF":
        image_structure.check_gif(content, path)
    if kind == "PNG" and image_structure.is_deep_png(content):
        from actviz.inputs import deep_png

        return deep_png.decode(content, path, wanted)
    return pillow_images.decode(content, kind, path, wanted)
