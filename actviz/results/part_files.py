"""Result files of commands that reduce many inputs to a state: `.npz` without pickle, with a JSON record in it.

Such a file is a part of a run with ``--shard``, or a whole run; parts of one run are merged.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import ActvizError, InputError, OutputError, UsageError, escape
from actviz.inputs.arrays import read_archive
from actviz.records import MIXED, Activation, Geometry, LayerInfo
from actviz.results.provenance_json import dump_json
from actviz.system import file_system, file_writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

RECORD = "actviz"
LARGEST = 1 << 30
# What parts of one run have in common: an entry of the record, and what it is called in messages.
COMMON = {
    "command": "commands",
    "actviz": "versions of actviz",
    "model": "models",
    "configuration": "configurations of the model",
    "weights": "weights of the model",
    "addresses": "layers",
    "options": "options",
    "reading": "options",
    "list": "lists of inputs",
    "batch_size": "batch sizes",
    "parts": "parts of the list",
}


@dataclass(frozen=True, slots=True)
class Part:
    """The state and the record of a result file."""

    path: Path
    record: dict[str, Any]
    state: dict[str, NDArray[Any]]

    @property
    def shards(self) -> frozenset[int]:
        """The numbers of the shards in it."""
        return frozenset(self.record["shards"])


def write_part(path: Path, record: Mapping[str, Any], state: Mapping[str, NDArray[Any]]) -> None:
    """Write a result file; equal states give equal bytes."""
    # The worker's threads return layers in any order.
    arrays: dict[str, Any] = dict(sorted(state.items()))
    arrays[RECORD] = np.frombuffer(dump_json(record), np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    file_writing.write_file(path, content.getvalue())


def read_part(path: Path) -> Part:
    """Read a result file.

    Raises
    ------
    InputError
        If it is no such file.
    """
    try:
        arrays = read_archive(file_system.read_bytes(path, LARGEST), None, str(path))
        record = json.loads(arrays.pop(RECORD).tobytes())
        list(map(int, record["shards"])), int(record["of"]), int(record["inputs"])
    except (KeyError, TypeError, ValueError, RecursionError):
        message = f"{path}: not a result of top or check with --shard; give the folders that they wrote."
        raise InputError(message) from None
    return Part(path, record, arrays)


def layer_record(layer: LayerInfo, activation: Activation | None = None) -> dict[str, Any]:
    """Return a layer for `layer_of`, with the axes of its activation, by default those in the file."""
    record = {
        "address": layer.address,
        "class": layer.kind,
        "activation": layer.activation,
        "axes": list(layer.axes if activation is None else activation.axes),
        "shape": None if layer.shape is None else list(layer.shape),
        "needs": None if layer.needs is None else list(layer.needs),
    }
    if activation is not None:
        record["step_order"] = activation.step_order
        record["image"] = None if activation.geometry is None else activation.geometry.input
    return record


def described(record: Mapping[str, Any]) -> Activation:
    """Return the activation of a layer of a `layer_record` without values; its geometry is the name of the input only."""
    axes, shape = tuple(map(str, record["axes"])), record["shape"]
    fits = shape is not None and len(shape) == len(axes)
    sizes = (0, *(size or 0 for size in shape[1:])) if fits else (0,) * len(axes)
    image = record.get("image")
    geometry = None if image is None else Geometry(str(image), (0, 0), (0, 0), (0, 0), (0, 0))
    values, order = np.zeros(sizes, np.float32), str(record.get("step_order", MIXED))
    return Activation(str(record["address"]), str(record["class"]), values, axes, geometry=geometry, step_order=order)


def layer_of(record: Mapping[str, Any]) -> LayerInfo:
    """Return the layer of a `layer_record`."""
    address, shape = str(record["address"]), None if record["shape"] is None else tuple(record["shape"])
    axes, needs = tuple(map(str, record["axes"])), record.get("needs")
    needed = None if needs is None else tuple(map(str, needs))
    kind, activation = str(record["class"]), record["activation"]
    return LayerInfo(address, address, None, kind, shape, "", None, axes, activation, needed)


def identity_in(path: Path) -> Mapping[str, Any] | None:
    """Return the record in a result file, ``None`` if actviz did not write it."""
    try:
        content = file_system.read_bytes(path, LARGEST, OutputError)
        record = json.loads(read_archive(content, (RECORD,), str(path))[RECORD].tobytes())
    except (ActvizError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def distinct(parts: Sequence[Part]) -> list[Part]:
    """Return the parts of one run in the order of their shards, each once.

    Raises
    ------
    UsageError
        If they differ in what parts of one run have in common, or have some of their inputs in common.
    """
    first, *others = parts
    for part in others:
        noun = different_noun(first, part)
        if noun is not None:
            message = f"{first.path} and {part.path} have different {noun}; only parts of one run are merged."
            raise UsageError(message)
        if part.record["of"] != first.record["of"]:
            message = f"{first.path} and {part.path} are parts of {first.record['of']} and of {part.record['of']}; only parts of one run are merged."
            raise UsageError(message)
    by_shards = {part.shards: part for part in reversed(parts)}
    used: set[int] = set()
    for shards, part in by_shards.items():
        if used & shards:
            number = min(used & shards)
            message = f"{part.path}: its part {number} of {first.record['of']} is also in another of the files; give each part once."
            raise UsageError(message)
        used |= shards
    return sorted(by_shards.values(), key=lambda part: min(part.shards))


def different_noun(first: Part, second: Part) -> str | None:
    """Return what differs between two parts that should be of one run, with both values, ``None`` if nothing does."""
    for key, noun in COMMON.items():
        ours, theirs = first.record.get(key), second.record.get(key)
        if ours != theirs:
            return noun + (f" ({_shown(ours)} and {_shown(theirs)})" if not isinstance(ours, dict | list) else "")
    return None


def damaged(parts: Sequence[Part], command: str) -> InputError:
    """Return the error of parts whose states do not fit together."""
    names = ", ".join(str(part.path) for part in parts[:3])
    return InputError(f"{names}: damaged, or not results of {command}; run their parts again.")


def differing_machines(parts: Sequence[Part]) -> list[str]:
    """Return what of versions and processors differs between parts; their last digits may differ then."""
    machines = [part.record.get("machine", {}) for part in parts if part.record["inputs"]]
    names = sorted({name for machine in machines for name in machine})
    return [name for name in names if len({str(machine.get(name)) for machine in machines}) > 1]


def merged_record(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the record of all parts together: that of the whole run if none is missing."""
    record = dict(next((part for part in parts if part.record["inputs"]), parts[0]).record)
    shards = sorted({number for part in parts for number in part.shards})
    whole = len(shards) == record["of"]
    record["shards"], record["of"] = ([1], 1) if whole else (shards, record["of"])
    record["inputs"] = sum(part.record["inputs"] for part in parts)
    record["failures"] = sorted({failure for part in parts for failure in part.record["failures"]})
    record["left_out"] = {key: value for part in parts for key, value in part.record["left_out"].items()}
    return record


def missing_shards(record: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the shards that a record lacks."""
    return sorted(set(range(1, record["of"] + 1)) - set(record["shards"]))


def _shown(value: Any) -> str:
    return escape(str(value), 24)
