"""What a `.tflite` file holds, read and checked before any interpreter sees it.

The file is a FlatBuffer: operators, tensors between them, and buffers of constants. An
interpreter takes sizes and indices on trust, so all of them are checked here; operators that
are not TFLite's own are refused, because they are code from elsewhere (a Flex operator is any
TensorFlow operator, such as one that writes files).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.errors import LimitError, ModelError, UnsafeError, escape
from actviz.gate.flatbuffer import WORD, FlatBuffer, FlatBufferTable
from actviz.gate.tflite_metadata import NO_METADATA, Metadata, read_metadata
from actviz.gate.tflite_operators import ACTIVATIONS, BITS, DTYPES, FUSED_FIELD, OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

MAGIC = b"TFL3"
VERSION = 3
MAXIMUM_RANK = 8
MAXIMUM_TENSOR_BYTES = 4 << 30
MAXIMUM_FILE_BYTES = (1 << 31) - 1
RANDOM = frozenset({"RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL"})
CALLS_OTHER_CODE = frozenset({"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"})
ABSENT = -1


@dataclass(frozen=True, slots=True)
class Quantization:
    """How whole numbers stand for real ones: ``real = (number - zero) * scale``.

    One scale and zero point, or one for each place along `axis`.
    """

    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    axis: int


@dataclass(frozen=True, slots=True)
class TFLiteTensor:
    """One tensor.

    `dtype` is a numpy name, ``"string"``, or TFLite's own name for what numpy has not. `shape`
    is that of the file, `free` the same with ``None`` where a size may change; both are
    ``None`` where not even the rank is known. `start` and `length` are the bytes of a
    constant in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    free: tuple[int | None, ...] | None
    start: int
    length: int
    quantization: Quantization | None
    variable: bool

    @property
    def constant(self) -> bool:
        """Tell whether the file holds the values."""
        return self.length > 0


