"""Output files: names, the overwrite rule, and figures with embedded provenance."""

from __future__ import annotations

import hashlib
import re
import struct
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, OutputError, UsageError, escape
from actviz.results.png import END, KEYWORD, SIGNATURE, encode_png
from actviz.results.provenance_json import dump_json, parse_json_strict
from actviz.system.file_system import exists, is_folder, is_link, reading
from actviz.system.file_writing import write_file
from actviz.system.folders import make_folder, probe_writable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

SVG_OPENING = b'<metadata id="actviz">'
SVG_CLOSING = b"</metadata>"
SLUG_LENGTH, SLUG_BYTES = 80, 111  # with a hash, 120 bytes
LONGEST_NAME = 200  # bytes; file systems allow 255, including the suffix and what a temporary file adds
# Letters and marks without a glyph: Hangul fillers, Khmer inherent vowels, variation selectors.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0").union(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
PDF_COMMENT = b"%actviz "
PROVENANCE_BYTES = 16 << 20  # a vector may list a hundred thousand dead units


def slug(name: str) -> str:
    """Return a readable file name that is valid on every file system: at most 120 bytes of UTF-8.

    ``/`` becomes ``-``, and everything except letters and digits of any script, ``_``, ``-``, ``+``
    and ``.`` becomes ``_``; the result is in NFC. A short hash of the original name is appended if
    the result is ambiguous: for names with ``..``, control characters, symbols beyond ASCII, other
    normal forms than NFC, and for reserved, empty or long names.
    """
    plain = unicodedata.normalize("NFC", name.replace("/", "-"))
    kept = "".join(character if _is_kept(character) else "\0" for character in plain)
    safe = re.sub("\0+", "_", kept).strip("._")
    short = _shortened(safe)
    is_lossy = any(mark == "\0" and not given.isascii() for mark, given in zip(kept, plain, strict=True))
    recognizable = short == safe != "" and name.isprintable() and ".." not in name and not is_lossy
    if recognizable and unicodedata.is_normalized("NFC", name) and not RESERVED.fullmatch(safe):
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{short or 'layer'}-{digest}"


def _is_kept(character: str) -> bool:
    """Return True for characters allowed in a file name: letters, combining marks, digits and ``_.+-``."""
    if character.isascii():
        return character.isalnum() or character in "_.+-"
    kind = unicodedata.category(character)
    return (kind[0] in "LM" or kind == "Nd") and character not in _INVISIBLE


def _shortened(safe: str, most: int = SLUG_BYTES) -> str:
    """Truncate a name to `SLUG_LENGTH` characters and `most` bytes without splitting a letter from its marks."""
    end = min(len(safe), SLUG_LENGTH)
    while end and (len(safe[:end].encode()) > most or _is_mark(safe[end : end + 1])):
        end -= 1
    return safe[:end]


def _is_mark(character: str) -> bool:
    return character != "" and unicodedata.category(character)[0] == "M"


