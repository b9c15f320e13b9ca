"""What the page's script reads: plain values for JSON, and base64; and texts that page and Markdown share."""

from __future__ import annotations

import base64
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import escape
from actviz.figures import colors, text
from actviz.records import sizes_text
from actviz.report.report_figures import single, summary_of
from actviz.statistics.channel_statistics import indices_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from actviz.records import Geometry
    from actviz.report.contents import Comparison, Finding, ReportContents, ReportFigure, ReportLayer
    from actviz.statistics.differences import LayerDifference
    from actviz.statistics.running_statistics import RunningStatistics

MAXIMUM_TEXT = 300
SIGNIFICANT_DIGITS = 6
# A relative error above this says no more than that nothing is alike.
_LARGE_RELATIVE_ERROR = 10


def base64_of(content: bytes) -> str:
    """Return bytes as base64 text."""
    return base64.b64encode(content).decode("ascii")


def png_uri(png: bytes) -> str:
    """Return a PNG as a ``data:`` URI."""
    return f"data:image/png;base64,{base64_of(png)}"


def one_line(untrusted: str) -> str:
    """Return untrusted text without line breaks and hidden characters, at most 300 characters long."""
    return escape(untrusted, MAXIMUM_TEXT)


def key_of(address: str) -> str:
    """Return an address as it is written in links: a lone surrogate, which UTF-8 cannot encode, becomes ``?``."""
    return address.encode("utf-8", "replace").decode("utf-8")


def findings_by_address(contents: ReportContents) -> dict[str, list[Finding]]:
    """Return the findings of each layer that has any, worst first."""
    findings: dict[str, list[Finding]] = {}
    for finding in contents.findings:
        findings.setdefault(finding.address, []).append(finding)
    return findings


def island(contents: ReportContents) -> dict[str, Any]:
    """Return all that the script needs besides the figures' pictures, as values for JSON.

    The `block` of a figure is its index in `blocks`.
    """
    findings = findings_by_address(contents)
    tables = sorted({figure.table for layer in contents.layers for figure in layer.figures})
    block_numbers = itertools.count()
    return {
        "model": one_line(contents.model),
        "other": one_line(contents.comparison.name) if contents.comparison else None,
        "count": contents.count,
        "inputs": [
            {
                "name": one_line(fed.name),
                "fed": one_line(fed.fed),
                "picture": png_uri(fed.picture) if fed.picture else None,
                "words": [one_line(word) for word in fed.words],
            }
            for fed in contents.inputs
        ],
        "skipped": [record | {"files": [one_line(name) for name in record["files"]]} for record in contents.skipped],
        "tables": {name: base64_of(colors.table(name).colors.tobytes()) for name in tables},
        "layers": [
            _layer(layer, findings.get(layer.info.address, ()), contents.comparison, block_numbers)
            for layer in contents.layers
        ],
    }


def blocks(contents: ReportContents) -> list[str]:
    """Return for each figure the base64 of its PNG, a comma, and the base64 of its `packed_numbers`."""
    return [
        f"{base64_of(figure.mosaic.png)},{base64_of(packed_numbers(figure))}"
        for layer in contents.layers
        for figure in layer.figures
    ]


def packed_numbers(figure: ReportFigure) -> bytes:
    """Return the numbers of the tiles: little-endian float32 ``(7, tile)``, then the states as uint8 ``(tile,)``.

    The rows are the two of `ReportFigure.ends` and the five of `ReportFigure.numbers`.
    """
    packed: NDArray[Any] = np.concatenate([figure.ends, figure.numbers]).astype("<f4")
    return packed.tobytes() + figure.states.astype(np.uint8).tobytes()


