"""Frozen records shared by all packages; they import neither NumPy nor any other library at run time.

Axis names used throughout: ``batch``, ``row``, ``column``, ``channel``, ``unit``,
``step``, ``plane``, ``head``, ``query``, ``key``. The batch axis comes first.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  (read at run time by `system.serialization`, as all annotations here)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
else:

    @runtime_checkable
    class Array(Protocol):
        """A NumPy array, of which annotations can be read while NumPy is not imported."""

        dtype: Any
        shape: tuple[int, ...]


FORWARD, REVERSED, MIXED = STEP_ORDERS = ("forward", "reversed", "mixed")
"""Order of the steps of a sequence: as in the input, last step first, or both concatenated (or unknown)."""

PRE = "@pre"
"""The end of the address of what a layer computes before its activation function."""

AXIS_NAMES = ("batch", "row", "column", "channel", "unit", "step", "plane", "head", "query", "key")

Shape = tuple[int | None, ...]
Axes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input of a network.

    `shape` has the batch axis first, ``None`` for an axis of any size, and is empty if the
    rank is unknown (a subclassed model); `dtype` is a NumPy name or ``"string"``; `axes`
    names the axes as the network reads them, for instance
    ``("batch", "row", "column", "channel")``. `limit` is the number of rows of the smallest
    embedding table that the values index: integers from 0 to ``limit - 1`` are valid
    (``None``: no such table is known). `words` are some entries of the vocabulary of the
    input (integers as text); `split` is how a text is split (``whitespace``;
    ``punctuation``: split at whitespace after punctuation was removed; ``character``;
    ``""``: not split, or unknown). `least` are the smallest sizes at which the network can
    run, as in `shape` (``None``: fixed, or 1; empty: unknown).
    """

    name: str
    shape: Shape
    dtype: str
    axes: Axes
    limit: int | None = None
    words: tuple[str, ...] = ()
    split: str = ""
    least: Shape = ()


@dataclass(frozen=True, slots=True)
class GraphSelection:
    """Which model or graph of a file that holds several is used.

    `signature` selects in a SavedModel or a TFLite file, `tags` in a SavedModel (``None``, empty: the one for serving);
    `inputs` names the nodes of a frozen graph that are fed (empty: its placeholders).
    """

    signature: str | None = None
    tags: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


