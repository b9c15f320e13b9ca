"""Find the operations of the original model that each tensor of a TFLite graph stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.formats.tflite.op_names import CORE, NORM, OpNameComponent, last_operation, parse_components
from actviz.formats.tflite.repeated_calls import Scope, rename_scopes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from actviz.gate.tflite import TFLiteGraph, TFLiteModel, TFLiteOperator

CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
# The index of the bias among the inputs of an operator into which the converter folds others.
BIAS_INPUT = {
    "CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "CONV_3D": 2, "TRANSPOSE_CONV": 3, "CONV_3D_TRANSPOSE": 3,
}  # fmt: skip
NON_NUMERIC = frozenset({"resource", "variant"})
# Unnamed outputs in a conversion of an export of Keras 3.
_SECOND_CALL = re.compile(r"StatefulPartitionedCall_\d+:\d+")


@dataclass(slots=True)
class ProducedTensor:
    """One tensor that an operator produces, and the operations that its name lists.

    `index` is that of the operator; `last` is the operation whose value the tensor is, `proven`
    whether the name proves it.
    """

    tensor: int
    index: int
    operator: TFLiteOperator
    components: tuple[OpNameComponent, ...]
    last: OpNameComponent | None
    proven: bool


def conversion_sources(graph: TFLiteGraph) -> dict[int, int]:
    """Return for every tensor that is a type conversion the tensor that it converts."""
    sources: dict[int, int] = {}
    for operator in graph.operators:
        if operator.kind in CONVERSIONS and operator.inputs and operator.outputs:
            source = operator.inputs[0]
            sources[operator.outputs[0]] = sources.get(source, source)
    return sources


def live_tensors(graph: TFLiteGraph, excluded: Collection[str] = ()) -> set[int]:
    """Return the tensors that depend on an input, other than through operators of the `excluded` types."""
    live = set(graph.inputs)
    for operator in graph.operators:
        if operator.kind not in excluded and live & set(operator.inputs):
            live |= set(operator.outputs)
    return live


class TensorOrigins:
    """The tensors of a graph with the operations that their names list.

    `produced` are the tensors with values, in the order of the operators; `root` is the scope of
    the whole model; `live` are the tensors whose values, not only shapes, depend on an input.
    """

    def __init__(self, model: TFLiteModel) -> None:
        self._model = model
        self.graph = model.graph
        self._tensors = model.graph.tensors
        self._texts = {tensor.name for tensor in self._tensors}
        self.sources = conversion_sources(model.graph)
        self.live = live_tensors(model.graph, {"SHAPE"})
        self.root: Scope = ()
        self._renamed: dict[Scope, Scope] = {}
        self.exported_by_keras = False
        self._find_scopes()
        self.produced = list(self._every_tensor())

    def source(self, number: int) -> int:
        """Return the tensor that a type conversion converts, or the tensor itself."""
        return self.sources.get(number, number)

    def constant(self, number: int) -> bool:
        """Return True if a tensor is a constant, or a type conversion of one."""
        return number >= 0 and self._tensors[self.source(number)].constant

    def _find_scopes(self) -> None:
        """Find the scope of the whole model, and the names that scopes have in the model."""
        numbers = set(self.live)
        weights: dict[Scope, set[int]] = {}
        for operator in self.graph.operators:
            if operator.kind in BIAS_INPUT and operator.outputs:
                constants = {self.source(number) for number in operator.inputs if self.constant(number)}
                numbers |= constants
                kernels = {number for number in constants if len(self._tensors[number].shape or ()) > 1}
                for component in parse_components(self._tensors[operator.outputs[0]].name):
                    for scope in enclosing_scopes(component.scope):
                        weights.setdefault(scope, set()).update(kernels)
        scopes = [
            component.scope
            for number in sorted(numbers - set(self.graph.inputs))
            for component in parse_components(self._tensors[number].name)
            if component.rank
        ]
        ends = [self._tensors[number].name for number in self.graph.outputs]
        self.exported_by_keras = any(_SECOND_CALL.match(name) for name in ends)
        outputs = set(self._model.outputs.values())
        self._renamed = rename_scopes(
            scopes,
            outputs,
            {scope: frozenset(kernels) for scope, kernels in weights.items()},
            numbered=self.exported_by_keras,
        )
        filled = [scope for scope in scopes if scope]
        first = {scope[0] for scope in filled}
        if len(first) == 1 and len(filled) == len(scopes) and any(len(scope) > 1 for scope in scopes):
            self.root = self._in_model((first.pop(),))

    def _in_model(self, scope: Scope) -> Scope:
        """Return a scope with the names of the model."""
        for depth in range(len(scope), 0, -1):
            if scope[:depth] in self._renamed:
                return (*self._renamed[scope[:depth]], *scope[depth:])
        return scope

    def components(self, number: int) -> tuple[OpNameComponent, ...]:
        """Return the operations in the name of a tensor, relative to the scope of the model."""
        text = self._tensors[number].name
        plain = re.sub(r"\d+$", "", text)
        result = []
        for component in parse_components(plain if plain != text and plain in self._texts else text):
            scope = self._in_model(component.scope)
            inner = scope[len(self.root) :] if scope[: len(self.root)] == self.root else scope
            result.append(OpNameComponent(inner, component.leaf, component.rank))
        return tuple(result)

    def _every_tensor(self) -> Iterator[ProducedTensor]:
        outputs = {self.sources[end]: end for end in self.graph.outputs if end in self.sources}
        for index, operator in enumerate(self.graph.operators):
            if operator.kind in CONVERSIONS:
                continue
            for number in operator.outputs:
                if number in self.live and self._tensors[number].dtype not in NON_NUMERIC:
                    shown = outputs.get(number, number)  # a converted output has the name of the output
                    names = self.components(number) or self.components(shown)
                    folding = operator.kind in BIAS_INPUT
                    last, proven = (last_operation(names, operator.fused) if folding or operator.fused else None) or (
                        (names[0], True) if names else (None, False)
                    )
                    if last is not None and folding:
                        last, proven = self._folded(operator, names, last, proven=proven)
                    yield ProducedTensor(shown, index, operator, names, last, proven)

    def _folded(
        self, operator: TFLiteOperator, names: tuple[OpNameComponent, ...], last: OpNameComponent, *, proven: bool
    ) -> tuple[OpNameComponent, bool]:
        """Return the last operation of an operator into which others were folded, and whether that is proven.

        A normalization may come before or after a Dense, and the order in the name does not show
        which. If it comes after, its offset, and so its name, is in the bias.
        """
        if last.rank == NORM and len({item.layer for item in names if item.rank}) > 1:
            bias = self._bias_of(operator) or ()
            if any(item.rank == NORM and item.layer == last.layer for item in bias):
                return last, proven
            last = max((item for item in names if item.rank < NORM), key=lambda item: item.rank, default=last)
            plain = bool(bias) and all(item.layer == last.layer for item in bias if item.rank)
            return last, proven and plain
        if last.rank < NORM:
            return last, proven and self.has_own_bias(operator, last)
        return last, proven

    def _bias_of(self, operator: TFLiteOperator) -> tuple[OpNameComponent, ...] | None:
        """Return the operations in the name of an operator's bias, ``None`` if it has no bias."""
        position = BIAS_INPUT[operator.kind]
        bias = operator.inputs[position] if position < len(operator.inputs) else -1
        return None if bias < 0 else self.components(self.source(bias))

    def has_own_bias(self, operator: TFLiteOperator, last: OpNameComponent) -> bool:
        """Return True if the bias of an operator is known to be that of the layer itself.

        A batch normalization is folded into kernel and bias; the bias then has the name of that
        layer, or none.
        """
        bias = self._bias_of(operator)
        names = [item for item in bias or () if item.rank != 0]
        return bias is None or (bool(names) and all(item.layer == last.layer and item.rank != NORM for item in names))

    def owner(self, operator: TFLiteOperator) -> Scope | None:
        """Return the layer whose kernel an operator uses, ``None`` if there is none or it has no name."""
        if operator.kind not in BIAS_INPUT:
            return None
        for number in operator.inputs:
            if self.constant(number):
                names = self.components(self.source(number))
                weighted = [component for component in names if component.rank >= CORE and component.layer]
                if weighted:  # the name of a normalization folded into the kernel may come first
                    return min(weighted, key=lambda component: component.rank).layer
        return None


def enclosing_scopes(scope: Scope) -> Iterator[Scope]:
    """Yield a scope and those around it."""
    for depth in range(len(scope), 0, -1):
        yield scope[:depth]
