"""The messages between a command and its worker; `system.serialization` reads the annotations at run time."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003
from typing import Literal

from actviz.gate import NO_TRUST, TrustPolicy
from actviz.records import NO_CHOICE, Activation, Array, GraphSelection, ModelFacts, Shape
from actviz.system.file_system import FileStamp  # noqa: TC001

DEFAULT_TIMEOUT = 120.0
DEFAULT_OPEN_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """A model file and how to open it: the first message to a worker.

    Parameters
    ----------
    model, weights
        The file, and that of the weights if the model is the JSON of an architecture.
    trust
        Code that may run beside the model.
    timeout
        Seconds of silence after which the worker is killed.
    verbose
        Whether libraries in the worker print to standard error.
    memory
        Bytes that the worker may hold before it is killed (``None``: four fifths of the machine's).
    strict
        Whether notes, such as weights that are NaN, are errors.
    choice
        Which model, or graph, of the file is meant.
    open_timeout
        Seconds of processor time for reading the file, without importing TensorFlow.
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


@dataclass(frozen=True, slots=True)
class Request:
    """What the worker is to do; the fields after `ask` are the arguments of `formats.network_protocol.Network`.

    `prepare` has no reply. `cuts` are the values at and beyond which one counts as saturated, by address;
    `samples` the numbers of the inputs, without copies that fill the batch up.
    """

    ask: Literal["facts", "complete", "prepare", "versions", "activations", "numbers"]
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    batch: Mapping[str, Array] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    separate: bool = False
    state: str = "file"
    cuts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    samples: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """Statistics of the layers for one batch, without their values.

    `state` is that of a `StatisticsReducer`; `left_out` the dtypes of layers without real numbers, by address.
    `mixed` means that the outputs are not one for each input of the batch: nothing was counted.
    """

    state: dict[str, Array]
    left_out: dict[str, str]
    mixed: bool = False


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """Why there is no result: an `ActvizError` of exit code `code`, or a bug with its traceback (`code` 0)."""

    text: str
    code: int = 0
    ends_run: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a request, and all notes on the model so far.

    `files` are the files that the worker opened since the last reply, by path.
    """

    failure: WorkerFailure | None = None
    facts: ModelFacts | None = None
    versions: dict[str, str] = field(default_factory=dict)
    activations: dict[str, Activation] = field(default_factory=dict)
    statistics: BatchStatistics | None = None
    notes: tuple[str, ...] = ()
    files: dict[str, FileStamp] = field(default_factory=dict)
