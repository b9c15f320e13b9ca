"""The nouns of a report: what a page says, before it is HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.records import FORWARD

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from actviz.records import Geometry, LayerInfo
    from actviz.statistics.differences import LayerDifference
    from actviz.statistics.running_statistics import RunningStatistics

PROBLEM, WARNING, NOTE = "problem", "warning", "note"
SEVERITIES = (PROBLEM, WARNING, NOTE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a reader should know of a layer.

    `severity` is ``problem``, ``warning`` or ``note``; `kind` one word to filter by (``NaN``,
    ``dead``, ``constant``, ``saturated``, ``range``); `text` one sentence without the layer's
    name. `weight`, the larger the worse, orders findings of one severity. `channel` is one to
    look at, `input` the number of an input that shows it.
    """

    severity: str
    kind: str
    address: str
    text: str
    weight: float = 0.0
    channel: int | None = None
    input: int | None = None


@dataclass(frozen=True, slots=True)
class ReportMosaic:
    """Tiles in a picture, uint8 ``(row, column)`` steps of `palette`, and where they lie.

    `png` is the picture as an 8-bit palette PNG. Tile `n` is `tile` (rows, columns) large and
    lies `step` further for each row and column of a grid of `columns`, from the top left.
    """

    png: bytes
    tile: tuple[int, int]
    step: tuple[int, int]
    columns: int


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """One layer for one input, as much of it as has room.

    `input` is the number of the input, `other` says that it is of the model compared with.
    `channels` are those of the tiles, in order, and `indices` their places where tiles run
    over several axes. `ends` are the values of the first and last colour, float32 ``(2,
    tile)``; `numbers` are minimum, maximum, mean, share of zeros and mean |value|, float32 ``(5, tile)``,
    and `states` codes into `stats.STATES`, uint8 ``(tile,)``. `histogram` is what
    `histogram_of` gave; `total` the number of tiles that there are in all.
    """

    input: int
    mosaic: ReportMosaic
    channels: tuple[int, ...]
    indices: tuple[tuple[int, ...], ...]
    ends: NDArray[np.float32]
    numbers: NDArray[np.float32]
    states: NDArray[np.uint8]
    table: str
    signed: bool
    total: int
    histogram: dict[str, Any]
    other: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared with: its file's name, the drift of each layer found in both, and the rest.

    `drifts` are by this model's addresses, in its order, with the other as what is compared
    with; `changed` are those beyond the tolerance that `actviz diff` has. `unmatched` are
    layers that could not be compared, `missing` those that the other does not have.
    """

    name: str
    drifts: dict[str, LayerDifference]
    changed: tuple[str, ...]
    unmatched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportLayer:
    """One layer in a report: facts, numbers over all inputs, figures.

    `kind` is the renderer's name, ``None`` where nothing draws it. `totals` are ``None``
    where the layer gives no real numbers; `reason` says why it has no figure, `marked` that a
    finding is about it. `order` are the channels of its first figure, the strongest first.
    """

    info: LayerInfo
    kind: str | None
    totals: RunningStatistics | None
    figures: tuple[ReportFigure, ...] = ()
    thumbnail: bytes | None = None
    geometry: Geometry | None = None
    labels: tuple[str, ...] = ()
    reason: str = ""
    marked: bool = False
    order: tuple[int, ...] = ()
    step_order: str = FORWARD


@dataclass(frozen=True, slots=True)
class ReportInput:
    """One input of which figures are shown; `picture` is a PNG or JPEG, `words` those of a text."""

    name: str
    fed: str
    picture: bytes | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportContents:
    """Everything a report says.

    `model` is the file's name; `facts` are pairs of a word and what it says; `inputs` those
    that figures are of, `count` all that numbers are of. `left_out` are lines that say what is
    missing and how to have it; `provenance` goes into the file as JSON.
    """

    model: str
    facts: tuple[tuple[str, str], ...]
    inputs: tuple[ReportInput, ...]
    count: int
    layers: tuple[ReportLayer, ...]
    findings: tuple[Finding, ...]
    comparison: Comparison | None = None
    left_out: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
