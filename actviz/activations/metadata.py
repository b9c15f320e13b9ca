"""Metadata of a file of activations; see the package for the fields, `metadata_json` for the format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actviz.records import FORWARD, LayerInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actviz.records import Activation, Axes, Geometry, ModelFacts

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ArrayEntry:
    """An array: its key, its layer, and the fields of `records.Activation` that describe its values.

    `axes` are the axes of the array, batch first; `geometry` relates positions in its maps to the input,
    `step_order` its steps to those of the input.
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
    """An input, without its values.

    `picture` is the size (rows, columns) of its thumbnail, `padding` is that of the `Sample`.
    """

    name: str
    fed: str = ""
    digest: str = ""
    picture: tuple[int, int] | None = None
    words: tuple[str, ...] = ()
    padding: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActivationMetadata:
    """How the arrays of a file were computed.

    `layers` are all layers of the model in order; `entries` are the arrays by address; `left_out` holds
    the reasons why other layers are missing. `given` is false if the default input was used.
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


def model_metadata(
    facts: ModelFacts, preprocessing: str, versions: Mapping[str, str], *, given: bool
) -> ActivationMetadata:
    """Return the metadata of a model, without arrays and inputs."""
    names = tuple(spec.name for spec in facts.inputs)
    return ActivationMetadata(facts.file, facts.digest, names, preprocessing, given, versions, facts.layers)


def layers_metadata(model: str, activations: Mapping[str, Activation]) -> ActivationMetadata:
    """Return metadata made of activations alone, if the model is unknown."""
    layers = tuple(
        LayerInfo(
            address=address,
            name=address,
            index=index,
            kind=activation.kind,
            shape=(None, *activation.values.shape[1:]),
            dtype=activation.values.dtype.name,
            parameters=None,
            axes=activation.axes,
        )
        for index, (address, activation) in enumerate(activations.items())
    )
    return ActivationMetadata(model, layers=layers)
