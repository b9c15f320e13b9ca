"""Color scales: which values the first and the last color of a figure represent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actviz.errors import UsageError


@dataclass(frozen=True, slots=True)
class ColorScale:
    """How the color limits of a figure are determined.

    Attributes
    ----------
    kind
        - ``filter``: limits of each tile; if `high` is not 0, the percentiles `low` and `high` of its values
        - ``layer``: limits of the layer
        - ``fixed``: `low` and `high`
        - ``bounds``: `low` and `high`, the bounds of the activation function
        - ``percentile``: the percentiles `low` and `high` of the values of the layer
        - ``run``: limits of each layer over all inputs of a run
        - ``from``: limits from the file `source`
        - ``auto``: ``filter`` if tiles are maps, otherwise ``layer``
    reason
        Why a figure has another scale than the requested one.
    """

    kind: str
    low: float = 0.0
    high: float = 0.0
    source: str = ""
    reason: str = ""

    def __str__(self) -> str:
        """Return the scale as on the command line, with the name of a file instead of its path."""
        if self.kind == "fixed":
            return f"{_plain(self.low)}:{_plain(self.high)}"
        if self.kind == "percentile" or self.per_tile_percentiles:
            lead = "filter:" if self.per_tile_percentiles else ""
            return f"{lead}p{_plain(self.low)}:{_plain(self.high)}"
        return f"from:{self.source.rpartition('/')[2]}" if self.kind == "from" else self.kind

    @property
    def per_tile_percentiles(self) -> bool:
        """Whether the limits of each tile are two percentiles of its values."""
        return self.kind == "filter" and self.high > 0


NAMES = ("auto", "filter", "layer", "run")


RANGES_BY_ADDRESS = ("run", "from")
"""Scales whose limits are known for each layer before a figure is drawn."""


_ALL = 100


def _plain(number: float) -> str:
    """Return a number such as ``2.5`` or ``3`` that parses to the same number."""
    return repr(number).removesuffix(".0")


def parse_scale(text: str) -> ColorScale:
    """Parse a scale: ``auto``, ``filter``, ``layer``, ``run``, ``MIN:MAX``, ``pP:Q``, ``filter:pP:Q`` or ``from:FILE``.

    Raises
    ------
    UsageError
        If the text is none of them, or the limits are not finite and increasing.
    """
    if text in NAMES:
        return ColorScale(text)
    per_tile = text.startswith("filter:p")
    first, colon, rest = text.removeprefix("filter:" if per_tile else "").partition(":")
    if first == "from" and colon:
        if not rest:
            message = "scale 'from:' names no file; give the manifest.json or a PNG of an earlier run, such as from:before/manifest.json."
            raise UsageError(message)
        return ColorScale("from", source=rest)
    shares = first.startswith("p")
    try:
        low, high = float(first[shares:]), float(rest.removeprefix("p") if shares else rest)
    except ValueError:
        message = f"scale {text!r} is not valid; use {', '.join(NAMES)}, MIN:MAX such as 0:5, percentiles such as p1:99 (of each tile: filter:p1:99), or from:manifest.json."
        raise UsageError(message) from None
    if not (math.isfinite(low) and math.isfinite(high)):
        message = f"scale {text!r}: both ends must be finite numbers, for instance {'p1:99' if shares else '0:5'}."
        raise UsageError(message)
    if low >= high:
        raise UsageError(f"scale {text!r}: {low:g} is not below {high:g}; write the smaller one first.")
    if shares and not 0 <= low < high <= _ALL:
        raise UsageError(f"scale {text!r}: percentiles lie between 0 and 100; write for instance p1:99.")
    if per_tile:
        return ColorScale("filter", low, high)
    return ColorScale("percentile" if shares else "fixed", low, high)


def resolve_scale(scale: ColorScale, *, per_tile: bool, reason: str) -> ColorScale:
    """Return the scale of a figure whose tiles can have different limits (`per_tile`), or cannot.

    ``auto`` becomes ``filter`` or ``layer``. If ``filter`` is requested but not possible, the result is
    ``layer``, or the same percentiles of the layer, with the `reason`.
    """
    if scale.kind == "auto":
        return ColorScale("filter" if per_tile else "layer")
    if per_tile or scale.kind != "filter":
        return scale
    return (
        ColorScale("percentile", scale.low, scale.high, reason=reason)
        if scale.per_tile_percentiles
        else ColorScale("layer", reason=reason)
    )
