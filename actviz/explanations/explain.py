"""Resolve what is to be explained, and compute the maps of one method."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.addresses import select_layers_of
from actviz.errors import UsageError, escape
from actviz.explanations.method import Explanation, ScoreFunction
from actviz.explanations.method_table import METHODS
from actviz.explanations.plan import TOP, Target
from actviz.formats.score_axes import check_units, units_of
from actviz.records import PRE
from actviz.suggestions import did_you_mean, near_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.explanations.method import Method
    from actviz.records import Activation, LayerInfo, ModelFacts, ScoreBatch, TensorSpec

PLACES = frozenset({"row", "column", "plane", "step"})
MAX_RANK = 2
MIXING = 1e-2
"""Relative change of the scores by the rest of a batch; rounding changes them by less, also those of 16-bit numbers."""


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
    activation
        The activation of the layer (``None`` for methods on the input).
    """

    values: NDArray[Any]
    method: str
    layer: str
    target: str
    units: tuple[int, ...]
    scores: NDArray[Any]
    outputs: NDArray[Any]
    stripped: str = ""
    activation: Activation | None = None

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
    if text in labels:
        return Target(unit=list(labels).index(text))
    if text == TOP:
        return Target()
    if re.fullmatch(r"\d{1,9}", text):
        return Target(unit=int(text))
    address, colon, channel = text.rpartition(":")
    if colon and re.fullmatch(r"\d{1,9}", channel):
        return Target(layer_to_explain(facts, [address], file), int(channel))
    hint = did_you_mean(near_names(text, labels)) or "give its number, its name with labels, LAYER:CHANNEL, or top."
    message = f'there is no class "{escape(text, 80)}"; {hint}'
    raise UsageError(message)


def layer_to_explain(facts: ModelFacts, addresses: Sequence[str], file: str) -> str:
    """Return the address of the only layer that addresses select.

    Raises
    ------
    UsageError
        When there is none, or more than one, or it is only the part of one before its activation function.
    """
    found, text = select_layers_of(facts, addresses, file), escape(" ".join(addresses), 80)
    if len(found) > 1:
        raise UsageError(f'"{text}" names {len(found)} layers; give the address of one.')
    address = found[0].address
    if address.endswith(PRE):
        message = (
            f'"{text}": heat maps are computed of outputs of layers; choose {escape(address.removesuffix(PRE), 80)}.'
        )
        raise UsageError(message)
    return address


def last_layer_with_places(facts: ModelFacts, target: str = "") -> LayerInfo:
    """Return the last layer that still has places, such as rows and columns, before the layer `target` if it is given.

    Raises
    ------
    UsageError
        When there is none.
    """
    end = next((index for index, layer in enumerate(facts.layers) if layer.address == target), len(facts.layers))
    for layer in reversed(facts.layers[:end]):
        scores = layer.address.endswith("@scores") or layer.kind == "InputLayer" or layer.inner
        scores |= bool(target) and layer.address.startswith(f"{target}/")  # inside the wrapper that is explained
        if not scores and PLACES & set(layer.axes) and {"channel", "unit"} & set(layer.axes):
            return layer
    where = f'before "{escape(target, 80)}"' if target else "of this model"
    message = f"{facts.file}: no layer {where} has places such as rows and columns; give a method on the input, such as occlusion or saliency."
    raise UsageError(message)


def parse_targets(text: str, facts: ModelFacts, file: str, labels: Sequence[str] = ()) -> list[Target]:
    """Parse targets of `parse_target` with commas between them; ``top3`` means the three highest classes.

    Raises
    ------
    UsageError
        When there is no such class or layer.
    """
    targets: list[Target] = []
    for part in [text] if text in labels else text.split(","):
        several = None if part in labels else re.fullmatch(r"top([1-9]\d?)", part)
        ranks = range(1, int(several[1]) + 1) if several else ()
        targets += [Target(unit=-rank) for rank in ranks] or [parse_target(part, facts, file, labels)]
    return list(dict.fromkeys(targets))


def method_of(name: str) -> Method:
    """Return a method by name.

    Raises
    ------
    UsageError
        When there is none; the message has a similar name.
    """
    if name in METHODS:
        return METHODS[name]
    hint = did_you_mean(near_names(name, METHODS, 1)) or f"use one of {', '.join(METHODS)}."
    raise UsageError(f'there is no method "{escape(name, 60)}"; {hint}')


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
    entry, question, first = ask(score, facts, batch, target, method, layer)
    if len(first.scores) > 1 or not entry.gradients:
        check_separate(question, first)
    maps = entry.compute(question)
    where = question.layer if entry.on_layer else question.input[1]
    stripped, activation = first.stripped, first.activation
    return ExplanationMaps(
        maps, method, where, first.address, question.units, first.scores, first.outputs, stripped, activation
    )


