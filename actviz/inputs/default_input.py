"""Default inputs if none are given: a photograph, words, tokens or seeded noise."""

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
# Sizes of free axes in noise: large enough to show structure, and cheap to compute.
_FREE_SIZES = {"row": 64, "column": 64, "plane": 16}
_FREE_SIZE = 16
_FREE_WORDS = 8
SENTENCE = "the quick brown fox jumps over the lazy dog"
_IMAGE_RANK = 4


def default_sample(
    specs: tuple[TensorSpec, ...], preprocessing: Preprocessing | Mapping[str, Preprocessing], options: InputOptions
) -> Sample:
    """Return a sample with a value for every input, and a note that describes it.

    Images get the sample photograph; text gets words of the vocabulary, else a sentence; tokens are
    drawn from the vocabulary; other inputs get seeded noise. `preprocessing` is for all inputs, or
    by input name.

    Raises
    ------
    InputError
        When the shape of an input is unknown.
    LimitError
        When the noise would be too large.
    """
    generator = np.random.default_rng(options.seed)
    defaults = {}
    for spec in specs:
        chosen = preprocessing if isinstance(preprocessing, Preprocessing) else preprocessing[spec.name]
        defaults[spec.name] = _default_for(spec, chosen, options, generator)
    if len(defaults) == 1:
        (default,) = defaults.values()
        note = f"no input given: {default.subject} used{default.detail}; give {default.alternative} after the model."
        return replace(default.sample, notes=(note, *default.sample.notes))
    used: dict[str, list[str]] = {}
    for name, default in defaults.items():
        used.setdefault(default.subject.rpartition(" ")[0] + default.detail, []).append(name)
    shown = [f"{subject} for {listed(inputs)}" for subject, inputs in used.items()]
    note = f"no input given; fed instead: {'; '.join(shown)}. Give a file for each with --input NAME=FILE."
    names = tuple(dict.fromkeys(default.sample.name for default in defaults.values()))
    stem = "+".join(name.removesuffix(".jpg") for name in names)
    joined = join({name: default.sample for name, default in defaults.items()}, " + ".join(names), stem)
    return replace(joined, notes=(note, *joined.notes))


@dataclass(frozen=True, slots=True)
class _DefaultInput:
    """The default of one input and parts of its note: ``SUBJECT used``, ``give ALTERNATIVE``, and a detail in parentheses."""

    sample: Sample
    subject: str
    alternative: str
    detail: str = ""


def _default_for(
    spec: TensorSpec, preprocessing: Preprocessing, options: InputOptions, generator: np.random.Generator
) -> _DefaultInput:
    if not spec.shape:
        message = "no input given, and the model file does not contain the shape of its input; give an array with the batch axis first (.npy)."
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
    detail = f" (--seed {seed})"
    if spec.limit is not None or spec.words:
        sample = sample_of_arrays(values, (spec,), f"tokens-{seed}", (), f"random tokens of seed {seed}")
        return _DefaultInput(sample, "random tokens of the vocabulary are", "an array or a file of numbers", detail)
    sample = sample_of_arrays(values, (spec,), f"noise-{seed}", (), f"random noise of seed {seed}")
    return _DefaultInput(sample, "random noise is", "an array", detail)


def _text(spec: TensorSpec, generator: np.random.Generator) -> _DefaultInput:
    """Return words of the vocabulary, or a sentence with every letter of the alphabet.

    An input of one text gets a sentence if the network splits it into words, else one word, as
    the whole text is looked up in the vocabulary.
    """
    sizes = _sizes(spec, _FREE_WORDS)
    _check_size(sizes, "words", MAX_WORDS)
    is_single = sizes in {(), (1,)}
    words = SENTENCE.split()
    if spec.words:
        count = 1 if is_single and not spec.split else _FREE_WORDS
        words = [spec.words[index] for index in generator.integers(0, len(spec.words), count)]
    detail = ""
    if is_single:
        words = [("" if spec.words and spec.split == "character" else " ").join(words)]
        detail = f" ({shortened(words[0])})"
    values = np.array([words[index % len(words)] for index in range(math.prod(sizes))]).reshape(1, *sizes)
    sample = sample_of_arrays({spec.name: values}, (spec,), "text", (), "made up")
    subject = "words of the model's vocabulary are" if spec.words else "a plain sentence is"
    return _DefaultInput(sample, subject, "a text file", detail)


def find_photograph() -> Path | None:
    """Return the path of the photograph in matplotlib's sample data, without importing matplotlib."""
    module = importlib.util.find_spec("matplotlib")
    if module is None or module.origin is None:
        return None
    photograph = Path(module.origin).parent / PHOTOGRAPH
    return photograph if file_system.exists(photograph) else None


def _photograph(path: Path, spec: TensorSpec, preprocessing: Preprocessing, options: InputOptions) -> Sample:
    """Return the photograph resized like any image; if the size is free, to at most 512 pixels per side."""
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
        for position, size in zip(shape.order, (round(rows * factor), round(columns * factor), channels), strict=True):
            sizes[1 + position] = size
        spec = replace(spec, shape=tuple(sizes))
    return sample_of_image(image, spec, preprocessing, chosen, Path(label))


def _sizes(spec: TensorSpec, free: int) -> tuple[int, ...]:
    """Return the sizes after the batch axis, with defaults for free ones that are large enough for the network."""
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
    """Return noise with a batch axis of size 1: standard normal values, or integers.

    Integers are 1..9 if the vocabulary is unknown: nearly every vocabulary has 9 tokens, and 0 is
    often padding, which is masked.
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
