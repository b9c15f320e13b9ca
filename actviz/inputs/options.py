"""How inputs are read: the options of the command line, parsed."""

from __future__ import annotations

from dataclasses import dataclass

RESIZES = ("fit", "crop", "stretch")
MAXIMUM_PIXELS = 50_000_000


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How inputs become arrays.

    `resize` is ``fit`` (whole picture, padded with `background`), ``crop`` (filled, centre
    kept) or ``stretch``. `preprocess` is ``auto`` or one of the named ranges, or
    ``MEAN,STD``. `layout` says the order of the axes of an array: ``auto`` takes it as the
    network's own, ``channels_first`` and ``channels_last`` convert. `background` is RGB,
    0..255, behind transparent pixels and around fitted pictures.
    """

    resize: str = "fit"
    preprocess: str = "auto"
    invert: bool = False
    layout: str = "auto"
    allow_nonfinite: bool = False
    max_pixels: int = MAXIMUM_PIXELS
    frame: int = 0
    background: str = "white"
    seed: int = 0
