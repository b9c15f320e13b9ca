"""Parse a Keras configuration into a graph of calls; nested models are inlined at each of their calls."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

from actviz.errors import LimitError, ModelError, escape
from actviz.formats.keras.graph import (
    CUSTOM_MODULE,
    FLAT,
    FROM_ONE,
    ROOT,
    CallNode,
    Json,
    LayerGraph,
    LayerNode,
    ModelCallOutputs,
    TensorRef,
    histories,
    history_list,
    is_model,
    is_operation,
    join,
    layer_name,
    quoted,
    refs,
)
from actviz.gate import MAXIMUM_LAYERS, first_repeated, well_formed

_PendingCall = tuple[Json, int, int | None, int]
"""A call to add: the layer, the index of the call, and the layer's index and position in the configuration."""
MAXIMUM_RANK = 32
MAXIMUM_SIZE = 1 << 40
DTYPES = frozenset(
    {"bfloat16", "bool", "complex64", "complex128", "string", "float8_e4m3fn", "float8_e5m2"}
    | {f"float{bits}" for bits in (16, 32, 64)}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (4, 8, 16, 32, 64)}
)
"""The dtypes of Keras tensors."""
_LOOP_MESSAGE = "{file}: the calls of this model form a loop or use a layer that is not in the file."


def parse_graph(model: Json, file: str) -> LayerGraph:
    """Return the graph of a canonical configuration.

    Raises
    ------
    ModelError
        When it is not the configuration of a Functional or Sequential model, or when its
        calls form a cycle or refer to layers that do not exist.
    LimitError
        When there are more than `MAXIMUM_LAYERS` calls, with nested models counted at each call.
    """
    if model.get("module") == CUSTOM_MODULE:
        return _subclassed_graph(model)
    if not is_model(model):
        kind = escape(str(model.get("class_name")), 80)
        message = f'{file}: the file holds a "{kind}", whose layers are only known to its own Python code; a Functional or Sequential model was expected.'
        raise ModelError(message)
    try:
        with well_formed(file):
            graph = LayerGraph(name=str(model["config"].get("name", "model")))
            graph.models[""] = (model, "", 0)
            graph.outputs = _GraphBuilder(graph, file).expand(model, "", "", None)
    except _PendingTensorError:
        raise ModelError(_LOOP_MESSAGE.format(file=file)) from None
    return graph


def _subclassed_graph(model: Json) -> LayerGraph:
    """Return the graph of a subclassed model: its inputs and one call of the whole model."""
    config = model.get("config")
    name = str((config.get("name") if isinstance(config, dict) else None) or model["class_name"])
    graph = LayerGraph(name=name)
    graph.models[""] = (model, "", 0)
    built = model.get("build_config")
    built = built if isinstance(built, dict) else {}
    arguments = _add_built_inputs(graph, built.get("input_shape") or built.get("shapes_dict"), "input")
    key = quoted(name)
    graph.entries[key] = LayerNode(
        key, name, str(model["class_name"]), CUSTOM_MODULE, config or {}, None, "", ROOT, str(model["registered_name"])
    )
    graph.nodes.append(CallNode(key, key, [arguments], {}))
    graph.outputs = [TensorRef(len(graph.nodes) - 1, 0)]
    return graph


def _is_shape(shape: Any) -> bool:
    """Return True for a list of sizes, ``None`` for unknown ones, of at most `MAXIMUM_RANK` axes."""
    if not isinstance(shape, (list, tuple)) or len(shape) > MAXIMUM_RANK:
        return False
    return all(size is None or (type(size) is int and 0 <= size < MAXIMUM_SIZE) for size in shape)


