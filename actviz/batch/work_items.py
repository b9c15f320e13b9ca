"""From the files of a command line to samples that are due, read ahead of what computes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actviz.batch.output_paths import ARRAYS, stem_of, stem_of_sample
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
    """A sample to compute, and the figures that are due of it; `file_sha256` where its file is an image."""

    sample: Sample
    files: Mapping[str, Path]
    works: Mapping[str, str]
    file_sha256: str = ""


@dataclass(frozen=True, slots=True)
class UpToDate:
    """An input of which so many figures are up to date; records of some that no manifest knew."""

    name: str
    figures: int
    adopted: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class UnreadableInput:
    """An input that could not be read."""

    name: str
    failure: ActvizError


@dataclass(frozen=True, slots=True)
class InputDone:
    """All of an input is read; it had so many samples more than one."""

    more: int = 0


Item = WorkItem | UpToDate | UnreadableInput | InputDone


@dataclass(frozen=True, slots=True)
class InputBatch:
    """What a job is given: entries by number, and the part of them that this run does."""

    entries: Sequence[InputFile]
    shard: Shard

    def own(self) -> list[tuple[int, InputFile]]:
        """Return the entries that may hold something of this part.

        Files count as dealt out one by one. A file that may hold several samples, by its
        suffix, belongs to every part: its samples are dealt out.
        """
        return [
            (number, entry)
            for number, entry in enumerate(self.entries)
            if self.shard.holds(number) or entry.path.suffix.lower() in ARRAYS
        ]


class WorkItemReader:
    """Reads entries into pieces that are due.

    Parameters
    ----------
    recipe
        How files become samples.
    upkeep
        Which figures are due.
    batch
        All entries, and the part that is done.
    """

    def __init__(self, recipe: InputPipeline, upkeep: UpToDateCheck | AlwaysOutdated, batch: InputBatch) -> None:
        self._recipe, self._upkeep, self._batch = recipe, upkeep, batch
        self._ahead: Prefetcher[tuple[int, InputFile], Item] = Prefetcher(self._read, _weight)

    def items(self) -> Iterator[Item]:
        """Yield what is in every entry of this part, in order."""
        return self._ahead.items(self._batch.own())

    def end(self) -> None:
        """Begin nothing more."""
        self._ahead.end()

    def _read(self, place: tuple[int, InputFile]) -> Iterator[Item]:
        number, entry = place
        try:
            opened = self._recipe.open(entry.path)
            if opened.is_image:
                yield from self._image(opened, number, entry)
                yield InputDone()
                return
            count = 0
            for count, sample in enumerate(self._recipe.samples(opened), 1):
                if self._batch.shard.holds(number + count - 1):
                    yield from self._sample(sample, number, entry)
            yield InputDone(count - 1)
        except ActvizError as failure:
            if _ends_all(failure):
                raise
            yield UnreadableInput(entry.name, failure)
            yield InputDone()

    def _image(self, opened: Any, number: int, entry: InputFile) -> Iterator[Item]:
        """Yield the piece of an image; one that is not due is not decoded."""
        if not self._batch.shard.holds(number):
            return
        origin = opened.digest()
        due = self._upkeep.due(stem_of(entry.name), number, entry.name, origin)
        if due.right:
            yield UpToDate(entry.name, due.right, due.adopted)
        if due.files:
            for sample in self._recipe.samples(opened):
                yield WorkItem(replace(sample, name=entry.name), due.files, due.works, origin)

    def _sample(self, sample: Sample, number: int, entry: InputFile) -> Iterator[Item]:
        mark = sample.name.removeprefix(entry.path.name)
        name = entry.name + mark
        stem = sample.stem or stem_of(entry.name, mark)
        due = self._upkeep.due(stem, number, name, sample.digest)
        if due.right:
            yield UpToDate(name, due.right, due.adopted)
        if due.files or self._recipe.options.stateful:
            yield WorkItem(replace(sample, name=name), due.files, due.works)


def _weight(item: Item) -> int:
    """Return the bytes of what is fed: the rest of an item is small."""
    if not isinstance(item, WorkItem):
        return 0
    thumbnail = 0 if item.sample.thumbnail is None else item.sample.thumbnail.nbytes
    return sum(values.nbytes for values in item.sample.values.values()) + thumbnail


def _ends_all(failure: ActvizError) -> bool:
    """Tell whether a failure concerns the whole batch: results that cannot be written."""
    from actviz.errors import OutputError

    return isinstance(failure, OutputError)


def work_items(
    samples: Sequence[Sample], upkeep: UpToDateCheck | AlwaysOutdated, shard: Shard, *, every: bool = False
) -> Iterator[Item]:
    """Yield the pieces of samples that are there already; with `every` also of those whose figures are up to date."""
    for number, sample in enumerate(samples):
        if not shard.holds(number):
            continue
        due = upkeep.due(stem_of_sample(sample), 0, sample.name, sample.digest)
        if due.right:
            yield UpToDate(sample.name, due.right, due.adopted)
        if due.files or every:
            yield WorkItem(sample, due.files, due.works)
        if not every:
            yield InputDone()
    if every:
        yield InputDone(len(samples) - 1)
