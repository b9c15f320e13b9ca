"""Describe the tensors of a `.tflite` file: layer class, axes, sign, bounds, parameters and required inputs."""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import cached_property
from itertools import islice, takewhile
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import escape
from actviz.formats.axes import DEFAULT_AXES, TOKENS, score_axes
from actviz.formats.keras.step_order import Operation, operation_step_orders, reverses_steps
from actviz.formats.tflite.attention_pattern import find_attention
from actviz.formats.tflite.tensor_origins import BIAS_INPUT, CONVERSIONS, conversion_sources, live_tensors
from actviz.formats.tflite.tflite_interpreter import from_stored
from actviz.layer_catalogue.activation_functions import BOUNDS, Bounds
from actviz.records import FORWARD, Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actviz.formats.tflite.layer_names import NamedTensor, TensorNames
    from actviz.formats.tflite.repeated_calls import Scope
    from actviz.gate.tflite import TFLiteModel, TFLiteOperator, TFLiteTensor
    from actviz.records import Axes, Shape

# The Keras class of each operator; others have the name of the operator.
LAYER_CLASSES = {
    "CONV_2D": "Conv2D", "DEPTHWISE_CONV_2D": "DepthwiseConv2D", "CONV_3D": "Conv3D", "FULLY_CONNECTED": "Dense",
    "TRANSPOSE_CONV": "Conv2DTranspose", "CONV_3D_TRANSPOSE": "Conv3DTranspose", "MAX_POOL_2D": "MaxPooling2D",
    "AVERAGE_POOL_2D": "AveragePooling2D", "ADD": "Add", "SUB": "Subtract", "MUL": "Multiply",
    "CONCATENATION": "Concatenate", "LOGISTIC": "Sigmoid", "PRELU": "PReLU", "RELU": "ReLU", "RELU6": "ReLU6",
    "LEAKY_RELU": "LeakyReLU", "ELU": "ELU", "GELU": "GELU", "UNIDIRECTIONAL_SEQUENCE_LSTM": "LSTM",
    "EMBEDDING_LOOKUP": "Embedding", "STRIDED_SLICE": "StridedSlice", "BATCH_MATMUL": "MatMul",
}  # fmt: skip
ACTIVATIONS = {
    "SOFTMAX": "softmax", "LOGISTIC": "sigmoid", "RELU": "relu", "RELU6": "relu6", "TANH": "tanh", "ELU": "elu",
    "GELU": "gelu", "LEAKY_RELU": "leaky_relu", "HARD_SWISH": "hard_swish",
}  # fmt: skip
NON_NEGATIVE = frozenset({"LOGISTIC", "SOFTMAX", "RELU", "RELU6", "RELU_0_TO_1", "EXP", "ABS", "SQUARED_DIFFERENCE"})
SIGN_KEEPING = CONVERSIONS | {
    "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "MEAN", "SUM", "REDUCE_MAX",
    "CONCATENATION", "PAD", "MIRROR_PAD", "ADD", "MUL", "MAXIMUM", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
    "STRIDED_SLICE", "SLICE", "SPLIT", "PACK", "UNPACK", "GATHER", "TILE",
}  # fmt: skip
# Operators that select, concatenate or average values keep their bounds, which all include the zeros of padding.
BOUNDS_KEEPING = SIGN_KEEPING - {"SUM", "ADD", "MUL"}
JOINING = frozenset({"CONCATENATION", "PACK", "MAXIMUM"})
# Operators whose fused function belongs to a recurrent cell.
CELLS = frozenset({
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "LSTM", "RNN", "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN",
})  # fmt: skip
SPATIAL = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"})
# The index of the kernel or table among the inputs of an operator, and the names of its axes.
KERNEL_INPUTS: dict[str, tuple[int, Axes]] = {
    "CONV_2D": (1, ("output", "row", "column", "input")),
    "DEPTHWISE_CONV_2D": (1, ("input", "row", "column", "output")),
    "TRANSPOSE_CONV": (1, ("output", "row", "column", "input")),
    "CONV_3D": (1, ("plane", "row", "column", "input", "output")),
    "FULLY_CONNECTED": (1, ("output", "input")),
    "GATHER": (0, ("input", "output")),
    "EMBEDDING_LOOKUP": (1, ("input", "output")),
}
TABLES = {"GATHER": (1, 0), "EMBEDDING_LOOKUP": (0, 1)}  # the inputs with the indices and with the table
MAX_WEIGHTED = 1
IMAGE_RANK, SEQUENCE_RANK = 4, 3


