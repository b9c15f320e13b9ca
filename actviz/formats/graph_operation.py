"""What one operation of a TensorFlow graph does to the arithmetic of an input.

Shared by graphs (SavedModel, frozen) and by the single operations that Keras 2 saved as
layers: settings come as constant operands and as whole-number attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.formats.first_operations import role_of
from actviz.formats.input_arithmetic import ELEMENTWISE, Affine, OperationSettings, apply_operation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actviz.formats.input_arithmetic import Value

    Attribute = Callable[[str], int]


def apply_tf_operation(op: str, operands: Sequence[Value], attribute: Attribute) -> list[Value] | None:
    """Return the outputs of an operation, ``None`` where it is no arithmetic of constants.

    `operands` holds tensors of the network and constants in the operation's own order,
    `attribute` gives its whole-number attributes (0 where there is none).
    """
    role = role_of(op)
    if not role:
        return None
    if role in ELEMENTWISE | {"select"}:
        return apply_operation(role, operands, OperationSettings(op))
    tensors = [value for value in operands if not isinstance(value, np.ndarray)]
    constants = [value for value in operands if isinstance(value, np.ndarray)]
    if op == "ConcatV2":
        return apply_operation(role, operands[:-1], OperationSettings(op, axes=_whole(operands[-1])))
    if op == "Concat":
        return apply_operation(role, operands[1:], OperationSettings(op, axes=_whole(operands[0])))
    if role == "stack":
        return apply_operation(role, operands, OperationSettings(op, axes=(attribute("axis"),)))
    if len(tensors) != 1 or not isinstance(tensors[0], Affine):
        return apply_operation(role, tensors, OperationSettings(op))
    return apply_operation(role, tensors, _settings(op, role, tensors[0], constants, attribute))


def _settings(op: str, role: str, tensor: Affine, constants: Sequence[Any], attribute: Attribute) -> OperationSettings:
    first = _whole(constants[0]) if constants else ()
    if role == "index":
        return OperationSettings(op, index=_index(tensor, [_whole(item) for item in constants], attribute, op))
    if role == "take":
        axes = _whole(constants[1]) if len(constants) > 1 else (0,)
        return OperationSettings(op, axes=axes, index=first)
    if role == "unstack":
        return OperationSettings(op, axes=(attribute("axis"),), sections=attribute("num"))
    if role == "split":
        sizes = _whole(constants[0]) if op == "SplitV" else ()
        axes = _whole(constants[-1]) if op == "SplitV" else first
        even = not sizes or len(set(sizes)) == 1
        return OperationSettings(op, axes=axes, sections=attribute("num_split") if even else 0)
    if role == "reduce":
        keep = bool(attribute("keep_dims") or attribute("keepdims"))
        return OperationSettings(op, axes=first or tuple(range(tensor.rank)), keepdims=keep)
    return OperationSettings(op, axes=first)


def _index(tensor: Affine, constants: Sequence[tuple[int, ...]], attribute: Attribute, op: str) -> tuple[Any, ...]:
    """Return what stands in the brackets: ``x[..., ::-1]`` of its starts, ends, steps and masks."""
    if op == "Slice":
        starts, sizes = (*constants, (), ())[:2]
        return tuple(
            slice(start, None if size < 0 else start + size) for start, size in zip(starts, sizes, strict=False)
        )
    starts, ends, steps = (*constants, (), (), ())[:3]
    masks = {name: attribute(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    found: list[Any] = []
    for place, (start, end, step) in enumerate(zip(starts, ends, steps, strict=False)):
        bit = 1 << place
        if masks["ellipsis"] & bit:
            found.append(Ellipsis)
        elif masks["new_axis"] & bit:
            found.append(None)
        elif masks["shrink_axis"] & bit:
            found.append(start)
        else:
            found.append(slice(None if masks["begin"] & bit else start, None if masks["end"] & bit else end, step or 1))
    return tuple(found) if starts and len(found) <= tensor.rank + masks["new_axis"].bit_count() + 1 else ("?",)


def _whole(value: Any) -> tuple[int, ...]:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        return ()
    return tuple(int(number) for number in value.ravel()[:64])
