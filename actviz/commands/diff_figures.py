"""Figures of two sides in a folder: named, refused where something else stands, written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actviz.batch.events import FileWritten, Note
from actviz.errors import UsageError, escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actviz.records import Activation, Sample


@dataclass(frozen=True, slots=True)
class DiffFigureTask:
    """One figure: its file name, the names of both sides, both outputs and the input."""

    file: str
    names: tuple[str, str]
    both: tuple[Activation, Activation]
    sample: Sample


def folder_of(given: str | None, *, through_link: bool = False) -> Path | None:
    """Return the folder of the figures, once it is known that it can be written to.

    Raises
    ------
    UsageError
        When a file is named.
    OutputError
        When the folder cannot be made or written to.
    """
    from actviz.results import output_files

    if given is None:
        return None
    if Path(given).suffix.lower() in {".png", ".svg", ".pdf", ".jpg"}:
        message = f"-o {escape(given, 200)}: each layer has a figure of its own; give a folder, such as -o {escape(given[:-4], 200)}/"
        raise UsageError(message)
    folder = Path(given)
    output_files.check_folder(folder, through_link=through_link)
    output_files.prepare_folder(folder)
    return folder


def draw(folder: Path, work: DiffFigureTask, *, overwrite: bool) -> Iterator[Note | FileWritten]:
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
    identity = {"command": "diff", "a": work.names[0], "b": work.names[1], "address": ours.address}
    path = folder / work.file
    output_files.check_target(path, {"command": "diff"}, overwrite=overwrite)
    if 0 in ours.values.shape:
        yield Note(f'no figure: layer "{escape(ours.address, 80)}" is empty.')
        return
    picture = draw_side_by_side(LayerPair(ours, theirs, work.names), context)
    record = {"actviz": VERSION, **identity, "input": sample.name, "input_sha256": sample.digest, **picture.numbers}
    output_files.write_figure(path, picture.pixels, record)
    yield FileWritten(path)
