"""The same calls for many batches: traced once, then run without Keras in between.

Python and Keras cost as much as the arithmetic of a small network, and temporary tensors
are kept longer than they are needed. TensorFlow may join operations of a traced function,
so its numbers can differ from those of single calls in the last bit: it is for numbers of
many inputs, not for pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from actviz.formats.keras_runtime import Cut

# Tracing takes time for each call of a layer, so it waits the longer the more there are.
TRACED_FROM, CALLS = 2, 40


class Repeated:
    """Runs a cut, traced where that is worth it."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._seen: dict[tuple[tuple[int, ...], ...], int] = {}
        self._function: Any = None
        self._possible = cut.is_plain
        self._first = TRACED_FROM + len(cut.steps) // CALLS

    def run(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
        """Compute the wanted tensors by address; ``None`` where the cut must be run call by call."""
        shapes = tuple(batch[name].shape for name in self._cut.input_names())
        self._seen[shapes] = self._seen.get(shapes, 0) + 1
        if not self._possible or self._seen[shapes] < self._first:
            return None
        import numpy as np
        import tensorflow as tf

        if self._function is None:
            self._function = tf.function(self._cut.forward, autograph=False)
        try:
            values = self._function(self._cut.tensors(batch))
        except Exception:  # noqa: BLE001  (call by call, the cut says what is wrong)
            self._possible = False
            return None
        return {address: np.asarray(value) for address, value in values.items()}
