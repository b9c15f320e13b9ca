"""Color scales: which values the ends of a colormap stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actviz.errors import UsageError


@dataclass(frozen=True, slots=True)
class ColorScale:
    """What the colours of a tile stand for.

    `kind` is ``filter`` (each tile its own range; where `high` is not 0, from percentile `low`
    to percentile `high` of its own values), ``layer`` (one range for all of them),
    ``fixed`` (from `low` to `high`, the same everywhere), ``bounds`` (the same, for the two
    values that the activation function never leaves), ``percentile`` (from percentile
    `low` to percentile `high` of the layer's values), ``run`` (one range a layer for all
    inputs of a run) or ``from`` (the ranges in the file `source`). ``auto`` is what fits
    the axes: ``filter`` where a tile is a map, ``layer`` where it is less. `why` says why
    a figure has another scale than the one asked for.
    """

    kind: str
    low: float = 0.0
    high: float = 0.0
    source: str = ""
    reason: str = ""

    def __str__(self) -> str:
        """Return what the command line takes, but of a file only its name."""
        if self.kind == "fixed":
            return f"{_plain(self.low)}:{_plain(self.high)}"
        if self.kind == "percentile" or self.per_tile_percentiles:
            lead = "filter:" if self.per_tile_percentiles else ""
            return f"{lead}p{_plain(self.low)}:{_plain(self.high)}"
        return f"from:{self.source.rpartition('/')[2]}" if self.kind == "from" else self.kind

    @property
    def per_tile_percentiles(self) -> bool:
        """Whether each tile runs between two percentiles of its own values."""
        return self.kind == "filter" and self.high > 0


NAMES = ("auto", "filter", "layer", "run")


RANGES_BY_ADDRESS = ("run", "from")
"""Scales whose ranges are known before a figure is drawn, by address."""


_ALL = 100


def _plain(number: float) -> str:
    """Return a number in full, ``2.5`` or ``3``: reading it gives the same number."""
    return repr(number).removesuffix(".0")


def parse_scale(text: str) -> ColorScale:
    """Read ``auto``, ``filter``, ``layer``, ``run``, ``MIN:MAX``, ``pP:Q``, ``filter:pP:Q`` or ``from:FILE``.

    Raises
    ------
    UsageError
        When it is none of them, or the first end is not below the second, or one is not
        finite.
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
        message = f"scale {text!r} means nothing here; use {', '.join(NAMES)}, MIN:MAX such as 0:5, percentiles such as p1:99 (of each tile: filter:p1:99), or from:manifest.json."
        raise UsageError(message) from None
    if not (math.isfinite(low) and math.isfinite(high)):
        message = f"scale {text!r}: both ends must be finite numbers, for instance {'p1:99' if shares else '0:5'}."
        raise UsageError(message)
    if low >= high:
        message = f"scale {text!r}: {low:g} is not below {high:g}; write the smaller one first."
        raise UsageError(message)
    if shares and not 0 <= low < high <= _ALL:
        message = f"scale {text!r}: percentiles lie between 0 and 100; write for instance p1:99."
        raise UsageError(message)
    if per_tile:
        return ColorScale("filter", low, high)
    return ColorScale("percentile" if shares else "fixed", low, high)


def resolve_scale(scale: ColorScale, *, per_tile: bool, reason: str) -> ColorScale:
    """Return the scale of a figure whose tiles can have ranges of their `own`, or cannot.

    ``auto`` becomes ``filter`` or ``layer``; where ``filter`` was asked for and cannot
    be, the result is ``layer``, or the same percentiles of the whole layer, and says `why`.
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
