"""What a command was given to feed a network, as samples: files one by one, or by input name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from actviz.errors import ActvizError, InputError, UsageError, escape
from actviz.inputs.fallback import default_sample
from actviz.inputs.feeding import join
from actviz.inputs.listing import Asked, entries_of
from actviz.inputs.matching import listed
from actviz.inputs.preprocessing import choose_preprocessing
from actviz.inputs.reading import open_input, read_samples, samples_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actviz.inputs.options import InputOptions
    from actviz.inputs.preprocessing import Preprocessing
    from actviz.inputs.reading import Opened
    from actviz.records import LayerInfo, ModelFacts, Sample, TensorSpec


@dataclass(frozen=True, slots=True)
class Given:
    """The inputs of a command line, not opened yet.

    Parameters
    ----------
    paths
        Files that are samples by themselves, each of the only input or, as `.npz`, of all;
        also folders, patterns and lists of them, see `listing.Asked`.
    named
        ``NAME=FILE``, one for each input: together they are one sample, or as many as each
        file holds.

    """

    paths: tuple[Path, ...] = ()
    named: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what means nothing, before any file is opened."""
        for text in self.named:
            name, mark, file = text.partition("=")
            if not (name and mark and file):
                message = f"--input {escape(text, 80)}: give NAME=FILE, the name of an input and the file for it."
                raise UsageError(message)
        if self.paths and self.named:
            message = f"{escape(str(self.paths[0]), 80)}: files without a name and --input NAME=FILE do not go together; give all of them by name."
            raise UsageError(message)


@dataclass(frozen=True, slots=True)
class Gathered:
    """The samples, and why some files gave none."""

    samples: tuple[Sample, ...]
    failures: tuple[ActvizError, ...] = ()


def gather(
    given: Given, facts: ModelFacts, layers: Sequence[LayerInfo], options: InputOptions, *, fail_fast: bool = False
) -> Gathered:
    """Read everything that was given into samples that hold at least what `layers` need.

    Where nothing was given, something stands in for it. A broken file costs its own samples
    only, unless `fail_fast`, or it is the only one, or it is one part of all samples.

    Raises
    ------
    UsageError
        When a name is no input of the network or is given twice.
    InputError
        When an input that the layers need is missing, or the files hold different numbers
        of samples.
    ActvizError
        When nothing could be read: the worst failure.

    """
    samples: list[Sample] = []
    failures: list[ActvizError] = []
    for found in gather_each(given, facts, layers, options, fail_fast=fail_fast):
        if isinstance(found, ActvizError):
            failures.append(found)
        else:
            samples += found
    if not samples:
        raise max(failures, key=lambda failure: failure.exit_code)
    return Gathered(tuple(samples), tuple(failures))


def gather_each(
    given: Given, facts: ModelFacts, layers: Sequence[LayerInfo], options: InputOptions, *, fail_fast: bool = False
) -> Iterator[list[Sample] | ActvizError]:
    """Yield the samples of each file when they are asked for, or why it gives none; see `gather`."""
    settled = recipe(facts, layers, options)
    if given.named:
        yield _read_named(given.named, facts, settled.specs, settled.ranges, options)
        return
    if not given.paths:
        yield [default_sample(settled.specs, settled.ranges, options)]
        return
    entries = entries_of(Asked(given.paths), text=any(spec.dtype == "string" for spec in facts.inputs))
    for entry in entries:
        try:
            found = settled.samples(settled.open(entry.path))
            yield [replace(one, name=entry.name + one.name.removeprefix(entry.path.name)) for one in found]
        except ActvizError as failure:
            if fail_fast or len(entries) == 1:
                raise
            yield failure


@dataclass(frozen=True, slots=True)
class Recipe:
    """How every file becomes samples: settled once for a model and layers.

    `specs` are the inputs that the layers need, `preprocessing` the range of the first.
    """

    specs: tuple[TensorSpec, ...]
    ranges: Mapping[str, Preprocessing]
    options: InputOptions
    note: str = ""

    def open(self, path: Path) -> Opened:
        """Read a file without decoding it; see `reading.open_input`."""
        return open_input(path, self.specs)

    def samples(self, opened: Opened) -> Iterator[Sample]:
        """Yield the samples of an opened file, each made when it is asked for."""
        note = (self.note,) if self.note else ()
        for sample in samples_in(opened, self.specs, self.ranges[self.specs[0].name], self.options):
            yield replace(sample, notes=(*sample.notes, *note)) if note else sample
            note = ()


