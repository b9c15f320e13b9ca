"""Convert the bands of an image to the channels of an input.

Color is converted to gray and back, and alpha is blended with a background. Other conversions are
refused; no band is dropped silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError
from actviz.records import Array  # noqa: TC001  (read at run time by `system.serialization`)

if TYPE_CHECKING:
    from numpy.typing import NDArray

GREY, COLOR, BANDS = "grey", "color", "bands"
GREY_CHANNELS, COLOR_CHANNELS = 1, 3
# Numbers of channels that gray and color can be converted to, without and with alpha.
_KNOWN = (
    {GREY: (GREY_CHANNELS, COLOR_CHANNELS), COLOR: (COLOR_CHANNELS, GREY_CHANNELS)},
    {GREY: (GREY_CHANNELS, COLOR_CHANNELS, COLOR_CHANNELS + 1), COLOR: (COLOR_CHANNELS, GREY_CHANNELS)},
)
_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow's conversion to grey


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image before it is resized.

    Parameters
    ----------
    values
        uint8 0..255 or float32 0..1, ``(row, column, channel)``, or ``(frame, row, column, channel)`` if
        frames were requested.
    notes
        How the file was read.
    alpha
        Whether the last channel is alpha.
    """

    values: Array
    notes: tuple[str, ...] = ()
    alpha: bool = False


@dataclass(frozen=True, slots=True)
class Bands:
    """An image with the bands of its file.

    Parameters
    ----------
    values
        ``(row, column, band)``, uint8 0..255 or float32 0..1.
    meaning
        `GREY` (one band), `COLOR` (red, green, blue) or `BANDS` (any number), without alpha.
    alpha
        Whether the last band is straight alpha, not multiplied into the others.
    """

    values: NDArray[Any]
    meaning: str
    alpha: bool


def can_convert(meaning: str, *, count: int, alpha: bool, channels: int) -> bool:
    """Return True if an image of `count` bands, including alpha, can be converted to `channels`."""
    return channels == count or channels in (
        _KNOWN[alpha][meaning] if meaning != BANDS else (count - 1,) if alpha else ()
    )


def check_channels(meaning: str, *, count: int, alpha: bool, channels: int, path: str) -> None:
    """Refuse an image whose bands cannot be converted to the channels of an input.

    Raises
    ------
    InputError
        When they cannot; with both numbers and the meaning of the bands.
    """
    if can_convert(meaning, count=count, alpha=alpha, channels=channels):
        return
    names = {GREY: "grey", COLOR: "red, green, blue", BANDS: "bands without a color"}[meaning]
    bands = f"{count} band{'s' if count != 1 else ''} ({names}{', alpha' if alpha else ''})"
    message = f"{path}: the image has {bands}, the input takes {channels} channels, and no conversion between them is known; give an image with {channels} bands (such as a TIFF), or give an array of that shape (.npy)."
    raise InputError(message)


def to_channels(bands: Bands, channels: int | None, background: tuple[int, int, int], path: str) -> DecodedImage:
    """Convert bands to the channels of an input.

    Parameters
    ----------
    channels
        Channels of the input. If ``None`` (any number), gray and color images get three, as most
        networks with a free number were trained on color; other images keep their bands.
    background
        Red, green and blue, 0..255, to blend with where alpha is dropped.

    Raises
    ------
    InputError
        When the conversion is not supported.
    """
    count = bands.values.shape[2]
    if channels is None:
        channels = count if bands.meaning == BANDS else COLOR_CHANNELS
    check_channels(bands.meaning, count=count, alpha=bands.alpha, channels=channels, path=path)
    if channels == count:
        return DecodedImage(bands.values, alpha=bands.alpha)
    values = _as_float(bands.values)
    if bands.alpha and bands.meaning == BANDS:
        return DecodedImage(_without_opaque(bands, channels, path))
    if bands.alpha and channels == COLOR_CHANNELS + 1:  # grey with alpha
        return DecodedImage(np.concatenate([values[:, :, :1].repeat(3, axis=2), values[:, :, 1:]], axis=2), alpha=True)
    if bands.alpha:
        values = _on_background(values, background)
    if channels == GREY_CHANNELS and values.shape[2] == COLOR_CHANNELS:
        values = (values.astype(np.float64) @ np.array(_LUMINANCE)).astype(np.float32)[:, :, None]
    elif channels == COLOR_CHANNELS and values.shape[2] == GREY_CHANNELS:
        values = values.repeat(COLOR_CHANNELS, axis=2)
    return DecodedImage(values)


def _as_float(values: NDArray[Any]) -> NDArray[np.float32]:
    return values if values.dtype == np.float32 else (values / np.float32(255)).astype(np.float32)


def _without_opaque(bands: Bands, channels: int, path: str) -> NDArray[Any]:
    """Return bands without alpha, which must be opaque, as bands cannot be blended with a background color."""
    alpha, full = bands.values[:, :, -1], 255 if bands.values.dtype == np.uint8 else 1
    if (alpha != full).any():
        message = f"{path}: the image has {channels} bands and an alpha channel that is not opaque, the input takes {channels} channels; save the bands without alpha, or give an array (.npy)."
        raise InputError(message)
    return np.ascontiguousarray(bands.values[:, :, :-1])


def _on_background(values: NDArray[np.float32], background: tuple[int, int, int]) -> NDArray[np.float32]:
    """Blend gray or color with a background; the result is gray if both are."""
    color, alpha = values[:, :, :-1], values[:, :, -1:]
    behind = np.array(background, np.float32) / np.float32(255)
    if color.shape[2] == GREY_CHANNELS and len(set(background)) == 1:
        behind = behind[:1]
    mixed: NDArray[np.float32] = color * alpha + behind * (1 - alpha)
    return mixed.astype(np.float32)
