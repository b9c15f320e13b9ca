"""What a `.tflite` file holds, read and checked before any interpreter sees it.

The file is a FlatBuffer of operators, tensors and buffers of constants. An interpreter does
not check sizes and indices, so all of them are checked here. Operators that are not TFLite's
own never run, because they are other code (a Flex operator may be any TensorFlow operator,
such as one that writes files).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.errors import LimitError, ModelError, UnsafeError, escape
from actviz.gate.file_type import is_tflite
from actviz.gate.flatbuffer import WORD, FlatBuffer, FlatBufferTable
from actviz.gate.tflite_metadata import NO_METADATA, Metadata, read_metadata
from actviz.gate.tflite_operators import ACTIVATIONS, BITS, DTYPES, FUSED_FIELD, OPERATORS
from actviz.gate.tflite_signatures import (
    TFLiteSignature,
    called_graphs,
    choose_signature,
    read_signatures,
    with_main_graph,
)
from actviz.gate.traversal import reachable
from actviz.gate.trust import NO_FLAG

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

VERSION = 3
MAXIMUM_RANK = 8
MAXIMUM_TENSOR_BYTES = 4 << 30
MAXIMUM_FILE_BYTES = (1 << 31) - 1
RANDOM = frozenset({"RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL"})
CALLS_OTHER_CODE = frozenset({"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"})
ABSENT = -1
# They speak to each other through memory, not through tensors: none can be left out.
WITH_MEMORY = frozenset(
    {
        "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "HASHTABLE", "HASHTABLE_IMPORT",
        "HASHTABLE_FIND", "HASHTABLE_SIZE",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantization:
    """The real values of quantized integers: ``real = (integer - zero) * scale``.

    One scale and zero point, or one for each index along `axis`.
    """

    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    axis: int


@dataclass(frozen=True, slots=True)
class TFLiteTensor:
    """A tensor.

    `dtype` is a NumPy name, ``"string"``, or TFLite's name for a type that NumPy does not have.
    `shape` is that of the file, `free` the same with ``None`` where a size may change; both are
    ``None`` where the rank is unknown. `start` and `length` are the offset and size in bytes of
    a constant in the file.
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
        """Return True if the file holds the values."""
        return self.length > 0