class TensorFacts:
    """Facts about the tensors of one model, derived once in the order of its operators."""

    def __init__(self, model: TFLiteModel, naming: TensorNames, content: bytes) -> None:
        self._model = model
        self._naming = naming
        self._content = content
        self._tensors = model.graph.tensors
        self.batch = batch_size(model)
        self._orders: dict[int, str] | None = None
        self._sources = conversion_sources(model.graph)
        self._readers: dict[int, list[TFLiteOperator]] = {}
        for operator in model.graph.operators:
            for number in operator.inputs:
                self._readers.setdefault(number, []).append(operator)
        self.needs: dict[int, frozenset[int]] = {number: frozenset({number}) for number in model.graph.inputs}
        self.signed: dict[int, bool | None] = {}
        self.bounds: dict[int, Bounds | None] = {}
        self.axes: dict[int, Axes] = {number: self._input_axes(number) for number in model.graph.inputs}
        self._attention = find_attention(model.graph.operators, frozenset(live_tensors(model.graph)))
        for operator in model.graph.operators:
            needs = frozenset().union(*(self.needs.get(number, frozenset()) for number in operator.inputs))
            for number in operator.outputs:
                self.needs[number] = needs
                self.signed[number] = self._sign(operator)
                self.bounds[number] = self._bounds(operator)
                self.axes[number] = self._axes(operator, number)

    def shape(self, number: int) -> Shape | None:
        """Return the shape of a tensor, batch axis first, ``None`` if it is not known."""
        free = self._tensors[number].free
        if free is None:
            return None
        return (None, *free[1:]) if self.has_batch(number) else (None, *free)

    def has_batch(self, number: int) -> bool:
        """Return True if the first axis of a tensor is the batch axis."""
        tensor = self._tensors[number]
        if not tensor.shape or tensor.free is None:
            return False
        return tensor.shape[0] == self.batch

    def constant(self, number: int) -> TFLiteTensor | None:
        """Return the constant of a tensor, or of the tensor that it converts, ``None`` if there is none."""
        number = self._sources.get(number, number)
        tensor = self._tensors[number] if number >= 0 else None
        return tensor if tensor is not None and tensor.constant else None

    def values(self, tensor: TFLiteTensor) -> NDArray[Any]:
        """Return the values of a constant, in real units."""
        stored = np.frombuffer(self._content, tensor.dtype, math.prod(tensor.shape or ()), tensor.start)
        return from_stored(stored.reshape(tensor.shape or ()), tensor)

    def step_order(self, number: int) -> str:
        """Return the step order of a tensor; see `records.STEP_ORDERS`."""
        operators = self._model.graph.operators
        makers = {made: index for index, operator in enumerate(operators) for made in operator.outputs}
        if self._orders is None:
            operations = {
                index: Operation(
                    operator.kind,
                    [makers.get(read, -1 - read) for read in self._sequences_read(operator)],
                    self._reverses(operator),
                )
                for index, operator in enumerate(operators)
            }
            self._orders = operation_step_orders(operations, [-1 - read for read in self._model.graph.inputs])
        return self._orders.get(makers.get(number, -1 - number), FORWARD)

    def _sequences_read(self, operator: TFLiteOperator) -> list[int]:
        """Return the tensors whose steps an operator reads; for a loop those with at least three axes, because states have two."""
        read = [number for number in operator.inputs if number >= 0]
        wide = [number for number in read if len(self._tensors[number].shape or ()) >= SEQUENCE_RANK]
        return wide if operator.kind == "WHILE" and wide else read

    def _reverses(self, operator: TFLiteOperator) -> bool:
        axes = self.constant(operator.inputs[1]) if operator.kind == "REVERSE_V2" and len(operator.inputs) > 1 else None
        shape = self._tensors[operator.inputs[0]].shape if axes is not None else None
        return axes is not None and reverses_steps(
            self.values(axes).ravel().tolist(), None if shape is None else len(shape)
        )

    def kind(self, named: NamedTensor) -> str:
        """Return the layer class of a tensor."""
        if named.operator is None:
            return "InputLayer"
        operator = self._model.graph.operators[named.operator]
        if operator.custom:
            return escape(operator.custom, 80)
        own = operator.kind
        inside = [self._model.graph.operators[index].kind for index in self._operators_of(named)]
        weighted = [kind for kind in inside if kind in BIAS_INPUT]
        if len(weighted) > MAX_WEIGHTED:
            return "Group"
        return LAYER_CLASSES.get(weighted[0] if weighted else own) or _camel(weighted[0] if weighted else own)

    def activation(self, named: NamedTensor) -> str | None:
        """Return the activation function that produces a tensor, ``None`` if there is none."""
        if named.operator is None:
            return None
        operator = self._model.graph.operators[named.operator]
        return operator.fused or ACTIVATIONS.get(operator.kind)

    def parameters(self, named: NamedTensor) -> int:
        """Return the number of parameters of a layer or an operation."""
        indices = self._operators_of(named) or ([] if named.operator is None else [named.operator])
        weights = {
            (tensor.start, math.prod(tensor.shape or ()))
            for index in indices
            for number in self._model.graph.operators[index].inputs
            if (tensor := self.constant(number)) is not None and _is_weight(tensor)
        }
        return sum(size for _, size in weights)

    def kernels(self, named: NamedTensor) -> tuple[Kernel, ...]:
        """Return the kernels or tables that the operators of a layer read, in real units."""
        indices = self._operators_of(named) or ([] if named.operator is None else [named.operator])
        kernels: dict[int, Kernel] = {}
        for operator in (self._model.graph.operators[index] for index in indices):
            index, axes = KERNEL_INPUTS.get(operator.kind, (0, ()))
            tensor = self.constant(operator.inputs[index]) if axes and len(operator.inputs) > index else None
            if tensor is not None and len(tensor.shape or ()) == len(axes):
                kernels.setdefault(tensor.start, Kernel(self.values(tensor), axes))
        return tuple(kernels.values())

    def _operators_of(self, named: NamedTensor) -> list[int]:
        """Return the indices of the operators of a layer."""
        depth = len(named.scope)
        if not depth:
            return []
        # Inner scopes follow their scope in sorted order; a linear search for each tensor took 4 s for 5,000 operators.
        start = bisect_left(self._scopes, named.scope, key=itemgetter(0))
        inside = takewhile(lambda item: item[0][:depth] == named.scope, islice(self._scopes, start, None))
        return sorted(index for _, index in inside)

    @cached_property
    def _scopes(self) -> list[tuple[Scope, int]]:
        """The scopes of the operators with the indices of those, sorted by scope."""
        return sorted((scope, index) for index, scope in self._naming.scopes.items())

    def _sign(self, operator: TFLiteOperator) -> bool | None:
        if operator.fused in {"relu", "relu6"} or operator.kind in NON_NEGATIVE:
            return False
        if operator.kind in SIGN_KEEPING:
            given = [number for number in operator.inputs if number in self.needs]
            plain = operator.kind not in {"ADD", "MUL"} or len(given) == len(operator.inputs)
            return False if plain and given and all(self.signed.get(number) is False for number in given) else None
        return True if operator.kind in {*BIAS_INPUT, "TANH", "ELU"} else None

    def _bounds(self, operator: TFLiteOperator) -> Bounds | None:
        if operator.kind in BOUNDS_KEEPING:
            # Other inputs are sizes and indices, which may depend on the model's input too.
            read = operator.inputs if operator.kind in JOINING else operator.inputs[operator.kind == "SPLIT" :][:1]
            given = {self.bounds.get(number) for number in read}
            return given.pop() if len(given) == 1 else None
        if operator.kind in CELLS:
            return None
        return BOUNDS.get(operator.fused or ACTIVATIONS.get(operator.kind, ""))

    def _input_axes(self, number: int) -> Axes:
        rank = len(self.shape(number) or ())
        kinds = {operator.kind for operator in self.readers(number)}
        if rank == len(TOKENS) and kinds & set(TABLES):
            return TOKENS
        turned = [self._order(operator) for operator in self.readers(number) if operator.kind == "TRANSPOSE"]
        if turned == [(0, 2, 3, 1)]:
            return ("batch", "channel", "row", "column")
        return self._default(number, rank)

    def readers(self, number: int) -> list[TFLiteOperator]:
        """Return the operators that read a tensor, directly or through type conversions."""
        operators = []
        numbers = [number]
        for tensor in numbers:
            for operator in self._readers.get(tensor, ()):
                if operator.kind in CONVERSIONS or operator.kind == "CAST":
                    numbers += operator.outputs  # the loop goes on with them; a tensor is made once
                else:
                    operators.append(operator)
        return operators

    def direct_readers(self, number: int) -> list[TFLiteOperator]:
        """Return the operators that read a tensor itself."""
        return self._readers.get(number, [])

    def _default(self, number: int, rank: int) -> Axes:
        found = DEFAULT_AXES.get(rank) or ("batch", *(f"axis{index}" for index in range(1, rank)))
        over_steps = not self.has_batch(number) and "plane" in found
        return tuple("step" if axis == "plane" and over_steps else axis for axis in found)

    def _axes(self, operator: TFLiteOperator, number: int) -> Axes:
        """Return the names of the axes of an output of an operator."""
        tensor = self._tensors[number]
        rank = len(self.shape(number) or ())
        source = next((index for index in operator.inputs if index in self.needs), None)
        given = self.axes.get(source, ()) if source is not None else ()
        if operator.kind == "TRANSPOSE" and self.has_batch(number) and len(given) == rank:
            order = self._order(operator)
            if len(order) == rank and order[0] == 0:
                return tuple(given[index] for index in order)
        if number in self._attention.scores and rank in {SEQUENCE_RANK, IMAGE_RANK}:
            return score_axes(rank)
        if number in self._attention.weighted and rank == IMAGE_RANK:
            return ("batch", "head", "step", "unit")
        split = rank == IMAGE_RANK and given == DEFAULT_AXES[SEQUENCE_RANK]
        if operator.kind == "RESHAPE" and split and number in self._attention.operands:
            return ("batch", "step", "head", "unit")
        same = source is not None and self._tensors[source].shape == tensor.shape
        if same and operator.kind not in SPATIAL and len(given) == rank:
            return given
        return self._default(number, rank)

    def _order(self, operator: TFLiteOperator) -> tuple[int, ...]:
        tensor = self.constant(operator.inputs[1]) if len(operator.inputs) > 1 else None
        return () if tensor is None else tuple(int(index) for index in self.values(tensor).ravel())


def batch_size(model: TFLiteModel) -> int:
    """Return the batch size of the graph: the first axis on which all inputs and outputs agree, else 1."""
    shapes = [model.graph.tensors[number].shape for number in (*model.graph.inputs, *model.graph.outputs)]
    sizes = {shape[0] if shape else 0 for shape in shapes}
    size = sizes.pop() if len(sizes) == MAX_WEIGHTED else MAX_WEIGHTED
    return size or MAX_WEIGHTED


def _is_weight(tensor: TFLiteTensor) -> bool:
    """Return True if a constant is a weight: real numbers, and more than one of them."""
    real = tensor.dtype.startswith(("float", "bfloat")) or tensor.quantization is not None
    return real and math.prod(tensor.shape or ()) > MAX_WEIGHTED


def _camel(kind: str) -> str:
    return "".join(part.capitalize() for part in kind.split("_"))
