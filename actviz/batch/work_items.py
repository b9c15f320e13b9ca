"""From the files of a command line to work items: prefetched samples whose figures are not up to date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actviz.batch.output_paths import stem_of, stem_of_sample
from actviz.batch.prefetch import Prefetcher
from actviz.errors import ActvizError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from actviz.batch.up_to_date import AlwaysOutdated, UpToDateCheck
    from actviz.inputs import InputFile, InputPipeline, Shard
    from actviz.records import Sample


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A sample to run, and the paths and fingerprints of its outdated figures by key; `file_sha256` if its file is an image."""

    sample: Sample
    files: Mapping[str, Path]
    fingerprints: Mapping[str, str]
    file_sha256: str = ""


@dataclass(frozen=True, slots=True)
class UpToDate:
    """An input with the files of its figures that are up to date, and the records of those missing in the manifest.

    `order` are the files of all its figures.
    """

    name: str
    files: Sequence[Path]
    unlisted: Sequence[dict[str, Any]] = ()
    order: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class UnreadableInput:
    """An input that could not be read."""

    name: str
    failure: ActvizError


@dataclass(frozen=True, slots=True)
class InputDone:
    """An input is read completely; it had `more` samples besides the first."""

    more: int = 0


Item = WorkItem | UpToDate | UnreadableInput | InputDone


@dataclass(frozen=True, slots=True)
class InputBatch:
    """The input files of a command, and the shard that is processed."""

    entries: Sequence[InputFile]
    shard: Shard

    def own(self) -> list[tuple[int, InputFile]]:
        """Return the entries of this shard with their numbers.

        Shards get files in turn. A file that may hold several samples, by its suffix, belongs to every shard, and its
        samples are distributed instead.
        """
        from actviz.inputs.input_files import may_hold  # `history` needs no inputs

        return [
            (number, entry) for number, entry in enumerate(self.entries) if may_hold(self.shard, number, entry.path)
        ]


class WorkItemReader:
    """Reads entries into work items.

    Parameters
    ----------
    pipeline
        Converts files to samples.
    checker
        Decides which figures are outdated.
    batch
        All entries, and the shard that is processed.
    """

    def __init__(self, pipeline: InputPipeline, checker: UpToDateCheck | AlwaysOutdated, batch: InputBatch) -> None:
        self._pipeline, self._checker, self._batch = pipeline, checker, batch
        self._prefetcher: Prefetcher[tuple[int, InputFile], Item] = Prefetcher(self._read, _weight)

    def items(self) -> Iterator[Item]:
        """Yield the items of every entry of this shard, in order."""
        return self._prefetcher.items(self._batch.own())

    def end(self) -> None:
        """Accept no further work."""
        self._prefetcher.end()

    def _read(self, numbered: tuple[int, InputFile]) -> Iterator[Item]:
        from actviz.inputs.input_files import is_divided

        number, entry = numbered
        try:
            opened = self._pipeline.open(entry.path)
            if opened.is_image:
                yield from self._image(opened, number, entry)
                yield InputDone()
                return
            count = 0
            divided = is_divided(entry.path)
            for count, sample in enumerate(self._pipeline.samples(opened), 1):
                if not divided or self._batch.shard.holds(number + count - 1):
                    yield from self._sample(sample, number, entry)
            yield InputDone(count - 1)
        except ActvizError as failure:
            if _ends_all(failure):
                raise
            yield UnreadableInput(entry.name, failure)
            yield InputDone()

    def _image(self, opened: Any, number: int, entry: InputFile) -> Iterator[Item]:
        """Yield the work item of an image, which is not decoded if its figures are up to date."""
        if not self._batch.shard.holds(number):
            return
        origin = opened.digest()
        due = self._checker.due(stem_of(entry.name), number, entry.name, origin)
        if due.up_to_date:
            yield UpToDate(entry.name, due.up_to_date, due.unlisted, due.order)
        if due.files:
            for sample in self._pipeline.samples(opened):
                yield WorkItem(replace(sample, name=entry.name), due.files, due.fingerprints, origin)

    def _sample(self, sample: Sample, number: int, entry: InputFile) -> Iterator[Item]:
        mark = sample.name.removeprefix(entry.path.name)
        name = entry.name + mark
        stem = sample.stem or stem_of(entry.name, mark)
        due = self._checker.due(stem, number, name, sample.digest)
        if due.up_to_date:
            yield UpToDate(name, due.up_to_date, due.unlisted, due.order)
        if due.files or self._pipeline.options.stateful:
            yield WorkItem(replace(sample, name=name), due.files, due.fingerprints)


def _weight(item: Item) -> int:
    """Return the bytes of the arrays of an item; the rest is small."""
    if not isinstance(item, WorkItem):
        return 0
    thumbnail = 0 if item.sample.thumbnail is None else item.sample.thumbnail.nbytes
    return sum(values.nbytes for values in item.sample.values.values()) + thumbnail


def _ends_all(failure: ActvizError) -> bool:
    """Return True if a failure concerns all inputs: results cannot be written."""
    from actviz.errors import OutputError

    return isinstance(failure, OutputError)


def work_items(
    samples: Sequence[Sample], checker: UpToDateCheck | AlwaysOutdated, shard: Shard, *, every: bool = False
) -> Iterator[Item]:
    """Yield the work items of loaded samples; with `every` also of those whose figures are up to date."""
    for number, sample in enumerate(samples):
        if not shard.holds(number):
            continue
        due = checker.due(stem_of_sample(sample), 0, sample.name, sample.digest)
        if due.up_to_date:
            yield UpToDate(sample.name, due.up_to_date, due.unlisted, due.order)
        if due.files or every:
            yield WorkItem(sample, due.files, due.fingerprints)
        if not every:
            yield InputDone()
    if every:
        yield InputDone(len(samples) - 1)
