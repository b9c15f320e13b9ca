"""Which range of numbers the network expects, how it is made and how it is undone.

A picture has values 0..1; every range here is the same small formula, per channel:
``fed = (picture * factor - mean) / std``, with the channels in RGB or BGR order.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError, escape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import InputOperation, ModelFacts, TensorSpec

AUTO = "auto"
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
    def said(self) -> str:
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

# How the applications that Keras ships name their models, and the range each was trained
# on. The longer names come first: resnet50v2 is no resnet50, mobilenetv3 no mobilenet.
FAMILIES: tuple[tuple[str, str, str], ...] = (
    (r"resnet\d+v2", "ResNetV2", "-1..1"),
    (r"resnet[-_]?rs[-_]?\d*", "ResNet-RS", "0..255"),
    (r"inception[-_]?resnet([-_]?v2)?", "InceptionResNet", "-1..1"),
    (r"mobilenet[-_]?v3\w*", "MobileNetV3", "0..255"),
    (r"efficientnet(v2)?(-\w+|[a-z]\d?)?", "EfficientNet", "0..255"),
    (r"convnext\w*", "ConvNeXt", "0..255"),
    (r"regnet\w*", "RegNet", "0..255"),
    (r"vgg(16|19)", "VGG", "caffe"),
    (r"resnet\d+", "ResNet", "caffe"),
    (r"densenet\d+", "DenseNet", "torch"),
    (r"resnext\d+", "ResNeXt", "torch"),
    (r"mobilenet([-_]?v2)?([-_]\d\.\d+(_\d+)?)?", "MobileNet", "-1..1"),
    (r"xception", "Xception", "-1..1"),
    (r"inception[-_]?v3", "Inception", "-1..1"),
    (r"nasnet([-_]?(large|mobile))?", "NASNet", "-1..1"),
)


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
    label = f"mean {_listed(means)}, std {_listed(deviations)}"
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
    can hold of an image; the network's own first Rescaling or Normalization, because its
    numbers only make sense for one range; a `keras.applications` family known by name;
    else 0..1, the commonest range of networks trained from scratch.
    """
    if option != AUTO:
        return parse_preprocessing(option)
    spec = next((spec for spec in facts.inputs if spec.name == name), None) or _first_of_images(facts.inputs)
    if spec is not None and spec.dtype.startswith(("uint", "int")):
        return _because("0..255", f"the input is of whole numbers ({spec.dtype})")
    for operation in facts.operations:
        own = spec is None or operation.input in {"", spec.name}
        found = range_of_operation(operation) if own else None
        if found is not None:
            return _because(found, _operation_reason(operation))
    for model in facts.names:
        family = family_of(model)
        if family is not None:
            return _because(family[1], f"{escape(model, 40)} is a {family[0]} of keras.applications")
    return _because("0..1", "nothing in the model says otherwise")


def say_ranges(facts: ModelFacts) -> str:
    """Say which range the images of a model get without any option, by input where it differs."""
    images = [spec for spec in facts.inputs if len(spec.shape) == _IMAGE_RANK]
    said = {spec.name: choose_preprocessing(facts, AUTO, spec.name).said for spec in images}
    if len(set(said.values())) <= 1:
        return choose_preprocessing(facts).said
    return "; ".join(f"{escape(name, 60)} {text}" for name, text in said.items())


def _first_of_images(specs: tuple[TensorSpec, ...]) -> TensorSpec | None:
    """Return the first input of the rank of colour images, else the first of all."""
    images = [spec for spec in specs if len(spec.shape) == _IMAGE_RANK]
    return next(iter(images or specs), None)


def range_of_operation(operation: InputOperation) -> str | None:
    """Name the range that a first operation is made for, ``None`` if it does not tell."""
    if operation.kind == "Rescaling":
        scales = operation.numbers.get("scale", ())
        offsets = operation.numbers.get("offset", ()) or (0.0,)
        return range_of_rescaling(scales[0], offsets[0]) if scales else None
    if operation.kind == "Normalization":
        means = operation.numbers.get("mean", ())
        variances = operation.numbers.get("variance", ())
        return range_of_normalization(means, variances)
    if operation.kind == "Quantization":
        low, high = operation.numbers.get("low", ()), operation.numbers.get("high", ())
        return range_of_quantization(low[0], high[0]) if low and high else None
    return None


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


def range_of_rescaling(scale: float, offset: float) -> str | None:
    """Name the range that ``x * scale + offset`` maps onto a range in common use.

    A Rescaling exists to turn one usual range into another: 1/255 makes 0..1 of 0..255,
    1/127.5 and -1 make -1..1 of it, 2 and -1 make -1..1 of 0..1. If no pair fits, a
    scale below 0.1 can only be meant for large numbers. The identity tells nothing.
    """
    if not (math.isfinite(scale) and math.isfinite(offset)) or scale == 0:
        return None
    if (scale, offset) == (1.0, 0.0):
        return None
    usual = ((0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5), (0.0, 255.0))
    for name, low, high in (("0..255", 0, 255), ("0..1", 0, 1), ("-1..1", -1, 1)):
        made = (low * scale + offset, high * scale + offset)
        for ends in usual:
            slack = 0.02 * (ends[1] - ends[0])
            if all(abs(a - b) <= slack for a, b in zip(made, ends, strict=True)):
                return name
    return "0..255" if abs(scale) < 0.1 else "0..1"  # noqa: PLR2004  (see the docstring)


def range_of_normalization(means: tuple[float, ...], variances: tuple[float, ...]) -> str | None:
    """Name the range of images whose mean and variance these are.

    Beyond 2, a mean or deviation belongs to 0..255; a mean below 0 can only come from
    -1..1; else it is 0..1. Mean 0 and variance 1 are those of a layer that was never
    adapted and tell nothing.
    """
    numbers = (*means, *variances)
    if not means or not variances or not all(math.isfinite(one) for one in numbers):
        return None
    if set(means) == {0.0} and set(variances) == {1.0}:
        return None
    deviations = [math.sqrt(max(variance, 0.0)) for variance in variances]
    if max(abs(number) for number in (*means, *deviations)) > 2:  # noqa: PLR2004  (see the docstring)
        return "0..255"
    return "-1..1" if min(means) < 0 else "0..1"


def family_of(name: str) -> tuple[str, str] | None:
    """Return the `keras.applications` family of a model's name and its range.

    The name must begin with the family's own, as Keras gives it; it may go on after an
    underscore or hyphen (``vgg16_1``). ``my_vgg16_like`` is somebody's own network.
    """
    for pattern, family, chosen in FAMILIES:
        if re.fullmatch(rf"{pattern}([-_].*)?", name, re.IGNORECASE | re.DOTALL):
            return family, chosen
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


def _operation_reason(operation: InputOperation) -> str:
    if operation.kind == "Quantization":
        low, high = (operation.numbers[end][0] for end in ("low", "high"))
        return f"the whole numbers of the model were fitted to inputs of {low:.3g}..{high:.3g}"
    numbers = ", ".join(f"{name} {_listed(values)}" for name, values in operation.numbers.items())
    return f"the model begins with {escape(operation.kind, 40)} ({numbers})"


def _listed(numbers: tuple[float, ...]) -> str:
    shown = "/".join(f"{number:.4g}" for number in numbers[:3])
    return shown if len(numbers) <= 3 else f"{shown}/..."  # noqa: PLR2004  (three are shown)
