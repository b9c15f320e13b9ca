"""The nouns that travel between the layers: frozen, without behaviour that needs a library.

Axis names used throughout: ``batch``, ``row``, ``column``, ``channel``, ``unit``,
``step``, ``plane``, ``head``, ``query``, ``key``. The batch axis comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

FORWARD, REVERSED, MIXED = STEP_ORDERS = ("forward", "reversed", "mixed")
"""The order of steps: that of the input, the last step first, or both joined (or not known)."""

AXIS_NAMES = ("batch", "row", "column", "channel", "unit", "step", "plane", "head", "query", "key")

Shape = tuple[int | None, ...]
Axes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input of a network.

    `shape` has the batch axis first, ``None`` where the size is free, and is empty where the
    file does not tell even the rank (a subclassed model); `dtype` is a numpy
    name or ``"string"``; `axes` names the axes as the network reads them, for instance
    ``("batch", "row", "column", "channel")``. `limit` is the number of entries of the
    smallest table that the values are looked up in: whole numbers from 0 to below it are
    valid (``None``: no such table is known). `words` are some of the words (or whole
    numbers, as text) in the vocabulary behind the input; `split` says how a text is taken
    apart (``whitespace``, ``punctuation``: whitespace after punctuation was dropped,
    ``character``, ``""``: not, or not known). `least` are the smallest sizes at which the
    network can run, as in `shape` (``None``: fixed, or 1; empty: not known).
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
    """What of a file that holds several models, or graphs of operations, is meant.

    `signature` and `tags` choose in a SavedModel (``None``, empty: the one for serving);
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
    and for layers of nested models). `shape` has the batch axis first; ``None`` stands
    for the whole shape where it is not known, and for an axis where the size is free.
    `activation` is the name of the activation function inside the layer, if it has one.
    `needs` names the network's inputs that the output depends on (``None``: not known,
    so all of them). `inner` marks what lies inside a layer, such as a single operation of
    a graph: it has an address, and is shown and computed where that is asked for.
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
    """A fact about the range of numbers that an input takes.

    `kind` is ``Arithmetic``, ``input * scale + offset`` before the first real layer, with
    one number or one per channel of the input; ``Stage``, the same for an earlier result on
    the way there, the latest first; ``Quantization``, the ends ``low`` and
    ``high`` of what the whole numbers of an input can hold; or ``Metadata``, the ``mean``
    and ``std`` that the file declares for images of 0..255. `input` is the input's name;
    ``""`` stands for every input. `reversed` says that the arithmetic reverses the order of
    the channels; `stopped_by` names the operation that read the data itself, where the
    arithmetic of constants ends with one (``Max`` in ``x / max(x)``).
    """

    kind: str
    numbers: dict[str, tuple[float, ...]] = field(default_factory=dict)
    input: str = ""
    reversed: bool = False
    stopped_by: str = ""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model file says about itself, without running it.

    `names` holds the model's own name and those of the models it starts with, so that a
    known family is recognised. `code` lists what in the file could run code. `digest` is
    the SHA-256 (hexadecimal) of the checked configuration. `gone` says of addresses of
    layers that a converter left no values of what became of them. `labels` are the names of
    the classes that the file gives to the units of its last layers.
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
    gone: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the values of a map lie in the picture that an input was fed, all in its pixels.

    `size` is that of the picture; the value at ``(r, c)`` sees `field` pixels around row
    ``offset[0] + r * stride[0]`` and column ``offset[1] + c * stride[1]``, where the middle
    of the first pixel is 0. All pairs are (row, column).
    """

    input: str
    size: tuple[int, int]
    offset: tuple[float, float]
    stride: tuple[float, float]
    field: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Activation:
    """The output of one layer for a batch.

    `values` has the batch axis first and the layer's own dtype; `axes` names every axis.
    `signed` says whether the activation function can give negative values (``None``:
    not known, the data decide); `bounds` are the two values that it never leaves, such as
    0 and 1 of a sigmoid (``None``: it has none, or it is not known).
    `weights_digest` is the SHA-256 of the weights read.
    `mask`, ``(batch, step)``, is False at the steps that the network leaves out. `geometry`
    says where a map lies in the input, ``None`` where that is not known. `step_order` is
    one of `STEP_ORDERS`: how the steps of `values` follow those of the input.
    """

    address: str
    kind: str
    values: NDArray[Any]
    axes: Axes
    signed: bool | None = None
    weights_digest: str = ""
    mask: NDArray[np.bool_] | None = None
    geometry: Geometry | None = None
    step_order: str = FORWARD
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One input as it is fed to the network.

    `values` maps input names to arrays with a batch axis of one. `thumbnail` is what was
    really fed, as a picture: uint8, ``(row, column, RGB)``, or ``None`` where the input is
    no picture. `fed` says it in words (``28 x 28 x 1, 0..1``). `digest` is the SHA-256 of
    the fed values. `notes` are lines worth saying on stderr. `words` are those of a text,
    one for each step that the network sees, where the text was given and that is known.
    `ranges` says for images which range was chosen and why. `stem` is `name` as a file
    name begins (``""``: `name` without its suffix). `fitting` is how an image got the size
    of its input (``stretched 1.5 : 1``; ``""``: it had it). `padding` holds for each input
    whose image was padded where the image lies in it: top, left, bottom, right, in pixels
    of what is fed.
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


@dataclass(frozen=True, slots=True)
class Style:
    """How figures are drawn: the options of the command line, parsed but not resolved.

    `scale` is ``auto``, ``filter``, ``layer``, ``run``, ``MIN:MAX``, ``pP:Q``,
    ``filter:pP:Q`` or ``from:FILE``; `ranges` are the two ends by address that ``run`` and ``from`` stand
    for. `channels` is a selection such as ``0:16,40`` (``None``: all); `sort` a measure
    (``None``: see `measure`); `top` the number of channels kept after sorting; `zoom`
    pixels per value (``None``: chosen). `project` is how planes or frames are brought into
    one map (``max``), ``None`` to show each. `overlay` lays maps over the input's picture;
    `reduce` is how channels are brought into one map (``mean``, ``max``, ``l2``), ``None``
    to show each. `megapixels` is the largest page of a sheet. `dark` is for dark pages,
    `histogram` adds the distribution of the layer's values.
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
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def measure(self) -> str:
        """What channels are ordered by: the strongest are those of the largest mean |value|, unless `sort` says otherwise."""
        return self.sort or ("index" if self.top is None else "mean")


