"""What the arrays of a file are, as records and as JSON; see the package for its fields."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.errors import InputError, ModelError, escape
from actviz.gate import parse_json
from actviz.records import AXIS_NAMES, FORWARD, STEP_ORDERS, Geometry, LayerInfo
from actviz.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actviz.records import Activation, Axes, ModelFacts

SCHEMA = 1
_FAR = 1e9
_NUMBERED = re.compile(r"axis\d{1,2}")


@dataclass(frozen=True, slots=True)
class ArrayEntry:
    """One array: its key, its layer, and what `records.Activation` says of its values.

    `axes` are those of the array, batch first; `geometry` says where its maps lie in the input,
    `step_order` how its steps follow those of the input.
    """

    key: str
    address: str
    kind: str
    axes: Axes
    signed: bool | None = None
    weights_digest: str = ""
    geometry: Geometry | None = None
    step_order: str = FORWARD
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class SavedInput:
    """One input, without its values.

    `picture` is the size (row, column) of its picture, `padding` that of the `Sample`.
    """

    name: str
    fed: str = ""
    digest: str = ""
    picture: tuple[int, int] | None = None
    words: tuple[str, ...] = ()
    padding: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActivationMetadata:
    """Where the arrays of a file come from.

    `layers` are all layers of the model, in its order; `entries` those in the file, by
    address; `left_out` the reasons of those that are not. `given` is false where no input
    was given and something stood in.
    """

    model: str
    configuration: str = ""
    inputs: tuple[str, ...] = ()
    preprocessing: str = ""
    given: bool = True
    versions: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[LayerInfo, ...] = ()
    entries: Mapping[str, ArrayEntry] = field(default_factory=dict)
    samples: tuple[SavedInput, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def about_model(
    facts: ModelFacts, preprocessing: str, versions: Mapping[str, str], *, given: bool
) -> ActivationMetadata:
    """Describe a model, before anything is known of arrays and inputs."""
    names = tuple(spec.name for spec in facts.inputs)
    return ActivationMetadata(facts.file, facts.digest, names, preprocessing, given, versions, facts.layers)


def about_layers(model: str, activations: Mapping[str, Activation]) -> ActivationMetadata:
    """Describe activations of which nothing else is known than what they say themselves."""
    layers = tuple(
        LayerInfo(
            address=address,
            name=address,
            index=index,
            kind=one.kind,
            shape=(None, *one.values.shape[1:]),
            dtype=one.values.dtype.name,
            parameters=None,
            axes=one.axes,
        )
        for index, (address, one) in enumerate(activations.items())
    )
    return ActivationMetadata(model, layers=layers)


def to_json(description: ActivationMetadata) -> str:
    """Return the text of ``actviz.json``: ASCII, the same for equal descriptions."""
    said = {
        "actviz": VERSION,
        "schema": SCHEMA,
        "model": description.model,
        "configuration": description.configuration,
        "inputs": list(description.inputs),
        "preprocessing": description.preprocessing,
        "given": description.given,
        "versions": dict(sorted(description.versions.items())),
        "layers": [_layer_said(layer, description) for layer in description.layers],
        "samples": [_sample_said(sample) for sample in description.samples],
    }
    return json.dumps(said, separators=(",", ":"), allow_nan=False)


def _layer_said(layer: LayerInfo, description: ActivationMetadata) -> dict[str, Any]:
    said: dict[str, Any] = {
        "address": layer.address,
        "name": layer.name,
        "index": layer.index,
        "class": layer.kind,
        "shape": None if layer.shape is None else list(layer.shape),
        "dtype": layer.dtype,
    }
    entry = description.entries.get(layer.address)
    if entry is not None:
        said |= {
            "key": entry.key,
            "axes": list(entry.axes),
            "signed": entry.signed,
            "weights": entry.weights_digest,
        }
        if entry.bounds is not None:
            said["bounds"] = list(entry.bounds)
        if entry.geometry is not None:
            said["geometry"] = asdict(entry.geometry)
        if entry.step_order != FORWARD:
            said["step_order"] = entry.step_order
    elif layer.address in description.left_out:
        said["left_out"] = description.left_out[layer.address]
    return said


def _sample_said(sample: SavedInput) -> dict[str, Any]:
    said: dict[str, Any] = {
        "name": sample.name,
        "fed": sample.fed,
        "sha256": sample.digest,
        "picture": None if sample.picture is None else list(sample.picture),
    }
    if sample.words:
        said["words"] = list(sample.words)
    if sample.padding:
        said["padding"] = {name: list(box) for name, box in sample.padding.items()}
    return said


def from_json(text: str, file: str) -> ActivationMetadata:
    """Read the text of ``actviz.json``; nothing in it is trusted.

    Raises
    ------
    InputError
        When it is no JSON, lacks a field, or says what cannot be.
    """
    try:
        said = parse_json(text.encode("utf-8", "surrogatepass"), file)
    except ModelError:
        raise _damaged(file, "is no valid JSON") from None
    if not isinstance(said, dict) or not isinstance(said.get("schema"), int):
        raise _damaged(file, "does not describe activations")
    if said["schema"] > SCHEMA:
        made_by = escape(str(said.get("actviz")), 20)
        message = f"{file}: written by a newer actviz ({made_by}); this is {VERSION}, upgrade it."
        raise InputError(message)
    try:
        layers, entries, left_out = _layers(_list(said["layers"]))
        return ActivationMetadata(
            model=_text(said["model"]),
            configuration=_text(said["configuration"]),
            inputs=tuple(_text(name) for name in _list(said["inputs"])),
            preprocessing=_text(said["preprocessing"]),
            given=_truth(said["given"]),
            versions={name: _text(version) for name, version in _table(said["versions"]).items()},
            layers=layers,
            entries=entries,
            samples=tuple(_sample(sample) for sample in _list(said["samples"])),
            left_out=left_out,
        )
    except KeyError as failure:
        raise _damaged(file, f"lacks {escape(str(failure), 60)}") from None
    except _InvalidMetadataError as failure:
        raise _damaged(file, f"holds {escape(str(failure), 120)}") from None


class _InvalidMetadataError(Exception):
    """Something in the JSON is of another type or value than it must be."""


def _damaged(file: str, what: str) -> InputError:
    return InputError(f"{file}: actviz.json in it {what}; write the file again with actviz extract.")


def _layers(said: list[Any]) -> tuple[tuple[LayerInfo, ...], dict[str, ArrayEntry], dict[str, str]]:
    layers: list[LayerInfo] = []
    entries: dict[str, ArrayEntry] = {}
    left_out: dict[str, str] = {}
    for one in said:
        table = _table(one)
        address, kind = _text(table["address"]), _text(table["class"])
        axes: Axes = ()
        if "key" in table:
            axes = _axes(_list(table["axes"]))
            signed = table["signed"]
            if signed is not None:
                signed = _truth(signed)
            place = _geometry(table["geometry"]) if "geometry" in table else None
            order = _step_order(table.get("step_order", FORWARD))
            key, weights = _text(table["key"]), _text(table["weights"])
            bounds = _bounds(table["bounds"]) if "bounds" in table else None
            entries[address] = ArrayEntry(key, address, kind, axes, signed, weights, place, order, bounds)
        elif "left_out" in table:
            left_out[address] = _text(table["left_out"])
        layers.append(_layer(table, address, kind, axes))
    addresses = [layer.address for layer in layers]
    keys = [entry.key for entry in entries.values()]
    if len(set(addresses)) != len(addresses) or len(set(keys)) != len(keys):
        message = "one layer twice"
        raise _InvalidMetadataError(message)
    return tuple(layers), entries, left_out


def _layer(table: dict[str, Any], address: str, kind: str, axes: Axes) -> LayerInfo:
    index, shape = table["index"], table["shape"]
    return LayerInfo(
        address=address,
        name=_text(table["name"]),
        index=None if index is None else _whole(index),
        kind=kind,
        shape=None if shape is None else tuple(None if size is None else _whole(size) for size in _list(shape)),
        dtype=_text(table["dtype"]),
        parameters=None,
        axes=axes,
    )


def _bounds(said: object) -> tuple[float, float]:
    low, high = _pair(said)
    if not low < high:
        message = f"bounds {low:g} and {high:g}, of which the first is not below the second"
        raise _InvalidMetadataError(message)
    return low, high


def _geometry(said: object) -> Geometry:
    table = _table(said)
    size, offset, stride, field_ = (_pair(table[name]) for name in ("size", "offset", "stride", "field"))
    if min(size) < 1 or min(stride) <= 0 or min(field_) < 0:
        message = f"a map at {offset} by steps of {stride} in a picture of {size}"
        raise _InvalidMetadataError(message)
    return Geometry(_text(table["input"]), (int(size[0]), int(size[1])), offset, stride, field_)


def _step_order(said: object) -> str:
    order = _text(said)
    if order not in STEP_ORDERS:
        message = f"the order of steps {order!r}"
        raise _InvalidMetadataError(message)
    return order


def _pair(said: object) -> tuple[float, float]:
    values = _list(said)
    if len(values) != 2 or not all(isinstance(value, (int, float)) and abs(value) < _FAR for value in values):  # noqa: PLR2004  (row, column)
        message = f"{values!r} where two numbers belong"
        raise _InvalidMetadataError(message)
    return float(values[0]), float(values[1])


def _axes(said: list[Any]) -> Axes:
    axes = tuple(_text(name) for name in said)
    if axes[:1] != ("batch",) or any(name not in AXIS_NAMES and not _NUMBERED.fullmatch(name) for name in axes):
        message = f"the axes {', '.join(axes)}"
        raise _InvalidMetadataError(message)
    return axes


def _sample(said: object) -> SavedInput:
    table = _table(said)
    picture = table["picture"]
    size = None
    if picture is not None:
        sides = [_whole(side) for side in _list(picture)]
        if len(sides) != 2 or 0 in sides:  # noqa: PLR2004  (row, column)
            message = f"a picture of the size {sides}"
            raise _InvalidMetadataError(message)
        size = (sides[0], sides[1])
    words = tuple(_text(word) for word in _list(table.get("words", [])))
    padding = {name: _box(box) for name, box in _table(table.get("padding", {})).items()}
    return SavedInput(_text(table["name"]), _text(table["fed"]), _text(table["sha256"]), size, words, padding)


def _box(said: object) -> tuple[int, int, int, int]:
    sides = [_whole(side) for side in _list(said)]
    if len(sides) != 4 or max(sides) > _FAR or sides[0] >= sides[2] or sides[1] >= sides[3]:  # noqa: PLR2004  (top, left, bottom, right)
        message = f"an image at {sides} in its padding"
        raise _InvalidMetadataError(message)
    return sides[0], sides[1], sides[2], sides[3]


def _text(value: object) -> str:
    if not isinstance(value, str):
        message = f"{value!r} where a text belongs"
        raise _InvalidMetadataError(message)
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        message = f"{value!r} where a count belongs"
        raise _InvalidMetadataError(message)
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        message = f"{value!r} where true or false belongs"
        raise _InvalidMetadataError(message)
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        message = f"{value!r} where a list belongs"
        raise _InvalidMetadataError(message)
    return value


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        message = f"{value!r} where a table belongs"
        raise _InvalidMetadataError(message)
    return value
