"""Values to colours: tables, scales, and the one place where constants and NaN are handled.

Zero means zero, per figure: non-negative activations run from 0 upwards in a sequential
table, signed ones symmetrically around 0 in a diverging table.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError, escape

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEQUENTIAL = "viridis"
DIVERGING = "berlin"
STEPS = 256
NONFINITE_COLOUR = (255, 0, 255)
SMALLEST_PLAIN = 1e-3
NAMED_SCALES = ("filter", "layer")


@lru_cache(maxsize=8)
def table(name: str) -> NDArray[np.uint8]:
    """Return a colormap as ``(256, RGB)``, uint8.

    The two default maps come with actviz, byte for byte those of matplotlib; any other is
    asked of matplotlib by name.

    Raises
    ------
    UsageError
        When matplotlib has no map of that name.
    """
    if name in (SEQUENTIAL, DIVERGING):
        with resources.as_file(
            resources.files("actviz") / "data" / f"{name}.npy"
        ) as path:
            found: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    else:
        from matplotlib import colormaps

        if name not in colormaps:
            near = difflib.get_close_matches(name, list(colormaps), 3)
            hint = (
                f"did you mean {', '.join(near)}?"
                if near
                else "give the name of a matplotlib colormap, such as magma."
            )
            message = f'--cmap: there is no colormap "{escape(name, 60)}"; {hint}'
            raise UsageError(message)
        found = np.round(colormaps[name](np.linspace(0, 1, STEPS))[:, :3] * 255).astype(
            np.uint8
        )
    found.setflags(write=False)
    return found


def is_invertible(colours: NDArray[np.uint8]) -> bool:
    """Tell whether each colour stands for one step of the table, or for two neighbours."""
    packed = colours.astype(np.int64) @ np.array([65536, 256, 1])
    _, first = np.unique(packed, return_inverse=True)
    positions: dict[int, list[int]] = {}
    for step, number in enumerate(first.tolist()):
        positions.setdefault(number, []).append(step)
    return all(
        steps[-1] - steps[0] == len(steps) - 1 <= 1 for steps in positions.values()
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """How values become colours in one figure.

    `mode` is ``filter``, ``layer`` or ``fixed``; `low` and `high` are the values at the two
    ends of the table for each channel, arrays ``(channel,)``.
    """

    mode: str
    signed: bool
    cmap: str
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def parse_fixed(text: str) -> tuple[float, float] | None:
    """Read ``MIN:MAX``; ``None`` for the scales that have a name.

    Raises
    ------
    UsageError
        When it is neither, or the range is reversed, empty or not finite.
    """
    if text in NAMED_SCALES:
        return None
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        message = f'--scale: "{escape(text, 60)}" is no scale; give filter, layer or MIN:MAX, such as 0:1.'
        raise UsageError(message) from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        message = f'--scale: "{escape(text, 60)}" is no range; MIN must be below MAX, both finite, such as 0:1.'
        raise UsageError(message)
    return low, high


def resolve_scale(
    text: str,
    cmap: str | None,
    minimum: NDArray[np.float64],
    maximum: NDArray[np.float64],
    *,
    signed: bool | None,
) -> Scale:
    """Decide the scale of a figure.

    The sign decides the shape of the scale for the whole figure, never for one tile: known
    from the activation function, else from the data. A fixed range across zero is signed.

    Parameters
    ----------
    text
        ``filter``, ``layer`` or ``MIN:MAX``.
    cmap
        Name of a colormap, ``None`` for the default of the sign.
    minimum, maximum
        Smallest and largest finite value of each channel of the layer, ``(channel,)``.
    signed
        Whether the activation function can give negative values, ``None`` if not known.
    """
    fixed = parse_fixed(text)
    lowest = float(minimum.min()) if minimum.size else 0.0
    highest = float(maximum.max()) if maximum.size else 0.0
    negative = lowest < 0 if signed is None or not signed else True
    if fixed is not None:
        negative = fixed[0] < 0 < fixed[1]
        low, high = np.full_like(minimum, fixed[0]), np.full_like(maximum, fixed[1])
        mode = "fixed"
    else:
        mode = text
        reach = (
            np.maximum(np.abs(minimum), np.abs(maximum))
            if negative
            else np.maximum(maximum, 0)
        )
        if mode == "layer":
            reach = np.full_like(
                reach, max(abs(lowest), abs(highest)) if negative else max(highest, 0.0)
            )
        low, high = (-reach if negative else np.zeros_like(reach)), reach
    return Scale(
        mode, negative, cmap or (DIVERGING if negative else SEQUENTIAL), low, high
    )


def quantise(
    values: NDArray[Any], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return the step of the table, 0..255, for every value.

    Computed in float64, rounded half to even; values outside the range take its ends, NaN
    takes 0 (and is painted over by `paint`). A range of no width puts everything in the
    middle of a signed scale and at the end of the others, except zero, which is at 0.

    Parameters
    ----------
    values
        ``(channel, ...)``, real; not changed.
    low, high
        ``(channel,)``, the values at steps 0 and 255.
    """
    shape = (-1,) + (1,) * (values.ndim - 1)
    span = high - low
    safe = np.where(span > 0, span, 1.0)
    # Halves first: the difference of two finite float64 values can overflow.
    with np.errstate(over="ignore", invalid="ignore"):
        part = (values.astype(np.float64) - low.reshape(shape)) / safe.reshape(shape)
        steps = np.rint(part * (STEPS - 1))
    steps = np.where(np.isnan(steps), 0, steps)
    return np.clip(steps, 0, STEPS - 1).astype(np.uint8)


def paint(
    values: NDArray[Any], steps: NDArray[np.uint8], colours: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return the colours of quantised values, uint8 with a last axis ``RGB``.

    NaN and infinite values take a colour that is in no default table.
    """
    painted = colours[steps]
    if values.dtype.kind not in "iub":
        broken = ~np.isfinite(values.astype(np.float64))
        if broken.any():
            painted[broken] = NONFINITE_COLOUR
    return painted


def clipped(values: NDArray[Any], scale: Scale) -> int:
    """Return how many finite values lie outside a fixed scale."""
    if scale.mode != "fixed" or not values.size:
        return 0
    flat = values.astype(np.float64)
    return int(
        (np.isfinite(flat) & ((flat < scale.low[0]) | (flat > scale.high[0]))).sum()
    )


def brief(value: float) -> str:
    """Return a number in two or three significant digits, in at most seven characters."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    text = f"{value:.3g}" if abs(value) >= SMALLEST_PLAIN else f"{value:.1e}"
    mantissa, mark, exponent = text.partition("e")
    if mark:
        return f"{mantissa}e{int(exponent)}"
    return text
