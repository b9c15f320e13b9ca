"""Figures of two sides: one file, or a folder with a file for each layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actviz.batch import output_paths
from actviz.batch.events import FileWritten, Note
from actviz.batch.vector_figure import write_picture
from actviz.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actviz.records import Activation, Sample


@dataclass(frozen=True, slots=True)
class DiffFigureTask:
    """One figure: its path, the names of both sides, both outputs and the input."""

    path: Path
    names: tuple[str, str]
    both: tuple[Activation, Activation]
    sample: Sample


def identity_of(names: tuple[str, str]) -> dict[str, str]:
    """Return the provenance of a comparison; a file with it is replaced."""
    return {"command": "diff", "a": names[0], "b": names[1]}


def file_of(given: str | None, figures: int, names: tuple[str, str], *, overwrite: bool) -> Path | None:
    """Return the file that ``-o`` names after checking that it may be written, None where it names a folder.

    Raises
    ------
    UsageError
        If it is for several figures.
    OutputError
        If it may not be written.
    """
    from actviz.results import output_files

    file = output_paths.single_file(given, max(1, figures))
    if file is not None:
        output_files.check_output(file, identity_of(names), overwrite=overwrite)
    return file


def folder_of(given: str | None, *, through_link: bool = False) -> Path | None:
    """Return the folder of the figures, once it is known that it can be written to.

    Raises
    ------
    UsageError
        If a file of another format is named.
    OutputError
        When the folder cannot be made or written to.
    """
    from actviz.results import output_files

    if given is None:
        return None
    if Path(given).suffix.lower() in output_paths.OTHER_FORMATS:
        raise output_paths.other_format(given)
    folder = Path(given)
    output_files.check_folder(folder, through_link=through_link)
    output_files.prepare_folder(folder)
    return folder


def draw(work: DiffFigureTask, *, overwrite: bool) -> Iterator[Note | FileWritten]:
    """Draw and write one figure.

    Raises
    ------
    OutputError
        When something else stands there.
    """
    from actviz.figures.side_by_side import LayerPair, draw_side_by_side
    from actviz.records import Context
    from actviz.results import output_files
    from actviz.version import VERSION

    ours, theirs = work.both
    sample = work.sample
    context = Context(" and ".join(work.names), sample.name, sample.fed, sample.thumbnail)
    output_files.check_target(work.path, {"command": "diff"}, overwrite=overwrite)
    if 0 in ours.values.shape:
        yield Note(f'no figure: layer "{escape(ours.address, 80)}" is empty.')
        return
    picture = draw_side_by_side(LayerPair(ours, theirs, work.names), context)
    record = {
        "actviz": VERSION,
        **identity_of(work.names),
        "address": ours.address,
        "input": sample.name,
        "input_sha256": sample.digest,
        **picture.numbers,
    }
    write_picture(work.path, picture, record)
    yield FileWritten(work.path)
