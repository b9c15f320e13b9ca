"""Constant arithmetic that a network applies to an input before its first real layer.

``x / 127.5 - 1``, a Rescaling, a reversal of the channels: a tensor is an `Affine` if it is
``input * scale + offset`` per channel. Every format describes its operations to `apply_operation` by the
same roles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import TensorSpec

MAX_CHANNELS = 256
"""The maximum number of constants per channel; of more the median is used."""
DEFAULT_CHANNELS = 3
MAX_STAGES = 8
Stage: TypeAlias = tuple[tuple[float, ...], tuple[float, ...], bool]
"""Scale and offset by channel of the input, and True if the order of the channels is reversed."""
ELEMENTWISE = frozenset({"add", "subtract", "multiply", "divide"})


@dataclass(frozen=True, slots=True)
class Affine:
    """A tensor that is an input times `scale` plus `offset`.

    `scale` and `offset` hold one number, or one per channel of the tensor. `axis` is the channel
    axis (``None`` if there is none or it is not known), `rank` the number of axes including the
    batch axis, `count` the number of channels of the input. Channel *k* is computed from channel
    ``source[k]`` of the input (``None``: from channel *k*). `stages` are the first intermediate
    results.
    """

    input: str
    rank: int
    axis: int | None
    count: int = DEFAULT_CHANNELS
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    source: tuple[int, ...] | None = None
    stages: tuple[Stage, ...] = ()

    @property
    def channels(self) -> int:
        """The number of channels of the tensor."""
        return self.count if self.source is None else len(self.source)

    @property
    def uniform(self) -> bool:
        """True if all channels have the same scale and offset, so that their order does not matter."""
        return len(set(self.scale)) == len(set(self.offset)) == 1 and self.source is None

    @property
    def by_input(self) -> Stage:
        """Scale and offset in the order of the input's channels, and True if the tensor reverses it."""
        if self.source is None:
            return self.scale, self.offset, False
        indices = {channel: index for index, channel in reversed(list(enumerate(self.source)))}
        order = [indices[channel] for channel in sorted(indices)]
        is_reversed = len(self.source) > 1 and list(self.source) == sorted(set(self.source), reverse=True)
        return _pick(self.scale, order), _pick(self.offset, order), is_reversed


@dataclass(frozen=True, slots=True)
class Dependent:
    """A tensor that depends on an input through an operation without weights that is not affine.

    `name` is that operation (``Max``, ``Log``), `base` its input. `combined` is False while the
    tensor is only a reduction of the input, such as a mean.
    """

    base: Affine
    name: str
    combined: bool


class Static:
    """A tensor that depends on the shape of an input, or is random, but does not depend on its values."""


STATIC = Static()
Value: TypeAlias = "Affine | Dependent | Static | NDArray[Any]"


@dataclass(frozen=True, slots=True)
class OpSettings:
    """The settings of one operation; its role decides which are used.

    `name` is its name in messages. `axes` are axes, or the permutation of ``transpose``; `index`
    is the subscript of a tensor, or the channels that ``take`` selects;
    `sections` is the number of outputs of ``split`` and ``unstack``; `keepdims` belongs to
    ``reduce``; `scale` and `offset` are those of ``affine``.
    """

    name: str = ""
    axes: tuple[int, ...] = ()
    index: tuple[Any, ...] = ()
    sections: int = 0
    keepdims: bool = False
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)


def input_tensor(spec: TensorSpec, rank: int) -> Affine:
    """Return an unchanged input; `rank` is that of its tensor, which may lack the batch axis of `spec`.

    The order of more than `MAX_CHANNELS` channels is not followed.
    """
    axis = spec.axes.index("channel") if "channel" in spec.axes else None
    count = 1 if axis is None else spec.shape[axis] or DEFAULT_CHANNELS
    if axis is None or count > MAX_CHANNELS or len(spec.axes) - axis > rank:
        return Affine(spec.name, max(rank, 1), None, 1)
    return Affine(spec.name, rank, axis - len(spec.axes) + rank, count)


