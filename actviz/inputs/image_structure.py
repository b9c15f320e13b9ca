"""Estimate the work to decode an image from the structure of the file, before it is decoded.

Pillow limits pixels and nothing else: a progressive JPEG of 64 x 64 pixels with 3,000 scans, or a
GIF with a million comments, takes minutes. If the work is bounded by the number of pixels
(`is_bounded`), the image is decoded in this process, which is fastest; else in a process with a
limit on CPU time. Files beyond the limits below are refused.
"""

from __future__ import annotations

import zlib

from actviz.errors import LimitError

MAX_SCANS = 100  # a progressive JPEG usually has 10
MAX_FRAMES = 10_000
MAX_SEGMENTS = 2_000  # of a JPEG, before its first scan
MAX_CHUNKS = 500_000  # of a PNG: 50 megapixels in chunks of 8 KiB are 20,000
MAX_TEXTS = 1_000
MAX_TEXT_BYTES = 1 << 20  # of a decompressed text or color profile; the limit of Pillow
MAX_ALL_TEXT_BYTES = 16 << 20
# Pixels times scans that are decoded in this process: about a second.
_BOUNDED_WORK = 300_000_000
# An EXIF directory may refer to the same bytes 65,535 times.
_BOUNDED_EXIF = 64 << 10
_DEFLATE_RATIO = 1_032  # the highest that deflate reaches
# Bit depth and color type of PNG files of which Pillow drops half of the bits: RGB, gray with alpha, RGBA.
_DEEP_COLORS = frozenset({b"\x10\2", b"\x10\4", b"\x10\6"})
_TEXTS = frozenset({b"zTXt", b"iTXt", b"iCCP", b"tEXt"})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
_BITMAP_PLAIN = frozenset({0, 3})  # uncompressed, without or with bit masks


def is_bounded(kind: str, content: bytes, path: str) -> bool:
    """Return True if the work to decode the first frame is bounded by its number of pixels.

    Raises
    ------
    LimitError
        When the file exceeds one of the limits of this module.
    """
    check = {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp, "BMP": _bmp}.get(kind)
    return check is not None and check(content, path)


def is_deep_png(content: bytes) -> bool:
    """Return True for a PNG with several bands of 16 bits, of which Pillow would drop half."""
    return content[12:16] == b"IHDR" and content[24:26] in _DEEP_COLORS


def check_count(count: int, limit: int, noun: str, path: str) -> None:
    """Refuse an image with more of something than `limit`, which is counted while the file is read.

    Raises
    ------
    LimitError
        When `count` is larger.
    """
    if count > limit:
        raise too_many(path, f"more than {limit:,}", noun, limit)


def too_many(path: str, count: str, noun: str, limit: int) -> LimitError:
    """Return the error for an image with more of something than `limit`."""
    return LimitError(f"{path}: {count} {noun}, at most {limit:,} are read; save the image again without them.")


def _png(content: bytes, path: str) -> bool:
    """Walk the chunks of a PNG; see `is_bounded`."""
    position, chunks, texts, budget, bounded = 8, 0, 0, MAX_ALL_TEXT_BYTES, True
    while position + 8 <= len(content):
        length, kind = int.from_bytes(content[position : position + 4], "big"), content[position + 4 : position + 8]
        chunks += 1
        check_count(chunks, MAX_CHUNKS, "chunks in the PNG image", path)
        if kind in _TEXTS:
            texts += 1
            check_count(texts, MAX_TEXTS, "texts in the PNG image", path)
            budget -= _text_size(kind, content, position + 8, length, path)
            if budget < 0:
                raise too_many(path, "texts of more", "bytes in the PNG image", MAX_ALL_TEXT_BYTES)
        elif kind == b"IHDR":
            bounded &= content[position + 16 : position + 18] not in _DEEP_COLORS
        elif kind == b"acTL":
            bounded = False
            frames = int.from_bytes(content[position + 8 : position + 12], "big")
            if frames > MAX_FRAMES:
                raise too_many(path, f"{frames:,}", "frames", MAX_FRAMES)
        elif kind == b"eXIf":
            bounded &= length <= _BOUNDED_EXIF
        elif kind == b"IEND":
            break
        position += length + 12
    return bounded


def _text_size(kind: bytes, content: bytes, start: int, length: int, path: str) -> int:
    """Return the size of a text or profile of a PNG in bytes; it is decompressed only if it may exceed the limit.

    Raises
    ------
    LimitError
        When it is larger than `MAX_TEXT_BYTES`.
    """
    if kind == b"tEXt" or length * _DEFLATE_RATIO <= MAX_TEXT_BYTES:
        return length
    body = content[start : start + length]
    keyword = body.find(b"\0") + 1
    packed = body[keyword + 1 :]
    if kind == b"iTXt":
        if body[keyword : keyword + 1] != b"\1":
            return length
        packed = body[keyword + 2 :].split(b"\0", 2)[-1]
    try:
        size = len(zlib.decompressobj().decompress(packed, MAX_TEXT_BYTES + 1))
    except zlib.error:
        return length  # the decoder refuses or skips it
    if size > MAX_TEXT_BYTES:
        noun = "color profile" if kind == b"iCCP" else "text"
        message = f"{path}: a {noun} in the PNG image unpacks to more than {MAX_TEXT_BYTES:,} bytes; save the image again without it."
        raise LimitError(message)
    return size


