"""Which range of numbers the network expects, how it is made and how it is undone.

A picture has values 0..1; every range here is the same small formula, per channel:
``fed = (picture * factor - mean) / std``, with the channels in RGB or BGR order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError, escape
from actviz.inputs import families, value_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import InputOperation, ModelFacts, TensorSpec

AUTO = "auto"
ADVICE = "give --preprocess if it is another"
_IMAGE_RANK = 4


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """A range, as the formula that makes it from a picture of values 0..1.

    `mean` and `std` hold one number, or one per channel in the order in which they are
    fed; `reversed` says that this order is blue, green, red. `label` is how figures name
    it; `reason` is a sentence that says why it was chosen.
    """

    name: str
    label: str
    factor: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    reversed: bool = False
    reason: str = ""

    @property
    def description(self) -> str:
        """The range and the reason for it, for people."""
        return f"{self.name} ({self.reason})" if self.reason else self.name

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest value that it can feed."""
        pairs = list(zip(self.mean, self.std, strict=True))
        return (
            min((0.0 - mean) / std for mean, std in pairs),
            max((self.factor - mean) / std for mean, std in pairs),
        )


PREPROCESSINGS: dict[str, Preprocessing] = {
    "0..1": Preprocessing("0..1", "0..1"),
    "-1..1": Preprocessing("-1..1", "-1..1", mean=(0.5,), std=(0.5,)),
    "0..255": Preprocessing("0..255", "0..255", factor=255.0),
    "caffe": Preprocessing(
        "caffe",
        "caffe (BGR 0..255 minus the ImageNet mean)",
        factor=255.0,
        mean=(103.939, 116.779, 123.68),
        std=(1.0, 1.0, 1.0),
        reversed=True,
    ),
    "torch": Preprocessing(
        "torch",
        "torch (ImageNet mean and std)",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
}
PREPROCESS_CHOICES = (AUTO, *PREPROCESSINGS, "MEAN,STD")


def parse_preprocessing(text: str) -> Preprocessing:
    """Return the range that `text` names.

    A name of `PREPROCESSINGS`, or ``MEAN,STD``: two numbers for all channels, or six,
    the means of red, green and blue and then their standard deviations. They are on the
    scale 0..1 if none is beyond 1, as in ``0.5,0.25``; else all are on the scale 0..255,
    as in ``123.7,58``. Means and deviations are published on either scale, and a mean or
    deviation beyond 1 can only belong to the second.

    Raises
    ------
    UsageError
        When it is none of these.

    """
    if text in PREPROCESSINGS:
        return replace(PREPROCESSINGS[text], reason=f"asked for with --preprocess {text}")
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    half = len(numbers) // 2
    means, deviations = numbers[:half], numbers[half:]
    if len(numbers) not in {2, 6} or not all(math.isfinite(number) for number in numbers) or min(deviations) <= 0:
        message = (
            f"--preprocess {escape(text, 60)}: choose one of {', '.join((AUTO, *PREPROCESSINGS))}, or numbers as "
            "MEAN,STD or MEAN,MEAN,MEAN,STD,STD,STD with a STD above 0."
        )
        raise UsageError(message)
    factor = 255.0 if max(abs(number) for number in numbers) > 1 else 1.0
    label = f"mean {value_range.listed(means)}, std {value_range.listed(deviations)}"
    return Preprocessing(
        name=text,
        label=label,
        factor=factor,
        mean=means,
        std=deviations,
        reason=f"asked for with --preprocess, read on the scale 0..{factor:g}",
    )


def choose_preprocessing(facts: ModelFacts, option: str = AUTO, name: str | None = None) -> Preprocessing:
    """Choose the range of the images for the input `name` (or the first that takes images), and say why.

    In this order: what was asked for; whole-number inputs take 0..255, which is all they
    can hold of an image; the constant arithmetic with which the graph begins; what the
    whole numbers of a converted model can hold; the file's metadata. Where the graph begins
    with arithmetic that tells no range, the range is unknown. Only where it begins with
    none, a family of `keras.applications` is guessed from names, else 0..1.
    """
    if option != AUTO:
        return parse_preprocessing(option)
    spec = next((spec for spec in facts.inputs if spec.name == name), None) or _first_of_images(facts.inputs)
    if spec is not None and spec.dtype.startswith(("uint", "int")):
        return _because("0..255", f"the input is of whole numbers ({spec.dtype})")
    own = [one for one in facts.operations if spec is None or one.input in {"", spec.name}]
    arithmetic = [one for one in own if one.kind == "Arithmetic"]
    return (
        _from_arithmetic(arithmetic)
        or _from_stages(own)
        or _from_quantization(own)
        or _from_metadata(own)
        or _unknown(arithmetic, converted=facts.format == "tflite")
        or _guess(facts, spec)
    )


def _from_arithmetic(operations: Sequence[InputOperation]) -> Preprocessing | None:
    """Return the range that the graph's own arithmetic is made for, where all of it agrees."""
    matches = [
        value_range.match(one.numbers["scale"], one.numbers["offset"], turned=one.reversed) for one in operations
    ]
    found = {match.name: match for match in reversed(matches) if match is not None}
    if len(found) != 1:
        return None
    ((name, match),) = found.items()
    return _because(name, f"the graph begins with {match.formula}, which makes {match.convention} of it")


def _from_stages(operations: Sequence[InputOperation]) -> Preprocessing | None:
    """Return the range that becomes 0..1 or -1..1 on the way, before what tells nothing.

    As in a Rescaling to -1..1 before a Normalization whose statistics are of other data.
    """
    for one in operations:
        if one.kind == "Stage":
            match = value_range.match(one.numbers["scale"], one.numbers["offset"], turned=one.reversed)
            if match is not None and match.convention in value_range.UNIT:
                return _because(
                    match.name, f"the graph begins with {match.formula}, which makes {match.convention} of it"
                )
    return None


def _unknown(operations: Sequence[InputOperation], *, converted: bool) -> Preprocessing | None:
    """Say why arithmetic tells no range, ``None`` where there is none; a converter may have folded part of it."""
    stopped = next((one.stopped_by for one in operations if one.stopped_by), "")
    told = [one for one in operations if not value_range.is_identity(one.numbers["scale"], one.numbers["offset"])]
    if len(told) > 1 and not stopped:
        parts = " and with ".join(_formula(one) for one in told[:2])
        why = f"the graph begins with {parts}, which are not made for the same range"
    elif told and not stopped:
        why = f"the graph begins with {_formula(told[0])}, which makes a usual range of none of {', '.join(value_range.CANDIDATES)}"
    elif stopped:
        before = f"{_formula(told[0])} and then " if told else ""
        why = f"the graph begins with {before}{escape(stopped, 80)}, which depends on the data and is not inverted"
    else:
        return None
    rest = "; the converter may have folded the rest into the first layer" if converted and not stopped else ""
    return _because("0..1", f"range unknown: {why}{rest}; give --preprocess")


def _from_quantization(operations: Sequence[InputOperation]) -> Preprocessing | None:
    for one in operations:
        if one.kind == "Quantization":
            low, high = one.numbers["low"][0], one.numbers["high"][0]
            name = range_of_quantization(low, high)
            if name is not None:
                return _because(name, f"the whole numbers of the model were fitted to inputs of {low:.3g}..{high:.3g}")
    return None


def _from_metadata(operations: Sequence[InputOperation]) -> Preprocessing | None:
    """Return the range that the metadata of a TFLite file declare: ``(pixel - mean) / std``."""
    for one in operations:
        mean, std = one.numbers.get("mean", ()), one.numbers.get("std", ())
        if one.kind != "Metadata" or not _is_normalization(mean, std):
            continue
        words = f"mean {value_range.listed(mean)}, std {value_range.listed(std)}"
        # Pixels are 0..255 by the definition of the metadata, but files with a mean and a
        # deviation of images of 0..1 exist: nothing else has a deviation below 1.
        factor = 1.0 if max(std) < 1 else 255.0
        declared = Preprocessing(f"{factor:g} * (0..1), {words}", words, factor, mean, std)
        reason = f"the file's metadata: {words}"
        for name, usual in PREPROCESSINGS.items():
            if name != "caffe" and _same(usual, declared):
                return _because(name, reason)
        return replace(declared, name=words, reason="the file's metadata")
    return None


def _is_normalization(mean: Sequence[float], std: Sequence[float]) -> bool:
    numbers = (*mean, *std)
    fits = len(mean) == len(std) and len(mean) in {1, 3}
    return fits and all(math.isfinite(number) for number in numbers) and min(std) > 0


def _same(first: Preprocessing, second: Preprocessing) -> bool:
    """Tell whether two ranges feed the same numbers, give or take a fiftieth of their width."""
    size = max(len(first.mean), len(second.mean))
    for place in range(size):
        ends = []
        for one in (first, second):
            mean, std = one.mean[place % len(one.mean)], one.std[place % len(one.std)]
            ends.append((-mean / std, (one.factor - mean) / std))
        slack = value_range.SLACK * (ends[0][1] - ends[0][0])
        if any(abs(a - b) > slack for a, b in zip(*ends, strict=True)):
            return False
    return True


def _guess(facts: ModelFacts, spec: TensorSpec | None) -> Preprocessing:
    """Guess a family from names, else 0..1, and say that it is a guess."""
    converted = facts.format == "tflite"
    layers = [one for one in facts.layers if spec is None or one.needs is None or spec.name in one.needs]
    family, why = None, ""
    for model in _names_of(facts, spec):
        family = families.by_name(model)
        if family is not None:
            why = f"a guess from the name {escape(model, 40)}: {family.name} of keras.applications"
            break
    if family is None:
        family = families.by_layers({layer.name for layer in layers})
        why = f"a guess from the layer names of {family.name}" if family else ""
    folded = "not in this file: the converter may have folded it"
    if family is None:
        nothing = f"a guess: the range is {folded}" if converted else "a guess: nothing in the model says a range"
        return _because("0..1", f"{nothing}; {ADVICE}")
    if any(one.reversed for one in facts.operations) and family.range == "caffe":
        return _because(
            "0..1", f"range unknown: the graph reverses the channels, which {family.name} does not; give --preprocess"
        )
    # The graph of another format would show the Rescaling that these families begin with.
    if family.inner and not converted:
        return _because(family.inner, f"{why}, without its own preprocessing; {ADVICE}")
    return _because(family.range, f"{why}; the range is {folded}; {ADVICE}" if converted else f"{why}; {ADVICE}")


def _names_of(facts: ModelFacts, spec: TensorSpec | None) -> list[str]:
    """Return the names of the model and of the nested models that depend on an input."""
    other = {
        one.name for one in facts.layers if spec is not None and one.needs is not None and spec.name not in one.needs
    }
    return [name for place, name in enumerate(facts.names) if place == 0 or name not in other]


def _formula(operation: InputOperation) -> str:
    return value_range.formula(operation.numbers["scale"], operation.numbers["offset"], turned=operation.reversed)


def describe_ranges(facts: ModelFacts) -> str:
    """Say which range the images of a model get without any option, by input where it differs."""
    images = [spec for spec in facts.inputs if len(spec.shape) == _IMAGE_RANK]
    said = {spec.name: choose_preprocessing(facts, AUTO, spec.name).description for spec in images}
    if len(set(said.values())) <= 1:
        return choose_preprocessing(facts).description
    return "; ".join(f"{escape(name, 60)} {text}" for name, text in said.items())


def _first_of_images(specs: tuple[TensorSpec, ...]) -> TensorSpec | None:
    """Return the first input of the rank of colour images, else the first of all."""
    images = [spec for spec in specs if len(spec.shape) == _IMAGE_RANK]
    return next(iter(images or specs), None)


def range_of_quantization(low: float, high: float) -> str | None:
    """Name the range in common use whose ends whole numbers of an input were fitted to.

    A converter fits them to the data that it was shown, so they are the range of what the
    network was made for, give or take a twentieth; any other range tells nothing.
    """
    for name, choice in PREPROCESSINGS.items():
        ends = choice.ends
        slack = 0.05 * (ends[1] - ends[0])
        if abs(low - ends[0]) <= slack and abs(high - ends[1]) <= slack:
            return name
    return None


def apply(picture: NDArray[np.uint8] | NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return a picture, ``(row, column, channel)``, in the range that is fed.

    The picture holds uint8 0..255 or float 0..1. Bytes go through a table of their 256
    results, worked out in double precision, so that 0..255 stays exact. Numbers given per
    colour serve three channels; for grey, and for a fourth channel, their average is
    taken, since none of the three is meant for it.
    """
    ordered = _reordered(picture, preprocessing)
    channels = picture.shape[2]
    mean, std = _numbers(preprocessing, channels)
    if picture.dtype == np.uint8:
        levels = np.arange(256, dtype=np.float64)[:, None] * preprocessing.factor / 255
        table = ((levels - mean) / std).astype(np.float32)
        planes = [table[:, channel][ordered[:, :, channel]] for channel in range(channels)]
        return np.stack(planes, axis=2)
    values = ordered.astype(np.float64) * preprocessing.factor
    return ((values - mean) / std).astype(np.float32)


def undo(fed: NDArray[Any], preprocessing: Preprocessing) -> NDArray[np.float64]:
    """Return the picture ``(row, column, channel)`` of values 0..1 that was fed."""
    mean, std = _numbers(preprocessing, fed.shape[2])
    picture = (fed.astype(np.float64) * std + mean) / preprocessing.factor
    return _reordered(picture, preprocessing)


def _reordered(picture: NDArray[Any], preprocessing: Preprocessing) -> NDArray[Any]:
    if not preprocessing.reversed or picture.shape[2] < 3:  # noqa: PLR2004  (red, green, blue)
        return picture
    order = [2, 1, 0, *range(3, picture.shape[2])]
    return picture[:, :, order]


def _numbers(preprocessing: Preprocessing, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = []
    for given in (preprocessing.mean, preprocessing.std):
        average = sum(given) / len(given)
        whole = given if len(given) <= channels else ()
        found.append(np.array([*whole, *[average] * channels][:channels], np.float64))
    return found[0], found[1]


def _because(name: str, reason: str) -> Preprocessing:
    return replace(PREPROCESSINGS[name], reason=reason)
