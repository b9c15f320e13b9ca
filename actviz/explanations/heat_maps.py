"""The heat maps of each input of a batch, with what a figure says about them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError
from actviz.explanations import faithfulness
from actviz.explanations.explain import ask, check_separate
from actviz.explanations.occlusion import patch_sides
from actviz.explanations.positions import values_on_input
from actviz.records import HeatMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.explanations.method import Explanation, Method, ScoreFunction
    from actviz.explanations.plan import ExplainPlan
    from actviz.formats.network_protocol import Network
    from actviz.records import ScoreBatch

TOP, SECONDS = 5, 5.0


def explain_batch(
    network: Network, batch: Mapping[str, NDArray[Any]], plan: ExplainPlan, alive: Callable[[], None] = lambda: None
) -> tuple[tuple[HeatMap, ...], ...]:
    """Return the maps of each input of a batch, by target and then by method.

    Inputs are computed one by one, so that no map depends on the batch. `alive` is called every few seconds, since
    thousands of forward passes may take longer than a worker may be silent.

    Raises
    ------
    UsageError
        When a target, a method or a place to draw on does not exist, or there is no gradient.
    """
    complete_shapes(network, batch)
    count = len(next(iter(batch.values())))
    parts = ({name: values[index : index + 1] for name, values in batch.items()} for index in range(count))
    score = _Reporting(network.scores, alive)
    return tuple(tuple(_of_input(network, score, part, plan)) for part in parts)


class _Reporting:
    """A function of scores that calls `alive` every few seconds."""

    def __init__(self, score: ScoreFunction, alive: Callable[[], None]) -> None:
        self._score, self._alive = score, alive
        self._last = time.monotonic()

    def __call__(
        self, batch: Mapping[str, NDArray[Any]], target: str = "", at: str = "", units: Sequence[int] = ()
    ) -> ScoreBatch:
        """Compute scores."""
        found = self._score(batch, target, at, units)
        if time.monotonic() - self._last > SECONDS:
            self._alive()
            self._last = time.monotonic()
        return found


def complete_shapes(network: Network, batch: Mapping[str, NDArray[Any]]) -> None:
    """Let a network infer shapes that are not in its file: a method needs the places of layers."""
    if any(layer.shape is None for layer in network.facts.layers if not layer.inner):
        network.complete({name: values.shape for name, values in batch.items()})


def _of_input(
    network: Network, score: ScoreFunction, batch: Mapping[str, NDArray[Any]], plan: ExplainPlan
) -> Iterator[HeatMap]:
    methods = plan.methods or (("gradcam",) if network.has_gradients else ("occlusion",))
    for target in plan.targets:
        for name in methods:
            yield _heat_map(ask(score, network.facts, batch, target, name, plan.layer), plan, name)


def _heat_map(asked: tuple[Method, Explanation, ScoreBatch], plan: ExplainPlan, name: str) -> HeatMap:
    method, question, first = asked
    if plan.check or not method.gradients:
        check_separate(question, first)
    values = np.asarray(method.compute(question)[0], np.float32)
    cells, flat = _cells(method, question, values)
    # No place of a text belongs to a value, nor of an input with other axes than the map; a flat map has no order.
    placed = question.values.dtype.kind not in "OSU" and bool((cells >= 0).any())
    checked = plan.check and placed and bool(np.ptp(flat))
    unit, scores, outputs = question.units[0], first.scores[0], first.outputs[0]
    order = np.argsort(-scores, kind="stable")
    activation = question.activation if method.on_layer else None
    axes = question.input[2] if activation is None else activation.axes
    return HeatMap(
        method=name,
        layer=question.layer if method.on_layer else question.input[1],
        target=first.address,
        unit=unit,
        units=len(scores),
        score=float(scores[unit]),
        output=float(outputs[unit]),
        rank=int(np.flatnonzero(order == unit)[0]) + 1,
        top=tuple((int(index), float(outputs[index])) for index in order[:TOP]),
        stripped=first.stripped,
        values=values,
        axes=tuple(name for name in axes[1:] if name not in {"channel", "unit"}),
        geometry=None if activation is None else activation.geometry,
        input=question.input[0],
        weights_digest="" if activation is None else activation.weights_digest,
        center=_center(flat, cells),
        box=plan.box,
        share=_share(flat, cells, plan.box) if plan.box else 0.0,
        difference=_difference(question, float(scores[unit])) if method.complete else None,
        check=faithfulness.measure(question, flat, cells, float(outputs[unit])) if checked else None,
    )


def _difference(question: Explanation, score: float) -> float:
    """Return the difference of the score of the only input from that of zeros."""
    return score - float(question.scores_of(np.zeros_like(question.values), 0)[0])


def _cells(method: Method, question: Explanation, values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the index of the value that covers each place of the input, and the values, one for each patch."""
    sizes = question.sizes
    if method.patches:
        sides = patch_sides(sizes)
        counts = tuple(-(-size // side) for size, side in zip(sizes, sides, strict=True))
        grids = np.ix_(*(np.arange(size) // side for size, side in zip(sizes, sides, strict=True)))
        corners = values[tuple(slice(None, None, side) for side in sides)]
        return np.ravel_multi_index(np.broadcast_arrays(*grids), counts), corners.ravel()
    geometry = question.activation.geometry if method.on_layer else None
    if (
        values.ndim != len(sizes) or question.values.dtype.kind in "OSU"
    ):  # a sequence of maps, or the like: no place of the input belongs to a value
        return np.full(sizes, -1), values.ravel()
    return values_on_input(values.shape, sizes, geometry), values.ravel()


def _on_places(flat: NDArray[Any], cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the positive values at the places of the input, 0 outside the map."""
    return np.where(cells < 0, 0.0, np.maximum(np.nan_to_num(flat.astype(np.float64)), 0)[cells])


def _center(flat: NDArray[Any], cells: NDArray[np.int64]) -> tuple[float, ...]:
    weights = _on_places(flat, cells)
    total = weights.sum()
    if not total:
        return ()
    places: tuple[NDArray[np.int64], ...] = np.indices(cells.shape, sparse=True)
    return tuple(float((axis * weights).sum() / total) for axis in places)


def _share(flat: NDArray[Any], cells: NDArray[np.int64], box: tuple[int, ...]) -> float:
    if cells.ndim != 2:  # noqa: PLR2004  (rows and columns)
        raise UsageError("--box needs an input with rows and columns.")
    (rows, columns), (top, left, bottom, right) = cells.shape, box
    if not (0 <= top < bottom <= rows and 0 <= left < right <= columns):
        message = f"--box {','.join(map(str, box))}: TOP,LEFT,BOTTOM,RIGHT lie outside the input of {rows} x {columns} pixels as fed, or are in another order."
        raise UsageError(message)
    weights = _on_places(flat, cells)
    return float(weights[top:bottom, left:right].sum() / (weights.sum() or 1.0))
