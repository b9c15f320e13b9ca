"""The baseline of a report: another model, or a file of activations, on the same inputs."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from actviz.batch.requests import code_notes
from actviz.errors import InputError, escape
from actviz.records import NO_CHOICE
from actviz.statistics import differences
from actviz.system import file_system
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from actviz.activations import SavedActivations
    from actviz.gate import TrustPolicy
    from actviz.records import Activation, LayerInfo, ModelFacts, Sample
    from actviz.statistics.differences import Matching
    from actviz.worker import ModelOptions

SAVED = ".npz"
_NAMED = 5


class ReportBaseline(Protocol):
    """Activations of the baseline for inputs of the reported model; `code` are lines about code that it runs."""

    name: str
    code: Sequence[str]
    workers: Sequence[Worker]
    layers: Sequence[LayerInfo]

    def activations(self, sample: Sample, addresses: Sequence[str]) -> Mapping[str, Activation]:
        """Return the activations of layers for an input; empty where the baseline does not have it."""
        ...


class _ModelBaseline:
    """Another model in a worker of its own; its inputs are matched by name, else by order."""

    def __init__(self, worker: Worker, facts: ModelFacts, trust: TrustPolicy) -> None:
        self.name = facts.file
        self.code: Sequence[str] = code_notes(facts, trust)
        self.layers: Sequence[LayerInfo] = [layer for layer in facts.layers if not layer.address.endswith("@scores")]
        self._worker, self._facts = worker, facts
        self.workers: Sequence[Worker] = [worker]

    def activations(self, sample: Sample, addresses: Sequence[str]) -> Mapping[str, Activation]:
        theirs = [spec.name for spec in self._facts.inputs]
        values = dict(sample.values)
        if len(values) != len(theirs):
            message = f"--against {escape(self.name)}: takes {len(theirs)} inputs, but {len(values)} are fed; compare models with the same inputs."
            raise InputError(message)
        if set(values) != set(theirs):
            values = dict(zip(theirs, values.values(), strict=True))
        return self._worker.activations(values, addresses)


class _FileBaseline:
    """Saved activations; inputs are matched by the hash of the values that the model was given."""

    def __init__(self, saved: SavedActivations, name: str) -> None:
        self.name = name
        self.code: Sequence[str] = ()
        self.workers: Sequence[Worker] = ()
        about = saved.description
        self.layers: Sequence[LayerInfo] = [layer for layer in about.layers if layer.address in about.entries]
        self._saved = saved
        self._numbers = {fed.digest: number for number, fed in enumerate(saved.description.samples)}

    def activations(self, sample: Sample, addresses: Sequence[str]) -> Mapping[str, Activation]:
        number = self._numbers.get(sample.digest)
        if number is None:
            return {}
        return {address: self._saved.activation(address, number) for address in addresses}


@contextlib.contextmanager
def opened(path: Path, opening: ModelOptions) -> Iterator[ReportBaseline]:
    """Open the baseline at `path`; a model is opened with the options of `opening`.

    Raises
    ------
    ActvizError
        When it cannot be opened.
    """
    if path.suffix.lower() == SAVED:
        from actviz.activations import open_saved

        with file_system.reading(path) as (file, _):
            saved = open_saved(file, str(path))
            if saved is None:
                message = f"--against {path}: no actviz.json in it says what its arrays are; write the file with actviz extract, or give a model."
                raise InputError(message)
            with saved:
                yield _FileBaseline(saved, path.name)
        return
    other = replace(opening, model=path, weights=None, choice=NO_CHOICE)
    with Worker(other) as worker:
        yield _ModelBaseline(worker, worker.facts(), opening.trust)


def matched(other: ReportBaseline, layers: Sequence[LayerInfo], given: str) -> Matching:
    """Return the pairs of corresponding layers: by address, else by order and shape, as in `diff`.

    Raises
    ------
    InputError
        When none do.
    """
    found = differences.match(other.layers, layers)
    if not any(pair.fits for pair in found.pairs):
        held = ", ".join(escape(layer.address, 40) for layer in other.layers[:_NAMED])
        more = ", ..." if len(other.layers) > _NAMED else ""
        message = f"--against {escape(given, 200)}: shares no layer with this model; it has {held}{more}. Give a version of the same model."
        raise InputError(message)
    return found