def apply_operation(role: str, given: Sequence[Value], details: OpSettings) -> list[Value] | None:
    """Return the outputs of one operation, ``None`` if it is not supported.

    Parameters
    ----------
    role
        ``keep`` (the values are kept, maybe at other positions), ``add``, ``subtract``, ``multiply``,
        ``divide``, ``affine``, ``negative``, ``reverse``, ``index``, ``take``, ``split``,
        ``unstack``, ``concatenate``, ``stack``, ``transpose``, ``reshape``, ``reduce``,
        ``select``, ``nonlinear`` or ``shape``.
    given
        Its tensors and constants, in the order of its arguments.
    details
        Its settings.
    """
    if role == "shape":
        return [STATIC]
    if role == "select":
        return _apply_select(given, details.name)
    if role in ELEMENTWISE:
        return _apply_binary(role, given, details.name)
    if role in {"concatenate", "stack"}:
        return _apply_concatenation(role, given, details.axes)
    first = next((value for value in given if isinstance(value, (Affine, Dependent))), None)
    if isinstance(first, Dependent):
        return [first] * max(details.sections, 1)
    if first is None:
        return None
    if role == "keep":
        return [first]
    if role == "affine":
        return [
            _shift_channels(
                _scale_channels(first, _fit_channels(details.scale, first)), _fit_channels(details.offset, first)
            )
        ]
    if role == "negative":
        return [_scale_channels(first, (-1.0,))]
    if role == "nonlinear":
        return [Dependent(first, details.name, combined=True)]
    return _apply_rearrangement(role, first, details)


def channel_constants(constant: NDArray[Any], tensor: Affine) -> tuple[float, ...] | None:
    """Return a constant as one number, or one per channel of `tensor`; ``None`` if it is neither.

    A constant that varies over other axes, such as a mean image, is reduced to its median.
    """
    if constant.size == 0 or constant.dtype.kind not in "fiub" or constant.ndim > tensor.rank:
        return None
    values = constant.astype(np.float64)
    if not np.isfinite(values).all():
        return None
    values = values.reshape((1,) * (tensor.rank - values.ndim) + values.shape)
    if tensor.axis is None or values.shape[tensor.axis] not in {1, tensor.channels}:
        return (float(np.median(values)),)
    others = tuple(axis for axis in range(tensor.rank) if axis != tensor.axis)
    medians = np.median(values, axis=others).ravel()
    return tuple(medians.tolist()) if medians.size <= MAX_CHANNELS else (float(np.median(medians)),)


def _fit_channels(numbers: tuple[float, ...], tensor: Affine) -> tuple[float, ...]:
    """Return the constants of a layer as one number, or one per channel."""
    fits = len(numbers) == 1 or (len(numbers) == tensor.channels <= MAX_CHANNELS and tensor.axis is not None)
    return numbers if fits else (float(np.median(numbers)),)


def _apply_binary(role: str, given: Sequence[Value], name: str) -> list[Value] | None:
    if len(given) != 2:  # noqa: PLR2004  (two operands)
        return None
    left, right = given
    dependent = next((value for value in given if isinstance(value, Dependent)), None)
    if dependent is not None:
        affine = next((value for value in given if isinstance(value, Affine)), None)
        return [dependent if affine is None else Dependent(affine, dependent.name, combined=True)]
    if isinstance(left, Affine) and isinstance(right, np.ndarray):
        tensor, constant = left, channel_constants(right, left)
    elif isinstance(right, Affine) and isinstance(left, np.ndarray):
        if role == "divide":
            return [Dependent(right, name or "division by the input", combined=True)]
        tensor, constant = right, channel_constants(left, right)
        if role == "subtract":
            tensor, role = _scale_channels(right, (-1.0,)), "add"
    else:
        affine = next((value for value in given if isinstance(value, Affine)), None)
        static = any(isinstance(value, Static) for value in given)
        return [Dependent(affine, name, combined=True)] if affine is not None and static else None
    if constant is None or (role == "divide" and not all(constant)):
        return None
    if role == "add":
        return [_shift_channels(tensor, constant)]
    if role == "subtract":
        return [_shift_channels(tensor, tuple(-number for number in constant))]
    return [_scale_channels(tensor, constant if role == "multiply" else tuple(1 / number for number in constant))]


