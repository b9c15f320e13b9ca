"""Record the outputs of layers inside wrappers, custom layers and subclassed models.

The calls in the graph of a file are nodes. Inside a layer whose calls only its code knows, one
forward pass is recorded: the ``call`` of each inner layer is wrapped while the outer layer runs,
and the stack of active calls is the address of an output.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from actviz.formats.keras.graph import quoted
from actviz.formats.keras.wrappers import half_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Step = tuple[str, int]
"""The path of an inner layer in its parent, and the index of its call there."""


class Child(NamedTuple):
    """A path, the layer there, and the indices of its calls in the order in which they run.

    The indices are empty if calls are numbered in the order in which they run; a Functional model
    numbers them in the order of their creation. `flipped` is True if the parent reverses the
    steps of the layer's output, as Bidirectional does for its backward layer.
    """

    path: str
    layer: Any
    order: tuple[int, ...] = ()
    flipped: bool = False


# Attributes in which Keras and TensorFlow list layers that are attributes by name too.
LISTS = ("_layers", "_flat_layers", "_self_")


class InnerOutputRecorder:
    """Records the outputs of some layers, and of all layers inside them, during a ``with`` block.

    `inside` are the layers with their paths, as returned by `children`. After the block, `outputs`
    maps addresses (``blocks/0/conv``, and ``conv#1`` for the second call of a repeated layer) to
    outputs. The steps of the backward layer of a Bidirectional, which outputs its last step first,
    are reversed as in the Bidirectional itself.
    """

    def __init__(self, inside: Iterable[Child]) -> None:
        self._inside = list(inside)
        self._flipped: set[int] = set()
        self._stack: list[tuple[Step, ...]] = [()]
        self._counts: dict[tuple[tuple[Step, ...], str], int] = {}
        self._found: list[tuple[tuple[Step, ...], Any, Any]] = []
        self._wrapped: list[Any] = []

    def __enter__(self) -> Self:
        """Wrap the ``call`` of every inner layer."""
        seen: set[int] = set()
        todo = list(self._inside)
        while todo:
            path, layer, order, flipped = todo.pop(0)
            if id(layer) not in seen:
                seen.add(id(layer))
                self._wrap(path, layer, order)
                if flipped and getattr(layer, "return_sequences", False):
                    self._flipped.add(id(layer))
                todo.extend(children(layer))
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the ``call`` of every layer."""
        for layer in self._wrapped:
            object.__delattr__(layer, "call")

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs of each call by address, in the order in which the calls ended."""
        return {
            self._address(steps): _flip_outputs(outputs) if id(layer) in self._flipped else outputs
            for steps, layer, outputs in self._found
        }

    @property
    def reversed_steps(self) -> set[str]:
        """The addresses of the layers whose steps in `outputs` are in the reverse order of their input."""
        return {
            self._address(steps)
            for steps, layer, _ in self._found
            if runs_backwards(layer) != (id(layer) in self._flipped)
        }

    @property
    def masks(self) -> dict[str, Any]:
        """The Keras mask of each first output by address, with steps in the order of `outputs`."""
        is_reversed = self.reversed_steps
        masks = {}
        for steps, _, outputs in self._found:
            mask = getattr(next(iter(output_list(outputs)), None), "_keras_mask", None)
            if mask is not None:
                address = self._address(steps)
                masks[address] = flip_steps(mask) if address in is_reversed else mask
        return masks

    @property
    def layers(self) -> dict[str, Any]:
        """The layer of each address."""
        return {self._address(steps): layer for steps, layer, _ in self._found}

    def _address(self, steps: tuple[Step, ...]) -> str:
        parts = []
        for depth, (path, number) in enumerate(steps):
            many = self._counts[steps[:depth], path] > 1
            parts.append(path + (f"#{number}" if many else ""))
        return "/".join(parts)

    def _wrap(self, path: str, layer: Any, order: tuple[int, ...]) -> None:
        if "call" in vars(layer):
            return
        original: Callable[..., Any] = layer.call

        @functools.wraps(original)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            outer = self._stack[-1]
            number = self._counts.get((outer, path), 0)
            self._counts[outer, path] = number + 1
            steps = (*outer, (path, order[number] if number < len(order) else number))
            self._stack.append(steps)
            try:
                outputs = original(*args, **kwargs)
            finally:
                self._stack.pop()
            self._found.append((steps, layer, outputs))
            return outputs

        object.__setattr__(layer, "call", recorded)
        self._wrapped.append(layer)


def children(layer: Any) -> Iterator[Child]:
    """Yield the layers directly inside a layer with their paths.

    The path is the name of a layer in Keras's own classes, as in a graph, and the attribute in
    other classes (``blocks/0`` for an item of a list). Cells of recurrent layers and the layer of
    a TimeDistributed are called once per step, in a loop: they have no output of their own.
    """
    from keras import Sequential, layers
    from keras.src.models.functional import Functional

    if isinstance(layer, (layers.RNN, layers.TimeDistributed)):
        return
    if isinstance(layer, layers.Bidirectional):
        yield Child(half_name("forward", layer.forward_layer.name), layer.forward_layer)
        yield Child(half_name("backward", layer.backward_layer.name), layer.backward_layer, flipped=True)
    elif isinstance(layer, Functional):
        orders = _orders(layer)
        for item in layer.operations:
            if not isinstance(item, layers.InputLayer):
                yield Child(quoted(item.name), item, orders[id(item)])
    elif isinstance(layer, Sequential) or type(layer).__module__.startswith("keras."):
        for item in getattr(layer, "_layers", ()):
            if not isinstance(item, layers.InputLayer):
                yield Child(quoted(item.name), item)
    else:
        yield from _attributes(layer)


def _orders(functional: Any) -> dict[int, tuple[int, ...]]:
    """Return the indices of the calls of each operation of a Functional model, in the order in which they run."""
    by_depth = functional._nodes_by_depth  # noqa: SLF001  (Keras runs them in this order, deepest first)
    executed = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    orders: dict[int, tuple[int, ...]] = {}
    for operation in functional.operations:
        calls = [node for node in executed if node.operation is operation]
        created = [node for node in operation._inbound_nodes if node in calls]  # noqa: SLF001  (no public list of calls)
        orders[id(operation)] = tuple(created.index(node) for node in calls)
    return orders


def _attributes(layer: Any) -> Iterator[Child]:
    attributes = [(name, value) for name, value in vars(layer).items() if not name.startswith(LISTS)]
    attributes.sort(key=lambda item: item[0].startswith("_"))  # a layer's public name is its name
    seen: set[int] = set()
    for name, value in attributes:
        for path, item in _layers_in(value, quoted(name)):
            if id(item) not in seen:
                seen.add(id(item))
                yield Child(path, item)
    for item in getattr(layer, "_layers", ()):
        if id(item) not in seen:
            yield Child(quoted(item.name), item)


def _layers_in(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers in an attribute: the value itself, or items of lists and dictionaries."""
    from keras import layers

    if isinstance(value, layers.Layer):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _layers_in(item, f"{path}/{number}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _layers_in(item, f"{path}/{quoted(str(key))}")


def tree(layer: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every layer inside a layer at any depth with its path, each once."""
    seen = {id(layer)}
    todo = [(prefix, layer)]
    while todo:
        outer, parent = todo.pop(0)
        for path, child, *_ in children(parent):
            if id(child) not in seen:
                seen.add(id(child))
                whole = f"{outer}/{path}" if outer else path
                yield whole, child
                todo.append((whole, child))


def every_step(layer: Any, inputs: Any) -> dict[str, Any]:
    """Return the outputs of the layers inside a TimeDistributed for all steps, by address.

    `inputs` is ``(batch, step, ...)``. The inner layers run on ``(batch * step, ...)``, and the
    outputs are reshaped to ``(batch, step, ...)``.
    """
    from keras import ops

    batch, steps = ops.shape(inputs)[:2]
    kwargs = {}
    mask = getattr(inputs, "_keras_mask", None)
    if mask is not None and len(mask.shape) > 2 and layer.layer._call_has_mask_arg:  # noqa: PLR2004, SLF001  (batch and step; as TimeDistributed itself asks)
        kwargs["mask"] = ops.reshape(mask, (-1, *mask.shape[2:]))
    with InnerOutputRecorder([Child(quoted(layer.layer.name), layer.layer)]) as record:
        layer.layer(ops.reshape(inputs, (-1, *inputs.shape[2:])), **kwargs)

    def unfolded(output: Any) -> Any:
        return ops.reshape(output, (batch, steps, *output.shape[1:]))

    return {address: [unfolded(item) for item in output_list(outputs)] for address, outputs in record.outputs.items()}


def runs_backwards(layer: Any) -> bool:
    """Return True if a recurrent layer outputs its steps in the reverse order of its input."""
    layer = getattr(layer, "forward_layer", layer)
    return bool(getattr(layer, "go_backwards", False) and getattr(layer, "return_sequences", False))


def flip_steps(values: Any) -> Any:
    """Return a tensor ``(batch, step, ...)`` with its steps in the reverse order."""
    from keras import ops

    return ops.flip(values, axis=1)


def _flip_outputs(outputs: Any) -> Any:
    """Return the outputs of a recurrent layer with the steps of the first one reversed; the others are states."""
    if not isinstance(outputs, (list, tuple)):
        return flip_steps(outputs)
    sequence, *states = outputs
    return [flip_steps(sequence), *states]


def output_list(outputs: object) -> list[Any]:
    """Return the outputs of a call as a flat list, dictionaries by sorted keys as in Keras."""
    if isinstance(outputs, dict):
        return [item for key in sorted(outputs) for item in output_list(outputs[key])]
    if isinstance(outputs, (list, tuple)):
        return [item for value in outputs for item in output_list(value)]
    return [outputs]
