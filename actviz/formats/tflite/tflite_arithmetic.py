"""Find the value ranges of the inputs of a `.tflite` file: arithmetic, quantization and metadata.

The options of operators are not read; axes are inferred from the shapes of their tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.formats.first_operations import first_operations, role_of
from actviz.formats.input_arithmetic import ELEMENTWISE, OpSettings, apply_operation, input_tensor
from actviz.formats.tflite.tflite_interpreter import STORED_WHOLE
from actviz.records import InputOperation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.formats.first_operations import Tensor
    from actviz.formats.input_arithmetic import Affine, Value
    from actviz.formats.tflite.layer_facts import TensorFacts
    from actviz.gate.tflite import TFLiteModel, TFLiteOperator, TFLiteTensor
    from actviz.records import TensorSpec

Sizes = tuple[int, ...]
MAX_CONSTANT_SIZE = 1 << 20
MAX_CONVERSIONS = 4


def input_operations(
    model: TFLiteModel, description: TensorFacts, inputs: Mapping[int, TensorSpec]
) -> list[InputOperation]:
    """Return the operations that show the ranges of the inputs, given by the indices of their tensors."""
    view = _TFLiteGraphView(model, description)
    starts: dict[Tensor, Affine] = {}
    operations = []
    declared = {name: item for name, item in zip(inputs, model.metadata.inputs, strict=False) if item.mean}
    for number, spec in inputs.items():
        operations += list(_quantization_ranges(model, description, number, spec.name))
        if number in declared:
            item = declared[number]
            operations.append(InputOperation("Metadata", {"mean": item.mean, "std": item.std}, spec.name))
        starts[view.source(number)] = input_tensor(spec, len(model.graph.tensors[number].shape or ()))
    return [*operations, *first_operations(starts, view)]


class _TFLiteGraphView:
    """A graph as a `first_operations.Graph`; an input is an operator with a negative index."""

    def __init__(self, model: TFLiteModel, description: TensorFacts) -> None:
        self._tensors = model.graph.tensors
        self._operators = model.graph.operators
        self._description = description
        self._sources: dict[int, Tensor] = {}
        self._readers: dict[int, list[int]] = {}
        for index, operator in enumerate(self._operators):
            for tensor in dict.fromkeys(operator.inputs):
                if tensor >= 0:
                    self._readers.setdefault(self.source(tensor)[0], []).append(index)
            for output, tensor in enumerate(operator.outputs):
                self._sources[tensor] = (index, output)

    def source(self, tensor: int) -> Tensor:
        """Return the operator that produces a tensor, and the index of the output."""
        return self._sources.get(tensor, (-1 - tensor, 0))

    def readers(self, number: int) -> Sequence[int]:
        return self._readers.get(number, ())

    def operands(self, number: int) -> Sequence[Tensor]:
        return [self.source(tensor) for tensor in self._operators[number].inputs if tensor >= 0]

    def values(self, number: int, known: Mapping[Tensor, Value]) -> Sequence[Value] | None:
        operator = self._operators[number]
        role = role_of(operator.kind)
        if not role:
            return None
        given: list[Value] = []
        for tensor in operator.inputs:
            value = known.get(self.source(tensor)) if tensor >= 0 else None
            value = self._constant(tensor) if value is None and tensor >= 0 else value
            if value is None:
                return None
            given.append(value)
        return self._outputs(role, operator, given)

    def _constant(self, number: int) -> NDArray[Any] | None:
        tensor = self._description.constant(number)
        if tensor is None or tensor.shape is None or int(np.prod(tensor.shape, dtype=np.float64)) > MAX_CONSTANT_SIZE:
            return None
        values = self._description.values(tensor)
        return values if values.dtype.kind in "fiub" else None

    def _outputs(self, role: str, operator: TFLiteOperator, given: list[Value]) -> list[Value] | None:
        tensors = [value for value in given if not isinstance(value, np.ndarray)]
        first_tensor = next(
            number for number, value in zip(operator.inputs, given, strict=True) if not isinstance(value, np.ndarray)
        )
        before, after = (self._tensors[number].shape or () for number in (first_tensor, operator.outputs[0]))
        name = operator.kind
        if role in ELEMENTWISE | {"select"}:
            return apply_operation(role, given, OpSettings(name))
        if role in {"concatenate", "stack"}:
            return apply_operation(
                role, given, OpSettings(name, axes=_concatenation_axis(role, before, after, len(given)))
            )
        constants = [_integers(value) for value in given if isinstance(value, np.ndarray)]
        first = constants[0] if constants else ()
        if role == "index":
            return apply_operation(role, tensors, OpSettings(name, index=_slice_index(name, constants, before, after)))
        if role == "take":
            return apply_operation(
                role, tensors, OpSettings(name, axes=_changed_axis(before, after, len(first)), index=first)
            )
        if role in {"split", "unstack"}:
            axes = constants[-1] if constants else _removed_axis(before, after, len(operator.outputs))
            even = len({self._tensors[number].shape for number in operator.outputs}) == 1
            return apply_operation(
                role, tensors, OpSettings(name, axes=axes, sections=len(operator.outputs) if even else 0)
            )
        return apply_operation(role, tensors, OpSettings(name, axes=first, keepdims=len(before) == len(after)))


def _integers(value: NDArray[Any]) -> Sizes:
    return tuple(int(number) for number in value.ravel()[:64])


def _concatenation_axis(role: str, before: Sizes, after: Sizes, parts: int) -> Sizes:
    """Return the last axis along which a number of tensors of one shape are concatenated to another."""
    if role == "stack":
        return _removed_axis(after, before, parts)
    fits = [axis for axis in range(len(before)) if (*before[:axis], before[axis] * parts, *before[axis + 1 :]) == after]
    return tuple(fits[-1:])


def _removed_axis(before: Sizes, after: Sizes, size: int) -> Sizes:
    """Return the last axis of the given size whose removal turns one shape into the other."""
    fits = [
        axis for axis, length in enumerate(before) if length == size and before[:axis] + before[axis + 1 :] == after
    ]
    return tuple(fits[-1:])


def _changed_axis(before: Sizes, after: Sizes, size: int) -> Sizes:
    """Return the last axis with the given size in the new shape, if all other axes kept theirs."""
    fits = [
        axis
        for axis in range(min(len(before), len(after)))
        if after[axis] == size and before[:axis] + before[axis + 1 :] == after[:axis] + after[axis + 1 :]
    ]
    return tuple(fits[-1:])


def _slice_index(kind: str, constants: Sequence[Sizes], before: Sizes, after: Sizes) -> tuple[Any, ...]:
    """Return the subscript of a slice from its starts, steps and both shapes."""
    if len(constants) < (3 if kind == "STRIDED_SLICE" else 2) or len(constants[0]) != len(before):
        return ("?",)
    steps = constants[2] if kind == "STRIDED_SLICE" else (1,) * len(before)
    kept = len(after) == len(before)
    if not kept and (len(after) != len(before) - 1 or after != before[:-1]):
        return ("?",)
    items: list[Any] = []
    for start, step, size, left in zip(constants[0], steps, before, after if kept else (*after, -1), strict=False):
        first = start + size if start < 0 else start
        if left < 0:
            items.append(first)
        elif left == size:
            items.append(slice(None, None, step))
        else:
            items.append(slice(first, first + left * step if first + left * step >= 0 else None, step))
    return tuple(items)


def _quantization_ranges(
    model: TFLiteModel, description: TensorFacts, number: int, name: str
) -> Iterator[InputOperation]:
    """Yield the range of real values that the quantization of an input, or of its first conversion, can represent."""
    tensors = model.graph.tensors
    candidates = [tensors[number]]
    for _ in range(MAX_CONVERSIONS):
        readers = description.direct_readers(number)
        if len(readers) != 1 or len(readers[0].outputs) != 1:
            break
        if readers[0].kind not in {"QUANTIZE", "DEQUANTIZE", "CAST", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"}:
            break
        number = readers[0].outputs[0]
        if readers[0].kind == "QUANTIZE":
            candidates.append(tensors[number])
    for tensor in candidates[:2]:
        limits = _quantized_range(tensor)
        if limits is not None:
            yield InputOperation("Quantization", {"low": (limits[0],), "high": (limits[1],)}, name)
            return


def _quantized_range(tensor: TFLiteTensor) -> tuple[float, float] | None:
    """Return the smallest and largest real value that a quantized tensor can represent."""
    quantization = tensor.quantization
    if quantization is None or tensor.dtype not in STORED_WHOLE or len(quantization.scales) != 1:
        return None
    limits = np.iinfo(tensor.dtype)
    low, high = ((end - quantization.zeros[0]) * quantization.scales[0] for end in (limits.min, limits.max))
    return float(low), float(high)