def joined(parts: Sequence[str]) -> str:
    """Join slugs with ``_`` to one file name; a long one is truncated and gets a hash."""
    whole = "_".join(parts)
    if len(whole.encode()) <= LONGEST_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return "_".join(_shortened(part, LONGEST_NAME // len(parts) - len(digest)) for part in parts) + f"-{digest}"


class UniquePaths:
    """Assigns unique file names, also for file systems that ignore case."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def take(self, path: Path, true_name: str) -> Path:
        """Return `path`, or if it is already used, `path` with a hash of the original name."""
        number = 0
        candidate = path
        while folded(str(candidate)) in self._used:
            digest = hashlib.sha256(f"{true_name}\0{number}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
            candidate = path.with_name(f"{path.stem}-{digest}{path.suffix}")
            number += 1
        self._used.add(folded(str(candidate)))
        return candidate


def folded(name: str) -> str:
    """Return a key that is equal for names which some file systems consider equal: case or normal form differ."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def check_target(path: Path, identity: dict[str, str], *, overwrite: bool) -> None:
    """Check before any work whether `path` may be written.

    A figure of the same model name, input and address is replaced; replacing any other file
    requires `overwrite`.

    Raises
    ------
    OutputError
        If it may not be written.
    """
    check_replaceable(path, identity, ResultKind("figure", read_provenance), overwrite=overwrite)


@dataclass(frozen=True, slots=True)
class ResultKind:
    """A kind of result: its noun in messages, and a function that reads the identity of an existing file, or None."""

    noun: str
    read: Callable[[Path], Mapping[str, Any] | None]


def check_replaceable(path: Path, identity: Mapping[str, object], kind: ResultKind, *, overwrite: bool) -> None:
    """Check whether a result of some kind may be written to `path`; see `check_target`."""
    if is_folder(path):
        message = f"{path}: a folder stands where the {kind.noun} should go; choose another name with -o."
        raise OutputError(message)
    if exists(path) and not overwrite and not is_link(path):
        existing = kind.read(path)
        if existing is None or any(existing.get(key) != value for key, value in identity.items()):
            message = f"{path}: exists and is not this {kind.noun}; pass --overwrite to replace it or choose another name with -o."
            raise OutputError(message)
    elif is_link(path) and not overwrite:
        message = f"{path}: a symbolic link stands there; pass --overwrite to replace the link (not what it points to)."
        raise OutputError(message)


def resolve_output(given: str | None, default: str, suffixes: Sequence[str], contents: str) -> Path:
    """Return the path of a result file: the one `given` with ``-o``, else `default`.

    Raises
    ------
    UsageError
        When `given` does not end in one of `suffixes`; `contents` says what is written, such as "a report is
        written as HTML".
    """
    path = Path(given or default)
    if path.suffix.lower() not in suffixes or str(given).endswith("/"):
        message = f"-o {escape(str(given), 200)}: {contents}; give a name that ends in {suffixes[0]}."
        raise UsageError(message)
    return path


def check_output(
    path: Path, identity: Mapping[str, object], kind: ResultKind | None = None, *, overwrite: bool
) -> None:
    """Create the folder of a result, a figure by default, and check that the result may be written; see `check_target`."""
    prepare_folder(path.parent)
    check_replaceable(path, identity, kind or ResultKind("figure", read_provenance), overwrite=overwrite)


def check_folder(folder: Path, *, through_link: bool) -> None:
    """Refuse a result folder that is a symbolic link, unless `through_link` allows it.

    A folder with contents of others, such as a checkout, may contain a link at the usual place of
    results that points to files of the user. Links above the folder are the user's own.

    Raises
    ------
    OutputError
        If it is a symbolic link.
    """
    if is_link(folder) and not through_link:
        message = f"{folder}: a symbolic link stands where the folder of results should be; name the folder that it leads to with -o, or pass --through-link."
        raise OutputError(message)


def check_inside(folder: Path, inner: Path) -> None:
    """Refuse a subfolder of the result folder if the path between them contains a symbolic link.

    Raises
    ------
    OutputError
        If it does: files in `inner` could be written outside of `folder`.
    """
    current = folder
    for part in inner.relative_to(folder).parts:
        current = current / part
        if is_link(current):
            message = f"{current}: a symbolic link stands where a folder of results should be, and is not followed; remove it, or choose another folder with -o."
            raise OutputError(message)


def prepare_folder(folder: Path) -> None:
    """Create a folder for results and check that it is writable."""
    if exists(folder) and not is_folder(folder):
        message = f"{folder}: a file stands where the folder should be; choose another with -o."
        raise OutputError(message)
    make_folder(folder)
    probe_writable(folder)


def write_figure(path: Path, pixels: NDArray[Any], provenance: dict[str, Any], dpi: int | None = None) -> None:
    """Write a PNG atomically.

    Parameters
    ----------
    pixels
        As for `encode_png`.
    provenance
        Embedded as JSON, without a date, so equal arguments give equal bytes.
    dpi
        Pixels per inch to record.
    """
    write_file(path, encode_png(pixels, provenance, dpi=dpi))


def write_drawing(path: Path, drawing: bytes, provenance: dict[str, Any]) -> None:
    """Write an SVG or PDF with embedded provenance, as `write_figure` writes a PNG; `drawing` is the whole document."""
    write_file(path, encode_drawing(drawing, path.suffix.lower(), provenance))


def encode_drawing(drawing: bytes, suffix: str, provenance: dict[str, Any]) -> bytes:
    """Add the provenance to an SVG or PDF."""
    return (encode_svg if suffix == ".svg" else encode_pdf)(drawing, provenance)


def encode_svg(drawing: bytes, provenance: dict[str, Any]) -> bytes:
    """Insert the provenance as a ``metadata`` element, the first child of ``svg``."""
    start = drawing.index(b"<svg")
    end = drawing.index(b">", start) + 1
    text = dump_json(provenance).replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    return b"".join((drawing[:end], b"\n ", SVG_OPENING, text, SVG_CLOSING, drawing[end:]))


def encode_pdf(drawing: bytes, provenance: dict[str, Any]) -> bytes:
    """Append the provenance as a comment, which readers of PDF skip."""
    return b"".join((drawing.rstrip(b"\n"), b"\n", PDF_COMMENT, dump_json(provenance), b"\n%%EOF\n"))


def read_provenance(path: Path, error: type[ActvizError] = OutputError) -> dict[str, Any] | None:
    """Return the provenance in a PNG, SVG or PDF, or ``None`` if the file is not from actviz.

    Raises
    ------
    ActvizError
        Of class `error`, if the file cannot be read.
    """
    with reading(path, error) as (file, size):
        start = file.read(len(SIGNATURE))
        if start.startswith((b"<?xml", b"<svg")):
            return provenance_in_svg(start + file.read(PROVENANCE_BYTES))
        if start.startswith(b"%PDF"):
            file.seek(max(0, size - PROVENANCE_BYTES))
            text = file.read(PROVENANCE_BYTES).rpartition(PDF_COMMENT)[2]
            return parse_provenance(text.partition(b"\n")[0])
        if start != SIGNATURE:
            return None
        file.seek(8 + 25)
        head = file.read(8)
        if len(head) < 8 or head[4:] != b"tEXt":  # noqa: PLR2004  (length and kind of a chunk)
            return None
        length = struct.unpack(">I", head[:4])[0]
        content = file.read(min(length, PROVENANCE_BYTES))
    keyword, _, text = content.partition(b"\0")
    return parse_provenance(text) if keyword == KEYWORD else None


def provenance_in_svg(content: bytes) -> dict[str, Any] | None:
    """Return the provenance that `encode_svg` inserted, or ``None``."""
    _, opened, rest = content.partition(SVG_OPENING)
    text, closed, _ = rest.partition(SVG_CLOSING)
    if not opened or not closed:
        return None
    return parse_provenance(text.replace(b"&gt;", b">").replace(b"&lt;", b"<").replace(b"&amp;", b"&"))


def parse_provenance(text: bytes) -> dict[str, Any] | None:
    """Return the JSON of a provenance, ``None`` if it is damaged."""
    try:
        parsed = parse_json_strict(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def is_whole(path: Path) -> bool:
    """Return True if a PNG ends with its IEND chunk; a truncated copy does not."""
    with reading(path, OutputError) as (file, size):
        file.seek(max(0, size - len(END)))
        return file.read(len(END)) == END