def ask(  # noqa: PLR0913  (what is explained, and how)
    score: ScoreFunction,
    facts: ModelFacts,
    batch: Mapping[str, NDArray[Any]],
    target: Target,
    method: str,
    layer: str = "",
) -> tuple[Method, Explanation, ScoreBatch]:
    """Return a method, what it gets, and the scores of the batch; see `explain`."""
    entry, spec = method_of(method), explained_input(facts, batch)
    at = layer or (last_layer_with_places(facts, target.address).address if entry.on_layer else "")
    if entry.on_layer and not PLACES & set(next(item.axes for item in facts.layers if item.address == at)):
        message = (
            f'layer "{escape(at, 80)}" has no places such as rows and columns to draw a map on; choose another layer.'
        )
        raise UsageError(message)
    if not entry.on_layer:
        _check_input(facts, spec, method, gradients=entry.gradients)
    wanted = [target.unit] * len(batch[spec.name])
    # One forward pass gives scores, activation and gradients: two took twice the time of Grad-CAM.
    units = wanted if entry.on_layer and entry.gradients else ()
    first = score(batch, target.address, at if entry.on_layer else "", units)
    _check_scores(facts, first.address, target)
    chosen = units_of(first.scores, wanted)
    check_units(first.address, first.scores.shape[1], chosen)
    seen = first.activation.geometry.input if first.activation and first.activation.geometry else spec.name
    # The layer may see another input than the first one, as the second call of a shared encoder does.
    if seen != spec.name:
        spec = next((item for item in facts.inputs if item.name == seen and seen in batch), spec)
    given = next((item.address for item in facts.layers if item.kind == "InputLayer" and item.name == spec.name), "")
    question = Explanation(
        score,
        batch,
        target.address,
        tuple(chosen),
        at,
        (spec.name, given, spec.axes),
        first=first,
        discrete=_is_discrete(spec),
    )
    return entry, question, first


def _is_discrete(spec: TensorSpec) -> bool:
    """Return whether an input holds numbers of words, or other integers."""
    return spec.limit is not None or bool(spec.words) or spec.dtype.startswith(("int", "uint", "bool"))


def _check_input(facts: ModelFacts, spec: TensorSpec, method: str, *, gradients: bool) -> None:
    """Raise UsageError if the values of an input cannot be replaced, or not changed a little."""
    text = spec.dtype == "string"
    if not text and not (gradients and _is_discrete(spec)):
        return
    embedding = next((layer.address for layer in facts.layers if layer.kind == "Embedding"), "")
    where = f' at "{escape(embedding, 80)}"' if embedding else " at a layer"
    what = "text" if text else "numbers of words" if spec.limit is not None or spec.words else "integers"
    message = f'{method} changes the values of the input "{escape(spec.name, 80)}", which holds {what}; give a method{where}, such as gradcam{"" if text else ", or occlusion"}.'
    raise UsageError(message)


def check_separate(question: Explanation, first: ScoreBatch) -> None:
    """Refuse a network whose scores of an input depend on the rest of its batch: the gradients and maps would, too.

    Raises
    ------
    UsageError
        When it mixes the inputs of a batch.
    """
    alone = {name: values[:1] for name, values in question.batch.items()}
    empty = {name: np.full_like(values, "" if values.dtype.kind in "OSU" else 0) for name, values in alone.items()}
    pair = {name: np.concatenate([values, empty[name]]) for name, values in alone.items()}
    if len(first.scores) > 1:
        pair = alone
    found, expected = question.score(pair, question.target).scores, first.scores[:1]
    limit = MIXING * max(1e-6, float(np.abs(expected).max()))
    if len(found) != len(next(iter(pair.values()))) or np.abs(found[:1] - expected).max() > limit:
        message = f'"{escape(first.address, 80)}" mixes the inputs of a batch: its scores of one depend on the others, so that no map can be computed for one of them.'
        raise UsageError(message)


def _check_scores(facts: ModelFacts, address: str, target: Target) -> None:
    """Raise UsageError if the output of the model has no classes, unless a layer was named."""
    layer = next(layer for layer in facts.layers if layer.address == address)
    if not target.address and layer.shape is not None and len(layer.shape) > MAX_RANK:
        message = f'{facts.file}: the output "{escape(address, 80)}" is no score of classes but has the axes {", ".join(layer.axes)}; say which channel to explain with {escape(address, 80)}:0 or another LAYER:CHANNEL.'
        raise UsageError(message)


def explained_input(facts: ModelFacts, batch: Mapping[str, NDArray[Any]]) -> TensorSpec:
    """Return the input that methods on the input explain: the first with places, else the first.

    The numbers of a vector, such as words or features, count as steps.
    """
    given = [spec for spec in facts.inputs if spec.name in batch]
    spec = next((spec for spec in given if PLACES & set(spec.axes)), given[0])
    if PLACES & set(spec.axes) or batch[spec.name].ndim != MAX_RANK:
        return spec
    return replace(spec, axes=("batch", "step"))