def _jpeg(content: bytes, path: str) -> bool:
    """Walk the segments of a JPEG up to its first scan, then count scans; see `is_bounded`."""
    position, pixels = 2, 0
    for _ in range(MAX_SEGMENTS):
        while content[position : position + 2] == b"\xff\xff":
            position += 1
        if position + 4 > len(content) or content[position] != 0xFF:  # noqa: PLR2004  (the first byte of a marker)
            return False
        marker = content[position + 1]
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        if marker == _SCAN:
            # The marker cannot occur inside a scan; in tables between scans it may, which counts one too many.
            scans = content.count(b"\xff\xda", position)
            if scans > MAX_SCANS:
                raise too_many(path, f"{scans:,}", "scans in the JPEG image", MAX_SCANS)
            return 0 < pixels * scans <= _BOUNDED_WORK
        if marker in _FRAME_HEADERS:
            size = content[position + 5 : position + 9]
            pixels = int.from_bytes(size[:2], "big") * int.from_bytes(size[2:], "big")
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    raise too_many(
        path, f"more than {MAX_SEGMENTS:,}", "segments before the first scan of the JPEG image", MAX_SEGMENTS
    )


def _webp(content: bytes, path: str) -> bool:
    """Walk the chunks of a WebP; see `is_bounded`."""
    position, frames, bounded = 12, 0, True
    for _ in range(MAX_SEGMENTS + MAX_FRAMES):
        if position + 8 > len(content):
            return bounded
        kind, length = content[position : position + 4], int.from_bytes(content[position + 4 : position + 8], "little")
        if kind in {b"ANIM", b"ANMF"}:
            bounded = False
            frames += kind == b"ANMF"
            check_count(frames, MAX_FRAMES, "frames", path)
        elif kind in {b"EXIF", b"XMP "}:
            bounded &= length <= _BOUNDED_EXIF
        position += 8 + length + length % 2
    raise too_many(path, f"more than {MAX_SEGMENTS:,}", "chunks in the WebP image", MAX_SEGMENTS)


def _bmp(content: bytes, path: str) -> bool:
    """Return True for an uncompressed BMP; Pillow decodes run lengths one by one in Python."""
    del path
    header = int.from_bytes(content[14:18], "little")
    return header < 40 or int.from_bytes(content[30:34], "little") in _BITMAP_PLAIN  # noqa: PLR2004  (the first header with a compression)


def check_tiff(content: bytes, path: str) -> None:
    """Refuse a TIFF with too many pages or with a cycle of directories, before any page is parsed.

    Raises
    ------
    LimitError
        When it is refused.
    """
    order = "little" if content[:2] == b"II" else "big"
    large = content[2:4] in {b"+\0", b"\0+"}
    wide, start, entry = (8, 8, 20) if large else (4, 4, 12)

    def number(position: int, size: int) -> int:
        return int.from_bytes(content[position : position + size], order)  # type: ignore[arg-type]

    position, seen = number(start, wide) if not large else number(8, 8), set[int]()
    while position and position + 2 <= len(content):
        if position in seen:
            raise LimitError(f"{path}: the pages of the TIFF image run in a circle; save it again.")
        seen.add(position)
        check_count(len(seen), MAX_FRAMES, "pages", path)
        entries = number(position, 8 if large else 2)
        position = number(position + (8 if large else 2) + entries * entry, wide)


def check_gif(content: bytes, path: str) -> None:
    """Refuse a GIF with more frames than `MAX_FRAMES` or more extensions than `MAX_TEXTS`, before it is decoded.

    Pillow concatenates all comments and copies the text for each, which takes quadratic time.

    Raises
    ------
    LimitError
        When it is refused.
    """
    position = 13 + _color_table(content[10:11])
    extensions = frames = 0
    while position < len(content) and content[position] in (0x21, 0x2C):
        if content[position] == 0x21:  # noqa: PLR2004  (an extension)
            extensions += content[position + 1 : position + 2] != b"\xf9"  # each frame has a graphic control
            position += 2
        else:
            frames += 1
            position += 10 + _color_table(content[position + 9 : position + 10]) + 1
        check_count(frames, MAX_FRAMES, "frames", path)
        check_count(extensions, MAX_TEXTS, "comments in the GIF image", path)
        while position < len(content) and content[position]:
            position += content[position] + 1
        position += 1


def _color_table(flags: bytes) -> int:
    """Return the size in bytes of the color table that the flags of a GIF declare."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
