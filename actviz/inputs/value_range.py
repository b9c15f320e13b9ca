"""Infer the range of pixel values from the constant arithmetic at the start of a network.

Such arithmetic converts one usual range to another. So the range is that of 0..255, 0..1 and -1..1
which the arithmetic maps to a convention; if there is none, the range is unknown.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CANDIDATES: dict[str, tuple[float, float]] = {"0..255": (0.0, 255.0), "0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0)}
SPANS: dict[str, tuple[float, float]] = {**CANDIDATES, "-0.5..0.5": (-0.5, 0.5)}
UNIT = frozenset({"0..1", "-1..1"})
NARROWEST_FIRST = ("0..1", "-1..1", "0..255")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SLACK = 0.02
"""Tolerance of the ends of a mapped range, relative to its width: factors of 1/256 and 1/128 are in use."""
NEAR = 0.006
"""Tolerance of means and deviations from those of ImageNet, which are published with two to four digits."""
IDENTITY = 1e-3
LEAST_DEVIATION = 0.05
MEANS = (0.3, 0.55)
"""Range of subtracted means, relative to the width: ImageNet's are 0.41..0.49, those of faces start at 0.36."""


class Match(NamedTuple):
    """A range, the convention that the arithmetic maps it to, and the arithmetic as a formula."""

    name: str
    convention: str
    formula: str


def match(scale: Sequence[float], offset: Sequence[float], *, turned: bool = False) -> Match | None:
    """Return the range that ``x * scale + offset`` maps to a convention, or ``None``.

    Parameters
    ----------
    scale, offset
        One number, or one per channel of the input.
    turned
        Whether the arithmetic reverses the order of the channels.
    """
    if not scale or not offset or is_identity(scale, offset):
        return None
    pairs = _pairs(scale, offset)
    if not all(math.isfinite(a) and math.isfinite(b) and a != 0 for a, b in pairs):
        return None
    return _span(pairs, turned=turned) or _means_subtracted(pairs, turned=turned) or _standardised(pairs, turned=turned)


def is_identity(scale: Iterable[float], offset: Iterable[float]) -> bool:
    """Return True if the arithmetic changes no number."""
    return all(abs(number - 1) <= IDENTITY for number in scale) and all(abs(number) <= IDENTITY for number in offset)


def formula(scale: Sequence[float], offset: Sequence[float], *, turned: bool = False) -> str:
    """Return ``x * scale + offset`` in its simplest form."""
    text = _variable(turned=turned)
    if turned:
        scale, offset = scale[::-1], offset[::-1]
    if any(number != 1 for number in scale):
        small = all(0 < abs(number) < 1 for number in scale)
        text += f" / {listed([1 / number for number in scale])}" if small else f" * {listed(scale)}"
    if all(number <= 0 for number in offset) and any(offset):
        return f"{text} - {listed([-number for number in offset])}"
    return f"{text} + {listed(offset)}" if any(offset) else text


def listed(numbers: Sequence[float]) -> str:
    """Return up to three numbers as text, or one if all are equal."""
    kept = numbers[:1] if len(set(numbers)) == 1 else numbers
    shown = "/".join(f"{number:.4g}" for number in kept[:3])
    return shown if len(kept) <= 3 else f"{shown}/..."  # noqa: PLR2004  (three are shown)


def _span(pairs: list[tuple[float, float]], *, turned: bool) -> Match | None:
    """Match arithmetic that maps one range to another, as ``x / 127.5 - 1`` does."""
    for name, (low, high) in CANDIDATES.items():
        for convention, (least, most) in SPANS.items():
            if name == convention and min(a for a, _ in pairs) > 0:
                continue  # the identity maps every range to itself
            slack = SLACK * (most - least)
            images = [sorted((low * a + b, high * a + b)) for a, b in pairs]
            if all(abs(image[0] - least) <= slack and abs(image[1] - most) <= slack for image in images):
                return Match(name, convention, formula(*_columns(pairs), turned=turned))
    return None


def _means_subtracted(pairs: list[tuple[float, float]], *, turned: bool) -> Match | None:
    """Match arithmetic that subtracts the mean of a dataset and keeps a width of 255, as in models from Caffe."""
    for name, (low, high) in CANDIDATES.items():
        width = high - low
        means = [(-b / a - low) / width for a, b in pairs]
        if all(abs(a * width - 255) <= SLACK * 255 for a, _ in pairs) and all(
            MEANS[0] <= mean <= MEANS[1] for mean in means
        ):
            near = any(_near(means, order) for order in (IMAGENET_MEAN, IMAGENET_MEAN[::-1]))
            convention = "caffe (0..255 minus the ImageNet mean)" if near else "0..255 minus a mean"
            return Match(name, convention, formula(*_columns(pairs), turned=turned))
    return None


def _standardised(pairs: list[tuple[float, float]], *, turned: bool) -> Match | None:
    """Match standardization by a mean and deviation, for the narrowest range in which both are possible.

    Numbers between `low` and `high` with mean `m` have at most the variance
    ``(high - m) * (m - low)`` (Bhatia and Davis, 2000).
    """
    means = [-b / a for a, b in pairs]
    deviations = [1 / a for a, _ in pairs]
    if not all(means) or min(deviations) <= 0:
        return None
    for name in NARROWEST_FIRST:
        low, high = CANDIDATES[name]
        width = high - low
        if all(
            LEAST_DEVIATION * width <= deviation <= math.sqrt(max((high - mean) * (mean - low), 0.0))
            for mean, deviation in zip(means, deviations, strict=True)
        ):
            torch = _near([(mean - low) / width for mean in means], IMAGENET_MEAN) and _near(
                [deviation / width for deviation in deviations], IMAGENET_STD
            )
            convention = "torch (ImageNet mean and std)" if torch else "mean 0 and deviation 1"
            order = slice(None, None, -1 if turned else 1)
            text = f"({_variable(turned=turned)} - {listed(means[order])}) / {listed(deviations[order])}"
            return Match(name, convention, text.replace("- -", "+ "))
    return None


def _near(numbers: Sequence[float], wanted: Sequence[float]) -> bool:
    return len(numbers) == len(wanted) and all(abs(a - b) <= NEAR for a, b in zip(numbers, wanted, strict=True))


def _variable(*, turned: bool) -> str:
    return "x[..., ::-1]" if turned else "x"


def _columns(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


def _pairs(scale: Sequence[float], offset: Sequence[float]) -> list[tuple[float, float]]:
    size = max(len(scale), len(offset))
    first, second = (list(numbers) * size if len(numbers) == 1 else list(numbers) for numbers in (scale, offset))
    return list(zip(first, second, strict=False))
