"""What commands with ``--shard`` share: the list of their inputs, and the record of a part."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from actviz.batch.events import Note
from actviz.batch.requests import ModelRequest
from actviz.errors import UsageError
from actviz.inputs import find_input_files
from actviz.inputs.skipped_files import SkippedFiles
from actviz.system.processor import processor_kind
from actviz.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from actviz.errors import ActvizError
    from actviz.inputs import Shard
    from actviz.records import ModelFacts

Request = TypeVar("Request", bound=ModelRequest)

NO_FOLDERS = frozenset(
    {".png", ".html", ".htm", ".jpg", ".jpeg", ".svg", ".pdf", ".npz", ".json", ".xml", ".csv", ".gif", ".webp"}
)  # fmt: skip


def names_folder(output: str | None) -> bool:
    """Return True if ``-o`` names a folder."""
    return output is not None and (output.endswith("/") or Path(output).suffix.lower() not in NO_FOLDERS)


def check_folder(output: str | None, option: str) -> None:
    """Refuse a part without a folder."""
    if not names_folder(output):
        message = f"{option} writes files that are merged later; give their folder with -o, such as -o part-1/"
        raise UsageError(message)


def list_inputs(request: Request, facts: ModelFacts, without: Path | None) -> Generator[Note, None, Request]:
    """Return the request with its files listed: standard input cannot be read again."""
    if request.inputs.named:
        return request
    skipped = SkippedFiles()
    files = tuple(find_input_files(request.inputs, facts, without=without, skipped=skipped))
    yield from map(Note, skipped.notes())
    return replace(request, inputs=replace(request.inputs, paths=(), lists=(), files=files))


def check_inputs(inputs: int, failures: Sequence[ActvizError], shard: Shard) -> None:
    """Raise the worst failure, or the reason why there is no input.

    Raises
    ------
    ActvizError
        If no input was computed.
    """
    if not inputs and failures:
        raise max(failures, key=lambda failure: failure.exit_code)
    if not inputs:
        message = f"--shard {shard.number}/{shard.count}: there is no input in this part; make fewer parts."
        raise UsageError(message)


def part_record(
    request: ModelRequest, facts: ModelFacts, failures: Sequence[ActvizError], versions: Mapping[str, str]
) -> dict[str, Any]:
    """Return what the record of every part has: see `results.part_files`."""
    names = [file.name for file in request.inputs.files] or list(request.inputs.named)
    return {
        "actviz": VERSION,
        "model": facts.file,
        "configuration": facts.digest,
        "reading": request.reading.record(),
        "list": hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest(),
        "shards": [request.inputs.shard.number],
        "of": request.inputs.shard.count,
        "failures": sorted(failure.message for failure in failures),
        "machine": {**versions, "processor": processor_kind()},
    }
