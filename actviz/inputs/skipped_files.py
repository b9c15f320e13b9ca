"""Files of a folder that are not read as inputs, counted by type."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

HINTS = {
    **dict.fromkeys(("HEIC", "HEIF", "CR2", "CR3", "NEF", "ARW", "DNG"), "export as JPEG or PNG"),
    **dict.fromkeys(("AVIF", "JXL", "SVG", "PSD"), "export as PNG"),
    **dict.fromkeys(("MP3", "FLAC", "OGG", "M4A"), "convert to WAV"),
    **dict.fromkeys(("MP4", "MOV", "AVI", "MKV", "WEBM"), "export frames as PNG, or as .npy"),
    **dict.fromkeys(("DCM", "NII"), "convert to .npy"),
}
TEXT_HINT, SOUND_HINT = "the model takes no text", "the model takes no sound"
NO_INPUT = "not an input that actviz reads"
OTHER = "of other types"
SHOWN_TYPES, MAXIMUM_TYPES, MAXIMUM_NAMES = 6, 50, 1000
_SUFFIX = re.compile(r"\.([a-z0-9]{1,8})", re.IGNORECASE)


@dataclass(slots=True)
class _FileType:
    """Number of files of a type, the names of the first ones, and what to do with them if that is known."""

    hint: str = ""
    count: int = 0
    names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SkippedFiles:
    """The skipped files so far, by type, such as HEIC; memory is bounded whatever the folder contains."""

    types: dict[str, _FileType] = field(default_factory=dict)

    def add(self, name: str, suffix: str, hint: str = "") -> None:
        """Count a file by its suffix; `hint` replaces that of the type."""
        match = _SUFFIX.fullmatch(suffix)
        kind = match[1].upper() if match else OTHER
        if kind not in self.types and len(self.types) >= MAXIMUM_TYPES:
            kind = OTHER
        known = self.types.setdefault(kind, _FileType(hint or HINTS.get(kind, "")))
        known.count += 1
        if known.count <= MAXIMUM_NAMES:
            known.names.append(name)

    def notes(self) -> tuple[str, ...]:
        """Return a note such as ``3 files skipped: 2 HEIC (export as JPEG or PNG), 1 PDF``, if there are any."""
        if not self.types:
            return ()
        ranked = sorted(self.types.items(), key=lambda item: (item[0] == OTHER, -item[1].count, item[0]))
        shown = [
            f"{known.count:,} {kind}" + (f" ({known.hint})" if known.hint else "")
            for kind, known in ranked[:SHOWN_TYPES]
        ]
        rest = sum(known.count for _, known in ranked[SHOWN_TYPES:])
        if rest:
            shown.append(f"{rest:,} {OTHER}")
        total = sum(known.count for known in self.types.values())
        return (f"{total:,} file{'s' if total > 1 else ''} skipped: {', '.join(shown)}",)

    def records(self) -> list[dict[str, Any]]:
        """Return a record for each type, sorted, with the names of its first 1,000 files, for the manifest."""
        return [
            {"type": kind, "count": known.count, "reason": known.hint or NO_INPUT, "files": known.names}
            for kind, known in sorted(self.types.items())
        ]
