"""What the arrays of a file are; see the package for the fields, and `metadata_json` for the text."""

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


def model_metadata(
    facts: ModelFacts, preprocessing: str, versions: Mapping[str, str], *, given: bool
) -> ActivationMetadata:
    """Describe a model, before anything is known of arrays and inputs."""
    names = tuple(spec.name for spec in facts.inputs)
    return ActivationMetadata(facts.file, facts.digest, names, preprocessing, given, versions, facts.layers)


def layers_metadata(model: str, activations: Mapping[str, Activation]) -> ActivationMetadata:
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
