"""Values to colours: tables, ranges and what has no colour (NaN, infinities).

Constant, empty, non-finite, denormal and huge values are handled here, once.
"""

from __future__ import annotations

import binascii
import difflib
import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError
from actviz.figures import colormaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.figures.color_scale import ColorScale

RGB = tuple[int, int, int]

STEPS = 256
SEQUENTIAL, DIVERGING, DIVERGING_DARK = "inferno", "RdBu_r", "berlin"

_LAST = STEPS - 1
# The colour of zero where the range is empty: the first, or the neutral one.
_EMPTY_RANGE_STEP = {False: 0, True: STEPS // 2}
_BLOCK = 1 << 15
_HUGE, _TINY = 1e300, 1e-300
# What paints NaN, +infinity and -infinity is picked from these, far from every colour of
# the table and from each other.
_NONFINITE_CANDIDATES: tuple[RGB, ...] = (
    (255, 0, 255),
    (0, 255, 255),
    (0, 230, 0),
    (255, 140, 0),
    (255, 230, 0),
    (255, 0, 0),
    (0, 0, 255),
    (0, 0, 0),
    (255, 255, 255),
)


@dataclass(frozen=True, slots=True)
class ColorTable:
    """A colormap as 256 colours: `colors` is uint8, ``(step, RGB)``.

    `invertible` says that no two colours are equal, so that a colour tells its step;
    `marks` are the colours of NaN, +infinity and -infinity, none of them in the table.
    """

    name: str
    colors: NDArray[np.uint8]
    invertible: bool
    nonfinite_colors: tuple[RGB, RGB, RGB]


@functools.cache
def table(name: str) -> ColorTable:
    """Return a colormap by matplotlib's name for it.

    Only names other than the defaults import matplotlib, and never pyplot.

    Raises
    ------
    UsageError
        For an unknown name, with the nearest ones.
    """
    shipped = colormaps.SHIPPED.get(name)
    if shipped is not None:
        content = binascii.a2b_base64(shipped)
        colors = np.frombuffer(content, dtype=np.uint8).reshape(STEPS, 3)
    else:
        colors = _from_matplotlib(name)
    codes = colors.astype(np.uint32) @ np.array([1, 1 << 8, 1 << 16], dtype=np.uint32)
    return ColorTable(name, colors, len(np.unique(codes)) == STEPS, _pick_nonfinite_colors(colors))


def _from_matplotlib(name: str) -> NDArray[np.uint8]:
    from matplotlib import colormaps as known_maps

    if name not in known_maps:
        near = difflib.get_close_matches(name, list(known_maps), n=3, cutoff=0.5)
        lower = {known.lower(): known for known in known_maps}
        if name.lower() in lower:
            near = [lower[name.lower()]]
        hint = f"did you mean {', '.join(near)}?" if near else "for instance viridis, magma, gray."
        message = f"no colormap is called {name!r}; {hint}"
        raise UsageError(message)
    # The number of colours of some maps depends on matplotlibrc: 256 whatever it says.
    map_ = known_maps[name].resampled(STEPS)
    colors: NDArray[np.uint8] = map_(np.arange(STEPS), bytes=True)[:, :3]
    return np.ascontiguousarray(colors)


def _pick_nonfinite_colors(colors: NDArray[np.uint8]) -> tuple[RGB, RGB, RGB]:
    taken = colors.astype(np.int64)
    chosen: list[RGB] = []
    for _ in range(3):
        distances = [int(((taken - np.array(color)) ** 2).sum(axis=1).min()) for color in _NONFINITE_CANDIDATES]
        best = _NONFINITE_CANDIDATES[int(np.argmax(distances))]
        chosen.append(best)
        taken = np.concatenate([taken, [best]])
    return chosen[0], chosen[1], chosen[2]


def is_signed(known: bool | None, minimum: NDArray[np.float64]) -> bool:  # noqa: FBT001 - a fact, not a switch
    """Decide whether zero is in the middle of the colours or at their start.

    The activation function decides where it is known, the data where it is not, and also
    where a value below zero shows that what was known is wrong: once for all tiles.
    """
    return bool(known) or bool((minimum < 0).any())


def color_limits(
    scale: ColorScale, minimum: NDArray[np.float64], maximum: NDArray[np.float64], *, signed: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values at the first and the last colour of each channel.

    Zero means zero: a signed figure runs from -m to m, any other from 0 to m, where m is
    the largest absolute value of the channel (``filter``) or of all channels (any other
    scale). A channel without a finite value other than 0 gets the empty range 0 to 0.

    Parameters
    ----------
    scale, signed
        What the user asked for, and what `is_signed` decided.
    minimum, maximum
        Float64, ``(channel,)``, of the finite values; NaN where there is none.
    """
    largest = np.nan_to_num(np.maximum(np.abs(minimum), np.abs(maximum)), nan=0.0)
    if scale.kind != "filter" and largest.size:
        largest = np.full(largest.shape, largest.max())
    return (-largest if signed else np.zeros(largest.shape)), largest


def is_valid_range(low: float, high: float) -> bool:
    """Tell whether two numbers are the ends of a range: finite, in order, and empty only at 0."""
    return math.isfinite(low) and math.isfinite(high) and (low < high or low == high == 0)


def symmetric_limits(low: float, high: float) -> tuple[float, float]:
    """Return a range in which zero, if it lies inside, is in the middle; else the same range."""
    largest = max(-low, high)
    return (-largest, largest) if low < 0 < high else (low, high)


def is_symmetric(low: float, high: float) -> bool:
    """Tell whether zero is the middle of a range, so that a diverging map is true to it."""
    return low == -high and low < 0


def default_colormap(*, centred: bool, dark: bool = False) -> str:
    """Return the colormap of a figure: diverging only where zero is its neutral middle.

    On a dark page the neutral colour of a diverging map is dark: zero must recede as it
    does in a sequential map, and strong values of either sign stand out from the page. The
    white middle of the light map would make zero the brightest thing on it.
    """
    if not centred:
        return SEQUENTIAL
    return DIVERGING_DARK if dark else DIVERGING


def values_to_steps(
    values: NDArray[Any],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    *,
    signed: bool = False,
) -> NDArray[np.uint8]:
    """Return the step of the colour table, 0..255, of each value.

    Computed in float64, rounded half to even; values beyond the range get its end, NaN
    the colour of zero in an empty range (see `paint_nonfinite`).

    Parameters
    ----------
    values
        ``(channel, ...)``, real numbers of any dtype; not written to.
    low, high
        Float64, ``(channel,)``; equal ends make an empty range, which is drawn in the
        colour of zero.
    signed
        Whether the colour of zero is the middle one, not the first.
    """
    flat = values.reshape(len(values), -1)
    steps = np.empty(flat.shape, dtype=np.uint8)
    # Halving keeps the width of the widest ranges below the largest float64.
    factor = 0.5 if np.abs(low).max(initial=0) > _HUGE or np.abs(high).max(initial=0) > _HUGE else 1.0
    bottom, width = low * factor, high * factor - low * factor
    empty = width <= 0
    width = np.where(empty, 1.0, width)
    count = max(1, _BLOCK // max(1, flat.shape[1]))
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        for start in range(0, len(flat), count):
            part = slice(start, start + count)
            block = flat[part].astype(np.float64)
            if factor != 1.0:
                block *= factor
            block -= bottom[part, None]
            block /= width[part, None]
            block *= _LAST
            np.rint(block, out=block)
            # Looking is a tenth of the work of clipping; NaN is no number between the two.
            if not (block.min(initial=0) >= 0 and block.max(initial=0) <= _LAST):
                # The order of the arguments turns NaN into the bound.
                np.fmin(np.fmax(block, 0, out=block), _LAST, out=block)
            steps[part] = block
    if empty.any():
        steps[empty] = _EMPTY_RANGE_STEP[signed]
    return steps.reshape(values.shape)


def steps_to_values(
    steps: NDArray[np.uint8], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the value that each step ``(channel, ...)`` stands for, float64."""
    ends = (-1,) + (1,) * (steps.ndim - 1)
    share = steps / _LAST
    # Not low + share * (high - low): the difference of the widest ranges is infinite.
    decoded: NDArray[np.float64] = low.reshape(ends) * (1 - share) + high.reshape(ends) * share
    return decoded


def pack_rgb(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return colours ``(..., RGB)`` uint8 as one uint32 a pixel: R, G, B and a zero byte."""
    wide = np.zeros((*colors.shape[:-1], 4), dtype=np.uint8)
    wide[..., :3] = colors
    codes: NDArray[np.uint32] = wide.view(np.uint32)[..., 0]
    return codes


def pack_color(color: RGB) -> np.uint32:
    """Return one colour in the form of `packed`."""
    return np.uint32(pack_rgb(np.array(color, dtype=np.uint8)))


def palette_with_background(
    steps: NDArray[np.uint8], colors: ColorTable, page: tuple[int, int, int]
) -> tuple[np.uint8, NDArray[np.uint8]]:
    """Return the place of the page's colour in a palette of 256, and the palette, uint8 ``(place, RGB)``.

    The palette is the table with that colour at a step that does not occur in `steps`. Where
    all of them do, there is no room, and the nearest colour stands for it.
    """
    used = np.zeros(STEPS, dtype=bool)
    flat = steps.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        used[flat[start : start + _BLOCK]] = True
        if used.all():
            distance = np.abs(colors.colors.astype(np.int64) - np.array(page)).sum(axis=1)
            return np.uint8(np.argmin(distance)), colors.colors
    palette = colors.colors.copy()
    index = np.uint8(np.argmin(used))
    palette[index] = page
    return index, palette


def steps_to_pixels(steps: NDArray[np.uint8], colors: ColorTable) -> NDArray[np.uint32]:
    """Return the packed colours of steps, in the same arrangement."""
    return pack_rgb(colors.colors).take(steps)


def paint_nonfinite(pixels: NDArray[np.uint32], values: NDArray[Any], colors: ColorTable) -> None:
    """Paint the pixels of NaN and the infinities in the marks of the table.

    `pixels` is written to and has the arrangement of `values`.
    """
    nan, above, below = (pack_color(color) for color in colors.nonfinite_colors)
    pixels[np.isnan(values)] = nan
    pixels[np.isposinf(values)] = above
    pixels[np.isneginf(values)] = below


def count_clipped(values: NDArray[Any], low: float, high: float) -> tuple[int, int]:
    """Count the finite values below and above a range, compared in float64."""
    with np.errstate(invalid="ignore"):
        below = np.count_nonzero((values < np.float64(low)) & (values != -np.inf))
        above = np.count_nonzero((values > np.float64(high)) & (values != np.inf))
    return int(below), int(above)


def tick_values(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers from `low` to `high`: both ends, and steps of 1, 2 or 5.

    A round number too near an end to be read beside it is left out.
    """
    width = high / 2 - low / 2
    if not width > 0:
        return [low]
    raw = width * 2 / (most - 1) if width < _HUGE else width / (most - 1) * 2
    power = 10.0 ** math.floor(math.log10(raw)) if raw > _TINY else raw
    step = next((power * unit for unit in (1, 2, 5, 10) if power * unit >= raw), raw)
    first, last = math.ceil(low / step), math.floor(high / step)
    if last - first > 2 * most:
        return [low, high]
    near = width * 2 * 0.09 if width < _HUGE else math.inf
    inner = [count * step for count in range(first, last + 1)]
    return [low, *(value for value in inner if low + near < value < high - near), high]
