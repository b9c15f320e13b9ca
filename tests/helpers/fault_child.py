"""A worker whose model is two sums: everything of a real one but the libraries that compute.

The model file says in JSON what it multiplies by (``factor``), what it notes (``notes``), and
what becomes of the process when an input holds the value 1 (``harm``: ``dies``, ``hangs``,
``waits``, ``too large``, ``bad``, or a shortage: ``no memory``, ``no thread``, ``no native thread``), and what
opening it takes (``opening``: ``spins`` or ``waits`` for ever, or a change of the model file).
A ``harm`` may also be one of `CHANGES`, which becomes of the model file.
"""

import json
import os
import signal
import time

from actviz.errors import error_of_code
from actviz.records import Activation, LayerInfo, ModelFacts, TensorSpec
from actviz.worker import server

AXES = ("batch", "row", "column", "channel")
MARK = 1.0


def rewrite(path):
    """Write a file again in place, with other content of the same size."""
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content[::-1])
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))  # the clock of the disk may tick rarely


def replace(path):
    """Put another file of the same content in its place."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


CHANGES = {
    "rewritten": rewrite,
    "replaced": replace,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "removed": lambda path: path.unlink(),
}


def facts(name):
    return ModelFacts(
        name, "h5", "keras", ("m",), (TensorSpec("image", (None, 8, 8, 1), "float32", AXES),),
        tuple(
            LayerInfo(name, name, place, "Conv2D", (None, 8, 8, 4), "float32", 0, AXES)
            for place, name in enumerate(("conv", "last"))
        ),
        (), (), "0" * 64,
    )  # fmt: skip


class Sums:
    """A network of two layers, each of which multiplies its input."""

    def __init__(self, path):
        self._path = path
        said = json.loads(path.read_bytes())
        if said.get("opening") in CHANGES:
            CHANGES[said["opening"]](path)
            raise error_of_code(4, f"{path.name}: the file is truncated or damaged.")
        self._factor, self._harm = said.get("factor", 1), said.get("harm")
        self._later = said.get("notes", [])
        while said.get("opening") == "spins":
            pass
        while said.get("opening") == "waits":
            time.sleep(1)
        self.facts, self.notes = facts(path.name), []

    def check_unchanged(self):
        pass

    def complete(self, _shapes=None):
        return self.facts

    def prepare(self):
        pass

    def activations(self, batch, addresses=None, **_):
        values = batch["image"].repeat(4, 3) * self._factor
        if (batch["image"] == MARK).all((1, 2, 3)).any():
            self._come_to_harm()
        self.notes = self._later
        return {
            address: Activation(address, "Conv2D", values * (1 + place), AXES, signed=False, weights_digest="1" * 64)
            for place, address in enumerate(addresses)
        }

    def _come_to_harm(self):
        if self._harm in CHANGES and self._path.exists():
            CHANGES[self._harm](self._path)
        elif self._harm == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif self._harm == "hangs":
            time.sleep(1000)
        elif self._harm == "waits":  # as long as the command lives
            command, patience = os.getppid(), time.monotonic() + 100
            while os.getppid() == command != 1 and time.monotonic() < patience:
                time.sleep(0.05)
        elif self._harm == "too large":
            raise error_of_code(6, "m.h5: too large.")
        elif self._harm == "no memory":
            raise MemoryError
        elif self._harm == "no thread":
            message = "can't start new thread"
            raise RuntimeError(message)
        elif self._harm == "no native thread":  # as TensorFlow does
            os.write(
                2, b"F0000 env.cc:74] Check failed: ret == 0 (11 vs. 0)Thread creation via pthread_create() failed."
            )
            os.abort()
        elif self._harm == "bad":
            raise error_of_code(3, "m.h5: not like this.")


def main():
    server._open = lambda options: Sums(options.model)
    server.main()
