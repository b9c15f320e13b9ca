"""Run batches one sample at a time: for state, for random numbers, and for reproducible bits.

The last bits of an activation depend on the batch size (batches of 1 and 32 differ in most
layers, by up to 2e-6), so figures are computed per sample: then they do not depend on
``--batch-size``, nor on the input at which an interrupted run is resumed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from actviz.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

State = Literal["file", "first", "next"]
"""The initial state of a sample; see `Network.activations`."""

MAX_SEED = (1 << 31) - 2
MAX_NAMED = 5


def batch_length(batch: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of samples in a batch of arrays ``(batch, ...)`` by input name."""
    return max((len(values) for values in batch.values() if values.ndim), default=1)


def split_batch(batch: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the samples of a batch as batches of one: arrays ``(1, ...)`` by input name."""
    for number in range(batch_length(batch)):
        yield {name: values[number : number + 1] if values.ndim else values for name, values in batch.items()}


def concat_batch(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the outputs ``(1, ...)`` of single samples as one array ``(batch, ...)``.

    Outputs without a batch axis, or with different shapes, cannot be concatenated: the result is
    then empty, ``(0,)``, and the caller computes the samples separately.
    """
    if len(parts) == 1:
        return parts[0]
    if any(not part.ndim or part.shape[0] != 1 or part.shape != parts[0].shape for part in parts):
        return np.empty((0,), parts[0].dtype)
    return np.concatenate(parts)


def sample_seed(sample: Mapping[str, NDArray[Any]]) -> int:
    """Return a seed (1 to 2**31 - 2) that only depends on the values of one sample.

    The same values get the same random numbers, whatever their file and position in a run.
    """
    total = hashlib.sha256()
    for name, values in sorted(sample.items()):
        total.update(f"{name}\0{values.dtype.str}{values.shape}".encode("utf-8", "surrogatepass"))
        texts = values.dtype.kind in "OU"
        total.update(str(values.tolist()).encode("utf-8", "surrogatepass") if texts else values.tobytes())
    return 1 + int.from_bytes(total.digest()[:8], "little") % MAX_SEED


def random_note(file: str, drawn: Sequence[tuple[str, str]], fixed: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Return notes about the operations that draw random numbers, and their seeds.

    `drawn` are names and types of operations that are seeded from the input, `fixed` of those with
    a seed in the file.
    """
    notes = []
    if drawn:
        notes.append(
            f"{file}: draws random numbers in {list_operations(drawn)}; the seed comes from the values of each input, so a rerun gives the same."
        )
    if fixed:
        notes.append(
            f"{file}: draws random numbers in {list_operations(fixed)}; each input begins with the seed that the file holds, so a rerun gives the same."
        )
    return notes


def list_operations(items: Sequence[tuple[str, str]]) -> str:
    """Return the first `MAX_NAMED` names and types as text."""
    shown = [f'"{escape(name, 80)}" ({escape(kind, 40)})' for name, kind in dict.fromkeys(items)]
    more = len(shown) - MAX_NAMED
    return ", ".join(shown[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
