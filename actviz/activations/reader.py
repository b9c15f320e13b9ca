"""Open files of activations: metadata, and arrays that are read lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from actviz.activations.lazy_array import LARGEST, LazyArray, open_member
from actviz.activations.member_names import DESCRIPTION, PICTURES
from actviz.errors import ActvizError, InputError, LimitError, OutputError, UnsafeError, escape
from actviz.gate import file_type
from actviz.gate.archive import ARRAYS, open_archive
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
# Memory order of axes in renderers, the slowest first.
DRAWN = ("channel", "unit", "head", "plane", "step", "query", "row", "column", "key")


class SavedActivations:
    """The activations in a file.

    Parameters
    ----------
    name
        Name of the file in messages.
    description
        The metadata.
    arrays
        Arrays that are open already, by key.
    archive
        The archive of the other arrays.
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
        """Close the arrays; the file is closed by the caller who opened it."""
        for array in self._arrays.values():
            array.close()

    @property
    def count(self) -> int:
        """The number of inputs."""
        return len(self.description.samples)

    def activation(self, address: str, number: int) -> Activation:
        """Return the activation of a layer for one input, with a batch axis of size 1.

        Raises
        ------
        ActvizError
            When the array is damaged, unsafe, too large, or contradicts the metadata.
        """
        entry = self.description.entries[address]
        return _activation(entry, self._array(entry).entry(number, _as_drawn(entry.axes[1:])))

    def whole(self, address: str) -> Activation:
        """Return the activation of a layer for all inputs.

        Raises
        ------
        ActvizError
            As `activation`.
        """
        entry = self.description.entries[address]
        return _activation(entry, self._array(entry).whole(LARGEST))

    def blocks(self, address: str, step: int) -> Iterator[NDArray[Any]]:
        """Yield the values of a layer for all inputs in order, in blocks of `step` inputs.

        Raises
        ------
        ActvizError
            As `activation`; damage may be detected only after the last block.
        """
        return self._array(self.description.entries[address]).blocks(step)

    def shape(self, address: str) -> tuple[int, ...]:
        """Return the shape of the array of a layer, batch axis first."""
        return self._array(self.description.entries[address]).shape

    def row_bytes(self, address: str) -> int:
        """Return the size of the values of a layer for one input in bytes."""
        array = self._array(self.description.entries[address])
        return array.header.data_bytes // max(1, array.shape[0])

    def sample(self, number: int) -> Sample:
        """Return an input without its values, which are not saved."""
        saved = self.description.samples[number]
        picture = self._picture(number)
        return Sample(saved.name, {}, picture, saved.fed, saved.digest, (), saved.words, padding=saved.padding)

    def length(self, address: str) -> int:
        """Return the number of inputs in the array of a layer."""
        return self._array(self.description.entries[address]).shape[0]

    def _array(self, entry: ArrayEntry) -> LazyArray:
        array = self._open(entry.key)
        # Arrays from other programs may have different lengths, those in files of actviz may not.
        unequal = self._archive is not None and array.shape[:1] != (self.count,)
        if len(array.shape) != len(entry.axes) or unequal:
            axes = ", ".join(entry.axes)
            message = f'{self._name}: the array of "{escape(entry.address, 80)}" has the shape {array.shape}, which does not fit the axes ({axes}) of {self.count} inputs; write the file again with actviz extract.'
            raise InputError(message)
        return array

    def _open(self, key: str) -> LazyArray:
        if key not in self._arrays and self._archive is not None:
            self._arrays[key] = open_member(self._archive, key, f"{self._name}[{escape(key, 80)}]")
        return self._arrays[key]

    def _picture(self, number: int) -> NDArray[np.uint8] | None:
        """Return the thumbnail of an input, uint8 ``(row, column, RGB)``, or ``None``."""
        size = self.description.samples[number].picture
        if size is None:
            return None
        array = self._open(PICTURES)
        sizes = [sample.picture for sample in self.description.samples]
        lengths = [0 if item is None else item[0] * item[1] * 3 for item in sizes]
        if array.header.dtype != np.uint8 or array.header.data_bytes != sum(lengths):
            message = f"{self._name}[{PICTURES}]: does not hold the pictures that actviz.json describes; write the file again with actviz extract."
            raise InputError(message)
        if array.shape == (sum(item is not None for item in sizes), *size, 3):
            picture: NDArray[np.uint8] = array.entry(sum(item is not None for item in sizes[:number]))[0]
        else:
            start = sum(lengths[:number])
            picture = array.whole(LARGEST).reshape(-1)[start : start + lengths[number]].reshape(*size, 3)
        return picture


def open_saved(file: BinaryIO, name: str) -> SavedActivations | None:
    """Open the activations in an open `.npz` file; return ``None`` if actviz did not write it.

    Raises
    ------
    ActvizError
        When the archive or its metadata is damaged, unsafe or too large.
    """
    from actviz.activations.metadata_json import from_json

    archive = open_archive(file, name, ARRAYS)
    if file_type.MODEL_MEMBERS & set(archive.members):
        raise InputError(_not_activations(name, "a model"))
    if f"{DESCRIPTION}.npy" not in archive.members:
        return None
    text: NDArray[Any] = open_member(archive, DESCRIPTION, f"{name}[{DESCRIPTION}]").whole(MAXIMUM_TEXT)
    if text.shape or text.dtype.kind != "U":
        raise InputError(f"{name}: actviz.json in it is not text; write the file again with actviz extract.")
    return SavedActivations(name, from_json(str(text[()]), name), {}, archive)


def refusal(file: BinaryIO, size: int, name: str, accepted: str) -> ActvizError:
    """Return the error for a file without arrays; for images and models it names the next step.

    `accepted` describes the files that are read.
    """
    file.seek(0)
    head = file.read(file_type.HEAD_BYTES)
    if file_type.is_image(head):
        return InputError(_not_activations(name, f"a {file_type.kind_of(head)} image"))
    if file_type.is_model(head, name):
        return InputError(_not_activations(name, "a model"))
    return file_type.refusal(head, size, name, accepted)


def _not_activations(name: str, what: str) -> str:
    return f"{name}: this is {what}, not activations; draw what a model computes with: actviz show MODEL INPUT."


def read_description(path: Path) -> dict[str, Any] | None:
    """Return the model and the layers of a file of activations, or ``None`` if actviz did not write it."""
    try:
        with file_system.reading(path, OutputError) as (file, _):
            saved = open_saved(file, str(path))
    except (InputError, UnsafeError, LimitError):
        return None
    return None if saved is None else {"model": saved.description.model, "layers": set(saved.description.entries)}


def _as_drawn(axes: Axes) -> list[int]:
    """Return the indices of axes in the memory order of renderers, so that drawing copies nothing."""
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
