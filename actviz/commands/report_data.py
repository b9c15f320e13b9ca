"""The data of a report, collected input by input: figures of the first inputs, statistics over all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from actviz.batch import statistics_runner
from actviz.errors import ActvizError, InputError, UsageError
from actviz.figures import renderers
from actviz.figures.renderers.padding import LEFT_OUT
from actviz.formats.layer_families import family_of
from actviz.layer_catalogue import passes_on
from actviz.records import FORWARD
from actviz.report import Comparison, ReportInput, ReportLayer, budget, pictures, report_figures
from actviz.report.findings import find
from actviz.statistics import differences
from actviz.statistics.running_statistics import bounds_of, cuts_of, totals_of
from actviz.statistics.tolerances import Tolerances, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actviz.commands.report_baseline import ReportBaseline
    from actviz.records import Activation, Box, Geometry, LayerInfo, Sample
    from actviz.report import Finding, ReportFigure
    from actviz.statistics.differences import LayerDifference, Matching

_REPEATING_FAMILIES = frozenset({"pad", "crop", "resize"})


@dataclass(slots=True)
class ReportData:
    """The data so far.

    `tally` holds the statistics over all inputs; `figures`, `thumbnails` and `drifts` are by
    address; `reasons` are why a layer has no figure, `unmatched` the layers that could not be
    compared. `most` is the number of values of a layer that are drawn for the first input;
    `padding` is that of the last input.
    """

    layers: Sequence[LayerInfo]
    drawn: frozenset[str]
    tally: statistics_runner.StatisticsSoFar
    inputs: list[ReportInput] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    figures: dict[str, list[ReportFigure]] = field(default_factory=dict)
    orders: dict[str, tuple[int, ...]] = field(default_factory=dict)
    thumbnails: dict[str, bytes] = field(default_factory=dict)
    geometries: dict[str, Geometry | None] = field(default_factory=dict)
    step_orders: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    drifts: dict[str, LayerDifference] = field(default_factory=dict)
    unmatched: dict[str, None] = field(default_factory=dict)
    compared: int = 0
    most: int = 0
    padding: Mapping[str, Box] = field(default_factory=dict)


def begin(layers: Sequence[LayerInfo], size: int, *, asked: bool) -> ReportData:
    """Return the data of a report before the first input; layers that only pass values on are drawn if requested.

    `size` is the number of inputs that the model is fed at a time where nothing is drawn.
    """
    drawn = frozenset(
        layer.address for layer in layers if renderers.kind_of(layer.axes) and (asked or _is_drawn(layer))
    )
    return ReportData(layers, drawn, statistics_runner.StatisticsSoFar(layers, size))


def _is_drawn(layer: LayerInfo) -> bool:
    """Return False for layers whose figures would repeat those of the layer before."""
    passes = passes_on(layer.kind)
    return not passes or (passes == "part" and family_of(layer) not in _REPEATING_FAMILIES)


@dataclass(frozen=True, slots=True)
class PageBudget:
    """The size of a page in bytes, and the number of inputs with figures."""

    size: int
    inputs: int


def add(data: ReportData, sample: Sample, activations: Mapping[str, Activation], room: PageBudget | None) -> None:
    """Add the statistics of an input and, unless `room` is ``None``, its figures."""
    for layer in data.layers:
        activation = activations[layer.address]
        if activation.values.dtype.kind in "OSUTc":
            data.tally.left_out[layer.address] = str(activation.values.dtype)
            data.reasons.setdefault(layer.address, f"it gives {activation.values.dtype}, not real numbers.")
            continue
        _count(data, layer, activation, sample.name)
    data.tally.inputs += 1
    if room is None:
        return
    number, data.padding = len(data.inputs), sample.padding
    single = next(iter(sample.pictures.values())) if len(sample.pictures) == 1 else None
    picture = sample.thumbnail if single is None or single.ndim > 3 else single  # noqa: PLR2004  (several frames)
    encoded = pictures.input_picture(picture) if picture is not None else None
    fed = f"{sample.fed}; {LEFT_OUT}" if sample.padding else sample.fed
    data.inputs.append(ReportInput(sample.name, fed, encoded, sample.words or ()))
    if not number:
        sizes = [activations[address].values.size for address in data.drawn]
        data.most = budget.values_per_layer(sizes, room.inputs, room.size)
    for layer in data.layers:
        activation = activations[layer.address]
        if layer.address in data.drawn and layer.address not in data.tally.left_out:
            _draw(data, activation, number)
    if single is None or picture is not single:
        # The picture shown is not the single picture of the input, so that maps cannot be laid over it.
        data.geometries = dict.fromkeys(data.geometries)


def _count(data: ReportData, layer: LayerInfo, activation: Activation, name: str) -> None:
    tally = data.tally
    numbers = totals_of(activation, cuts_of(bounds_of(layer.activation)), [tally.inputs])
    tally.reducer.add(layer.address, numbers)
    if numbers.first_nonfinite >= 0:
        tally.nonfinite.setdefault(layer.address, name)


def _draw(data: ReportData, activation: Activation, number: int, *, other: bool = False) -> None:
    address = activation.address
    most = data.most // budget.FIRST_INPUT_FACTOR if number or other else data.most
    try:
        want = report_figures.ChannelRequest(most, data.orders.get(address, ()), other, data.padding)
        figure = report_figures.figure_of(activation, number, want)
    except ActvizError as failure:
        data.reasons.setdefault(address, failure.message)
        return
    except ValueError:
        data.reasons.setdefault(address, "its tiles lie in no grid; draw it with actviz show.")
        return
    data.figures.setdefault(address, []).append(figure)
    data.geometries.setdefault(address, activation.geometry)
    data.step_orders.setdefault(address, activation.step_order)
    data.orders.setdefault(address, report_figures.order_of(figure))
    if address not in data.thumbnails and not other:
        data.thumbnails[address] = pictures.thumbnail(figure.mosaic, report_figures.strongest(figure))


def ask(other: ReportBaseline, sample: Sample, matching: Matching) -> Mapping[str, Activation]:
    """Return the activations of the baseline for an input by addresses of the reported model; empty if unknown."""
    partners = {pair.theirs.address: pair.ours.address for pair in matching.pairs if pair.fits}
    activations = other.activations(sample, list(partners))
    return {partners[address]: replace(item, address=partners[address]) for address, item in activations.items()}


def compare_with(data: ReportData, activations: Mapping[str, Activation], theirs: Mapping[str, Activation]) -> None:
    """Add the differences from the baseline for one input; both mappings are by addresses of the reported model."""
    number = data.compared
    data.compared += 1
    for address, activation in theirs.items():
        ours = activations[address].values
        if ours.shape != activation.values.shape or {ours.dtype.kind, activation.values.dtype.kind} & set("OSUTc"):
            data.unmatched[address] = None
            continue
        difference = differences.drift(activation.values, ours, activation.axes, number)
        known = data.drifts.get(address)
        data.drifts[address] = difference if known is None else known.merge(difference)


def has_changed(address: str, drift: LayerDifference) -> bool:
    """Return True if a layer differs by more than the default tolerance of `diff`."""
    return any(not case.kept for case in judge(address, drift, Tolerances()))


def add_others(data: ReportData, theirs: Mapping[str, Activation]) -> None:
    """Add figures of the baseline for the last input, of layers that changed."""
    for address, activation in theirs.items():
        known = data.drifts.get(address)
        if address in data.drawn and known is not None and has_changed(address, known):
            _draw(data, activation, len(data.inputs) - 1, other=True)


def findings_of(data: ReportData) -> tuple[Finding, ...]:
    """Return the findings; where an input shows one, the finding has its number."""
    numbers = {fed.name: number for number, fed in enumerate(data.inputs)}
    nonfinite = {address: numbers[name] for address, name in data.tally.nonfinite.items() if name in numbers}
    return find(data.layers, data.tally.totals, data.tally.inputs, nonfinite)


def comparison_of(data: ReportData, other: ReportBaseline, matching: Matching, given: str) -> Comparison:
    """Return the differences from the baseline.

    Raises
    ------
    InputError
        When no input or no layer could be compared.
    """
    if not data.compared:
        message = f"--against {given}: holds none of these inputs as they are fed here; extract it from the same inputs with the same preprocessing."
        raise InputError(message)
    drifts = {
        layer.address: data.drifts[layer.address]
        for layer in data.layers
        if layer.address in data.drifts and layer.address not in data.unmatched
    }
    if not drifts:
        message = f"--against {given}: none of the layers that both have gives an array of the same shape; give a version of the same model."
        raise InputError(message)
    shown = {layer.address for layer in data.layers}
    odd = [pair.theirs.address for pair in matching.pairs if not pair.fits]
    return Comparison(
        other.name,
        drifts,
        tuple(address for address, drift in drifts.items() if has_changed(address, drift)),
        tuple(dict.fromkeys([*odd, *data.unmatched])),
        tuple(layer.address for layer in matching.only_theirs if layer.address in shown),
    )


def shown_of(data: ReportData, marked: frozenset[str], labels: tuple[str, ...]) -> tuple[ReportLayer, ...]:
    """Return every layer with all its figures."""
    shown = []
    for layer in data.layers:
        address = layer.address
        totals = data.tally.totals.get(address)
        kind = renderers.kind_of(layer.axes)
        reason = data.reasons.get(address, "")
        if address not in data.drawn and not reason:
            reason = (
                "It only passes values on; to draw it all the same, name it with --layer."
                if kind
                else "No picture exists for values of this kind."
            )
        fits = kind == "vector" and totals is not None and totals.channels == len(labels)
        shown.append(
            ReportLayer(
                layer,
                kind,
                totals,
                tuple(data.figures.get(address, ())),
                data.thumbnails.get(address),
                data.geometries.get(address),
                labels if fits else (),
                reason,
                address in marked,
                data.orders.get(address, ()),
                data.step_orders.get(address, FORWARD),
            )
        )
    return tuple(shown)


def check_drawable(data: ReportData, file: str) -> None:
    """Check that at least one layer has a figure.

    Raises
    ------
    UsageError
        With the first reason why not.
    """
    if not data.figures:
        address, reason = next(iter(data.reasons.items()), ("", "no picture exists for values of this kind."))
        message = f"{file}: no layer can be drawn ({address}: {reason.rstrip('.')}); choose others with --layer."
        raise UsageError(message)
