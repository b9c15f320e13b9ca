"""Names of classes and words of inputs: read from files, and fitted to what is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actviz.errors import UsageError, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, LayerInfo, ModelFacts, Shape

UNITS, STEPS = frozenset({"unit"}), frozenset({"step", "query", "key"})


@dataclass(frozen=True, slots=True)
class LabelNames:
    """What `--labels` and `--tokens` give, and the names of their files."""

    labels: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    labels_file: str = ""
    steps_file: str = ""


def read_names_of(labels: Path | None, tokens: Path | None) -> LabelNames:
    """Read the names of classes and the words of the input, where there are files of them.

    Raises
    ------
    InputError
        When a file cannot be read or holds no names.
    """
    if labels is None and tokens is None:
        return LabelNames()
    from actviz.inputs import read_names

    return LabelNames(
        read_names(labels) if labels else (), read_names(tokens) if tokens else (), str(labels or ""), str(tokens or "")
    )


def names_for(labels: Path | None, tokens: Path | None, facts: ModelFacts) -> LabelNames:
    """Return the names that were given; without a file of labels, those that the model file holds itself.

    Raises
    ------
    InputError
        When a file cannot be read or holds no names.
    """
    names = read_names_of(labels, tokens)
    return names if labels is not None else replace(names, labels=facts.labels)


def check_names(names: LabelNames, layers: Sequence[LayerInfo], inputs: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Refuse names that fit none of the layers, as far as their sizes are known.

    Names belong to the layers that have as many units or steps. A free number of steps is
    that of an input.

    Raises
    ------
    UsageError
        Saying how many names there are and how many were expected.
    """
    free = {values.shape[1] for batch in inputs for values in batch.values() if values.ndim > 1}
    described = [(layer.axes, layer.shape) for layer in layers if layer.shape is not None]
    if len(described) < len(layers):
        return
    _check(names.labels, names.labels_file, "--labels", _sizes(described, UNITS, set()))
    _check(names.steps, names.steps_file, "--tokens", _sizes(described, STEPS, free))


def check_fits(names: LabelNames, found: Iterable[Activation]) -> None:
    """Refuse names that fit none of the outputs computed; see `check_names`."""
    described: list[tuple[Axes, Shape]] = [(item.axes, item.values.shape) for item in found]
    _check(names.labels, names.labels_file, "--labels", _sizes(described, UNITS, set()))
    _check(names.steps, names.steps_file, "--tokens", _sizes(described, STEPS, set()))


def _sizes(described: Sequence[tuple[Axes, Shape]], wanted: frozenset[str], free: set[int]) -> set[int]:
    """Return how many places the axes called `wanted` have; a free one has one of `free`."""
    found: set[int] = set()
    for axes, shape in described:
        for axis, size in zip(axes, shape, strict=False):
            if axis in wanted:
                found |= free if size is None else {size}
    return found


def _check(names: Sequence[str], file: str, option: str, sizes: set[int]) -> None:
    if not names or not file or len(names) in sizes:
        return
    noun = "units" if option == "--labels" else "steps"
    expected = " or ".join(map(str, sorted(sizes)[:5])) or "no"
    message = f"{option} {escape(file)}: {len(names):,} names, but the layers drawn have {expected} {noun}; give one name for each."
    raise UsageError(message)
