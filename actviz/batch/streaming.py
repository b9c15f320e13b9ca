"""`--stateful`: the samples of one input are a stream, each run on the state that the one before left.

A stream is what one file (or one set of named files) holds. Its samples are run one by one in
their order; a failure ends the stream, since the state after it is unknown.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from actviz.batch.events import Note
from actviz.batch.work_items import InputDone, UnreadableInput, WorkItem
from actviz.errors import InputError, UsageError, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actviz.batch.work_items import Item
    from actviz.inputs import InputOptions, Shard
    from actviz.records import Sample

NUMBERED = re.compile(r"(?P<stream>.*)\[(?P<number>\d+)\]", re.DOTALL)
NOTE = "--stateful: the samples of one input are run in order, each on the state that the one before left; every input begins with the state that the file holds."


def check(options: InputOptions, shard: Shard | None = None, *, has_inputs: bool) -> Iterator[Note]:
    """Note that samples are run as streams if `options` request it.

    Raises
    ------
    UsageError
        If only a part of the samples would be run, or there is no input.
    """
    if not options.stateful:
        return
    if shard is not None and shard.count > 1:
        message = (
            "--stateful runs all samples of an input in order, --shard only some of them; leave one of the two out."
        )
        raise UsageError(message)
    if not has_inputs:
        message = "--stateful needs an input with several samples, and none was given; give an array with the samples along its first axis (.npy)."
        raise UsageError(message)
    yield Note(NOTE)


def position_of(sample: Sample) -> tuple[str, int]:
    """Return the stream that a sample belongs to and its number in it, from 0.

    Raises
    ------
    UsageError
        If its input holds no other sample.
    """
    found = NUMBERED.fullmatch(sample.name)
    if found is None:
        message = f"{escape(sample.name, 80)}: --stateful needs an input with several samples, and this one holds one; leave it out, or give an array with the samples along its first axis (.npy)."
        raise UsageError(message)
    return found["stream"], int(found["number"])


class Stream:
    """Follows samples through the streams that they make."""

    def __init__(self) -> None:
        self._last: tuple[str, int] | None = None
        self._lost = ""

    def state(self, sample: Sample) -> str:
        """Return the state that a sample starts with; see `Network.activations`.

        Raises
        ------
        InputError
            If an earlier sample of its stream failed.
        UsageError
            If its input holds no other sample.
        """
        stream, number = position_of(sample)
        if number == 0:
            self._last, self._lost = (stream, 0), ""
            return "first"
        if self._lost or self._last != (stream, number - 1):
            self._last = (stream, number)
            message = f"{escape(sample.name, 80)}: not run: a sample before it in the stream failed, so the state that it begins with is not known."
            self._lost = self._lost or stream
            raise InputError(message)
        self._last = (stream, number)
        return "next"

    def fail(self) -> None:
        """Note that the last sample could not be computed."""
        self._lost = self._lost or (self._last[0] if self._last else "")


def marked(sample: Sample) -> Sample:
    """Return a sample whose description `fed` has its number in the stream."""
    return replace(sample, fed=f"{sample.fed}, sample {position_of(sample)[1] + 1} of a stream")


def streamed(items: Iterable[Item]) -> Iterator[Item]:
    """Yield work items with the samples before them in their stream, on whose state they depend.

    A figure that is up to date is not drawn again, but its sample is run if a later figure of its stream is
    outdated.
    """
    held: list[WorkItem] = []
    for item in items:
        if isinstance(item, InputDone | UnreadableInput):
            held.clear()
        if not isinstance(item, WorkItem):
            yield item
            continue
        if position_of(item.sample)[1] == 0:
            held.clear()
        held.append(replace(item, sample=marked(item.sample)))
        if item.files:
            yield from held
            held.clear()
