"""Open arrays from other programs, with axes named by the user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from actviz.activations.lazy_array import LazyArray, open_member, open_npy
from actviz.activations.metadata import ActivationMetadata, ArrayEntry, SavedInput
from actviz.activations.reader import SavedActivations
from actviz.errors import UsageError, escape
from actviz.gate.archive import ARRAYS, array_keys, open_archive
from actviz.records import AXIS_NAMES, LayerInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actviz.records import Axes

KIND = "array"


def parse_axes(text: str) -> Axes:
    """Parse ``row,column,channel`` or ``batch,row,column,channel``.

    Raises
    ------
    UsageError
        For an unknown axis, one that is named twice, or a batch axis that is not first.
    """
    axes = tuple(name.strip() for name in text.split(","))
    shown = escape(text, 80)
    for name in axes:
        if name not in AXIS_NAMES:
            known = ", ".join(AXIS_NAMES)
            message = f'--axes {shown}: there is no axis "{escape(name, 40)}"; name each axis of the array in order, of {known}.'
            raise UsageError(message)
        if axes.count(name) > 1:
            raise UsageError(f"--axes {shown}: {name} is named twice; every axis has one name.")
    if "batch" in axes[1:] or axes == ("batch",):
        message = f"--axes {shown}: batch comes first, before the axes of one sample; move the array's axes with numpy.moveaxis."
        raise UsageError(message)
    return axes


def fitted(axes: Axes, shape: tuple[int, ...]) -> Axes | None:
    """Return the axes of an array, or ``None`` if the names do not fit its number of axes.

    If there is one name less than axes, the first axis is the batch axis, unless the names start with
    ``batch``.
    """
    if len(axes) == len(shape) or (len(axes) + 1 == len(shape) and axes[0] != "batch"):
        return axes if len(axes) == len(shape) else ("batch", *axes)
    return None


def open_array(file: BinaryIO, size: int, name: str, stem: str, axes: Axes) -> SavedActivations:
    """Open a `.npy` file of `size` bytes; the address of its array is `stem`.

    Raises
    ------
    ActvizError
        When the array is not supported, or the axes do not fit.
    """
    return _saved({stem: open_npy(file, size, name)}, name, axes)


def open_arrays(file: BinaryIO, name: str, axes: Axes) -> SavedActivations:
    """Open all arrays of a `.npz` file that the axes fit.

    Raises
    ------
    ActvizError
        When the archive is damaged, or the axes fit no array.
    """
    archive = open_archive(file, name, ARRAYS)
    arrays = {key: open_member(archive, key, f"{name}[{escape(key, 80)}]") for key in array_keys(archive, name)}
    return _saved(arrays, name, axes)


def _saved(arrays: Mapping[str, LazyArray], name: str, axes: Axes) -> SavedActivations:
    """Return arrays as the activations of an unknown model; those that the axes do not fit are left out."""
    entries, left_out, layers, fitting = {}, {}, [], {}
    for index, (key, array) in enumerate(arrays.items()):
        named = fitted(axes, array.shape)
        own = () if named is None else named if named[0] == "batch" else ("batch", *named)
        layers.append(LayerInfo(key, key, index, KIND, None, array.header.dtype.name, None, own))
        if named is None:
            left_out[key] = f"its {len(array.shape)} axes {array.shape} are not {', '.join(axes)}"
        else:
            entries[key] = ArrayEntry(key, key, KIND, own)
            fitting[key] = array if named[0] == "batch" else array.as_batch()
    if not entries:
        key, reason = next(iter(left_out.items()))
        names = f"{name}[{escape(key, 80)}]" if len(arrays) > 1 else name
        raise UsageError(f"--axes {','.join(axes)}: {names}: {reason}; name each axis, or each but the batch in front.")
    count = max(array.shape[0] for array in fitting.values())
    samples = tuple(SavedInput(f"sample {number}" if count > 1 else "") for number in range(count))
    described = ActivationMetadata(
        os.path.basename(name),
        given=count > 1,
        layers=tuple(layers),
        entries=entries,
        samples=samples,
        left_out=left_out,
    )
    return SavedActivations(name, described, fitting)