def _apply_select(given: Sequence[Value], name: str) -> list[Value] | None:
    """Return the result of ``where(condition, first, second)``: a constant condition selects one, equal tensors are kept (a random flip)."""
    if len(given) != 3:  # noqa: PLR2004  (a condition and two tensors)
        return None
    condition, first, second = given
    if isinstance(condition, np.ndarray) and condition.size and len(set(condition.ravel().tolist())) == 1:
        return [first if condition.all() else second]
    if isinstance(first, Affine) and first == second:
        return [first]
    base = next((value for value in given if isinstance(value, Affine)), None)
    dependent = next((value for value in given if isinstance(value, Dependent)), None)
    return (
        [Dependent(base, name, combined=True)] if base is not None else [dependent] if dependent is not None else None
    )


def _apply_rearrangement(role: str, tensor: Affine, details: OpSettings) -> list[Value] | None:
    """Follow the channels through an operation that moves, selects or reduces values."""
    axes = tuple(axis % tensor.rank for axis in details.axes)
    on_channels = tensor.axis is not None and tensor.axis in axes
    if role == "reverse":
        return [_select_channels(tensor, range(tensor.channels)[::-1]) if on_channels else tensor]
    if role == "take":
        channels = [int(item) % tensor.channels for item in details.index[:MAX_CHANNELS]] if on_channels else []
        return [_select_channels(tensor, channels)] if channels else [tensor] if axes else None
    if role == "index":
        return _apply_index(tensor, details.index)
    if role == "transpose":
        if sorted(axes) != list(range(tensor.rank)):
            return None
        return [tensor if tensor.axis is None else replace(tensor, axis=axes.index(tensor.axis))]
    if role == "reshape":
        return [replace(tensor, axis=None)] if tensor.uniform else None
    if role == "reduce":
        return [_apply_reduction(tensor, axes, details)]
    if role in {"split", "unstack"}:
        return _apply_split(role, tensor, axes, details.sections)
    return None


def _apply_index(tensor: Affine, items: Sequence[Any]) -> list[Value] | None:
    """Return ``tensor[items]``."""
    used = sum(item is not None and item is not Ellipsis for item in items)
    known = all(item is None or item is Ellipsis or isinstance(item, (int, slice)) for item in items)
    if not known or used > tensor.rank or list(items).count(Ellipsis) > 1:
        return None
    filled: list[Any] = []
    for item in items if Ellipsis in items else [*items, Ellipsis]:
        filled += [slice(None)] * (tensor.rank - used) if item is Ellipsis else [item]
    result, axis, position = tensor, 0, 0
    new_axis: int | None = None
    for item in filled:
        if item is None:
            position += 1
            continue
        if axis == tensor.axis:
            inside = not isinstance(item, int) or -tensor.channels <= item < tensor.channels
            channels = range(tensor.channels)[item] if inside else ()
            result = _select_channels(result, [channels] if isinstance(channels, int) else channels)
            new_axis = None if isinstance(item, int) else position
        axis += 1
        position += not isinstance(item, int)
    return [replace(result, rank=position, axis=new_axis)] if result.channels else None


def _apply_split(role: str, tensor: Affine, axes: tuple[int, ...], sections: int) -> list[Value] | None:
    if len(axes) != 1 or not 0 < sections <= MAX_CHANNELS:
        return None
    rank = tensor.rank - (role == "unstack")
    if axes[0] != tensor.axis:
        after = tensor.axis is not None and role == "unstack" and axes[0] < tensor.axis
        axis = None if tensor.axis is None else tensor.axis - after
        return [replace(tensor, rank=rank, axis=axis)] * sections
    if tensor.channels % sections:
        return None
    size = tensor.channels // sections
    parts = [_select_channels(tensor, range(start, start + size)) for start in range(0, tensor.channels, size)]
    return [replace(part, rank=rank, axis=None if role == "unstack" else tensor.axis) for part in parts]


