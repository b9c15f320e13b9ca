"""What a report is compared with: another model, or a file of activations, on the same inputs."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from actviz import compare, system
from actviz.errors import InputError, escape
from actviz.jobs.layers import say_code
from actviz.records import NO_CHOICE
from actviz.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from actviz.activations import Saved
    from actviz.compare import Matching
    from actviz.gate import Trust
    from actviz.records import Activation, LayerInfo, ModelFacts, Sample
    from actviz.worker import Opening

SAVED = ".npz"
_NAMED = 5


class Other(Protocol):
    """Gives the activations of layers for an input that the first model was fed; `code` says what runs for that."""

    name: str
    code: Sequence[str]
    layers: Sequence[LayerInfo]

    def activations(self, sample: Sample, addresses: Sequence[str]) -> Mapping[str, Activation]:
        """Return what layers gave for an input; none where that is not known."""
        ...

    def notes(self) -> list[str]:
        """Return lines worth saying about it that were not returned before."""
        ...


class _Model:
    """Another model file, in a worker of its own; its inputs are matched by name, else by order."""

    def __init__(self, worker: Worker, facts: ModelFacts, trust: Trust) -> None:
        self.name = facts.file
        self.code: Sequence[str] = say_code(facts, trust)
        self.layers: Sequence[LayerInfo] = [layer for layer in facts.layers if not layer.address.endswith("@scores")]
        self._worker, self._facts = worker, facts

    def activations(self, sample: Sample, addresses: Sequence[str]) -> Mapping[str, Activation]:
        theirs = [spec.name for spec in self._facts.inputs]
        values = dict(sample.values)
        if len(values) != len(theirs):
            message = f"--against {escape(self.name)}: takes {len(theirs)} inputs, but {len(values)} are fed; compare models with the same inputs."
            raise InputError(message)
        if set(values) != set(theirs):
            values = dict(zip(theirs, values.values(), strict=True))
        return self._worker.activations(values, addresses)

    def notes(self) -> list[str]:
        return self._worker.notes()


class _File:
    """Saved activations; an input is known again by the hash of what was fed."""

    def __init__(self, saved: Saved, name: str) -> None:
        self.name = name
        self.code: Sequence[str] = ()
        about = saved.description
        self.layers: Sequence[LayerInfo] = [layer for layer in about.layers if layer.address in about.entries]
        self._saved = saved
        self._numbers = {fed.digest: number for number, fed in enumerate(saved.description.samples)}

    def activations(self, sample: Sample, addresses: Sequence[str]) -> Mapping[str, Activation]:
        number = self._numbers.get(sample.digest)
        if number is None:
            return {}
        return {address: self._saved.activation(address, number) for address in addresses}

    def notes(self) -> list[str]:
        return []


@contextlib.contextmanager
def opened(path: Path, opening: Opening) -> Iterator[Other]:
    """Open what a report is compared with; `opening` says how models are opened.

    Raises
    ------
    ActvizError
        When it cannot be opened.
    """
    if path.suffix.lower() == SAVED:
        from actviz.activations import open_saved

        with system.reading(path) as (file, _):
            saved = open_saved(file, str(path))
            if saved is None:
                message = f"--against {path}: no actviz.json in it says what its arrays are; write the file with actviz extract, or give a model."
                raise InputError(message)
            with saved:
                yield _File(saved, path.name)
        return
    other = replace(opening, model=path, weights=None, choice=NO_CHOICE)
    with Worker(other) as worker:
        yield _Model(worker, worker.facts(), opening.trust)


def matched(other: Other, layers: Sequence[LayerInfo], given: str) -> Matching:
    """Return which layers belong together: by address, else by order and shape, as `diff` has it.

    Raises
    ------
    InputError
        When none do.
    """
    found = compare.match(other.layers, layers)
    if not any(pair.fits for pair in found.pairs):
        held = ", ".join(escape(layer.address, 40) for layer in other.layers[:_NAMED])
        more = ", ..." if len(other.layers) > _NAMED else ""
        message = f"--against {escape(given, 200)}: shares no layer with this model; it has {held}{more}. Give a version of the same model."
        raise InputError(message)
    return found
