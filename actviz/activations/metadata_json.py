"""Read and write ``actviz.json``; imported only where it is used, as msgspec is."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from actviz.activations.metadata import SCHEMA, ActivationMetadata, ArrayEntry, SavedInput
from actviz.errors import InputError, ModelError, escape
from actviz.gate import parse_json
from actviz.records import AXIS_NAMES, Geometry, LayerInfo
from actviz.version import VERSION

_FAR = 10**9
_NUMBERED = re.compile(r"axis\d{1,2}")
Count = Annotated[int, Meta(ge=0, lt=_FAR)]
Size = Annotated[int, Meta(ge=1, lt=_FAR)]
Number = Annotated[float, Meta(gt=-_FAR, lt=_FAR)]
Extent = Annotated[float, Meta(ge=0, lt=_FAR)]
Stride = Annotated[float, Meta(gt=0, lt=_FAR)]


class _GeometryJson(msgspec.Struct):
    input: str
    size: tuple[Size, Size]
    offset: tuple[Number, Number]
    stride: tuple[Stride, Stride]
    field: tuple[Extent, Extent]


class _LayerJson(msgspec.Struct, rename={"kind": "class"}, omit_defaults=True):
    address: str
    name: str
    index: Annotated[int, Meta(ge=0)] | None
    kind: str
    shape: tuple[Annotated[int, Meta(ge=0)] | None, ...] | None
    dtype: str
    key: str | UnsetType = UNSET
    axes: tuple[str, ...] | UnsetType = UNSET
    signed: bool | UnsetType | None = UNSET
    weights: str | UnsetType = UNSET
    bounds: tuple[Number, Number] | UnsetType = UNSET
    geometry: _GeometryJson | UnsetType = UNSET
    step_order: Literal["forward", "reversed", "mixed"] = "forward"
    left_out: str | UnsetType = UNSET


class _SampleJson(msgspec.Struct, omit_defaults=True):
    name: str
    fed: str
    sha256: str
    picture: tuple[Size, Size] | None
    words: tuple[str, ...] = ()
    padding: dict[str, tuple[Count, Count, Count, Count]] = {}


class _File(msgspec.Struct):
    actviz: str
    schema: int
    model: str
    configuration: str
    inputs: tuple[str, ...]
    preprocessing: str
    given: bool
    versions: dict[str, str]
    layers: list[_LayerJson]
    samples: list[_SampleJson]


def to_json(metadata: ActivationMetadata) -> str:
    """Return the content of ``actviz.json``: ASCII, equal for equal metadata."""
    file = _File(
        VERSION,
        SCHEMA,
        metadata.model,
        metadata.configuration,
        metadata.inputs,
        metadata.preprocessing,
        metadata.given,
        dict(sorted(metadata.versions.items())),
        [_layer(layer, metadata) for layer in metadata.layers],
        [
            _SampleJson(record.name, record.fed, record.digest, record.picture, record.words, dict(record.padding))
            for record in metadata.samples
        ],
    )
    # Python's json escapes lone surrogates in names, which msgspec refuses.
    return json.dumps(msgspec.to_builtins(file), separators=(",", ":"), allow_nan=False)


def _layer(layer: LayerInfo, metadata: ActivationMetadata) -> _LayerJson:
    record = _LayerJson(layer.address, layer.name, layer.index, layer.kind, layer.shape, layer.dtype)
    entry = metadata.entries.get(layer.address)
    if entry is None:
        record.left_out = metadata.left_out.get(layer.address, UNSET)
        return record
    record.key, record.axes, record.signed, record.weights = entry.key, entry.axes, entry.signed, entry.weights_digest
    record.bounds = UNSET if entry.bounds is None else entry.bounds
    if entry.geometry is not None:
        geometry = entry.geometry
        record.geometry = _GeometryJson(geometry.input, geometry.size, geometry.offset, geometry.stride, geometry.field)
    record.step_order = entry.step_order  # type: ignore[assignment]  # one of the literals
    return record


def from_json(text: str, file: str) -> ActivationMetadata:
    """Parse the content of ``actviz.json``, which is not trusted.

    Raises
    ------
    InputError
        When it is not JSON, a field is missing or a value is invalid.
    """
    try:
        parsed = parse_json(text.encode("utf-8", "surrogatepass"), file)
    except ModelError:
        raise _damaged(file, "is not valid JSON") from None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("schema"), int):
        raise _damaged(file, "does not describe activations")
    if parsed["schema"] > SCHEMA:
        made_by = escape(str(parsed.get("actviz")), 20)
        raise InputError(f"{file}: written by a newer actviz ({made_by}); this is {VERSION}, upgrade it.")
    try:
        return _metadata(msgspec.convert(parsed, _File))
    except (msgspec.ValidationError, _InvalidMetadataError) as failure:
        raise _damaged(file, f"is malformed: {escape(str(failure), 120)}") from None


class _InvalidMetadataError(Exception):
    """Values of the right types that contradict each other."""


def _damaged(file: str, what: str) -> InputError:
    return InputError(f"{file}: actviz.json in it {what}; write the file again with actviz extract.")


def _metadata(file: _File) -> ActivationMetadata:
    entries = {record.address: _entry(record, record.key) for record in file.layers if record.key is not UNSET}
    axes = {address: entry.axes for address, entry in entries.items()}
    layers = tuple(
        LayerInfo(
            record.address,
            record.name,
            record.index,
            record.kind,
            record.shape,
            record.dtype,
            None,
            axes.get(record.address, ()),
        )
        for record in file.layers
    )
    if len({record.address for record in layers}) < len(layers) or len(
        {record.key for record in entries.values()}
    ) < len(entries):
        raise _InvalidMetadataError("one layer twice")
    left_out = {
        record.address: record.left_out
        for record in file.layers
        if record.key is UNSET and record.left_out is not UNSET
    }
    for sample in file.samples:
        for box in sample.padding.values():
            if box[0] >= box[2] or box[1] >= box[3]:
                raise _InvalidMetadataError(f"an image at {list(box)} in its padding")
    return ActivationMetadata(
        file.model,
        file.configuration,
        file.inputs,
        file.preprocessing,
        file.given,
        file.versions,
        layers,
        entries,
        tuple(
            SavedInput(record.name, record.fed, record.sha256, record.picture, record.words, record.padding)
            for record in file.samples
        ),
        left_out,
    )


def _entry(layer: _LayerJson, key: str) -> ArrayEntry:
    axes, signed, weights, bounds, area = layer.axes, layer.signed, layer.weights, layer.bounds, layer.geometry
    if axes is UNSET or signed is UNSET or weights is UNSET:
        raise _InvalidMetadataError(f'the layer "{layer.address}" has an array, but lacks axes, signed or weights')
    if axes[:1] != ("batch",) or any(name not in AXIS_NAMES and not _NUMBERED.fullmatch(name) for name in axes):
        raise _InvalidMetadataError(f"the axes {', '.join(axes)}")
    if bounds is not UNSET and not bounds[0] < bounds[1]:
        message = f"bounds {bounds[0]:g} and {bounds[1]:g}, but the first must be less than the second"
        raise _InvalidMetadataError(message)
    geometry = None if area is UNSET else Geometry(area.input, area.size, area.offset, area.stride, area.field)
    return ArrayEntry(
        key,
        layer.address,
        layer.kind,
        axes,
        signed,
        weights,
        geometry,
        layer.step_order,
        None if bounds is UNSET else bounds,
    )
