"""What a `.tflite` file does first to its inputs, which tells the range of numbers that they want."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actviz.formats.lite.runtime import STORED_WHOLE
from actviz.records import InputOperation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actviz.formats.lite.describing import Description
    from actviz.gate.tflite import LiteModel, LiteOperator, LiteTensor

LOOKED_THROUGH = frozenset({"CAST", "DEQUANTIZE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"})
STEPS = 4


def first_operations(model: LiteModel, description: Description, number: int, name: str) -> Iterator[InputOperation]:
    """Yield the facts: the range that whole numbers stand for, a Rescaling, a Normalization.

    A converter writes Rescaling as a multiplication by one number and an addition of one,
    Normalization as a subtraction of the means and a division by the deviations.
    """
    tensors = model.graph.tensors
    tensor = tensors[number]
    chain = list(_chain(description, number))
    quantised = [tensor, *(tensors[operator.outputs[0]] for operator in chain if operator.kind == "QUANTIZE")]
    for item in quantised[:2]:
        ends = _ends(item)
        if ends is not None:
            yield InputOperation("Quantization", {"low": (ends[0],), "high": (ends[1],)}, name)
            break
    given = [(operator.kind, _numbers(operator, description)) for operator in chain]
    arithmetic = [(kind, numbers) for kind, numbers in given if numbers]
    scaling = _rescaling(arithmetic)
    if scaling is not None:
        yield InputOperation("Rescaling", {"scale": (scaling[0],), "offset": (scaling[1],)}, name)
    elif len(arithmetic) > 1 and arithmetic[0][0] == "SUB" and arithmetic[1][0] in {"MUL", "DIV"}:
        means, factors = arithmetic[0][1], np.array(arithmetic[1][1])
        deviations = 1 / factors if arithmetic[1][0] == "MUL" else factors
        variances = tuple(float(value) for value in deviations**2)
        yield InputOperation("Normalization", {"mean": means, "variance": variances}, name)


def _chain(description: Description, number: int) -> Iterator[LiteOperator]:
    """Yield the first operators after an input, as long as each has one reader."""
    for _ in range(STEPS):
        readers = description.direct_readers(number)
        if len(readers) != 1 or len(readers[0].outputs) != 1:
            return
        operator = readers[0]
        if operator.kind not in LOOKED_THROUGH | {"QUANTIZE", "MUL", "ADD", "SUB", "DIV"}:
            return
        yield operator
        number = operator.outputs[0]


def _ends(tensor: LiteTensor) -> tuple[float, float] | None:
    """Return the lowest and highest real number that a tensor of whole numbers can hold."""
    quantization = tensor.quantization
    if quantization is None or tensor.dtype not in STORED_WHOLE or len(quantization.scales) != 1:
        return None
    limits = np.iinfo(tensor.dtype)
    low, high = ((end - quantization.zeros[0]) * quantization.scales[0] for end in (limits.min, limits.max))
    return float(low), float(high)


def _numbers(operator: LiteOperator, description: Description) -> tuple[float, ...]:
    """Return the few numbers that an operator of arithmetic applies, empty for any other."""
    if operator.kind not in {"MUL", "ADD", "SUB", "DIV"}:
        return ()
    found = [tensor for number in operator.inputs if (tensor := description.constant(number)) is not None]
    if len(found) != 1 or found[0].shape is None or int(np.prod(found[0].shape)) > STEPS:
        return ()
    numbers = description.values(found[0]).astype(np.float64).ravel()
    return tuple(float(value) for value in numbers) if np.isfinite(numbers).all() and numbers.all() else ()


def _rescaling(arithmetic: list[tuple[str, tuple[float, ...]]]) -> tuple[float, float] | None:
    """Return scale and offset where the first operators multiply by one number and may add one."""
    if not arithmetic or arithmetic[0][0] not in {"MUL", "DIV"} or len(arithmetic[0][1]) != 1:
        return None
    (factor,) = arithmetic[0][1]
    scale = factor if arithmetic[0][0] == "MUL" else 1 / factor
    if len(arithmetic) > 1 and arithmetic[1][0] in {"ADD", "SUB"} and len(arithmetic[1][1]) == 1:
        sign = 1 if arithmetic[1][0] == "ADD" else -1
        return scale, sign * arithmetic[1][1][0]
    return scale, 0.0