def _apply_concatenation(role: str, given: Sequence[Value], axes: tuple[int, ...]) -> list[Value] | None:
    parts = [value for value in given if isinstance(value, Affine)]
    if len(parts) != len(given) or not parts or len(axes) != 1:
        return None
    if len({(part.input, part.rank, part.axis, part.count) for part in parts}) > 1:
        return None
    first = parts[0]
    rank = first.rank + (role == "stack")
    axis = axes[0] % rank
    if role == "concatenate" and axis != first.axis:
        return [first] if all(part == first for part in parts) else None
    if role == "stack" and (first.axis is not None or first.channels > 1):
        return None
    if sum(part.channels for part in parts) > MAX_CHANNELS:
        return None
    source: list[int] = []
    scale: list[float] = []
    offset: list[float] = []
    for part in parts:
        source += range(part.count) if part.source is None else part.source
        scale += _broadcast(part.scale, part.channels)
        offset += _broadcast(part.offset, part.channels)
    whole = None if source == list(range(first.count)) else tuple(source)
    return [replace(first, rank=rank, axis=axis, scale=tuple(scale), offset=tuple(offset), source=whole)]


def _apply_reduction(tensor: Affine, axes: tuple[int, ...], details: OpSettings) -> Value:
    """Return a weighted sum, or the mean, of the channels (a gray image); any other reduction depends on the data."""
    kind = details.name.lower().removeprefix("reduce_").rpartition(".")[2].removeprefix("reduce_")
    if kind not in {"sum", "mean"} or axes != (tensor.axis,):
        return Dependent(tensor, details.name, combined=False)
    share = 1.0 if kind == "sum" else 1 / tensor.channels
    scale, offset = (sum(_broadcast(numbers, tensor.channels)) * share for numbers in (tensor.scale, tensor.offset))
    rank, axis = (tensor.rank, tensor.axis) if details.keepdims else (tensor.rank - 1, None)
    return replace(tensor, rank=rank, axis=axis, scale=(scale,), offset=(offset,), source=(0,))


def _select_channels(tensor: Affine, channels: Sequence[int]) -> Affine:
    source = range(tensor.count) if tensor.source is None else tensor.source
    selected = tuple(source[channel] for channel in channels)
    whole = None if selected == tuple(range(tensor.count)) else selected
    return replace(tensor, scale=_pick(tensor.scale, channels), offset=_pick(tensor.offset, channels), source=whole)


def _scale_channels(tensor: Affine, factors: tuple[float, ...]) -> Affine:
    return _with_stage(tensor, _multiply(tensor.scale, factors), _multiply(tensor.offset, factors))


def _with_stage(tensor: Affine, scale: tuple[float, ...], offset: tuple[float, ...]) -> Affine:
    changed = set(tensor.scale) != {1.0} or set(tensor.offset) != {0.0}
    stages = (*tensor.stages, tensor.by_input) if changed and len(tensor.stages) < MAX_STAGES else tensor.stages
    return replace(tensor, scale=scale, offset=offset, stages=stages)


def _shift_channels(tensor: Affine, shifts: tuple[float, ...]) -> Affine:
    size = max(len(tensor.offset), len(shifts))
    pairs = zip(_broadcast(tensor.offset, size), _broadcast(shifts, size), strict=True)
    return _with_stage(tensor, tensor.scale, tuple(first + second for first, second in pairs))


def _multiply(numbers: tuple[float, ...], factors: tuple[float, ...]) -> tuple[float, ...]:
    size = max(len(numbers), len(factors))
    return tuple(a * b for a, b in zip(_broadcast(numbers, size), _broadcast(factors, size), strict=True))


def _broadcast(numbers: tuple[float, ...], size: int) -> list[float]:
    return list(numbers) * size if len(numbers) == 1 else list(numbers)


def _pick(numbers: tuple[float, ...], indices: Sequence[int]) -> tuple[float, ...]:
    return numbers if len(numbers) == 1 else tuple(numbers[index] for index in indices)
