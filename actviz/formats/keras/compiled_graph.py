"""The calls of a cut as one graph of TensorFlow, for runs over many inputs.

Eager calls cost Python a tenth of a millisecond each and wait for one another; a graph does
not. It is not optimised, so that its kernels are the eager ones and its numbers the same, bit
for bit: TensorFlow would otherwise fuse and reorder operations.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

# Tracing a layer takes as long as what a graph saves in some ten calls of it.
COMPILE_AFTER = 8
AS_IT_IS = {"disable_meta_optimizer": True}


def patience(steps: int) -> int:
    """Return how many batches wait for a graph of so many calls where many are known to come."""
    return 1 + steps // 40


def signature_of(batch: Mapping[str, NDArray[Any]]) -> tuple[Any, ...]:
    """Return what batches that one graph serves have in common: all but their size."""
    return tuple((name, values.shape[1:], values.dtype.str) for name, values in sorted(batch.items()))


class CompiledGraph:
    """One function of TensorFlow, called with numpy arrays.

    Parameters
    ----------
    function
        Takes tensors by input name and returns tensors by address.
    batch
        Arrays of the shapes that all later batches have, but for the first axis.
    """

    def __init__(self, function: Callable[[dict[str, Any]], dict[str, Any]], batch: Mapping[str, NDArray[Any]]) -> None:
        import tensorflow as tf

        self.signature = signature_of(batch)
        kinds = {name: tf.TensorSpec((None, *values.shape[1:]), values.dtype) for name, values in batch.items()}
        self._function = tf.function(function, input_signature=[kinds], autograph=False)

    def run(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.generic]]:
        """Compute the outputs by address; they share memory with TensorFlow's tensors."""
        import numpy as np
        import tensorflow as tf

        given = {name: tf.convert_to_tensor(values) for name, values in batch.items()}
        with _unoptimised():
            found = self._function(given)
        return {address: np.asarray(values) for address, values in found.items()}


@contextlib.contextmanager
def _unoptimised() -> Iterator[None]:
    """Switch TensorFlow's rewriting of graphs off for one call, and back as it was."""
    from tensorflow import config

    before = config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)
    config.optimizer.set_experimental_options(AS_IT_IS)
    try:
        yield
    finally:
        config.optimizer.set_experimental_options({"disable_meta_optimizer": before})
