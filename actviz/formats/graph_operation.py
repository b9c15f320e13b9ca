"""Apply one operation of a TensorFlow graph to the arithmetic of an input.

Shared by graphs (SavedModel, frozen graph) and the single operations that Keras 2 saved as
layers: their settings are constant operands and integer attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.formats.first_operations import role_of
from actviz.formats.input_arithmetic import ELEMENTWISE, Affine, OpSettings, apply_operation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actviz.formats.input_arithmetic import Value

    Attribute = Callable[[str], int]


def apply_tf_operation(op: str, operands: Sequence[Value], attribute: Attribute) -> list[Value] | None:
    """Return the outputs of an operation, ``None`` if it is not arithmetic with constants.

    `operands` holds tensors and constants in the order of its inputs, `attribute` returns an
    integer attribute by name (0 if it is missing).
    """
    role = role_of(op)
    if not role:
        return None
    if role in ELEMENTWISE | {"select"}:
        return apply_operation(role, operands, OpSettings(op))
    tensors = [value for value in operands if not isinstance(value, np.ndarray)]
    constants = [value for value in operands if isinstance(value, np.ndarray)]
    if op == "ConcatV2":
        return apply_operation(role, operands[:-1], OpSettings(op, axes=integers(operands[-1])))
    if op == "Concat":
        return apply_operation(role, operands[1:], OpSettings(op, axes=integers(operands[0])))
    if role == "stack":
        return apply_operation(role, operands, OpSettings(op, axes=(attribute("axis"),)))
    if len(tensors) != 1 or not isinstance(tensors[0], Affine):
        return apply_operation(role, tensors, OpSettings(op))
    return apply_operation(role, tensors, _settings(op, role, tensors[0], constants, attribute))


def _settings(op: str, role: str, tensor: Affine, constants: Sequence[Any], attribute: Attribute) -> OpSettings:
    first = integers(constants[0]) if constants else ()
    if role == "index":
        return OpSettings(op, index=_index(tensor, [integers(item) for item in constants], attribute, op))
    if role == "take":
        axes = integers(constants[1]) if len(constants) > 1 else (0,)
        return OpSettings(op, axes=axes, index=first)
    if role == "unstack":
        return OpSettings(op, axes=(attribute("axis"),), sections=attribute("num"))
    if role == "split":
        sizes = integers(constants[0]) if op == "SplitV" else ()
        axes = integers(constants[-1]) if op == "SplitV" else first
        even = not sizes or len(set(sizes)) == 1
        return OpSettings(op, axes=axes, sections=attribute("num_split") if even else 0)
    if role == "reduce":
        keep = bool(attribute("keep_dims") or attribute("keepdims"))
        return OpSettings(op, axes=first or tuple(range(tensor.rank)), keepdims=keep)
    return OpSettings(op, axes=first)


def _index(tensor: Affine, constants: Sequence[tuple[int, ...]], attribute: Attribute, op: str) -> tuple[Any, ...]:
    """Return the subscript of a slice from its starts, ends, steps and masks."""
    if op == "Slice":
        starts, sizes = (*constants, (), ())[:2]
        return tuple(
            slice(start, None if size < 0 else start + size) for start, size in zip(starts, sizes, strict=False)
        )
    starts, ends, steps = (*constants, (), (), ())[:3]
    masks = {name: attribute(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    items: list[Any] = []
    for position, (start, end, step) in enumerate(zip(starts, ends, steps, strict=False)):
        bit = 1 << position
        if masks["ellipsis"] & bit:
            items.append(Ellipsis)
        elif masks["new_axis"] & bit:
            items.append(None)
        elif masks["shrink_axis"] & bit:
            items.append(start)
        else:
            items.append(slice(None if masks["begin"] & bit else start, None if masks["end"] & bit else end, step or 1))
    return tuple(items) if starts and len(items) <= tensor.rank + masks["new_axis"].bit_count() + 1 else ("?",)


def integers(value: Any) -> tuple[int, ...]:
    """Return the first 64 values of a constant as integers, ``()`` for anything else."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        return ()
    return tuple(int(number) for number in value.ravel()[:64])
