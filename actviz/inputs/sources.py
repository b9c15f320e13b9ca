"""What a command was given to feed a network, as samples: files one by one, or by input name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from actviz.errors import ActvizError, InputError, UsageError, error_of_code, escape
from actviz.inputs.array_checks import listed
from actviz.inputs.audio import takes_audio
from actviz.inputs.default_input import default_sample
from actviz.inputs.input_files import InputPaths, list_input_files
from actviz.inputs.preprocessing import choose_preprocessing
from actviz.inputs.reading import open_input, samples_in
from actviz.inputs.samples import join

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actviz.inputs.input_files import InputFile
    from actviz.inputs.input_options import InputOptions
    from actviz.inputs.preprocessing import Preprocessing
    from actviz.inputs.reading import OpenedInput
    from actviz.records import LayerInfo, ModelFacts, Sample, TensorSpec


@dataclass(frozen=True, slots=True)
class InputArguments:
    """The inputs of a command line, not opened yet.

    Parameters
    ----------
    paths
        Files that are samples by themselves, each of the only input or, as `.npz`, of all;
        also folders, patterns and lists of them, see `listing.Asked`.
    named
        ``NAME=FILE``, one for each input: together they are one sample, or as many as each
        file holds.
    lists, separated_by_nul
        Files that name more paths, see `listing.Asked`.

    """

    paths: tuple[Path, ...] = ()
    named: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    separated_by_nul: bool = False

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
        if self.named and self.lists:
            message = "--files-from and --input NAME=FILE do not go together; give all inputs by name."
            raise UsageError(message)


@dataclass(frozen=True, slots=True)
class InputSamples:
    """The samples, and why some files gave none."""

    samples: tuple[Sample, ...]
    failures: tuple[ActvizError, ...] = ()


def load_samples(
    given: InputArguments,
    facts: ModelFacts,
    layers: Sequence[LayerInfo],
    options: InputOptions,
    *,
    fail_fast: bool = False,
) -> InputSamples:
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
    for found in iterate_samples(given, facts, layers, options, fail_fast=fail_fast):
        if isinstance(found, ActvizError):
            failures.append(found)
        else:
            samples += found
    if not samples:
        raise max(failures, key=lambda failure: failure.exit_code)
    return InputSamples(tuple(samples), tuple(failures))


def iterate_samples(
    given: InputArguments,
    facts: ModelFacts,
    layers: Sequence[LayerInfo],
    options: InputOptions,
    *,
    fail_fast: bool = False,
) -> Iterator[list[Sample] | ActvizError]:
    """Yield samples when they are asked for, some at a time, or why a file gives none; see `load_samples`.

    A file gives all its samples at once, or none. An array so large that it stays on the disk
    gives them one by one: where a later one is bad, those before it have been given.
    """
    settled = make_pipeline(facts, layers, options)
    if given.named:
        yield from _named_parts(given.named, facts, settled)
        return
    entries = find_input_files(given, facts)
    if not entries:
        yield [default_sample(settled.specs, settled.ranges, options)]
        return
    for entry in entries:
        count = 0
        try:
            for part in _parts(settled, entry):
                count += len(part)
                yield part
        except ActvizError as failure:
            if fail_fast or len(entries) == 1:
                raise
            yield _after(count, failure)


def find_input_files(given: InputArguments, facts: ModelFacts, without: Path | None = None) -> list[InputFile]:
    """Return the files that were given without a name, with folders, patterns and lists opened up.

    Raises
    ------
    InputError
        When there is none although something was given.
    """
    text = any(spec.dtype == "string" for spec in facts.inputs)
    sound = any(takes_audio(spec) for spec in facts.inputs)
    return list_input_files(
        InputPaths(given.paths, given.lists, given.separated_by_nul, without), text=text, sound=sound
    )


def _parts(settled: InputPipeline, entry: InputFile) -> Iterator[list[Sample]]:
    opened = settled.open(entry.path)
    samples = (
        replace(one, name=entry.name + one.name.removeprefix(entry.path.name)) for one in settled.samples(opened)
    )
    if opened.header is None:
        yield list(samples)
    else:
        yield from ([sample] for sample in samples)


def _after(count: int, failure: ActvizError) -> ActvizError:
    """Say of a failure in the middle of a file what became of the samples around it."""
    if not count:
        return failure
    message = f"{failure.message} The {count:,} samples before it are used, those after it are not."
    return error_of_code(failure.exit_code, message)


@dataclass(frozen=True, slots=True)
class InputPipeline:
    """How every file becomes samples: settled once for a model and layers.

    `specs` are the inputs that the layers need, `preprocessing` the range of the first.
    """

    specs: tuple[TensorSpec, ...]
    ranges: Mapping[str, Preprocessing]
    options: InputOptions
    note: str = ""

    def open(self, path: Path) -> OpenedInput:
        """Read a file without decoding it; see `reading.open_input`."""
        return open_input(path, self.specs)

    def samples(self, opened: OpenedInput) -> Iterator[Sample]:
        """Yield the samples of an opened file, each made when it is asked for."""
        note = (self.note,) if self.note else ()
        for sample in samples_in(opened, self.specs, self.ranges[self.specs[0].name], self.options):
            yield replace(sample, notes=(*sample.notes, *note)) if note else sample
            note = ()


def make_pipeline(facts: ModelFacts, layers: Sequence[LayerInfo], options: InputOptions) -> InputPipeline:
    """Settle how files become samples that hold what `layers` need.

    Raises
    ------
    UsageError
        When a sample rate was asked for and no input takes audio.

    """
    needed = needed_inputs(facts, layers)
    if options.sample_rate is not None and not any(takes_audio(spec) for spec in needed):
        message = f"--sample-rate {options.sample_rate}: no input that these layers need takes audio; leave it out."
        raise UsageError(message)
    ranges = {spec.name: choose_preprocessing(facts, options.preprocess, spec.name) for spec in facts.inputs}
    only_one = len(needed) == 1 < len(facts.inputs)
    note = f"only the input {escape(needed[0].name, 60)} is fed; these layers need no other."
    return InputPipeline(needed, ranges, options, note if only_one else "")


def needed_inputs(facts: ModelFacts, layers: Sequence[LayerInfo]) -> tuple[TensorSpec, ...]:
    """Return the inputs that some layers depend on, in the model's order; all where it is not known."""
    if any(layer.needs is None for layer in layers):
        return facts.inputs
    names = {name for layer in layers for name in layer.needs or ()}
    return tuple(spec for spec in facts.inputs if spec.name in names) or facts.inputs