NO_CHOICE = GraphSelection()


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One addressable output of a network.

    `index` is the position in the user's own ``model.layers`` (``None`` for operations
    and for layers of nested models). `shape` has the batch axis first; it is ``None`` if
    unknown, and an axis of any size is ``None``. `activation` is the name of the activation
    function of the layer, if it has one. `needs` names the inputs of the network that the
    output depends on (``None``: unknown, so all of them). `inner` is True for an operation
    inside a layer, which is computed and shown only if its address is given.
    """

    address: str
    name: str
    index: int | None
    kind: str
    shape: Shape | None
    dtype: str
    parameters: int | None
    axes: Axes
    activation: str | None = None
    needs: tuple[str, ...] | None = None
    inner: bool = False


@dataclass(frozen=True, slots=True)
class InputOperation:
    """A fact about the range of values that an input expects.

    `kind` is ``Arithmetic``, ``input * scale + offset`` before the first layer with weights,
    with one number or one per channel of the input; ``Stage``, the same for an intermediate
    result, the last one first; ``Quantization``, the smallest and largest value (``low``,
    ``high``) that the integers of an input represent; or ``Metadata``, the ``mean`` and
    ``std`` that the file declares for images of 0..255. `input` is the name of the input;
    ``""`` means every input. `reversed` is True if the arithmetic reverses the order of the
    channels; `stopped_by` is the operation that depends on the data and ends the constant
    arithmetic (``Max`` in ``x / max(x)``).
    """

    kind: str
    numbers: dict[str, tuple[float, ...]] = field(default_factory=dict)
    input: str = ""
    reversed: bool = False
    stopped_by: str = ""


@dataclass(frozen=True, slots=True)
class SignatureInfo:
    """A signature of a file that has several: its name, and those of its inputs and outputs."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    selected: bool


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known about a model file without running it.

    `names` holds the name of the model and those of the nested models it starts with, by
    which a known family is recognised. `code` lists what in the file could run code.
    `digest` is the SHA-256 (hexadecimal) of the checked configuration. `removed_layers` maps addresses
    of layers whose output a converter removed to the reason. `labels` are the class names
    that the file assigns to the units of its last layer.

    `layers` are those that can be computed. Where others need code that may not run, `missing` lists
    that code as in `code`, `every_layer` has all layers in model order, and `refusals` the exit
    code and the message for each that cannot be computed, by address.

    `pre_activations` are the layers before their activation functions, ``ADDRESS@pre``, which are neither listed
    nor computed unless their addresses are given.

    `signatures` are those of a graph; `inputs` and `layers` are of the selected one. `weights` is the name of the
    weights that are not in the file, if the user gave any.
    """

    file: str
    format: str
    writer: str
    names: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    layers: tuple[LayerInfo, ...]
    operations: tuple[InputOperation, ...]
    code: tuple[str, ...]
    digest: str
    removed_layers: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    listed: tuple[LayerInfo, ...] = ()
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    signatures: tuple[SignatureInfo, ...] = ()
    pre_activations: tuple[LayerInfo, ...] = ()
    weights: str = ""

    @property
    def every_layer(self) -> tuple[LayerInfo, ...]:
        """Every layer in model order, also those that cannot be computed."""
        return self.listed or self.layers


@dataclass(frozen=True, slots=True)
class Geometry:
    """Position of the values of a feature map in the input image, in pixels of that image.

    `size` is the size of the image; the receptive field of the value at ``(r, c)`` is `field`
    pixels large, centred at row ``offset[0] + r * stride[0]`` and column
    ``offset[1] + c * stride[1]``; the centre of the first pixel is 0. All pairs are
    (row, column).
    """

    input: str
    size: tuple[int, int]
    offset: tuple[float, float]
    stride: tuple[float, float]
    field: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Activation:
    """The output of one layer for a batch.

    `values` has the batch axis first and the dtype of the layer; `axes` names every axis.
    `signed` says whether the activation function can return negative values (``None``:
    unknown, the data decide); `bounds` are its smallest and largest possible value, such as
    0 and 1 of a sigmoid (``None``: unbounded or unknown). `weights_digest` is the SHA-256 of
    the weights read. `mask`, ``(batch, step)``, is False at masked steps. `geometry` is the
    position of a feature map in the input (``None``: unknown). `step_order` is one of
    `STEP_ORDERS`.
    """

    address: str
    kind: str
    values: Array
    axes: Axes
    signed: bool | None = None
    weights_digest: str = ""
    mask: Array | None = None
    geometry: Geometry | None = None
    step_order: str = FORWARD
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class ScoreBatch:
    """Scores of a layer for a batch, and how they depend on another tensor.

    `address` is the layer of the scores; `scores` are its values before a final softmax or sigmoid, ``(batch, unit)``,
    averaged over all other axes; `outputs` are the same after it. `stripped` is the function that was left out
    (``""``: none). `activation` is the tensor that was asked for, `gradients` those of one score of each input with
    respect to it, in its shape (``None``: not asked for).
    """

    address: str
    scores: Array
    outputs: Array
    stripped: str = ""
    activation: Activation | None = None
    gradients: Array | None = None


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How an output changes while the input is deleted, or inserted into zeros, in the order of a heat map.

    `whole` is the output for the input; each tuple has the output after each of ten equal steps, in the order of the
    map, and in that of a random map of the same size.
    """

    whole: float
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    random_deletion: tuple[float, ...]
    random_insertion: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A map of one input: how much each place matters for one unit of a layer.

    Attributes
    ----------
    method
        The name of the method.
    layer
        The address of the layer or input whose places the map has.
    target, unit, units
        The address of the layer that is explained, the unit and how many it has.
    score, output
        The values of the unit before and after a final softmax or sigmoid, whose name is `stripped`.
    rank
        The rank of the score among all units, from 1.
    top
        Unit and output of the units with the highest scores.
    values, axes
        The raw map and the names of its axes.
    geometry
        The position of the map on the input (``None``: that of the input itself, or unknown).
    input
        The name of the input.
    weights_digest
        The SHA-256 of the weights read.
    center
        The center of mass of the positive values, in places of the input (empty: none is positive).
    box, share
        A box of the input, top, left, bottom and right, and the share of the positive values in it.
    check
        How faithful the map is to the network (``None``: not measured).
    difference
        The difference of the score from that of zeros, which the values of the map should sum to (``None``: they should
        not).
    """

    method: str
    layer: str
    target: str
    unit: int
    units: int
    score: float
    output: float
    rank: int
    top: tuple[tuple[int, float], ...]
    stripped: str
    values: Array
    axes: Axes
    geometry: Geometry | None
    input: str
    weights_digest: str = ""
    center: tuple[float, ...] = ()
    box: tuple[int, ...] = ()
    share: float = 0.0
    check: Faithfulness | None = None
    difference: float | None = None


@dataclass(frozen=True, slots=True)
class Kernel:
    """A weight array of a layer, as stored in the file, in real units where the file holds quantized integers.

    `axes` names every axis: ``row``, ``column``, ``plane`` or ``step``, ``input``, and ``output`` or
    ``multiplier`` (the outputs of each input of a depthwise convolution). Tables have the axes ``input`` (the index
    that is looked up) and ``output``.
    """

    values: Array
    axes: Axes


@dataclass(frozen=True, slots=True)
class Sample:
    """One input as it is fed to the network.

    `values` maps input names to arrays with a batch axis of one. `thumbnail` is the image as
    fed: uint8, ``(row, column, RGB)``, or ``None`` if the input is not an image. `fed`
    summarizes the input in words (``28 x 28 x 1, 0..1``). `digest` is the SHA-256 of the fed
    values. `notes` are lines to print on stderr. `words` are the words of a text, one for
    each step of the network's input, if known. `ranges` are the range chosen for each image
    and the reason. `stem` is `name` as the beginning of a file name (``""``: `name` without
    its suffix). `fitting` is how an image was resized (``stretched 1.5 : 1``; ``""``: not
    resized). `padding` is, for each input whose image was padded, the box of the image in
    it: top, left, bottom, right, in pixels of the array that is fed. `offset` is its position in the
    list of inputs: the number of its file, times 2**24, plus its number in the file.
    """

    name: str
    values: dict[str, NDArray[Any]]
    thumbnail: NDArray[np.uint8] | None
    fed: str
    digest: str
    notes: tuple[str, ...] = ()
    words: tuple[str, ...] | None = None
    ranges: tuple[str, ...] = ()
    stem: str = ""
    pictures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    fitting: str = ""
    padding: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Style:
    """How figures are drawn: options of the command line, parsed but not resolved.

    `scale` is ``auto``, ``filter``, ``layer``, ``run``, ``MIN:MAX``, ``pP:Q``,
    ``filter:pP:Q`` or ``from:FILE``; `ranges` are the limits by address that ``run`` and ``from``
    resolve to. `channels` is a selection such as ``0:16,40`` (``None``: all); `sort` a measure
    (``None``: see `measure`); `top` the number of channels kept after sorting; `zoom`
    pixels per value (``None``: automatic). `project` is how planes or frames are reduced to
    one map (``max``), ``None`` to show each. `overlay` blends maps over the input image;
    `reduce` is how channels are reduced to one map (``mean``, ``max``, ``l2``), ``None``
    to show each. `megapixels` limits the size of a page of a sheet. `dark` selects a dark
    background, `histogram` adds a histogram of the values of the layer. `font_scale` multiplies the
    size of text; `dpi` is the resolution that PNG files record (``None``: none). `vector` is the suffix of a vector
    format, ``.svg`` or ``.pdf`` (``""``: PNG).
    """

    scale: str = "auto"
    cmap: str | None = None
    columns: int | None = None
    channels: str | None = None
    sort: str | None = None
    top: int | None = None
    zoom: int | None = None
    bare: bool = False
    project: str | None = None
    overlay: bool = False
    reduce: str | None = None
    megapixels: float = 16.0
    dark: bool = False
    histogram: bool = False
    font_scale: float = 1.0
    dpi: int | None = None
    vector: str = ""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def measure(self) -> str:
        """The measure by which channels are sorted; by default, the mean |value| if `top` is given."""
        return self.sort or ("index" if self.top is None else "mean")


@dataclass(frozen=True, slots=True)
class Context:
    """The origin of an activation, and the names used for its parts, as a figure shows them.

    `labels` are class names, drawn beside the units of layers with as many units; `steps`
    are the words of the input, drawn along sequences with as many steps. `pictures` are the
    image inputs as fed, by name: uint8 ``(row, column, RGB)``, or
    ``(frame, row, column, RGB)``. `reduced` is how channels were reduced to one map (``""``:
    not reduced). `left_out` counts the layers that a sheet does not show by reason:
    ``("not chosen", 12)``. `maps_shape` is the shape of maps that are drawn as a vector or a
    sequence (``()``: drawn as they are). `signal` is the input ``(step,)`` if it is the only one and has
    one value for each step. `padding` is that of the `Sample`.
    """

    model: str
    input: str
    fed: str
    thumbnail: Array | None = None
    labels: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    pictures: Mapping[str, Array] = field(default_factory=dict)
    reduced: str = ""
    left_out: tuple[tuple[str, int], ...] = ()
    maps_shape: tuple[int, ...] = ()
    signal: Array | None = None
    padding: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """Result of one rule for one layer; `reason` is one line, also if the rule is kept.

    `subject` is the address of the layer (or the name of an input), `rule` the limit as
    given on the command line.
    """

    subject: str
    rule: str
    kept: bool
    reason: str


Box = tuple[int, int, int, int]
"""Top row, left column, bottom row, right column in pixels; the last two exclusive."""


class Tile(NamedTuple):
    """One channel in a figure: its box and the range of values of its colors.

    `box` is the area of the map; `low` and `high` are the values of the first and last color
    of the colormap for this tile. `state` is ``live``, ``dead`` (all zero), ``constant`` or
    ``nonfinite`` (at least one NaN or infinity). On a sheet, `address` is the address of the
    layer. If tiles run over several axes, such as channel and step, `indices` is the index
    along each. `part` is the box of the map that the tile shows (``None``: all), for a long
    map that is broken into lines.
    """

    channel: int
    box: Box
    low: float
    high: float
    state: str
    address: str = ""
    indices: tuple[int, ...] = ()
    part: Box | None = None


class Label(NamedTuple):
    """A text in a figure and the box of pixels that it covers."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn figure: its pixels, tiles and labels.

    `drawn` is ``(row, column)``: uint32 as `colors.pack_rgb` returns, or uint8 indices into
    `palette`, uint8 ``(index, RGB)``, if all colors of the figure are in one palette.
    `numbers` holds what a manifest records: minimum, maximum, mean, std, share of zeros,
    dead, constant, NaN and infinity counts, clipped values, channels shown and in all,
    the scale, the colormap and its limits. ``axes`` says which axes the tiles run over and
    which axis of the activation is vertical and which horizontal in them (``None``: one
    value wide).
    """

    drawn: NDArray[np.uint32] | NDArray[np.uint8]
    tiles: tuple[Tile, ...]
    labels: tuple[Label, ...]
    numbers: dict[str, Any]
    palette: NDArray[np.uint8] | None = None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Return the pixels as uint8 ``(row, column, RGB)``."""
        if self.palette is not None:
            return self.palette[self.drawn]
        parts = self.drawn[..., None].view("u1")
        return parts[..., :3].copy()

    @property
    def size(self) -> tuple[int, int]:
        """Return rows and columns of pixels."""
        return self.drawn.shape[0], self.drawn.shape[1]


def sizes_text(shape: Shape | None, times: str = "x", free: str = "?") -> str:
    """Return a shape without its batch axis, such as ``28 x 28 x 1``; `free` is shown for a size that is not fixed."""
    if shape is None:
        return free
    return f" {times} ".join(free if size is None else str(size) for size in shape[1:]) or "one value"
