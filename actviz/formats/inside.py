"""Layers inside layers: what wrappers, custom layers and subclassed models compute within.

Where a graph is in the file, every call is a node of it. Inside a layer whose code alone
knows what it calls, one forward pass is recorded: each inner layer's `call` is wrapped while
the outer one runs, and a stack of the calls under way gives every output its address.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self

from actviz.formats.graph import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Step = tuple[str, int]
"""An inner layer's path in its parent, and the number of its call there."""

# Attributes in which Keras itself lists layers that others hold by name.
LISTS = frozenset({"_layers", "_flat_layers"})


class Recorder:
    """Records the outputs of some layers, and of all inside them, while the ``with`` block runs.

    `inside` holds the layers with their paths, as `children` gives them. After the block,
    `outputs` maps addresses (``blocks/0/conv``, and ``conv#1`` for the second call of what is
    called more than once) to what each call gave.
    """

    def __init__(self, inside: Iterable[tuple[str, Any]]) -> None:
        self._inside = list(inside)
        self._stack: list[tuple[Step, ...]] = [()]
        self._counts: dict[tuple[tuple[Step, ...], str], int] = {}
        self._found: list[tuple[tuple[Step, ...], Any, Any]] = []
        self._wrapped: list[Any] = []

    def __enter__(self) -> Self:
        """Wrap the `call` of every inner layer."""
        seen: set[int] = set()
        todo = list(self._inside)
        while todo:
            path, layer = todo.pop(0)
            if id(layer) not in seen:
                seen.add(id(layer))
                self._wrap(path, layer)
                todo.extend(children(layer))
        return self

    def __exit__(self, *_: object) -> None:
        """Give every layer its own `call` back."""
        for layer in self._wrapped:
            object.__delattr__(layer, "call")

    @property
    def outputs(self) -> dict[str, Any]:
        """Return what each call gave, by address, in the order in which the calls ended."""
        return {self._address(steps): outputs for steps, _, outputs in self._found}

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

    def _wrap(self, path: str, layer: Any) -> None:
        if "call" in vars(layer):
            return
        original: Callable[..., Any] = layer.call

        @functools.wraps(original)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            outer = self._stack[-1]
            number = self._counts.get((outer, path), 0)
            self._counts[outer, path] = number + 1
            steps = (*outer, (path, number))
            self._stack.append(steps)
            try:
                outputs = original(*args, **kwargs)
            finally:
                self._stack.pop()
            self._found.append((steps, layer, outputs))
            return outputs

        object.__setattr__(layer, "call", recorded)
        self._wrapped.append(layer)


def children(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers directly inside a layer with their paths.

    Those of Keras's own classes go by their names, as in a graph; those of other classes by
    their attributes (``blocks/0`` for an item of a list). Cells of recurrent layers and what
    a TimeDistributed wraps are called once a step, in loops: they have no output of their own.
    """
    from keras import Sequential, layers
    from keras.src.models.functional import Functional

    if isinstance(layer, (layers.RNN, layers.TimeDistributed)):
        return
    if isinstance(layer, Functional):
        yield from ((quoted(item.name), item) for item in layer.operations if not isinstance(item, layers.InputLayer))
    elif isinstance(layer, Sequential) or type(layer).__module__.startswith("keras."):
        yield from ((quoted(item.name), item) for item in layer._layers if not isinstance(item, layers.InputLayer))  # noqa: SLF001  (`layers` is public for models only)
    else:
        yield from _attributes(layer)


def _attributes(layer: Any) -> Iterator[tuple[str, Any]]:
    held = [(name, value) for name, value in vars(layer).items() if name not in LISTS]
    held.sort(key=lambda item: item[0].startswith("_"))  # a layer's public name is its name
    seen: set[int] = set()
    for name, value in held:
        for path, item in _layers_in(value, quoted(name)):
            if id(item) not in seen:
                seen.add(id(item))
                yield path, item
    for item in getattr(layer, "_layers", ()):
        if id(item) not in seen:
            yield quoted(item.name), item


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
        for path, child in children(parent):
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
    with Recorder([(quoted(layer.layer.name), layer.layer)]) as record:
        layer.layer(ops.reshape(inputs, (-1, *inputs.shape[2:])), **kwargs)

    def unfolded(output: Any) -> Any:
        return ops.reshape(output, (batch, steps, *output.shape[1:]))

    return {address: [unfolded(item) for item in outputs_of(found)] for address, found in record.outputs.items()}


def outputs_of(outputs: object) -> list[Any]:
    """Return the outputs of a call as a flat list."""
    if isinstance(outputs, dict):
        return [item for value in outputs.values() for item in outputs_of(value)]
    if isinstance(outputs, (list, tuple)):
        return [item for value in outputs for item in outputs_of(value)]
    return [outputs]
