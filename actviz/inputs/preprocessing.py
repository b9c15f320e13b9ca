"""Which range of values a network wants, decided from facts and always said."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import UsageError, escape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.records import InputOperation, ModelFacts

# Mean of each channel of ImageNet in BGR, 0..255, and mean and std in RGB, 0..1: the numbers
# of keras.applications.imagenet_utils.preprocess_input, modes "caffe" and "torch".
CAFFE_MEAN = (103.939, 116.779, 123.68)
TORCH_MEAN, TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NAMED = ("auto", "0..1", "-1..1", "0..255", "caffe", "torch")
BYTE = 255.0
BYTE_SCALE = 1 / 32

FAMILIES = (
    (r"vgg(16|19)", "caffe"),
    (r"resnet(50|101|152)(?!.*v2)", "caffe"),
    (r"mobilenet_?v3|efficientnet|convnext|regnet|resnetrs", "0..255"),
    (r"densenet", "torch"),
    (r"mobilenet|inception|xception|nasnet|resnet.*v2", "-1..1"),
)
"""Names of `keras.applications` models and what each documents; the first match counts."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """A range and the reason for it.

    `name` is one of the named ranges or ``mean,std``; `mean` and `std` are in units of
    0..1 and used by the latter only. `said` is the sentence for the reader.
    """

    name: str
    said: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def apply(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map a picture ``(row, column, channel)``, float32, 0..1, to the network's range."""
        if self.name == "0..255":
            return picture * np.float32(BYTE)
        if self.name == "-1..1":
            return picture * np.float32(2) - np.float32(1)
        if self.name == "caffe":
            mean = np.array(CAFFE_MEAN, np.float32)
            swapped = picture[..., ::-1] * np.float32(BYTE)
            return swapped - (mean if picture.shape[-1] == mean.size else mean.mean())
        mean, std = self._normalisation()
        return picture if mean is None else (picture - _fitted(mean, picture)) / _fitted(std, picture)

    def undo(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Map the network's range back to 0..1; values outside it stay outside."""
        picture = values.astype(np.float32)
        if self.name == "0..255":
            return picture / np.float32(BYTE)
        if self.name == "-1..1":
            return (picture + np.float32(1)) / np.float32(2)
        if self.name == "caffe":
            mean = np.array(CAFFE_MEAN, np.float32)
            shifted = (picture + (mean if picture.shape[-1] == mean.size else mean.mean())) / np.float32(BYTE)
            return shifted[..., ::-1]
        mean, std = self._normalisation()
        return picture if mean is None else picture * _fitted(std, picture) + _fitted(mean, picture)

    def _normalisation(
        self,
    ) -> tuple[tuple[float, ...], tuple[float, ...]] | tuple[None, tuple[()]]:
        if self.name == "torch":
            return TORCH_MEAN, TORCH_STD
        return (self.mean, self.std) if self.name == "mean,std" else (None, ())


def _fitted(numbers: tuple[float, ...], picture: NDArray[np.float32]) -> NDArray[np.float32]:
    array = np.array(numbers, np.float32)
    return array if array.size in (1, picture.shape[-1]) else array.mean(keepdims=True)


def choose_preprocessing(facts: ModelFacts, option: str) -> Preprocessing:
    """Decide the range of image inputs.

    What the user says wins. Otherwise the numbers of the model's own first layer tell: a
    Rescaling or Normalization was written for one range. Otherwise a `keras.applications`
    family is recognised by the name of the model or of the model that it starts with.
    Otherwise 0..1, the most common choice of hand-written training code.

    Raises
    ------
    UsageError
        When `option` is neither a named range nor ``MEAN,STD``.
    """
    if option != "auto":
        return _given(option)
    for operation in facts.operations:
        wanted = _wanted_by(operation)
        if wanted is not None:
            return Preprocessing(wanted, f"{wanted} (the model starts with {operation.kind})")
    for name in facts.names:
        for pattern, wanted in FAMILIES:
            if re.search(pattern, name.lower()):
                return Preprocessing(wanted, f'{wanted} (the model is called "{escape(name, 40)}")')
    return Preprocessing("0..1", "0..1 (nothing in the model says otherwise)")


def _given(option: str) -> Preprocessing:
    if option in NAMED:
        return Preprocessing(option, f"{option} (as given)")
    try:
        numbers = [float(part) for part in option.split(",")]
    except ValueError:
        numbers = []
    half = len(numbers) // 2
    if len(numbers) not in (2, 6) or not all(np.isfinite(numbers)) or min(numbers[half:]) <= 0:
        message = (
            f'--preprocess: "{escape(option, 60)}" is no range; give {", ".join(NAMED)}, or MEAN,STD on a scale of '
            "0..1 such as 0.5,0.25 (three means, then three stds for colour)."
        )
        raise UsageError(message)
    return Preprocessing(
        "mean,std",
        f"({option}) mean,std as given",
        tuple(numbers[:half]),
        tuple(numbers[half:]),
    )


def _wanted_by(operation: InputOperation) -> str | None:
    """Return the range that a first layer was written for.

    A Rescaling that divides by more than 32 expects bytes; one that makes -1..1 of 0..1
    expects 0..1. A Normalization adapted to means or spreads above 2 has seen bytes; to
    means near zero with spreads near one half, -1..1.
    """
    numbers = operation.numbers
    if operation.kind == "Rescaling" and numbers.get("scale"):
        return "0..255" if max(abs(scale) for scale in numbers["scale"]) <= BYTE_SCALE else "0..1"
    if operation.kind == "Normalization" and numbers.get("mean"):
        largest = max(
            abs(value)
            for value in (
                *numbers["mean"],
                *(v**0.5 for v in numbers.get("variance", ())),
            )
        )
        return "0..255" if largest > 2 else "0..1"  # noqa: PLR2004  (the rule above)
    return None
