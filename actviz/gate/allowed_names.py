"""Names of Keras's own classes and functions that a model file may use.

They lie in `allowed_names.json`, which ``python tests/tools/make_class_tables.py`` writes from the exports of the
installed Keras.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TABLE_BYTES = 1 << 20


class KerasNames(NamedTuple):  # a dataclass takes 1 ms to define, three times as long as all names took as code
    """Exported names by kind; `operations` are class names by module under ``keras.src.ops``."""

    keras_version: str
    layers: frozenset[str]
    initializers: frozenset[str]
    regularizers: frozenset[str]
    constraints: frozenset[str]
    policies: frozenset[str]
    activations: frozenset[str]
    operations: Mapping[str, frozenset[str]]


@functools.cache
def keras_names() -> KerasNames:
    """Return the table, read at the first call."""
    # Not importlib.resources: its import takes 5 to 28 ms, reading the table 0.2 ms.
    record = json.loads(file_system.read_bytes(Path(__file__).with_suffix(".json"), MAX_TABLE_BYTES))
    version, operations = record.pop("keras_version"), record.pop("operations")
    return KerasNames(
        version,
        operations={module: frozenset(names) for module, names in operations.items()},
        **{kind: frozenset(names) for kind, names in record.items()},
    )