def _add_built_inputs(graph: LayerGraph, shape: Any, name: str) -> Any:
    """Add the inputs of a built model by their shapes, and return their tensors in the structure of its argument."""
    if isinstance(shape, dict):
        return {key: _add_built_inputs(graph, item, str(key)) for key, item in shape.items()}
    if isinstance(shape, list) and shape and isinstance(shape[0], (list, dict)):
        return [_add_built_inputs(graph, item, f"{name}_{number}") for number, item in enumerate(shape)]
    sizes: list[int | None] | None = None
    if shape and _is_shape(shape):
        sizes = [None, *shape[1:]]
    config = {"name": name, "batch_shape": sizes, "dtype": "float32"}
    key = quoted(name)
    graph.entries[key] = LayerNode(key, name, "InputLayer", "keras.layers", config, None, "", ROOT)
    graph.nodes.append(CallNode(key, key, [], {}))
    ref = TensorRef(len(graph.nodes) - 1, 0)
    graph.inputs.append(ref.node)
    if sizes is not None:
        graph.shapes[ref] = (tuple(sizes), "float32")
    return ref


@dataclass(slots=True)
class _GraphBuilder:
    graph: LayerGraph
    file: str
    models: int = 0

    def expand(self, model: Json, key: str, address: str, arguments: list[TensorRef] | None) -> list[TensorRef]:
        """Add the calls of one call of `model` and return its outputs."""
        self.models += 1
        self._check_count()
        repeated = first_repeated(layer_name(layer) for layer in model["config"]["layers"])
        if repeated is not None:
            message = f'{self.file}: two layers of one model are called "{escape(repeated, 80)}", so that it is not sure whose the weights are; the file is damaged.'
            raise ModelError(message)
        if model["class_name"] == "Sequential":
            return self._sequential(model, key, address, arguments)
        return self._functional(model, key, address, arguments)

    def _sequential(self, model: Json, key: str, address: str, arguments: list[TensorRef] | None) -> list[TensorRef]:
        current = arguments
        index = 0
        for position, layer in enumerate(model["config"]["layers"]):
            if layer["class_name"] == "InputLayer":
                current = [self._input(layer, key, address, current, None, position)]
                continue
            if current is None and is_model(layer):
                current = self._leading(layer, (key, position), address, flat=bool(model["config"].get(FLAT)))
                index += 1
                continue
            if current is None:
                message = f"{self.file}: this Sequential model was saved before it knew its input shape; build or call it once and save it again."
                raise ModelError(message)
            own_index = None if key else index
            key_and_address = (join(key, layer_name(layer)), join(address, layer_name(layer)))
            current = self._call(layer, key_and_address, own_index, (key, position), (self._single(current), {}))
            index += 1
        if current is None:
            message = f"{self.file}: this Sequential model holds no layers."
            raise ModelError(message)
        return current

    def _leading(self, layer: Json, owner: tuple[str, int], address: str, *, flat: bool) -> list[TensorRef]:
        """Add the call of the model that a Sequential starts with, whose inputs are those of the Sequential."""
        inner = join(owner[0], layer_name(layer))
        self.graph.models.setdefault(inner, (layer, *owner))
        called = join(address, layer_name(layer))
        outputs = self.expand(layer, inner, address if flat else called, None)
        self.graph.results[called] = ModelCallOutputs(
            layer_name(layer), inner, str(layer["class_name"]), None if owner[0] else 0, outputs, len(self.graph.nodes)
        )
        return outputs

    @staticmethod
    def _single(tensors: list[TensorRef]) -> list[Any]:
        return [tensors[0] if len(tensors) == 1 else list(tensors)]

    def _functional(self, model: Json, key: str, address: str, arguments: list[TensorRef] | None) -> list[TensorRef]:
        config = model["config"]
        layers = config["layers"]
        produced: dict[tuple[str, int], list[TensorRef] | int] = {}
        inputs = [name for name, _, _ in history_list(config["input_layers"])]
        index = 0
        pending: list[_PendingCall] = []
        for position, layer in enumerate(layers):
            operation = is_operation(layer.get("module"))
            own_index = None if key or operation else index
            index += not operation
            name = layer_name(layer)
            if layer["class_name"] == "InputLayer":
                given = None
                if arguments is not None and name in inputs:
                    given = [arguments[inputs.index(name)]]
                produced[name, 0] = [self._input(layer, key, address, given, own_index, position)]
            else:
                pending += [(layer, call, own_index, position) for call in range(len(layer["inbound_nodes"]))]
        offsets, of_outputs = _call_offsets(model)
        self._in_order(pending, (key, address), produced, offsets)
        return [self._tensor(history, produced, of_outputs) for history in history_list(config["output_layers"])]

    def _in_order(
        self,
        pending: list[_PendingCall],
        model: tuple[str, str],
        produced: dict[tuple[str, int], Any],
        offsets: dict[str, int],
    ) -> None:
        """Add calls in rounds over the order of the file, each in the first round in which its tensors exist.

        A call waits for the first tensor that is missing, so that there is at most one attempt
        for each of its tensors, whatever the order of the file.
        """
        key, address = model
        todo = [(0, number) for number in range(len(pending))]
        waiting: dict[tuple[str, int], list[int]] = {}
        while todo:
            round_number, number = heapq.heappop(todo)
            layer, call, own_index, position = pending[number]
            node = layer["inbound_nodes"][call]
            try:
                args = self._resolve(node["args"], produced, offsets)
                kwargs = self._resolve(node["kwargs"], produced, offsets)
            except _PendingTensorError as lacking:
                waiting.setdefault(lacking.call, []).append(number)
                continue
            name = layer_name(layer)
            many = len(layer["inbound_nodes"]) > 1
            key_and_address = (join(key, name), join(address, name) + (f"#{call}" if many else ""))
            produced[name, call] = self._call(layer, key_and_address, own_index, (key, position), (args, kwargs))
            for waiting_call in waiting.pop((name, call), ()):
                heapq.heappush(todo, (round_number + (waiting_call < number), waiting_call))
        if waiting:
            raise ModelError(_LOOP_MESSAGE.format(file=self.file))

    def _check_count(self) -> None:
        """Raise LimitError for too many calls: shared nested models can reach billions in a small file."""
        if max(self.models, len(self.graph.nodes)) > MAXIMUM_LAYERS:
            message = f"{self.file}: the model has more than {MAXIMUM_LAYERS:,} calls of layers; only smaller ones are opened."
            raise LimitError(message)

    def _input(  # noqa: PLR0913  (all of them describe one layer)
        self, layer: Json, key: str, address: str, given: list[TensorRef] | None, index: int | None, position: int
    ) -> TensorRef:
        name = layer_name(layer)
        entry = join(key, name)
        if given is not None:
            self.graph.arguments[join(address, name)] = ModelCallOutputs(
                name, entry, "InputLayer", index, given, len(self.graph.nodes)
            )
            return given[0]
        config = layer["config"]
        self.graph.entries.setdefault(
            entry, LayerNode(entry, name, "InputLayer", "keras.layers", config, index, key, position)
        )
        self.graph.nodes.append(CallNode(join(address, name), entry, [], {}))
        number = len(self.graph.nodes) - 1
        self.graph.inputs.append(number)
        shape = config["batch_shape"]
        if not _is_shape(shape):
            message = f'{self.file}: the input "{escape(name, 80)}" has a shape that is none ({escape(str(shape), 80)}); the file is damaged, save it again.'
            raise ModelError(message)
        dtype = config.get("dtype", "float32")
        dtype = dtype if isinstance(dtype, str) else "float32"
        if dtype not in DTYPES:
            message = f'{self.file}: the input "{escape(name, 80)}" has the unknown dtype "{escape(dtype, 40)}"; the file is damaged.'
            raise ModelError(message)
        self.graph.shapes[TensorRef(number, 0)] = (tuple(shape), dtype)
        return TensorRef(number, 0)

    def _call(
        self,
        layer: Json,
        key_and_address: tuple[str, str],
        index: int | None,
        owner: tuple[str, int],
        arguments: tuple[list[Any], Json],
    ) -> list[TensorRef]:
        entry, address = key_and_address
        if is_model(layer):
            self.graph.models.setdefault(entry, (layer, *owner))
            results = self.expand(
                layer, entry, address, order_model_inputs(layer["config"].get("input_layers"), arguments)
            )
            self.graph.results[address] = ModelCallOutputs(
                layer_name(layer), entry, str(layer["class_name"]), index, results, len(self.graph.nodes)
            )
            return results
        self.graph.entries.setdefault(
            entry,
            LayerNode(
                entry,
                layer_name(layer),
                str(layer["class_name"]),
                str(layer.get("module") or ""),
                layer["config"],
                index,
                *owner,
                str(layer.get("registered_name") or ""),
            ),
        )
        self.graph.nodes.append(CallNode(address, entry, *arguments))
        self._check_count()
        return [TensorRef(len(self.graph.nodes) - 1, 0)]

    def _tensor(
        self, history: tuple[str, int, int], produced: dict[tuple[str, int], Any], offsets: dict[str, int]
    ) -> TensorRef:
        name, call, output = history
        if output < 0:
            message = f'{self.file}: the model uses output {escape(str(output), 40)} of layer "{escape(name, 80)}", which no layer has; the file is damaged.'
            raise ModelError(message)
        wanted = (name, call - offsets.get(name, 0))
        result = produced.get(wanted)
        if result is None:
            raise _PendingTensorError(wanted)
        if output < len(result) and (len(result) > 1 or output == 0):
            ref: TensorRef = result[output]
            return ref
        return TensorRef(result[0].node, output)

    def _resolve(self, value: Any, produced: dict[tuple[str, int], Any], offsets: dict[str, int]) -> Any:
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                config = value["config"]
                name, call, output = config["keras_history"]
                ref = self._tensor((name, call, output), produced, offsets)
                if config.get("shape") and _is_shape(config["shape"]) and config.get("declared", True):
                    self.graph.shapes.setdefault(ref, (tuple(config["shape"]), str(config["dtype"])))
                return ref
            return {key: self._resolve(item, produced, offsets) for key, item in value.items()}
        if isinstance(value, list):
            return [self._resolve(item, produced, offsets) for item in value]
        return value