@dataclass(frozen=True, slots=True)
class TFLiteOperator:
    """One operator: its kind, the numbers of the tensors it reads (-1: none) and makes.

    `fused` is the activation function it ends with, ``""`` for none. For an operator that
    draws random numbers, `options_at` is the place in the file of the offset to its options
    (``None``: it has none) and `seeded` tells whether they fix a seed.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    fused: str
    options_at: int | None = None
    seeded: bool = False


@dataclass(frozen=True, slots=True)
class TFLiteGraph:
    """One graph of a file: its tensors, its operators in the order in which they run, its ends.

    `operators_at` is the place in the file of the list of operators, and `outputs_at` that of
    the offset to the list of outputs (``None``: there is none).
    """

    tensors: tuple[TFLiteTensor, ...]
    operators: tuple[TFLiteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators_at: int
    outputs_at: int | None


@dataclass(frozen=True, slots=True)
class TFLiteModel:
    """A checked file.

    `graph` is the one that runs; `others` are those that its control flow calls. `inputs` and
    `outputs` are the names that the signature gives to numbers of tensors; `metadata` is what
    the file declares about both, where it does.
    """

    description: str
    graph: TFLiteGraph
    others: tuple[TFLiteGraph, ...]
    inputs: dict[int, str]
    outputs: dict[int, str]
    metadata: Metadata = NO_METADATA


def read_tflite(content: bytes, name: str) -> TFLiteModel:
    """Read and check a file.

    Raises
    ------
    ModelError
        When it is damaged, or newer than this reader.
    UnsafeError
        When it has operators that are not TFLite's own, or keeps constants in other files.
    LimitError
        When its sizes are beyond any real model's.
    """
    if content[4:8] != MAGIC:
        message = f"{name}: this is no TFLite model; a .tflite file from a converter was expected."
        raise ModelError(message)
    root = FlatBuffer(content, name).root()
    if root.integer(0, "<I") != VERSION:
        message = f"{name}: version {root.integer(0, '<I')} of the TFLite format is not known; update actviz."
        raise ModelError(message)
    if any(root.vector(number, WORD)[1] for number in (8, 9)):
        message = f"{name}: refused: its constants are in other files; there is no flag that allows it. Convert it into one file."
        raise UnsafeError(message)
    kinds = [_kind(table, name) for table in root.children(1)]
    buffers = [_buffer(table, name) for table in root.children(4)]
    graphs = [_graph(table, kinds, buffers, name) for table in root.children(2)]
    if not graphs:
        message = f"{name}: the file holds no graph; convert the model again."
        raise ModelError(message)
    inputs, outputs = _signature(root, len(graphs[0].tensors))
    return TFLiteModel(
        root.text(3), graphs[0], tuple(graphs[1:]), inputs, outputs, metadata=read_metadata(root, buffers)
    )


def check_sizes(tensors: Iterable[TFLiteTensor], name: str) -> None:
    """Refuse to compute what would not fit, before anything is allocated.

    Raises
    ------
    LimitError
        When the tensors together are too large.
    """
    total = sum(byte_count(tensor) for tensor in tensors)
    if total > MAXIMUM_TENSOR_BYTES:
        message = f"{name}: the layers take {total:,} bytes (limit {MAXIMUM_TENSOR_BYTES:,}); choose fewer of them, or earlier ones."
        raise LimitError(message)


def byte_count(tensor: TFLiteTensor) -> int:
    """Return how many bytes the values of a tensor take; 0 where that is not known."""
    if tensor.shape is None or tensor.dtype not in BITS:
        return 0
    return -(-math.prod(tensor.shape) * BITS[tensor.dtype] // 8)


def _kind(table: FlatBufferTable, name: str) -> str:
    code = max(table.integer(0, "<b"), table.integer(3, "<i"))
    own = table.text(1)
    if not 0 <= code < len(OPERATORS):
        message = f"{name}: operator {code} is not known; the file is newer than this actviz, or damaged."
        raise ModelError(message)
    kind = OPERATORS[code]
    if own or kind in CALLS_OTHER_CODE:
        what = "a TensorFlow operator (Flex)" if own.startswith("Flex") else "code that is not TFLite's own"
        message = f'{name}: refused: operator "{escape(own or kind, 80)}" is {what}, which could do anything; there is no flag that allows it. Convert the model to TFLite\'s builtin operators.'
        raise UnsafeError(message)
    return kind


def _buffer(table: FlatBufferTable, name: str) -> tuple[int, int]:
    if table.integer(1, "<Q") > 1:
        message = f"{name}: the constants lie behind the model (a file of more than 2 GB); such files are not opened."
        raise LimitError(message)
    return table.vector(0, 1)


def _graph(table: FlatBufferTable, kinds: list[str], buffers: list[tuple[int, int]], name: str) -> TFLiteGraph:
    tensors = tuple(_tensor(item, buffers, name) for item in table.children(0))
    operators = tuple(_operator(item, kinds, table.flat) for item in table.children(3))
    inputs, outputs = _numbers(table.array(1, "<i4")), _numbers(table.array(2, "<i4"))
    count = len(tensors)
    made = {number for operator in operators for number in operator.outputs}
    known = range(count)
    ready = {number for number in range(count) if number not in made}
    for operator in operators:
        read = {number for number in operator.inputs if number != ABSENT}
        # A set of all tensors, made for each operator, took seconds for thousands of operators.
        unknown = any(number not in known for number in operator.outputs)
        if unknown or not read <= ready or not ready.isdisjoint(operator.outputs):
            message = f"{name}: {operator.kind} reads or makes a tensor out of turn; the file is damaged."
            raise ModelError(message)
        ready |= set(operator.outputs)
    if not set(inputs) | set(outputs) <= ready or any(tensors[number].constant for number in made | set(inputs)):
        message = f"{name}: the ends of the graph are no tensors of it; the file is damaged."
        raise ModelError(message)
    return TFLiteGraph(tensors, operators, inputs, outputs, table.vector(3, WORD)[0], table.slot(2))


def _tensor(table: FlatBufferTable, buffers: list[tuple[int, int]], name: str) -> TFLiteTensor:
    text = table.text(3)
    code, buffer = table.integer(1, "<b"), table.integer(2, "<I")
    if not 0 <= code < len(DTYPES) or buffer >= max(len(buffers), 1):
        message = f'{name}: tensor "{escape(text, 80)}" has an unknown type or constant; the file is damaged or newer than this actviz.'
        raise ModelError(message)
    start, length = buffers[buffer] if buffers else (0, 0)
    shape, signature = _numbers(table.array(0, "<i4")), _numbers(table.array(7, "<i4"))
    ranked = bool(shape) or table.integer(8, "<?") or length
    if signature and len(signature) != len(shape):
        signature = ()
    if len(shape) > MAXIMUM_RANK or any(size < 0 for size in shape):
        message = f'{name}: tensor "{escape(text, 80)}" has the shape {list(shape[:MAXIMUM_RANK])}, which means nothing; the file is damaged.'
        raise ModelError(message)
    free = tuple(None if size < 0 else size for size in signature) if signature else shape
    known = TFLiteTensor(
        text,
        DTYPES[code],
        shape if ranked else None,
        free if ranked else None,
        start,
        length,
        _quantization(table.child(4)),
        bool(table.integer(5, "<?")),
    )
    size = byte_count(known)
    if size > MAXIMUM_TENSOR_BYTES:
        message = f'{name}: tensor "{escape(text, 80)}" declares {size:,} bytes (limit {MAXIMUM_TENSOR_BYTES:,}).'
        raise LimitError(message)
    if length and known.dtype in BITS and table.slot(6) is None and size != length:
        message = (
            f'{name}: constant "{escape(text, 80)}" holds {length:,} bytes instead of {size:,}; the file is damaged.'
        )
        raise ModelError(message)
    return known


def _quantization(table: FlatBufferTable | None) -> Quantization | None:
    if table is None:
        return None
    scales = tuple(float(value) for value in table.array(2, "<f4"))
    zeros = _numbers(table.array(3, "<i8")) or (0,) * len(scales)
    if not scales or len(zeros) not in {1, len(scales)} or not all(map(math.isfinite, scales)):
        return None
    return Quantization(scales, zeros, table.integer(6))


def _operator(table: FlatBufferTable, kinds: list[str], flat: FlatBuffer) -> TFLiteOperator:
    code = table.integer(0, "<I")
    if code >= len(kinds):
        raise flat.damage(table.place)
    kind = kinds[code]
    options = table.child(4) if kind in FUSED_FIELD else None
    fused = 0 if options is None else options.integer(FUSED_FIELD[kind], "<b")
    if not 0 <= fused < len(ACTIVATIONS):
        raise flat.damage(table.place)
    reads, makes = _numbers(table.array(1, "<i4")), _numbers(table.array(2, "<i4"))
    if kind not in RANDOM:
        return TFLiteOperator(kind, reads, makes, ACTIVATIONS[fused])
    drawn = table.child(4)
    seeded = drawn is not None and any(drawn.integer(number, "<q") for number in (0, 1))
    return TFLiteOperator(kind, reads, makes, "", table.slot(4), seeded)


def _signature(root: FlatBufferTable, count: int) -> tuple[dict[int, str], dict[int, str]]:
    """Return the names of inputs and outputs: of ``serving_default``, else of the first signature."""
    found = [table for table in root.children(7) if table.integer(4, "<I") == 0]
    if not found:
        return {}, {}
    chosen = next((table for table in found if table.text(2) == "serving_default"), found[0])
    ends = []
    for number in (0, 1):
        names = {table.integer(1, "<I"): table.text(0) for table in chosen.children(number)}
        ends.append({place: name for place, name in names.items() if place < count and name})
    return ends[0], ends[1]


def _numbers(array: NDArray[np.integer[Any]]) -> tuple[int, ...]:
    return tuple(int(value) for value in array)
