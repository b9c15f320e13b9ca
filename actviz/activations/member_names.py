"""Names of arrays in an archive: the address of the layer, if that is a safe name."""

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
    """Assigns unique names, which also differ on file systems that ignore case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, address: str) -> str:
        """Return the key for an address: the address, or a readable part of it with ``~`` and a hash."""
        key, number = address, 0
        while not is_safe(key) or _folded(key) in self._taken:
            content = f"{address}\0{number}".encode("utf-8", "surrogatepass")
            readable = re.sub(r"[^A-Za-z0-9_@#%-]+", "_", address)[:60]
            key = f"{readable}~{hashlib.sha256(content).hexdigest()[:8]}"
            number += 1
        self._taken.add(_folded(key))
        return key


def is_safe(key: str) -> bool:
    """Return True if a key is a valid relative path on every file system, and not reserved.

    Names such as ``a.npy`` are not safe, as NumPy loads that array as ``a``.
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
