"""What layers keep between calls: recurrent ones saved with ``stateful=True``, and variables that custom layers change.

Keras creates the states of a recurrent layer when it is built, one row for each sequence of a
batch of fixed size, and carries them from call to call. Here each sample has to begin with
what the file holds, whatever the size of the batch: so such a layer is built as if it kept no
state, which begins each sequence of any batch with zeros, as Keras does after loading (it saves
no states). Only a stream of samples gets states, one row of them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.gate.functions import CALLS, RANDOM_CALLS, named_call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from actviz.formats.keras.graph import LayerNode


def draws(kind: str, config: dict[str, Any]) -> bool:
    """Return True if a saved call of a TensorFlow function draws random numbers."""
    if kind not in CALLS:
        return False
    name, _ = named_call(kind, config)
    return name in RANDOM_CALLS


def layers_in(layer: Any) -> Iterable[Any]:
    """Return a layer and all layers inside it; an operation has none."""
    inside = getattr(layer, "_flatten_layers", None)
    return [layer] if inside is None else list(inside())


@dataclass
class LayerState:
    """The state that the layers of one model keep.

    `stateful` are the layers that were saved with ``stateful=True``, `recurrent` those of them
    that hold states (a Bidirectional leaves that to the layers inside it), and `changing` the
    variables of custom layers with the values that the file holds.
    """

    stateful: list[Any] = field(default_factory=list)
    recurrent: list[Any] = field(default_factory=list)
    changing: list[tuple[Any, NDArray[np.generic]]] = field(default_factory=list)
    changed: bool = False

    def take(self, layer: Any) -> None:
        """Make a layer that is not built yet one that keeps no state, and remember that it did."""
        for inner in layers_in(layer):
            if getattr(inner, "stateful", False) is True:
                inner.stateful = False
                self.stateful.append(inner)
                if hasattr(inner, "_create_state_variables"):
                    # A Bidirectional may have built them already, for as many rows as the file says.
                    inner.states = inner._expected_batch_size = None  # noqa: SLF001
                    self.recurrent.append(inner)

    def watch(self, layer: Any) -> None:
        """Remember the variables that the code of a custom layer may change, as they were loaded."""
        import numpy as np

        self.changing += [(one, np.array(one.numpy())) for one in getattr(layer, "non_trainable_variables", ())]

    def reset(self) -> None:
        """Go back to what the file holds."""
        for variable, value in self.changing if self.changed else ():
            variable.assign(value)

    def look(self) -> bool:
        """Return True if a call has ever changed a variable that is watched."""
        import numpy as np

        if not self.changed:
            self.changed = any(not np.array_equal(one.numpy(), value, equal_nan=True) for one, value in self.changing)
        return self.changed

    def begin_stream(self) -> None:
        """Let recurrent layers carry their states from one call, of one sample, to the next."""
        from keras import tree

        self.reset()
        for layer in self.stateful:
            layer.stateful = True
        for layer in self.recurrent:
            if layer.states is None:
                layer._create_state_variables(1)  # noqa: SLF001  (`build` would make as many rows as the file says)
            first = tree.flatten(layer.get_initial_state(1))
            for variable, value in zip(tree.flatten(layer.states), first, strict=True):
                variable.assign(value)

    def end_stream(self) -> None:
        """Let every sample begin with what the file holds again."""
        self.reset()
        for layer in self.stateful:
            layer.stateful = False


@dataclass
class CodeRandom:
    """Seeds what code of a user, or a saved call of a TensorFlow function, draws, and notes which layers do.

    `drawn` are the addresses and classes of those that drew.
    """

    drawn: list[tuple[str, str]] = field(default_factory=list)

    @staticmethod
    def seed(seed: int) -> None:
        """Set every generator that a call without a seed of its own draws from."""
        import keras

        keras.utils.set_random_seed(seed)

    @contextlib.contextmanager
    def watching(self, entry: LayerNode, address: str, *, run: bool) -> Iterator[None]:
        """Note whether a layer draws from one of these generators during a call."""
        before = _generators() if run else None
        yield
        if run and before != _generators() and (address, entry.kind) not in self.drawn:
            self.drawn.append((address, entry.kind))


def _generators() -> tuple[Any, ...]:
    """Return what changes as soon as TensorFlow, Keras, numpy or Python draw without a seed."""
    import random

    import numpy as np
    from keras.src.backend.common import global_state
    from tensorflow.python.eager import context

    drawn = global_state.get_global_attribute("global_seed_generator")
    state = np.random.get_state()  # noqa: NPY002  (what others drew from, not what is drawn from here)
    position = (state["pos"], state["state"]["key"][0]) if isinstance(state, dict) else (state[2], state[1][0])
    keras_state = None if drawn is None else tuple(drawn.state.numpy().tolist())
    return context.context()._rng.getstate(), keras_state, position, random.getstate()  # noqa: SLF001
