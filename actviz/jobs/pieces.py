"""From the files of a command line to samples that are due, read ahead of what computes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError
from actviz.jobs.ahead import Ahead
from actviz.jobs.targets import ARRAYS, stem_of, stem_of_sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from actviz.inputs import Entry, Recipe, Shard
    from actviz.jobs.upkeep import Everything, Upkeep
    from actviz.records import Sample


@dataclass(frozen=True, slots=True)
class Piece:
    """A sample to compute, and the figures that are due of it; `file_sha256` where its file is an image."""

    sample: Sample
    files: Mapping[str, Path]
    works: Mapping[str, str]
    file_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Right:
    """An input of which so many figures are up to date; records of some that no manifest knew."""

    name: str
    figures: int
    adopted: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """An input that could not be read."""

    name: str
    failure: ActvizError


@dataclass(frozen=True, slots=True)
class Done:
    """All of an input is read; it had so many samples more than one."""

    more: int = 0


Item = Piece | Right | Unread | Done


@dataclass(frozen=True, slots=True)
class Batch:
    """What a job is given: entries by number, and the part of them that this run does."""

    entries: Sequence[Entry]
    shard: Shard

    def own(self) -> list[tuple[int, Entry]]:
        """Return the entries that may hold something of this part.

        Files count as dealt out one by one. A file that may hold several samples, by its
        suffix, belongs to every part: its samples are dealt out.
        """
        return [
            (number, entry)
            for number, entry in enumerate(self.entries)
            if self.shard.holds(number) or entry.path.suffix.lower() in ARRAYS
        ]


class Reader:
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

    def __init__(self, recipe: Recipe, upkeep: Upkeep | Everything, batch: Batch) -> None:
        self._recipe, self._upkeep, self._batch = recipe, upkeep, batch
        self._ahead: Ahead[tuple[int, Entry], Item] = Ahead(self._read, _weight)

    def items(self) -> Iterator[Item]:
        """Yield what is in every entry of this part, in order."""
        return self._ahead.items(self._batch.own())

    def end(self) -> None:
        """Begin nothing more."""
        self._ahead.end()

    def _read(self, place: tuple[int, Entry]) -> Iterator[Item]:
        number, entry = place
        try:
            opened = self._recipe.open(entry.path)
            if opened.is_image:
                yield from self._image(opened, number, entry)
                yield Done()
                return
            count = 0
            for count, sample in enumerate(self._recipe.samples(opened), 1):
                if self._batch.shard.holds(number + count - 1):
                    yield from self._sample(sample, number, entry)
            yield Done(count - 1)
        except ActvizError as failure:
            if _ends_all(failure):
                raise
            yield Unread(entry.name, failure)
            yield Done()

    def _image(self, opened: Any, number: int, entry: Entry) -> Iterator[Item]:
        """Yield the piece of an image; one that is not due is not decoded."""
        if not self._batch.shard.holds(number):
            return
        origin = opened.digest()
        due = self._upkeep.due(stem_of(entry.name), number, entry.name, origin)
        if due.right:
            yield Right(entry.name, due.right, due.adopted)
        if due.files:
            for sample in self._recipe.samples(opened):
                yield Piece(replace(sample, name=entry.name), due.files, due.works, origin)

    def _sample(self, sample: Sample, number: int, entry: Entry) -> Iterator[Item]:
        mark = sample.name.removeprefix(entry.path.name)
        name = entry.name + mark
        stem = sample.stem or stem_of(entry.name, mark)
        due = self._upkeep.due(stem, number, name, sample.digest)
        if due.right:
            yield Right(name, due.right, due.adopted)
        if due.files or self._recipe.options.stateful:
            yield Piece(replace(sample, name=name), due.files, due.works)


def _weight(item: Item) -> int:
    """Return the bytes of what is fed: the rest of an item is small."""
    if not isinstance(item, Piece):
        return 0
    thumbnail = 0 if item.sample.thumbnail is None else item.sample.thumbnail.nbytes
    return sum(values.nbytes for values in item.sample.values.values()) + thumbnail


def _ends_all(failure: ActvizError) -> bool:
    """Tell whether a failure concerns the whole batch: results that cannot be written."""
    from actviz.errors import OutputError

    return isinstance(failure, OutputError)


def pieces_of(
    samples: Sequence[Sample], upkeep: Upkeep | Everything, shard: Shard, *, every: bool = False
) -> Iterator[Item]:
    """Yield the pieces of samples that are there already; with `every` also of those whose figures are up to date."""
    for number, sample in enumerate(samples):
        if not shard.holds(number):
            continue
        due = upkeep.due(stem_of_sample(sample), 0, sample.name, sample.digest)
        if due.right:
            yield Right(sample.name, due.right, due.adopted)
        if due.files or every:
            yield Piece(sample, due.files, due.works)
        if not every:
            yield Done()
    if every:
        yield Done(len(samples) - 1)
