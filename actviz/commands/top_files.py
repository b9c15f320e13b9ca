"""The files of `top`: figures, the HTML page and the result file."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from actviz.batch.events import FileWritten
from actviz.batch.vector_figure import write_picture
from actviz.commands import top_result
from actviz.errors import OutputError, UsageError, escape
from actviz.figures import strongest_page
from actviz.inputs.arrays import read_archive
from actviz.report import html_page, top_page
from actviz.results import output_files, part_files
from actviz.system import file_system, file_writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.batch.strongest_runner import StrongestSoFar
    from actviz.commands.top_result import LayerResult
    from actviz.figures.strongest_page import StrongestPage, StrongestTile
    from actviz.records import LayerInfo, Sample

RESULT, CROPS = "top.npz", "crops.npz"
FIGURE, PAGE, FOLDER = "figure", "page", "folder"
FORMS = {".png": FIGURE, ".svg": FIGURE, ".pdf": FIGURE, ".html": PAGE, ".htm": PAGE}
NOT_WRITTEN = frozenset({".jpg", ".jpeg", ".gif", ".webp", ".npz", ".json"})
LARGEST_RESULT = 1 << 30
HEAD_BYTES = 64 << 10
NOT_IN_FIGURES = frozenset({"layers", "addresses", "classes", "weights", "reader", "files", "named"})

Rank = tuple[str, int, int, int]
"""The address of a layer, an extreme (its index), a channel and a rank."""


@dataclass(frozen=True, slots=True)
class TopTarget:
    """Where results are written: `form` is `FIGURE`, `PAGE` or `FOLDER`."""

    path: Path
    form: str

    @property
    def folder(self) -> Path:
        """The folder of all files."""
        return self.path if self.form == FOLDER else self.path.parent

    def figure(self, address: str) -> Path:
        """Return the file of the figure of a layer."""
        return self.path if self.form == FIGURE else self.path / f"{output_files.slug(unquote(address))}.png"


Wanted = dict[int, list[tuple["LayerResult", Rank, "top_result.Winner"]]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How results are drawn: on a dark page, and which channels, those `chosen` by the user or the first ones."""

    dark: bool = False
    chosen: bool = False


@dataclass(slots=True)
class Crops:
    """The tiles of inputs that were read again, and, for a page, whole inputs by key.

    `wanted` are the ranks for which an input is still to be cut, by its number; `by_digest` the tiles by the key of
    `write_crops`.
    """

    wanted: Wanted
    tiles: dict[Rank, StrongestTile] = field(default_factory=dict)
    by_digest: dict[str, StrongestTile] = field(default_factory=dict)
    wholes: dict[str, top_page.WholeInput] | None = None

    @classmethod
    def of(cls, results: Sequence[LayerResult], drawing: Drawing, form: str) -> Crops:
        """Return what is to be cut for some layers."""
        wanted: Wanted = defaultdict(list)
        for result in results:
            for channel in result.drawn(chosen=drawing.chosen):
                for extreme in range(len(result.tally.options.extremes)):
                    for rank, winner in enumerate(result.winners(extreme, channel)):
                        wanted[winner.number].append((result, (result.layer.address, extreme, channel, rank), winner))
        return cls(wanted, wholes={} if form == PAGE else None)

    def add(self, rank: Rank, winner: top_result.Winner, sample: Sample, result: LayerResult) -> None:
        """Cut an input for one rank."""
        large: dict[str, NDArray[np.uint8]] | None = None if self.wholes is None else {}
        tile = top_result.tile_of(winner, sample, result.described, large)
        self.tiles[rank] = self.by_digest[_crop_key(rank, winner.digest)] = tile
        for key, picture in (large or {}).items():
            if self.wholes is not None and key not in self.wholes:
                self.wholes[key] = top_page.whole_input(picture)


def target_of(output: str | None, *, through_link: bool) -> TopTarget | None:
    """Return what ``-o`` names after creating its folder, ``None`` without it."""
    if output is None:
        return None
    path = Path(output)
    suffix = "" if output.endswith("/") else path.suffix.lower()
    if suffix in NOT_WRITTEN:
        message = f"-o {escape(output, 200)}: the strongest inputs are drawn as PNG, SVG, PDF or HTML; give a name that ends in .png, .svg, .pdf or .html, or a folder, such as -o {escape(path.stem, 200)}/"
        raise UsageError(message)
    target = TopTarget(path, FORMS.get(suffix, FOLDER))
    if target.form == FOLDER:
        output_files.check_folder(path, through_link=through_link)
    output_files.prepare_folder(target.folder)
    return target


