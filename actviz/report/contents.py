"""The contents of a report as records, before they are HTML or Markdown."""

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
    """Something unusual about a layer.

    `severity` is ``problem``, ``warning`` or ``note``; `kind` one word to filter by (``NaN``,
    ``dead``, ``constant``, ``saturated``, ``range``); `text` one sentence without the layer's
    address. `weight`, the larger the worse, orders findings of equal severity. `channel` is an
    affected channel, `input` the number of an input that shows the finding.
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
    """A picture of equally large tiles in a grid, in reading order from the top left.

    `png` is the picture as a PNG, with a palette where 256 colors are enough. `tile` is the size
    of a tile and `step` the distance between tiles, both ``(rows, columns)`` in pixels; `columns`
    is the number of tiles per row.
    """

    png: bytes
    tile: tuple[int, int]
    step: tuple[int, int]
    columns: int


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """One layer for one input, with as many tiles as fit.

    `input` is the number of the input; `other` is true for a figure of the model compared with.
    `channels` are those of the tiles, in order, and `indices` their indices where tiles run
    over several axes. `ends` are the values of the first and last color, float32 ``(2,
    tile)``; `numbers` are minimum, maximum, mean, share of zeros and mean |value|, float32 ``(5, tile)``,
    and `states` indices into `channel_statistics.STATES`, uint8 ``(tile,)``. `histogram` is the
    result of `histogram_of`; `total` the number of tiles of the whole layer.
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
    """Differences from another model or from saved activations, whose file is called `name`.

    `drifts` are the differences by the reported model's addresses, in its order; `changed` are
    the addresses beyond the default tolerance of `actviz diff`. `unmatched` are layers that could
    not be compared, `missing` those that the other model does not have.
    """

    name: str
    drifts: dict[str, LayerDifference]
    changed: tuple[str, ...]
    unmatched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportLayer:
    """One layer in a report: facts, statistics over all inputs, figures.

    `kind` is the renderer's name, ``None`` where no renderer draws the layer. `totals` are ``None``
    where the layer gives no real numbers; `reason` is why it has no figure; `marked` is true where it
    has findings. `order` are the channels of its first figure, the strongest first.
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
    """An input with figures; `picture` is a PNG, `words` are the tokens of a text."""

    name: str
    fed: str
    picture: bytes | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportContents:
    """Everything in a report.

    `model` is the file's name; `facts` are pairs of a term and its description; `inputs` are those
    with figures, `count` is the number of all inputs. `left_out` are lines about what is missing
    from the page and how to get it; `skipped` are files of folders that are no inputs, by type, as
    `SkippedFiles.records` returns them; `provenance` is stored in the file as JSON.
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
    skipped: tuple[dict[str, Any], ...] = ()
