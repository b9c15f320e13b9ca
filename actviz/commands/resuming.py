"""`--resume`: a run in parts, of which those that are done are kept in a file of the output folder.

A part is done whole or not at all. The file is a result file of the parts that are done, so that `merge` reads it too.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.batch.events import Note, Progress
from actviz.errors import UsageError, error_of_code, escape
from actviz.inputs.input_files import InputPart
from actviz.inputs.input_parts import parts
from actviz.results import part_files
from actviz.results.provenance_json import dump_json, parse_json_strict
from actviz.system import file_system, file_writing

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from actviz.commands.part_runs import Failures, PartRun, RequestType, TallyType
    from actviz.inputs import InputArguments

UNFINISHED = "unfinished.npz"
SAVED_EVERY = 60.0
"""Seconds after which the parts that are done are saved."""


def parts_of(inputs: InputArguments) -> Iterator[InputPart]:
    """Return the parts of listed inputs; those given by name, and the default one, are one part."""
    return parts(inputs.files, inputs.shard) if inputs.files else iter([InputPart()])


@dataclass(slots=True)
class _Done:
    """The numbers of the parts that are done, and the errors of their inputs."""

    numbers: set[int] = field(default_factory=set)
    failures: Failures = field(default_factory=list)
    saved: int = 0


@dataclass(frozen=True, slots=True)
class _Plan:
    """All parts: how many there are, how many inputs they have, and a hash of what they consist of."""

    count: int
    inputs: int
    digest: str

    @classmethod
    def of(cls, inputs: InputArguments) -> _Plan:
        total, count, size = hashlib.sha256(), 0, 0
        for part in parts_of(inputs):
            names = [(number, file.name) for number, file in part.files]
            total.update(
                repr((part.number, names or inputs.named, part.first, part.end)).encode("utf-8", "surrogatepass")
            )
            count, size = part.number, size + part.inputs
        return cls(count, size, total.hexdigest())


def compute(run: PartRun[RequestType, TallyType], path: Path | None) -> Generator[Note | Progress, None, TallyType]:
    """Compute all inputs and return their tally; with a path, in parts, of which those that are done are kept there.

    Raises
    ------
    UsageError
        If the file at `path` is that of a run over another list, or with another model or other options.
    """
    tally = run.start()
    if path is None:
        yield from run.compute(None, tally)
        return tally
    plan, done = _Plan.of(run.request.inputs), _Done()
    if file_system.exists(path):
        yield from _continue(run, tally, plan, done, path)
    try:
        at, last = 0, time.monotonic()
        for part in parts_of(run.request.inputs):
            if part.number not in done.numbers:
                mine, failed = run.start(), len(run.failures)
                for event in run.compute(part, mine):
                    if isinstance(event, Progress) and event.total:
                        yield Progress(min(at + event.done, plan.inputs), plan.inputs)
                    else:
                        yield event
                run.worker.check_unchanged()
                tally.add_part(mine.record(), mine.state())
                done.numbers.add(part.number)
                done.failures += run.failures[failed:]
            at += part.inputs
            if time.monotonic() >= last + SAVED_EVERY:
                _save(run, tally, plan, done, path)
                last = time.monotonic()
    finally:
        if len(done.numbers) > done.saved:
            _save(run, tally, plan, done, path)
    return tally


def finish(path: Path | None) -> None:
    """Remove the file, once the result is written."""
    if path is not None:
        file_writing.remove_file(path)


def _record(run: PartRun[RequestType, TallyType], tally: TallyType, plan: _Plan, done: _Done) -> dict[str, Any]:
    shard = run.request.inputs.shard
    return run.record(tally, done.failures) | {
        "shards": sorted(done.numbers),
        "of": plan.count,
        "parts": [plan.digest, f"{shard.number}/{shard.count}"],
        "errors": sorted([failure.exit_code, failure.message] for failure in done.failures),
    }


def _save(run: PartRun[RequestType, TallyType], tally: TallyType, plan: _Plan, done: _Done, path: Path) -> None:
    part_files.write_part(path, _record(run, tally, plan, done), tally.state())
    done.saved = len(done.numbers)


def _continue(
    run: PartRun[RequestType, TallyType], tally: TallyType, plan: _Plan, done: _Done, path: Path
) -> Generator[Note, None, None]:
    """Add the parts that are done to the tally."""
    part = part_files.read_part(path)
    ours = part_files.Part(path, parse_json_strict(dump_json(_record(run, tally, plan, done))), {})
    noun = part_files.different_noun(ours, part)
    if noun is not None:
        folder = escape(str(path.parent), 200)
        message = f"{path}: --resume continues the run that wrote it, and that one had different {noun}; run as it did, or give another folder than {folder} with -o, or remove the file."
        raise UsageError(message)
    try:
        tally.add_part(part.record, part.state)
        done.numbers |= part.shards
        done.failures += [error_of_code(int(code), str(message)) for code, message in part.record["errors"]]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise part_files.damaged([part], "a run with --resume") from None
    done.saved = len(done.numbers)
    run.failures += done.failures
    run.versions = {name: version for name, version in part.record["machine"].items() if name != "processor"}
    yield Note(f"{len(done.numbers):,} of {plan.count:,} parts are done already, with {tally.inputs:,} inputs.")
