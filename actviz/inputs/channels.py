"""From the bands of an image to the channels of an input: only by conversions that are known.

A band is never dropped without a word. Colour becomes grey, grey becomes colour, and alpha is
mixed with a background; anything else is refused, with the numbers on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError
from actviz.records import Array  # noqa: TC001  (read at run time by `system.serialization`)

if TYPE_CHECKING:
    from numpy.typing import NDArray

GREY, COLOUR, BANDS = "grey", "colour", "bands"
GREY_CHANNELS, COLOUR_CHANNELS = 1, 3
# Into which numbers of channels grey and colour convert, without and with alpha.
_KNOWN = (
    {GREY: (GREY_CHANNELS, COLOUR_CHANNELS), COLOUR: (COLOUR_CHANNELS, GREY_CHANNELS)},
    {GREY: (GREY_CHANNELS, COLOUR_CHANNELS, COLOUR_CHANNELS + 1), COLOUR: (COLOUR_CHANNELS, GREY_CHANNELS)},
)
_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow's conversion to grey


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image as it is fed before resizing: uint8 0..255 or float32 0..1.

    Parameters
    ----------
    values
        uint8 or float32, ``(row, column, channel)``, or ``(frame, row, column, channel)`` where frames were asked for.
    notes
        Lines about how it was read.
    alpha
        Whether the last channel is opacity.
    """

    values: Array
    notes: tuple[str, ...] = ()
    alpha: bool = False


@dataclass(frozen=True, slots=True)
class Bands:
    """An image as its file stores it, before its bands become channels.

    Parameters
    ----------
    values
        ``(row, column, band)``, uint8 0..255 or float32 0..1.
    meaning
        `GREY` (one band), `COLOUR` (red, green, blue) or `BANDS` (any number), alpha not counted.
    alpha
        Whether the last band is opacity, not multiplied into the others.
    """

    values: NDArray[Any]
    meaning: str
    alpha: bool


def can_convert(meaning: str, *, count: int, alpha: bool, channels: int) -> bool:
    """Return whether an image of `count` bands, alpha included, has a known conversion into `channels`."""
    return channels == count or channels in (
        _KNOWN[alpha][meaning] if meaning != BANDS else (count - 1,) if alpha else ()
    )


def check_channels(meaning: str, *, count: int, alpha: bool, channels: int, path: str) -> None:
    """Refuse an image whose bands have no known conversion into the channels of an input.

    Raises
    ------
    InputError
        With the number of bands, what they are, and the number of channels.
    """
    if can_convert(meaning, count=count, alpha=alpha, channels=channels):
        return
    names = {GREY: "grey", COLOUR: "red, green, blue", BANDS: "bands without a colour"}[meaning]
    held = f"{count} band{'s' if count != 1 else ''} ({names}{', alpha' if alpha else ''})"
    message = f"{path}: the image has {held}, the input takes {channels} channels, and no conversion between them is known; give an image with {channels} bands (such as a TIFF), or give an array of that shape (.npy)."
    raise InputError(message)


def to_channels(bands: Bands, channels: int | None, background: tuple[int, int, int], path: str) -> DecodedImage:
    """Return bands as the channels of an input.

    Parameters
    ----------
    channels
        How many the input takes; ``None`` (any): as many as there are bands, or three of an
        image in grey or colour, as most networks of free input were trained on.
    background
        Red, green and blue, 0..255, that shows through where alpha is dropped.

    Raises
    ------
    InputError
        When no conversion is known.
    """
    count = bands.values.shape[2]
    if channels is None:
        channels = count if bands.meaning == BANDS else COLOUR_CHANNELS
    check_channels(bands.meaning, count=count, alpha=bands.alpha, channels=channels, path=path)
    if channels == count:
        return DecodedImage(bands.values, alpha=bands.alpha)
    values = _as_float(bands.values)
    if bands.alpha and bands.meaning == BANDS:
        return DecodedImage(_without_opaque(bands, channels, path))
    if bands.alpha and channels == COLOUR_CHANNELS + 1:  # grey with alpha
        return DecodedImage(np.concatenate([values[:, :, :1].repeat(3, axis=2), values[:, :, 1:]], axis=2), alpha=True)
    if bands.alpha:
        values = _on_background(values, background)
    if channels == GREY_CHANNELS and values.shape[2] == COLOUR_CHANNELS:
        values = (values.astype(np.float64) @ np.array(_LUMINANCE)).astype(np.float32)[:, :, None]
    elif channels == COLOUR_CHANNELS and values.shape[2] == GREY_CHANNELS:
        values = values.repeat(COLOUR_CHANNELS, axis=2)
    return DecodedImage(values)


def _as_float(values: NDArray[Any]) -> NDArray[np.float32]:
    return values if values.dtype == np.float32 else (values / np.float32(255)).astype(np.float32)


def _without_opaque(bands: Bands, channels: int, path: str) -> NDArray[Any]:
    """Return bands without their alpha, which no colour can show through: it must be opaque everywhere."""
    alpha, full = bands.values[:, :, -1], 255 if bands.values.dtype == np.uint8 else 1
    if (alpha != full).any():
        message = f"{path}: the image has {channels} bands and an alpha channel that is not opaque, the input takes {channels} channels; save the bands without alpha, or give an array (.npy)."
        raise InputError(message)
    return np.ascontiguousarray(bands.values[:, :, :-1])


def _on_background(values: NDArray[np.float32], background: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return grey or colour with alpha as colour in front of a background; grey stays grey in front of grey."""
    colour, alpha = values[:, :, :-1], values[:, :, -1:]
    behind = np.array(background, np.float32) / np.float32(255)
    if colour.shape[2] == GREY_CHANNELS and len(set(background)) == 1:
        behind = behind[:1]
    mixed: NDArray[np.float32] = colour * alpha + behind * (1 - alpha)
    return mixed.astype(np.float32)
