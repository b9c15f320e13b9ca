"""Layers inside layers: what wrappers, custom layers and subclassed models compute within.

Where a graph is in the file, every call is a node of it. Inside a layer whose code alone
knows what it calls, one forward pass is recorded: each inner layer's `call` is wrapped while
the outer one runs, and a stack of the calls under way gives every output its address.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from actviz.formats.keras.graph import quoted
from actviz.formats.keras.wrappers import half_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Step = tuple[str, int]
"""An inner layer's path in its parent, and the number of its call there."""


class Child(NamedTuple):
    """A path, the layer there, and the numbers of its calls in the order in which they run.

    The numbers are empty where calls are numbered as they come; a graph numbers them as they
    were made, and may run them in another order. `flipped` says that the parent reverses the
    steps of what the layer gives, as Bidirectional does with its backward layer.
    """

    path: str
    layer: Any
    order: tuple[int, ...] = ()
    flipped: bool = False


# Attributes in which Keras and TensorFlow list layers that others hold by name.
LISTS = ("_layers", "_flat_layers", "_self_")


class InnerOutputRecorder:
    """Records the outputs of some layers, and of all inside them, while the ``with`` block runs.

    `inside` holds the layers with their paths, as `children` gives them. After the block,
    `outputs` maps addresses (``blocks/0/conv``, and ``conv#1`` for the second call of what is
    called more than once) to what each call gave. The backward layer of a Bidirectional gives
    its last step first; its steps are reversed here as Bidirectional itself reverses them.
    """

    def __init__(self, inside: Iterable[Child]) -> None:
        self._inside = list(inside)
        self._flipped: set[int] = set()
        self._stack: list[tuple[Step, ...]] = [()]
        self._counts: dict[tuple[tuple[Step, ...], str], int] = {}
        self._found: list[tuple[tuple[Step, ...], Any, Any]] = []
        self._wrapped: list[Any] = []

    def __enter__(self) -> Self:
        """Wrap the `call` of every inner layer."""
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
        """Give every layer its own `call` back."""
        for layer in self._wrapped:
            object.__delattr__(layer, "call")

    @property
    def outputs(self) -> dict[str, Any]:
        """Return what each call gave, by address, in the order in which the calls ended."""
        return {
            self._address(steps): _flip_outputs(outputs) if id(layer) in self._flipped else outputs
            for steps, layer, outputs in self._found
        }

    @property
    def reversed_steps(self) -> set[str]:
        """Return the addresses of the layers whose steps, as `outputs` has them, are in the reverse order of their input."""
        return {
            self._address(steps)
            for steps, layer, _ in self._found
            if runs_backwards(layer) != (id(layer) in self._flipped)
        }

    @property
    def masks(self) -> dict[str, Any]:
        """Return the mask of steps that Keras gave each first output, in the order of `outputs`, by address."""
        turned = self.reversed_steps
        found = {}
        for steps, _, outputs in self._found:
            mask = getattr(next(iter(output_list(outputs)), None), "_keras_mask", None)
            if mask is not None:
                address = self._address(steps)
                found[address] = flip_steps(mask) if address in turned else mask
        return found

    @property
    def layers(self) -> dict[str, Any]:
        """Return the layer behind each address."""
        return {self._address(steps): layer for steps, layer, _ in self._found}

    def _address(self, steps: tuple[Step, ...]) -> str:
        parts = []
        for place, (path, number) in enumerate(steps):
            many = self._counts[steps[:place], path] > 1
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

    Those of Keras's own classes go by their names, as in a graph; those of other classes by
    their attributes (``blocks/0`` for an item of a list). Cells of recurrent layers and what
    a TimeDistributed wraps are called once a step, in loops: they have no output of their own.
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
    """Return for each operation of a graph the numbers of its calls in the order in which they run."""
    by_depth = functional._nodes_by_depth  # noqa: SLF001  (Keras runs them in this order, deepest first)
    ran = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    orders: dict[int, tuple[int, ...]] = {}
    for operation in functional.operations:
        mine = [node for node in ran if node.operation is operation]
        made = [node for node in operation._inbound_nodes if node in mine]  # noqa: SLF001  (no public list of calls)
        orders[id(operation)] = tuple(made.index(node) for node in mine)
    return orders


def _attributes(layer: Any) -> Iterator[Child]:
    held = [(name, value) for name, value in vars(layer).items() if not name.startswith(LISTS)]
    held.sort(key=lambda item: item[0].startswith("_"))  # a layer's public name is its name
    seen: set[int] = set()
    for name, value in held:
        for path, item in _layers_in(value, quoted(name)):
            if id(item) not in seen:
                seen.add(id(item))
                yield Child(path, item)
    for item in getattr(layer, "_layers", ()):
        if id(item) not in seen:
            yield Child(quoted(item.name), item)


def _layers_in(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers in an attribute: itself, or items of lists and dictionaries."""
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
    """Yield every layer inside a layer by its path, however deep, each once."""
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
    """Return what the layers inside a TimeDistributed give, for all steps.

    `inputs` has the axes ``(batch, step, ...)``. Every step is one item of a longer batch for
    the inner layer, which knows nothing of steps; the outputs get the two axes back.
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

    return {address: [unfolded(item) for item in output_list(found)] for address, found in record.outputs.items()}


def runs_backwards(layer: Any) -> bool:
    """Return True if a recurrent layer gives its steps from the last to the first of its input."""
    layer = getattr(layer, "forward_layer", layer)
    return bool(getattr(layer, "go_backwards", False) and getattr(layer, "return_sequences", False))


def flip_steps(values: Any) -> Any:
    """Return a tensor ``(batch, step, ...)`` with its steps in the reverse order."""
    from keras import ops

    return ops.flip(values, axis=1)


def _flip_outputs(outputs: Any) -> Any:
    """Return what a recurrent layer gave with the steps of its first output reversed; the others are states."""
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
