"""Input files to samples: what is fed, its thumbnail, and the words for it."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError, LimitError, UnsafeError, escape
from actviz.inputs import arrays, images
from actviz.inputs.preprocessing import Preprocessing
from actviz.records import Sample, TensorSpec
from actviz.system import open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.inputs.options import InputOptions

MAXIMUM_IMAGE_BYTES = 1 << 30
IMAGE_CHANNELS = (1, 3)
FREE_SIDE = 512
IMAGE_RANK = 4
THUMBNAIL_SIDE = 256
MODEL_MAGICS = (b"\x89HDF\r\n\x1a\n",)


def read_samples(
    path: Path,
    specs: tuple[TensorSpec, ...],
    preprocessing: Preprocessing,
    options: InputOptions,
) -> list[Sample]:
    """Read one input file: an image is one sample, an array one for each entry of its batch.

    Parameters
    ----------
    path
        An image, or a `.npy` or `.npz` file; recognised by content.
    specs
        The inputs of the network.

    Raises
    ------
    InputError, UnsafeError, LimitError
        When it cannot be used; the message says what was expected.
    """
    file, status = open_regular(path, InputError, "input")
    name = path.name
    with file:
        head = file.read(4096)
        file.seek(0)
        if head.startswith(arrays.NPY_MAGIC):
            return _from_arrays(
                {specs[0].name: arrays.read_npy(file, name, status.size)},
                name,
                specs,
                options,
            )
        if head.startswith(arrays.ZIP_MAGIC):
            if b"metadata.json" in head or b"config.json" in head:
                raise InputError(_is_model(name))
            return _from_archive(arrays.read_npz(file, name), name, specs, options)
        _refuse(head, name, status.size)
        content = file.read(MAXIMUM_IMAGE_BYTES)
    return [_from_image(content, name, specs, preprocessing, options)]


def _is_model(name: str) -> str:
    return f"{name}: this is a model, not an input; the model is the first argument, images or .npy files follow it."


def _refuse(head: bytes, name: str, size: int) -> None:
    if not size:
        message = f"{name}: the file is empty; an image or an array (.npy, .npz) was expected."
        raise InputError(message)
    if head.startswith(MODEL_MAGICS) or head[4:8] == b"TFL3":
        raise InputError(_is_model(name))
    if head.startswith(b"version https://git-lfs"):
        message = f"{name}: this is a Git LFS pointer, not the file itself; run git lfs pull and try again."
        raise InputError(message)
    if len(head) > 1 and head[0] == 0x80 and head[1] <= 5:  # noqa: PLR2004  (pickle protocols 2 to 5)
        message = f"{name}: refused: this is pickled data, which can run any code; save plain numbers with numpy.save."
        raise UnsafeError(message)
    if size > MAXIMUM_IMAGE_BYTES:
        message = f"{name}: {size:,} bytes; at most {MAXIMUM_IMAGE_BYTES:,} are read of an image."
        raise LimitError(message)


def _is_picture(spec: TensorSpec) -> bool:
    return len(spec.shape) == IMAGE_RANK and _channels(spec) in (1, 2, 3, 4, None)


def _channels(spec: TensorSpec) -> int | None:
    return spec.shape[1] if spec.axes[1:2] == ("channel",) else spec.shape[-1]


def _from_image(
    content: bytes,
    name: str,
    specs: tuple[TensorSpec, ...],
    preprocessing: Preprocessing,
    options: InputOptions,
) -> Sample:
    if len(specs) != 1:
        names = ", ".join(escape(spec.name, 40) for spec in specs)
        message = (
            f"{name}: the model has {len(specs)} inputs ({names}); give an .npz file with an array under each name."
        )
        raise InputError(message)
    spec = specs[0]
    picture, notes = images.decode(content, name, options)
    if len(spec.shape) != IMAGE_RANK or _channels(spec) not in IMAGE_CHANNELS:
        message = f"{name}: this is an image, but the model wants {_shape_text(spec)}; give an array as .npy."
        raise InputError(message)
    return _fed(name, picture, spec, preprocessing, (options, notes))


def _fed(
    name: str,
    picture: NDArray[np.float32],
    spec: TensorSpec,
    preprocessing: Preprocessing,
    how: tuple[InputOptions, tuple[str, ...]],
) -> Sample:
    """Bring a decoded picture to what one input wants."""
    options, notes = how
    channels = _channels(spec) or picture.shape[-1]
    first = spec.axes[1:2] == ("channel",)
    size = spec.shape[2:] if first else spec.shape[1:3]
    picture, said = images.resized(picture, (size[0], size[1]), options)
    picture = images.with_channels(picture, channels)
    if options.invert:
        picture = np.float32(1) - picture
    values = preprocessing.apply(picture)
    thumbnail = _thumbnail(preprocessing.undo(values))
    shape = " × ".join(map(str, values.shape))
    fed = f"{shape}, {preprocessing.name}" + (", inverted" if options.invert else "") + (f", {said}" if said else "")
    values = values.transpose(2, 0, 1) if first else values
    batch = {spec.name: _as_dtype(values[None], spec.dtype)}
    return Sample(name, batch, thumbnail, fed, _digest(batch), notes)


def _as_dtype(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    kind = np.dtype("float32" if dtype in {"bfloat16", "string"} else dtype)
    if kind.kind in "iu":
        values = np.rint(values)
    return np.ascontiguousarray(values, kind)


def _thumbnail(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture (0..1) as uint8 ``(row, column, RGB)``, at most 256 pixels long."""
    stride = max(1, max(picture.shape[:2]) // THUMBNAIL_SIDE)
    rows, columns = (size // stride * stride for size in picture.shape[:2])
    cut = np.nan_to_num(picture[:rows, :columns])
    small = cut.reshape(rows // stride, stride, columns // stride, stride, -1).mean((1, 3))
    small = small[..., :3] if small.shape[-1] >= 3 else np.repeat(small[..., :1], 3, axis=-1)  # noqa: PLR2004
    return np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)


def _digest(batch: dict[str, NDArray[Any]]) -> str:
    found = hashlib.sha256()
    for name in sorted(batch):
        values = batch[name]
        found.update(f"{name}\0{values.dtype.str}\0{values.shape}\0".encode("utf-8", "surrogatepass"))
        found.update(values.tobytes() if values.dtype.kind != "O" else repr(values.tolist()).encode())
    return found.hexdigest()


def _from_archive(
    found: dict[str, NDArray[Any]],
    name: str,
    specs: tuple[TensorSpec, ...],
    options: InputOptions,
) -> list[Sample]:
    wanted = [spec.name for spec in specs]
    if len(specs) == 1 and len(found) == 1:
        found = {wanted[0]: next(iter(found.values()))}
    missing = [item for item in wanted if item not in found]
    if missing:
        have = ", ".join(escape(item, 40) for item in sorted(found)) or "none"
        message = f'{name}: no array for the input "{escape(missing[0], 60)}"; the file holds {have}; save it with numpy.savez(..., {escape(missing[0], 60)}=...).'
        raise InputError(message)
    return _from_arrays({item: found[item] for item in wanted}, name, specs, options)


def _from_arrays(
    found: dict[str, NDArray[Any]],
    name: str,
    specs: tuple[TensorSpec, ...],
    options: InputOptions,
) -> list[Sample]:
    if len(specs) > len(found):
        names = ", ".join(escape(spec.name, 40) for spec in specs)
        message = (
            f"{name}: the model has {len(specs)} inputs ({names}); give an .npz file with an array under each name."
        )
        raise InputError(message)
    fitted = {spec.name: _checked(found[spec.name], spec, name, options) for spec in specs}
    count = {len(values) for values in fitted.values()}
    if len(count) != 1:
        message = f"{name}: the arrays hold different numbers of samples ({', '.join(map(str, sorted(count)))})."
        raise InputError(message)
    total = count.pop()
    samples = []
    for number in range(total):
        batch = {key: values[number : number + 1] for key, values in fitted.items()}
        broken = sum(int((~np.isfinite(v)).sum()) for v in batch.values() if v.dtype.kind == "f")
        notes = (f"{name}: {broken:,} NaN or infinite values are fed",) if broken else ()
        shapes = "; ".join(" × ".join(map(str, values.shape[1:])) for values in batch.values())
        shown = name if total == 1 else f"{name}[{number}]"
        thumbnail = _array_thumbnail(specs[0], batch[specs[0].name])
        samples.append(Sample(shown, batch, thumbnail, f"{shapes}, as given", _digest(batch), notes))
    return samples


def _checked(values: NDArray[Any], spec: TensorSpec, name: str, options: InputOptions) -> NDArray[Any]:
    """Return an array with a batch axis that fits the input, or say what was expected."""
    if options.layout != "auto" and values.ndim >= IMAGE_RANK - 1:
        values = _laid_out(values, spec, options.layout)
    if values.ndim == len(spec.shape) - 1:
        values = values[None]
    fits = values.ndim == len(spec.shape) and all(
        want in (None, have) for want, have in zip(spec.shape[1:], values.shape[1:], strict=True)
    )
    if not fits or not values.size:
        hint = _layout_hint(values, spec)
        message = f"{name}: expected {_shape_text(spec)}, got {tuple(values.shape)}; arrays are never resized{hint}."
        raise InputError(message)
    if values.dtype.kind == "U" and spec.dtype != "string":
        message = f"{name}: dtype {values.dtype} is not supported by this input, which takes {escape(spec.dtype, 40)}."
        raise InputError(message)
    if spec.dtype == "string":
        return values.astype(object)
    if values.dtype.kind == "f" and not options.allow_nonfinite and not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        message = f"{name}: holds {count:,} NaN or infinite values; mend them or pass --allow-nonfinite."
        raise InputError(message)
    return _converted(values, spec, name)


def _converted(values: NDArray[Any], spec: TensorSpec, name: str) -> NDArray[Any]:
    kind = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
    with np.errstate(all="ignore"):
        result = np.ascontiguousarray(values).astype(kind)
    if kind.kind in "iub" and values.dtype.kind != "b" and not np.array_equal(result.astype(values.dtype), values):
        message = f"{name}: the input takes {kind}, and the values ({values.dtype}) do not fit into it."
        raise InputError(message)
    if kind.kind == "f" and values.dtype.kind == "f" and np.isinf(result).sum() != np.isinf(values).sum():
        message = f"{name}: the input takes {kind}, and some values are too large for it."
        raise InputError(message)
    return result


def _laid_out(values: NDArray[Any], spec: TensorSpec, layout: str) -> NDArray[Any]:
    """Move the channels of an array that was declared to have them first or last."""
    wants_first = spec.axes[1:2] == ("channel",)
    if layout == "channels_first" and not wants_first:
        return np.moveaxis(values, -3, -1)
    if layout == "channels_last" and wants_first:
        return np.moveaxis(values, -1, -3)
    return values


def _layout_hint(values: NDArray[Any], spec: TensorSpec) -> str:
    if values.ndim == len(spec.shape) == IMAGE_RANK:
        moved = np.moveaxis(values, 1, -1).shape if spec.axes[1:2] != ("channel",) else np.moveaxis(values, -1, 1).shape
        if all(want in (None, have) for want, have in zip(spec.shape[1:], moved[1:], strict=True)):
            other = "channels_last" if spec.axes[1:2] == ("channel",) else "channels_first"
            return f", but pass --layout {other} if that is how it is stored"
    return ""


def _shape_text(spec: TensorSpec) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in ("any", *spec.shape[1:]))
    return f"({sizes})"


def _array_thumbnail(spec: TensorSpec, values: NDArray[Any]) -> NDArray[np.uint8] | None:
    if not _is_picture(spec) or values.dtype.kind == "O":
        return None
    picture = np.nan_to_num(values[0].astype(np.float32), posinf=0, neginf=0)
    if spec.axes[1:2] == ("channel",):
        picture = picture.transpose(1, 2, 0)
    low, high = float(picture.min()), float(picture.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:  # noqa: PLR2004  (bytes)
        low, high = 0.0, 255.0
    return _thumbnail((picture - low) / max(high - low, 1e-12))


def default_sample(specs: tuple[TensorSpec, ...], preprocessing: Preprocessing, options: InputOptions) -> Sample:
    """Return what is fed when no input is given.

    Networks for images get the photograph that matplotlib ships, cropped; others get seeded
    noise: standard normal numbers, or small positive integers where tokens are wanted.

    Raises
    ------
    InputError
        When an input takes text, which cannot be made up.
    """
    path = _photograph()
    if len(specs) == 1 and len(specs[0].shape) == IMAGE_RANK and _channels(specs[0]) in IMAGE_CHANNELS and path:
        from dataclasses import replace

        content = path.read_bytes()
        picture, _ = images.decode(content, path.name, options)
        crop = replace(options, resize="crop")
        side = max(picture.shape[:2])
        if None in specs[0].shape[1:] and side > FREE_SIDE:
            rows, columns = (round(size * FREE_SIDE / side) for size in picture.shape[:2])
            picture, _ = images.resized(picture, (rows, columns), crop)
        sample = _fed("sample photograph", picture, specs[0], preprocessing, (crop, ()))
        note = "no input given: matplotlib's sample photograph is used; give an image or .npy file after the model"
        return replace(sample, notes=(note,))
    random = np.random.default_rng(options.seed)
    batch = {spec.name: _noise(spec, random) for spec in specs}
    shapes = "; ".join(" × ".join(map(str, values.shape[1:])) for values in batch.values())
    note = f"no input given: random numbers are used (--seed {options.seed}); give an .npy file after the model"
    fed = f"{shapes}, random, seed {options.seed}"
    return Sample(
        "noise",
        batch,
        _array_thumbnail(specs[0], batch[specs[0].name]),
        fed,
        _digest(batch),
        (note,),
    )


def _photograph() -> Path | None:
    found = importlib.util.find_spec("matplotlib")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    return path if path.exists() else None


def _noise(spec: TensorSpec, random: np.random.Generator) -> NDArray[Any]:
    if spec.dtype == "string":
        message = f'the input "{escape(spec.name, 60)}" takes text; give an .npy file with strings after the model.'
        raise InputError(message)
    shape = (1, *(32 if size is None else size for size in spec.shape[1:]))
    if np.prod(shape, dtype=object) > MAXIMUM_IMAGE_BYTES // 4:
        message = f'the input "{escape(spec.name, 60)}" has {_shape_text(spec)} values, too many to make up; give an .npy file.'
        raise LimitError(message)
    if spec.dtype.startswith(("int", "uint")):
        return random.integers(1, 3, shape).astype(spec.dtype)
    kind = "float32" if spec.dtype == "bfloat16" else spec.dtype
    return random.standard_normal(shape).astype(kind)
