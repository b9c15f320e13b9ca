"""Color limits by address: those of an earlier run, or those of each layer over a whole run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actviz.errors import InputError, UsageError, escape
from actviz.figures import color_scale, colors
from actviz.results import output_files
from actviz.statistics.value_ranges import RangeReducer
from actviz.suggestions import near_names
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actviz.records import Activation, Style

Ranges = dict[str, tuple[float, float]]

MAXIMUM_BYTES = 1 << 30
STAGE = "measuring colors"
_NAMES = 8


def with_known_ranges(style: Style) -> Style:
    """Return the style with the ranges in the file of a scale ``from:FILE``; other styles are unchanged.

    Raises
    ------
    UsageError
        If the scale is invalid.
    InputError
        If the file is missing, is neither a manifest nor a figure, or has invalid ranges.
    """
    scale = color_scale.parse_scale(style.scale)
    return style if scale.kind != "from" or style.ranges else replace(style, ranges=read_ranges(Path(scale.source)))


def check_addresses(style: Style, addresses: Sequence[str]) -> None:
    """Refuse layers that have no range in the file of the scale, before inference.

    Raises
    ------
    UsageError
        The message lists the layers in the file, similar names first.
    """
    scale = color_scale.parse_scale(style.scale)
    missing = [address for address in addresses if address not in style.ranges] if scale.kind == "from" else []
    if missing:
        names = list(dict.fromkeys([*near_names(missing[0], style.ranges), *style.ranges]))
        known = ", ".join(escape(name, 60) for name in names[:_NAMES]) + (", ..." if len(names) > _NAMES else "")
        message = f'{scale.source}: no range of layer "{escape(missing[0], 80)}" in it; it has those of {known}.'
        raise UsageError(message)


def read_ranges(path: Path) -> Ranges:
    """Return the range of every layer in a manifest, or in the provenance of a figure.

    If a layer was drawn several times, for several inputs or with a range for each channel, its range is the
    union of these.

    Raises
    ------
    InputError
        If the file cannot be read, or has no ranges of figures.
    """
    record = output_files.read_provenance(path, InputError)
    if record is None:
        record = _read_manifest(path)
    figures = record.get("figures", [record])
    if not isinstance(figures, list):
        figures = []
    ranges: Ranges = {}
    for figure in figures:
        for address, numbers in _numbers(figure):
            low, high = _range(path, address, numbers)
            before = ranges.get(address, (low, high))
            ranges[address] = min(before[0], low), max(before[1], high)
    if not ranges:
        message = f"{path}: no ranges of figures in it; give the manifest.json of an earlier run, or a PNG of actviz."
        raise InputError(message)
    return ranges


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(file_system.read_bytes(path, MAXIMUM_BYTES))
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        message = f"{path}: not a manifest of actviz; give the manifest.json of an earlier run, or a PNG of actviz."
        raise InputError(message)
    return manifest


def _numbers(figure: object) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the address and numbers of each layer in the record of a figure or sheet."""
    numbers = figure.get("numbers") if isinstance(figure, dict) else None
    if not isinstance(figure, dict) or not isinstance(numbers, dict):
        return []
    address = figure.get("address")
    layers = numbers.get("layers", {address: numbers} if isinstance(address, str) else {})
    if not isinstance(layers, dict):
        return []
    return [(name, values) for name, values in layers.items() if isinstance(name, str) and isinstance(values, dict)]


def _range(path: Path, address: str, numbers: Mapping[str, Any]) -> tuple[float, float]:
    limits = [numbers.get("low"), numbers.get("high")]
    try:
        low, high = (
            float(end) if isinstance(end, int | float) and not isinstance(end, bool) else math.nan for end in limits
        )
    except OverflowError:
        low = high = math.nan
    if not colors.is_valid_range(low, high):
        shown = ", ".join(escape(repr(end), 40) for end in limits)
        message = f'{path}: the range of layer "{escape(address, 80)}" is ({shown}); two finite numbers were expected, the smaller one first.'
        raise InputError(message)
    return low, high


class RunRanges:
    """The range of each layer over all activations of a run, which are added batch by batch, for the scale ``run``.

    As in a single figure the range is 0 to the largest value, or minus to plus the largest magnitude if a value
    of the run or the activation function of the layer is negative. Non-numeric activations have no range. If the
    style reduces channels, the ranges are those of the reduced maps.
    """

    def __init__(self, style: Style) -> None:
        self._style, self._reducer = style, RangeReducer()

    def add(self, activations: Mapping[str, Activation]) -> None:
        """Add a batch."""
        from actviz.figures.renderers import reduction

        for address, activation in activations.items():
            drawn = reduction.as_drawn(activation, self._style)
            self._reducer.update(address, [drawn], range(len(drawn.values)))

    def style(self) -> Style:
        """Return the style with the ranges so far."""
        ranges = {address: value_range.ends for address, value_range in self._reducer.layers.items()}
        return replace(self._style, ranges=ranges)
