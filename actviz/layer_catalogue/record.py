"""The record of a Keras layer class: the facts that the formats, the gate and the commands need."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from actviz.layer_catalogue.shape_rules import Json, ShapeRule
from actviz.records import Axes, Shape

if TYPE_CHECKING:
    from actviz.layer_catalogue.window_rules import WindowRule

WeightRule = Callable[[Json], tuple[int, int]]
MergeRule = Callable[[Json, list[Shape]], Shape | None]
PassesOn = Literal["", "part", "all"]


class LayerClass(NamedTuple):  # defined in a third of the time of a dataclass
    """The facts of one Keras layer class.

    Nothing is guessed: if a rule is ``None``, the layer is built and Keras computes the result.

    Parameters
    ----------
    shape, merge
        The rule of the output shape, for one input or for several.
    weights
        Returns the numbers of trainable and of non-trainable weights (arrays).
    kernels
        The axes of the kernels or tables of the layer, in the order of its weights: ``row``, ``column``, ``plane`` or
        ``step``, ``input``, and ``output`` or ``multiplier``.
    window
        The rule of the receptive field, for layers whose values depend on several pixels.
    keeps_place
        Each value is computed from the values at the same row and column.
    keeps_sign, keeps_bounds
        The output is never negative if no input is, and never leaves the bounds of the inputs.
    keeps_integers
        All values of the input are in the output, unchanged, so that a lookup in a later layer reads them.
    passes_on
        ``all``: at inference the output is the input, at most in another shape or order. ``part``: the
        layer only pools, pads, crops, resizes or joins its inputs. Defects of its values arise in earlier layers.
    call
        ``plain``: for float32 and without masks, `layer.call` gives the result of calling the layer, which
        takes 0.2 ms longer: it has no state, no random numbers and converts no dtypes.
        ``traced``: may be called while TensorFlow traces a graph.
    random_in_training
        Draws random numbers while a model is trained, and only then.
    recurrent, states
        Reads steps one by one, so that its `activation` is that of a cell, not of the output; the number
        of its state arrays.
    wraps
        How a wrapper applies the layer in its configuration: to every ``step``, in both ``directions``, or to
        the ``whole`` input.
    attention
        Can return its scores in addition to its output.
    lookup_size
        The argument with the number of entries of its lookup table.
    vocabulary
        Has a vocabulary, which the file may hold outside the configuration.
    activation
        The function of a layer that only applies one, ``""`` if the configuration names it.
    activation_last
        Applies the function of its argument `activation` last, to everything else that it computes.
    groups
        Has an argument `groups`; in old files other classes have one too, without effect.
    family
        What the layer computes, in terms common to all formats; see `actviz.formats.layer_families`.
    older
        Names of the class in files of Keras 2 and early Keras 3.
    renamed, to_call
        Arguments of Keras 2 by their names of today, and by the arguments of the call that replaced them.
    module
        The module that Keras writes for the class.
    """

    shape: ShapeRule | None = None
    merge: MergeRule | None = None
    weights: WeightRule | None = None
    kernels: tuple[Axes, ...] = ()
    window: WindowRule | None = None
    keeps_place: bool = False
    keeps_sign: bool = False
    keeps_bounds: bool = False
    keeps_integers: bool = False
    passes_on: PassesOn = ""
    call: Literal["", "plain", "traced"] = ""
    random_in_training: bool = False
    recurrent: bool = False
    states: int = 1
    wraps: Literal["", "step", "directions", "whole"] = ""
    attention: bool = False
    lookup_size: str = ""
    vocabulary: bool = False
    activation: str | None = None
    activation_last: bool = False
    groups: bool = False
    family: str = ""
    older: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    to_call: tuple[tuple[str, str], ...] = ()
    module: str = "keras.layers"