def match_files(named: Sequence[str], specs: Sequence[TensorSpec]) -> dict[str, Path]:
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


def _named_parts(named: Sequence[str], facts: ModelFacts, settled: InputPipeline) -> Iterator[list[Sample]]:
    """Yield the samples of files given by name: all at once, or one by one where an array stays on the disk."""
    files = match_files(named, facts.inputs)
    missing = [spec.name for spec in settled.specs if spec.name not in files]
    if missing:
        message = (
            f"{facts.file}: these layers also need the input {listed(missing)}; give it with --input"
            f" {escape(missing[0], 60)}=FILE. The inputs are {listed([spec.name for spec in facts.inputs])}."
        )
        raise InputError(message)
    read = {spec.name: _read_rows(files[spec.name], spec, settled) for spec in facts.inputs if spec.name in files}
    counts = {name: rows.count for name, rows in read.items()}
    count = next(iter(counts.values()))
    if set(counts.values()) != {count}:
        held = ", ".join(f"{escape(name, 40)} {number}" for name, number in list(counts.items())[:8])
        message = f"the files hold different numbers of samples ({held}); the same number for each input was expected."
        raise InputError(message)
    joined = (
        row[0] if len(facts.inputs) == 1 else _joined(dict(zip(read, row, strict=True)), files, number, count)
        for number, row in enumerate(zip(*(rows.samples for rows in read.values()), strict=True))
    )
    if all(rows.whole for rows in read.values()):
        yield list(joined)
    else:
        yield from ([sample] for sample in joined)


@dataclass(frozen=True, slots=True)
class _FileSamples:
    """The samples of a file for one input: all of them where it was read `whole`, else made when asked for."""

    count: int
    samples: Iterable[Sample]
    whole: bool = True


def _read_rows(path: Path, spec: TensorSpec, settled: InputPipeline) -> _FileSamples:
    opened = open_input(path, (spec,))
    samples = samples_in(opened, (spec,), settled.ranges[spec.name], settled.options)
    if opened.header is not None:
        return _FileSamples(opened.count, samples, whole=False)
    read = list(samples)
    return _FileSamples(len(read), read)


def _joined(row: Mapping[str, Sample], files: Mapping[str, Path], number: int, count: int) -> Sample:
    """Return one sample of all inputs, named after the files in the order of the inputs."""
    mark = f"[{number}]" if count > 1 else ""
    name = ", ".join(f"{name}={files[name].name}" for name in row) + mark
    stem = "+".join(files[name].stem for name in row) + mark
    return join(row, name, stem)
