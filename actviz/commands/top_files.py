"""The files of `top`: figures, the HTML page and the result file."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from actviz.batch.events import FileWritten, Note
from actviz.batch.strongest_runner import identity_of
from actviz.commands import top_classes, top_result
from actviz.errors import ActvizError, OutputError, UsageError, escape
from actviz.figures import strongest_page, text
from actviz.inputs import iterate_samples
from actviz.inputs.arrays import read_archive
from actviz.report import html_page, top_page
from actviz.results import output_files
from actviz.results.provenance_json import dump_json
from actviz.system import file_system, file_writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.batch.strongest_runner import StrongestSoFar
    from actviz.commands.top_request import TopRequest
    from actviz.commands.top_result import LayerResult
    from actviz.figures.strongest_page import StrongestPage, StrongestTile
    from actviz.records import LayerInfo, ModelFacts, Sample

RESULT = "top.npz"
FIGURE, PAGE, FOLDER = "figure", "page", "folder"
FORMS = {".png": FIGURE, ".html": PAGE, ".htm": PAGE}
NOT_WRITTEN = frozenset({".jpg", ".jpeg", ".svg", ".pdf", ".npz", ".json"})
LARGEST_RESULT = 1 << 30
HEAD_BYTES = 64 << 10

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


@dataclass(slots=True)
class _Crops:
    """The tiles of inputs that were read again, and, for a page, whole inputs by key."""

    tiles: dict[Rank, StrongestTile] = field(default_factory=dict)
    wholes: dict[str, top_page.WholeInput] | None = None

    def add(self, rank: Rank, winner: top_result.Winner, sample: Sample, result: LayerResult) -> None:
        """Cut an input for one rank."""
        large: dict[str, NDArray[np.uint8]] | None = None if self.wholes is None else {}
        self.tiles[rank] = top_result.tile_of(winner, sample, result.described, large)
        for key, picture in (large or {}).items():
            if self.wholes is not None and key not in self.wholes:
                self.wholes[key] = top_page.whole_input(picture)


def target_of(request: TopRequest) -> TopTarget | None:
    """Return what ``-o`` names after creating its folder, ``None`` without it."""
    if request.output is None:
        return None
    path = Path(request.output)
    suffix = "" if request.output.endswith("/") else path.suffix.lower()
    if suffix in NOT_WRITTEN:
        message = f"-o {escape(request.output, 200)}: the strongest inputs are drawn as PNG or HTML; give a name that ends in .png or .html, or a folder, such as -o {escape(path.stem, 200)}/"
        raise UsageError(message)
    target = TopTarget(path, FORMS.get(suffix, FOLDER))
    if target.form == FOLDER:
        output_files.check_folder(path, through_link=request.through_link)
    output_files.prepare_folder(target.folder)
    return target


def check(request: TopRequest, target: TopTarget, layers: Sequence[LayerInfo]) -> None:
    """Check before inference that each file may be written.

    Raises
    ------
    UsageError
        If several layers are to be in one figure.
    OutputError
        If another file is in the way.
    """
    identity = {"command": "top", "model": request.model.name}
    if target.form == PAGE:
        kind = output_files.ResultKind("page", _identity_of_page)
        output_files.check_replaceable(target.path, identity, kind, overwrite=request.overwrite)
        return
    if target.form == FIGURE and len(layers) > 1:
        name = escape(target.path.stem, 200)
        message = f"-o {escape(str(target.path), 200)}: {len(layers):,} layers do not fit into one figure; give a page or a folder, such as -o {name}.html or -o {name}/"
        raise UsageError(message)
    for layer in layers:
        figure = identity | {"address": layer.address}
        output_files.check_target(target.figure(layer.address), figure, overwrite=request.overwrite)
    if target.form == FOLDER:
        kind = output_files.ResultKind("result of top", _identity_in)
        output_files.check_replaceable(target.path / RESULT, identity, kind, overwrite=request.overwrite)


def write(
    request: TopRequest,
    target: TopTarget,
    results: Sequence[LayerResult],
    facts: ModelFacts,
    record: Mapping[str, Any],
) -> Iterator[Note | FileWritten]:
    """Read the strongest inputs again; write a figure for each layer and the result file, or the page."""
    crops = _Crops(wholes={} if target.form == PAGE else None)
    wanted = _wanted(results, chosen=request.channels is not None)
    yield from _read_again(request, facts, results, wanted, crops)
    pages = {result.layer.address: _page(result, request, crops, wanted, facts.file) for result in results}
    if crops.wholes is not None:
        about = {**record, "layers": list(pages)}
        file_writing.write_file(target.path, top_page.render(list(pages.values()), crops.wholes, about, facts.file))
        yield FileWritten(target.path)
        return
    for address, page in pages.items():
        about = {**record, "address": address, "channels": list(dict.fromkeys(row.channel for row in page.rows))}
        path = target.figure(address)
        output_files.write_figure(path, strongest_page.draw_strongest(page, dark=request.dark).pixels, about)
        yield FileWritten(path)
    if target.form == FOLDER:
        yield _write_state(target.path / RESULT, results[0].tally, record)


Wanted = dict[tuple[str, str], list[tuple["LayerResult", Rank]]]
"""The ranks for which an input is to be cut, by its name and digest."""


def _wanted(results: Sequence[LayerResult], *, chosen: bool) -> Wanted:
    wanted: Wanted = defaultdict(list)
    for result in results:
        for channel in result.drawn(chosen=chosen):
            for extreme in range(len(result.tally.options.extremes)):
                for rank, winner in enumerate(result.winners(extreme, channel)):
                    wanted[winner.name, winner.digest].append((result, (result.layer.address, extreme, channel, rank)))
    return wanted


def _page(result: LayerResult, request: TopRequest, crops: _Crops, wanted: Wanted, model: str) -> StrongestPage:
    address = result.layer.address
    tiles = {rank[1:]: tile for rank, tile in crops.tiles.items() if rank[0] == address}
    missing = any(rank[0] == address for ranks in wanted.values() for _, rank in ranks)
    channels = result.drawn(chosen=request.channels is not None)
    return top_result.page_of(result, channels, tiles, model, missing=missing)


def _read_again(
    request: TopRequest, facts: ModelFacts, results: Sequence[LayerResult], wanted: Wanted, crops: _Crops
) -> Iterator[Note]:
    """Add the tiles of the inputs `wanted` to `crops`, and take the inputs out of `wanted`.

    Each input is cut when it is decoded, so that no whole pictures are kept, but reduced ones for a page.
    """
    names = {name for name, _ in wanted}
    kept = tuple(file for file in request.inputs.files if top_classes.is_named(file.name, names))
    given = replace(request.inputs, files=kept)
    try:
        for samples in iterate_samples(given, facts, [result.layer for result in results], request.reading):
            if isinstance(samples, ActvizError):
                continue
            for sample in samples:
                for result, rank in wanted.pop((sample.name, identity_of(sample).digest), ()):
                    winner = list(result.winners(rank[1], rank[2]))[rank[3]]
                    crops.add(rank, winner, sample, result)
    except ActvizError as failure:
        yield Note(failure.message)
    if wanted:
        name, count = next(iter(wanted))[0], text.plural(len(wanted), "input")
        shown = f"{count} is shown without its picture" if len(wanted) == 1 else f"{count} are shown without pictures"
        yield Note(f"{escape(name, 80)}: changed or removed since it was computed; {shown}.")


def _write_state(path: Path, tally: StrongestSoFar, record: Mapping[str, Any]) -> FileWritten:
    """Write the result file: the state of the reducer, and the record of the run as JSON."""
    about = {**record, "extremes": list(tally.options.extremes)}
    about["axes"] = {
        layer.address: list(tally.described[layer.address].axes)
        for layer in tally.layers
        if layer.address in tally.reducer.layers
    }
    # The worker's threads return layers in any order.
    arrays: dict[str, Any] = dict(sorted(tally.reducer.state().items()))
    arrays["actviz"] = np.frombuffer(dump_json(about), np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    file_writing.write_file(path, content.getvalue())
    return FileWritten(path)


def _identity_in(path: Path) -> Mapping[str, Any] | None:
    """Return the record in a result file, ``None`` if this command did not write it."""
    try:
        content = file_system.read_bytes(path, LARGEST_RESULT, OutputError)
        record = json.loads(read_archive(content, ("actviz",), str(path))["actviz"].tobytes())
    except (ActvizError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _identity_of_page(path: Path) -> dict[str, Any] | None:
    with file_system.reading(path, OutputError) as (file, _):
        return html_page.read_provenance(file.read(HEAD_BYTES))
