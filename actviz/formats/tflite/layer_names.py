"""Give the tensors of a TFLite graph the addresses of layers, and list the layers that have no tensor.

A tensor has the address of a layer only if the file proves that it is the output of that layer.
Otherwise it has the address of its operation, and the layer is listed as removed, with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actviz.formats.keras.graph import quoted
from actviz.formats.tflite.layer_outputs import LayerOutputs
from actviz.formats.tflite.op_names import INNER_SCOPE
from actviz.formats.tflite.tensor_origins import ProducedTensor, TensorOrigins

if TYPE_CHECKING:
    from actviz.formats.tflite.repeated_calls import Scope
    from actviz.gate.tflite import TFLiteModel

REMOVAL_REASONS = {
    "fused": "fused into {} by the converter",
    "folded": "the converter folded what follows it into it; the two together are {}",
    "loop": "a loop carries it with its states, steps first; {} is one of what it carries",
    "doubt": "the file does not tell whether what follows, {}, is its own end",
}


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """One addressable tensor: its address, its name and its index in the graph.

    `operator` is the index of the operator that produces it, ``None`` for an input; `scope` is
    the layer whose output it is, empty for an input or an operation inside a layer.
    """

    address: str
    name: str
    tensor: int
    operator: int | None
    scope: Scope = ()


@dataclass(frozen=True, slots=True)
class TensorNames:
    """All addressable tensors, in the order of the operators.

    `removed` maps the addresses of layers without a tensor of their own to the reason; `scopes`
    maps the index of every operator to its layer, for counting weights; `models` is the name of
    the model, if the file has one.
    """

    tensors: tuple[NamedTensor, ...]
    removed: dict[str, str]
    scopes: dict[int, Scope]
    models: tuple[str, ...]


def name_tensors(model: TFLiteModel) -> TensorNames:
    """Find the address of every tensor."""
    return _TensorNamer(model).names()


class _TensorNamer:
    def __init__(self, model: TFLiteModel) -> None:
        self._model = model
        self._graph = model.graph
        self._origins = TensorOrigins(model)
        self._layers = LayerOutputs(model, self._origins)
        self._repeated = {
            (*scope[:depth], scope[depth].rpartition("#")[0])
            for scope in self._layers.outputs
            for depth in range(len(scope))
            if "#" in scope[depth]
        }

    def names(self) -> TensorNames:
        named, addresses = self._addresses()
        produced = self._origins.produced
        scopes = {item.index: item.last.layer for item in produced if item.last is not None}
        scopes |= {item.index: owner for item in produced if (owner := self._origins.owner(item.operator)) is not None}
        tensors = tuple(self._in_input_order(item) for item in named)
        return TensorNames(tensors, self._removed(addresses), scopes, tuple(self._origins.root))

    def _addresses(self) -> tuple[list[NamedTensor], dict[int, str]]:
        """Return all addresses, of layers or else of operations, and the outermost address of each tensor."""
        by_tensor: dict[int, list[Scope]] = {}
        for scope, item in self._layers.outputs.items():
            if scope not in self._layers.reasons:
                by_tensor.setdefault(item.tensor, []).append(scope)
        named = [
            NamedTensor(quoted(self.input_name(number)), self.input_name(number), number, None)
            for number in self._graph.inputs
        ]
        taken = {item.address for item in named}
        first: dict[int, str] = {}
        for item in self._origins.produced:
            scopes = sorted(by_tensor.pop(item.tensor, ()), key=lambda scope: (-len(scope), scope))
            layers = [scope for scope in scopes if not INNER_SCOPE.fullmatch(scope[-1])]
            for scope in layers or [()]:
                if scope:
                    address, name = _address(scope, self._repeated), scope[-1].rpartition("#")[0] or scope[-1]
                else:
                    address, name = self._operation(item, taken)
                if address not in taken:
                    taken.add(address)
                    alias = self._model.outputs.get(item.tensor) if len(layers) == 1 else None
                    named.append(NamedTensor(address, alias or name, item.tensor, item.index, scope))
                    first[item.tensor] = address  # scopes are sorted: the last is the outermost
        return named, first

    def _in_input_order(self, named: NamedTensor) -> NamedTensor:
        """Return the backward layer of a Bidirectional with its reversed output, in the step order of the input."""
        if not named.scope or not named.scope[-1].startswith("backward_") or named.tensor in self._graph.outputs:
            return named
        operators = self._graph.operators
        readers = [index for index, operator in enumerate(operators) if named.tensor in operator.inputs]
        if len(readers) != 1 or operators[readers[0]].kind != "REVERSE_V2":
            return named
        return replace(named, tensor=operators[readers[0]].outputs[0], operator=readers[0])

    def _operation(self, item: ProducedTensor, taken: set[str]) -> tuple[str, str]:
        """Return the address and name of an operation inside a layer, or of an unnamed output."""
        if item.last is not None:
            scope, name = item.last.scope, item.last.leaf
        else:
            name = self._model.outputs.get(item.tensor) or self._default_name(item.tensor)
            scope = ()
        address = _address((*scope, name), self._repeated)
        count = 2
        while address in taken:
            address = _address((*scope, f"{name}.{count}"), self._repeated)
            count += 1
        return address, name

    def _default_name(self, tensor: int) -> str:
        ends = self._graph.outputs
        return f"output_{ends.index(tensor)}" if tensor in ends else f"tensor_{tensor}"

    def input_name(self, number: int) -> str:
        """Return the name of an input in the signature, else that of its tensor without prefix and suffix."""
        if self._model.inputs.get(number):
            return self._model.inputs[number]
        text = self._graph.tensors[number].name.removeprefix("serving_default_")
        return re.sub(r":\d+$", "", text) or f"input_{number}"

    def _removed(self, addresses: dict[int, str]) -> dict[str, str]:
        """Return the reason for every layer that occurs in a name and has no tensor."""
        outputs, reasons = self._layers.outputs, self._layers.reasons
        removed: dict[Scope, tuple[str, int]] = {}
        for item in self._origins.produced:
            owner = self._origins.owner(item.operator)
            if owner is not None and (owner not in outputs or owner in reasons):
                removed.setdefault(owner, reasons.get(owner, ("fused", item.tensor)))
        for item in self._origins.produced:
            for component in item.components:
                if component.layer and component.rank and component.layer not in outputs:
                    removed.setdefault(component.layer, ("fused", item.tensor))
        return {
            _address(scope, self._repeated): REMOVAL_REASONS[reason].format(addresses.get(tensor, "another layer"))
            for scope, (reason, tensor) in (removed | reasons).items()
            if scope and not INNER_SCOPE.fullmatch(scope[-1])
        }


def _address(scope: Scope, repeated: set[Scope]) -> str:
    """Return the address of a layer; the first call of a repeated layer is ``#0``."""
    parts = []
    for depth, part in enumerate(scope):
        name, mark, call = part.rpartition("#")
        if mark and call.isdigit() and name:
            parts.append(f"{quoted(name)}#{call}")
        else:
            parts.append(quoted(part) + ("#0" if (*scope[:depth], part) in repeated else ""))
    return "/".join(parts)
