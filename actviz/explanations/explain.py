"""Resolve what is to be explained, and compute the maps of one method."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.addresses import select_layers_of
from actviz.errors import UsageError, escape
from actviz.explanations.method import Explanation, ScoreFunction
from actviz.explanations.method_table import METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.records import LayerInfo, ModelFacts, TensorSpec

TOP = "top"
PLACES = frozenset({"row", "column", "plane", "step"})
MAX_RANK = 2


@dataclass(frozen=True, slots=True)
class Target:
    """What is explained: a unit of a layer (``address`` empty: the output), or the highest one (`unit` ``None``)."""

    address: str = ""
    unit: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ExplanationMaps:
    """Raw maps of one method: ``np.asarray`` gives float32 ``(batch, row, column)``, at the places of the layer or input.

    Attributes
    ----------
    values
        The maps.
    method
        The name of the method.
    layer
        The address of the layer, or of the input, at whose places the maps are.
    target
        The address of the layer of the scores.
    units
        The explained unit of each input.
    scores
        The values of all units before a final softmax or sigmoid, ``(batch, unit)``.
    outputs
        The same after it.
    stripped
        The function that was left out of the scores (``""``: none).
    """

    values: NDArray[Any]
    method: str
    layer: str
    target: str
    units: tuple[int, ...]
    scores: NDArray[Any]
    outputs: NDArray[Any]
    stripped: str = ""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 (NumPy's)
        """Return the maps."""
        return np.array(self.values, dtype) if copy else np.asarray(self.values, dtype)

    def __repr__(self) -> str:
        """Return method, target and shape."""
        units = ", ".join(map(str, self.units[:5])) + (", ..." if len(self.units) > 5 else "")  # noqa: PLR2004
        return f"<{self.method} at {self.layer} of {self.target}:{units}, {self.values.shape}>"


def parse_target(text: str | int, facts: ModelFacts, file: str, labels: Sequence[str] = ()) -> Target:
    """Parse ``top``, a class by number or by its name in `labels`, or ``LAYER:CHANNEL``.

    Raises
    ------
    UsageError
        When there is no such class or layer; the message has similar names.
    """
    text = str(text)
    if text == TOP:
        return Target()
    if text in labels:
        return Target(unit=list(labels).index(text))
    if re.fullmatch(r"\d{1,9}", text):
        return Target(unit=int(text))
    address, colon, channel = text.rpartition(":")
    if colon and re.fullmatch(r"\d{1,9}", channel):
        found = select_layers_of(facts, [address], file)
        if len(found) > 1:
            message = f'"{escape(text, 80)}" names {len(found)} layers; give the address of one.'
            raise UsageError(message)
        return Target(found[0].address, int(channel))
    near = difflib.get_close_matches(text, labels, 3, 0.5)
    hint = f"did you mean {', '.join(escape(name, 40) for name in near)}?" if near else ""
    message = f'there is no class "{escape(text, 80)}"; {hint or "give its number, its name with labels, LAYER:CHANNEL, or top."}'
    raise UsageError(message)


def last_layer_with_places(facts: ModelFacts) -> LayerInfo:
    """Return the last layer that still has places, such as rows and columns.

    Raises
    ------
    UsageError
        When there is none.
    """
    for layer in reversed(facts.layers):
        scores = layer.address.endswith("@scores") or layer.kind == "InputLayer" or layer.inner
        if not scores and PLACES & set(layer.axes) and {"channel", "unit"} & set(layer.axes):
            return layer
    message = f"{facts.file}: no layer of this model has places such as rows and columns; give a method on the input, such as occlusion or saliency."
    raise UsageError(message)


def explain(  # noqa: PLR0913  (what is explained, and how)
    score: ScoreFunction,
    facts: ModelFacts,
    batch: Mapping[str, NDArray[Any]],
    target: Target,
    method: str,
    layer: str = "",
) -> ExplanationMaps:
    """Compute the maps of a method for a batch.

    `layer` is an address (``""``: the last one with places); methods on the input need none.

    Raises
    ------
    UsageError
        When the method, the unit or a place to draw on does not exist, or there is no gradient.
    """
    if method not in METHODS:
        near = difflib.get_close_matches(method, METHODS, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(METHODS)}."
        raise UsageError(f'there is no method "{escape(method, 60)}"; {hint}')
    entry, spec = METHODS[method], _explained_input(facts, batch)
    at = layer or (last_layer_with_places(facts).address if entry.on_layer else "")
    if entry.on_layer and not PLACES & set(next(item.axes for item in facts.layers if item.address == at)):
        message = (
            f'layer "{escape(at, 80)}" has no places such as rows and columns to draw a map on; choose another layer.'
        )
        raise UsageError(message)
    given = next((item.address for item in facts.layers if item.kind == "InputLayer" and item.name == spec.name), "")
    first = score(batch, target.address)
    _check_scores(facts, first.address, target)
    count = first.scores.shape[1]
    if target.unit is not None and target.unit >= count:
        message = f'"{escape(first.address, 80)}" has no class or channel {target.unit}; it has {count:,}, 0 to {count - 1:,}.'
        raise UsageError(message)
    units = [target.unit] * len(first.scores) if target.unit is not None else first.scores.argmax(axis=1).tolist()
    question = Explanation(score, batch, target.address, tuple(units), at, (spec.name, given, spec.axes))
    maps = entry.compute(question)
    where = at if entry.on_layer else given
    return ExplanationMaps(
        maps, method, where, first.address, question.units, first.scores, first.outputs, first.stripped
    )


def _check_scores(facts: ModelFacts, address: str, target: Target) -> None:
    """Raise UsageError if the output of the model has no classes, unless a layer was named."""
    layer = next(layer for layer in facts.layers if layer.address == address)
    if not target.address and layer.shape is not None and len(layer.shape) > MAX_RANK:
        message = f'{facts.file}: the output "{escape(address, 80)}" is no score of classes but has the axes {", ".join(layer.axes)}; say which channel to explain with {escape(address, 80)}:0 or another LAYER:CHANNEL.'
        raise UsageError(message)


def _explained_input(facts: ModelFacts, batch: Mapping[str, NDArray[Any]]) -> TensorSpec:
    """Return the input that methods on the input explain: the first with places, else the first."""
    given = [spec for spec in facts.inputs if spec.name in batch]
    return next((spec for spec in given if PLACES & set(spec.axes)), given[0])
