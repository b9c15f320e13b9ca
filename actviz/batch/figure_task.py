"""Drawing of one figure as PNG files in memory, without access to files, so that any process can do it."""

from __future__ import annotations

import functools
from collections.abc import Mapping  # noqa: TC003  (read at run time by `system.serialization`)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.batch.output_paths import SHEET
from actviz.records import Activation, Context, HeatMap  # noqa: TC001  (read at run time by `system.serialization`)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from actviz.records import Picture, Style, Tile

MAXIMUM_TILES = 4096
# Fields that the provenance of a figure and its record in the manifest share.
RECORDED = (
    "address", "class", "fed", "file_sha256", "input", "input_sha256", "numbers", "page", "pages", "shape", "size",
    "weights", "work",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FigureTask:
    """A figure of entry `index` of the batch of `activations`.

    `key` is an address, or `SHEET` for a sheet of all activations. `about` are the fields of the provenance
    that do not depend on the picture. With `heat_maps`, these are drawn.
    """

    key: str
    activations: Mapping[str, Activation]
    index: int
    context: Context
    about: Mapping[str, Any]
    heat_maps: tuple[HeatMap, ...] = ()


@dataclass(frozen=True, slots=True)
class FigureFile:
    """A complete PNG file, and the part of its provenance that the manifest records."""

    content: bytes
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DrawnPages:
    """The files of a figure, one for each page; ``None`` if it could not be drawn."""

    pages: list[FigureFile] | None


def plan(task: FigureTask, style: Style) -> Sequence[Callable[[], FigureFile]]:
    """Return a function for each page of a figure that draws and encodes it; errors of the user are raised here.

    Raises
    ------
    ActvizError
        If it cannot be drawn, or the style is invalid for it.
    """
    return [functools.partial(_page, task, draw, style) for draw in pictures(task, style)]


def pictures(task: FigureTask, style: Style) -> Sequence[Callable[[], Picture]]:
    """Return a function for each page of a figure that draws it; see `plan`."""
    if task.heat_maps:
        from actviz.figures.heat_map_figure import draw_heat_maps

        figure = draw_heat_maps(task.heat_maps, task.context, style)
        return [lambda: figure]
    if task.key == SHEET:
        from actviz.figures.sheet import plan_pages

        return plan_pages(list(task.activations.values()), task.index, task.context, style)
    from actviz.figures import renderers

    picture = renderers.draw(task.activations[task.key], task.index, task.context, style)
    return [lambda: picture]


def _page(task: FigureTask, draw: Callable[[], Picture], style: Style) -> FigureFile:
    from actviz.results.png import encode_png

    picture = draw()
    provenance = _provenance(task, picture)
    if style.vector:
        from actviz.batch.vector_figure import encode_vector

        content = encode_vector(picture, style.vector, provenance)
    else:
        content = encode_png(picture.drawn, provenance, picture.palette, style.dpi)
    return FigureFile(content, {name: provenance[name] for name in RECORDED if name in provenance})


def _provenance(task: FigureTask, picture: Picture) -> dict[str, Any]:
    """Return the provenance of a figure, without dates and paths, so that reruns give the same bytes."""
    numbers = picture.numbers
    tiles = [_tile(tile) for tile in picture.tiles[:MAXIMUM_TILES]]
    provenance = {**task.about, "numbers": numbers, "tiles": tiles, "size": list(picture.size)}
    return provenance | {name: numbers[name] for name in ("page", "pages") if name in numbers}


def _tile(tile: Tile) -> list[Any]:
    """Return a tile as a list: channel, box, color limits, state; then its indices and part, if any."""
    fields = [tile.channel, *tile.box, tile.low, tile.high, tile.state]
    return [*fields, list(tile.indices), list(tile.part or ())] if tile.indices or tile.part else fields


def record_of(provenance: Mapping[str, Any], path: Path, size: int, folder: Path | None) -> dict[str, Any]:
    """Return the record of a figure in the manifest from the provenance in its file."""
    record = {name: provenance[name] for name in RECORDED if name in provenance}
    relative = path.relative_to(folder) if folder is not None else path
    return record | {"file": relative.as_posix(), "bytes": size}
