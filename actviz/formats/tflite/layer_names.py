"""Which tensor holds the output of which layer, and what became of the other layers.

A name is given to a tensor only where the file proves that it is that layer's output. What
the converter folded together without saying so keeps the name of its operation, and the
layer is listed as gone, with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from actviz.formats.keras.graph import quoted
from actviz.formats.tflite.op_names import (
    ACTIVATION,
    BIAS,
    CORE,
    INNER_SCOPE,
    NORM,
    OpNameComponent,
    last_operation,
    parse_components,
)
from actviz.formats.tflite.repeated_calls import Scope, rename_scopes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actviz.gate.tflite import TFLiteModel, TFLiteOperator

CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
# Where the bias stands among the inputs of an operator that folds others into itself.
BIAS_INPUT = {
    "CONV_2D": 2,
    "DEPTHWISE_CONV_2D": 2,
    "FULLY_CONNECTED": 2,
    "CONV_3D": 2,
    "TRANSPOSE_CONV": 3,
    "CONV_3D_TRANSPOSE": 3,
}
LOOPS = frozenset({"WHILE"})
NON_NUMERIC = frozenset({"resource", "variant"})
# Operators that begin a layer of their own; any other may be the end of the layer before.
LAYER_STARTS = frozenset(BIAS_INPUT) | {
    "AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "CONCATENATION", "MEAN", "PAD", "PADV2", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "GATHER", "EMBEDDING_LOOKUP", "UNIDIRECTIONAL_SEQUENCE_LSTM", "WHILE",
}  # fmt: skip
_PLAIN_OUTPUT = re.compile(r"output_\d+")
# What outputs without a name of their own are called in a conversion of what Keras 3 exports.
_SECOND_CALL = re.compile(r"StatefulPartitionedCall_\d+:\d+")
# Operations that only move values: their names say where the end of a layer went.
_RESHAPING = re.compile(r"(Squeeze|Reshape|transpose|Transpose|ExpandDims|strided_slice)(_\d+)?")
# Operators on single values, which a Reshape or Transpose commutes with.
_POINTWISE = frozenset({
    "ADD", "SUB", "MUL", "DIV", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "PRELU", "ELU", "GELU", "LOGISTIC", "TANH", "HARD_SWISH",
    "EXP", "LOG", "SQRT", "RSQRT", "ABS", "NEG", "SQUARE", "POW", "MAXIMUM", "MINIMUM", "SELECT", "SELECT_V2", "FLOOR", "CAST",
})  # fmt: skip
_POINTWISE_NAME = re.compile(
    r"(?i)(mul|sub|(real|true)?div|square|r?sqrt|exp|log|pow|neg|abs|maximum|minimum|select(v2)?)(_\d+)?"
)
_SUMS = frozenset({"ADD", "SUB", "ADD_N"})
_RESHAPING_OPERATORS = frozenset({"RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS"})


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """One tensor that can be asked for: its address, its own name, its number in the graph.

    `operator` is the number of what makes it, ``None`` for an input; `scope` is the layer
    whose output it is, empty for an input or an operation inside a layer.
    """

    address: str
    name: str
    tensor: int
    operator: int | None
    scope: Scope = ()


@dataclass(frozen=True, slots=True)
class TensorNames:
    """All tensors that can be asked for, in the order of computing.

    `gone` says of addresses of layers that have no tensor of their own why; `scopes` gives
    the layer of every operator, for counting its weights; `models` are the names of the
    model and those it starts with.
    """

    tensors: tuple[NamedTensor, ...]
    gone: dict[str, str]
    scopes: dict[int, Scope]
    models: tuple[str, ...]


@dataclass(slots=True)
class _ProducedTensor:
    """One tensor that an operator makes, and what its name says."""

    tensor: int
    place: int
    operator: TFLiteOperator
    said: tuple[OpNameComponent, ...]
    last: OpNameComponent | None
    proved: bool


@dataclass(slots=True)
class _LayerOutputs:
    """What is known of each layer: the tensor that is its output, or why there is none."""

    output: dict[Scope, _ProducedTensor] = field(default_factory=dict)
    reasons: dict[Scope, tuple[str, int]] = field(default_factory=dict)


def name_tensors(model: TFLiteModel) -> TensorNames:
    """Find the tensor of every layer; see the module."""
    return _TensorNamer(model).naming()


class _TensorNamer:
    def __init__(self, model: TFLiteModel) -> None:
        self._model = model
        self._tensors = model.graph.tensors
        self._texts = {tensor.name for tensor in self._tensors}
        self._sources = self._through_conversions()
        self._shown = self._as_outputs()
        self._live = self._depending_on_inputs()
        self._root: Scope = ()
        self._renamed: dict[Scope, Scope] = {}
        self._exported_by_keras = False
        ends = (self._tensors[number].free for number in model.graph.inputs)
        self._free_batch = any(free and free[0] is None and None not in free[1:] for free in ends)
        self._find_scopes()
        self._made = list(self._every_tensor())

    def naming(self) -> TensorNames:
        layers = self._layers()
        self._settle_outputs(layers)
        named, addresses = self._addresses(layers)
        named = [self._in_reading_order(item) for item in named]
        gone = self._gone(layers, addresses)
        scopes = {item.place: item.last.layer for item in self._made if item.last is not None}
        scopes |= {item.place: owner for item in self._made if (owner := self._owner(item.operator)) is not None}
        starts = list(self._root)
        return TensorNames(tuple(named), gone, scopes, tuple(starts))

    def _through_conversions(self) -> dict[int, int]:
        """Return for every tensor that only converts another the number of that one."""
        found: dict[int, int] = {}
        for operator in self._model.graph.operators:
            if operator.kind in CONVERSIONS and operator.inputs and operator.outputs:
                source = operator.inputs[0]
                found[operator.outputs[0]] = found.get(source, source)
        return found

    def _as_outputs(self) -> dict[int, int]:
        """Return for tensors that an output only converts the number of the output."""
        return {self._sources[end]: end for end in self._model.graph.outputs if end in self._sources}

    def constant(self, number: int) -> bool:
        """Tell whether a tensor is a constant, or one in another type."""
        return number >= 0 and self._tensors[self._sources.get(number, number)].constant

    def _depending_on_inputs(self) -> set[int]:
        """Return the tensors whose values, not just sizes, depend on an input."""
        live = set(self._model.graph.inputs)
        for operator in self._model.graph.operators:
            if operator.kind != "SHAPE" and live & set(operator.inputs):
                live |= set(operator.outputs)
        return live

    def _find_scopes(self) -> None:
        """Find the scope of the whole model, and what scopes are called in it."""
        numbers = set(self._live)
        weights: dict[Scope, set[int]] = {}
        for operator in self._model.graph.operators:
            if operator.kind in BIAS_INPUT:
                held = {self._sources.get(number, number) for number in operator.inputs if self.constant(number)}
                numbers |= held
                kernels = {number for number in held if len(self._tensors[number].shape or ()) > 1}
                for component in parse_components(self._tensors[operator.outputs[0]].name):
                    for scope in _enclosing_scopes(component.scope):
                        weights.setdefault(scope, set()).update(kernels)
        said = [
            component
            for number in sorted(numbers - set(self._model.graph.inputs))
            for component in parse_components(self._tensors[number].name)
            if component.rank
        ]
        scopes = [component.scope for component in said]
        held_by = {scope: frozenset(numbers) for scope, numbers in weights.items()}
        ends = [self._tensors[number].name for number in self._model.graph.outputs]
        self._exported_by_keras = any(_SECOND_CALL.match(name) for name in ends)
        outputs = set(self._model.outputs.values())
        self._renamed = rename_scopes(scopes, outputs, held_by, numbered=self._exported_by_keras)
        filled = [scope for scope in scopes if scope]
        first = {scope[0] for scope in filled}
        if len(first) == 1 and len(filled) == len(scopes) and any(len(scope) > 1 for scope in scopes):
            self._root = self._in_model((first.pop(),))

    def _in_model(self, scope: Scope) -> Scope:
        """Return a scope as the model calls it."""
        for depth in range(len(scope), 0, -1):
            if scope[:depth] in self._renamed:
                return (*self._renamed[scope[:depth]], *scope[depth:])
        return scope

    def _said(self, number: int) -> tuple[OpNameComponent, ...]:
        """Return the operations in a tensor's name, with scopes as the model calls them."""
        text = self._tensors[number].name
        plain = re.sub(r"\d+$", "", text)
        found = parse_components(plain if plain != text and plain in self._texts else text)
        result = []
        for component in found:
            scope = self._in_model(component.scope)
            inner = scope[len(self._root) :] if scope[: len(self._root)] == self._root else scope
            result.append(OpNameComponent(inner, component.leaf, component.rank))
        return tuple(result)

    def _every_tensor(self) -> Iterator[_ProducedTensor]:
        for place, operator in enumerate(self._model.graph.operators):
            if operator.kind in CONVERSIONS:
                continue
            for number in operator.outputs:
                if number in self._live and self._tensors[number].dtype not in NON_NUMERIC:
                    shown = self._shown.get(number, number)
                    said = self._said(number) or self._said(shown)
                    found = (
                        last_operation(said, operator.fused) if operator.kind in BIAS_INPUT or operator.fused else None
                    )
                    if found is None and said:
                        found = said[0], True
                    last, proved = found or (None, False)
                    if last is not None and operator.kind in BIAS_INPUT and said:
                        last, proved = self._folded(operator, said, last, proved=proved)
                    yield _ProducedTensor(shown, place, operator, said, last, proved)

    def _folded(
        self, operator: TFLiteOperator, said: tuple[OpNameComponent, ...], last: OpNameComponent, *, proved: bool
    ) -> tuple[OpNameComponent, bool]:
        """Return the last operation of an operator that others were folded into, and whether it is proved.

        A normalization may have stood before a Dense as well as behind it, and the order in a name does
        not tell which. Behind it, its offset is in the bias, and so is its name.
        """
        if last.rank == NORM and len({item.layer for item in said if item.rank}) > 1:
            bias = self._bias_of(operator)
            if any(item.rank == NORM and item.layer == last.layer for item in bias):
                return last, proved
            last = max((item for item in said if item.rank < NORM), key=lambda item: item.rank, default=last)
            plain = bool(bias) and all(item.layer == last.layer for item in bias if item.rank)
            return last, proved and plain
        if last.rank < NORM:
            return last, proved and self._own_bias(operator, last)
        return last, proved

    def _bias_of(self, operator: TFLiteOperator) -> tuple[OpNameComponent, ...]:
        """Return what the name of an operator's bias says, nothing where there is none."""
        place = BIAS_INPUT[operator.kind]
        bias = operator.inputs[place] if place < len(operator.inputs) else -1
        return () if bias < 0 else self._said(self._sources.get(bias, bias))

    def _own_bias(self, operator: TFLiteOperator, last: OpNameComponent) -> bool:
        """Tell whether the bias of an operator is known to be the layer's own.

        Batch normalisation is folded into the kernel and the bias; the bias then has a
        name of that layer, or none.
        """
        place = BIAS_INPUT[operator.kind]
        bias = operator.inputs[place] if place < len(operator.inputs) else -1
        if bias < 0:
            return True
        said = [item for item in self._said(self._sources.get(bias, bias)) if item.rank != 0]
        return bool(said) and all(item.layer == last.layer and item.rank != NORM for item in said)

    def _owner(self, operator: TFLiteOperator) -> Scope | None:
        """Return the layer whose kernel an operator uses."""
        if operator.kind not in BIAS_INPUT:
            return None
        for number in operator.inputs:
            if self.constant(number):
                said = self._said(self._sources.get(number, number))
                weighted = [component for component in said if component.rank >= CORE and component.layer]
                if weighted:  # the name of a normalization that was folded into the kernel may come first
                    return min(weighted, key=lambda component: component.rank).layer
        return None

    def _layers(self) -> _LayerOutputs:
        """Take the last tensor of each scope for its output, unless something contradicts."""
        layers = _LayerOutputs()
        for item in self._made:
            if item.last is None:
                continue
            for scope in _enclosing_scopes(item.last.layer):
                layers.output[scope] = item
                layers.reasons.pop(scope, None)
                if not item.proved:
                    layers.reasons[scope] = ("folded", item.tensor)
        for item in self._made:
            own = set() if item.last is None else set(_enclosing_scopes(item.last.layer))
            for component in item.said:
                for scope in _enclosing_scopes(component.layer) if component.rank else ():
                    held = layers.output.get(scope)
                    if held is None or scope in own or held.place >= item.place:
                        continue
                    if not _is_separate_normalization(component, item, held):
                        layers.reasons[scope] = ("fused", item.tensor)
        self._find_moved_ends(layers)
        return layers

    def _find_moved_ends(self, layers: _LayerOutputs) -> None:
        """Mark layers whose last operations the converter moved behind those of other layers.

        A Squeeze or a Transpose commutes with what works on single values, so it may be found later,
        under the name of another layer: what is left of its own layer then has another shape.
        """
        readers: dict[int, list[_ProducedTensor]] = {}
        for item in self._made:
            for number in item.operator.inputs:
                readers.setdefault(number, []).append(item)
        moved: dict[Scope, _ProducedTensor] = {}
        for item in self._made:
            for component in item.said:
                if component.layer and _RESHAPING.fullmatch(component.leaf):
                    moved[component.layer] = item
        for number, items in readers.items():
            said = self._said(number) if self.constant(number) else ()
            if len(said) == 1 and all(item.operator.kind in _RESHAPING_OPERATORS for item in items):
                moved[said[0].layer] = items[-1]
        for scope, item in moved.items():
            held = layers.output.get(scope)
            own = () if item.last is None else item.last.layer
            if held is not None and held.place < item.place and own[: len(scope)] != scope:
                for outer in _enclosing_scopes(scope):
                    if layers.output.get(outer) is held:
                        layers.reasons[outer] = ("fused", item.tensor)
        self._find_shapes_after(layers)
        self._find_folded_ends(layers)
        for scope, held in layers.output.items():
            if held.operator.kind in LOOPS and held.last is not None and scope == held.last.layer:
                layers.reasons.setdefault(scope, ("loop", held.tensor))
            free = self._tensors[held.tensor].free
            if self._free_batch and free and free[0] is not None and None in free[1:]:
                layers.reasons.setdefault(scope, ("folded", held.tensor))

    def _find_shapes_after(self, layers: _LayerOutputs) -> None:
        """Mark layers before a Reshape or Transpose without a name of its own, single values between or not.

        The converter moves those behind operations on single values, under the name of one of them.
        """
        makers = {number: operator for operator in self._model.graph.operators for number in operator.outputs}
        for item in self._made:
            moved = item.last is None or item.last.rank >= BIAS or _POINTWISE_NAME.fullmatch(item.last.leaf)
            named = any(_RESHAPING.fullmatch(component.leaf) for component in item.said)
            if item.operator.kind not in _RESHAPING_OPERATORS or named or not moved:
                continue
            chain, todo = set[int](), [item.operator.inputs[0]]
            while todo:
                number = todo.pop()
                maker = makers.get(number)
                if number in chain or number not in self._live:
                    continue
                chain.add(number)
                if maker is not None and (maker.kind in _POINTWISE or maker.kind in CONVERSIONS):
                    todo += maker.inputs
            own = () if item.last is None else item.last.layer
            for scope, held in layers.output.items():
                if own[: len(scope)] != scope and chain & {held.tensor, *held.operator.outputs}:
                    layers.reasons.setdefault(scope, ("doubt", item.tensor))

    def _find_folded_ends(self, layers: _LayerOutputs) -> None:
        """Mark layers whose last factor may be in the kernel behind them, such as the half of an Average.

        A kernel that nothing was folded into has the name of its own operation alone; one that carries
        the name of the whole layer was multiplied with something, by what came before or behind.
        """
        for operator in self._model.graph.operators:
            if operator.kind not in BIAS_INPUT:
                continue
            kernels = [number for number in operator.inputs if self.constant(number)][:1]
            said = [item for number in kernels for item in self._said(self._sources.get(number, number)) if item.rank]
            if len(said) > 1 and len({item.layer for item in said}) == 1:
                for scope, held in layers.output.items():
                    if held.operator.kind in _SUMS and set(held.operator.outputs) & set(operator.inputs):
                        layers.reasons.setdefault(scope, ("doubt", held.tensor))

    def _settle_outputs(self, layers: _LayerOutputs) -> None:
        """Find whose values the outputs of the graph are, whose own names are lost."""
        for item in self._made:
            if item.last is not None or item.tensor not in self._model.graph.outputs:
                continue
            name = self._model.outputs.get(item.tensor, "")
            # Keras 3 names outputs by the keys of a dictionary, not by layers.
            if name and not _PLAIN_OUTPUT.fullmatch(name) and not self._exported_by_keras:
                layers.output[name,] = item
                layers.reasons.pop((name,), None)
                continue
            owner = self._owner(item.operator)
            if owner is not None:
                whole = self._own_bias(item.operator, OpNameComponent(owner, "", CORE)) and not item.operator.fused
                for scope in _enclosing_scopes(owner) if whole else ():
                    layers.output[scope] = item
                    layers.reasons.pop(scope, None)
                if not whole:
                    layers.output.setdefault(owner, item)
                    layers.reasons[owner] = ("fused", item.tensor)
            if item.operator.kind not in LAYER_STARTS:
                self._doubt(layers, item)

    def _doubt(self, layers: _LayerOutputs, item: _ProducedTensor) -> None:
        """Mark the layers before an operator without a name: it may be their own end."""
        before = {self._sources.get(number, number) for number in item.operator.inputs}
        before |= set(item.operator.inputs)
        for scope, held in layers.output.items():
            if held is not item and before & {held.tensor, *held.operator.outputs}:
                layers.reasons[scope] = ("doubt", item.tensor)

    def _addresses(self, layers: _LayerOutputs) -> tuple[list[NamedTensor], dict[int, str]]:
        """Give every tensor its addresses: those of layers, else that of its operation."""
        by_tensor: dict[int, list[Scope]] = {}
        for scope, item in layers.output.items():
            if scope not in layers.reasons:
                by_tensor.setdefault(item.tensor, []).append(scope)
        named = [
            NamedTensor(quoted(self.input_name(number)), self.input_name(number), number, None)
            for number in self._model.graph.inputs
        ]
        taken = {item.address for item in named}
        first: dict[int, str] = {}
        repeated = self._repeated(layers)
        for item in self._made:
            scopes = sorted(by_tensor.pop(item.tensor, ()), key=lambda scope: (-len(scope), scope))
            found = [scope for scope in scopes if not INNER_SCOPE.fullmatch(scope[-1])]
            for scope in found or [()]:
                own = (_address(scope, repeated), scope[-1].rpartition("#")[0] or scope[-1]) if scope else None
                address, name = own or self._operation(item, taken, repeated)
                if address not in taken:
                    taken.add(address)
                    alias = self._model.outputs.get(item.tensor) if len(found) == 1 else None
                    named.append(NamedTensor(address, alias or name, item.tensor, item.place, scope))
                    first[item.tensor] = address  # the outermost of its addresses
        return named, first

    def _in_reading_order(self, named: NamedTensor) -> NamedTensor:
        """Return the backward layer of a Bidirectional with its output as the Bidirectional reverses it."""
        if not named.scope or not named.scope[-1].startswith("backward_") or named.tensor in self._model.graph.outputs:
            return named
        operators = self._model.graph.operators
        readers = [place for place, operator in enumerate(operators) if named.tensor in operator.inputs]
        if len(readers) != 1 or operators[readers[0]].kind != "REVERSE_V2":
            return named
        return replace(named, tensor=operators[readers[0]].outputs[0], operator=readers[0])

    def _repeated(self, layers: _LayerOutputs) -> set[Scope]:
        """Return the scopes of layers that are called more than once."""
        return {
            (*scope[:depth], scope[depth].rpartition("#")[0])
            for scope in layers.output
            for depth in range(len(scope))
            if "#" in scope[depth]
        }

    def _operation(self, item: _ProducedTensor, taken: set[str], repeated: set[Scope]) -> tuple[str, str]:
        """Return the address and name of an operation inside a layer, or of an output without a name."""
        if item.last is not None:
            scope, name = item.last.scope, item.last.leaf
        else:
            name = self._model.outputs.get(item.tensor) or self._number(item.tensor)
            scope = ()
        address = _address((*scope, name), repeated)
        count = 2
        while address in taken:
            address = _address((*scope, f"{name}.{count}"), repeated)
            count += 1
        return address, name

    def _number(self, tensor: int) -> str:
        ends = self._model.graph.outputs
        return f"output_{ends.index(tensor)}" if tensor in ends else f"tensor_{tensor}"

    def input_name(self, number: int) -> str:
        """Return the name of an input: the signature's, else the tensor's without decoration."""
        told = self._model.inputs.get(number)
        if told:
            return told
        text = self._tensors[number].name.removeprefix("serving_default_")
        return re.sub(r":\d+$", "", text) or f"input_{number}"

    def _gone(self, layers: _LayerOutputs, addresses: dict[int, str]) -> dict[str, str]:
        """Say of every layer that is named somewhere and has no tensor what became of it."""
        found: dict[Scope, tuple[str, int]] = {}
        for item in self._made:
            owner = self._owner(item.operator)
            if owner is not None and (owner not in layers.output or owner in layers.reasons):
                found.setdefault(owner, layers.reasons.get(owner, ("fused", item.tensor)))
        for item in self._made:
            for component in item.said:
                scope = component.layer
                if scope and component.rank and scope not in layers.output:
                    found.setdefault(scope, ("fused", item.tensor))
        found |= layers.reasons
        repeated = self._repeated(layers)
        sentences = {
            "fused": "fused into {} by the converter",
            "folded": "the converter folded what follows it into it; the two together are {}",
            "loop": "a loop carries it with its states, steps first; {} is one of what it carries",
            "doubt": "the file does not tell whether what follows, {}, is its own end",
        }
        return {
            _address(scope, repeated): sentences[why].format(addresses.get(tensor, "another layer"))
            for scope, (why, tensor) in found.items()
            if scope and not INNER_SCOPE.fullmatch(scope[-1])
        }


def _is_separate_normalization(component: OpNameComponent, item: _ProducedTensor, held: _ProducedTensor) -> bool:
    """Return True for a normalization that was folded into the next operator and is there on its own as well."""
    later = item.proved and item.last is not None and item.last.rank < NORM and item.operator.kind in BIAS_INPUT
    return component.rank == NORM and later and all(said.layer == component.layer for said in held.said if said.rank)


def _enclosing_scopes(scope: Scope) -> Iterator[Scope]:
    """Yield a scope and those around it."""
    for depth in range(len(scope), 0, -1):
        yield scope[:depth]


def _address(scope: Scope, repeated: set[Scope]) -> str:
    """Return the address of a layer; the first call of one that is called again is ``#0``."""
    parts = []
    for depth, part in enumerate(scope):
        name, mark, call = part.rpartition("#")
        if mark and call.isdigit() and name:
            parts.append(f"{quoted(name)}#{call}")
        else:
            parts.append(quoted(part) + ("#0" if (*scope[:depth], part) in repeated else ""))
    return "/".join(parts)


__all__ = ["ACTIVATION", "BIAS_INPUT", "CONVERSIONS", "NamedTensor", "TensorNames", "name_tensors"]
