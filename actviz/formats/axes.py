"""Names of the axes of layers, by class and rank, as the rank alone is ambiguous."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.layer_catalogue import facts_of

if TYPE_CHECKING:
    from typing import Any

    from actviz.records import Axes, Shape

SPACE = {1: ("step",), 2: ("row", "column"), 3: ("plane", "row", "column")}
DEFAULT_AXES: dict[int, Axes] = {
    1: ("batch",), 2: ("batch", "unit"), 3: ("batch", "step", "unit"), 4: ("batch", "row", "column", "channel"),
    5: ("batch", "plane", "row", "column", "channel"),
}  # fmt: skip
TOKENS: Axes = ("batch", "step")
SEQUENCE = DEFAULT_AXES[3]


def axes_of(kind: str, config: dict[str, Any], shape: Shape | None, given: list[Axes]) -> Axes:
    """Return the axes of a layer's output; `given` are those of its inputs.

    The class decides if the meaning of its axes is fixed; a layer that keeps the rank keeps the names of
    its input; otherwise the rank decides, as in the documentation of Keras.
    """
    rank = len(shape) if shape is not None else (len(given[0]) if given else 0)
    own = _class_axes(kind, config, rank)
    if own and len(own) == rank:
        return own
    if kind == "Permute" and given and len(given[0]) == rank:
        return ("batch", *(given[0][axis] for axis in config["dims"]))
    if kind in {"Reshape", "Flatten", "RepeatVector"}:
        return DEFAULT_AXES.get(rank, _numbered(rank))
    inner = config.get("layer")
    if kind == "TimeDistributed" and given and isinstance(inner, dict) and shape is not None:
        parts = [("batch", *axes[2:]) for axes in given]
        return over_steps(axes_of(inner["class_name"], inner["config"], _inner(shape), parts))
    if given and len(given[0]) == rank and rank:
        return given[0]
    return DEFAULT_AXES.get(rank, _numbered(rank))


def input_axes(shape: Shape, kinds: set[str], *, first: bool) -> Axes:
    """Return the axes of an input by the classes of the layers that read it.

    The rank alone does not distinguish tokens from a vector, nor frames from planes. `first` is true if
    these layers have the data format ``channels_first``.
    """
    rank = len(shape)
    steps = any(kind == "TimeDistributed" or kind.startswith("ConvLSTM") for kind in kinds)
    if rank == len(TOKENS) and "Embedding" in kinds:
        return TOKENS
    axes = DEFAULT_AXES.get(rank, _numbered(rank))
    if first and "channel" in axes:
        axes = ("batch", "channel", *axes[1:-1])
    if first and rank == len(SEQUENCE) and any("1D" in kind for kind in kinds):
        axes = ("batch", "unit", "step")
    if steps and axes[-4:-1] == ("plane", "row", "column"):
        return ("batch", "step", "row", "column", "channel")
    if steps and axes[-3:] == ("plane", "row", "column"):
        return ("batch", "step", "channel", "row", "column")
    return axes


def score_axes(rank: int) -> Axes:
    """Return the axes of the scores of an attention layer."""
    axes = ("batch", "query", "key") if rank == len(SEQUENCE) else ("batch", "head", "query", "key")
    return axes if len(axes) == rank else _numbered(rank)


def _inner(shape: Shape | None) -> Shape | None:
    return None if shape is None else (shape[0], *shape[2:])


def over_steps(inner: Axes) -> Axes:
    """Return the axes of the wrapped layer with the axis of `TimeDistributed` after the batch axis.

    Names are unique: if the wrapped layer has a ``step`` axis, as in nested `TimeDistributed` layers, the
    outer axis is ``axis1``, or has the first unused number.
    """
    names = ("step", *(f"axis{number}" for number in range(1, len(inner) + 1)))
    return ("batch", next(name for name in names if name not in inner), *inner[1:])


def _numbered(rank: int) -> Axes:
    return ("batch", *(f"axis{number}" for number in range(1, rank))) if rank else ()


def _class_axes(kind: str, config: dict[str, Any], rank: int) -> Axes | None:
    first = config.get("data_format") == "channels_first"
    inner = config.get("layer")
    if kind in {"TimeDistributed", "Bidirectional"} and isinstance(inner, dict):
        if kind == "Bidirectional":
            return _class_axes(inner["class_name"], inner["config"], rank)
        axes = _class_axes(inner["class_name"], inner["config"], rank - 1)
        return over_steps(axes) if axes and len(axes) == rank - 1 else None
    if kind.startswith("ConvLSTM"):
        space = {"ConvLSTM1D": ("column",), "ConvLSTM3D": SPACE[3]}.get(kind, SPACE[2])
        steps = ("step",) if config.get("return_sequences") else ()
        return ("batch", *steps, "channel", *space) if first else ("batch", *steps, *space, "channel")
    if facts_of(kind).recurrent:
        return DEFAULT_AXES[3] if config.get("return_sequences") else DEFAULT_AXES[2]
    if kind == "Embedding" and rank == len(SEQUENCE) + 1:
        return ("batch", "axis1", "step", "unit")
    dimension = next((number for number in (1, 2, 3) if f"{number}D" in kind), None)
    if dimension is None or rank != dimension + 2:
        return None
    if dimension == 1:
        return ("batch", "unit", "step") if first else ("batch", "step", "unit")
    space = SPACE[dimension]
    return ("batch", "channel", *space) if first else ("batch", *space, "channel")
