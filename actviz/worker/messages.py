"""The messages between a command and its worker; `system.serialization` reads the annotations at run time."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003
from typing import Literal

from actviz.explanations.plan import ExplainPlan  # noqa: TC001
from actviz.gate import NO_TRUST, TrustPolicy
from actviz.records import NO_CHOICE, Activation, Array, GraphSelection, HeatMap, Kernel, ModelFacts, Shape
from actviz.statistics.strength_options import InputIdentity, StrengthOptions  # noqa: TC001
from actviz.system.file_system import FileStamp  # noqa: TC001

DEFAULT_TIMEOUT = 120.0
DEFAULT_OPEN_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """A model file and how to open it: the first message to a worker.

    Parameters
    ----------
    model, weights
        The file, and the weights if they are in another file.
    trust
        Which code of the model may run.
    timeout
        Seconds of silence after which the worker is killed.
    verbose
        Whether libraries in the worker print to standard error.
    memory
        Memory of the worker in bytes above which it is killed (``None``: four fifths of the machine's).
    strict
        Whether notes, such as weights that are NaN, are errors.
    choice
        Which model or graph of the file is opened.
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
    """A request to the worker; the fields after `ask` are arguments of `formats.network_protocol.Network`.

    `prepare` has no reply. `cuts` are the limits at and beyond which a value counts as saturated, by
    address; `samples` are the indices of the inputs, without copies that fill up the batch. With `strongest`, the
    statistics are the strongest inputs of each channel, for which `identities` are those of `samples`. `plan` is what to
    explain.
    """

    ask: Literal["facts", "complete", "prepare", "versions", "activations", "statistics", "kernels", "explain"]
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    batch: Mapping[str, Array] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    separate: bool = False
    state: str = "file"
    cuts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    samples: tuple[int, ...] = ()
    plan: ExplainPlan | None = None
    strongest: StrengthOptions | None = None
    identities: tuple[InputIdentity, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """Statistics of the layers for one batch, without their values.

    `state` is that of a `StatisticsReducer` or a `StrongestReducer`; `left_out` has the dtypes of layers without real
    numbers, by address. `mixed` is true if a layer does not have one output per input: then there are no statistics. `described`
    are the activations without their values, for a `StrongestReducer`.
    """

    state: dict[str, Array]
    left_out: dict[str, str]
    mixed: bool = False
    described: dict[str, Activation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """An error in place of a result: an `ActvizError` with its exit code, or the traceback of a bug (`code` 0)."""

    text: str
    code: int = 0
    ends_run: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a request, and all notes on the model so far.

    `pending` is true if the result is still being computed: the worker is alive, however long it takes. `files` are the files that the worker opened since the last reply, by path.
    """

    failure: WorkerFailure | None = None
    facts: ModelFacts | None = None
    versions: dict[str, str] = field(default_factory=dict)
    activations: dict[str, Activation] = field(default_factory=dict)
    statistics: BatchStatistics | None = None
    kernels: tuple[Kernel, ...] = ()
    heat_maps: tuple[tuple[HeatMap, ...], ...] = ()
    notes: tuple[str, ...] = ()
    pending: bool = False
    files: dict[str, FileStamp] = field(default_factory=dict)