def _layer(
    layer: ReportLayer, findings: Sequence[Finding], comparison: Comparison | None, block_numbers: Iterator[int]
) -> dict[str, Any]:
    info = layer.info
    return {
        "address": key_of(info.address),
        "shown": one_line(info.address),
        "kind": one_line(info.kind),
        "shape": shape_text(layer),
        "activation": one_line(info.activation) if info.activation else None,
        "parameters": info.parameters,
        "drawn": layer.kind,
        "reason": one_line(layer.reason),
        "labels": [one_line(label) for label in layer.labels],
        "geometry": _geometry(layer.geometry),
        "step_order": layer.step_order,
        "figures": [_figure(figure, number) for figure, number in zip(layer.figures, block_numbers, strict=False)],
        "findings": [
            {"severity": finding.severity, "kind": finding.kind, "text": finding.text} for finding in findings
        ],
        "difference": _difference(info.address, comparison),
        "overall": _overall(layer.totals) if layer.totals is not None else None,
    }


def _overall(totals: RunningStatistics) -> dict[str, Any]:
    """Return a layer's numbers over all inputs: `numbers` is little-endian float32 ``(4, channel)`` in base64."""
    packed = single([totals.minimum, totals.maximum, totals.mean, totals.std]).astype("<f4")
    summary = summary_of(totals)
    return {
        "numbers": base64_of(packed.tobytes()),
        "dead": indices_of(totals.dead),
        "constant": indices_of(totals.constant),
        "nonfinite": indices_of((totals.nan > 0) | (totals.infinite > 0)),
        "channels": totals.channels,
        **{key: rounded(summary[key]) for key in ("low", "high", "zeros")},
    }


def shape_text(layer: ReportLayer) -> str:
    """Return a layer's output shape without the batch axis, for people; empty where it is not known."""
    return "" if layer.info.shape is None else sizes_text(layer.info.shape, text.TIMES, "any")


def _figure(figure: ReportFigure, block: int) -> dict[str, Any]:
    count = len(figure.channels)
    return {
        "input": figure.input,
        "other": figure.other,
        "block": block,
        "tile": list(figure.mosaic.tile),
        "step": list(figure.mosaic.step),
        "columns": figure.mosaic.columns,
        "count": count,
        "channels": None if figure.channels == tuple(range(count)) else list(figure.channels),
        "indices": [list(index) for index in figure.indices],
        "table": figure.table,
        "signed": figure.signed,
        "total": figure.total,
        "histogram": {key: _all_rounded(value) for key, value in figure.histogram.items()},
    }


def _geometry(geometry: Geometry | None) -> dict[str, Any] | None:
    """Return where a map lies over the picture of the input, in pixels of it."""
    if geometry is None:
        return None
    return {"size": list(geometry.size), "offset": list(geometry.offset), "stride": list(geometry.stride)}


def _difference(address: str, comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None or address not in comparison.drifts:
        return None
    drift = comparison.drifts[address]
    return {
        "relative": rounded(drift.relative),
        "changed": address in comparison.changed,
        "text": difference_text(drift),
    }


def difference_text(drift: LayerDifference) -> str:
    """Return the difference of one layer between two models as part of a sentence."""
    if drift.apart:
        return f"{drift.apart:,} of {drift.count:,} values are NaN or infinite in one and not in the other."
    reach = f" where values reach {text.number(drift.reach)}" if drift.reach else ""
    large = drift.relative > _LARGE_RELATIVE_ERROR
    relative = "nothing alike" if large else f"relative error {text.number(100 * drift.relative, 2)}%"
    return f"values differ by up to {text.number(drift.largest)}{reach}; {relative}, cosine {drift.cosine:.4f}."


def _all_rounded(value: Any) -> Any:
    """Return a value with the floats in it, at any depth of lists, `rounded`."""
    if isinstance(value, list):
        return [_all_rounded(item) for item in value]
    return rounded(value) if isinstance(value, float) else value


def rounded(value: float | None) -> float | None:
    """Return a number with six significant digits; ``None`` for NaN and infinities, which JSON does not have."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def shorten(names: Sequence[str], count: int) -> str:
    """Return the first `count` names and the number of the others."""
    listed = ", ".join(one_line(name) for name in names[:count])
    return listed + (f" and {len(names) - count:,} more" if len(names) > count else "")
