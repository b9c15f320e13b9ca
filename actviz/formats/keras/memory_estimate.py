"""What a network would take of memory, worked out from shapes before anything is allocated."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from actviz.errors import LimitError, escape
from actviz.system.resource_limits import memory_limit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actviz.formats.keras.graph import TensorRef
    from actviz.records import Shape

MAXIMUM_PARAMETERS = 2_000_000_000
MAXIMUM_OUTPUT_BYTES = 4 << 30
MOST_SHOWN = 10**24
TEXT_BYTES = 24
OTHER_BYTES = 4
_BITS = re.compile(r"[a-z]+?(\d+)")


def item_bytes(dtype: str) -> int:
    """Return the bytes of one value of a dtype by its name (``float16``: 2)."""
    if dtype == "bool":
        return 1
    if dtype == "string":
        return TEXT_BYTES
    bits = _BITS.match(dtype)
    return max(1, int(bits[1]) // 8) if bits else OTHER_BYTES


def bytes_of(shape: Shape, dtype: str, count: int = 1) -> int:
    """Return the bytes of an array of this shape, `count` samples in its open batch axis."""
    known = [axis if axis is not None else (count if place == 0 else 1) for place, axis in enumerate(shape)]
    return math.prod(known) * item_bytes(dtype)


def grouped(number: int) -> str:
    """Return a number for a message: in groups of three, or as a power of ten where that is long."""
    return f"{number:,}" if number < MOST_SHOWN else f"about 10^{int(math.log10(number))}"


def check_parameters(count: int, size: int, file: str) -> None:
    """Refuse more weights, or more bytes of them, than are created."""
    if count > MAXIMUM_PARAMETERS:
        message = f"{file}: declares {grouped(count)} parameters (limit {MAXIMUM_PARAMETERS:,}); the file is damaged or hostile."
        raise LimitError(message)
    if size > memory_limit():
        message = f"{file}: declares {grouped(count)} parameters, {grouped(size)} bytes (limit {memory_limit():,}); choose layers nearer to the input, or raise --max-memory."
        raise LimitError(message)


def check_output(shape: Shape, dtype: str, layer: str, file: str) -> None:
    """Refuse a layer whose output for one sample is larger than is computed."""
    size, limit = bytes_of(shape, dtype), min(MAXIMUM_OUTPUT_BYTES, memory_limit())
    if size > limit:
        message = f'{file}: the output of layer "{escape(layer, 80)}" takes {grouped(size)} bytes (limit {limit:,}); choose other layers or a smaller input.'
        raise LimitError(message)


def check_run(
    steps: Sequence[int],
    tensors: Mapping[TensorRef, tuple[Shape, str]],
    done: Mapping[int, Sequence[TensorRef]],
    samples: tuple[int, int],
    file: str,
) -> None:
    """Refuse a batch whose tensors do not fit into memory together with the weights.

    Parameters
    ----------
    steps
        The calls, in their order.
    tensors
        Shape and dtype of what the calls give, their batch axis open.
    done
        What is dropped after each call.
    samples
        The number of samples, and the bytes of all weights.
    file
        The model's name, for the message.
    """
    count, held = samples
    size = {ref: bytes_of(shape, dtype, count) for ref, (shape, dtype) in tensors.items()}
    given: dict[int, int] = {}
    for ref, own in size.items():
        given[ref.node] = given.get(ref.node, 0) + own
    most = held
    for number in steps:
        held += given.get(number, 0)
        most = max(most, held)
        held -= sum(size.get(ref, 0) for ref in done.get(number, ()))
    limit = memory_limit()
    if most > limit:
        message = f"{file}: these layers take {grouped(most)} bytes for {count:,} samples at once (limit {limit:,}); choose fewer layers, smaller or fewer inputs, or raise --max-memory."
        raise LimitError(message)
