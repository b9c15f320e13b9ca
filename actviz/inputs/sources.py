"""Load the inputs of a command line as samples: files one by one, or one file per input name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from actviz.errors import ActvizError, InputError, UsageError, error_of_code, escape
from actviz.inputs.array_checks import listed
from actviz.inputs.audio import takes_audio
from actviz.inputs.default_input import default_sample
from actviz.inputs.input_files import is_divided, list_input_files, may_hold
from actviz.inputs.preprocessing import choose_preprocessing
from actviz.inputs.reading import open_input, samples_in
from actviz.inputs.samples import join
from actviz.inputs.skipped_files import SkippedFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actviz.inputs.input_files import InputArguments, InputFile, Shard
    from actviz.inputs.input_options import InputOptions
    from actviz.inputs.preprocessing import Preprocessing
    from actviz.inputs.reading import OpenedInput
    from actviz.records import LayerInfo, ModelFacts, Sample, TensorSpec


Window = tuple[int, int | None]

OFFSET_BITS = 24
"""Bits of `Sample.offset` for the number of a sample in its file."""


@dataclass(slots=True)
class SampleCount:
    """Number of samples that can be read, as far as it is known while the files are read; 0 before.

    `skipped` are the files of folders that are no inputs.
    """

    total: int = 0
    skipped: SkippedFiles = field(default_factory=SkippedFiles)


@dataclass(frozen=True, slots=True)
class InputSamples:
    """The samples, and the errors of files that could not be read."""

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
    """Load all samples, with at least the inputs that `layers` depend on.

    If no input is given, the default sample is used. A file that cannot be read does not fail the
    others, unless `fail_fast` is set, it is the only one, or it is given by name.

    Raises
    ------
    UsageError
        When a name is no input of the network or is given twice, or a function has no file to read.
    InputError
        When a required input is missing, or the files have different numbers of samples.
    ActvizError
        When no file could be read: the error with the highest exit code.
    """
    samples: list[Sample] = []
    failures: list[ActvizError] = []
    for result in iterate_samples(given, facts, layers, options, fail_fast=fail_fast):
        if isinstance(result, ActvizError):
            failures.append(result)
        else:
            samples += result
    if not samples:
        raise max(failures, key=lambda failure: failure.exit_code)
    return InputSamples(tuple(samples), tuple(failures))


def iterate_samples(  # noqa: PLR0913  (one more than allowed: `count` is filled while the generator runs)
    given: InputArguments,
    facts: ModelFacts,
    layers: Sequence[LayerInfo],
    options: InputOptions,
    *,
    fail_fast: bool = False,
    count: SampleCount | None = None,
) -> Iterator[list[Sample] | ActvizError]:
    """Yield lists of samples lazily, or the error of a file; see `load_samples`.

    All samples of a file are yielded at once. Those of an array that is too large for memory are
    yielded one by one, so that an error may follow some of them. `count` is updated meanwhile.
    """
    count = SampleCount() if count is None else count
    pipeline = make_pipeline(facts, layers, options)
    if given.named:
        for part in _named_parts(given.named, facts, pipeline, count):
            yield [sample for sample in part if given.shard.holds(sample.offset)]
        return
    divided = given.part if given.part is not None and given.part.files else None
    entries: Sequence[InputFile] = () if divided is not None else find_input_files(given, facts, skipped=count.skipped)
    pipeline = replace(pipeline, notes=(*pipeline.notes, *count.skipped.notes()))
    if not entries and divided is None:
        if options.function is not None:
            raise UsageError(f"--preprocess {options.function.name} reads files; give one after the model.")
        if given.shard.holds(0):
            yield [default_sample(pipeline.specs, pipeline.ranges, options)]
        return
    alone, count.total = len(entries) == 1, len(entries)
    numbered: Iterable[tuple[int, InputFile]] = enumerate(entries)
    if divided is not None:
        numbered, alone, count.total = divided.files, divided.alone, len(divided.files)
    elif given.shard.count > 1:
        count.total = sum(may_hold(given.shard, number, entry.path) for number, entry in numbered)
        numbered = (item for item in enumerate(entries) if may_hold(given.shard, item[0], item[1].path))
    for index, (number, entry) in enumerate(numbered):
        read = 0
        before = count.total - 1
        try:
            window = (0, None) if divided is None else divided.window(index)
            for part, samples in _parts(pipeline, entry, number, window):
                own = [sample for sample in part if not is_divided(entry.path) or _is_held(given.shard, sample)]
                count.total = before + (samples if len(own) == len(part) else len(own))
                read += len(part)
                yield own
        except ActvizError as failure:
            if fail_fast or alone:
                raise
            count.total = before + read
            yield _after(read, failure)


def find_input_files(
    given: InputArguments, facts: ModelFacts, without: Path | None = None, *, skipped: SkippedFiles | None = None
) -> Sequence[InputFile]:
    """Return the files given without a name, with folders, patterns and lists expanded; see `list_input_files`.

    Raises
    ------
    InputError
        When a folder, pattern or list has no files.
    """
    text = any(spec.dtype == "string" for spec in facts.inputs)
    sound = any(takes_audio(spec) for spec in facts.inputs)
    return list_input_files(given, without, text=text, sound=sound, skipped=skipped)


def _is_held(shard: Shard, sample: Sample) -> bool:
    """Return True if a sample belongs to a shard: files are distributed, and the samples of a file from there on."""
    return shard.holds((sample.offset >> OFFSET_BITS) + sample.offset % (1 << OFFSET_BITS))


def _parts(
    pipeline: InputPipeline, entry: InputFile, number: int, window: Window
) -> Iterator[tuple[list[Sample], int]]:
    """Yield samples of a file, all or one by one, with their number; `window` are the first and the end."""
    opened = pipeline.open(entry.path)
    first, end = window
    samples = (
        replace(
            sample,
            name=entry.name + sample.name.removeprefix(entry.path.name),
            offset=(number << OFFSET_BITS) + index,
        )
        for index, sample in enumerate(pipeline.samples(opened, window), first)
    )
    if opened.header is None:
        every = list(samples)
        yield every, len(every)
    else:
        total = min(opened.count, opened.count if end is None else end) - first
        yield from (([sample], total) for sample in samples)


def _after(count: int, failure: ActvizError) -> ActvizError:
    """Return an error with a sentence on which samples are used, if it occurred after `count` samples of a file."""
    if not count:
        return failure
    message = f"{failure.message} The {count:,} samples before it are used, those after it are not."
    return error_of_code(failure.exit_code, message)


@dataclass(frozen=True, slots=True)
class InputPipeline:
    """How files are turned into samples for a model and some of its layers.

    `specs` are the inputs that the layers depend on, `ranges` the preprocessing by input name. The first sample of
    each file has the `notes`.
    """

    specs: tuple[TensorSpec, ...]
    ranges: Mapping[str, Preprocessing]
    options: InputOptions
    notes: tuple[str, ...] = ()

    def open(self, path: Path) -> OpenedInput:
        """Open a file without decoding it; see `reading.open_input`."""
        return open_input(path, self.specs, self.options.function)

    def samples(self, opened: OpenedInput, window: Window = (0, None)) -> Iterator[Sample]:
        """Yield the samples of an opened file lazily, of a `window` from the first to before the last."""
        notes = self.notes
        for sample in samples_in(opened, self.specs, self.ranges[self.specs[0].name], self.options, window):
            yield replace(sample, notes=(*sample.notes, *notes)) if notes else sample
            notes = ()


def make_pipeline(facts: ModelFacts, layers: Sequence[LayerInfo], options: InputOptions) -> InputPipeline:
    """Return the pipeline for the inputs that `layers` depend on.

    Raises
    ------
    UsageError
        When a sample rate is given and no input takes audio.
    """
    needed = needed_inputs(facts, layers)
    if options.sample_rate is not None and not any(takes_audio(spec) for spec in needed):
        message = f"--sample-rate {options.sample_rate}: no input that these layers need takes audio; leave it out."
        raise UsageError(message)
    ranges = {spec.name: choose_preprocessing(facts, options.preprocess, spec.name) for spec in facts.inputs}
    only_one = len(needed) == 1 < len(facts.inputs)
    note = f"only the input {escape(needed[0].name, 60)} is fed; these layers need no other."
    return InputPipeline(needed, ranges, options, (note,) if only_one else ())


def needed_inputs(facts: ModelFacts, layers: Sequence[LayerInfo]) -> tuple[TensorSpec, ...]:
    """Return the inputs that some layers depend on, in the order of the model; all if that is unknown."""
    if any(layer.needs is None for layer in layers):
        return facts.inputs
    names = {name for layer in layers for name in layer.needs or ()}
    return tuple(spec for spec in facts.inputs if spec.name in names) or facts.inputs


def match_files(named: Sequence[str], specs: Sequence[TensorSpec]) -> dict[str, Path]:
    """Parse ``NAME=FILE`` arguments into files by input name.

    A name may contain ``=``, so the longest input name that matches is used; it may also be
    percent-encoded, as `actviz layers` prints addresses.

    Raises
    ------
    UsageError
        When a name is no input or is given twice.
    """
    names = [spec.name for spec in specs]
    files: dict[str, Path] = {}
    for text in named:
        parts = text.split("=")
        heads = ["=".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]
        head = next((head for head in heads if head in names or unquote(head) in names), None)
        if head is None:
            message = f'--input {escape(text, 80)}: there is no input "{escape(parts[0], 60)}"; the model has {listed(names)}.'
            raise UsageError(message)
        name = head if head in names else unquote(head)
        if name in files:
            raise UsageError(
                f'--input {escape(text, 80)}: the input "{escape(name, 60)}" is given twice; give one file for each.'
            )
        files[name] = Path(text[len(head) + 1 :])
    return files


def _named_parts(
    named: Sequence[str], facts: ModelFacts, pipeline: InputPipeline, total: SampleCount
) -> Iterator[list[Sample]]:
    """Yield the samples of files given by name: all at once, or one by one if an array is too large for memory."""
    files = match_files(named, facts.inputs)
    missing = [spec.name for spec in pipeline.specs if spec.name not in files]
    if missing:
        raise InputError(
            f"{facts.file}: these layers also need the input {listed(missing)}; give it with --input"
            f" {escape(missing[0], 60)}=FILE. The inputs are {listed([spec.name for spec in facts.inputs])}."
        )
    read = {spec.name: _read_rows(files[spec.name], spec, pipeline) for spec in facts.inputs if spec.name in files}
    counts = {name: rows.count for name, rows in read.items()}
    count = next(iter(counts.values()))
    if set(counts.values()) != {count}:
        shown = ", ".join(f"{escape(name, 40)} {number}" for name, number in list(counts.items())[:8])
        message = f"the files hold different numbers of samples ({shown}); the same number for each input was expected."
        raise InputError(message)
    total.total = count
    joined = (
        replace(row[0], offset=number)
        if len(facts.inputs) == 1
        else _joined(dict(zip(read, row, strict=True)), files, number, count)
        for number, row in enumerate(zip(*(rows.samples for rows in read.values()), strict=True))
    )
    if all(rows.whole for rows in read.values()):
        yield list(joined)
    else:
        yield from ([sample] for sample in joined)


@dataclass(frozen=True, slots=True)
class _FileSamples:
    """The samples of a file for one input: a list if it was read as a `whole`, else a lazy iterator."""

    count: int
    samples: Iterable[Sample]
    whole: bool = True


def _read_rows(path: Path, spec: TensorSpec, pipeline: InputPipeline) -> _FileSamples:
    opened = open_input(path, (spec,), pipeline.options.function)
    samples = samples_in(opened, (spec,), pipeline.ranges[spec.name], pipeline.options)
    if opened.header is not None:
        return _FileSamples(opened.count, samples, whole=False)
    read = list(samples)
    return _FileSamples(len(read), read)


def _joined(row: Mapping[str, Sample], files: Mapping[str, Path], number: int, count: int) -> Sample:
    """Return one sample of all inputs, named after the files in the order of the inputs."""
    suffix = f"[{number}]" if count > 1 else ""
    name = ", ".join(f"{name}={files[name].name}" for name in row) + suffix
    stem = "+".join(files[name].stem for name in row) + suffix
    return replace(join(row, name, stem), offset=number)
