"""Find the tensor that is the output of each layer, and why the other layers have none.

A layer has an output only if the file proves that a tensor is that output.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actviz.formats.tflite.op_names import BIAS, CORE, NORM, OpNameComponent
from actviz.formats.tflite.tensor_origins import BIAS_INPUT, CONVERSIONS, ProducedTensor, enclosing_scopes

if TYPE_CHECKING:
    from actviz.formats.tflite.repeated_calls import Scope
    from actviz.formats.tflite.tensor_origins import TensorOrigins
    from actviz.gate.tflite import TFLiteModel

LOOPS = frozenset({"WHILE"})
# Operators that start a layer of their own; any other may be the last operation of the layer before it.
LAYER_STARTS = frozenset(BIAS_INPUT) | {
    "AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "CONCATENATION", "MEAN", "PAD", "PADV2", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "GATHER", "EMBEDDING_LOOKUP", "UNIDIRECTIONAL_SEQUENCE_LSTM", "WHILE",
}  # fmt: skip
_PLAIN_OUTPUT = re.compile(r"output_\d+")
# Names of operations that only rearrange values: they show where the end of a layer was moved to.
_RESHAPING = re.compile(r"(Squeeze|Reshape|transpose|Transpose|ExpandDims|strided_slice)(_\d+)?")
# Pointwise operators, with which a Reshape or Transpose commutes.
_POINTWISE = frozenset({
    "ADD", "SUB", "MUL", "DIV", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "PRELU", "ELU", "GELU", "LOGISTIC", "TANH", "HARD_SWISH",
    "EXP", "LOG", "SQRT", "RSQRT", "ABS", "NEG", "SQUARE", "POW", "MAXIMUM", "MINIMUM", "SELECT", "SELECT_V2", "FLOOR", "CAST",
})  # fmt: skip
_POINTWISE_NAME = re.compile(
    r"(?i)(mul|sub|(real|true)?div|square|r?sqrt|exp|log|pow|neg|abs|maximum|minimum|select(v2)?)(_\d+)?"
)
_SUMS = frozenset({"ADD", "SUB", "ADD_N"})
_RESHAPING_OPERATORS = frozenset({"RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS"})


class LayerOutputs:
    """The output of each layer by scope, and for the layers without one the reason and a tensor that explains it.

    `outputs` holds a candidate for every layer; those in `reasons` are excluded: ``fused``,
    ``folded``, ``loop`` or ``doubt``.
    """

    def __init__(self, model: TFLiteModel, origins: TensorOrigins) -> None:
        self._model = model
        self._graph = model.graph
        self._origins = origins
        self.outputs: dict[Scope, ProducedTensor] = {}
        self.reasons: dict[Scope, tuple[str, int]] = {}
        shapes = (self._graph.tensors[number].free for number in self._graph.inputs)
        self._free_batch = any(free and free[0] is None and None not in free[1:] for free in shapes)
        self._assign_last_tensors()
        self._exclude_moved_ends()
        self._exclude_before_reshapes()
        self._exclude_folded_factors()
        self._exclude_loops()
        self._assign_graph_outputs()

    def _assign_last_tensors(self) -> None:
        """Assign to each scope the last of its tensors, and exclude scopes that were partly fused into later operators."""
        for item in self._origins.produced:
            if item.last is None:
                continue
            for scope in enclosing_scopes(item.last.layer):
                self.outputs[scope] = item
                self.reasons.pop(scope, None)
                if not item.proven:
                    self.reasons[scope] = ("folded", item.tensor)
        for item in self._origins.produced:
            own = set() if item.last is None else set(enclosing_scopes(item.last.layer))
            for component in item.components:
                for scope in enclosing_scopes(component.layer) if component.rank else ():
                    output = self.outputs.get(scope)
                    if output is None or scope in own or output.index >= item.index:
                        continue
                    if not _is_separate_normalization(component, item, output):
                        self.reasons[scope] = ("fused", item.tensor)

    def _exclude_moved_ends(self) -> None:
        """Exclude layers whose last operations the converter moved after those of other layers.

        A Squeeze or Transpose commutes with pointwise operations, so it may come later, under the
        name of another layer: the last tensor of its own layer then has another shape.
        """
        readers: dict[int, list[ProducedTensor]] = {}
        for item in self._origins.produced:
            for number in item.operator.inputs:
                readers.setdefault(number, []).append(item)
        moved: dict[Scope, ProducedTensor] = {}
        for item in self._origins.produced:
            for component in item.components:
                if component.layer and _RESHAPING.fullmatch(component.leaf):
                    moved[component.layer] = item
        for number, items in readers.items():
            names = self._origins.components(number) if self._origins.constant(number) else ()
            if len(names) == 1 and all(item.operator.kind in _RESHAPING_OPERATORS for item in items):
                moved[names[0].layer] = items[-1]
        for scope, item in moved.items():
            output = self.outputs.get(scope)
            own = () if item.last is None else item.last.layer
            if output is not None and output.index < item.index and own[: len(scope)] != scope:
                for outer in enclosing_scopes(scope):
                    if self.outputs.get(outer) is output:
                        self.reasons[outer] = ("fused", item.tensor)

    def _exclude_loops(self) -> None:
        """Exclude layers whose output is one of several loop variables, or lacks the free batch axis."""
        for scope, output in self.outputs.items():
            if output.operator.kind in LOOPS and output.last is not None and scope == output.last.layer:
                self.reasons.setdefault(scope, ("loop", output.tensor))
            free = self._graph.tensors[output.tensor].free
            if self._free_batch and free and free[0] is not None and None in free[1:]:
                self.reasons.setdefault(scope, ("folded", output.tensor))

    def _exclude_before_reshapes(self) -> None:
        """Exclude layers before an unnamed Reshape or Transpose, with or without pointwise operations in between.

        The converter moves these after pointwise operations, under the name of one of them.
        """
        makers = {number: operator for operator in self._graph.operators for number in operator.outputs}
        for item in self._origins.produced:
            moved = item.last is None or item.last.rank >= BIAS or _POINTWISE_NAME.fullmatch(item.last.leaf)
            named = any(_RESHAPING.fullmatch(component.leaf) for component in item.components)
            if item.operator.kind not in _RESHAPING_OPERATORS or named or not moved:
                continue
            chain, todo = set[int](), [item.operator.inputs[0]]
            while todo:
                number = todo.pop()
                maker = makers.get(number)
                if number in chain or number not in self._origins.live:
                    continue
                chain.add(number)
                if maker is not None and (maker.kind in _POINTWISE or maker.kind in CONVERSIONS):
                    todo += maker.inputs
            own = () if item.last is None else item.last.layer
            for scope, output in self.outputs.items():
                if own[: len(scope)] != scope and chain & {output.tensor, *output.operator.outputs}:
                    self.reasons.setdefault(scope, ("doubt", item.tensor))

    def _exclude_folded_factors(self) -> None:
        """Exclude layers whose last factor may be in the next kernel, such as the 1/2 of an Average.

        A kernel without such a factor only has the name of its own operation; one with the name of
        the whole layer was multiplied by a factor from before or after it.
        """
        for operator in self._graph.operators:
            if operator.kind not in BIAS_INPUT:
                continue
            kernels = [number for number in operator.inputs if self._origins.constant(number)][:1]
            components = (item for number in kernels for item in self._origins.components(self._origins.source(number)))
            names = [item for item in components if item.rank]
            if len(names) > 1 and len({item.layer for item in names}) == 1:
                for scope, output in self.outputs.items():
                    if output.operator.kind in _SUMS and set(output.operator.outputs) & set(operator.inputs):
                        self.reasons.setdefault(scope, ("doubt", output.tensor))

    def _assign_graph_outputs(self) -> None:
        """Find the layers of the graph's outputs, which have lost their names."""
        for item in self._origins.produced:
            if item.last is not None or item.tensor not in self._graph.outputs:
                continue
            name = self._model.outputs.get(item.tensor, "")
            # Keras 3 names outputs by the keys of a dictionary, not by layers.
            if name and not _PLAIN_OUTPUT.fullmatch(name) and not self._origins.exported_by_keras:
                self.outputs[name,] = item
                self.reasons.pop((name,), None)
                continue
            owner = self._origins.owner(item.operator)
            if owner is not None:
                whole = (
                    self._origins.has_own_bias(item.operator, OpNameComponent(owner, "", CORE))
                    and not item.operator.fused
                )
                for scope in enclosing_scopes(owner) if whole else ():
                    self.outputs[scope] = item
                    self.reasons.pop(scope, None)
                if not whole:
                    self.outputs.setdefault(owner, item)
                    self.reasons[owner] = ("fused", item.tensor)
            if item.operator.kind not in LAYER_STARTS:
                self._exclude_before(item)

    def _exclude_before(self, item: ProducedTensor) -> None:
        """Exclude the layers before an unnamed operator, which may be their last operation."""
        before = {self._origins.source(number) for number in item.operator.inputs}
        before |= set(item.operator.inputs)
        for scope, output in self.outputs.items():
            if output is not item and before & {output.tensor, *output.operator.outputs}:
                self.reasons[scope] = ("doubt", item.tensor)


def _is_separate_normalization(component: OpNameComponent, item: ProducedTensor, output: ProducedTensor) -> bool:
    """Return True for a normalization that was folded into the next operator and also has an operator of its own."""
    later = item.proven and item.last is not None and item.last.rank < NORM and item.operator.kind in BIAS_INPUT
    return (
        component.rank == NORM
        and later
        and all(name.layer == component.layer for name in output.components if name.rank)
    )
