"""Choose, apply and invert the preprocessing of images: the range of values that a network expects.

An image has values 0..1. Every preprocessing is the formula ``(image * factor - mean) / std`` per
channel, with the channels in RGB or BGR order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError, escape
from actviz.inputs import families, value_range
from actviz.inputs.input_function import InputFunction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import InputOperation, ModelFacts, TensorSpec

AUTO = "auto"
ADVICE = "give --preprocess if it is another"
_IMAGE_RANK = 4


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """A range of values and the formula that maps an image of values 0..1 to it.

    `mean` and `std` have one number, or one per channel in the order of the network's input;
    `reversed` is true if that order is blue, green, red. `label` is the name in figures; `reason`
    says why the range was chosen.
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
        """The range and why it was chosen, for messages."""
        return f"{self.name} ({self.reason})" if self.reason else self.name

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest value of the range."""
        pairs = list(zip(self.mean, self.std, strict=True))
        return (min((0.0 - mean) / std for mean, std in pairs), max((self.factor - mean) / std for mean, std in pairs))


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
        "torch", "torch (ImageNet mean and std)", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
}


def parse_preprocessing(text: str) -> Preprocessing:
    """Parse the value of ``--preprocess``.

    It is a key of `PREPROCESSINGS`, or ``MEAN,STD``: two numbers for all channels, or six, the means
    of red, green and blue followed by their standard deviations. If all are at most 1, as in
    ``0.5,0.25``, they are on the scale 0..1; else on the scale 0..255, as in ``123.7,58``. Both
    scales are in use, and a mean or deviation above 1 is only possible on the second.

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
        raise UsageError(
            f"--preprocess {escape(text, 60)}: choose one of {', '.join((AUTO, *PREPROCESSINGS))}, or numbers as "
            "MEAN,STD or MEAN,MEAN,MEAN,STD,STD,STD with a STD above 0, or file.py:function."
        )
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


def choose_preprocessing(
    facts: ModelFacts, option: str | InputFunction = AUTO, name: str | None = None
) -> Preprocessing:
    """Choose the preprocessing of images for the input `name` (default: the first that takes images).

    The first of these that applies: the option; 0..255 for inputs of integers, which cannot represent
    another range; the constant arithmetic at the start of the graph; the range that the quantization
    of a converted model covers; the metadata of the file. If the graph starts with arithmetic that
    matches no usual range, the range is unknown. If it starts with none, a family of
    `keras.applications` is guessed from names, else 0..1. For a function of the user it is the name of the function.
    """
    if isinstance(option, InputFunction):
        return Preprocessing(option.description, option.label)
    if option != AUTO:
        return parse_preprocessing(option)
    spec = next((spec for spec in facts.inputs if spec.name == name), None) or _first_of_images(facts.inputs)
    if spec is not None and spec.dtype.startswith(("uint", "int")):
        return _because("0..255", f"the input is of whole numbers ({spec.dtype})")
    operations = [item for item in facts.operations if spec is None or item.input in {"", spec.name}]
    arithmetic = [item for item in operations if item.kind == "Arithmetic"]
    return (
        _from_arithmetic(arithmetic)
        or _from_stages(operations)
        or _from_quantization(operations)
        or _from_metadata(operations)
        or _unknown(arithmetic, converted=facts.format == "tflite")
        or _guess(facts, spec)
    )


def _from_arithmetic(operations: Sequence[InputOperation]) -> Preprocessing | None:
    """Return the range that the arithmetic of the graph expects, if all of it expects the same."""
    matches = [match for match in map(_match, operations) if match is not None]
    return _of_match(matches[0]) if len({match.name for match in matches}) == 1 else None


def _from_stages(operations: Sequence[InputOperation]) -> Preprocessing | None:
    """Return the range that an intermediate result maps to 0..1 or -1..1.

    An example is a Rescaling to -1..1 before a Normalization with statistics of other data.
    """
    for match in (_match(operation) for operation in operations if operation.kind == "Stage"):
        if match is not None and match.convention in value_range.UNIT:
            return _of_match(match)
    return None


