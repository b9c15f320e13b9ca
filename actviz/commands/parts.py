"""What commands with ``--shard`` share: the list of their inputs, and the record of a part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from actviz.batch.events import Note
from actviz.batch.requests import ModelRequest
from actviz.batch.up_to_date import files_of_weights
from actviz.errors import ModelError, UsageError
from actviz.inputs import find_input_files
from actviz.inputs.input_parts import hash_list
from actviz.inputs.skipped_files import SkippedFiles
from actviz.system import file_system
from actviz.system.processor import processor_kind
from actviz.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from actviz.errors import ActvizError
    from actviz.inputs import Shard
    from actviz.records import ModelFacts
    from actviz.worker import ModelOptions

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
        why = "keeps what is done in a folder" if option == "--resume" else "writes files that are merged later"
        message = f"{option} {why}; give the folder with -o, such as -o part-1/"
        raise UsageError(message)


def list_inputs(
    request: Request, facts: ModelFacts, without: Path | None
) -> Generator[Note, None, tuple[Request, SkippedFiles]]:
    """Return the request with its files listed, and those of folders that are no inputs.

    Standard input cannot be read again.
    """
    skipped = SkippedFiles()
    if request.inputs.named or request.inputs.part is not None:
        return request, skipped
    files = find_input_files(request.inputs, facts, without=without, skipped=skipped)
    yield from map(Note, skipped.notes())
    return replace(request, inputs=replace(request.inputs, paths=(), lists=(), files=files)), skipped


def hash_model(opening: ModelOptions) -> list[str]:
    """Return the hashes of the files of a model; weights may be several files, those of a checkpoint."""
    files = [opening.model, *([] if opening.weights is None else files_of_weights(opening.weights))]
    return [file_system.hash_file(path, ModelError) for path in files]


def check_inputs(inputs: int, failures: Sequence[ActvizError], shard: Shard) -> Iterator[Note]:
    """Raise the worst failure if no input was computed; note that a part has none.

    An empty part is no error: the job of an array that has more parts than inputs ends well, and its result merges.

    Raises
    ------
    ActvizError
        If no input could be computed.
    """
    if not inputs and failures:
        raise max(failures, key=lambda failure: failure.exit_code)
    if not inputs:
        yield Note(f"--shard {shard.number}/{shard.count}: there is no input in this part; its result is empty.")


def part_record(
    request: ModelRequest, facts: ModelFacts, failures: Sequence[ActvizError], versions: Mapping[str, str]
) -> dict[str, Any]:
    """Return what the record of every part has: see `results.part_files`."""
    names = (file.name for file in request.inputs.files) if request.inputs.files else iter(request.inputs.named)
    return {
        "actviz": VERSION,
        "model": facts.file,
        "weights_name": facts.weights,
        "configuration": facts.digest,
        "reading": request.reading.record(),
        "list": hash_list(names),
        "shards": [request.inputs.shard.number],
        "of": request.inputs.shard.count,
        "failures": sorted(failure.message for failure in failures),
        "machine": {**versions, "processor": processor_kind()},
    }
