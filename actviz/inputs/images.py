"""Decode image files to arrays within limits; the format is detected from the content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.errors import InputError
from actviz.inputs import image_structure, pillow_images
from actviz.inputs.channels import DecodedImage
from actviz.inputs.pillow_images import DECODERS, DecodeTarget

if TYPE_CHECKING:
    from actviz.inputs.input_options import InputOptions

__all__ = ["DECODERS", "DecodedImage", "decode"]

# A file without its end marker is truncated, even if all rows can be decoded.
_END_MARKS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}


def decode(  # noqa: PLR0913  (`frames` is rarely given)
    content: bytes, kind: str, path: str, channels: int | None, options: InputOptions, *, frames: bool = False
) -> DecodedImage:
    """Decode an image file into `channels` channels.

    Parameters
    ----------
    kind
        The format, from `file_type.kind_of`.
    path
        Name of the file in messages.
    channels
        Channels of the input; ``None``: any number.
    frames
        Return all frames or pages, ``(frame, row, column, channel)``, instead of one.

    Raises
    ------
    InputError
        When the file is truncated or damaged, has no such frame, or its bands cannot be converted
        to the channels.
    LimitError
        When it exceeds a limit on pixels, frames, scans or texts (checked before decoding) or on time.
    """
    end_mark = _END_MARKS.get(kind)
    if end_mark is not None and end_mark not in content:
        raise InputError(f"{path}: the {kind} image is truncated (no end mark); copy or save it again.")
    target = DecodeTarget(channels, frames, options)
    if image_structure.is_bounded(kind, content, path):
        return pillow_images.decode(content, kind, path, target)
    # Other images are decoded in another process: for a small digit, the transfer takes as long as decoding.
    from actviz.inputs.decoder import DECODER

    return DECODER.decode(content, kind, path, target)