@dataclass(frozen=True, slots=True)
class TFLiteOperator:
    """An operator: its kind, and the indices of its input tensors (-1: none) and output tensors.

    `fused` is its fused activation function, ``""`` for none. For a random operator, `options_at`
    is the offset in the file of the reference to its options (``None``: it has none), and `seeded`
    is true if they fix a seed. `custom` is the name of an operator that is not TFLite's own, which
    never runs (``""``: it is one of TFLite's own). `calls` are the indices of the graphs that it runs.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    fused: str
    options_at: int | None = None
    seeded: bool = False
    custom: str = ""
    calls: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TFLiteGraph:
    """A subgraph of a file: tensors, operators in the order of execution, indices of input and output tensors.

    `operators_at` is the offset in the file of the vector of operators, `outputs_at` that of
    the reference to the vector of outputs (``None``: there is none).
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

    `graph` is the subgraph that is run; `others` are those that no other signature names, which its control
    flow may call. `inputs` and `outputs` are the names in the signature by index of the tensor; `metadata`
    describes both. `signatures` are all signatures of the file, `signature` is the name of the one that is
    used (``None``: none describes the graph). `main` is the offset and the new bytes by which the graph is the
    first one of the file (``None``: it is).
    """

    description: str
    graph: TFLiteGraph
    others: tuple[TFLiteGraph, ...]
    inputs: dict[int, str]
    outputs: dict[int, str]
    metadata: Metadata = NO_METADATA
    signatures: tuple[TFLiteSignature, ...] = ()
    signature: str | None = None
    main: tuple[int, bytes] | None = None


def read_tflite(content: bytes, name: str, signature: str | None = None) -> TFLiteModel:
    """Read and check a file; `signature` names the one that is used, by default that of the first graph.

    Raises
    ------
    UsageError
        When there is no such signature.
    ModelError
        When it is damaged, or newer than this reader.
    UnsafeError
        When it keeps constants in other files, or operators that are not TFLite's own cannot be left
        out: they are in a graph that others call, or beside operators that share a memory.
    LimitError
        When a tensor is too large.
    """
    if not is_tflite(content):
        message = f"{name}: this is not a TFLite model; a .tflite file from a converter was expected."
        raise ModelError(message)
    root = FlatBuffer(content, name).root()
    if root.integer(0, "<I") != VERSION:
        message = f"{name}: version {root.integer(0, '<I')} of the TFLite format is not known; update actviz."
        raise ModelError(message)
    if any(root.vector(number, WORD)[1] for number in (8, 9)):
        message = f"{name}: refused: its constants are in other files; {NO_FLAG}. Convert it into one file."
        raise UnsafeError(message)
    kinds = [_kind(table, name) for table in root.children(1)]
    buffers = [_buffer(table, name) for table in root.children(4)]
    graphs = [_graph(table, kinds, buffers, name) for table in root.children(2)]
    if not graphs:
        message = f"{name}: the file holds no graph; convert the model again."
        raise ModelError(message)
    signatures = read_signatures(root, [len(graph.tensors) for graph in graphs], name)
    chosen = choose_signature(signatures, signature, name)
    index = 0 if chosen is None else chosen.graph
    # The interpreter does not get the first graph where another one is chosen: that takes its place.
    whole = [graph for number, graph in enumerate(graphs) if number not in {0, index}]
    whole += [] if WITH_MEMORY.isdisjoint(item.kind for item in graphs[index].operators) else [graphs[index]]
    custom = next((operator for graph in whole for operator in graph.operators if operator.custom), None)
    if custom is not None:
        raise custom_refusal(custom, name)
    others = set(range(len(graphs))) - {0, index, *(item.graph for item in signatures)}
    others |= _called(graphs, index) - {index}
    if index and 0 in others:
        message = f'{name}: signature "{escape(str(signature), 80)}" calls the first graph of the file, so that it cannot be run alone; convert each signature into a file of its own.'
        raise ModelError(message)
    return TFLiteModel(
        root.text(3),
        graphs[index],
        tuple(graphs[number] for number in sorted(others)),
        chosen.inputs if chosen else {},
        chosen.outputs if chosen else {},
        NO_METADATA if index else read_metadata(root, buffers),
        signatures,
        chosen.name if chosen else None,
        with_main_graph(root, index),
    )


def _called(graphs: list[TFLiteGraph], index: int) -> set[int]:
    """Return the indices of the graphs that the operators of a graph run, and those that these run."""

    def callees(number: int) -> list[int]:
        return [call for item in graphs[number].operators for call in item.calls if 0 <= call < len(graphs)]

    return reachable(callees(index), callees)


def check_sizes(tensors: Iterable[TFLiteTensor], name: str) -> None:
    """Check the memory that tensors take together, before anything is allocated.

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
    """Return the bytes of the values of a tensor; 0 where they are not known."""
    if tensor.shape is None or tensor.dtype not in BITS:
        return 0
    return -(-math.prod(tensor.shape) * BITS[tensor.dtype] // 8)


def custom_refusal(operator: TFLiteOperator, name: str) -> UnsafeError:
    """Return the error for running an operator that is not TFLite's own."""
    what = "a TensorFlow operator (Flex)" if operator.custom.startswith("Flex") else "code that is not TFLite's own"
    return UnsafeError(
        f'{name}: refused: operator "{escape(operator.custom, 80)}" is {what}, which could do anything; {NO_FLAG}. Convert the model to TFLite\'s builtin operators.'
    )


def _kind(table: FlatBufferTable, name: str) -> tuple[str, str]:
    """Return the kind of an operator, and its name if it is not TFLite's own."""
    code = max(table.integer(0, "<b"), table.integer(3, "<i"))
    custom = table.text(1)
    if not 0 <= code < len(OPERATORS):
        message = f"{name}: operator {code} is not known; the file is newer than this actviz, or damaged."
        raise ModelError(message)
    kind = OPERATORS[code]
    if custom or kind in CALLS_OTHER_CODE:
        return "CUSTOM", custom or kind
    return kind, ""


def _buffer(table: FlatBufferTable, name: str) -> tuple[int, int]:
    if table.integer(1, "<Q") > 1:
        message = f"{name}: the constants lie behind the model (a file of more than 2 GB); such files are not opened."
        raise LimitError(message)
    return table.vector(0, 1)


def _graph(
    table: FlatBufferTable, kinds: list[tuple[str, str]], buffers: list[tuple[int, int]], name: str
) -> TFLiteGraph:
    tensors = tuple(_tensor(item, buffers, name) for item in table.children(0))
    operators = tuple(_operator(item, kinds, table.flat) for item in table.children(3))
    inputs, outputs = _numbers(table.array(1, "<i4")), _numbers(table.array(2, "<i4"))
    indices = range(len(tensors))
    computed = {index for operator in operators for index in operator.outputs}
    ready = set(indices) - computed
    for operator in operators:
        # Not a set of all tensors per operator: that took seconds for thousands of operators.
        valid = all(index in indices for index in operator.outputs)
        if not valid or not (set(operator.inputs) - {ABSENT}) <= ready or not ready.isdisjoint(operator.outputs):
            message = f"{name}: {operator.kind} reads or makes a tensor out of turn; the file is damaged."
            raise ModelError(message)
        ready.update(operator.outputs)
    if not ready.issuperset(inputs + outputs) or any(tensors[index].constant for index in computed.union(inputs)):
        message = f"{name}: the inputs or outputs of the graph are not tensors of it; the file is damaged."
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
        message = f'{name}: tensor "{escape(text, 80)}" has the shape {list(shape[:MAXIMUM_RANK])}, which is not a valid shape; the file is damaged.'
        raise ModelError(message)
    free = tuple(None if size < 0 else size for size in signature) if signature else shape
    tensor = TFLiteTensor(
        text,
        DTYPES[code],
        shape if ranked else None,
        free if ranked else None,
        start,
        length,
        _quantization(table.child(4)),
        bool(table.integer(5, "<?")),
    )
    size = byte_count(tensor)
    if size > MAXIMUM_TENSOR_BYTES:
        message = f'{name}: tensor "{escape(text, 80)}" declares {size:,} bytes (limit {MAXIMUM_TENSOR_BYTES:,}).'
        raise LimitError(message)
    if length and tensor.dtype in BITS and table.slot(6) is None and size != length:
        message = (
            f'{name}: constant "{escape(text, 80)}" holds {length:,} bytes instead of {size:,}; the file is damaged.'
        )
        raise ModelError(message)
    return tensor


def _quantization(table: FlatBufferTable | None) -> Quantization | None:
    if table is None:
        return None
    scales = tuple(float(value) for value in table.array(2, "<f4"))
    zeros = _numbers(table.array(3, "<i8")) or (0,) * len(scales)
    if not scales or len(zeros) not in {1, len(scales)} or not all(map(math.isfinite, scales)):
        return None
    return Quantization(scales, zeros, table.integer(6))


def _operator(table: FlatBufferTable, kinds: list[tuple[str, str]], flat: FlatBuffer) -> TFLiteOperator:
    code = table.integer(0, "<I")
    if code >= len(kinds):
        raise flat.damage(table.offset)
    kind, custom = kinds[code]
    options = table.child(4) if kind in FUSED_FIELD else None
    fused = 0 if options is None else options.integer(FUSED_FIELD[kind], "<b")
    if not 0 <= fused < len(ACTIVATIONS):
        raise flat.damage(table.offset)
    reads, makes = _numbers(table.array(1, "<i4")), _numbers(table.array(2, "<i4"))
    if kind not in RANDOM:
        return TFLiteOperator(kind, reads, makes, ACTIVATIONS[fused], custom=custom, calls=called_graphs(table, kind))
    random = table.child(4)
    seeded = random is not None and any(random.integer(number, "<q") for number in (0, 1))
    return TFLiteOperator(kind, reads, makes, "", table.slot(4), seeded)


def _numbers(array: NDArray[np.integer[Any]]) -> tuple[int, ...]:
    return tuple(int(value) for value in array)
