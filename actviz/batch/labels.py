"""Class names and words of inputs: reading them from files and checking them against layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actviz.errors import UsageError, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.records import Activation, Axes, HeatMap, LayerInfo, ModelFacts, Shape

UNITS, STEPS = frozenset({"unit"}), frozenset({"step", "query", "key"})


@dataclass(frozen=True, slots=True)
class LabelNames:
    """The names given by `--labels` and `--tokens`, and the paths of their files."""

    labels: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    labels_file: str = ""
    steps_file: str = ""


def read_names_of(labels: Path | None, tokens: Path | None) -> LabelNames:
    """Read the class names and the words of the input from the files that are given.

    Raises
    ------
    InputError
        If a file cannot be read or has no names.
    """
    if labels is None and tokens is None:
        return LabelNames()
    from actviz.inputs import read_names

    return LabelNames(
        read_names(labels) if labels else (), read_names(tokens) if tokens else (), str(labels or ""), str(tokens or "")
    )


def names_for(labels: Path | None, tokens: Path | None, facts: ModelFacts) -> LabelNames:
    """Return the given names; without a file of labels, the class names in the model file.

    Raises
    ------
    InputError
        If a file cannot be read or has no names.
    """
    names = read_names_of(labels, tokens)
    return names if labels is not None else replace(names, labels=facts.labels)


def check_names(names: LabelNames, layers: Sequence[LayerInfo], inputs: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Refuse names whose number is that of units or steps in none of the layers, if all shapes are known.

    An unspecified number of steps is that of an input.

    Raises
    ------
    UsageError
        The message has the number of names and the expected numbers.
    """
    free = {values.shape[1] for batch in inputs for values in batch.values() if values.ndim > 1}
    described = [(layer.axes, layer.shape) for layer in layers if layer.shape is not None]
    if len(described) < len(layers):
        return
    _check(names.labels, names.labels_file, "--labels", _sizes(described, UNITS, set()))
    _check(names.steps, names.steps_file, "--tokens", _sizes(described, STEPS, free))


def check_fits(names: LabelNames, activations: Iterable[Activation]) -> None:
    """Refuse names that fit none of the activations; see `check_names`."""
    described: list[tuple[Axes, Shape]] = [(item.axes, item.values.shape) for item in activations]
    _check(names.labels, names.labels_file, "--labels", _sizes(described, UNITS, set()))
    _check(names.steps, names.steps_file, "--tokens", _sizes(described, STEPS, set()))


def check_classes(names: LabelNames, maps: Sequence[HeatMap]) -> None:
    """Refuse class names whose number is not that of the classes of any of the maps of an input."""
    _check(names.labels, names.labels_file, "--labels", {item.units for item in maps})


def _sizes(described: Sequence[tuple[Axes, Shape]], wanted: frozenset[str], free: set[int]) -> set[int]:
    """Return the sizes of the axes `wanted`; an unspecified size is one of `free`."""
    sizes: set[int] = set()
    for axes, shape in described:
        for axis, size in zip(axes, shape, strict=False):
            if axis in wanted:
                sizes |= free if size is None else {size}
    return sizes


def _check(names: Sequence[str], file: str, option: str, sizes: set[int]) -> None:
    if not names or not file or len(names) in sizes:
        return
    noun = "units" if option == "--labels" else "steps"
    expected = " or ".join(map(str, sorted(sizes)[:5])) or "no"
    message = f"{option} {escape(file)}: {len(names):,} names, but the layers drawn have {expected} {noun}; give one name for each."
    raise UsageError(message)
