"""Saved activations, opened: what was computed from what, and the arrays, read lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from actviz.activations.lazy_array import LARGEST, LazyArray, open_member
from actviz.activations.member_names import DESCRIPTION, PICTURES
from actviz.errors import InputError, LimitError, OutputError, UnsafeError, escape
from actviz.gate.archive import ARRAYS, open_archive
from actviz.gate.file_type import MODEL_MEMBERS
from actviz.records import Activation, Sample
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.activations.metadata import ActivationMetadata, ArrayEntry
    from actviz.gate.archive import Archive
    from actviz.records import Axes

MAXIMUM_TEXT = 256 << 20
# Axes as renderers lay them out, the slowest first.
DRAWN = ("channel", "unit", "head", "plane", "step", "query", "row", "column", "key")


class SavedActivations:
    """The activations in a file.

    Parameters
    ----------
    name
        What errors call the file.
    description
        What the arrays are.
    arrays
        Those opened so far, by key.
    archive
        Where others are opened from.
    """

    def __init__(
        self,
        name: str,
        description: ActivationMetadata,
        arrays: Mapping[str, LazyArray],
        archive: Archive | None = None,
    ) -> None:
        self.description = description
        self._name = name
        self._arrays = dict(arrays)
        self._archive = archive

    def __enter__(self) -> Self:
        """Return the saved activations themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the arrays; the file itself belongs to whoever opened it."""
        for array in self._arrays.values():
            array.close()

    @property
    def count(self) -> int:
        """The number of inputs."""
        return len(self.description.samples)

    def activation(self, address: str, number: int) -> Activation:
        """Return what a layer gave for one input: a batch of one.

        Raises
        ------
        ActvizError
            When the array is damaged, unsafe, too large, or is not what is said of it.
        """
        entry = self.description.entries[address]
        return _activation(entry, self._array(entry).entry(number, _as_drawn(entry.axes[1:])))

    def whole(self, address: str) -> Activation:
        """Return what a layer gave for all inputs.

        Raises
        ------
        ActvizError
            As `activation`.
        """
        entry = self.description.entries[address]
        return _activation(entry, self._array(entry).whole(LARGEST))

    def blocks(self, address: str, step: int) -> Iterator[NDArray[Any]]:
        """Yield what a layer gave for all inputs in order, `step` inputs at a time.

        Raises
        ------
        ActvizError
            As `activation`; damage may show after the last value only.
        """
        return self._array(self.description.entries[address]).blocks(step)

    def shape(self, address: str) -> tuple[int, ...]:
        """Return the shape of a layer's array, inputs first."""
        return self._array(self.description.entries[address]).shape

    def row_bytes(self, address: str) -> int:
        """Return the bytes that a layer gave for one input."""
        array = self._array(self.description.entries[address])
        return array.header.data_bytes // max(1, array.shape[0])

    def sample(self, number: int) -> Sample:
        """Return one input as far as it is known: without its values."""
        fed = self.description.samples[number]
        return Sample(fed.name, {}, self._picture(number), fed.fed, fed.digest, (), fed.words, padding=fed.padding)

    def length(self, address: str) -> int:
        """Return for how many inputs the file holds a layer."""
        return self._array(self.description.entries[address]).shape[0]

    def _array(self, entry: ArrayEntry) -> LazyArray:
        array = self._open(entry.key)
        # Arrays of anybody may be of different lengths; those that actviz wrote are not.
        unequal = self._archive is not None and array.shape[:1] != (self.count,)
        if len(array.shape) != len(entry.axes) or unequal:
            axes = ", ".join(entry.axes)
            message = f'{self._name}: the array of "{escape(entry.address, 80)}" has the shape {array.shape}, which does not fit the axes ({axes}) of {self.count} inputs; write the file again with actviz extract.'
            raise InputError(message)
        return array

    def _open(self, key: str) -> LazyArray:
        if key not in self._arrays and self._archive is not None:
            self._arrays[key] = open_member(self._archive, f"{key}.npy", f"{self._name}[{escape(key, 80)}]")
        return self._arrays[key]

    def _picture(self, number: int) -> NDArray[np.uint8] | None:
        """Return the picture of an input, uint8 ``(row, column, RGB)``, where it has one."""
        size = self.description.samples[number].picture
        if size is None:
            return None
        array = self._open(PICTURES)
        sizes = [sample.picture for sample in self.description.samples]
        pixels = [0 if one is None else one[0] * one[1] * 3 for one in sizes]
        before = sum(one is not None for one in sizes[:number])
        if array.header.dtype != np.uint8 or array.header.data_bytes != sum(pixels):
            message = f"{self._name}[{PICTURES}]: does not hold the pictures that actviz.json tells of; write the file again with actviz extract."
            raise InputError(message)
        if array.shape == (sum(one is not None for one in sizes), *size, 3):
            picture: NDArray[np.uint8] = array.entry(before)[0]
        else:
            start = sum(pixels[:number])
            picture = array.whole(LARGEST).reshape(-1)[start : start + pixels[number]].reshape(*size, 3)
        return picture


def open_saved(file: BinaryIO, name: str) -> SavedActivations | None:
    """Open the activations in an open `.npz` file; ``None`` where they are not actviz's.

    Raises
    ------
    ActvizError
        When the archive or its description is damaged, unsafe or beyond a limit.
    """
    from actviz.activations.metadata_json import from_json

    archive = open_archive(file, name, ARRAYS)
    if MODEL_MEMBERS & set(archive.members):
        raise InputError(not_activations(name, "a model"))
    if f"{DESCRIPTION}.npy" not in archive.members:
        return None
    text: NDArray[Any] = open_member(archive, f"{DESCRIPTION}.npy", f"{name}[{DESCRIPTION}]").whole(MAXIMUM_TEXT)
    if text.shape or text.dtype.kind != "U":
        message = f"{name}: actviz.json in it is no text; write the file again with actviz extract."
        raise InputError(message)
    return SavedActivations(name, from_json(str(text[()]), name), {}, archive)


def not_activations(name: str, what: str) -> str:
    """Return the message about a file that another command takes."""
    return f"{name}: this is {what}, not activations; draw what a model computes with: actviz show MODEL INPUT."


def read_description(path: Path) -> dict[str, str] | None:
    """Return what a file of activations says it is of, ``None`` when actviz did not write it."""
    try:
        with file_system.reading(path, OutputError) as (file, _):
            saved = open_saved(file, str(path))
    except (InputError, UnsafeError, LimitError):
        return None
    return None if saved is None else {"model": saved.description.model}


def _as_drawn(axes: Axes) -> list[int]:
    """Return axes, by their positions, in the order in which figures need them: so that drawing copies nothing."""
    return sorted(range(len(axes)), key=lambda position: DRAWN.index(axes[position]) if axes[position] in DRAWN else -1)


def _activation(entry: ArrayEntry, values: NDArray[Any]) -> Activation:
    return Activation(
        entry.address,
        entry.kind,
        values,
        entry.axes,
        entry.signed,
        entry.weights_digest,
        None,
        entry.geometry,
        entry.step_order,
        entry.bounds,
    )
