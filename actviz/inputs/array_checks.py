"""Check arrays against the inputs of a network; they are never resized, rescaled or rounded.

The only conversions are those that keep all values: a batch axis is added, the dtype is changed if
it can represent the values, and axes are moved if `--layout` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError, ModelError, escape
from actviz.inputs.image_resize import image_shape, shape_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from actviz.inputs.input_options import InputOptions
    from actviz.records import TensorSpec

_IMAGE_RANK = 4


def to_batch(array: NDArray[Any], spec: TensorSpec, path: str, options: InputOptions) -> NDArray[Any]:
    """Return an array with a batch axis, in the layout and dtype of an input.

    Raises
    ------
    InputError
        When shape or values do not fit, or the layout is ambiguous.
    """
    if not spec.shape:
        return _as_given(array, spec, path)
    rank = len(spec.shape)
    if spec.dtype == "string" and spec.shape[1:] == (1,) and array.ndim == 1:
        array = array[:, None]  # a list of strings: one per sample
    batch = array if array.ndim == rank else array[None]
    if batch.ndim != rank:
        raise InputError(_wrong_shape(array, spec, path))
    if not batch.shape[0]:
        raise InputError(f"{path}: the array {shape_text(array.shape)} holds no sample; at least one was expected.")
    batch = _in_layout(batch, array, spec, path, options)
    if not _fits(batch.shape[1:], spec.shape[1:]) or 0 in batch.shape:
        raise InputError(_wrong_shape(array, spec, path))
    check_tokens(array, spec, path)
    return to_dtype(batch, spec.dtype, path)


def _as_given(array: NDArray[Any], spec: TensorSpec, path: str) -> NDArray[Any]:
    """Return an array for an input of unknown shape, which must have a batch axis."""
    if array.ndim < 1 or not len(array):
        message = f"{path}: the file of the model does not contain the shape of its input; give an array with the batch axis first."
        raise InputError(message)
    return to_dtype(array, spec.dtype, path)


def is_token(spec: TensorSpec) -> bool:
    """Return True if an input takes integers only: by its dtype, or as indices into a table."""
    return spec.limit is not None or spec.dtype.startswith(("int", "uint", "bool"))


def check_tokens(array: NDArray[Any], spec: TensorSpec, path: str) -> None:
    """Refuse values that are no index of the table that an input is looked up in.

    The network would fail inside a layer, or silently return zeros on a GPU; fractions would be
    truncated.

    Raises
    ------
    InputError
        When there is one, with its index in the array.
    """
    if spec.limit is None or array.dtype.kind not in "iufb":
        return
    valid = (array >= 0) & (array < spec.limit)
    if array.dtype.kind == "f":
        valid &= np.trunc(array) == array
    if valid.all():
        return
    first = tuple(int(index) for index in np.argwhere(~valid)[0])
    at = f" at {list(first)}" if first else ""
    raise InputError(f"{path}: the value {array[first]}{at} is outside the vocabulary; {allowed_text(spec.limit)}.")


def allowed_text(limit: int) -> str:
    """Return the end of a message: which indices a table of `limit` entries has."""
    return f"whole numbers from 0 to {limit - 1:,} were expected"


def as_input_array(values: ArrayLike, spec: TensorSpec) -> NDArray[Any]:
    """Return a batch from the Python interface as an array for an input, without reshaping or rounding.

    Strings may be of dtype ``U``, UTF-8 bytes, or objects of either type.

    Raises
    ------
    InputError
        When shape, dtype or values do not fit the input; with its name.
    """
    where = f'input "{escape(spec.name, 60)}"'
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{where}: the rows have different lengths; one array was expected.") from None
    if spec.shape and (array.ndim != len(spec.shape) or not _fits(array.shape[1:], spec.shape[1:])):
        raise InputError(f"{where}: expected {shape_text(spec.shape)}, got {array.shape}; the first axis is the batch.")
    array = as_supported(array, spec, where)
    check_tokens(array, spec, where)
    return array if array.dtype.name == spec.dtype else to_dtype(array, spec.dtype, where)


def as_supported(array: NDArray[Any], spec: TensorSpec, where: str) -> NDArray[Any]:
    """Return an array that Python code made, text of any type as dtype ``U``.

    Raises
    ------
    InputError
        When no input can have its dtype.
    """
    if spec.dtype == "string" and array.dtype.kind in "OS":
        return _as_text(array, where)
    if array.dtype.kind not in "iufbU" and array.dtype.name != spec.dtype:
        raise InputError(f"{where}: dtype {array.dtype.name} not supported; the input takes {spec.dtype}.")
    return array


def _as_text(array: NDArray[Any], where: str) -> NDArray[Any]:
    try:
        texts = [item.decode("utf-8") if isinstance(item, bytes) else item for item in array.ravel().tolist()]
    except UnicodeDecodeError:
        raise InputError(f"{where}: bytes that are not UTF-8; give the texts as str.") from None
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where}: objects that are not text; the input takes text.")
    return np.array(texts, "U").reshape(array.shape)


def to_dtype(array: NDArray[Any], dtype: str, path: str) -> NDArray[Any]:
    """Return an array in the dtype of an input.

    Floats may lose precision but not overflow; integers must keep their values; floats are converted
    to integers only if they are integral; strings are for string inputs only.

    Raises
    ------
    InputError
        When a value cannot be represented.
    """
    if (dtype == "string") != (array.dtype.kind == "U"):
        raise InputError(
            f"{path}: dtype {array.dtype.name} not supported; the input takes {'text' if dtype == 'string' else dtype}."
        )
    if dtype == "string":
        _check_text(array, path)
        return array
    wanted = array_dtype(dtype)
    if array.dtype == wanted:
        return array
    with np.errstate(all="ignore"):
        converted = array.astype(wanted)
        if array.dtype.kind == "f" and wanted.kind == "f":
            lost = np.isinf(converted) & np.isfinite(array)
        else:
            lost = _changed(array, converted)
    if lost.any():
        value = array[lost][0]
        message = f"{path}: the value {value} cannot be held by the input's dtype {dtype}; save the array as {dtype}."
        raise InputError(message)
    return converted


def _check_text(array: NDArray[Any], path: str) -> None:
    try:
        for text in array.ravel().tolist():
            text.encode("utf-8")
    except UnicodeEncodeError:
        message = f"{path}: a text contains a lone surrogate, which UTF-8 cannot encode; correct it and save it again."
        raise InputError(message) from None


def listed(names: Sequence[str]) -> str:
    """Return names of inputs for a message: escaped, the first eight."""
    return ", ".join(escape(name, 40) for name in names[:8]) + (", ..." if len(names) > 8 else "")  # noqa: PLR2004  (eight are shown)


def array_dtype(dtype: str) -> np.dtype[Any]:
    """Return the NumPy dtype of the values for an input; float32 for bfloat16 and float8, which NumPy lacks.

    Raises
    ------
    ModelError
        When no array has the dtype: the input is the handle of a variable or a table.
    """
    try:
        return np.dtype("float32" if dtype.startswith(("bfloat", "float8")) else dtype)
    except TypeError:
        message = f"an input of the model is of dtype {escape(dtype, 40)}, which arrays cannot have; save the model with inputs that are arrays."
        raise ModelError(message) from None


def check_finite(values: NDArray[Any], path: str, options: InputOptions) -> tuple[str, ...]:
    """Refuse NaN and infinity, or return a note with their number if `options` allow them.

    Raises
    ------
    InputError
        When there are some and they are not allowed.
    """
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return ()
    nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    counts = f"{nan:,} NaN and {infinite:,} infinite of {values.size:,} values"
    if not options.allow_nonfinite:
        message = f"{path}: {counts}; finite numbers were expected. Use --allow-nonfinite to feed them as they are."
        raise InputError(message)
    return (f"{path}: {counts} are fed as they are.",)


def _in_layout(
    batch: NDArray[Any], array: NDArray[Any], spec: TensorSpec, path: str, options: InputOptions
) -> NDArray[Any]:
    """Return a batch of images in the layout of the network.

    Without `--layout`, the array must have that layout. An array that fits only the other layout, or
    both with different results, is refused, as a wrong image would go unnoticed.
    """
    shape = image_shape(spec) if len(spec.shape) == _IMAGE_RANK else None
    if shape is None:
        return batch
    own = "channels_first" if shape.channels_first else "channels_last"
    other = "channels_last" if shape.channels_first else "channels_first"
    moved = np.moveaxis(batch, -1, 1) if shape.channels_first else np.moveaxis(batch, 1, -1)
    if options.layout == other:
        return np.ascontiguousarray(moved)
    if options.layout == own or not _fits(moved.shape[1:], spec.shape[1:]):
        return batch
    if not _fits(batch.shape[1:], spec.shape[1:]):
        raise InputError(
            f"{_wrong_shape(array, spec, path)} It looks like {other}: use --layout {other} to have its axes moved."
        )
    sizes = batch.shape[1:]
    same = sum(size > 1 for size in sizes) <= 1 and sizes == moved.shape[1:]
    if same:
        return batch
    message = f"{path}: the array {shape_text(array.shape)} can be read as channels_last and as channels_first; say which with --layout."
    raise InputError(message)


def _fits(sizes: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(sizes) == len(wanted) and all(
        want is None or size == want for size, want in zip(sizes, wanted, strict=True)
    )


def _wrong_shape(array: NDArray[Any], spec: TensorSpec, path: str) -> str:
    return f"{path}: expected {shape_text((None, *spec.shape[1:]))}, got {shape_text(array.shape)}; arrays are never resized or reshaped."


def _changed(array: NDArray[Any], converted: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values a conversion from or to integers changes.

    Ranges are compared too: converting back is not enough, as conversion of values out of range is
    undefined and may give equal values by chance.
    """
    changed: NDArray[np.bool_]
    if array.dtype.kind == "b":
        changed = np.zeros(array.shape, bool)
    elif converted.dtype.kind == "b":
        changed = (array != 0) & (array != 1)
    elif converted.dtype.kind == "f":
        edge = float(np.iinfo(array.dtype).max) + 1
        changed = (converted.astype(array.dtype) != array) | (converted >= edge)
    else:
        lowest, highest = np.iinfo(converted.dtype).min, np.iinfo(converted.dtype).max
        if array.dtype.kind == "f":
            whole = np.trunc(array) == array
            changed = ~whole | (array < lowest) | (array >= float(highest) + 1)
        else:
            changed = (array < lowest) | (array > highest)
    return changed
