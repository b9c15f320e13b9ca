"""Convert images and arrays to samples: values, thumbnails and descriptions."""

from __future__ import annotations

import hashlib
import itertools
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError
from actviz.inputs import image_resize
from actviz.inputs.array_checks import array_dtype, check_finite
from actviz.inputs.input_options import parse_color
from actviz.inputs.preprocessing import apply, undo
from actviz.inputs.text_files import split_into_steps
from actviz.records import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.inputs.channels import DecodedImage
    from actviz.inputs.image_resize import ImageShape
    from actviz.inputs.input_options import InputOptions
    from actviz.inputs.preprocessing import Preprocessing
    from actviz.records import TensorSpec

THUMBNAIL_SIDE = 256
SHOWN_PICTURES = 4
SHOWN_INPUTS = 4
SHOWN_TEXT = 60
_BYTE = 255
_GREY = 200


def sample_of_image(
    image: DecodedImage, spec: TensorSpec, preprocessing: Preprocessing, options: InputOptions, source: Path
) -> Sample:
    """Return a decoded image as a sample for a network with one input.

    The image is inverted if `options` say so, resized, and converted to the range, dtype and axis
    order of the input.

    Raises
    ------
    ActvizError
        When the input does not take images or that range, or the result would be too large.
    """
    path = str(source)
    shape = image_resize.check_takes_images(spec, path)
    notes = (*image.notes, *check_finite(image.values, path, options))
    frames = image.values if shape.frame_axis is not None else image.values[None]
    image_resize.check_frames(len(frames), shape, spec, path)
    own = (frames.shape[1], frames.shape[2])
    size = image_resize.target_size(own, shape)
    image_resize.check_pixels((len(frames) * size[0], size[1]), options.maximum_pixels, path)
    plan = image_resize.plan(own, size, options.resize)
    fed, pictures = [], []
    for frame in frames:
        picture = negative(frame, alpha=image.alpha) if options.invert else frame
        picture = image_resize.resize(picture, plan, parse_color(options.background), alpha=image.alpha)
        fed.append(_in_dtype(apply(picture, preprocessing), spec, preprocessing, path))
        pictures.append(_as_fed(picture, fed[-1], preprocessing))
    if len(shape.order) == 2:  # noqa: PLR2004  (row, column: no channel axis)
        notes += (f"{path}: the input has no channel axis; the image is fed as grey rows and columns.",)
    values = {spec.name: to_axes(fed[0] if shape.frame_axis is None else np.stack(fed), shape)[None]}
    text = [*_sizes_texts(fed, shape), preprocessing.label]
    if options.invert:
        text.append("inverted")
    if plan.word:
        text.append(f"{plan.word} from {sizes_text(own)}")
    shown = sorted({round(index) for index in np.linspace(0, len(pictures) - 1, SHOWN_PICTURES)})
    return Sample(
        source.name,
        values,
        row_of_pictures([image_resize.shrink(pictures[index], THUMBNAIL_SIDE) for index in shown]),
        ", ".join([*text, *_shown_bands(fed[0], alpha=image.alpha)]),
        digest(values),
        notes,
        ranges=(preprocessing.description,),
        pictures={spec.name: pictures[0] if shape.frame_axis is None else np.stack(pictures)},
        fitting=plan.word,
        padding={} if plan.picture is None else {spec.name: plan.picture},
    )


def _sizes_texts(fed: Sequence[NDArray[Any]], shape: ImageShape) -> list[str]:
    """Return the number of frames, if the input takes frames, and the size of one."""
    frames = [] if shape.frame_axis is None else [f"{len(fed):,} frame{'s' if len(fed) != 1 else ''}"]
    return [*frames, image_resize.TIMES.join(str(side) for side in fed[0].shape[: len(shape.order)])]


