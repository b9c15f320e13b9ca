"""`layers`: the layers of a model, and the kind of figure of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actviz.addresses import select_layers_of
from actviz.errors import escape
from actviz.records import sizes_text
from actviz.worker import ModelOptions, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.records import LayerInfo, ModelFacts

NOT_COMPUTED = "not computed"
HEADINGS = ("index", "address", "class", "output shape", "parameters", "drawn as")


@dataclass(frozen=True, slots=True)
class LayersRequest:
    """The arguments of the command.

    With `operations`, operations inside the layers of a graph are listed too; with addresses in `layers`, only what
    these select.
    """

    opening: ModelOptions
    operations: bool = False
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayersResult:
    """Facts of the model, the preprocessing that would be chosen, and each layer's renderer.

    `notes` are lines for stderr.
    """

    facts: ModelFacts
    preprocessing: str
    drawn_as: tuple[str, ...]
    notes: tuple[str, ...] = ()


def list_layers(request: LayersRequest) -> LayersResult:
    """Open a model and describe it; TensorFlow is used only for what the file does not contain."""
    with Worker(request.opening) as worker:
        from actviz.inputs.preprocessing import describe_ranges

        facts = worker.facts()
        if any(layer.shape is None or layer.parameters is None for layer in facts.layers if not layer.inner):
            facts = worker.complete()
        worker.stop()
        notes = tuple(worker.notes())
        if request.layers:
            chosen = select_layers_of(replace(facts, refusals={}), request.layers, str(request.opening.model))
            refusals = {layer.address: reason for layer in chosen if (reason := facts.refusals.get(layer.address))}
            facts = replace(facts, layers=tuple(chosen), listed=(), refusals=refusals, removed_layers={})
        elif not request.operations:
            facts = replace(facts, layers=_outer(facts.layers), listed=_outer(facts.listed))
        preprocessing = describe_ranges(facts) if takes_images(facts) else ""
    return LayersResult(facts, preprocessing, drawn_as(facts), notes)


def drawn_as(facts: ModelFacts) -> tuple[str, ...]:
    """Return the name of the renderer of every layer, ``-`` if there is none, `NOT_COMPUTED` for refused layers."""
    from actviz.figures.renderers import kind_of_layer

    return tuple(
        NOT_COMPUTED if layer.address in facts.refusals else kind_of_layer(layer) or "-" for layer in facts.every_layer
    )


def layer_row(layer: LayerInfo, drawn: str) -> tuple[str, ...]:
    """Return the cells of a layer below `HEADINGS`."""
    return (
        "" if layer.index is None else str(layer.index),
        layer.address,
        escape(layer.kind, 80),
        sizes_text(layer.shape),
        "" if layer.parameters is None else f"{layer.parameters:,}",
        drawn,
    )


def _outer(layers: Sequence[LayerInfo]) -> tuple[LayerInfo, ...]:
    """Return the layers without the operations inside them."""
    return tuple(layer for layer in layers if not layer.inner)


def takes_images(facts: ModelFacts) -> bool:
    """Return True if an input of the model can be an image."""
    return any(len(spec.shape) == 4 and {1, 3} & set(spec.shape[1:]) for spec in facts.inputs)  # noqa: PLR2004


def record_of(result: LayersResult) -> dict[str, Any]:
    """Return the result as values for JSON."""
    facts = result.facts
    return {
        "file": facts.file,
        "format": facts.format,
        "written_by": facts.writer,
        "preprocessing": result.preprocessing or None,
        "code": list(facts.code),
        "inputs": [
            {
                "name": spec.name,
                "shape": list(spec.shape),
                "dtype": spec.dtype,
                "axes": list(spec.axes),
                "limit": spec.limit,
            }
            for spec in facts.inputs
        ],
        "signatures": [
            {
                "name": signature.name,
                "inputs": list(signature.inputs),
                "outputs": list(signature.outputs),
                "selected": signature.selected,
            }
            for signature in facts.signatures
        ],
        "gone": dict(facts.removed_layers),
        "layers": [
            layer_record(layer, drawn)
            | ({"refused": facts.refusals[layer.address][1]} if drawn == NOT_COMPUTED else {})
            for layer, drawn in zip(facts.every_layer, result.drawn_as, strict=True)
        ],
    }


def layer_record(layer: LayerInfo, drawn: str) -> dict[str, Any]:
    """Return a layer as values for JSON."""
    return {
        "index": layer.index,
        "address": layer.address,
        "name": layer.name,
        "class": layer.kind,
        "shape": None if layer.shape is None else list(layer.shape),
        "axes": list(layer.axes),
        "dtype": layer.dtype,
        "parameters": layer.parameters,
        "activation": layer.activation,
        "drawn_as": None if drawn in {"-", NOT_COMPUTED} else drawn,
    }
