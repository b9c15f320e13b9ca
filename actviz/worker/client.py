"""The client of the worker: start it, send requests, and convert its failures to errors."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from typing import TYPE_CHECKING, Self, TypeVar

from actviz.errors import (
    ActvizError,
    LimitError,
    ModelChangedError,
    ModelError,
    OutputError,
    RunLimitError,
    error_of_code,
    escape,
)
from actviz.system import processes, shortage
from actviz.system.channel import Channel, ClosedError, MalformedError, SilentError
from actviz.system.file_system import FileStamp, has_changed, is_folder, regular_file_stamp
from actviz.system.folders import list_folder
from actviz.system.resource_limits import memory_limit, memory_used
from actviz.worker.messages import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actviz.explanations.plan import ExplainPlan
    from actviz.records import Activation, Array, HeatMap, Kernel, ModelFacts, Shape
    from actviz.statistics.strength_options import InputIdentity, StrengthOptions
    from actviz.worker.messages import BatchStatistics, ModelOptions

T = TypeVar("T")

KEPT_VARIABLES = (
    *processes.PLAIN_VARIABLES, "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"
)  # fmt: skip
PROGRAM = "from actviz.worker.server import main; main()"
FOLDERS_OF_MODEL = ("variables", "assets")
NOWHERE = os.devnull + "/actviz"


class WorkerCrashedError(LimitError):
    """The worker crashed, hung or used too much memory; the next request starts a new one."""


class Worker:
    """A child process with an open model.

    It is started by the constructor, so that it imports its libraries while the command does other
    work. It is killed at the end, so that there is no wait for TensorFlow's shutdown.

    Parameters
    ----------
    options
        The model file and how to open it.
    """

    def __init__(self, options: ModelOptions) -> None:
        self._options = options
        self._name = options.model.name
        self._timeout = options.timeout
        self._memory = memory_limit() if options.memory is None else options.memory
        self._notes: dict[str, bool] = {}  # whether each was returned
        self._dead = self._computed = self._changed = False
        # These stamps are kept for the whole run, so that a restarted child must read the same model.
        self._files: dict[str, FileStamp] = {}
        self._before = _stamps_of_model(options)
        if not is_folder(options.model):  # it is read even if the child crashes before reporting it
            self._files.update(self._before)
        self._start()

    def _start(self) -> None:
        options = self._options
        self._process, reader, writer = processes.start_python(
            PROGRAM, environment(verbose=options.verbose), errors="shown" if options.verbose else "kept"
        )
        self._channel = Channel(reader, writer)
        # Python objects are not sent.
        trust = dataclasses.replace(options.trust, objects={})
        try:
            self._channel.send(dataclasses.replace(options, trust=trust, memory=self._memory))
        except ClosedError:  # the next request reports why the process ended
            self.stop()
        except BaseException:  # such as MemoryError: a caller without the object cannot close it
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the worker itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, _: object) -> None:
        """Kill and reap the child.

        Raises
        ------
        ModelChangedError
            When the model changed, in place of another error, which may be a consequence.
        """
        self.close()
        if kind is None or (isinstance(failure, ActvizError) and not isinstance(failure, OutputError)):
            self.check_unchanged()

    def check_unchanged(self) -> None:
        """Raise an error if a file of the model was written to, replaced or removed after it was read.

        Raises
        ------
        ModelChangedError
            When that is the case.
        """
        if self._changed or any(has_changed(path, before) for path, before in self._files.items()):
            self._changed = True
            raise ModelChangedError(self._name) from None

    def facts(self) -> ModelFacts:
        """Return the facts about the model that the file contains."""
        return self._ask_facts(Request("facts"))

    def complete(self, shapes: Mapping[str, Shape] | None = None) -> ModelFacts:
        """Return the facts with all shapes computed; see `formats.network_protocol.Network`."""
        return self._ask_facts(Request("complete", shapes or {}))

    def prepare(self) -> None:
        """Let the worker import TensorFlow in the background; there is no reply."""
        self._send(Request("prepare"))

    def activations(
        self, batch: Mapping[str, Array], addresses: Sequence[str], *, separate: bool = False, state: str = "file"
    ) -> dict[str, Activation]:
        """Compute the outputs of some layers for a batch; see `formats.network_protocol.Network`."""
        self.request_activations(batch, addresses, separate=separate, state=state)
        return self.receive_activations()

    def request_activations(
        self, batch: Mapping[str, Array], addresses: Sequence[str], *, separate: bool = False, state: str = "file"
    ) -> None:
        """Request the outputs of some layers for a batch; `receive_activations` returns them."""
        self._send(Request("activations", {}, batch, tuple(addresses), separate, state))

    def receive_activations(self) -> dict[str, Activation]:
        """Wait for the result of the last `request_activations`."""
        reply = self._receive()
        self._computed = True
        return reply.activations

    def kernels(self, address: str) -> tuple[Kernel, ...]:
        """Return the kernels or tables of a layer; see `formats.network_protocol.Network`."""
        self._send(Request("kernels", addresses=(address,)))
        return self._receive().kernels

    def request_heat_maps(self, batch: Mapping[str, Array], plan: ExplainPlan) -> None:
        """Request the heat maps of each input of a batch; `receive_heat_maps` returns them."""
        self._send(Request("explain", batch=batch, plan=plan))

    def receive_heat_maps(self) -> tuple[tuple[HeatMap, ...], ...]:
        """Wait for the result of the last `request_heat_maps`."""
        reply = self._receive()
        self._computed = True
        return reply.heat_maps

    def notes(self) -> list[str]:
        """Return notes on the model that were not returned before."""
        new = [note for note, returned in self._notes.items() if not returned]
        self._notes |= dict.fromkeys(new, True)
        return new

    def request_statistics(
        self,
        batch: Mapping[str, Array],
        addresses: Sequence[str],
        cuts: Mapping[str, tuple[float, float]],
        samples: Sequence[int],
        state: str = "file",
    ) -> None:
        """Request statistics of some layers for a batch; `receive_statistics` returns them.

        `cuts`, `samples` and `state` are those of `Request`.
        """
        self._send(Request("statistics", {}, batch, tuple(addresses), state=state, cuts=cuts, samples=tuple(samples)))

    def request_strongest(
        self,
        batch: Mapping[str, Array],
        addresses: Sequence[str],
        strongest: StrengthOptions,
        identities: Mapping[int, InputIdentity],
    ) -> None:
        """Request the strongest inputs of some layers for a batch; `receive_statistics` returns them.

        `identities` are those of the inputs by number.
        """
        samples, items = tuple(identities), tuple(identities.values())
        request = Request("statistics", {}, batch, tuple(addresses), samples=samples)
        self._send(dataclasses.replace(request, strongest=strongest, identities=items))

    def receive_statistics(self) -> BatchStatistics:
        """Wait for the result of the last `request_statistics`."""
        reply = self._receive()
        self._computed = True
        return self._expected(reply.statistics)

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that the worker computes with."""
        self._send(Request("versions"))
        return self._receive().versions

    def stop(self) -> None:
        """Kill the child without waiting for it; `close` reaps it."""
        processes.kill(self._process)

    def close(self) -> None:
        """Kill the child and reap it."""
        self.stop()
        try:
            self._reap()
        finally:
            self._channel.close()

    def _reap(self) -> tuple[int, str]:
        """Wait for the end of the child and return its exit code and what its libraries printed."""
        code = processes.reap(self._process)
        return code, processes.errors_of(self._process)

    def _ask_facts(self, request: Request) -> ModelFacts:
        self._send(request)
        return self._expected(self._receive().facts)

    def _send(self, request: Request) -> None:
        if self._dead:
            self.check_unchanged()
            self.close()
            self._start()
            self._dead = self._computed = False
        with self._failing():
            self._channel.send(request, self._timeout, self._watch)

    def _receive(self) -> Reply:
        reply = Reply(pending=True)
        while reply.pending:
            with self._failing():
                reply = self._channel.receive(Reply, self._timeout, self._watch)
        for path, stamp in reply.files.items():
            self._changed |= self._files.setdefault(path, self._before.get(path, stamp)) != stamp
        self.check_unchanged()
        failure = reply.failure
        if failure is not None:
            if failure.ends_run:
                raise RunLimitError(failure.text)
            raise error_of_code(failure.code, failure.text) if failure.code else WorkerBugError(failure.text)
        if reply.notes and self._options.strict:
            raise ModelError(f"{reply.notes[0].rstrip('.')}; --strict refuses it.")
        self._notes = dict.fromkeys(reply.notes, False) | self._notes
        return reply

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Convert errors of the channel to errors for the user."""
        try:
            yield
        except MalformedError:
            raise self._malformed() from None
        except ClosedError:
            raise self._death() from None
        except SilentError:
            raise self._kill(
                f"timed out: the worker did not respond for {self._timeout:g} s; raise --timeout if it is only slow."
            ) from None

    def _expected(self, result: T | None) -> T:
        if result is None:
            raise self._malformed()
        return result

    def _malformed(self) -> WorkerCrashedError:
        return self._kill("the model's process sent a malformed reply; the file is damaged or hostile.")

    def _watch(self) -> None:
        """Kill a child that uses too much memory, before the machine runs out of it."""
        used = memory_used(self._process.pid)
        if used is not None and used > self._memory:
            raise self._kill(
                f"takes more than {self._memory >> 20:,} MiB of memory; choose fewer layers or smaller inputs, or raise --max-memory."
            )

    def _kill(self, reason: str) -> WorkerCrashedError:
        self._dead = True
        self.stop()
        self._reap()
        self.check_unchanged()
        return WorkerCrashedError(f"{self._name}: {reason}")

    def _death(self) -> ActvizError:
        self._dead = True
        code, printed = self._reap()
        self.check_unchanged()
        if code == -signal.SIGPROF:
            seconds = self._options.open_timeout
            return RunLimitError(
                f"{self._name}: reading the file took more than {seconds:g} s of processor time; it is damaged or hostile, or raise --open-timeout if it is only large."
            )
        kind = shortage.shortage_in(printed)
        if kind is not None and shortage.ends_run(kind, computed=self._computed):
            return RunLimitError(f"{self._name}: {shortage.describe(kind)}")
        if kind is not None:
            return WorkerCrashedError(
                f"{self._name}: ran out of memory (limit {self._memory >> 20:,} MiB); choose fewer layers or smaller inputs, or raise --max-memory."
            )
        return WorkerCrashedError(f"{self._name}: {_ending(code)}")


def _stamps_of_model(options: ModelOptions) -> dict[str, FileStamp]:
    """Return the stamps of the files that the child may read; taken before it starts, as it opens some much later."""
    paths = [options.model] if options.weights is None else [options.model, options.weights]
    if options.weights is not None and regular_file_stamp(options.weights) is None:  # a checkpoint, or its folder
        weights, inside = options.weights, is_folder(options.weights)
        with contextlib.suppress(ActvizError):
            files = list_folder(weights if inside else weights.parent)
            paths += [path for path in files if inside or path.name.startswith(f"{weights.name}.")]
    if is_folder(options.model):
        for folder in (options.model, *(options.model / name for name in FOLDERS_OF_MODEL)):
            with contextlib.suppress(ActvizError):
                paths += list_folder(folder)
    stamps = {os.fspath(path): regular_file_stamp(path) for path in paths}
    return {path: stamp for path, stamp in stamps.items() if stamp is not None}


def _ending(code: int) -> str:
    """Return a message on the end of a child from its exit code."""
    limit = shortage.address_space()
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            also = f", or it needs more memory than it may have ({limit})" if limit else ""
            return f"the model parser crashed ({name}){hint}; the file is damaged, hostile or too large{also}."
    also = f" ({limit})" if limit else ""
    return f"the model's process ended with code {code}{also}; run again with -v to see why."


class WorkerBugError(Exception):
    """A bug in the worker, with its traceback as text."""


def environment(*, verbose: bool) -> dict[str, str]:
    """Return the environment of a child, without secrets."""
    kept = processes.plain_environment(KEPT_VARIABLES)
    kept |= {
        "KERAS_BACKEND": "tensorflow",
        "KERAS_HOME": NOWHERE,
        "PYTHONHASHSEED": "0",
        "TF_CPP_MIN_LOG_LEVEL": "0" if verbose else "3",
        "HDF5_PLUGIN_PRELOAD": "::",
        "HDF5_USE_FILE_LOCKING": "FALSE",
    }
    # NumPy's threads are not used, and if they cannot be started OpenBLAS hangs for a minute.
    kept["OPENBLAS_NUM_THREADS"] = "1"
    # TensorFlow enables oneDNN by default only on processors with AVX-512 or VNNI. Without it, its CPU
    # kernels support neither channels_first convolutions nor dilated transposed ones.
    kept["TF_ENABLE_ONEDNN_OPTS"] = "1"
    kept.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    return kept


def traceback_of(failure: BaseException) -> str:
    """Return the traceback of a bug, escaped line by line."""
    import traceback

    lines = "".join(traceback.format_exception(failure)).splitlines()
    return "\n".join(escape(line, 500) for line in lines)
