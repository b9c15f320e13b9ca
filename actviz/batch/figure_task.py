"""One figure as PNG files in memory: without touching a file, so that any process may do it."""

from __future__ import annotations

import functools
from collections.abc import Mapping  # noqa: TC003  (read at run time by `system.serialization`)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.batch.output_paths import SHEET
from actviz.records import Activation, Context  # noqa: TC001  (read at run time by `system.serialization`)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from actviz.records import Picture, Style, Tile

MAXIMUM_TILES = 4096
# What a figure's provenance and its record in the manifest both say.
RECORDED = (
    "address", "class", "fed", "file_sha256", "input", "input_sha256", "numbers", "page", "pages", "shape", "size",
    "weights", "work",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FigureTask:
    """A figure to draw of entry `index` of the batch of `found`.

    `key` is an address, or the word for a sheet of all that was found. `about` is what its
    provenance says whatever is drawn.
    """

    key: str
    found: Mapping[str, Activation]
    index: int
    context: Context
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FigureFile:
    """A whole PNG file, and the part of its provenance that a manifest records."""

    content: bytes
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DrawnPages:
    """The files of a figure, or of each page of a sheet; ``None`` if it could not be drawn."""

    pages: list[FigureFile] | None


def plan(task: FigureTask, style: Style) -> Sequence[Callable[[], FigureFile]]:
    """Return what makes one figure, or each page of a sheet: all that can be refused has been by then.

    Raises
    ------
    ActvizError
        When it cannot be drawn, or the style means nothing for it.
    """
    return [functools.partial(_page, task, draw) for draw in pictures(task, style)]


def pictures(task: FigureTask, style: Style) -> Sequence[Callable[[], Picture]]:
    """Return what draws one figure, or each page of a sheet; see `plan`."""
    if task.key == SHEET:
        from actviz.figures.sheet import plan_pages

        return plan_pages(list(task.found.values()), task.index, task.context, style)
    from actviz.figures import renderers

    picture = renderers.draw(task.found[task.key], task.index, task.context, style)
    return [lambda: picture]


def _page(task: FigureTask, draw: Callable[[], Picture]) -> FigureFile:
    from actviz.results.png import encode_png

    picture = draw()
    provenance = _provenance(task, picture)
    content = encode_png(picture.drawn, provenance, picture.palette)
    return FigureFile(content, {name: provenance[name] for name in RECORDED if name in provenance})


def _provenance(task: FigureTask, picture: Picture) -> dict[str, Any]:
    """Return the provenance of a figure: no date, no path of this machine."""
    numbers = picture.numbers
    tiles = [_tile(tile) for tile in picture.tiles[:MAXIMUM_TILES]]
    found = {**task.about, "numbers": numbers, "tiles": tiles, "size": list(picture.size)}
    return found | {name: numbers[name] for name in ("page", "pages") if name in numbers}


def _tile(tile: Tile) -> list[Any]:
    """Return a tile as a list: channel, box, ends of its colours, state; then its place and part, if any."""
    found = [tile.channel, *tile.box, tile.low, tile.high, tile.state]
    return [*found, list(tile.indices), list(tile.part or ())] if tile.indices or tile.part else found


def record_of(provenance: Mapping[str, Any], path: Path, size: int, folder: Path | None) -> dict[str, Any]:
    """Return the record of a figure in a manifest from what stands in its file."""
    record = {name: provenance[name] for name in RECORDED if name in provenance}
    relative = path.relative_to(folder) if folder is not None else path
    return record | {"file": relative.as_posix(), "bytes": size}
