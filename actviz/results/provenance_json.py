"""JSON that actviz wrote and somebody may have changed: whatever is read can be written again unchanged."""

from __future__ import annotations

import codecs
import json
import math
from typing import Any

MAXIMUM_DEPTH = 100
_TOO_DEEP = "nested too deeply"
_ESCAPES = "actviz.results.provenance_json"


def dump_json(value: Any) -> bytes:
    """Return a record as JSON in ASCII, keys sorted, without spaces, for `parse_json_strict`.

    Raises
    ------
    ValueError
        When it holds NaN or Infinity.
    TypeError
        When it holds what JSON has no form for.
    """
    import msgspec

    try:  # 30 times as fast as the standard library for the thousands of tiles of a figure
        content = msgspec.json.encode(value, order="deterministic")
    except (UnicodeEncodeError, OverflowError):  # lone surrogates, integers of more than 64 bits
        return _written(value)
    # It writes NaN as null, which records also hold for other reasons.
    return _written(value) if b"null" in content else content.decode().encode("ascii", _ESCAPES)


def _escaped(failure: UnicodeError) -> tuple[str, int]:
    """Return characters of a string beyond ASCII as JSON escapes them, and where they end."""
    if not isinstance(failure, UnicodeEncodeError):
        raise failure
    return json.dumps(failure.object[failure.start : failure.end]).strip('"'), failure.end


codecs.register_error(_ESCAPES, _escaped)


def _written(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def parse_json_strict(raw: bytes) -> Any:
    """Parse a record, a manifest, or what a figure says of itself.

    Raises
    ------
    ValueError
        When it is not JSON, holds NaN, Infinity or numbers beyond floats, or nests too deeply.
    """
    import msgspec

    try:
        try:  # 9 times as fast as the standard library
            parsed = msgspec.json.decode(raw)
        except ValueError:  # lone surrogates are valid JSON, but only in the standard library
            parsed = json.loads(raw, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if raw.count(b"[") + raw.count(b"{") > MAXIMUM_DEPTH:
        _check_depth(parsed)
    return parsed


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _check_depth(parsed: object) -> None:
    level = [parsed]
    for _ in range(MAXIMUM_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise ValueError(_TOO_DEEP)
