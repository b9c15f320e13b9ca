"""`filters`: figures of the weights of layers, read from the file without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from actviz.batch.events import FileWritten, Note
from actviz.errors import UsageError, escape
from actviz.records import Context, Style
from actviz.worker import ModelOptions, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actviz.records import Kernel, LayerInfo, ModelFacts

NAMED = 5
RGB = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FiltersRequest:
    """The arguments of the command; `layers` are addresses (empty: the first layer with weights to draw)."""

    opening: ModelOptions
    layers: tuple[str, ...] = ()
    output: str | None = None
    channels: str | None = None
    top: int | None = None
    zoom: int | None = None
    dark: bool = False
    overwrite: bool = False
    through_link: bool = False


def filters(request: FiltersRequest) -> Iterator[Note | FileWritten]:
    """Draw the kernels of the chosen layers, one figure each; yield events.

    Raises
    ------
    ActvizError
        If a layer has no weights that can be drawn, or a figure cannot be written.
    """
    with Worker(request.opening) as worker:
        # Imported while the worker opens the file, which takes longer.
        from actviz.batch import output_paths, vector_figure  # noqa: F401
        from actviz.figures import filters_figure  # noqa: F401
        from actviz.results import output_files  # noqa: F401

        facts = worker.facts()
        chosen = dict(_chosen(request, facts, worker))
        worker.stop()
        for note in worker.notes():
            yield Note(note)
    paths = _paths(request, facts, chosen)
    for address, (layer, kernels) in chosen.items():
        for number, kernel in enumerate(kernels):
            yield _draw(request, facts, layer, kernel, paths[address][number])


def _chosen(
    request: FiltersRequest, facts: ModelFacts, worker: Worker
) -> Iterator[tuple[str, tuple[LayerInfo, tuple[Kernel, ...]]]]:
    """Yield the layers to draw with their kernels, by address.

    Raises
    ------
    UsageError
        If a layer that is named has no kernels, or no layer has any.
    """
    from actviz.addresses import select_layers_of

    layers = select_layers_of(facts, request.layers, str(request.opening.model)) if request.layers else facts.layers
    found = False
    for layer in layers:
        kernels = worker.kernels(layer.address) if layer.parameters != 0 else ()
        if kernels:
            yield layer.address, (layer, kernels)
        elif layer.address in request.layers:
            raise _without_kernels(facts, layer, worker)
        found = found or bool(kernels)
        if found and not request.layers:
            return
    if request.layers and not found:
        raise _without_kernels(facts, layers[0], worker)
    if not found:
        message = f"{facts.file}: no layer has weights that can be drawn: convolutions, dense layers and embeddings have; list the layers with: actviz layers {escape(str(request.opening.model), 100)}"
        raise UsageError(message)


def _without_kernels(facts: ModelFacts, layer: LayerInfo, worker: Worker) -> UsageError:
    weighted = (other for other in facts.layers if other.parameters != 0 and not other.inner)
    named: list[str] = []
    for other in weighted:
        if len(named) < NAMED and worker.kernels(other.address):
            named.append(escape(other.address, 60))
    hint = f"choose {' or '.join([', '.join(named[:-1])] * (len(named) > 1) + named[-1:])}" if named else "no layer has"
    message = f'layer "{escape(layer.address, 80)}" ({escape(layer.kind, 60)}) has no kernel or table to draw; {hint}.'
    return UsageError(message)


def _paths(
    request: FiltersRequest, facts: ModelFacts, chosen: dict[str, tuple[LayerInfo, tuple[Kernel, ...]]]
) -> dict[str, list[Path]]:
    """Return the path of each figure, after checking that it may be written.

    Raises
    ------
    UsageError
        If several figures would go into one file.
    OutputError
        If a path may not be written.
    """
    from actviz.batch import output_paths
    from actviz.results import output_files

    given = request.output
    file = output_paths.single_file(given, sum(len(kernels) for _, kernels in chosen.values()))
    folder = Path() if given is None or file else Path(given)
    if given is not None and not file:
        if folder.suffix:
            raise output_paths.other_format(given)
        output_files.check_folder(folder, through_link=request.through_link)
    stem, taken = output_files.slug(Path(facts.file).stem), output_files.UniquePaths()
    paths: dict[str, list[Path]] = {}
    for address, (_, kernels) in chosen.items():
        for number in range(len(kernels)):
            parts = [stem, output_files.slug(unquote(address)), "filters" if number == 0 else f"filters{number + 1}"]
            default = taken.take(folder / f"{output_files.joined(parts)}.png", address)
            path = file or default
            output_files.check_output(path, _identity(facts, address), overwrite=request.overwrite)
            paths.setdefault(address, []).append(path)
    return paths


def _identity(facts: ModelFacts, address: str) -> dict[str, str]:
    return {"command": "filters", "model": facts.file, "address": address}


def _draw(request: FiltersRequest, facts: ModelFacts, layer: LayerInfo, kernel: Kernel, path: Path) -> FileWritten:
    from actviz.batch.vector_figure import write_picture
    from actviz.figures.filters_figure import draw_filters
    from actviz.version import VERSION

    style = Style(channels=request.channels, top=request.top, zoom=request.zoom, dark=request.dark)
    context = Context(facts.file, "", "")
    picture = draw_filters(kernel, layer, context, style, from_image=_reads_color(facts, layer))
    record: dict[str, Any] = {
        "actviz": VERSION,
        **_identity(facts, layer.address),
        "class": layer.kind,
        "axes": list(kernel.axes),
        **picture.numbers,
        "shape": list(kernel.values.shape),
    }
    write_picture(path, picture, record)
    return FileWritten(path, {**record, "file": str(path)})


def _reads_color(facts: ModelFacts, layer: LayerInfo) -> bool:
    """Return True if a layer is the first convolution of a model with a color image as input."""
    images = [spec for spec in facts.inputs if len(spec.shape) == 4 and RGB in spec.shape[1:]]  # noqa: PLR2004
    weighted = [other.address for other in facts.layers if other.parameters and "Conv" in other.kind]
    return bool(images) and weighted[:1] == [layer.address]
