"""JSON that actviz wrote and somebody may have changed: what is read can be written again as it is."""

from __future__ import annotations

import json
import math
from typing import Any

MAXIMUM_DEPTH = 100
_TOO_DEEP = "nested too deeply"


def parse_own(raw: bytes) -> Any:
    """Parse a record, a manifest, or what a figure says of itself.

    Raises
    ------
    ValueError
        When it is not JSON, holds NaN, Infinity or numbers beyond floats, or nests too deeply.
    """
    try:
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
