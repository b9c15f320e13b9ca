"""Batches one sample at a time: for state that a run changes, for random numbers, and for the same bits everywhere.

The last bits of an activation depend on how many samples are computed together (batches of 1
and 32 differ in most layers, by up to 2e-6), so what a figure shows is computed sample by
sample: then neither ``--batch-size`` nor the place at which a resumed run begins changes it.
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
"""What a sample begins with: the state that the file holds, the same and keep what is left, or what the last one left."""

MAX_SEED = (1 << 31) - 2
MAX_NAMED = 5


def batch_length(batch: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of samples of a batch of arrays ``(batch, ...)`` by input name."""
    return max((len(values) for values in batch.values() if values.ndim), default=1)


def split_batch(batch: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the samples of a batch: arrays ``(1, ...)`` by input name."""
    for number in range(batch_length(batch)):
        yield {name: values[number : number + 1] if values.ndim else values for name, values in batch.items()}


def concat_batch(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the outputs ``(1, ...)`` of single samples as one array ``(batch, ...)``.

    Outputs that have no batch axis, or another shape for each sample, make no batch: then the
    result has none of the samples, ``(0,)``, and the caller computes them one by one.
    """
    if len(parts) == 1:
        return parts[0]
    if any(not part.ndim or part.shape[0] != 1 or part.shape != parts[0].shape for part in parts):
        return np.empty((0,), parts[0].dtype)
    return np.concatenate(parts)


def sample_seed(sample: Mapping[str, NDArray[Any]]) -> int:
    """Return a seed (1 to 2**31 - 2) that follows from the values of one sample alone.

    Neither the name of the input nor its place in a run counts: the same values draw the same
    random numbers wherever they are fed.
    """
    total = hashlib.sha256()
    for name, values in sorted(sample.items()):
        total.update(f"{name}\0{values.dtype.str}{values.shape}".encode("utf-8", "surrogatepass"))
        content = (
            str(values.tolist()).encode("utf-8", "surrogatepass") if values.dtype.kind in "OU" else values.tobytes()
        )
        total.update(content)
    return 1 + int.from_bytes(total.digest()[:8], "little") % MAX_SEED


def random_note(file: str, drawn: Sequence[tuple[str, str]], fixed: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Return lines that say which operations draw random numbers, and what their seed is.

    `drawn` are names and kinds of those that take a seed from the input, `fixed` of those
    whose seed the file holds.
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
    """Return names and kinds as text, the first few of them."""
    shown = [f'"{escape(name, 80)}" ({escape(kind, 40)})' for name, kind in dict.fromkeys(items)]
    more = len(shown) - MAX_NAMED
    return ", ".join(shown[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
