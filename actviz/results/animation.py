"""Animations as GIF or WebP, with embedded provenance."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

from actviz.errors import OutputError
from actviz.results.png import KEYWORD
from actviz.results.provenance_json import dump_json
from actviz.system.file_system import reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".gif", ".webp")
MAX_BYTES = 512 << 20
_COMMENT, _TRAILER, _BLOCK = b"\x21\xfe", b"\x3b", 255
_CHUNK = b"ACTV"


def encode_animation(
    frames: Sequence[NDArray[np.uint8]], durations: Sequence[int], suffix: str, provenance: dict[str, Any]
) -> bytes:
    """Return an animation that loops, GIF or lossless WebP by its suffix.

    Parameters
    ----------
    frames
        RGB images ``(row, column, 3)`` of one size.
    durations
        The milliseconds of each frame.
    provenance
        Stored as JSON: in a comment of a GIF, in a chunk of its own of a WebP.
    """
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    text = KEYWORD + b"\0" + dump_json(provenance)
    if suffix == ".gif":
        images = [image.quantize(256, dither=Image.Dither.NONE) for image in images]
        images[0].save(
            buffer, "GIF", save_all=True, append_images=images[1:], duration=list(durations), loop=0, disposal=1
        )
        content = buffer.getvalue().removesuffix(_TRAILER)
        blocks = [text[start : start + _BLOCK] for start in range(0, len(text), _BLOCK)]
        return b"".join([content, _COMMENT, *(bytes([len(block)]) + block for block in blocks), b"\0", _TRAILER])
    images[0].save(
        buffer, "WEBP", save_all=True, append_images=images[1:], duration=list(durations), loop=0, lossless=True
    )
    content = buffer.getvalue() + _CHUNK + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2)
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


def read_provenance(path: Path) -> dict[str, Any] | None:
    """Return the provenance of an animation, ``None`` if the file is not from actviz.

    Raises
    ------
    OutputError
        If the file cannot be read.
    """
    from actviz.results.output_files import parse_provenance

    with reading(path, OutputError) as (file, size):
        content = file.read(min(size, MAX_BYTES))
    start = content.rfind(KEYWORD + b"\0")
    if start < 0:
        return None
    if content.startswith(b"RIFF"):
        (length,) = struct.unpack("<I", content[start - 4 : start])
        return parse_provenance(content[start + len(KEYWORD) + 1 : start + length])
    text, place = b"", start - 1
    while place < len(content) and content[place]:
        text += content[place + 1 : place + 1 + content[place]]
        place += 1 + content[place]
    return parse_provenance(text[len(KEYWORD) + 1 :])
