"""The command's side: start the worker, ask it, and survive whatever happens to it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
from typing import TYPE_CHECKING, Any, Self

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
from actviz.gate import NO_TRUST, TrustPolicy
from actviz.records import NO_CHOICE, GraphSelection, InputOperation, LayerInfo, ModelFacts, Shape, TensorSpec
from actviz.system import processes, shortage
from actviz.system.file_system import (
    FileStamp,
    has_changed,
    is_folder,
    list_folder,
    memory_allowed,
    memory_of,
    regular_file_stamp,
)
from actviz.worker import serialization
from actviz.worker.channel import Channel, ClosedError, Message, SilentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.records import Activation

DEFAULT_TIMEOUT = 120.0
DEFAULT_OPEN_TIMEOUT = 30.0
# What inference needs from the environment; everything else (tokens, keys) stays behind.
KEPT_VARIABLES = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES", "PYTHONUSERBASE", "VIRTUAL_ENV", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
)  # fmt: skip
PROGRAM = "from actviz.worker.server import main; main()"
FOLDERS_OF_MODEL = ("variables", "assets")
NOWHERE = os.devnull + "/actviz"


@dataclasses.dataclass(frozen=True, slots=True)
class ModelOptions:
    """A model file and how to open it.

    `weights` is the path of the weights where the model is the JSON of an architecture,
    `trust` the code that may run beside it, `timeout` the seconds of silence after which the
    child counts as hung, `open_timeout` the seconds of processor time that reading the file may
    take, without the import of TensorFlow; `verbose` lets the libraries of the child print to stderr. A child
    that holds more than `memory` bytes is killed (``None``: four fifths of the machine's).
    `strict` makes an error of what is only noted, such as weights that are NaN. `choice`
    says what of the file is meant.
    """

    model: Path
    weights: Path | None = None
    trust: TrustPolicy = NO_TRUST
    timeout: float = DEFAULT_TIMEOUT
    verbose: bool = False
    memory: int | None = None
    strict: bool = False
    choice: GraphSelection = NO_CHOICE
    open_timeout: float = DEFAULT_OPEN_TIMEOUT


class WorkerCrashedError(LimitError):
    """The child died, hung or took too much memory; the next question starts a new one."""


@dataclasses.dataclass(frozen=True, slots=True)
class BatchStatistics:
    """What a batch gave, without its maps.

    `packed` are `totals.Totals` by address as `totals.unpacked` takes them; `left_out` the
    dtype of layers that give no numbers; `nonfinite` the first entry of the batch with NaN
    or infinities, by address; `size` the bytes of the maps that were computed.
    """

    packed: dict[str, NDArray[Any]]
    left_out: dict[str, str]
    nonfinite: dict[str, int]
    size: int


class Worker:
    """A child process that holds one open model.

    The child starts with the object, so that it loads its libraries while the command does
    other things. It is killed, not asked to leave: nobody waits for TensorFlow's tear-down.

    Parameters
    ----------
    opening
        The model file and how to open it.
    """

    def __init__(self, opening: ModelOptions) -> None:
        self._opening = opening
        self._name = opening.model.name
        self._timeout = opening.timeout
        self._memory = memory_allowed() if opening.memory is None else opening.memory
        self._told: dict[str, bool] = {}
        self._dead = self._computed = self._changed = False
        # The stamps of the first look count for the whole run: a child that is started again reads the same model.
        self._files: dict[str, FileStamp] = {}
        self._before = _stamps_of_model(opening)
        if not is_folder(opening.model):  # read in any case, also where the child dies of it before it says so
            self._files.update(self._before)
        self._start()

    def _start(self) -> None:
        opening = self._opening
        told = {
            "model": os.fspath(opening.model),
            "weights": None if opening.weights is None else os.fspath(opening.weights),
            "custom_objects": opening.trust.custom_objects,
            "allow_code": opening.trust.allow_code,
            "choice": dataclasses.asdict(opening.choice),
            "verbose": opening.verbose,
            "memory": self._memory,
            "open_timeout": opening.open_timeout,
        }
        surroundings = environment(verbose=opening.verbose)
        self._process, reader, writer = processes.start_python(
            PROGRAM, json.dumps(told), surroundings, errors="shown" if opening.verbose else "kept"
        )
        self._channel = Channel(reader, writer)

    def __enter__(self) -> Self:
        """Return the worker itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, _: object) -> None:
        """Kill and reap the child.

        Raises
        ------
        ModelChangedError
            When the model changed meanwhile, in place of any failure that may follow from that.
        """
        self.close()
        if kind is None or (isinstance(failure, ActvizError) and not isinstance(failure, OutputError)):
            self.check_unchanged()

    def check_unchanged(self) -> None:
        """Refuse a model of which a file that was read has been written to, replaced or removed since.

        Raises
        ------
        ModelChangedError
            When one has.
        """
        if self._changed or any(has_changed(path, before) for path, before in self._files.items()):
            self._changed = True
            raise ModelChangedError(self._name) from None

    def facts(self) -> ModelFacts:
        """Return what the model file says."""
        message, _ = self._ask({"ask": "facts"})
        return _facts(message)

    def complete(self, shapes: Mapping[str, Shape] | None = None) -> ModelFacts:
        """Return the facts with everything worked out; see `formats.protocol.Network`."""
        told = {name: list(shape) for name, shape in (shapes or {}).items()}
        message, _ = self._ask({"ask": "complete", "shapes": told})
        return _facts(message)

    def prepare(self) -> None:
        """Let the child load TensorFlow while the command goes on; nothing is awaited."""
        self._send({"ask": "prepare"})

    def activations(
        self,
        batch: Mapping[str, NDArray[Any]],
        addresses: Sequence[str],
        *,
        separate: bool = False,
        state: str = "file",
    ) -> dict[str, Activation]:
        """Compute the outputs of some layers for a batch; see `formats.protocol.Network`."""
        self.ask_activations(batch, addresses, separate=separate, state=state)
        return self.take_activations()

    def ask_activations(
        self,
        batch: Mapping[str, NDArray[Any]],
        addresses: Sequence[str],
        *,
        separate: bool = False,
        state: str = "file",
    ) -> None:
        """Let the child compute outputs of some layers for a batch; `take_activations` takes them."""
        message = {"ask": "activations", "addresses": list(addresses), "separate": separate, "state": state}
        self._send(message, batch)

    def take_activations(self) -> dict[str, Activation]:
        """Wait for what the last `ask_activations` asked for."""
        message, arrays = self._answer()
        self._computed = True
        return serialization.activations(message["activations"], arrays)

    def notes(self) -> list[str]:
        """Return lines worth saying about the model that were not returned before."""
        new = [note for note, returned in self._told.items() if not returned]
        self._told |= dict.fromkeys(new, True)
        return new

    def ask_numbers(
        self,
        batch: Mapping[str, NDArray[Any]],
        addresses: Sequence[str],
        cuts: Mapping[str, tuple[float, float]],
        state: str = "file",
    ) -> None:
        """Let the child compute numbers of some layers for a batch; `numbers` takes them.

        `cuts` are the values at and beyond which one counts as saturated, by address; `state`
        is that of `formats.protocol.Network.activations`.
        """
        told = {address: list(pair) for address, pair in cuts.items()}
        self._send({"ask": "numbers", "addresses": list(addresses), "cuts": told, "state": state}, batch)

    def numbers(self) -> BatchStatistics:
        """Wait for what the last `ask_numbers` asked for."""
        message, arrays = self._answer()
        self._computed = True
        said = message["numbers"]
        return BatchStatistics(arrays, said["left_out"], said["nonfinite"], int(said["bytes"]))

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that the child computes with."""
        message, _ = self._ask({"ask": "versions"})
        return dict(message["versions"])

    def stop(self) -> None:
        """Kill the child without waiting for it; `close` reaps it."""
        processes.kill(self._process)

    def close(self) -> None:
        """Kill the child and reap it."""
        self.stop()
        self._reap()
        self._channel.close()

    def _reap(self) -> tuple[int, str]:
        """Wait for the end of the child and return its exit code and what its libraries printed."""
        code = processes.reap(self._process)
        return code, processes.errors_of(self._process)

    def _send(self, message: Message, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        if self._dead:
            self.check_unchanged()
            self.close()
            self._start()
            self._dead = self._computed = False
        try:
            self._channel.send(message, arrays, self._timeout, self._watch)
        except ClosedError:
            raise self._death() from None
        except SilentError:
            raise self._silence() from None

    def _ask(
        self, message: Message, arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> tuple[Message, dict[str, NDArray[Any]]]:
        self._send(message, arrays)
        return self._answer()

    def _answer(self) -> tuple[Message, dict[str, NDArray[Any]]]:
        try:
            answer, values = self._channel.receive(self._timeout, self._watch)
        except ClosedError:
            raise self._death() from None
        except SilentError:
            raise self._silence() from None
        for path, values_of_stamp in answer.pop("files", {}).items():
            found = FileStamp(*values_of_stamp)
            self._changed |= self._files.setdefault(path, self._before.get(path, found)) != found
        self.check_unchanged()
        if "error" in answer:
            if answer.get("ends_run"):
                raise RunLimitError(str(answer["error"]))
            raise error_of_code(int(answer["code"]), str(answer["error"]))
        if "bug" in answer:
            raise WorkerBugError(str(answer["bug"]))
        notes = answer.pop("notes", ())
        if notes and self._opening.strict:
            raise ModelError(f"{notes[0].rstrip('.')}; --strict refuses it.")
        self._told = dict.fromkeys(notes, False) | self._told
        return answer, values

    def _watch(self) -> None:
        """Kill a child that takes too much memory, before the machine suffers."""
        held = memory_of(self._process.pid)
        if held is not None and held > self._memory:
            raise self._kill(
                f"takes more than {self._memory >> 20:,} MiB of memory; choose fewer layers or smaller inputs, or raise --max-memory."
            )

    def _silence(self) -> WorkerCrashedError:
        return self._kill(
            f"timed out: the model gave no sign of life for {self._timeout:g} s; raise --timeout if it is only slow."
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
            seconds = self._opening.open_timeout
            return RunLimitError(
                f"{self._name}: reading the file took more than {seconds:g} s of processor time; it is damaged or hostile, or raise --open-timeout if it is only large."
            )
        kind = shortage.shortage_in(printed)
        if kind is not None and shortage.ends_run(kind, computed=self._computed):
            return RunLimitError(f"{self._name}: {shortage.describe(kind)}")
        if kind is not None:
            return WorkerCrashedError(
                f"{self._name}: ran out of memory, of which it may take {self._memory >> 20:,} MiB; choose fewer layers or smaller inputs, or raise --max-memory."
            )
        return WorkerCrashedError(f"{self._name}: {_ending(code)}")


def _stamps_of_model(opening: ModelOptions) -> dict[str, FileStamp]:
    """Return the stamps of the files that the child may read, before it starts: it opens some of them much later."""
    paths = [opening.model] if opening.weights is None else [opening.model, opening.weights]
    if is_folder(opening.model):
        for folder in (opening.model, *(opening.model / name for name in FOLDERS_OF_MODEL)):
            with contextlib.suppress(ActvizError):
                paths += list_folder(folder)
    found = {os.fspath(path): regular_file_stamp(path) for path in paths}
    return {path: before for path, before in found.items() if before is not None}


def _ending(code: int) -> str:
    """Return how a child ended that said nothing of it, from its exit code."""
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
    """Return the environment of a child: without secrets, and the same for every caller."""
    kept = processes.plain_environment(KEPT_VARIABLES)
    kept |= {
        "KERAS_BACKEND": "tensorflow",
        "KERAS_HOME": NOWHERE,
        "PYTHONHASHSEED": "0",
        "TF_CPP_MIN_LOG_LEVEL": "0" if verbose else "3",
        "HDF5_PLUGIN_PRELOAD": "::",
        "HDF5_USE_FILE_LOCKING": "FALSE",
    }
    # NumPy's own threads are not used, and where they cannot be started OpenBLAS hangs for a minute.
    kept["OPENBLAS_NUM_THREADS"] = "1"
    # Without oneDNN, which TensorFlow switches on by itself only on processors with AVX-512 or VNNI,
    # its CPU kernels compute no channels_first convolutions and no dilated transposed ones.
    kept["TF_ENABLE_ONEDNN_OPTS"] = "1"
    kept.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    return kept


def _facts(said: Message) -> ModelFacts:
    said["names"], said["code"] = tuple(said["names"]), tuple(said["code"])
    said["labels"] = tuple(said["labels"])
    said["inputs"] = tuple(_input(item) for item in said["inputs"])
    said["layers"] = tuple(_layer(item) for item in said["layers"])
    said["operations"] = tuple(
        InputOperation(
            item["kind"],
            {name: tuple(values) for name, values in item["numbers"].items()},
            item["input"],
            item["reversed"],
            item["stopped_by"],
        )
        for item in said["operations"]
    )
    return ModelFacts(**said)


def _input(item: dict[str, Any]) -> TensorSpec:
    for name in ("shape", "axes", "words", "least"):
        item[name] = tuple(item[name])
    return TensorSpec(**item)


def _layer(item: dict[str, Any]) -> LayerInfo:
    for name in ("shape", "needs"):
        item[name] = None if item[name] is None else tuple(item[name])
    item["axes"] = tuple(item["axes"])
    return LayerInfo(**item)


def traceback_of(failure: BaseException) -> str:
    """Return a bug's traceback for a report, escaped line by line."""
    import traceback

    lines = "".join(traceback.format_exception(failure)).splitlines()
    return "\n".join(escape(line, 500) for line in lines)
