"""Options for reading inputs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from actviz.errors import UsageError, escape
from actviz.inputs.input_function import InputFunction  # noqa: TC001  (read at run time by `system.serialization`)
from actviz.inputs.preprocessing import AUTO, parse_preprocessing

RESIZES = ("stretch", "crop", "pad")
LAYOUTS = ("auto", "channels_last", "channels_first")
MAXIMUM_PIXELS = 50_000_000
MAX_FRAME = 9_999
MAX_RATE = 1_000_000


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How files are converted to the inputs of a network.

    Parameters
    ----------
    resize
        How an image of another size is resized. ``stretch``: without keeping the aspect ratio, as
        Keras's loaders do. ``crop``: scaled to cover the size, then cropped to the center. ``pad``:
        scaled to fit, then padded with `background`.
    preprocess
        ``auto`` or a value of `parse_preprocessing`. Arrays are never rescaled.
    invert
        Invert images (dark ink on paper becomes light on black).
    layout
        Layout of arrays for image inputs; ``auto`` is that of the network, and arrays that fit both
        layouts are refused.
    allow_nonfinite
        Accept NaN and infinity, counted in a note.
    maximum_pixels
        Largest number of pixels of an image, checked before it is decoded.
    frame
        Index of the frame of an animation, or page of a TIFF; the first is 0.
    background
        RGB, 0..255, a color name or ``#rrggbb``; used behind transparent pixels and for padding.
    seed
        Seed of the noise that is used if no input is given.
    sample_rate
        Rate in Hz that sounds are resampled to; ``None``: not resampled.
    stateful
        Run the samples of one input in order, each with the state after the previous one.
    function
        The user's function that reads and prepares the files, in place of all other options but
        `layout`, `allow_nonfinite` and `stateful`; it is not sent to other processes.

    """

    resize: str = "stretch"
    preprocess: str = AUTO
    invert: bool = False
    layout: str = "auto"
    allow_nonfinite: bool = False
    maximum_pixels: int = MAXIMUM_PIXELS
    frame: int = 0
    background: tuple[int, int, int] | str = (255, 255, 255)
    seed: int = 0
    sample_rate: int | None = None
    stateful: bool = False
    function: InputFunction | None = None

    def __post_init__(self) -> None:
        """Check the values before any file is opened."""
        _one_of("--resize", self.resize, RESIZES)
        _one_of("--layout", self.layout, LAYOUTS)
        if self.preprocess != AUTO:
            parse_preprocessing(self.preprocess)
        _at_least("--max-pixels", self.maximum_pixels, 1)
        _at_least("--frame", self.frame, 0)
        if self.frame > MAX_FRAME:
            raise UsageError(f"--frame {self.frame}: at most {MAX_FRAME:,} is read.")
        _at_least("--seed", self.seed, 0)
        if self.sample_rate is not None:
            _at_least("--sample-rate", self.sample_rate, 1)
            if self.sample_rate > MAX_RATE:
                raise UsageError(f"--sample-rate {self.sample_rate}: at most {MAX_RATE:,} Hz.")
        parse_color(self.background)

    def code_record(self) -> dict[str, str]:
        """Return name and hash of `function`, as they are recorded with results; without one, no key."""
        return {} if self.function is None else self.function.record()

    def record(self) -> dict[str, Any]:
        """Return all options, as they are recorded with results."""
        values = {option.name: getattr(self, option.name) for option in fields(self) if option.name != "function"}
        return values | self.code_record()


def parse_color(color: tuple[int, int, int] | str) -> tuple[int, int, int]:
    """Return red, green and blue (0..255) of a color, given as such, as a name or as ``#rrggbb``.

    Raises
    ------
    UsageError
        When it is no color.
    """
    if isinstance(color, tuple):
        return color
    from PIL import ImageColor  # the default needs no Pillow

    try:
        red, green, blue = ImageColor.getrgb(color)[:3]
    except ValueError:
        message = f"--background {escape(color, 40)}: not a color; give a name such as black, or #rrggbb."
        raise UsageError(message) from None
    return red, green, blue


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{option} {escape(value, 40)}: choose one of {', '.join(choices)}.")


def _at_least(option: str, value: int, lowest: int) -> None:
    if value < lowest:
        raise UsageError(f"{option} {value}: give a whole number of at least {lowest}.")
