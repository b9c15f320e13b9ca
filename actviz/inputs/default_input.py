"""What is fed where no input was given: a photograph, words, tokens, or noise from a seed."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError, LimitError
from actviz.inputs.array_checks import array_dtype, listed
from actviz.inputs.image_resize import image_shape
from actviz.inputs.images import decode
from actviz.inputs.preprocessing import Preprocessing
from actviz.inputs.samples import join, sample_of_arrays, sample_of_image, shortened, sizes_text
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from actviz.inputs.input_options import InputOptions
    from actviz.records import Sample, TensorSpec

PHOTOGRAPH = Path("mpl-data", "sample_data", "grace_hopper.jpg")
FREE_SIDE = 512
MAX_VALUES = 100_000_000
MAX_WORDS = 1_000_000
TOKENS = (1, 10)
_MAX_PHOTOGRAPH_BYTES = 4 << 20
# What a free axis becomes in noise: enough to see structure, cheap to compute.
_FREE_SIZES = {"row": 64, "column": 64, "plane": 16}
_FREE_SIZE = 16
_FREE_WORDS = 8
SENTENCE = "the quick brown fox jumps over the lazy dog"
_IMAGE_RANK = 4


def default_sample(
    specs: tuple[TensorSpec, ...],
    preprocessing: Preprocessing | Mapping[str, Preprocessing],
    options: InputOptions,
) -> Sample:
    """Return a sample that every input can take, and a note that says what it is.

    The sample photograph for an input of images; for a text, words that the network knows,
    else a plain sentence; for tokens, random ones of the vocabulary; seeded noise for any
    other. `preprocessing` is the range of the images, or one by the name of each input.

    Raises
    ------
    InputError
        When the model file does not tell the shape of an input.
    LimitError
        When the noise would be too large.

    """
    generator = np.random.default_rng(options.seed)
    made = {}
    for spec in specs:
        chosen = preprocessing if isinstance(preprocessing, Preprocessing) else preprocessing[spec.name]
        made[spec.name] = _stand_in(spec, chosen, options, generator)
    if len(made) == 1:
        (found,) = made.values()
        note = f"no input given: {found.what} used{found.aside}; give {found.wanted} after the model."
        return replace(found.sample, notes=(note, *found.sample.notes))
    used: dict[str, list[str]] = {}
    for name, found in made.items():
        used.setdefault(found.what.rpartition(" ")[0] + found.aside, []).append(name)
    shown = [f"{what} for {listed(takers)}" for what, takers in used.items()]
    note = f"no input given; fed instead: {'; '.join(shown)}. Give a file for each with --input NAME=FILE."
    names = tuple(dict.fromkeys(found.sample.name for found in made.values()))
    joined = join({name: found.sample for name, found in made.items()}, " + ".join(names), "+".join(map(_stem, names)))
    return replace(joined, notes=(note, *joined.notes))


@dataclass(frozen=True, slots=True)
class _DefaultInput:
    """What is fed to one input, and the words for it: ``WHAT is``, ``WANTED`` and an aside."""

    sample: Sample
    what: str
    wanted: str
    aside: str = ""


def _stand_in(
    spec: TensorSpec, preprocessing: Preprocessing, options: InputOptions, generator: np.random.Generator
) -> _DefaultInput:
    if not spec.shape:
        message = "no input given, and the model file does not tell the shape of its input; give an array with the batch axis first (.npy)."
        raise InputError(message)
    if spec.dtype == "string":
        return _text(spec, generator)
    shape = image_shape(spec) if len(spec.shape) == _IMAGE_RANK else None
    photograph = find_photograph() if shape is not None and shape.channels in {1, 3} else None
    if photograph is not None:
        sample = _photograph(photograph, spec, preprocessing, options)
        return _DefaultInput(sample, f"the sample photograph {photograph.name} is", "an image or an array")
    values = {spec.name: _random(spec, generator)}
    seed = options.seed
    aside = f" (--seed {seed})"
    if spec.limit is not None or spec.words:
        sample = sample_of_arrays(values, (spec,), f"tokens-{seed}", (), f"random tokens of seed {seed}")
        return _DefaultInput(sample, "random tokens of the vocabulary are", "an array or a file of numbers", aside)
    sample = sample_of_arrays(values, (spec,), f"noise-{seed}", (), f"random noise of seed {seed}")
    return _DefaultInput(sample, "random noise is", "an array", aside)


def _text(spec: TensorSpec, generator: np.random.Generator) -> _DefaultInput:
    """Return words of the network's own vocabulary, or a sentence that holds every letter.

    An input of one text gets a sentence where the network takes it apart, else one word:
    a network that looks whole texts up knows no sentence.
    """
    sizes = _sizes(spec, _FREE_WORDS)
    _check_size(sizes, "words", MAX_WORDS)
    one = sizes in {(), (1,)}
    words = SENTENCE.split()
    if spec.words:
        count = 1 if one and not spec.split else _FREE_WORDS
        words = [spec.words[place] for place in generator.integers(0, len(spec.words), count)]
    aside = ""
    if one:
        words = [("" if spec.words and spec.split == "character" else " ").join(words)]
        aside = f" ({shortened(words[0])})"
    values = np.array([words[place % len(words)] for place in range(math.prod(sizes))]).reshape(1, *sizes)
    sample = sample_of_arrays({spec.name: values}, (spec,), "text", (), "made up")
    what = "words of the model's vocabulary are" if spec.words else "a plain sentence is"
    return _DefaultInput(sample, what, "a text file", aside)


def _stem(name: str) -> str:
    return name.removesuffix(".jpg")


def find_photograph() -> Path | None:
    """Locate the photograph that matplotlib ships, without importing matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        return None
    photograph = Path(found.origin).parent / PHOTOGRAPH
    return photograph if file_system.exists(photograph) else None


