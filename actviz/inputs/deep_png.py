"""Decode PNG files with several bands of 16 bits, of which Pillow would drop the lower 8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actviz.inputs import pillow_images
from actviz.inputs.channels import COLOR, COLOR_CHANNELS, GREY, Bands, DecodedImage, to_channels

if TYPE_CHECKING:
    from actviz.inputs.pillow_images import DecodeTarget


def decode(content: bytes, path: str, target: DecodeTarget) -> DecodedImage:
    """Decode a PNG file of 16 bits; see `images.decode`. Animations are decoded by Pillow."""
    with pillow_images.guarded(path, "PNG", target.options.maximum_pixels):
        image = pillow_images.open_image(content, "PNG")
        pillow_images.check_pixels(image.size[::-1], path, target.options.maximum_pixels)
        if getattr(image, "is_animated", False):
            return pillow_images.decode(content, "PNG", path, target)
        if target.options.frame:
            raise pillow_images.no_frame(path, target.options.frame)
        import imagecodecs

        samples = imagecodecs.png_decode(content)
        orientation, damaged = pillow_images.orientation_of(image)
        notes = pillow_images.damaged_notes(path) if damaged else []
        samples = pillow_images.turned(samples, orientation)
        count = samples.shape[2]
        alpha = count in {2, COLOR_CHANNELS + 1}
        meaning = COLOR if count >= COLOR_CHANNELS else GREY
        bands = Bands(pillow_images.scaled(samples, 16, path), meaning, alpha)
        image_channels = to_channels(bands, target.channels, target.background, path)
        values = image_channels.values[None] if target.frames else image_channels.values
        return DecodedImage(np.ascontiguousarray(values), tuple(notes), image_channels.alpha)