def _shown_bands(fed: NDArray[Any], *, alpha: bool) -> list[str]:
    """Return which bands the thumbnail shows, if it does not show all."""
    count = fed.shape[2] - alpha
    if count in {1, 3}:
        return []
    return ["band 1 is shown" if count < 3 else "bands 1 to 3 are shown"]  # noqa: PLR2004  (red, green, blue)


def sample_of_arrays(
    values: dict[str, NDArray[Any]],
    specs: tuple[TensorSpec, ...],
    name: str,
    notes: tuple[str, ...] = (),
    origin: str = "as given",
) -> Sample:
    """Return arrays with a batch axis of size 1, in the dtypes of the inputs, as a sample.

    `origin` is the part of the description that says where the values come from.
    """
    with_range = {spec.name: array_picture(values[spec.name][0], spec) for spec in specs}
    pictures = {name: item[0] for name, item in with_range.items() if item is not None}
    small = [image_resize.shrink(picture, THUMBNAIL_SIDE) for picture in pictures.values() if picture.ndim == 3]  # noqa: PLR2004  (not several frames)
    texts = {spec.name: _fed_text(values[spec.name], origin, with_range[spec.name]) for spec in specs}
    words = only([words_by_step(values[spec.name][0], spec) for spec in specs])
    fed = join_descriptions(texts) if len(texts) > 1 else "".join(texts.values())
    return Sample(name, values, row_of_pictures(small), fed, digest(values), notes, words, pictures=pictures)


def join(samples: Mapping[str, Sample], name: str, stem: str) -> Sample:
    """Combine samples of one input each, by input name, into one sample."""
    values = {key: value for sample in samples.values() for key, value in sample.values.items()}
    notes = tuple(dict.fromkeys(note for sample in samples.values() for note in sample.notes))
    by_input = {key: sample.ranges for key, sample in samples.items() if sample.ranges}
    same = len(set(by_input.values())) == 1
    ranges = tuple(text if same else f"{key} {text}" for key, texts in by_input.items() for text in texts)
    return Sample(
        name,
        values,
        row_of_pictures([sample.thumbnail for sample in samples.values()]),
        join_descriptions({key: sample.fed for key, sample in samples.items()}),
        digest(values),
        notes,
        only([sample.words for sample in samples.values()]),
        tuple(dict.fromkeys(ranges)),
        stem,
        {key: picture for sample in samples.values() for key, picture in sample.pictures.items()},
        next((sample.fitting for sample in samples.values() if sample.fitting), ""),
        {key: box for sample in samples.values() for key, box in sample.padding.items()},
    )


def join_descriptions(texts: Mapping[str, str]) -> str:
    """Join descriptions by input name: the first four, and the number of the others."""
    shown = [f"{name} {text}" for name, text in itertools.islice(texts.items(), SHOWN_INPUTS)]
    rest = len(texts) - len(shown)
    return "; ".join(shown) + (f"; and {rest} more" if rest else "")


