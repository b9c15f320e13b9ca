"""Faults in the calls on disk and processes that the modules of `actviz.system` make.

The functions of `os` are replaced, and count only where one of those modules is among their
callers: whether through `tempfile`, `pathlib` or `subprocess`. A call is made to fail by its
number. Files are watched too: what is written to and read from them counts as a call.
"""

import contextlib
import errno
import json
import os
import sys
from pathlib import Path

MODULES = (
    "actviz.system.descriptors",
    "actviz.system.file_system",
    "actviz.system.file_writing",
    "actviz.system.folders",
    "actviz.system.held_folder",
    "actviz.system.processes",
    "actviz.system.resource_limits",
    "actviz.system.run_lock",
    "actviz.system.streams",
    "actviz.system.temporary_files",
)
CALLS = (
    "open", "close", "fsync", "fchmod", "replace", "unlink", "lstat", "stat", "fstat", "fdopen", "scandir", "mkdir",
    "pipe", "readv", "write", "set_blocking",
)  # fmt: skip
ERRORS = ("ENOSPC", "EIO", "EACCES", "EINTR")
KINDS = (*ERRORS, "MemoryError", "killed")
DEPTH = 12


BEGUN = f"import sys; sys.path.append({str(Path(__file__).parent)!r}); from fault_child import main; main()"


def use_small_models(monkeypatch, program=BEGUN):
    """Let the command open the models of `fault_child`, in this process and without TensorFlow.

    `program` starts a worker; that of the fixture `small_workers` forks one, with which the tests of retries take
    9 s of processor time instead of 20.
    """
    from actviz.system import temporary_files
    from actviz.worker import client

    monkeypatch.setattr(client, "PROGRAM", program)
    monkeypatch.setattr("actviz.batch.figure_writer.warm_up", lambda: None)
    monkeypatch.setattr(temporary_files, "TEMPORARY", temporary_files.TemporaryFiles())


def write_model(path, **said):
    """Write a model that `fault_child` reads."""
    path.write_text(json.dumps(said))
    return path


def run_here(monkeypatch, *arguments):
    """Run the command in this process as it is run by a shell, and return its exit code."""
    from actviz.cli import program
    from actviz.system import temporary_files

    monkeypatch.setattr("sys.argv", ["actviz", *map(str, arguments)])
    code = program._run()
    temporary_files.end_writing()  # what the command does last
    monkeypatch.setattr(temporary_files, "TEMPORARY", temporary_files.TemporaryFiles())
    return code


class Watched:
    """An open file whose reads and writes count."""

    def __init__(self, file, faults, kind="file"):
        self._file, self._faults, self._kind = file, faults, kind

    def __getattr__(self, name):
        found = getattr(self._file, name)
        return self._faults.counted(f"{self._kind}.{name}", found) if name in {"read", "write", "flush"} else found

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *failure):
        return self._file.__exit__(*failure)

    def __iter__(self):
        return iter(self._file)


class Faults:
    """Counts calls, and lets one of them fail.

    Parameters
    ----------
    at
        The number of the call that fails, from 0; ``None``: none does.
    kind
        One of `KINDS`; ``killed``: the worker is, and the call goes on.
    """

    def __init__(self, at=None, kind="EIO"):
        self.at, self.kind = at, kind
        self.names = []
        self.failed = None
        self.children = []

    def counted(self, name, real):
        def call(*arguments, **options):
            number = len(self.names)
            self.names.append(name)
            if number != self.at or (name == "close" and self.kind == "MemoryError"):  # closing takes no memory
                return real(*arguments, **options)
            self.failed = name
            if self.kind == "killed":
                self.kill()
                return real(*arguments, **options)
            if name == "close":
                real(*arguments, **options)  # as Linux does: closed all the same
            raise error_of(self.kind)

        return call

    def kill(self):
        for child in self.children:
            with contextlib.suppress(OSError):
                child.kill()

    @contextlib.contextmanager
    def injected(self, monkeypatch):
        """Run a block in which the calls are those."""
        from actviz.system import processes, temporary_files

        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self._only_ours(name, getattr(os, name)))
            patch.setattr(temporary_files, "scratch_file", self._scratch(temporary_files.scratch_file))
            patch.setattr(processes.subprocess, "Popen", self._start(processes.subprocess.Popen))
            yield self

    def _only_ours(self, name, real):
        counted = self.counted(name, real)

        def call(*arguments, **options):
            if not called_by_us():
                return real(*arguments, **options)
            found = counted(*arguments, **options)
            return Watched(found, self) if name == "fdopen" else found

        return call

    def _scratch(self, real):
        """Return what opens a file without a name; as `called_by_us` cannot see its later calls, all count."""
        return lambda folder, in_memory: Watched(real(folder, in_memory), self, "scratch")

    def _start(self, real):
        counted = self.counted("Popen", real)

        def start(*arguments, **options):
            self.children.append(counted(*arguments, **options))
            return self.children[-1]

        return start


def error_of(kind):
    """Return a new error as the system raises it."""
    if kind == "MemoryError":
        return MemoryError()
    number = getattr(errno, kind)
    return OSError(number, os.strerror(number))


def called_by_us():
    """Tell whether a module of actviz that may touch files is among the callers."""
    frame = sys._getframe(2)
    for _ in range(DEPTH):
        if frame is None:
            return False
        name = frame.f_globals.get("__name__")
        if name in MODULES or name == "subprocess":  # what that does by itself counts as one call
            return name in MODULES
        frame = frame.f_back
    return False