def _match(operation: InputOperation) -> value_range.Match | None:
    numbers = operation.numbers
    return value_range.match(numbers["scale"], numbers["offset"], turned=operation.reversed)


def _of_match(match: value_range.Match) -> Preprocessing:
    return _because(match.name, f"the graph begins with {match.formula}, which makes {match.convention} of it")


def _unknown(operations: Sequence[InputOperation], *, converted: bool) -> Preprocessing | None:
    """Return 0..1 with the reason why the arithmetic matches no range, or ``None`` if there is no arithmetic.

    `converted` is true if a converter may have folded part of it into the first layer.
    """
    stopped = next((item.stopped_by for item in operations if item.stopped_by), "")
    changing = [
        item for item in operations if not value_range.is_identity(item.numbers["scale"], item.numbers["offset"])
    ]
    if len(changing) > 1 and not stopped:
        parts = " and with ".join(_formula(item) for item in changing[:2])
        why = f"the graph begins with {parts}, which are not made for the same range"
    elif changing and not stopped:
        why = f"the graph begins with {_formula(changing[0])}, which makes a usual range of none of {', '.join(value_range.CANDIDATES)}"
    elif stopped:
        before = f"{_formula(changing[0])} and then " if changing else ""
        why = f"the graph begins with {before}{escape(stopped, 80)}, which depends on the data and is not inverted"
    else:
        return None
    rest = "; the converter may have folded the rest into the first layer" if converted and not stopped else ""
    return _because("0..1", f"range unknown: {why}{rest}; give --preprocess")


def _from_quantization(operations: Sequence[InputOperation]) -> Preprocessing | None:
    for operation in operations:
        if operation.kind == "Quantization":
            low, high = operation.numbers["low"][0], operation.numbers["high"][0]
            name = range_of_quantization(low, high)
            if name is not None:
                return _because(name, f"the whole numbers of the model were fitted to inputs of {low:.3g}..{high:.3g}")
    return None


def _from_metadata(operations: Sequence[InputOperation]) -> Preprocessing | None:
    """Return the range that the metadata of a TFLite file declares: ``(pixel - mean) / std``."""
    for operation in operations:
        mean, std = operation.numbers.get("mean", ()), operation.numbers.get("std", ())
        if operation.kind != "Metadata" or not _is_normalization(mean, std):
            continue
        words = f"mean {value_range.listed(mean)}, std {value_range.listed(std)}"
        # The metadata is defined for pixels 0..255, but some files have the mean and deviation of
        # images of 0..1: only these have a deviation below 1.
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
    """Return True if two ranges are equal up to a fiftieth of their width."""
    size = max(len(first.mean), len(second.mean))
    for channel in range(size):
        ends = []
        for item in (first, second):
            mean, std = item.mean[channel % len(item.mean)], item.std[channel % len(item.std)]
            ends.append((-mean / std, (item.factor - mean) / std))
        slack = value_range.SLACK * (ends[0][1] - ends[0][0])
        if any(abs(a - b) > slack for a, b in zip(*ends, strict=True)):
            return False
    return True


def _guess(facts: ModelFacts, spec: TensorSpec | None) -> Preprocessing:
    """Guess the range from the names of the model and its layers, else 0..1; the reason says that it is a guess."""
    converted = facts.format == "tflite"
    layers = [layer for layer in facts.layers if spec is None or layer.needs is None or spec.name in layer.needs]
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
    if any(item.reversed for item in facts.operations) and family.range == "caffe":
        return _because(
            "0..1", f"range unknown: the graph reverses the channels, which {family.name} does not; give --preprocess"
        )
    # In other formats than TFLite the graph would contain the Rescaling that these families start with.
    if family.inner and not converted:
        return _because(family.inner, f"{why}, without its own preprocessing; {ADVICE}")
    return _because(family.range, f"{why}; the range is {folded}; {ADVICE}" if converted else f"{why}; {ADVICE}")


