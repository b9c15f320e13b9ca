"""Mapping of values to colors: colormaps, color limits and the colors of NaN and infinities.

Constant, empty, non-finite, denormal and huge values are handled here for all figures.
"""

from __future__ import annotations

import binascii
import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError
from actviz.suggestions import did_you_mean, near_names
from actviz.system import file_system

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.figures.color_scale import ColorScale

RGB = tuple[int, int, int]

_MOST_CATEGORIES, _VISIBLE_DIP = 20, 4.0
STEPS = 256
SEQUENTIAL, DIVERGING, DIVERGING_DARK = "inferno", "RdBu_r", "berlin"

_LAST = STEPS - 1
# The step that an empty range has, by whether the figure is signed: the first, or the neutral middle.
_EMPTY_RANGE_STEP = {False: 0, True: STEPS // 2}
_BLOCK = 1 << 15
_HUGE, _TINY = 1e300, 1e-300
_MAX_TABLE_BYTES = 1 << 16
# The colors of NaN, +infinity and -infinity are those of these that are farthest from all colors
# of the colormap and from each other.
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
    """A colormap of 256 colors.

    Attributes
    ----------
    colors
        Shape ``(step, RGB)``, uint8.
    invertible
        Whether all colors differ, so that a color determines its step.
    nonfinite_colors
        The colors of NaN, +infinity and -infinity, none of which is in the colormap.
    """

    name: str
    colors: NDArray[np.uint8]
    invertible: bool
    nonfinite_colors: tuple[RGB, RGB, RGB]


@functools.cache
def table(name: str) -> ColorTable:
    """Return the colormap with a name of matplotlib.

    Matplotlib is only imported for names other than the three defaults, pyplot never.

    Raises
    ------
    UsageError
        If the name is unknown; the message lists similar names.
    """
    shipped = shipped_colormaps().get(name)
    colors = from_matplotlib(name) if shipped is None else shipped
    codes = colors.astype(np.uint32) @ np.array([1, 1 << 8, 1 << 16], dtype=np.uint32)
    return ColorTable(name, colors, len(set(codes.tolist())) == STEPS, _pick_nonfinite_colors(colors))


@functools.cache
def shipped_colormaps() -> dict[str, NDArray[np.uint8]]:
    """Return the default colormaps, uint8 ``(step, RGB)``, by name: matplotlib's own, which takes 0.2 s to import.

    All colors of each are distinct, so that a color determines its step, and safe for color-blind readers.
    ``python tests/tools/make_colormaps.py`` writes the file.
    """
    tables = json.loads(file_system.read_bytes(Path(__file__).with_name("colormaps.json"), _MAX_TABLE_BYTES))
    return {
        name: np.frombuffer(binascii.a2b_base64(content), np.uint8).reshape(STEPS, 3)
        for name, content in tables.items()
    }


def from_matplotlib(name: str) -> NDArray[np.uint8]:
    """Return 256 colors of a colormap of matplotlib, uint8 ``(step, RGB)``; see `table`."""
    from matplotlib import colormaps as known_maps

    if name not in known_maps:
        hint = did_you_mean(near_names(name, known_maps)) or "for instance viridis, magma, gray."
        raise UsageError(f"unknown colormap {name!r}; {hint}")
    # The number of colors of some colormaps depends on matplotlibrc.
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
    """Return True if zero has the middle color rather than the first, for all tiles alike.

    `known` is the sign of the activation function, ``None`` if unknown. A negative `minimum`, which is
    ``(channel,)``, makes a figure signed even if the activation function is recorded as non-negative.
    """
    return bool(known) or bool((minimum < 0).any())


def color_limits(
    scale: ColorScale, minimum: NDArray[np.float64], maximum: NDArray[np.float64], *, signed: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values of the first and the last color of each channel, two arrays ``(channel,)``, float64.

    A signed figure has the limits -m and m, any other 0 and m, where m is the largest absolute value
    of the channel (scale ``filter``) or of all channels (any other scale). A channel without a finite
    value other than 0 has the empty range 0 to 0.

    Parameters
    ----------
    scale, signed
        The requested scale, and the result of `is_signed`.
    minimum, maximum
        Of the finite values, float64, ``(channel,)``; NaN where there is none.
    """
    largest = np.nan_to_num(np.maximum(np.abs(minimum), np.abs(maximum)), nan=0.0)
    if scale.kind != "filter" and largest.size:
        largest = np.full(largest.shape, largest.max())
    return (-largest if signed else np.zeros(largest.shape)), largest


def fraction_of_range(value: float, low: float, high: float) -> float:
    """Return the position of a value between `low` (0) and `high` (1), clipped to them; 0.5 in an empty range."""
    # Halving keeps the width of the widest ranges finite, but the width of the narrowest would become 0.
    factor = 0.5 if high > _HUGE or low < -_HUGE else 1.0
    width = high * factor - low * factor
    return min(1.0, max(0.0, (value * factor - low * factor) / width)) if width > 0 else 0.5


def is_valid_range(low: float, high: float) -> bool:
    """Return True if two numbers are valid color limits: finite and increasing, or both 0."""
    return math.isfinite(low) and math.isfinite(high) and (low < high or low == high == 0)


def symmetric_limits(low: float, high: float) -> tuple[float, float]:
    """Return limits with zero in the middle if zero is between them, otherwise the same limits."""
    largest = max(-low, high)
    return (-largest, largest) if low < 0 < high else (low, high)


def is_symmetric(low: float, high: float) -> bool:
    """Return True if zero is the middle of a range, as a diverging colormap requires."""
    return low == -high and low < 0


def default_colormap(*, centred: bool, dark: bool = False) -> str:
    """Return the name of the default colormap: diverging if zero is the middle of the range (`centred`).

    The diverging colormap of a dark page has a dark middle, since the white middle of ``RdBu_r`` would
    make zero the brightest color on it.
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
    """Map each value to its color step, 0..255, between the limits of its channel.

    Computed in float64 and rounded half to even. Values outside the limits are clipped; the step of NaN
    is arbitrary (see `paint_nonfinite`).

    Parameters
    ----------
    values
        Shape ``(channel, ...)``, real numbers of any dtype; not modified.
    low, high
        Color limits, float64, ``(channel,)``. If they are equal, all values of the channel have the step of zero.
    signed
        Whether zero has the middle step rather than the first.
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
            # Checking takes a tenth of the time of clipping; the check fails for NaN.
            if not (block.min(initial=0) >= 0 and block.max(initial=0) <= _LAST):
                # fmax and fmin return the limit where the value is NaN.
                np.fmin(np.fmax(block, 0, out=block), _LAST, out=block)
            steps[part] = block
    if empty.any():
        steps[empty] = _EMPTY_RANGE_STEP[signed]
    return steps.reshape(values.shape)


def misleading(name: str, *, signed: bool) -> str:
    """Return why a colormap misleads for values that have no categories, ``""`` if it does not.

    Lightness must rise or fall with the values; on `signed` values it may turn in the middle.
    """
    colors = table(name).colors.astype(np.float64) / 255
    if len(np.unique(colors, axis=0)) <= _MOST_CATEGORIES:
        return f"colormap {name} is for categories: neighbouring values have unrelated colors"
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004  (sRGB)
    lightness = 116 * np.cbrt(linear @ (0.2126, 0.7152, 0.0722)) - 16
    if _is_monotonic(lightness):
        return ""
    half = len(lightness) // 2
    first, second = lightness[:half], lightness[half:]
    turns = _is_monotonic(first) and _is_monotonic(second) and (first[-1] > first[0]) != (second[-1] > second[0])
    if turns:
        return "" if signed else f"colormap {name} is diverging: its middle means nothing for values of one sign"
    return f"colormap {name} is not ordered in lightness: edges in it need not be edges of the values"


def _is_monotonic(lightness: NDArray[np.float64]) -> bool:
    """Return True if lightness rises or falls, but for dips that are not visible."""
    rising = lightness if lightness[-1] >= lightness[0] else lightness[::-1]
    return bool((np.maximum.accumulate(rising) - rising).max() <= _VISIBLE_DIP)


def pack_rgb(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return colors ``(..., RGB)``, uint8, as one uint32 per pixel with the bytes R, G, B, 0."""
    wide = np.zeros((*colors.shape[:-1], 4), dtype=np.uint8)
    wide[..., :3] = colors
    codes: NDArray[np.uint32] = wide.view(np.uint32)[..., 0]
    return codes


def pack_color(color: RGB) -> np.uint32:
    """Return one color as `pack_rgb` packs it."""
    return np.uint32(pack_rgb(np.array(color, dtype=np.uint8)))


def palette_with_background(
    steps: NDArray[np.uint8], colors: ColorTable, page: tuple[int, int, int]
) -> tuple[np.uint8, NDArray[np.uint8]]:
    """Return the index of the page's color in a palette of 256 colors, and the palette, uint8 ``(index, RGB)``.

    The palette is the colormap with the color of the page at a step that does not occur in `steps`. If all
    steps occur, it is the colormap, and the index is that of the most similar color.
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
    """Return the packed colors of color steps, uint32, with the shape of `steps`."""
    return pack_rgb(colors.colors).take(steps)


def paint_nonfinite(pixels: NDArray[np.uint32], values: NDArray[Any], colors: ColorTable) -> None:
    """Set the pixels of NaN and infinities to the non-finite colors of the colormap.

    `pixels` has the shape of `values` and is modified in place.
    """
    nan, above, below = (pack_color(color) for color in colors.nonfinite_colors)
    pixels[np.isnan(values)] = nan
    pixels[np.isposinf(values)] = above
    pixels[np.isneginf(values)] = below


def count_clipped(values: NDArray[Any], low: float, high: float) -> tuple[int, int]:
    """Return the numbers of finite values below and above a range, compared in float64."""
    with np.errstate(invalid="ignore"):
        below = np.count_nonzero((values < np.float64(low)) & (values != -np.inf))
        above = np.count_nonzero((values > np.float64(high)) & (values != np.inf))
    return int(below), int(above)


def tick_values(low: float, high: float, most: int = 6) -> list[float]:
    """Return tick values: `low`, `high`, and multiples of 1, 2 or 5 times a power of ten between them.

    Values within 9% of an end are omitted, since their labels would overlap.
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
