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

if TYPE_CHECKING:
    from numpy.typing import NDArray

RGB = tuple[int, int, int]

STEPS = 256
SEQUENTIAL, DIVERGING = "inferno", "RdBu_r"

_LAST = STEPS - 1
# The colour of zero where the range is empty: the first, or the neutral one.
_FLAT = {False: 0, True: STEPS // 2}
_BLOCK = 1 << 15
_HUGE, _TINY = 1e300, 1e-300
_BAND = 64
# What paints NaN, +infinity and -infinity is picked from these, far from every colour of
# the table and from each other.
_MARKS: tuple[RGB, ...] = (
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
# Both have 256 distinct colours, are perceptually uniform or nearly so, and are safe for
# colour-blind readers; made from matplotlib's own tables, which a test compares.
_SHIPPED = {
    "inferno": (
        "AAADAAAEAAAGAQAHAQEJAQELAgEOAgIQAwISBAMUBAMWBQQYBgQbBwUdCAYfCQYhCgcjCwcmDQgo"
        "DggqDwktEAkvEgoyEwo0FAs2Fgs5Fws7GQs+GgtAHAxDHQxFHwxHIAxKIgtMJAtOJgtQJwtSKQtU"
        "KwpWLQpYLgpaMApcMgldNAlfNQlgNwlhOQliOwlkPAllPglmQAlmQQlnQwpoRQppRgppSAtqSgtq"
        "SwxrTQxrTw1sUA1sUg5sUw5tVQ9tVw9tWBBtWhFtWxFuXRJuXxJuYBNuYhRuYxRuZRVuZhVuaBZu"
        "ahduaxdubRhubhhucBluchltcxptdRttdhtteBxtehxtex1sfR1sfh5sgB9rgR9rgyBrhSBqhiFq"
        "iCFqiSJpiyJpjSNpjiRokCRokSVnkyVnlSZmliZmmCdlmShkmyhknCljniljoCpioSthoythpCxg"
        "pixfpy1fqS5eqy5drC9crjBbrzFbsTFasjJZtDNYtTNXtzRWuDVWujZVuzdUvTdTvjhSvzlRwTpQ"
        "wjtPxDxOxT1Nxz5MyD5LyT9Ky0BJzEFIzUJHz0RG0EVE0UZD0kdC1EhB1UlA1ko/10s+2U092k47"
        "20863FA53VI43lM331Q24FY04lcz41gy5Fox5Vsw5lwu5l4t518s6GEr6WIq6mQo62Un7Gcm7Wgl"
        "7Woj7mwi720h8G8f8HAe8XId8nQc8nUa83cZ83kY9HoW9XwV9X4U9oAS9oER94MQ94UO+IcN+IgM"
        "+IoL+YwJ+Y4I+ZAI+pEH+pMG+pUG+pcG+5kG+5sG+50G+54H+6AH+6II+6QK+6YL+6gN+6oO+6wQ"
        "+64S+7AU+7EW+7MY+7Ua+7cc+7ke+rsh+r0j+r8l+sEo+cMq+cUs+ccv+Mkx+Ms0+M03988699E8"
        "9tM/9tVC9ddF9dlI9NtL9NxP895S8+BW8+JZ8uRd8uZg8ehk8elo8ets8e1w8e508fB58fJ98vOB"
        "8vSF8/aJ9PeN9fiR9vqV9/uZ+fyd+v2g/P6k"
    ),
    "RdBu_r": (
        "BTBhBjJjBzRmCDZpCThsCjpvCzxyDD51DUB4DkN7D0V+EUeBEkmEE0uHFE2KFU+NFlGQF1STGFaV"
        "GViYGlqbHFyeHV6hHmCkH2KnIGSqIWasI2itJGquJWyvJ22wKG+wKXGxK3OyLHWzLXa0L3i1MHq2"
        "MXy3M324NH+5NYG5N4O6OIS7OYa8O4i9PIq+PYu/P43AQI/BQZHCQ5PDRpTESZbFTJjGT5rHUpzI"
        "VZ7JWKDKW6LLXqTMYabNZajOaKrPa6zQbq7RcbDSdLLTd7TVerbWfbjXgLrYhLzZh77aisDbjcLc"
        "kMTdk8XelcbfmMjfmsngncrhn8vhos3ipM7jp8/kqdDkq9LlrtPmsNTms9XntdfouNjoutnpvdrq"
        "v9zrwt3rxN7sx9/tyeHtzOLuzuPv0eXw0uXw0+bw1efw1ufx2Ojx2enx2+nx3Ory3uvy3+zy4ezz"
        "4u3z5O7z5e7z5+/06PD06vH06/H07fL17vP18PP18fT28/X29PX29vb29/b29/X09/Ty9/Pw+PLu"
        "+PDs+O/q+O7o+e3n+ezl+evj+erh+enf+ujd+ufb+uXZ+uTX++PW++LU++HS++DQ/N/O/N7M/N3K"
        "/NzI/dvH/NjE/NbB+9S++9K8+9C5+s62+sy0+sqx+ceu+cWr+cOp+MGm+L+j+L2h97ue97mb97eZ"
        "9rSW9rKT9bCQ9a6O9ayL9KqI9KiG9KaD86OA8qB+8Z5875t67ph47ZZ27JN065By6o5w6Itu54hs"
        "5oVq5YNo5IBl4n1j4Xth4Hhf33Vd3nJb3XBZ221X2mpV2WhT2GVR12JP1mBN1F1L01pK0VdJ0FRH"
        "zlFGzU9FzExDyklCyUZBx0M/xkA+xT48wzs7wjg6wDU4vzI3vjA2vC00uyozuScyuCQxtiEvtR8u"
        "tBwtshkrsBcqrRYqqhUppxQppBMooRIonhEnmxAnmRAnlg8mkw4mkA0ljQwligskhwokhAkjgQgj"
        "fgciewYieAUhdQQhcgMgbwIgbAEfaQAfZwAf"
    ),
}


@dataclass(frozen=True, slots=True)
class Table:
    """A colormap as 256 colours: `colors` is uint8, ``(step, RGB)``.

    `invertible` says that no two colours are equal, so that a colour tells its step;
    `marks` are the colours of NaN, +infinity and -infinity, none of them in the table.
    """

    name: str
    colors: NDArray[np.uint8]
    invertible: bool
    marks: tuple[RGB, RGB, RGB]


@functools.cache
def table(name: str) -> Table:
    """Return a colormap by matplotlib's name for it.

    Only names other than the two defaults import matplotlib, and never pyplot.

    Raises
    ------
    UsageError
        For an unknown name, with the nearest ones.
    """
    shipped = _SHIPPED.get(name)
    if shipped is not None:
        content = binascii.a2b_base64(shipped)
        colors = np.frombuffer(content, dtype=np.uint8).reshape(STEPS, 3)
    else:
        colors = _from_matplotlib(name)
    packed = colors.astype(np.uint32) @ np.array([1, 1 << 8, 1 << 16], dtype=np.uint32)
    return Table(name, colors, len(np.unique(packed)) == STEPS, _marks(colors))


def _from_matplotlib(name: str) -> NDArray[np.uint8]:
    from matplotlib import colormaps

    if name not in colormaps:
        near = difflib.get_close_matches(name, list(colormaps), n=3, cutoff=0.5)
        lower = {known.lower(): known for known in colormaps}
        if name.lower() in lower:
            near = [lower[name.lower()]]
        hint = f"did you mean {', '.join(near)}?" if near else "for instance viridis, magma, gray."
        message = f"no colormap is called {name!r}; {hint}"
        raise UsageError(message)
    # The number of colours of some maps depends on matplotlibrc: 256 whatever it says.
    map_ = colormaps[name].resampled(STEPS)
    colors: NDArray[np.uint8] = map_(np.arange(STEPS), bytes=True)[:, :3]
    return np.ascontiguousarray(colors)


def _marks(colors: NDArray[np.uint8]) -> tuple[RGB, RGB, RGB]:
    taken = colors.astype(np.int64)
    found: list[RGB] = []
    for _ in range(3):
        distances = [int(((taken - np.array(mark)) ** 2).sum(axis=1).min()) for mark in _MARKS]
        best = _MARKS[int(np.argmax(distances))]
        found.append(best)
        taken = np.concatenate([taken, [best]])
    return found[0], found[1], found[2]


@dataclass(frozen=True, slots=True)
class Scale:
    """What the colours of a tile stand for.

    `kind` is ``filter`` (each tile its own range), ``layer`` (one range for all of them)
    or ``fixed`` (from `low` to `high`, the same everywhere).
    """

    kind: str
    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        """Return what the command line takes."""
        return self.kind if self.kind != "fixed" else f"{self.low:g}:{self.high:g}"


def parse_scale(text: str) -> Scale:
    """Read ``filter``, ``layer`` or ``MIN:MAX``.

    Raises
    ------
    UsageError
        When it is none of them, or MIN is not below MAX, or one is not finite.
    """
    if text in {"filter", "layer"}:
        return Scale(text)
    low_text, colon, high_text = text.partition(":")
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        message = f"scale {text!r} means nothing here; use filter, layer or MIN:MAX, for instance 0:5."
        raise UsageError(message) from None
    if not colon or not (math.isfinite(low) and math.isfinite(high)):
        message = f"scale {text!r}: both ends must be finite numbers, for instance 0:5."
        raise UsageError(message)
    if low >= high:
        message = f"scale {text!r}: {low:g} is not below {high:g}; write the smaller one first."
        raise UsageError(message)
    return Scale("fixed", low, high)


def is_signed(known: bool | None, minimum: NDArray[np.float64]) -> bool:  # noqa: FBT001 - a fact, not a switch
    """Decide whether zero is in the middle of the colours or at their start.

    The activation function decides where it is known, the data where it is not, and also
    where a value below zero shows that what was known is wrong: once for all tiles.
    """
    return bool(known) or bool((minimum < 0).any())


def ranges(
    scale: Scale, minimum: NDArray[np.float64], maximum: NDArray[np.float64], *, signed: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values at the first and the last colour of each channel.

    Zero means zero: a signed figure runs from -m to m, any other from 0 to m, where m is
    the largest absolute value of the channel (``filter``) or of all channels (``layer``).
    A channel without a finite value other than 0 gets the empty range 0 to 0.

    Parameters
    ----------
    scale, signed
        What the user asked for, and what `is_signed` decided.
    minimum, maximum
        Float64, ``(channel,)``, of the finite values; NaN where there is none.
    """
    if scale.kind == "fixed":
        return np.full(minimum.shape, scale.low), np.full(minimum.shape, scale.high)
    largest = np.nan_to_num(np.maximum(np.abs(minimum), np.abs(maximum)), nan=0.0)
    if scale.kind == "layer" and largest.size:
        largest = np.full(largest.shape, largest.max())
    return (-largest if signed else np.zeros(largest.shape)), largest


def default_name(scale: Scale, *, signed: bool) -> str:
    """Return the colormap for a figure: diverging only where zero is its neutral middle."""
    centred = scale.kind != "fixed" or scale.low == -scale.high
    return DIVERGING if signed and centred else SEQUENTIAL


def quantise(
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
    flat_channels = width <= 0
    width = np.where(flat_channels, 1.0, width)
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
            # The order of the arguments turns NaN into the bound.
            np.fmin(np.fmax(block, 0, out=block), _LAST, out=block)
            steps[part] = block
    if flat_channels.any():
        steps[flat_channels] = _FLAT[signed]
    return steps.reshape(values.shape)


def dequantise(steps: NDArray[np.uint8], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the value that each step ``(channel, ...)`` stands for, float64."""
    ends = (-1,) + (1,) * (steps.ndim - 1)
    share = steps / _LAST
    # Not low + share * (high - low): the difference of the widest ranges is infinite.
    decoded: NDArray[np.float64] = low.reshape(ends) * (1 - share) + high.reshape(ends) * share
    return decoded


def packed(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return colours ``(..., RGB)`` uint8 as one uint32 a pixel: R, G, B and a zero byte."""
    wide = np.zeros((*colors.shape[:-1], 4), dtype=np.uint8)
    wide[..., :3] = colors
    one: NDArray[np.uint32] = wide.view(np.uint32)[..., 0]
    return one


def pixel(color: RGB) -> np.uint32:
    """Return one colour in the form of `packed`."""
    return np.uint32(packed(np.array(color, dtype=np.uint8)))


def unpacked(pixels: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return pixels ``(row, column)`` of `packed` as ``(row, column, RGB)`` uint8."""
    wide = np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape, 4)
    found = np.empty((*pixels.shape, 3), dtype=np.uint8)
    # A band of rows stays in the cache while its three colours are copied one by one,
    # which is four times as fast as copying three bytes a pixel.
    for start in range(0, len(found), _BAND):
        for color in range(3):
            found[start : start + _BAND, :, color] = wide[start : start + _BAND, :, color]
    return found


def with_white(steps: NDArray[np.uint8], colors: Table) -> tuple[np.uint8, NDArray[np.uint8]]:
    """Return the place of white in a palette of 256 colours, and the palette, uint8 ``(place, RGB)``.

    The palette is the table with white at a step that does not occur in `steps`. Where all
    of them do, there is no room, and the lightest colour stands for white.
    """
    used = np.zeros(STEPS, dtype=bool)
    flat = steps.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        used[flat[start : start + _BLOCK]] = True
        if used.all():
            return np.uint8(np.argmax(colors.colors.astype(np.int64).sum(axis=1))), colors.colors
    palette = colors.colors.copy()
    place = np.uint8(np.argmin(used))
    palette[place] = 255
    return place, palette


def paint(steps: NDArray[np.uint8], colors: Table) -> NDArray[np.uint32]:
    """Return the packed colours of steps, in the same arrangement."""
    return packed(colors.colors).take(steps)


def paint_nonfinite(pixels: NDArray[np.uint32], values: NDArray[Any], colors: Table) -> None:
    """Paint the pixels of NaN and the infinities in the marks of the table.

    `pixels` is written to and has the arrangement of `values`.
    """
    nan, above, below = (pixel(mark) for mark in colors.marks)
    pixels[np.isnan(values)] = nan
    pixels[np.isposinf(values)] = above
    pixels[np.isneginf(values)] = below


def count_clipped(values: NDArray[Any], scale: Scale) -> int:
    """Count the finite values that lie outside a fixed scale."""
    if scale.kind != "fixed":
        return 0
    with np.errstate(invalid="ignore"):
        outside = (values < scale.low) | (values > scale.high)
    return int(np.count_nonzero(outside & np.isfinite(values)))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
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