class _PendingTensorError(Exception):
    """Raised for a tensor whose call has not been added yet."""

    def __init__(self, call: tuple[str, int]) -> None:
        super().__init__(call)
        self.call = call


def order_model_inputs(declared: Any, arguments: tuple[list[Any], Json]) -> list[TensorRef]:
    """Return the arguments of a call of a nested model in the order of its `input_layers`.

    Tensors in a dictionary are matched by key: with the model's own dictionary, else with the
    names of its inputs. A list for a model with a dictionary is in the order of the sorted keys,
    as Keras flattens dictionaries.
    """
    args, kwargs = arguments
    given = args[0] if args else kwargs.get("inputs")
    if isinstance(given, dict):
        keys = sorted(declared) if isinstance(declared, dict) else [name for name, _, _ in history_list(declared or [])]
        if all(key in given for key in keys):
            return [ref for key in keys for ref in refs(given[key])]
    return list(refs(arguments))


def _call_offsets(model: Json) -> tuple[dict[str, int], dict[str, int]]:
    """Return the offsets of call indices of nested models, in the inputs of calls and in the outputs of the model.

    Building a model is a call of its own, so Keras 1 and 2 mostly count the other calls from 1;
    if call 0 is used, from 0. Keras 3 counts from 0 in the inputs of calls and from 1 in the
    outputs, except for a Sequential.
    """
    config = model["config"]
    from_one = bool(config.get(FROM_ONE))
    by_calls: dict[str, set[int]] = {}
    by_outputs: dict[str, set[int]] = {}
    for layer in config["layers"]:
        for name, call, _ in histories(layer.get("inbound_nodes") or []):
            by_calls.setdefault(name, set()).add(call)
    for name, call, _ in history_list(config["output_layers"]):
        by_outputs.setdefault(name, set()).add(call)
    calls, outputs = {}, {}
    for layer in config["layers"]:
        name = layer_name(layer)
        if not is_model(layer):
            continue
        count = len(layer.get("inbound_nodes") or [])
        used = by_calls.get(name, set())
        calls[name] = int(bool(used) and (max(used) >= count or (from_one and 0 not in used)))
        used = by_outputs.get(name, set())
        high = bool(used) and (max(used) >= count or (layer["class_name"] != "Sequential" and 0 not in used))
        outputs[name] = max(calls[name], int(high))
    return calls, outputs