def _names_of(facts: ModelFacts, spec: TensorSpec | None) -> list[str]:
    """Return the names of the model and of the nested models that depend on an input."""
    independent = {
        layer.name
        for layer in facts.layers
        if spec is not None and layer.needs is not None and spec.name not in layer.needs
    }
    return [name for index, name in enumerate(facts.names) if index == 0 or name not in independent]


def _formula(operation: InputOperation) -> str:
    return value_range.formula(operation.numbers["scale"], operation.numbers["offset"], turned=operation.reversed)


def describe_ranges(facts: ModelFacts) -> str:
    """Return the ranges of the images that are chosen without options: one, or one per input if they differ."""
    images = [spec for spec in facts.inputs if len(spec.shape) == _IMAGE_RANK]
    ranges = {spec.name: choose_preprocessing(facts, AUTO, spec.name).description for spec in images}
    if len(set(ranges.values())) <= 1:
        return choose_preprocessing(facts).description
    return "; ".join(f"{escape(name, 60)} {text}" for name, text in ranges.items())


def _first_of_images(specs: tuple[TensorSpec, ...]) -> TensorSpec | None:
    """Return the first input with the rank of color images, else the first input."""
    images = [spec for spec in specs if len(spec.shape) == _IMAGE_RANK]
    return next(iter(images or specs), None)


def range_of_quantization(low: float, high: float) -> str | None:
    """Return the name of the usual range that equals the range of a quantized input, or ``None``.

    A converter determines it from representative data, so it is within a twentieth of the range that
    the network was trained on.
    """
    for name, choice in PREPROCESSINGS.items():
        ends = choice.ends
        slack = 0.05 * (ends[1] - ends[0])
        if abs(low - ends[0]) <= slack and abs(high - ends[1]) <= slack:
            return name
    return None


def apply(picture: NDArray[np.uint8] | NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return an image ``(row, column, channel)``, uint8 0..255 or float 0..1, in the range of the preprocessing.

    Bytes are mapped by a table of 256 values computed in float64, so that 0..255 stays exact. Means
    and deviations per color apply to three channels; gray and a fourth channel use their average.
    """
    ordered = _reordered(picture, preprocessing)
    channels = picture.shape[2]
    mean, std = _numbers(preprocessing, channels)
    if picture.dtype == np.uint8:
        levels = np.arange(256, dtype=np.float64)[:, None] * preprocessing.factor / 255
        table = ((levels - mean) / std).astype(np.float32)
        if (table == table[:, :1]).all():
            mapped: NDArray[np.float32] = table[:, 0][ordered]
            return mapped
        planes = [table[:, channel][ordered[:, :, channel]] for channel in range(channels)]
        return np.stack(planes, axis=2)
    values = ordered.astype(np.float64) * preprocessing.factor
    return ((values - mean) / std).astype(np.float32)


def undo(fed: NDArray[Any], preprocessing: Preprocessing) -> NDArray[np.float64]:
    """Return the image ``(row, column, channel)`` of values 0..1 for preprocessed values; the inverse of `apply`."""
    mean, std = _numbers(preprocessing, fed.shape[2])
    picture = (fed.astype(np.float64) * std + mean) / preprocessing.factor
    return _reordered(picture, preprocessing)


def _reordered(picture: NDArray[Any], preprocessing: Preprocessing) -> NDArray[Any]:
    if not preprocessing.reversed or picture.shape[2] < 3:  # noqa: PLR2004  (red, green, blue)
        return picture
    order = [2, 1, 0, *range(3, picture.shape[2])]
    return picture[:, :, order]


def _numbers(preprocessing: Preprocessing, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return _per_channel(preprocessing.mean, channels), _per_channel(preprocessing.std, channels)


def _per_channel(numbers: tuple[float, ...], channels: int) -> NDArray[np.float64]:
    """Return numbers for all channels; missing ones are the average, as are all if there are too many."""
    average = sum(numbers) / len(numbers)
    known = numbers if len(numbers) <= channels else ()
    return np.array([*known, *[average] * channels][:channels], np.float64)


def _because(name: str, reason: str) -> Preprocessing:
    return replace(PREPROCESSINGS[name], reason=reason)