def only(words_of_inputs: Sequence[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """Return the words if only one input has some: with two, steps could not be labeled unambiguously."""
    words = [item for item in words_of_inputs if item is not None]
    return words[0] if len(words) == 1 else None


def words_by_step(texts: NDArray[Any], spec: TensorSpec) -> tuple[str, ...] | None:
    """Return the words of a text without batch axis, one per step, or ``None`` if they are unknown."""
    if spec.dtype != "string" or texts.ndim > 1:
        return None
    if texts.size == 1 and spec.shape[1:] in {(), (1,)}:
        return split_into_steps(str(texts.ravel()[0]), spec.split)
    return tuple(map(str, texts.tolist()))


def row_of_pictures(pictures: Sequence[NDArray[np.uint8] | None]) -> NDArray[np.uint8] | None:
    """Return pictures ``(row, column, RGB)`` side by side, or ``None`` if there are none.

    Smaller ones are enlarged by an integer factor to at most the height of the highest, and centered on
    gray with gaps, as pictures often have white borders.
    """
    shown = [picture for picture in pictures if picture is not None][:SHOWN_PICTURES]
    if len(shown) < 2:  # noqa: PLR2004  (a single picture)
        return shown[0] if shown else None
    height = max(picture.shape[0] for picture in shown)
    factors = [height // picture.shape[0] for picture in shown]
    enlarged = [p.repeat(factor, axis=0).repeat(factor, axis=1) for p, factor in zip(shown, factors, strict=True)]
    gap = max(1, height // 16)
    page = np.full(
        (height, sum(picture.shape[1] for picture in enlarged) + gap * (len(enlarged) - 1), 3), _GREY, np.uint8
    )
    column = 0
    for picture in enlarged:
        rows, columns = picture.shape[:2]
        top = (height - rows) // 2
        page[top : top + rows, column : column + columns] = picture
        column += columns + gap
    return page


def negative(picture: NDArray[Any], *, alpha: bool) -> NDArray[Any]:
    """Return an inverted image ``(row, column, channel)``; the last channel is kept if it is `alpha`."""
    top = _BYTE if picture.dtype == np.uint8 else 1
    inverted: NDArray[Any] = top - picture
    if alpha:
        inverted[:, :, -1] = picture[:, :, -1]
    return inverted


def to_axes(fed: NDArray[Any], shape: ImageShape) -> NDArray[Any]:
    """Return ``([frame,] row, column, channel)`` in the axis order of an input, C-contiguous."""
    if len(shape.order) == 2:  # noqa: PLR2004  (row, column: no channel axis)
        return np.ascontiguousarray(fed[:, :, 0])
    order = shape.order if shape.frame_axis is None else (shape.frame_axis, *shape.order)
    return np.ascontiguousarray(np.moveaxis(fed, tuple(range(fed.ndim)), order))


def digest(values: dict[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of dtype, shape and bytes of all arrays, sorted by name."""
    total = hashlib.sha256()
    for name in sorted(values):
        array = values[name]
        total.update(f"{array.dtype.str} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).data)
    return total.hexdigest()


def _as_fed(picture: NDArray[Any], fed: NDArray[Any], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return preprocessed values ``(row, column, channel)`` as a picture, uint8 ``(row, column, RGB)``.

    If all 256 byte values survive preprocessing, it is `picture`, from which the values were computed.
    """
    floating = picture.dtype == np.uint8 and fed.dtype.kind == "f"
    if floating and _keeps_bytes(preprocessing, picture.shape[2], fed.dtype):
        return _in_color(picture)
    return as_picture(undo(fed, preprocessing))


@lru_cache(maxsize=64)
def _keeps_bytes(preprocessing: Preprocessing, channels: int, dtype: np.dtype[Any]) -> bool:
    """Return True if all 256 byte values survive preprocessing in a dtype."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], channels, axis=2)
    with np.errstate(over="ignore"):  # float16 may overflow for levels that do not occur
        restored = as_picture(undo(apply(levels, preprocessing).astype(dtype), preprocessing))
    return np.array_equal(restored, _in_color(levels))


def as_picture(picture: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return an image ``(row, column, channel)`` of values 0..1 as uint8 ``(row, column, RGB)``."""
    finite = np.nan_to_num(picture, nan=0.0, posinf=1.0, neginf=0.0)
    return _in_color(np.rint(np.clip(finite, 0, 1) * _BYTE).astype(np.uint8))


def _in_color(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ``(row, column, channel)`` as ``(row, column, RGB)``: gray is repeated, a fourth channel dropped."""
    return (
        np.repeat(pixels[:, :, :1], 3, axis=2)
        if pixels.shape[2] < 3  # noqa: PLR2004  (RGB)
        else np.ascontiguousarray(pixels[:, :, :3])
    )


Ends = tuple[float, float]


def array_picture(array: NDArray[Any], spec: TensorSpec) -> tuple[NDArray[np.uint8], Ends] | None:
    """Return an array without batch axis as a picture, and its values that are black and white.

    The picture is uint8 ``(row, column, RGB)``, or ``(frame, row, column, RGB)`` for an input of frames
    or planes; the result is ``None`` if the array does not have the shape of images. It is scaled from
    the minimum to the maximum of the channels shown; no range is guessed, as an array of 0..1.01 taken
    for 0..255 would be black. A constant array is black if it is 0, else gray.
    """
    shape = image_resize.image_shape(spec)
    if shape is None or array.dtype.kind == "U" or len(shape.order) != 3:  # noqa: PLR2004  (row, column, channel)
        return None
    order = shape.order if shape.frame_axis is None else (shape.frame_axis, *shape.order)
    picture = array.transpose(order)
    if picture.shape[-1] not in {1, 3, 4}:
        return None
    picture = picture[..., :3].astype(np.float64)
    low, high = _ends(picture)
    with np.errstate(all="ignore"):
        scaled = (picture / 2 - low / 2) / (high / 2 - low / 2)
    if not high / 2 - low / 2 > 0:
        scaled = np.full(picture.shape, 0.5 if low else 0.0)
    flat = as_picture(scaled.reshape(-1, *scaled.shape[-2:]))
    return flat.reshape(*scaled.shape[:-1], 3), (low, high)


def range_text(array: NDArray[Any]) -> str:
    """Return the range of an array as text: ``values -1.2..3.5``, with minus signs, not hyphens."""
    if array.dtype.kind == "U":
        return "text"
    if array.dtype.kind == "b":
        return "true and false"
    low, high = _ends(array)
    return f"values {_number(low)}..{_number(high)}" if low != high else f"all {_number(low)}"


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _fed_text(array: NDArray[Any], origin: str, picture: tuple[NDArray[np.uint8], Ends] | None) -> str:
    """Describe an array with a batch axis of size 1; a single string is quoted.

    If it is shown as a picture, the description says which values are black and white.
    """
    if array.dtype.kind == "U" and array.size == 1:
        return shortened(str(array.ravel()[0]))
    if array.dtype.kind == "U":
        return f"{sizes_text(array.shape[1:])} words, {origin}"
    text = f"{sizes_text(array.shape[1:])}, {origin}, {range_text(array)}"
    if picture is None or picture[1][0] == picture[1][1]:
        return text
    low, high = picture[1]
    same = array.dtype.kind != "b" and (low, high) == _ends(array)
    return f"{text} from black to white" if same else f"{text}, black {_number(low)}, white {_number(high)}"


def shortened(text: str) -> str:
    """Return a text in quotes, truncated to `SHOWN_TEXT` characters."""
    return f'"{text if len(text) <= SHOWN_TEXT else text[: SHOWN_TEXT - 3] + "..."}"'


def sizes_text(sizes: tuple[int, ...]) -> str:
    """Return sizes as ``28 x 28 x 1`` (with multiplication signs), or ``single value`` for no axes."""
    return image_resize.TIMES.join(str(size) for size in sizes) or "single value"


def _ends(array: NDArray[Any]) -> tuple[float, float]:
    if not array.size:
        return 0.0, 0.0
    if array.dtype.kind == "f":
        finite = array[np.isfinite(array)]
        return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return float(array.min()), float(array.max())


def _in_dtype(fed: NDArray[np.float32], spec: TensorSpec, preprocessing: Preprocessing, path: str) -> NDArray[Any]:
    dtype = array_dtype(spec.dtype)
    if dtype.kind == "f":
        return fed.astype(dtype, copy=False)
    low, high = preprocessing.ends
    limits = np.iinfo(dtype)
    if preprocessing.name != "0..255" or limits.max < _BYTE:
        message = f"{path}: the input holds whole numbers ({spec.dtype}), which cannot be fed {preprocessing.label} ({low:.4g}..{high:.4g}); use --preprocess 0..255, or give an array (.npy)."
        raise InputError(message)
    return np.rint(fed).astype(dtype)