@dataclass(frozen=True, slots=True)
class Context:
    """What a figure says about where its activation comes from, and what it calls things.

    `labels` are the names of classes, written beside the units of layers that have as
    many; `steps` are the words of the input, written along sequences that have as many.
    `pictures` are what inputs were fed, by name, where they are pictures: uint8
    ``(row, column, RGB)``, or ``(frame, row, column, RGB)``. `reduced` says
    how channels were brought into one map, if they were. `left_out` says of layers that a
    sheet does not show why, with their number: ``("not chosen", 12)``. `padding` is
    that of the `Sample`.
    """

    model: str
    input: str
    fed: str
    thumbnail: NDArray[np.uint8] | None = None
    labels: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    pictures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    reduced: str = ""
    left_out: tuple[tuple[str, int], ...] = ()
    padding: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule says of one layer: `reason` is one line, also where it is kept.

    `subject` is the layer's address (or the name of an input), `rule` the limit as it was
    asked for.
    """

    subject: str
    rule: str
    kept: bool
    reason: str


Box = tuple[int, int, int, int]
"""Top row, left column, bottom row, right column in pixels; the last two exclusive."""


class Tile(NamedTuple):
    """One channel in a picture: where it lies and which values its colours stand for.

    `box` is the area of the map itself; `low` and `high` are the values at the two ends
    of the colour table for this tile. `state` is ``live``, ``dead`` (all zero),
    ``constant`` or ``nonfinite`` (at least one NaN or infinity). On a sheet, `address` is
    the layer's. Where tiles run over several axes, such as channel and step, `indices` is
    the place along each. `part` says which rows and columns of its map a tile shows
    (``None``: all), where a long map is broken into lines.
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
    """A text in a picture and the pixels it covers."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn figure: its pixels and what is where in them.

    `drawn` is ``(row, column)``: uint32 in the form of `colors.packed`, or uint8, places in
    `palette`, uint8 ``(place, RGB)``, where all colours are in one table.
    `numbers` holds what a manifest records: minimum, maximum, mean, std, share of zeros,
    dead, constant, NaN and infinity counts, clipped values, channels shown and in all,
    the scale, the colormap and its ends. ``axes`` says what tiles run over and which axis
    of the activation runs down and across in them (``None``: one value wide).
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
