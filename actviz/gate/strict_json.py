"""JSON of model files: bounded in size and depth, without duplicate keys, NaN or infinities."""

from __future__ import annotations

import contextlib
import json
import math
from typing import TYPE_CHECKING, Any

from actviz.errors import LimitError, ModelError, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAXIMUM_BYTES = 64 << 20
MAXIMUM_DEPTH = 200
MAXIMUM_VALUES = 2_000_000
MAXIMUM_LAYERS = 20_000
MISFITS = (KeyError, IndexError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError)
INTEGER_DIGITS = 20  # of 64 bits, including a sign


class _InvalidJsonError(Exception):
    """Carries the reason out of the JSON parser's hooks."""


class _TooManyLayersError(Exception):
    """Carries a number of layers out of the JSON parser's hooks."""


def parse_json(raw: bytes, name: str) -> Any:
    """Parse the configuration of the model called `name`.

    Raises
    ------
    ModelError
        When it is not JSON, repeats a key, holds NaN, Infinity, numbers beyond floats or beyond 64 bits,
        or nests too deeply.
    LimitError
        When it has more than 64 MiB or more values than are read, or a model more layers than are built.
    """
    if len(raw) > MAXIMUM_BYTES:
        message = f"{name}: the configuration has {len(raw):,} bytes, at most {MAXIMUM_BYTES:,} are read."
        raise LimitError(message)
    # A value of two bytes takes 60 to 100 bytes as a Python object: 64 MiB became 4 GB.
    values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if values > MAXIMUM_VALUES:
        message = f"{name}: the configuration has about {values:,} values (limit {MAXIMUM_VALUES:,})."
        raise LimitError(message)
    try:
        parsed = json.loads(
            raw, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_bounded
        )
    except RecursionError:
        message = (
            f"{name}: the configuration is nested too deeply (limit {MAXIMUM_DEPTH}); the file is damaged or hostile."
        )
        raise ModelError(message) from None
    except _TooManyLayersError as many:
        message = f"{name}: a model of {many} layers (limit {MAXIMUM_LAYERS:,}); only smaller ones are opened."
        raise LimitError(message) from None
    except _InvalidJsonError as rejected:
        message = f"{name}: the configuration {rejected}; the file is damaged or hostile."
        raise ModelError(message) from None
    except ValueError:
        message = f"{name}: the configuration is not valid JSON; the file is damaged, save the model again."
        raise ModelError(message) from None
    _check_depth(parsed, name)
    return parsed


@contextlib.contextmanager
def well_formed(name: str) -> Iterator[None]:
    """Run a block that reads a configuration, in which any value may be of an unexpected type.

    Raises
    ------
    ModelError
        Where the block fails because of a value of another type than Keras writes.
    """
    try:
        yield
    except MISFITS as failure:
        message = f"{name}: the configuration of the model is malformed; save it again with model.save(...)."
        raise ModelError(message) from failure


def first_repeated(names: Iterable[str]) -> str | None:
    """Return the first name that occurs twice, ``None`` if all are different."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        repeated = first_repeated(key for key, _ in pairs)
        message = f'repeats the key "{escape(repeated or "", 60)}"'
        raise _InvalidJsonError(message)
    layers = result.get("layers")
    if isinstance(layers, list) and len(layers) > MAXIMUM_LAYERS:
        raise _TooManyLayersError(f"{len(layers):,}")
    return result


def _no_constant(constant: str) -> float:
    message = f"holds {constant}, which is not a number"
    raise _InvalidJsonError(message)


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_constant(escape(text, 40))


def _bounded(text: str) -> int:
    if len(text) > INTEGER_DIGITS:
        message = f"holds {escape(text, 40)}, which is larger than any number in a model"
        raise _InvalidJsonError(message)
    return int(text)


def _check_depth(parsed: object, name: str) -> None:
    level = [parsed]
    for _ in range(MAXIMUM_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    message = f"{name}: the configuration is nested too deeply (limit {MAXIMUM_DEPTH}); the file is damaged or hostile."
    raise ModelError(message)