def check(target: TopTarget, model: str, layers: Sequence[LayerInfo], *, overwrite: bool) -> None:
    """Check before inference that each file may be written.

    Raises
    ------
    UsageError
        If several layers are to be in one figure.
    OutputError
        If another file is in the way.
    """
    identity = {"command": "top", "model": model}
    if target.form == PAGE:
        kind = output_files.ResultKind("page", _identity_of_page)
        output_files.check_replaceable(target.path, identity, kind, overwrite=overwrite)
        return
    if target.form == FIGURE and len(layers) > 1:
        name = escape(target.path.stem, 200)
        message = f"-o {escape(str(target.path), 200)}: {len(layers):,} layers do not fit into one figure; give a page or a folder, such as -o {name}.html or -o {name}/"
        raise UsageError(message)
    for layer in layers:
        figure = identity | {"address": layer.address}
        output_files.check_target(target.figure(layer.address), figure, overwrite=overwrite)
    if target.form == FOLDER:
        kind = output_files.ResultKind("result of top", part_files.identity_in)
        output_files.check_replaceable(target.path / RESULT, identity, kind, overwrite=overwrite)


def write(
    target: TopTarget, results: Sequence[LayerResult], record: Mapping[str, Any], crops: Crops, drawing: Drawing
) -> Iterator[FileWritten]:
    """Write a figure for each layer and the result file, or the page."""
    model = str(record["model"])
    pages = {result.layer.address: _page(result, drawing, crops, model) for result in results}
    about = {key: value for key, value in record.items() if key not in NOT_IN_FIGURES}
    if target.form == PAGE:
        about["layers"] = list(pages)
        wholes = crops.wholes or {}
        file_writing.write_file(target.path, top_page.render(list(pages.values()), wholes, about, model))
        yield FileWritten(target.path)
        return
    for address, page in pages.items():
        drawn = {"address": address, "channels": list(dict.fromkeys(row.channel for row in page.rows))}
        path = target.figure(address)
        write_picture(path, strongest_page.draw_strongest(page, dark=drawing.dark), about | drawn)
        yield FileWritten(path)
    if target.form == FOLDER:
        yield write_state(target.path / RESULT, results[0].tally, record)


def write_state(path: Path, tally: StrongestSoFar, record: Mapping[str, Any]) -> FileWritten:
    """Write the result file: the state of the reducer, and the record of the run as JSON."""
    part_files.write_part(path, record, tally.reducer.state())
    return FileWritten(path)


def write_crops(path: Path, crops: Crops) -> FileWritten:
    """Write the crops of a part, uint8 ``(row, column, RGB)``, by extreme, channel, digest and address."""
    content = io.BytesIO()
    arrays: dict[str, Any] = {
        key: tile.picture for key, tile in sorted(crops.by_digest.items()) if tile.picture is not None
    }
    np.savez_compressed(content, allow_pickle=False, **arrays)
    file_writing.write_file(path, content.getvalue())
    return FileWritten(path)


def read_crops(folders: Sequence[Path], crops: Crops) -> None:
    """Add the crops that parts wrote to `crops`, and take their inputs out of `crops.wanted`."""
    for folder in folders:
        path = folder / CROPS
        if not file_system.exists(path):
            continue
        pictures = read_archive(file_system.read_bytes(path, LARGEST_RESULT), None, str(path))
        for number, ranks in list(crops.wanted.items()):
            left = []
            for result, rank, winner in ranks:
                picture = pictures.get(_crop_key(rank, winner.digest))
                if picture is None or picture.dtype != np.uint8 or picture.ndim != 3:  # noqa: PLR2004  (row, column, RGB)
                    left.append((result, rank, winner))
                else:
                    crops.tiles[rank] = replace(top_result.tile_of(winner, None, result.described), picture=picture)
            crops.wanted[number] = left
        crops.wanted = {number: ranks for number, ranks in crops.wanted.items() if ranks}


def _crop_key(rank: Rank, digest: str) -> str:
    return f"{rank[1]} {rank[2]} {digest} {rank[0]}"


def _page(result: LayerResult, drawing: Drawing, crops: Crops, model: str) -> StrongestPage:
    address = result.layer.address
    tiles = {rank[1:]: tile for rank, tile in crops.tiles.items() if rank[0] == address}
    missing = any(rank[0] == address for ranks in crops.wanted.values() for _, rank, _ in ranks)
    return top_result.page_of(result, result.drawn(chosen=drawing.chosen), tiles, model, missing=missing)


def _identity_of_page(path: Path) -> dict[str, Any] | None:
    with file_system.reading(path, OutputError) as (file, _):
        return html_page.read_provenance(file.read(HEAD_BYTES))
