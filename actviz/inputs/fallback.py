"""What is fed where no input was given: a photograph, or noise from a seed."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz import system
from actviz.errors import InputError, LimitError
from actviz.inputs.feeding import sample_of_arrays, sample_of_image, sizes_text
from actviz.inputs.geometry import image_shape
from actviz.inputs.images import decode
from actviz.inputs.matching import fed_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.inputs.options import InputOptions
    from actviz.inputs.preprocessing import Preprocessing
    from actviz.records import Sample, TensorSpec

PHOTOGRAPH = Path("mpl-data", "sample_data", "grace_hopper.jpg")
FREE_SIDE = 512
MAX_VALUES = 100_000_000
TOKENS = (1, 10)
_MAX_PHOTOGRAPH_BYTES = 4 << 20
# What a free axis becomes in noise: enough to see structure, cheap to compute.
_FREE_SIZES = {"row": 64, "column": 64, "plane": 16}
_FREE_SIZE = 16
_IMAGE_RANK = 4


def default_sample(
    specs: tuple[TensorSpec, ...],
    preprocessing: Preprocessing,
    options: InputOptions,
) -> Sample:
    """Return the sample photograph for an image network, seeded noise for any other.

    Raises
    ------
    InputError
        When an input takes text, for which there is no stand-in.
    LimitError
        When the noise would be too large.

    """
    if len(specs) == 1 and len(specs[0].shape) == _IMAGE_RANK:
        shape = image_shape(specs[0])
        if shape is not None and shape.channels in {1, 3}:
            photograph = find_photograph()
            if photograph is not None:
                return _photograph(photograph, specs[0], preprocessing, options)
    return _noise(specs, options)


def find_photograph() -> Path | None:
    """Locate the photograph that matplotlib ships, without importing matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        return None
    photograph = Path(found.origin).parent / PHOTOGRAPH
    return photograph if system.exists(photograph) else None


def _photograph(
    path: Path,
    spec: TensorSpec,
    preprocessing: Preprocessing,
    options: InputOptions,
) -> Sample:
    """Return the photograph, cut around its centre; a free size takes at most 512 a side."""
    shape = image_shape(spec)
    channels = 3 if shape is None else shape.channels
    label = path.name
    content = system.read_bytes(path, _MAX_PHOTOGRAPH_BYTES)
    chosen = replace(options, resize="crop", frame=0)
    image = decode(content, "JPEG", label, channels, chosen)
    if shape is not None and shape.rows is None and shape.columns is None:
        rows, columns = image.values.shape[:2]
        factor = min(1.0, FREE_SIDE / max(rows, columns))
        sizes: list[int | None] = [spec.shape[0], 0, 0, 0]
        for position, size in zip(
            shape.order,
            (round(rows * factor), round(columns * factor), channels),
            strict=True,
        ):
            sizes[1 + position] = size
        spec = replace(spec, shape=tuple(sizes))
    sample = sample_of_image(image, spec, preprocessing, chosen, Path(label))
    note = f"no input given: the sample photograph {label} is used; give an image or an array after the model."
    return replace(sample, notes=(note, *sample.notes))


def _noise(specs: tuple[TensorSpec, ...], options: InputOptions) -> Sample:
    generator = np.random.default_rng(options.seed)
    values = {spec.name: _random(spec, generator) for spec in specs}
    name = f"noise-{options.seed}"
    note = f"no input given: random noise is used (--seed {options.seed}); give an array after the model."
    return sample_of_arrays(values, specs, name, (note,), f"random noise of seed {options.seed}")


def _random(spec: TensorSpec, generator: np.random.Generator) -> NDArray[Any]:
    """Return noise with a batch axis of one: standard normal, or whole numbers 1..9.

    Nine is a token that nearly every vocabulary has, and 0 is often the padding that a
    network masks away.
    """
    sizes = tuple(
        _FREE_SIZES.get(axis, _FREE_SIZE) if size is None else size
        for axis, size in zip((*spec.axes[1:], *[""] * len(spec.shape)), spec.shape[1:], strict=False)
    )
    if spec.dtype == "string":
        message = f"no input given, and the input {spec.name} takes text, for which nothing can stand in; give an .npy file of text after the model."
        raise InputError(message)
    if math.prod(sizes) > MAX_VALUES:
        message = f"no input given, and noise for {sizes_text(sizes)} would be {math.prod(sizes):,} values, at most {MAX_VALUES:,} are made; give an array after the model."
        raise LimitError(message)
    dtype = fed_dtype(spec.dtype)
    shape = (1, *sizes)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return generator.integers(*TOKENS, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)