def _photograph(
    path: Path,
    spec: TensorSpec,
    preprocessing: Preprocessing,
    options: InputOptions,
) -> Sample:
    """Return the photograph, brought to the input's size as any image is; a free size takes at most 512 a side."""
    shape = image_shape(spec)
    channels = 3 if shape is None else shape.channels
    label = path.name
    content = file_system.read_bytes(path, _MAX_PHOTOGRAPH_BYTES)
    chosen = replace(options, frame=0)
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
    return sample_of_image(image, spec, preprocessing, chosen, Path(label))


def _sizes(spec: TensorSpec, free: int) -> tuple[int, ...]:
    """Return the sizes after the batch axis, those that are free filled in: as many as the network needs to run."""
    axes = (*spec.axes[1:], *[""] * len(spec.shape))
    least = (*spec.least[1:], *[None] * len(spec.shape))
    return tuple(
        max(_FREE_SIZES.get(axis, free), needed or 1) if size is None else size
        for axis, size, needed in zip(axes, spec.shape[1:], least, strict=False)
    )


def _check_size(sizes: tuple[int, ...], noun: str, limit: int) -> None:
    if math.prod(sizes) > limit:
        message = f"no input given, and {noun} for {sizes_text(sizes)} would be {math.prod(sizes):,} values, at most {limit:,} are made; give an array after the model."
        raise LimitError(message)


def _random(spec: TensorSpec, generator: np.random.Generator) -> NDArray[Any]:
    """Return noise with a batch axis of one: standard normal, or whole numbers.

    Whole numbers are 1..9 where no vocabulary tells more: nine is a token that nearly every
    vocabulary has, and 0 is often the padding that a network masks away.
    """
    sizes = _sizes(spec, _FREE_SIZE)
    _check_size(sizes, "noise", MAX_VALUES)
    dtype = array_dtype(spec.dtype)
    shape = (1, *sizes)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(bool)
    if spec.limit is not None:
        return generator.integers(min(1, spec.limit - 1), spec.limit, shape).astype(dtype)
    if dtype.kind in "iu" and spec.words:
        return generator.choice(np.array([int(word) for word in spec.words]), shape).astype(dtype)
    if dtype.kind in "iu":
        return generator.integers(*TOKENS, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)
