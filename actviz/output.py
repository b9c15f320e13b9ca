"""Where figures go: names, the overwrite rule, and files with their provenance inside."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import struct
import unicodedata
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, OutputError, escape
from actviz.own_json import parse_own
from actviz.system import exists, is_folder, is_link, make_folder, probe_writable, reading, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"actviz"
END = b"\0\0\0\0IEND\xaeB`\x82"
SVG_OPENING = b'<metadata id="actviz">'
SVG_CLOSING = b"</metadata>"
SLUG_LENGTH = 80
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
LEVEL = 1
UP = 2
TRUE_COLOUR, INDEXED = 2, 3
PROBE, PROBES, WORTH = 1024, 4, 0.5
STORED = -1
BAND = 64
# Fewer rows that repeat are not worth a part of their own in the stream.
LONG = 10
ADLER = 65521
STRIPE = 2 << 20
# Fewer are not worth other threads: figures are packed beside each other anyway.
MANY_STRIPES = 8
ZLIB_HEADER = b"\x78\x01"
PROVENANCE_BYTES = 16 << 20  # a vector may have a hundred thousand dead units, which are listed


def slug(name: str) -> str:
    """Return a name that is safe as a file name everywhere, and recognisable.

    ``/`` becomes ``-``, and anything else but ASCII letters, digits, ``_``, ``-``, ``+`` and
    ``.`` becomes ``_``. A short hash of the true name follows where little of it would be left:
    names with ``..``, control or non-ASCII characters, reserved, empty or long ones.
    """
    plain = unicodedata.normalize("NFKD", name.replace("/", "-"))
    safe = re.sub(r"[^A-Za-z0-9_.+-]+", "_", plain).strip("._")
    recognisable = name.isascii() and name.isprintable() and ".." not in name and 0 < len(safe) <= SLUG_LENGTH
    if recognisable and not RESERVED.fullmatch(safe):
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe[:SLUG_LENGTH] or 'layer'}-{digest}"


class Names:
    """Hands out file names that differ, also on file systems that ignore case."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def take(self, path: Path, true_name: str) -> Path:
        """Return `path`, with a hash of the true name in it if it was taken already."""
        number = 0
        candidate = path
        while str(candidate).lower() in self._used:
            digest = hashlib.sha256(f"{true_name}\0{number}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
            candidate = path.with_name(f"{path.stem}-{digest}{path.suffix}")
            number += 1
        self._used.add(str(candidate).lower())
        return candidate


def check_target(path: Path, identity: dict[str, str], *, overwrite: bool) -> None:
    """Decide before any work whether `path` may be written.

    A figure of the same model name, input and address is replaced; anything else that
    stands there needs `overwrite`.

    Raises
    ------
    OutputError
        When it may not, or the folder cannot be made or written to.
    """
    check_replaceable(path, identity, Kind("figure", read_provenance), overwrite=overwrite)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of result: what it is called, and how a file says whether it is one and of what."""

    noun: str
    read: Callable[[Path], Mapping[str, Any] | None]


def check_replaceable(path: Path, identity: Mapping[str, str], kind: Kind, *, overwrite: bool) -> None:
    """Decide whether a result of some kind may be written to `path`; see `check_target`."""
    if is_folder(path):
        message = f"{path}: a folder stands where the {kind.noun} should go; choose another name with -o."
        raise OutputError(message)
    if exists(path) and not overwrite and not is_link(path):
        found = kind.read(path)
        if found is None or any(found.get(key) != value for key, value in identity.items()):
            message = f"{path}: exists and is not this {kind.noun}; pass --overwrite to replace it or choose another name with -o."
            raise OutputError(message)
    elif is_link(path) and not overwrite:
        message = f"{path}: a symbolic link stands there; pass --overwrite to replace the link (not what it points to)."
        raise OutputError(message)


def check_folder(folder: Path, *, through_link: bool) -> None:
    """Refuse a folder for results that is a symbolic link, unless it was said that one may be followed.

    A folder that somebody else filled, such as a checkout, may hold a link where results go
    every time; what stands behind it is not ours to write to. Links above the folder are the
    user's own ways to it.

    Raises
    ------
    OutputError
        When it is one.
    """
    if is_link(folder) and not through_link:
        message = f"{folder}: a symbolic link stands where the folder of results should be; name the folder that it leads to with -o, or pass --through-link."
        raise OutputError(message)


def check_inside(folder: Path, inner: Path) -> None:
    """Refuse a folder inside of the one for results whose way from there leads through a symbolic link.

    Raises
    ------
    OutputError
        When it does: what is written to `inner` would lie outside of `folder`.
    """
    place = folder
    for part in inner.relative_to(folder).parts:
        place = place / part
        if is_link(place):
            message = f"{place}: a symbolic link stands where a folder of results should be, and is not followed; remove it, or choose another folder with -o."
            raise OutputError(message)


def prepare_folder(folder: Path) -> None:
    """Make a folder for results and prove that it can be written to."""
    if exists(folder) and not is_folder(folder):
        message = f"{folder}: a file stands where the folder should be; choose another with -o."
        raise OutputError(message)
    make_folder(folder)
    probe_writable(folder)


def write_figure(
    path: Path, pixels: NDArray[Any], provenance: dict[str, Any], palette: NDArray[np.uint8] | None = None
) -> int:
    """Write a PNG whole or not at all and return its size in bytes.

    Parameters
    ----------
    pixels
        As `encode_png` takes them.
    provenance
        Goes into the file as JSON; no date, so that equal work gives equal bytes.
    palette
        ``(place, RGB)``, uint8, of at most 256 colours.
    """
    content = encode_png(pixels, provenance, palette)
    write_whole(path, content)
    return len(content)


def write_drawing(path: Path, drawing: bytes, provenance: dict[str, Any]) -> int:
    """Write an SVG with its provenance inside, as `write_figure` writes a PNG.

    Parameters
    ----------
    drawing
        A whole SVG document in UTF-8.
    """
    content = encode_svg(drawing, provenance)
    write_whole(path, content)
    return len(content)


def encode_svg(drawing: bytes, provenance: dict[str, Any]) -> bytes:
    """Put the provenance into a ``metadata`` element, the first of the drawing."""
    begin = drawing.index(b"<svg")
    end = drawing.index(b">", begin) + 1
    text = _packed_json(provenance).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return b"".join((drawing[:end], b"\n ", SVG_OPENING, text.encode("ascii"), SVG_CLOSING, drawing[end:]))


def _packed_json(provenance: dict[str, Any]) -> str:
    return json.dumps(provenance, sort_keys=True, separators=(",", ":"), allow_nan=False)


def encode_png(pixels: NDArray[Any], provenance: dict[str, Any], palette: NDArray[np.uint8] | None = None) -> bytes:
    """Encode a picture as PNG.

    Rows of colours are packed as they are: a colormap has few colours, which repeat. A row
    that is the same as the one above (enlarged pixels, margins) is filtered by the difference
    to it (PNG filter 2): nothing but zeros, which pack small and fast. Places in a palette are
    not filtered, and stored where packing them would gain little.

    Parameters
    ----------
    pixels
        uint8 ``(row, column, RGB)``, uint32 ``(row, column)`` in the form of `colors.packed`,
        or with a palette uint8 ``(row, column)`` of places in it.
    """
    import numpy as np

    height, width = pixels.shape[:2]
    if palette is None:
        packed = _packed_colours(pixels)
    else:
        rows = np.zeros((height, 1 + width), np.uint8)
        rows[:, 1:] = pixels
        packed = _packed(rows, indexed=True)
    text = _packed_json(provenance)
    kind = TRUE_COLOUR if palette is None else INDEXED
    chunks = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
        _chunk(b"tEXt", KEYWORD + b"\0" + text.encode("ascii")),
    ]
    if palette is not None:
        chunks.append(_chunk(b"PLTE", palette.tobytes()))
    return b"".join((SIGNATURE, *chunks, _chunk(b"IDAT", packed), END))


def _packed_colours(pixels: NDArray[Any]) -> bytes:
    """Compress the rows of a picture, a zlib stream of the bytes that a PNG's are.

    Where a picture is large and its rows differ, stripes of them are packed on all cores.
    """
    import numpy as np

    height = len(pixels)
    flat = np.ascontiguousarray(pixels).reshape(height, -1)
    new = np.ones(height, dtype=bool)
    np.any(flat[1:] != flat[:-1], axis=1, out=new[1:])
    rows = _new_rows(flat, pixels.shape[1], np.flatnonzero(new))
    if rows.nbytes >= MANY_STRIPES * STRIPE:
        every = np.zeros((height, rows.shape[1]), np.uint8)
        every[~new, 0] = UP
        every[new] = rows
        return _packed(every)
    edges = [0, *(np.flatnonzero(new[1:] != new[:-1]) + 1).tolist(), height]
    return _packed_runs(rows, np.diff(edges).tolist())


def _new_rows(flat: NDArray[Any], width: int, places: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return some rows of a picture as they stand in a PNG, ``(row, byte)``, the first byte their filter."""
    import numpy as np

    rows = np.zeros((len(places), 1 + 3 * width), np.uint8)
    if flat.dtype == np.uint8:
        rows[:, 1:] = flat[places]
        return rows
    colors = np.empty((BAND, width, 3), np.uint8)
    # Colours are copied one by one, a band of rows that stays in the cache at a time.
    for start in range(0, len(places), BAND):
        band = flat[places[start : start + BAND]].view(np.uint8).reshape(-1, width, 4)
        for color in range(3):
            colors[: len(band), :, color] = band[..., color]
        rows[start : start + BAND, 1:] = colors[: len(band)].reshape(len(band), -1)
    return rows


def _packed_runs(rows: NDArray[np.uint8], runs: list[int]) -> bytes:
    """Compress runs of new rows and of rows that repeat, in turn, to one zlib stream.

    Parameters
    ----------
    rows
        The new rows, ``(row, byte)``.
    runs
        How many rows each run has; the first is of new ones.
    """
    across, content = rows.shape[1], rows.reshape(-1).data
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts, done, check = [ZLIB_HEADER], 0, 1
    for number, count in enumerate(runs):
        size = count * across
        if number % 2 == 0:
            part = content[done : done + size]
            parts.append(packer.compress(part))
            check = zlib.adler32(part, check)
            done += size
            continue
        if count < LONG:
            parts.append(packer.compress(_same(across) * count))
        else:
            # What is packed later knows nothing of what stands before a full flush.
            parts += [packer.flush(zlib.Z_FULL_FLUSH), _packed_same(across, count)]
        check = _check_same(check, across, count)
    return b"".join((*parts, packer.flush(), struct.pack(">I", check)))


def _same(across: int) -> bytes:
    """Return a row of so many bytes, its filter among them, that is the same as the one above."""
    return bytes((UP,)) + bytes(across - 1)


@functools.lru_cache(maxsize=256)
def _packed_same(across: int, count: int) -> bytes:
    """Compress rows that repeat, to be joined to other parts of a stream; margins are alike in many figures."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(_same(across) * count) + packer.flush(zlib.Z_FULL_FLUSH)


def _check_same(check: int, across: int, count: int) -> int:
    """Return the Adler-32 checksum of what `check` is that of and then rows that repeat.

    Its lower half is the sum of all bytes, its upper half that of all values of the lower
    half. Each row adds its filter to the first, and so many times the result to the second.
    """
    low, high = check & 0xFFFF, check >> 16
    high = (high + across * (count * low + UP * count * (count + 1) // 2)) % ADLER
    return high << 16 | (low + UP * count) % ADLER


def _packed(rows: NDArray[np.uint8], *, indexed: bool = False) -> bytes:
    """Compress to one zlib stream, stripe by stripe, many of them on all cores (the method of pigz).

    Each stripe but the last ends at a byte boundary (full flush), so that the stripes join;
    their size is fixed, so the result does not depend on the number of cores.
    """
    content = rows.reshape(-1).data
    stripes = [content[start : start + STRIPE] for start in range(0, len(content), STRIPE)] or [content]
    ends = [zlib.Z_FULL_FLUSH] * (len(stripes) - 1) + [zlib.Z_FINISH]
    # Places in a palette repeat one by one or not at all: looking for longer matches takes
    # three times as long and finds none.
    strategies = [_strategy(stripe) if indexed else zlib.Z_DEFAULT_STRATEGY for stripe in stripes]
    if len(stripes) < MANY_STRIPES:
        packed = list(map(_stripe, stripes, ends, strategies))
    else:
        with ThreadPoolExecutor(min(os.cpu_count() or 1, len(stripes))) as pool:
            packed = list(pool.map(_stripe, stripes, ends, strategies))
    return b"".join((ZLIB_HEADER, *packed, struct.pack(">I", zlib.adler32(content))))


def _strategy(stripe: memoryview) -> int:
    """Return how to pack a stripe of places in a palette: `STORED` where that gains little.

    Packing the steps of a dense layer costs many times the time of storing them, for an
    eighth of the room.
    """
    starts = [len(stripe) * part // PROBES for part in range(PROBES)]
    pieces = b"".join(stripe[start : start + PROBE] for start in starts)
    return STORED if len(zlib.compress(pieces, LEVEL)) > WORTH * len(pieces) else zlib.Z_RLE


def _stripe(content: memoryview, end: int, strategy: int) -> bytes:
    level, how = (0, zlib.Z_DEFAULT_STRATEGY) if strategy == STORED else (LEVEL, strategy)
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, how)
    return packer.compress(content) + packer.flush(end)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def read_provenance(path: Path, error: type[ActvizError] = OutputError) -> dict[str, Any] | None:
    """Return what actviz wrote into a PNG or SVG, ``None`` when it did not make the file.

    Raises
    ------
    ActvizError
        Of class `error`, when the file cannot be read.
    """
    with reading(path, error) as (file, _):
        start = file.read(len(SIGNATURE))
        if start.startswith((b"<?xml", b"<svg")):
            return provenance_in_svg(start + file.read(PROVENANCE_BYTES))
        if start != SIGNATURE:
            return None
        file.seek(8 + 25)
        head = file.read(8)
        if len(head) < 8 or head[4:] != b"tEXt":  # noqa: PLR2004  (length and kind of a chunk)
            return None
        length = struct.unpack(">I", head[:4])[0]
        content = file.read(min(length, PROVENANCE_BYTES))
    keyword, _, text = content.partition(b"\0")
    return _parsed(text) if keyword == KEYWORD else None


def provenance_in_svg(content: bytes) -> dict[str, Any] | None:
    """Return what `encode_svg` put into a drawing, ``None`` when there is none."""
    _, opened, rest = content.partition(SVG_OPENING)
    text, closed, _ = rest.partition(SVG_CLOSING)
    if not opened or not closed:
        return None
    return _parsed(text.replace(b"&gt;", b">").replace(b"&lt;", b"<").replace(b"&amp;", b"&"))


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        found = parse_own(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def is_whole(path: Path) -> bool:
    """Tell whether a PNG ends as one does: what was cut off while it was copied does not."""
    with reading(path, OutputError) as (file, size):
        file.seek(max(0, size - len(END)))
        return file.read(len(END)) == END


def shown_path(path: Path) -> str:
    """Return a path to print: as it is where that is safe."""
    return escape(str(path), 4096)
