"""Image files as arrays: recognised by content, decoded within limits, every band or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.errors import InputError
from actviz.inputs import image_structure, pillow_images
from actviz.inputs.channels import DecodedImage
from actviz.inputs.pillow_images import DECODERS, Wanted

if TYPE_CHECKING:
    from actviz.inputs.input_options import InputOptions

__all__ = ["DECODERS", "DecodedImage", "decode"]

# A file that ends before its end mark was cut, even if enough is left to fill all rows.
_END_MARKS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}


def decode(  # noqa: PLR0913  (frames are the exception)
    content: bytes, kind: str, path: str, channels: int | None, options: InputOptions, *, frames: bool = False
) -> DecodedImage:
    """Decode an image file into `channels` channels.

    Parameters
    ----------
    kind
        What `sniff.kind_of` says.
    path
        What messages call the file.
    channels
        How many the input takes; ``None``: any, so that the image decides.
    frames
        Return all frames or pages, ``(frame, row, column, channel)``, instead of one.

    Raises
    ------
    InputError
        When the file is truncated or damaged, has no such frame, or its bands have no known
        conversion into the channels.
    LimitError
        When it has more pixels than `options` allow, or more frames, scans or texts than are
        read, or takes too long; the first three before anything is decoded.

    """
    end_mark = _END_MARKS.get(kind)
    if end_mark is not None and end_mark not in content:
        message = f"{path}: the {kind} image is truncated (no end mark); copy or save it again."
        raise InputError(message)
    wanted = Wanted(channels, frames, options)
    if image_structure.is_bounded(kind, content, path):
        return pillow_images.decode(content, kind, path, wanted)
    # What is bounded is decoded here: the way to a process and back would cost a digit as much as it takes to decode.
    from actviz.inputs.decoder import DECODER

    return DECODER.decode(content, kind, path, wanted)