def recipe(facts: ModelFacts, layers: Sequence[LayerInfo], options: InputOptions) -> Recipe:
    """Settle how files become samples that hold what `layers` need."""
    needed = needed_inputs(facts, layers)
    ranges = {spec.name: choose_preprocessing(facts, options.preprocess, spec.name) for spec in facts.inputs}
    only_one = len(needed) == 1 < len(facts.inputs)
    note = f"only the input {escape(needed[0].name, 60)} is fed; these layers need no other."
    return Recipe(needed, ranges, options, note if only_one else "")


def needed_inputs(facts: ModelFacts, layers: Sequence[LayerInfo]) -> tuple[TensorSpec, ...]:
    """Return the inputs that some layers depend on, in the model's order; all where it is not known."""
    if any(layer.needs is None for layer in layers):
        return facts.inputs
    names = {name for layer in layers for name in layer.needs or ()}
    return tuple(spec for spec in facts.inputs if spec.name in names) or facts.inputs


def name_files(named: Sequence[str], specs: Sequence[TensorSpec]) -> dict[str, Path]:
    """Return the file of each input from ``NAME=FILE``.

    A name may hold ``=`` itself, so the longest name of an input that fits counts; it may
    also be spelled as `actviz layers` prints addresses.

    Raises
    ------
    UsageError
        When a name is no input or is given twice.

    """
    names = [spec.name for spec in specs]
    found: dict[str, Path] = {}
    for text in named:
        parts = text.split("=")
        heads = ["=".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]
        head = next((head for head in heads if head in names or unquote(head) in names), None)
        if head is None:
            message = f'--input {escape(text, 80)}: there is no input "{escape(parts[0], 60)}"; the model has {listed(names)}.'
            raise UsageError(message)
        name = head if head in names else unquote(head)
        if name in found:
            message = (
                f'--input {escape(text, 80)}: the input "{escape(name, 60)}" is given twice; give one file for each.'
            )
            raise UsageError(message)
        found[name] = Path(text[len(head) + 1 :])
    return found


def _read_named(
    named: Sequence[str],
    facts: ModelFacts,
    needed: Sequence[TensorSpec],
    ranges: Mapping[str, Preprocessing],
    options: InputOptions,
) -> list[Sample]:
    files = name_files(named, facts.inputs)
    missing = [spec.name for spec in needed if spec.name not in files]
    if missing:
        message = (
            f"{facts.file}: these layers also need the input {listed(missing)}; give it with --input"
            f" {escape(missing[0], 60)}=FILE. The inputs are {listed([spec.name for spec in facts.inputs])}."
        )
        raise InputError(message)
    read = {
        spec.name: read_samples(files[spec.name], (spec,), ranges[spec.name], options)
        for spec in facts.inputs
        if spec.name in files
    }
    counts = {name: len(samples) for name, samples in read.items()}
    count = next(iter(counts.values()))
    if set(counts.values()) != {count}:
        held = ", ".join(f"{escape(name, 40)} {number}" for name, number in list(counts.items())[:8])
        message = f"the files hold different numbers of samples ({held}); the same number for each input was expected."
        raise InputError(message)
    if len(read) == 1 == len(facts.inputs):
        return next(iter(read.values()))
    return [_joined(read, files, number, count) for number in range(count)]


def _joined(read: Mapping[str, Sequence[Sample]], files: Mapping[str, Path], number: int, count: int) -> Sample:
    """Return one sample of all inputs, named after the files in the order of the inputs."""
    mark = f"[{number}]" if count > 1 else ""
    name = ", ".join(f"{name}={files[name].name}" for name in read) + mark
    stem = "+".join(files[name].stem for name in read) + mark
    return join({name: samples[number] for name, samples in read.items()}, name, stem)
