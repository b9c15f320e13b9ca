"""Activations as messages of a `Channel`: what is said of each, and their arrays."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from actviz.records import Activation, Geometry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# Before an address: the names of its arrays, which differ from each other whatever the addresses are.
VALUES, MASK = "values of ", "mask of "


def described(found: Mapping[str, Activation]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return what is said of activations, by address, and their arrays."""
    said = {
        address: {
            "address": address,
            "kind": item.kind,
            "axes": list(item.axes),
            "signed": item.signed,
            "weights_digest": item.weights_digest,
            "step_order": item.step_order,
            "bounds": item.bounds,
            "geometry": dataclasses.asdict(item.geometry) if item.geometry else None,
        }
        for address, item in found.items()
    }
    arrays = {VALUES + address: item.values for address, item in found.items()}
    return said, arrays | {MASK + address: item.mask for address, item in found.items() if item.mask is not None}


def activations(said: Mapping[str, dict[str, Any]], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Activation]:
    """Return the activations of which `described` gave the parts."""
    return {
        address: Activation(
            values=arrays[VALUES + address],
            axes=tuple(item.pop("axes")),
            mask=arrays.get(MASK + address),
            geometry=_geometry(item.pop("geometry")),
            bounds=_pair(item.pop("bounds")),
            **item,
        )
        for address, item in said.items()
    }


def _pair(item: list[float] | None) -> tuple[float, float] | None:
    return None if item is None else (item[0], item[1])


def _geometry(item: dict[str, Any] | None) -> Geometry | None:
    if item is None:
        return None
    return Geometry(item.pop("input"), **{name: tuple(pair) for name, pair in item.items()})
