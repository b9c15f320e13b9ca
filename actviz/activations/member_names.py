"""Names of arrays: a layer's address, where that is a safe name inside an archive."""

from __future__ import annotations

import hashlib
import re
import unicodedata

OWN = "actviz."
DESCRIPTION = "actviz.json"
PICTURES = "actviz.fed"
LONGEST = 200
_FORBIDDEN = frozenset('\\:*?"<>|')


class MemberNames:
    """Hands out names that differ, also after unpacking where case is ignored."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, address: str) -> str:
        """Return the key of an address: itself, or a readable part of it with ``~`` and a hash."""
        key, number = address, 0
        while not is_safe(key) or _folded(key) in self._taken:
            content = f"{address}\0{number}".encode("utf-8", "surrogatepass")
            readable = re.sub(r"[^A-Za-z0-9_@#%-]+", "_", address)[:60]
            key = f"{readable}~{hashlib.sha256(content).hexdigest()[:8]}"
            number += 1
        self._taken.add(_folded(key))
        return key


def is_safe(key: str) -> bool:
    """Tell whether a key can be the path of a file in any folder, and is no name of actviz's own.

    ``a.npy`` is none: numpy would take it for ``a``.
    """
    if not key.isprintable() or _FORBIDDEN & set(key) or len(key.encode()) > LONGEST:
        return False
    if _folded(key).startswith(OWN):
        return False
    return all(part and part.strip() == part and part[-1] != "." and not _is_array(part) for part in key.split("/"))


def _is_array(part: str) -> bool:
    return part.lower().endswith(".npy")


def _folded(key: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key).casefold())
