"""The inputs on which each channel is strongest, and the distribution of its strength over all inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping  # noqa: TC003  (read at run time by `system.serialization`)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from actviz.statistics.channel_statistics import as_numbers
from actviz.statistics.image_positions import centered_region, receptive_boxes
from actviz.statistics.reducer import LayerReducer
from actviz.statistics.running_statistics import CHANNEL_AXES
from actviz.statistics.strength_options import LOW, InputIdentity, StrengthOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation

OCTAVES = 16
SIDE = 4 * OCTAVES
"""Bins of a histogram for one sign: two for each power of two from 2 ** -16 to 2 ** 16. With that of 0 in the middle
there are ``2 * SIDE + 1``; values beyond are counted in the first and the last bin of their sign."""


@dataclass(frozen=True)
class StrongestInputs:
    """The strongest inputs of each channel of a layer.

    `keys`, float64 ``(extreme, rank, channel)``, are the strengths in falling order, negated for `LOW`; -inf beyond the
    last. `numbers` are those of the inputs (-1: none), `copies` how many inputs had the same values. `places`,
    ``(extreme, rank, channel, axis + 4)``, are the index of the strongest value along the other axes of the layer, and
    the `Box` of its receptive field in the image, all 0 if it is not known.
    `histogram`, ``(extreme, bin, channel)``, counts inputs by strength; `fires`, ``(extreme, channel)``, inputs with a
    value above 0 (for `LOW`: below); `active` and `nonfinite`, ``(channel,)``, inputs with a value that is not 0, and
    that is NaN or infinite. `identities` has the digest and the name of the inputs in `numbers`.
    """

    keys: NDArray[np.float64]
    numbers: NDArray[np.int64]
    copies: NDArray[np.int64]
    places: NDArray[np.int64]
    histogram: NDArray[np.int64]
    fires: NDArray[np.int64]
    active: NDArray[np.int64]
    nonfinite: NDArray[np.int64]
    inputs: int
    identities: Mapping[int, tuple[str, str]]

    @property
    def channels(self) -> int:
        """The number of channels."""
        return len(self.active)

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Whether a channel was 0 everywhere on every input."""
        return np.asarray((self.active == 0) & (self.nonfinite == 0))

    def merge(self, other: StrongestInputs) -> StrongestInputs:
        """Return the strongest inputs of both sets of inputs together."""
        mine, theirs = (
            (item.keys, item.numbers, item.copies, np.moveaxis(item.places, -1, 0)) for item in (self, other)
        )
        joined = [np.concatenate(pair, axis=-2) for pair in zip(mine, theirs, strict=True)]
        identities = {**self.identities, **other.identities}
        keys, numbers, copies, places = _strongest(joined, identities, self.keys.shape[1])
        return StrongestInputs(
            keys,
            numbers,
            copies,
            places,
            self.histogram + other.histogram,
            self.fires + other.fires,
            self.active + other.active,
            self.nonfinite + other.nonfinite,
            self.inputs + other.inputs,
            {number: identities[number] for number in np.unique(numbers[numbers >= 0]).tolist()},
        )

    def arrays(self, *, canonical: bool = True) -> dict[str, NDArray[Any]]:
        """Return everything as plain arrays, for `from_arrays`; they are always canonical."""
        del canonical
        used = [int(number) for number in np.unique(self.numbers) if number >= 0]
        # Most of the bins are empty: of 1,280 channels all of them are 1.3 MB, for each batch and in each file.
        bins = np.flatnonzero(self.histogram.any(axis=(0, 2)))
        first, end = (int(bins[0]), int(bins[-1]) + 1) if bins.size else (0, 0)
        return {
            "keys": self.keys,
            "numbers": self.numbers,
            "copies": self.copies,
            "places": self.places,
            "histogram": self.histogram[:, first:end],
            "fires": self.fires,
            "channels": np.array([self.active, self.nonfinite]),
            "inputs": np.array([self.inputs, first, *used], np.int64),
            "digests": np.array([self.identities[number][0] for number in used], np.str_),
            "names": np.array([self.identities[number][1] for number in used], np.str_),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the numbers that `arrays` returned.

        Raises
        ------
        ValueError, KeyError
            If an array is missing, or does not fit the others: a file may be damaged.
        """
        _check(arrays)
        inputs, first, *used = arrays["inputs"].tolist()
        pairs = zip(arrays["digests"].tolist(), arrays["names"].tolist(), strict=True)
        active, nonfinite = arrays["channels"]
        named = {name: arrays[name] for name in ("keys", "numbers", "copies", "places", "fires")}
        rest = 2 * SIDE + 1 - first - arrays["histogram"].shape[1]
        named["histogram"] = np.pad(arrays["histogram"], ((0, 0), (first, rest), (0, 0)))
        identities = dict(zip(used, pairs, strict=True))
        return cls(**named, active=active, nonfinite=nonfinite, inputs=inputs, identities=identities)


class StrongestReducer(LayerReducer[StrongestInputs]):
    """The strongest inputs of each layer; equal inputs share one rank, and ties go by strength, digest, name.

    A value counts if it is finite, its step is not masked, and its receptive field is centered in the image, not in
    what surrounds it. `identities` are those of the inputs by number; by default a number is its own.
    """

    numbers = StrongestInputs

    def __init__(
        self, options: StrengthOptions | None = None, identities: Mapping[int, InputIdentity] | None = None
    ) -> None:
        super().__init__()
        self._options, self._identities = options or StrengthOptions(), identities or {}

    def update(self, address: str, activations: Sequence[Activation], samples: Sequence[int]) -> None:
        """Add a layer's activation for a batch."""
        known = {number: self._identities.get(number) or InputIdentity("", f"{number:064x}") for number in samples}
        if known:
            self.add(address, _of_batch(activations[0], known, self._options))


def _check(arrays: Mapping[str, NDArray[Any]]) -> None:
    extremes, ranks, channels = arrays["keys"].shape
    shapes = {
        "numbers": (extremes, ranks, channels),
        "copies": (extremes, ranks, channels),
        "histogram": (extremes, arrays["histogram"].shape[1], channels),
        "fires": (extremes, channels),
        "channels": (2, channels),
    }
    integers = (*shapes, "places", "inputs")
    used = arrays["inputs"][2:]
    fitting = (
        arrays["keys"].dtype == np.float64
        and all(arrays[name].dtype == np.int64 for name in integers)
        and all(arrays[name].shape == shape for name, shape in shapes.items())
        and arrays["places"].shape[:3] == (extremes, ranks, channels)
        and arrays["places"].ndim == 4  # noqa: PLR2004  (extreme, rank, channel, axis)
        and len(used) == len(arrays["digests"]) == len(arrays["names"])
        and np.isin(arrays["numbers"], np.append(used, -1)).all()
    )
    if not fitting:
        message = "the arrays of a state do not fit each other"
        raise ValueError(message)


def channel_axis(axes: Sequence[str]) -> str | None:
    """Return the name of the axis of channels, units or heads, ``None`` if there is none."""
    return next((axis for axis in CHANNEL_AXES if axis in axes), None)


def place_axes(axes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the axes along which `StrongestInputs.places` are indices."""
    return tuple(axis for axis in axes if axis not in {"batch", channel_axis(axes)})


def bin_edges() -> NDArray[np.float64]:
    """Return the smallest magnitude of each bin of one sign, ``(bin,)``; the first bin starts at 0."""
    return np.ldexp(np.where(np.arange(SIDE) % 2, math.sqrt(2), 1.0), np.arange(SIDE) // 2 - OCTAVES)


def _of_batch(activation: Activation, known: Mapping[int, InputIdentity], options: StrengthOptions) -> StrongestInputs:
    values, axes = as_numbers(activation.values)[: len(known)], activation.axes
    name = channel_axis(axes)
    values = np.moveaxis(values, axes.index(name), -1) if name is not None else values[..., None]
    sizes, channels = values.shape[1:-1], values.shape[-1]
    flat = values.reshape(len(known), math.prod(sizes), channels)
    finite = np.isfinite(flat)
    whole = bool(finite.all())
    counted = _counted(activation, tuple(known.values()), sizes)
    allowed = None
    if not whole or counted is not None:
        allowed = finite if counted is None else finite & counted[:, :, None]
    found = [_extreme(-flat if extreme == LOW else flat, allowed, options.by) for extreme in options.extremes]
    keys, spots, fires, histograms = (np.stack(items) for items in zip(*found, strict=True))
    numbers = np.broadcast_to(np.fromiter(known, np.int64)[:, None], keys.shape)
    numbers = np.where(keys > -np.inf, numbers, -1)
    identities = {number: (item.digest, item.name) for number, item in known.items()}
    places = np.array(np.unravel_index(spots, sizes or (1,))).reshape(-1, *spots.shape)[: len(sizes)]
    boxes = np.zeros((4, *spots.shape), np.int64)
    other = place_axes(axes)
    if activation.geometry is not None and {"row", "column"} <= set(other):
        boxes = receptive_boxes(activation.geometry, places[other.index("row")], places[other.index("column")])
    places = np.where(numbers >= 0, np.concatenate([places, boxes]), -1)
    columns = [keys, numbers, np.where(numbers >= 0, 1, 0), places]
    return StrongestInputs(
        *_strongest(columns, identities, options.count),
        histograms,
        fires,
        flat.any(axis=1).sum(axis=0),
        np.zeros(channels, np.int64) if whole else (~finite).any(axis=1).sum(axis=0),
        len(known),
        identities,
    )


def _counted(
    activation: Activation, inputs: Sequence[InputIdentity], sizes: tuple[int, ...]
) -> NDArray[np.bool_] | None:
    """Return whether each position counts, ``(input, position)``; ``None`` if all do."""
    axes, mask, geometry = place_axes(activation.axes), activation.mask, activation.geometry
    counted = np.ones((len(inputs), *sizes), np.bool_)
    if mask is not None and "step" in axes and mask.shape[1] == sizes[axes.index("step")]:
        shape = [len(inputs), *(size if axis == "step" else 1 for axis, size in zip(axes, sizes, strict=True))]
        counted &= mask[: len(inputs)].reshape(shape)
    if geometry is not None and {"row", "column"} <= set(axes):
        rows, columns = axes.index("row"), axes.index("column")
        for entry, identity in enumerate(inputs):
            box = identity.padding.get(geometry.input, (0, 0, *geometry.size))
            inside = np.zeros(sizes, np.bool_)
            region: list[slice] = [slice(None)] * len(sizes)
            region[rows], region[columns] = centered_region(geometry, box, (sizes[rows], sizes[columns]))
            inside[tuple(region)] = True
            counted[entry] &= inside
    return None if counted.all() else counted.reshape(len(inputs), -1)


def _extreme(
    flat: NDArray[Any], allowed: NDArray[np.bool_] | None, by: str
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return strengths and positions ``(input, channel)``, inputs above 0 ``(channel,)``, counts ``(bin, channel)``."""
    strict = flat if allowed is None else np.where(allowed, flat, -np.inf)
    if strict.shape[1]:
        spots = strict.argmax(axis=1)
        # Not max(): it would go over all values again.
        largest = np.take_along_axis(strict, spots[:, None], 1)[:, 0].astype(np.float64)
    else:
        spots = np.zeros((len(flat), flat.shape[2]), np.int64)
        largest = np.full(spots.shape, -np.inf)
    keys = largest
    if by == "mean":
        kept = np.isfinite(strict) if allowed is None else allowed
        # Input by input: the order of the additions must not depend on the size of the batch.
        sums = [np.where(ok, item, 0).sum(axis=0, dtype=np.float64) for ok, item in zip(kept, flat, strict=True)]
        with np.errstate(invalid="ignore"):
            keys = np.where(largest > -np.inf, np.array(sums) / kept.sum(axis=1), -np.inf)
    keys = keys + 0.0  # 0.0 for -0.0, so that equal states have equal bytes
    return keys, spots.astype(np.int64), (largest > 0).sum(axis=0), _histogram(keys)


def _histogram(keys: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count strengths ``(input, channel)``, without -inf, in the fixed bins: ``(bin, channel)``."""
    mantissa, exponent = np.frexp(np.abs(keys))
    magnitude = np.clip(2 * (exponent - 1 + OCTAVES) + (mantissa >= math.sqrt(0.5)), 0, SIDE - 1)
    bins = SIDE + np.sign(keys) * (1 + magnitude)
    inputs, channels = np.nonzero(keys > -np.inf)
    width = keys.shape[1]
    flat = bins[inputs, channels].astype(np.int64) * width + channels
    return np.bincount(flat, minlength=(2 * SIDE + 1) * width).reshape(-1, width)


def _strongest(
    columns: Sequence[NDArray[Any]], identities: Mapping[int, tuple[str, str]], count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sort entries by strength, digest, name and number, join equal inputs, and keep `count` of each channel.

    `columns` are keys, numbers and copies, ``(extreme, entry, channel)``, and places ``(axis, extreme, entry, channel)``.
    """
    keys, numbers, copies, places = columns
    known = sorted(identities, key=lambda number: (*identities[number], number))
    digests = {identities[number][0]: index for index, number in reversed(list(enumerate(known)))}
    rank_by_number = np.argsort(known)
    at = np.searchsorted(sorted(known), numbers)
    rank = np.append(rank_by_number, len(known))[np.where(numbers < 0, len(known), at)]
    group = np.append([digests[identities[number][0]] for number in known], -1)[rank]
    order = np.lexsort((rank, -keys), axis=1)
    keys, numbers, copies, group = (np.take_along_axis(item, order, 1) for item in (keys, numbers, copies, group))
    places = np.take_along_axis(places, order[None], 2)
    same = np.zeros(keys.shape, np.bool_)
    same[:, 1:] = (keys[:, 1:] == keys[:, :-1]) & (group[:, 1:] == group[:, :-1]) & (numbers[:, 1:] >= 0)
    if same.any():
        extreme, entry, channel = np.indices(keys.shape)
        head = np.maximum.accumulate(np.where(same, -1, entry), axis=1)
        total = np.zeros_like(copies)
        np.add.at(total, (extreme, head, channel), copies)
        order = np.argsort(same, axis=1, kind="stable")
        keys, numbers, copies = np.where(same, -np.inf, keys), np.where(same, -1, numbers), np.where(same, 0, total)
        places = np.take_along_axis(np.where(same, -1, places), order[None], 2)
        keys, numbers, copies = (np.take_along_axis(item, order, 1) for item in (keys, numbers, copies))
    missing = max(0, count - keys.shape[1])
    fill = ((0, 0), (0, missing), (0, 0))
    return (
        np.pad(keys[:, :count], fill, constant_values=-np.inf),
        np.pad(numbers[:, :count], fill, constant_values=-1),
        np.pad(copies[:, :count], fill),
        np.ascontiguousarray(np.moveaxis(np.pad(places[:, :, :count], ((0, 0), *fill), constant_values=-1), 0, -1)),
    )
